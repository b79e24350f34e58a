"""One element of a slice on its node: its jobs one after the other, a receipt for each."""

# Paths are text here, and this runs once for every job.

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from buildhpc import disk
from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import runner as messages
from buildhpc.messages.run import refused
from buildhpc.plan.stamps import SMALL, Stamp, put_back
from buildhpc.run import inputs, orphans, outputs, readiness
from buildhpc.run.attempt import NotStartedError
from buildhpc.run.attempts import Attempts, Timing, not_launched, not_run
from buildhpc.run.manifest import Element, Header, Planned
from buildhpc.run.pool import Grant
from buildhpc.run.readiness import Made, Told
from buildhpc.run.recipes import Place
from buildhpc.run.signals import Signals
from buildhpc.run.spec import Failure, JobSpec, Outcome
from buildhpc.run.unneeded import still_fresh
from buildhpc.run.whole import Whole, failed, untold
from buildhpc.state import receipts
from buildhpc.state.logs import Log, small_log
from buildhpc.state.receipts import Ended, Facts, Key, Runner, Started

# Signals by which schedulers warn a job of its end, those among them that mean its time, and
# all by which it may be ended.
WARNINGS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
_TIME_OVER = (signal.SIGUSR1, signal.SIGXCPU)
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, *WARNINGS)
# A job that is told to end so near to the end of its time has run out of it.
_NEAR_S, _NEAR_PART = 90.0, 0.1
_STOP_S = 5.0
_PATIENCE_S = 300.0
_STATE_PATIENCE_S = 120.0
_SHORTAGE_S = 20.0
# Who ends a scheduler job tells all of its processes, and the recipe may hear it first.
_SAME_SIGNAL_S = 0.3


class _BlockedError(Exception):
    """The node cannot use the folder of the state for a long time; the text says why."""


