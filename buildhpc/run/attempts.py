"""The attempts that run on this machine at one time: started, watched, ended, cleaned up."""

# Paths are text here, and this runs once for every job.

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import run as messages
from buildhpc.run import outputs, room
from buildhpc.run.attempt import (
    SHORTAGES,
    Attempt,
    Limit,
    NotStartedError,
    failure_of,
    open_log,
    spawn,
)
from buildhpc.run.machine import OomWatch
from buildhpc.run.parts import request_path, take_request
from buildhpc.run.pool import Grant
from buildhpc.run.recipes import Commands, Place
from buildhpc.run.spec import Failure, JobSpec, Outcome
from buildhpc.state.logs import beside

_FIRST_RECHECK_S = 0.05
_FOREVER = float("inf")
# The failures that a full disk may be behind.
_MAYBE_NO_ROOM = ("exit", "signal", "missing-output")


class Timing(NamedTuple):
    """How long things are waited for.

    latency_s: for a file server to show an output. stop_s: for jobs to end when the build is
    stopped. over_s: for a job to end whose time is over. limited: the time of a job is limited
    here; else somebody else sees to that.
    """

    latency_s: float = 0.0
    stop_s: float = 5.0
    over_s: float = 10.0
    limited: bool = True


class _Slot:
    """The small files of a running job, written over by the next one."""

    __slots__ = ("log", "name", "serial")

    def __init__(self, name: str, scratch: str) -> None:
        self.name = name
        self.serial = 0
        self.log = os.path.join(scratch, f"{name}.log")

    def give_log_away(self) -> None:
        """Use another file from now on: what is in this one is for who handles the event."""
        self.serial += 1
        self.log = os.path.join(os.path.dirname(self.log), f"{self.name}.{self.serial}.log")


@dataclass(slots=True, eq=False)
class Running:
    """An attempt that was started and whose end was not told yet.

    log: what it prints goes there.
    spawned: what parts it asked for, once it ended well.
    recheck_until_s, recheck_pause_s: while its outputs are waited for: until when, and how
        long until the next look.
    """

    grant: Grant
    spec: JobSpec
    attempt: Attempt
    slot: _Slot
    log: str
    files: tuple[str, ...]
    oom_before: int
    due_s: float
    recheck_until_s: float = 0.0
    recheck_pause_s: float = _FIRST_RECHECK_S
    spawned: Mapping[str, Any] | None = None


