"""Lets a build here grow: what hangs on a checkpoint joins it once the checkpoint has run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from buildhpc.commands.checks import check_needs, check_protected
from buildhpc.commands.work import PlanWork, TempKeeper
from buildhpc.diagnostics import HpcmakeError
from buildhpc.plan.growing import Growing, Grown
from buildhpc.plan.model import Job, Plan, Step
from buildhpc.run.describe import Describer
from buildhpc.run.events import Ended, Event, Skipped, Unneeded
from buildhpc.run.local import LocalExecutor
from buildhpc.run.machine import Limits
from buildhpc.show.report import Reporter
from buildhpc.state.claims import Claimed

Claim = Callable[[Sequence[Job]], Claimed]


class Growth:
    """What of a build becomes known while it runs.

    growing: None where all is known. claim: makes jobs this run's own.
    """

    def __init__(
        self,
        growing: Growing | None,
        work: PlanWork,
        executor: LocalExecutor,
        keeper: TempKeeper,
        reporter: Reporter,
        claim: Claim,
    ) -> None:
        self._growing = growing
        self._work = work
        self._executor = executor
        self._keeper = keeper
        self._reporter = reporter
        self._claim = claim
        self._check: Callable[[Step], None] = lambda _: None

    def check_by(self, describer: Describer, limits: Limits, *, unprotect: bool) -> None:
        """Check further jobs as those of the plan were."""

        def check(step: Step) -> None:
            plan = Plan((step,), 1)
            check_protected(plan, unprotect=unprotect)
            check_needs(plan, describer, limits)

        self._check = check

    def event(self, event: Event) -> None:
        """Take note of an event that was recorded."""
        if self._growing is None:
            return
        if isinstance(event, Unneeded) or (
            isinstance(event, Ended) and event.outcome.state == "done"
        ):
            self.has_run(event.job)
        elif isinstance(event, Skipped) or (isinstance(event, Ended) and not event.retry):
            job = self._job(event.job)
            self._growing.give_up(job)
            self._keeper.give_up(job)

    def has_run(self, name: str) -> None:
        """A job has run, or need not."""
        if self._growing is not None:
            for grown in self._growing.has_run(self._job(name)):
                self._take_in(grown)

    def _job(self, name: str) -> Job:
        return self._work.steps[self._work.numbers[name]].job

    def _take_in(self, grown: Grown) -> None:
        task, first = self._work.numbers[grown.job.name], self._work.count
        if grown.error is not None:
            self._work.refuse(task, grown.error)
            return
        more = [step.job for step in grown.more]
        claimed = self._claim([job for job in more if job.acts]) if more else Claimed()
        self._work.grow(grown.more, grown.replaced)
        self._work.settle(task, grown.step)
        for name in claimed.foreign:
            self._work.theirs[self._work.numbers[name]] = name
        self._refuse_unfit((*grown.more, *([grown.step] if grown.step else ())))
        self._keeper.grow(grown.job, [*more, grown.job], grown.fresh)
        self._reporter.more(grown.more)
        if claimed.foreign:
            self._reporter.waiting_for(claimed.foreign)
        self._executor.grow(first, [task] if grown.step else [])

    def _refuse_unfit(self, steps: Iterable[Step]) -> None:
        for step in steps:
            try:
                self._check(step)
            except HpcmakeError as error:
                self._work.refuse(self._work.numbers[step.job.name], error)