class Jobs:
    """The jobs of an element being run; to be used once, in the working folder.

    stopped: why the scheduler job is to end, once it is. urgent: what it told is waited for by
    jobs that no scheduler has: it asked for parts, or was the last of them. restart: how often
    the scheduler has started it anew; None: it has, and does not say how often. say: told what
    no receipt tells.
    """

    def __init__(
        self,
        header: Header,
        element: Element,
        runner: Runner,
        restart: int | None,
        say: Callable[[str], None],
    ) -> None:
        self.stopped: Failure | None = None
        self.urgent = False
        self._asked: Mapping[str, Any] | None = None
        self._header = header
        self._element = element
        self._runner = runner
        self._restart = restart
        self._say = say
        self._inbox = os.path.join(header.home, "inbox")
        self._scratch = header.logs or os.path.join(header.home, f"run-{header.run}", "logs")
        self._clock = inputs.Clock(header.home)
        self._signals = Signals(self._stop, WARNINGS)
        self._begun_s = time.monotonic()
        self._made: Made = {}
        self._ended: dict[str, str] = {}

    def run(self) -> dict[int, str]:
        """Run the jobs; number -> state of each, `done` also where it was done before."""
        with self._signals:
            return {job.number: self._one(job) for job in self._element.jobs}

    def now_s(self) -> float:
        """The time by the clock of the file system."""
        return self._clock.now_ns() / 1e9 or time.time()

    def _stop(self, number: int) -> None:
        """A signal came; the first one counts."""
        if self.stopped is None:
            times = [job.spec["needs"]["time_s"] for job in self._element.jobs]
            time_s = None if None in times else sum(times)
            over = number in _TIME_OVER
            if time_s is not None and number != signal.SIGINT:
                near_s = min(_NEAR_S, _NEAR_PART * time_s)
                over |= time.monotonic() - self._begun_s >= time_s - near_s
            if over:
                self.stopped = Failure("timeout", messages.time_over(number, time_s))
            else:
                self.stopped = Failure("cancelled", messages.ended_early(number))

    def _sleep(self, seconds: float) -> bool:
        """Wait; False when there is no time for that any more."""
        deadline = time.monotonic() + seconds
        while self.stopped is None and (left_s := deadline - time.monotonic()) > 0:
            self._signals.wait(left_s)
        return self.stopped is None

    def _tries(self, patience_s: float) -> Iterator[None]:
        """As `receipts.backoff`, with little patience once the scheduler job is to end."""
        stopped = self.stopped
        sleep = self._sleep if stopped is None else time.sleep
        for _ in receipts.backoff(patience_s if stopped is None else _STOP_S, sleep):
            yield
            if self.stopped is not stopped:
                return

    def _one(self, job: Planned) -> str:
        """Run a job and tell of it; how it ended."""
        key = Key(self._header.run, job.number, job.attempt, self._restart or 0)
        try:
            if self._header.logs and not self._restart:
                key = key._replace(restart=readiness.next_start(self._look(job)))
            elif self._restart is None:
                key = key._replace(restart=self._next_restart(job))
            return self._guarded(job, key)
        except _BlockedError as error:
            text = str(error)
        except Exception as error:  # the last line of defence: somebody waits for a receipt
            text = messages.broken(f"{type(error).__name__}: {error}")
            self._say(_traceback())
        return self._tell(job, key, not_launched(Failure("launch", text)))

    def _guarded(self, job: Planned, key: Key) -> str:
        """Run a job unless it is another runner's. Raises: _BlockedError"""
        stem = f"{key.number}-{key.attempt}" + (f"-{key.restart}" if key.restart else "")
        name, own_log = str(job.spec["name"]), os.path.join(self._scratch, f"{stem}.log")
        log = own_log if job.spec["own_log"] else job.spec["log"] or own_log
        started = Started(key, name, self._runner, time.time(), log)
        first = self._begin(started)
        told = self._look(job)
        over = readiness.is_over(self._inbox, told, key)
        if not (first and readiness.is_ours(told, key, self._runner)) or over:
            if first:
                receipts.remove(self._inbox, key, "started")
            return "done" if over == "done" or readiness.is_done(told) else "superseded"
        made = {**told.made, **self._made}
        unready = readiness.unready(job, made, self._header.latency_s, self._sleep)
        if self.stopped is not None:
            return self._tell(job, key, self._not_begun(self.stopped))
        if unready is not None and unready.lasting:
            # To be submitted again would change nothing: it would be so for ever.
            return self._tell(job, key, not_launched(Failure("launch", unready.text)))
        if unready is not None:
            now_s = time.time()
            outcome = Outcome("unready", None, None, None, unready.text, now_s, now_s)
            return self._tell(job, key, outcome, because=unready.because)
        fresh = still_fresh(self._header.home, self._header.run, job, self._ended)
        if fresh is not None:
            self._made[name] = {path: Stamp(*facts) for path, facts in fresh.items()}
            now_s = time.time()
            outcome = Outcome("unneeded", None, None, None, "", now_s, now_s)
            return self._tell(job, key, outcome, outputs=fresh)
        return self._execute(job, key, stem)

    def _begin(self, started: Started) -> bool:
        """Whether this is the first one to begin the attempt. Raises: _BlockedError"""
        try:
            return receipts.write_started(self._inbox, started, self._tries(_PATIENCE_S))
        except OSError as error:
            why = error.strerror or str(error)
            raise _BlockedError(messages.inbox_unwritable(self._inbox, why)) from error

    def _look(self, job: Planned) -> Told:
        """What is said of the job. Raises: _BlockedError, when that stays unreadable"""
        for _ in self._tries(_STATE_PATIENCE_S):
            try:
                return readiness.look(self._header.home, self._header.run, job)
            except HpcmakeError as error:
                text = error.problems[0].text
            except OSError as error:
                text = str(error)
        raise _BlockedError(messages.state_unreadable(text))

    def _next_restart(self, job: Planned) -> int:
        told = self._look(job)
        known = told.attempt.restart if told.attempt is not None else None
        return 1 + max([known or 0, *(key.restart for key, _ in told.own)])

    def _not_begun(self, why: Failure) -> Outcome:
        now_s = time.time()
        text = messages.not_begun(why.text)
        if why.kind == "cancelled":
            return Outcome("cancelled", None, None, None, text, now_s, now_s)
        return Outcome("failed", why.kind, None, None, text, now_s, now_s)

    def _execute(self, job: Planned, key: Key, stem: str) -> str:
        """Run a job that is ready."""
        header = self._header
        spec = outputs.own_private_names(JobSpec.from_values(job.spec), key.restart)
        whole = Whole(header, job, spec) if job.part is not None else None
        # Its colleagues of the run on this node go by the marker of the run as well.
        marker = f"{header.marker.rstrip(':')}:{key.number}.{key.attempt}.{key.restart}"
        timing = Timing(
            header.latency_s, _STOP_S, header.over_s, limited=len(self._element.jobs) > 1
        )
        place = Place(self._scratch, marker, stem=stem, own=self._own(key))
        attempts = Attempts(
            place, timing, header.keep_incomplete, False, lambda: self._is_ours(job, key)
        )
        try:
            seen = self._prepare(job, spec, whole)
            outcome = self._outcome(attempts, key, whole.bare() if whole else spec)
        except (HpcmakeError, NotStartedError) as error:
            return self._tell(job, key, not_launched(error))
        finally:
            attempts.abandon()
        if self.stopped is not None:
            orphans.kill(orphans.find(marker), 0.0)
        if whole is not None:
            return self._tell(job, key, self._end_part(job, whole, outcome, seen))
        found: dict[str, Any] = {}
        if outcome.state == "spawned":
            self.urgent = True
            found = {"inputs": seen.of(spec.inputs), "hashes": seen.hashes, "spawned": self._asked}
        elif outcome.state == "done":
            found = self._found(job, spec, seen)
            if job.benchmark and (why := outputs.write_benchmark(job.benchmark, outcome)):
                self._say(refused("write", job.benchmark, why))
        return self._tell(job, key, outcome, **found)

    def _end_part(self, job: Planned, whole: Whole, outcome: Outcome, seen: inputs.Seen) -> Outcome:
        """How a part ended; where it is the last one, once the job was said to be done."""
        try:
            if outcome.state != "done" or not whole.is_last():
                return outcome
            failure = whole.finish()
            if failure is not None:
                return failed(outcome, failure)
            found = self._found(whole.job(job), whole.spec(), seen)
            ended = whole.ended(self._runner, outcome, found)
            receipts.write_ended(self._inbox, ended, self._tries(_PATIENCE_S))
        except OSError as error:
            return untold(outcome, error.strerror or str(error))
        self.urgent = True
        return outcome

    def _own(self, key: Key) -> dict[str, Any]:
        """What hpcmake inside the job knows it by."""
        home = os.path.abspath(self._header.home)
        known = {"home": home, "run": key.run, "scheduler_id": self._runner.scheduler_id}
        return {**known, "exported": bool(self._header.logs)}

    def _prepare(self, job: Planned, spec: JobSpec, whole: Whole | None) -> inputs.Seen:
        """What the inputs are, once the outputs were made room for.

        Raises: HpcmakeError, NotStartedError
        """
        os.makedirs(self._scratch, exist_ok=True)
        if whole is not None:
            return whole.begin()
        content = frozenset(job.content)
        seen = inputs.see(spec.inputs, spec.name, content, self._clock.now_ns())
        for path in job.replaced:
            try:
                outputs.set_aside(path)
            except OSError as error:
                text = refused("move aside", path, error.strerror or str(error))
                raise NotStartedError(text, shortage=False) from error
        failure = outputs.prepare(spec)
        if failure is not None:
            raise NotStartedError(failure.text, shortage=False)
        return seen

    def _outcome(self, attempts: Attempts, key: Key, spec: JobSpec) -> Outcome:
        """What came of the recipe. Raises: HpcmakeError, NotStartedError"""
        if spec.recipe.kind == "none":
            return not_run(spec)
        for _ in receipts.backoff(_SHORTAGE_S, self._sleep):
            try:
                attempts.start(Grant(key.number, spec.needs), spec)
            except NotStartedError as error:
                if not error.shortage or self.stopped is not None:
                    raise
                shortage = error
            else:
                break
        else:
            raise shortage
        asked = False
        while not (ended := attempts.over(time.monotonic())):
            self._signals.wait(attempts.due_s - time.monotonic())
            if self.stopped is not None and not asked:
                attempts.stop(self.stopped)
                asked = True
        running, outcome = ended[0]
        self._asked = running.spawned
        attempts.release(running)
        return self._as_told(outcome)

    def _as_told(self, outcome: Outcome) -> Outcome:
        """The outcome, with the end of the scheduler job for its cause where that is so."""
        numbers = (outcome.signal, (outcome.exit_code or 0) - 128)
        if outcome.state != "failed" or not set(numbers) & set(_ENDING):
            return outcome
        if outcome.failure not in ("signal", "exit") or self._sleep(_SAME_SIGNAL_S):
            return outcome
        assert self.stopped is not None
        kind, text = self.stopped
        if kind == "cancelled":
            return replace(outcome, state="cancelled", failure=None, message=text)
        return replace(outcome, failure=kind, message=text)

    def _is_ours(self, job: Planned, key: Key) -> bool:
        """Whether the attempt is still this runner's, as far as can be seen."""
        try:
            told = readiness.look(self._header.home, self._header.run, replace(job, needs=()))
        except (HpcmakeError, OSError):
            return True
        return readiness.is_ours(told, key, self._runner)

    def _found(self, job: Planned, spec: JobSpec, seen: inputs.Seen) -> dict[str, Any]:
        """What is to be remembered of a success."""
        stamps = dict(zip(spec.inputs, seen.stamps, strict=True))
        known_as = {path: Stamp(*stamp) for path, stamp in job.restore.items()}
        stamps |= {path: known_as[path] for path in stamps if path in known_as}
        hashes = dict(seen.hashes)
        made: dict[str, Facts] = {}
        for output in spec.outputs:
            at = known_as.get(output.path)
            if at is not None and os.path.isfile(output.path):
                os.utime(output.path, ns=(at.mtime_ns, at.mtime_ns))
            found = disk.look(output.path)
            if found is not None:
                made[output.path] = found
            # Also of a small one that only jobs outside of the plan may compare by content.
            small = "temp" in output.flags and found is not None and found.size <= SMALL
            if small or output.path in job.content:
                known = disk.digest(output.path)
                hashes |= {} if known is None else {output.path: known}
            if at is not None and found is not None:
                hashes |= put_back(output.path, at)
        self._made[spec.name] = {path: Stamp(*facts) for path, facts in made.items()}
        return {
            "inputs": {path: tuple(stamp) for path, stamp in stamps.items()},
            "hashes": hashes,
            "outputs": made,
            "changed": inputs.changed(spec.inputs, seen.stamps),
        }

    def _tell(self, job: Planned, key: Key, outcome: Outcome, **more: Any) -> str:
        """Write the receipt of an end, or say it where that cannot be; the state."""
        self._ended[str(job.spec["name"])] = outcome.state
        failed = outcome.state == "failed"
        left = job.retry.get(outcome.failure or "", job.retry.get("", 0))
        log = self._log(outcome)
        ended = Ended(
            key,
            str(job.spec["name"]),
            self._runner,
            replace(outcome, err_at=log.err_at) if log.text is not None else outcome,
            log_text=log.text,
            recipe=job.recipe,
            retry=failed and left > 0,
            **more,
        )
        try:
            receipts.write_ended(self._inbox, ended, self._tries(_PATIENCE_S))
        except OSError as error:
            self._say(messages.inbox_unwritable(self._inbox, error.strerror or str(error)))
            self._say(receipts.as_line(ended))
        return outcome.state

    def _log(self, outcome: Outcome) -> Log:
        """What a log of ours holds, if that is little."""
        path = outcome.log
        if path is None or os.path.dirname(path) != self._scratch:
            return Log()
        return small_log(path, outcome.err_at is not None, receipts.SMALL_LOG)


def _traceback() -> str:
    import traceback  # 8 ms, which runners that do their work do not pay

    return traceback.format_exc()