class Attempts:
    """What runs now.

    due_s: when `over` is to be called even if no process ended, by `time.monotonic`.
    is_ours: whether the outputs of what ended may still be touched.
    """

    def __init__(
        self,
        place: Place,
        timing: Timing,
        keep_incomplete: bool,
        enforce_mem: bool,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self._is_ours = is_ours
        self.due_s = _FOREVER
        self._scratch = os.path.abspath(place.scratch)
        self._stem = place.stem
        self._timing = timing
        self._keep_incomplete = keep_incomplete
        self._enforce_mem = enforce_mem
        self._commands = Commands(place)
        self._oom = OomWatch()
        self._running: dict[int, Running] = {}
        self._slots: list[_Slot] = []
        self._slot_count = 0
        self._null = -1

    def __len__(self) -> int:
        return len(self._running)

    def start(self, grant: Grant, spec: JobSpec) -> Running:
        """Start an attempt whose outputs are prepared.

        Raises: HpcmakeError `launch`; NotStartedError
        """
        if not self._slots:
            self._slots.append(self._new_slot())
        slot = self._slots[-1]
        self._null = _open_null() if self._null < 0 else self._null
        try:
            command = self._commands.command(spec, slot.name)
            log = spec.log if spec.log and not spec.own_log else slot.log
            log_fd = open_log(log)
            err_fd = log_fd
            try:
                err_fd = open_log(beside(log)) if spec.split else log_fd
                pid = spawn(command, self._null, log_fd, err_fd)
            finally:
                for fd in {log_fd, err_fd}:
                    with contextlib.suppress(OSError):  # nothing was written, and the job runs
                        os.close(fd)
        except OSError as error:
            where = str(error.filename or self._scratch)
            text = messages.refused("write", where, error.strerror or str(error))
            raise NotStartedError(text, error.errno in SHORTAGES) from error
        self._slots.pop()
        mem_mib = spec.needs.mem_mib if self._enforce_mem else None
        time_s = spec.needs.time_s if self._timing.limited else None
        attempt = Attempt(pid, Limit(time_s, self._timing.over_s, mem_mib))
        running = Running(
            grant, spec, attempt, slot, log, command.files, self._oom.seen, attempt.due_s
        )
        self._running[pid] = running
        self.due_s = min(self.due_s, running.due_s)
        return running

    def over(self, now: float) -> list[tuple[Running, Outcome]]:
        """The attempts that are over, outputs finished or removed; each is told once."""
        ended = []
        self.due_s = _FOREVER
        for running in list(self._running.values()):
            if running.recheck_until_s or running.attempt.look(now):
                if not running.recheck_until_s or now >= running.due_s:
                    outcome = self._outcome(running, now)
                    if outcome is not None:
                        ended.append((running, outcome))
                        del self._running[running.attempt.pid]
                        continue
            else:
                running.due_s = running.attempt.due_s
            self.due_s = min(self.due_s, running.due_s)
        return ended

    def release(self, running: Running) -> None:
        """Use the files of an attempt again, now that its end was handled."""
        self._slots.append(running.slot)

    def stop(self, cause: Failure) -> None:
        """Ask all jobs to end; they are killed when the time for that is over."""
        for running in self._running.values():
            if running.recheck_until_s:
                running.recheck_until_s = running.due_s = time.monotonic()
            elif running.attempt.status is None:
                running.attempt.terminate(cause, self._timing.stop_s)
        self.due_s = 0.0

    def kill(self) -> None:
        """End all jobs at once."""
        for running in self._running.values():
            if not running.recheck_until_s:
                running.attempt.kill()
        self.due_s = 0.0

    def abandon(self) -> None:
        """End all jobs at once and wait until they are gone; remove files that nobody needs."""
        self.stop(Failure("cancelled", ""))
        self.kill()
        while self._running:
            self._slots += [running.slot for running, _ in self.over(time.monotonic())]
            time.sleep(0.005 if self._running else 0)
        for slot in self._slots:
            _unlink(os.path.join(self._scratch, f"{slot.name}.json"))
            for path in (slot.log, beside(slot.log)):
                if _size(path) == 0:
                    _unlink(path)
        self._slots.clear()
        if self._null >= 0:
            os.close(self._null)
            self._null = -1

    def _new_slot(self) -> _Slot:
        self._slot_count += 1
        name = str(self._slot_count)
        if self._stem:
            name = self._stem if self._slot_count == 1 else f"{self._stem}.{name}"
        return _Slot(name, self._scratch)

    def _outcome(self, running: Running, now: float) -> Outcome | None:
        """How an attempt ended; None: its outputs are still waited for."""
        attempt, spec = running.attempt, running.spec
        killed = attempt.status and attempt.ended_early is None
        failure = failure_of(attempt, bool(killed) and self._oom.count() > running.oom_before)
        code = os.waitstatus_to_exitcode(attempt.status or 0)
        if not self._is_ours():
            failure = Failure("superseded", messages.superseded())
        elif failure is None and (asked := running.spawned or take_request(self._request(running))):
            running.spawned = asked
        elif failure is None:
            failure = outputs.look(spec)
            if failure and self._wait_on(running, now):
                return None
            failure = failure or outputs.finish(spec)
        for path in (*running.files, self._request(running)):
            _unlink(path)
        outcome = Outcome(
            "spawned" if running.spawned else "done",
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            started_s=attempt.started_s,
            ended_s=time.time(),
            cpu_s=attempt.cpu_s,
            peak_mib=attempt.peak_mib,
            log=self._kept_log(running),
            err_at=0 if spec.split else None,
        )
        return outcome if failure is None else self._failed(running, outcome, failure)

    def _request(self, running: Running) -> str:
        """Where it may have asked for parts."""
        return request_path(os.path.join(self._scratch, f"{running.slot.name}.json"))

    def _failed(self, running: Running, outcome: Outcome, failure: Failure) -> Outcome:
        text = failure.text
        if failure.kind == "superseded":
            return replace(outcome, state="superseded", message=text)
        if failure.kind in _MAYBE_NO_ROOM:
            text += self._no_room(running)
        if not self._keep_incomplete:
            text += outputs.remove_leftovers(running.spec)
        if failure.kind == "cancelled":
            return replace(outcome, state="cancelled", message=text)
        return replace(outcome, state="failed", failure=failure.kind, message=text)

    def _no_room(self, running: Running) -> str:
        """Words on a disk that is full; then a large log of ours is cut."""
        log = running.log
        text = room.lacking([*(output.path for output in running.spec.outputs), log])
        if text and log != running.spec.log:
            room.cut(log)
            if running.spec.split:
                room.cut(beside(log))
        return text

    def _wait_on(self, running: Running, now: float) -> bool:
        """Whether to look for missing outputs once more; then when."""
        until_s = running.recheck_until_s or now + self._timing.latency_s
        if now >= until_s:
            return False
        outputs.refresh(running.spec)
        running.recheck_until_s = until_s
        running.due_s = min(until_s, now + running.recheck_pause_s)
        running.recheck_pause_s = min(2 * running.recheck_pause_s, 2.0)
        return True

    def _kept_log(self, running: Running) -> str | None:
        if running.log != running.slot.log:
            return running.log
        if not _size(running.log) and not (running.spec.split and _size(beside(running.log))):
            return None
        running.slot.give_log_away()
        return running.log


def not_run(spec: JobSpec) -> Outcome:
    """The outcome of a job with nothing to execute."""
    started_s = time.time()
    failure = outputs.look(spec) or outputs.finish(spec)
    outcome = Outcome("done", started_s=started_s, ended_s=time.time())
    if failure is None:
        return outcome
    return replace(outcome, state="failed", failure=failure.kind, message=failure.text)


def not_launched(error: HpcmakeError | NotStartedError | Failure) -> Outcome:
    """The outcome of a job that could not be started."""
    text = error.problems[0].text if isinstance(error, HpcmakeError) else error.text
    now = time.time()
    return Outcome("failed", failure="launch", message=text, started_s=now, ended_s=now)


def _open_null() -> int:
    """The null device, at a number that is not one of the three a program expects to be open.

    Where one of these is closed it is opened here: files opened later never get its number.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    return fd


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _unlink(path: str) -> None:
    # One that stays is a small file more; nothing depends on it.
    with contextlib.suppress(OSError):
        os.unlink(path)
