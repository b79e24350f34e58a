"""Runs the jobs of a plan on this machine, and tells what happens."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import run as messages
from buildhpc.run import orphans, outputs
from buildhpc.run.attempt import NotStartedError
from buildhpc.run.attempts import Attempts, Timing, not_launched, not_run
from buildhpc.run.events import Event, Started, Tick, Unneeded
from buildhpc.run.local_parts import LocalParts
from buildhpc.run.machine import Limits
from buildhpc.run.pool import Grant
from buildhpc.run.recipes import Place
from buildhpc.run.signals import Signals
from buildhpc.run.spec import Failure, JobSpec
from buildhpc.run.waiting import Waiting, Work

_TICK_S = 0.25
_TIMING = Timing()
_STARTS_AT_ONCE = 64
_SHORTAGE_PAUSE_S = 0.1
_SHORTAGE_LIMIT_S = 20.0


class LocalExecutor:
    """A plan being run on this machine.

    interrupted: the signal that stopped the build, if one did. floor: only jobs of this
    priority and above start; None: all do.
    """

    def __init__(
        self,
        work: Work,
        limits: Limits,
        place: Place,
        timing: Timing = _TIMING,
        keep_going: bool = False,
        keep_incomplete: bool = False,
    ) -> None:
        self.interrupted: int | None = None
        self.floor: int | None = None
        self._work = work
        self._marker = place.marker
        self._keep_going = keep_going
        self._waiting = Waiting(work, limits)
        self._attempts = Attempts(place, timing, keep_incomplete, limits.enforce_mem)
        self._parts = LocalParts(work, self._waiting.pool, place.scratch, keep_incomplete)
        self._stops = self._stops_heard = 0
        self._short_since_s = self._short_until_s = 0.0

    @property
    def failed(self) -> bool:
        """Whether a job failed and will not be tried again."""
        return self._waiting.failed

    @property
    def top(self) -> int | None:
        """The highest priority of a job that could start and has not; None: there is none."""
        return None if self._stopping() else self._waiting.pool.top

    def rank_anew(self, *, in_groups: bool) -> None:
        """Ask for the priorities of all jobs again, or for the first time.

        in_groups: those of a lower one wait until nothing of a higher one is to come.
        """
        self._waiting.in_groups = in_groups
        self._waiting.rank_anew()

    def run(self) -> Iterator[Event]:
        """Run the jobs; to be called once, in the working folder.

        The log of an `Ended` belongs to who handles that event, and stays where it is. When
        this generator is closed or an exception leaves it, all jobs are killed and what they
        left is removed.
        """
        with Signals(self.stop) as signals:
            try:
                yield from self._loop(signals)
                if self.interrupted:
                    # Whatever left its process group and the tree below its job.
                    orphans.kill(orphans.find(self._marker), 0.0)
            finally:
                self._attempts.abandon()

    def stop(self, signum: int) -> None:
        """End the build: the first time jobs are asked to end, the second time killed."""
        self._stops += 1
        self.interrupted = self.interrupted or signum

    def settle(self, task: int, state: Literal["done", "failed", "released"]) -> None:
        """Tell what became of a job that another run had; `released`: nobody has it now."""
        self._waiting.settle(task, state)

    def grow(self, first: int, longer: Iterable[int]) -> None:
        """Take in the tasks from `first` on; `longer`: earlier ones that wait for more by now.

        To be called while an event is handled.
        """
        self._waiting.grow(first, longer)

    def _loop(self, signals: Signals) -> Iterator[Event]:
        told = self._waiting.told
        self._waiting.begin()
        tick_s = time.monotonic() + _TICK_S
        while True:
            for _ in range(_STARTS_AT_ONCE):
                grant = self._next()
                if grant is None:
                    break
                self._start(grant)
                yield from told()
            yield from told()
            now = time.monotonic()
            if now >= tick_s:
                yield Tick()
                yield from told()
                tick_s = now + _TICK_S
            if self._at_end():
                return
            if grant is None:
                due_s = min(tick_s, self._attempts.due_s)
                if self._short_since_s:
                    due_s = min(due_s, self._short_until_s)
                signals.wait(due_s - now)
            self._hear_stops()
            yield from self._collect()

    def _next(self) -> Grant | None:
        """The job to start now, if one may be started."""
        if self._stopping() or time.monotonic() < self._short_until_s:
            return None
        return self._waiting.pool.next(self.floor)

    def _stopping(self) -> bool:
        return self.interrupted is not None or (self.failed and not self._keep_going)

    def _at_end(self) -> bool:
        if self._attempts or self._waiting.untold or self._parts:
            return False
        return self._stopping() or not self._waiting

    def _hear_stops(self) -> None:
        if self._stops == self._stops_heard:
            return
        if self._stops_heard == 0:
            cause = messages.cancelled(self.interrupted or 0)
            self._attempts.stop(Failure("cancelled", cause))
        if self._stops > 1:
            self._attempts.kill()
        self._stops_heard = self._stops

    def _collect(self) -> Iterator[Event]:
        """The ends of attempts."""
        for running, outcome in self._attempts.over(time.monotonic()):
            grant = running.grant
            self._waiting.pool.release(grant)
            self._short_since_s = self._short_until_s = 0.0
            if grant.task in self._parts:
                self._parts.leave(grant.task)
                self._parts.ended(grant.task, outcome, may_retry=not self._stopping())
            elif outcome.state == "spawned":
                self._parts.spawn(running, outcome)
            else:
                self._waiting.end(grant.task, running.spec, outcome, not self._stopping())
            yield from self._waiting.told()
            self._attempts.release(running)
        for task, spec, outcome in self._parts.over(stopping=self._stopping()):
            self._waiting.end(task, spec, outcome, may_retry=False)
            yield from self._waiting.told()

    def _start(self, grant: Grant) -> None:
        """Start a job, or find that there is nothing to start."""
        task = grant.task
        if task in self._parts:
            if self._launch_part(grant):
                return
        elif self._waiting.is_settled(task):
            pass  # by another run, since it became ready
        elif self._work.foreign(task):
            self._waiting.leave(task)
        elif not self._work.still_needed(task):
            self._waiting.tell(Unneeded(self._work.name(task)), finished=task)
        elif self._launch(grant):
            return
        self._waiting.pool.release(grant)

    def _launch(self, grant: Grant) -> bool:
        """Whether the job has its grant still, or gave it back itself."""
        task = grant.task
        spec = None
        try:
            spec = self._work.spec(task, self._waiting.number(task))
            spec = _granted(spec, grant)
            self._work.before_start(task, spec)
            failure = outputs.prepare(spec)
            if failure is not None:
                outcome = not_launched(failure)
            elif spec.recipe.kind == "none":
                self._waiting.tell(Started(spec.name, spec, 0))
                outcome = not_run(spec)
            else:
                running = self._attempts.start(grant, spec)
                pid, log = running.attempt.pid, running.log
                self._waiting.tell(Started(spec.name, spec, pid, log))
                return True
        except NotStartedError as error:
            if error.shortage and self._wait_for_room(grant):
                return True
            outcome = not_launched(error)
        except HpcmakeError as error:
            outcome = not_launched(error)
        self._waiting.end(task, spec, outcome, not self._stopping())
        return False

    def _launch_part(self, grant: Grant) -> bool:
        """As `_launch`, for a part of a job that spawned."""
        try:
            spec = self._parts.spec(grant.task)
            if spec is None:
                return False
            self._attempts.start(grant, _granted(spec, grant))
        except NotStartedError as error:
            if error.shortage and self._wait_for_room(grant):
                return True
            outcome = not_launched(error)
        except HpcmakeError as error:
            outcome = not_launched(error)
        except OSError as error:
            outcome = not_launched(Failure("launch", error.strerror or str(error)))
        else:
            self._parts.started(grant.task)
            return True
        self._parts.ended(grant.task, outcome, may_retry=not self._stopping())
        return False

    def _wait_for_room(self, grant: Grant) -> bool:
        """Put a job back that the system had no room for; False when that went on too long."""
        now = time.monotonic()
        self._short_since_s = self._short_since_s or now
        if not self._attempts and now - self._short_since_s > _SHORTAGE_LIMIT_S:
            return False  # and so for those after it, until an attempt shows that there is room
        self._short_until_s = now + _SHORTAGE_PAUSE_S
        self._waiting.pool.put_back(grant)
        return True


def _granted(spec: JobSpec, grant: Grant) -> JobSpec:
    """The spec with the cores and the devices the job was given."""
    if spec.needs.cores > grant.needs.cores:
        spec = replace(spec, needs=replace(spec.needs, cores=grant.needs.cores))
    if grant.devices:
        env = {**spec.env, "CUDA_VISIBLE_DEVICES": ",".join(grant.devices)}
        spec = replace(spec, env=env)
    return spec
