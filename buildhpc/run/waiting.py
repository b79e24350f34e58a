"""The jobs that wait: for others, for room, for another run; and what is told of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, Protocol

from buildhpc.diagnostics import HpcmakeError
from buildhpc.plan.groups import Groups
from buildhpc.run.attempts import not_launched
from buildhpc.run.events import Ended, Event, Skipped
from buildhpc.run.frontier import Frontier
from buildhpc.run.machine import Limits
from buildhpc.run.pool import Pool
from buildhpc.run.spec import Failure, JobSpec, Needs, Outcome


class Work(Protocol):
    """What the executor asks of who knows the plan. Tasks are the numbers 0 to `count` - 1."""

    @property
    def count(self) -> int:
        """How many tasks there are."""

    def after(self, task: int, /) -> Iterable[int]:
        """The tasks that must be done before this one; asked once, when it comes to be known."""

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


class Waiting:
    """The jobs of a plan that are not done.

    pool: those that are ready. failed: a job failed and will not be tried again.
    in_groups: jobs of a lower priority wait until nothing of a higher one is to come.
    """

    def __init__(self, work: Work, limits: Limits) -> None:
        self.pool = Pool(limits.cores, limits.mem_mib, limits.gpus, limits.resources)
        self.failed = False
        self._work = work
        self._frontier = Frontier(work.count, work.after)
        # What is to be told, and the job that is finished once it has been.
        self._events: deque[tuple[Event, int | None]] = deque()
        self._numbers: dict[int, int] = {}  # of attempts, of jobs that are tried again
        self._foreign: set[int] = set()
        self.in_groups = False
        self._groups: Groups | None = None
        self._held: list[int] = []  # ready, and of a lower group

    def __bool__(self) -> bool:
        return bool(self.pool or self._foreign or self._events or self._held)

    @property
    def untold(self) -> bool:
        """Whether there are events."""
        return bool(self._events)

    def number(self, task: int) -> int:
        """Of the attempt of a job that comes next, counted from 1."""
        return self._numbers.get(task, 1)

    def rank_anew(self) -> None:
        """Ask for the priorities of all that is ready again."""
        ready = [*self.pool.take_all(), *self._held]
        self._held.clear()
        self._make_groups()
        for task in ready:
            self._offer(task)

    def _make_groups(self) -> None:
        if self.in_groups:
            tasks = range(self._work.count)
            open_ = [task for task in tasks if self._frontier.is_open(task)]
            self._groups = Groups([self._work.priority(task) for task in tasks], open_)

    def begin(self) -> None:
        """Let all jobs take part that wait for nothing."""
        self._make_groups()
        for task in self._frontier.first():
            self._offer(task)

    def grow(self, first: int, longer: Iterable[int]) -> None:
        """Take in the tasks from `first` on, which are new.

        longer: earlier ones that nobody finished and that have more to wait for by now.
        """
        self._frontier.extend(self._work.count)
        self._make_groups()
        for task in (*range(first, self._work.count), *longer):
            lost = self._frontier.wait(task, self._work.after(task))
            if lost is not None and self._frontier.is_open(task):
                self.tell(Skipped(self._work.name(task), self._work.name(lost)))
                self._skip(task, self._work.name(lost))
        for task in range(first, self._work.count):
            if self._frontier.is_ready(task):
                self._offer(task)

    def told(self) -> Iterator[Event]:
        """The events so far; what depends on a finished job comes after its event."""
        while self._events:
            event, finished = self._events.popleft()
            yield event
            if finished is not None:
                self._finish(finished)

    def tell(self, event: Event, finished: int | None = None) -> None:
        """Add an event; `finished`: the job that is finished with it."""
        self._events.append((event, finished))

    def is_settled(self, task: int) -> bool:
        """Whether what becomes of a job is known already."""
        return not self._frontier.is_open(task)

    def leave(self, task: int) -> None:
        """Leave a job to the run that has it, until `settle`."""
        self._foreign.add(task)

    def settle(self, task: int, state: Literal["done", "failed", "released"]) -> None:
        """Tell what became of a job that another run had; `released`: nobody has it now."""
        left = task in self._foreign
        self._foreign.discard(task)
        if state == "released":
            # Before its turn has come nothing is to be done: it is ours then.
            if left:
                self._offer(task)
        elif state == "done":
            self._finish(task)
        else:
            self._give_up(task)

    def end(self, task: int, spec: JobSpec | None, outcome: Outcome, may_retry: bool) -> None:
        """Tell the end of an attempt, and see to what follows from it."""
        name = self._work.name(task)
        if outcome.state == "done":
            self.tell(Ended(name, spec, outcome), task)
            return
        number = self.number(task)
        retry = (
            may_retry
            and outcome.failure is not None
            and self._work.retries(task, outcome.failure, number)
        )
        self.tell(Ended(name, spec, outcome, retry))
        if retry:
            self._numbers[task] = number + 1
            self._offer(task)
        else:
            self._give_up(task)

    def _offer(self, task: int) -> None:
        """Let a job take part whose predecessors are done."""
        if self._groups is not None and not self._groups.may_run(task):
            self._held.append(task)
            return
        try:
            needs = self._work.needs(task, self.number(task))
            text = self.pool.fits_ever(needs)
            if text is None:
                self.pool.add(task, needs, self._work.priority(task))
                return
            outcome = not_launched(Failure("launch", text))
        except HpcmakeError as error:
            outcome = not_launched(error)
        self.tell(Ended(self._work.name(task), None, outcome))
        self._give_up(task)

    def _finish(self, task: int) -> None:
        for ready in self._frontier.finish(task):
            self._offer(ready)
        self._ended([task])

    def _give_up(self, task: int) -> None:
        self.failed = True
        self._skip(task, self._work.name(task))

    def _skip(self, task: int, because: str) -> None:
        """Give up a task, and all that needs it."""
        ended = [task]
        for each in self._frontier.give_up(task):
            self.tell(Skipped(self._work.name(each), because))
            ended.append(each)
        self._ended(ended)

    def _ended(self, tasks: Sequence[int]) -> None:
        """Let the next group take part where these were the last of theirs."""
        if self._groups is None:
            return
        lower = [self._groups.end(task) for task in tasks]
        if any(lower):
            held, self._held = self._held, []
            for task in held:
                self._offer(task)
