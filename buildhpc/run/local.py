"""Runs the jobs of a plan on this machine, and tells what happens."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal, Protocol

from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import run as messages
from buildhpc.run import orphans, outputs
from buildhpc.run.attempt import NotStartedError
from buildhpc.run.attempts import Attempts, Timing, not_launched, not_run
from buildhpc.run.events import Ended, Event, Skipped, Started, Tick, Unneeded
from buildhpc.run.frontier import Frontier
from buildhpc.run.machine import Limits
from buildhpc.run.pool import Grant, Pool
from buildhpc.run.recipes import Place
from buildhpc.run.signals import Signals
from buildhpc.run.spec import Failure, JobSpec, Needs, Outcome

_TICK_S = 0.25
_TIMING = Timing()
_STARTS_AT_ONCE = 64
_SHORTAGE_PAUSE_S = 0.1
_SHORTAGE_LIMIT_S = 20.0


class Work(Protocol):
    """What the executor asks of who knows the plan. Tasks are the numbers 0 to `count` - 1."""

    @property
    def count(self) -> int:
        """How many tasks there are."""

    def after(self, task: int, /) -> Iterable[int]:
        """The tasks that must be done before this one; asked once, at the beginning."""

    def name(self, task: int, /) -> str:
        """The name of the job."""

    def priority(self, task: int, /) -> int:
        """Higher starts first; asked when the job becomes ready. Raises: HpcmakeError"""

    def needs(self, task: int, attempt: int, /) -> Needs:
        """What an attempt needs; asked when the job becomes ready, and again for a retry.

        Raises: HpcmakeError
        """

    def foreign(self, task: int, /) -> bool:
        """Whether another run has the job: then it waits here for `settle`. Asked first."""

    def still_needed(self, task: int, /) -> bool:
        """Whether the job is still stale, now that what it waits for is done."""

    def spec(self, task: int, attempt: int, /) -> JobSpec:
        """What to run; asked when the job is about to start. Raises: HpcmakeError"""

    def before_start(self, task: int, spec: JobSpec, /) -> None:
        """The last moment before files are touched. Raises: HpcmakeError"""

    def retries(self, task: int, failure: str, attempts: int, /) -> bool:
        """Whether to try again after this class of failure and so many attempts."""


class LocalExecutor:
    """A plan being run on this machine.

    failed: a job failed and will not be tried again.
    interrupted: the signal that stopped the build, if one did.
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
        self.failed = False
        self.interrupted: int | None = None
        self._work = work
        self._marker = place.marker
        self._keep_going = keep_going
        self._pool = Pool(limits.cores, limits.mem_mib, limits.gpus, limits.resources)
        self._frontier = Frontier(work.count, work.after)
        self._attempts = Attempts(place, timing, keep_incomplete, limits.enforce_mem)
        # What is to be told, and the job that is finished once it has been.
        self._events: deque[tuple[Event, int | None]] = deque()
        self._numbers: dict[int, int] = {}  # of attempts, of jobs that are tried again
        self._foreign: set[int] = set()
        self._stops = self._stops_heard = 0
        self._short_since_s = self._short_until_s = 0.0

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
        self._foreign.discard(task)
        if state == "released":
            self._offer(task)
        elif state == "done":
            self._finish(task)
        else:
            self._give_up(task)

    def _loop(self, signals: Signals) -> Iterator[Event]:
        for task in self._frontier.first():
            self._offer(task)
        tick_s = time.monotonic() + _TICK_S
        while True:
            for _ in range(_STARTS_AT_ONCE):
                grant = self._next()
                if grant is None:
                    break
                self._start(grant)
                yield from self._told()
            yield from self._told()
            now = time.monotonic()
            if now >= tick_s:
                yield Tick()
                yield from self._told()
                tick_s = now + _TICK_S
            if self._at_end():
                return
            if grant is None:
                signals.wait(min(tick_s, self._attempts.due_s, self._soon()) - now)
            self._hear_stops()
            yield from self._collect()

    def _told(self) -> Iterator[Event]:
        """The events so far; what depends on a finished job comes after its event."""
        while self._events:
            event, finished = self._events.popleft()
            yield event
            if finished is not None:
                self._finish(finished)

    def _next(self) -> Grant | None:
        """The job to start now, if one may be started."""
        if self._stopping() or time.monotonic() < self._short_until_s:
            return None
        return self._pool.next()

    def _stopping(self) -> bool:
        return self.interrupted is not None or (self.failed and not self._keep_going)

    def _soon(self) -> float:
        """When a shortage of processes or memory may be over."""
        return self._short_until_s if self._short_since_s else float("inf")

    def _at_end(self) -> bool:
        if self._attempts or self._events:
            return False
        return self._stopping() or not (self._pool or self._foreign)

    def _hear_stops(self) -> None:
        if self._stops == self._stops_heard:
            return
        cause = Failure("cancelled", messages.cancelled(self.interrupted or 0))
        if self._stops_heard == 0:
            self._attempts.stop(cause)
        if self._stops > 1:
            self._attempts.kill()
        self._stops_heard = self._stops

    def _collect(self) -> Iterator[Event]:
        """The ends of attempts."""
        for running, outcome in self._attempts.over(time.monotonic()):
            self._pool.release(running.grant)
            self._short_since_s = self._short_until_s = 0.0
            self._end(running.grant.task, running.spec, outcome)
            yield from self._told()
            self._attempts.release(running)

    def _offer(self, task: int) -> None:
        """Let a job take part whose predecessors are done."""
        try:
            needs = self._work.needs(task, self._numbers.get(task, 1))
            text = self._pool.fits_ever(needs)
            if text is None:
                self._pool.add(task, needs, self._work.priority(task))
                return
            outcome = not_launched(Failure("launch", text))
        except HpcmakeError as error:
            outcome = not_launched(error)
        self._events.append((Ended(self._work.name(task), None, outcome), None))
        self._give_up(task)

    def _start(self, grant: Grant) -> None:
        """Start a job, or find that there is nothing to start."""
        task = grant.task
        if self._work.foreign(task):
            self._foreign.add(task)
        elif not self._work.still_needed(task):
            self._events.append((Unneeded(self._work.name(task)), task))
        elif self._launch(grant):
            return
        self._pool.release(grant)

    def _launch(self, grant: Grant) -> bool:
        """Whether the job runs now."""
        task = grant.task
        spec = None
        try:
            spec = self._granted(self._work.spec(task, self._numbers.get(task, 1)), grant)
            self._work.before_start(task, spec)
            failure = outputs.prepare(spec)
            if failure is not None:
                self._end(task, spec, not_launched(failure))
            elif spec.recipe.kind == "none":
                self._events.append((Started(spec.name, spec, 0), None))
                self._end(task, spec, not_run(spec))
            else:
                running = self._attempts.start(grant, spec)
                started = Started(spec.name, spec, running.attempt.pid, running.log)
                self._events.append((started, None))
                return True
        except NotStartedError as error:
            if not (error.shortage and self._wait_for_room(grant)):
                self._end(task, spec, not_launched(error))
                return False
            return True  # its grant is given back already
        except HpcmakeError as error:
            self._end(task, spec, not_launched(error))
        return False

    def _granted(self, spec: JobSpec, grant: Grant) -> JobSpec:
        """The spec with the cores and the devices the job was given."""
        if spec.needs.cores > grant.needs.cores:
            spec = replace(spec, needs=replace(spec.needs, cores=grant.needs.cores))
        if grant.devices:
            env = {**spec.env, "CUDA_VISIBLE_DEVICES": ",".join(grant.devices)}
            spec = replace(spec, env=env)
        return spec

    def _wait_for_room(self, grant: Grant) -> bool:
        """Put a job back that the system had no room for; False when that went on too long."""
        now = time.monotonic()
        self._short_since_s = self._short_since_s or now
        if not self._attempts and now - self._short_since_s > _SHORTAGE_LIMIT_S:
            self._short_since_s = 0.0
            return False
        self._short_until_s = now + _SHORTAGE_PAUSE_S
        self._pool.put_back(grant)
        return True

    def _end(self, task: int, spec: JobSpec | None, outcome: Outcome) -> None:
        """Tell the end of an attempt, and what follows from it."""
        name = self._work.name(task)
        if outcome.state == "done":
            self._events.append((Ended(name, spec, outcome), task))
            return
        number = self._numbers.get(task, 1)
        retry = (
            outcome.failure is not None
            and not self._stopping()
            and self._work.retries(task, outcome.failure, number)
        )
        self._events.append((Ended(name, spec, outcome, retry), None))
        if retry:
            self._numbers[task] = number + 1
            self._offer(task)
        else:
            self._give_up(task)

    def _finish(self, task: int) -> None:
        for ready in self._frontier.finish(task):
            self._offer(ready)

    def _give_up(self, task: int) -> None:
        self.failed = True
        because = self._work.name(task)
        for each in self._frontier.give_up(task):
            self._events.append((Skipped(self._work.name(each), because), None))
