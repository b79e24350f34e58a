"""A build told to programs: one event a line, as JSON, on standard output."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence

from buildhpc.plan.model import Plan, Step
from buildhpc.plan.plan import counted
from buildhpc.run.events import Ended, Event, Skipped, Started, Tick, Unneeded
from buildhpc.show.report import Summary


class JsonLines:
    """Tells `run-started`, `started`, `ended`, `skipped`, `unneeded`, `run-ended`, and `known` of
    jobs that a checkpoint brought; each with a `time` in seconds since the epoch. Names and
    meanings of fields stay as they are.
    """

    def __init__(self, plan: Plan, run: int) -> None:
        self._steps = {step.job.name: step for step in plan.steps}
        self._run = run
        jobs = counted([step.job for step in plan.steps])
        _tell("run-started", run=run, jobs=jobs)

    def waiting_for(self, jobs: Mapping[str, int]) -> None:
        """See `Reporter.waiting_for`."""
        for job, run in jobs.items():
            _tell("waiting", **self._about(job), run=run)

    def theirs_done(self, job: str) -> None:
        """See `Reporter.theirs_done`."""
        _tell("ended-elsewhere", **self._about(job))

    def more(self, steps: Sequence[Step]) -> None:
        """See `Reporter.more`."""
        for step in steps:
            self._steps[step.job.name] = step
            reason = step.reason
            _tell("known", **self._about(step.job.name), reason=reason.kind, text=reason.text)

    def stopping(self) -> None:
        """See `Reporter.stopping`."""
        _tell("stopping", run=self._run)

    def event(self, event: Event) -> None:
        """See `Reporter.event`."""
        if isinstance(event, Tick):
            sys.stdout.flush()
        elif isinstance(event, Started):
            self._started(event)
        elif isinstance(event, Ended):
            self._ended(event)
        elif isinstance(event, Skipped):
            _tell("skipped", **self._about(event.job), because=event.because)
        elif isinstance(event, Unneeded):
            _tell("unneeded", **self._about(event.job))

    def _started(self, event: Started) -> None:
        reason = self._steps[event.job].reason
        _tell(
            "started",
            **self._about(event.job),
            attempt=event.spec.attempt,
            reason=reason.kind,
            text=reason.text,
            pid=event.pid or None,
            cores=event.spec.needs.cores,
            log=event.log,
        )

    def _ended(self, event: Ended) -> None:
        outcome = event.outcome
        _tell(
            "ended",
            **self._about(event.job),
            attempt=event.spec.attempt if event.spec else 1,
            state=outcome.state,
            failure=outcome.failure,
            message=outcome.message,
            exit_code=outcome.exit_code,
            signal=outcome.signal,
            wall_s=round(max(0.0, outcome.ended_s - outcome.started_s), 3),
            cpu_s=round(outcome.cpu_s, 3),
            peak_mib=round(outcome.peak_mib, 1),
            retry=event.retry,
        )

    def end(self, summary: Summary) -> None:
        """See `Reporter.end`."""
        _tell(
            "run-ended",
            run=summary.run,
            status=summary.status,
            jobs=summary.total,
            **summary.counts,
            signal=summary.signal,
            wall_s=round(summary.wall_s, 3),
            edited=summary.edited,
        )
        sys.stdout.flush()

    def close(self) -> None:
        """See `Reporter.close`."""

    def _about(self, job: str) -> dict[str, object]:
        found = self._steps[job].job
        return {"job": job, "rule": found.rule.task, "outputs": found.outputs}


def _tell(event: str, **fields: object) -> None:
    print(json.dumps({"event": event, "time": round(time.time(), 3), **fields}))
