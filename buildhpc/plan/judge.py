"""Which jobs are stale, decided one by one as they are found: the inputs of some hang on that."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import replace

from buildhpc.plan.graph import GraphBuilder
from buildhpc.plan.model import Job, Reason
from buildhpc.plan.stale import Evidence, stale
from buildhpc.plan.stamps import Record, Stamp


class Judge:
    """Decides about the jobs of a builder.

    reasons: of the jobs that are stale, and have not run since. relied: the checkpoints whose
    files were looked at, since they need not run.
    evidence: its `records` and `makers` are what `fetch` and this fill.
    fetch: names of jobs that are new -> their records as they are now.
    doubted: names of checkpoints that will run, whatever seems.
    planned: name of a job that is planned already -> whether it is still to run.
    """

    def __init__(
        self,
        builder: GraphBuilder,
        evidence: Evidence,
        fetch: Callable[[Sequence[str]], Mapping[str, Record]],
        doubted: Container[str] = (),
        planned: Mapping[str, bool] | None = None,
    ) -> None:
        self.planned = planned or {}
        self.reasons: dict[Job, Reason] = {}
        self.relied: set[Job] = set()
        self.evidence = evidence
        self._builder = builder
        self._fetch = fetch
        self._doubted = doubted
        self._makers: dict[str, Job] = {}
        self._at = 0
        self.evidence = replace(evidence, makers=self._makers)
        builder.ran = self.has_run

    def has_run(self, job: Job) -> bool:
        """Whether a job need not run any more; then what hangs on it is as it will be."""
        self.catch_up()
        if job in self.reasons or job.name in self._doubted:
            return False
        self.relied.add(job)
        return True

    def catch_up(self) -> list[Job]:
        """Judge the jobs that were found since the last time; returns them."""
        new = self._builder.order[self._at :]
        self._at += len(new)
        if new:
            records = self._fetch([job.name for job in new])
            self.evidence = replace(self.evidence, records=records)
        for job in new:
            self.judge(job)
        return new

    def judge(self, job: Job) -> Reason | None:
        """Why a job must run, None when it need not."""
        self.reasons.pop(job, None)
        self._makers.update(dict.fromkeys(job.outputs, job))
        if job.name in self.planned:
            if self.planned[job.name]:
                self.reasons[job] = Reason("upstream")
            return self.reasons.get(job)
        path = next((p for p in job.inputs if p not in job.ancient and self._coming(p)), None)
        maker = self._builder.maker(path) if path is not None else None
        reason = stale(job, self.evidence, path, maker.name if maker else None)
        if reason is not None:
            self.reasons[job] = reason
        return reason

    def _coming(self, path: str) -> bool:
        """Whether a job will make a path anew."""
        return self._builder.maker(path) in self.reasons

    def after(self, job: Job) -> tuple[str, ...]:
        """The names of the jobs that have to run before `job`."""
        makers = (self._builder.maker(path) for path in job.inputs)
        return tuple(dict.fromkeys(m.name for m in makers if m is not None and m in self.reasons))

    def forget(self, jobs: Sequence[Job]) -> None:
        """Forget jobs that the builder has forgotten."""
        self._at = min(self._at, len(self._builder.order))
        for job in jobs:
            self.reasons.pop(job, None)
            for path in job.outputs:
                self._makers.pop(path, None)

    def look_again(self, disk: Mapping[str, Stamp]) -> None:
        """Go on with what is there by now."""
        self._builder.look_again(disk)
        self.evidence = replace(self.evidence, disk=disk)
