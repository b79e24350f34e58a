"""What a build tells while it runs and when it ends: one line a job, or a live view."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from buildhpc.plan.model import Job, Plan
from buildhpc.quantities import human_time
from buildhpc.run.events import Ended, Event, Unneeded
from buildhpc.run.spec import JobSpec, Outcome

_TAIL_LINES = 20
_TAIL_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that failed for good, and the last lines of its log."""

    job: Job
    spec: JobSpec
    outcome: Outcome
    log_tail: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended. counts: how many jobs were `done`, `failed`, `skipped`, `unneeded`.

    status: `done`, `failed` or `interrupted`. signal: what interrupted it.
    """

    run: int
    status: str
    counts: Mapping[str, int]
    total: int
    wall_s: float
    failed: tuple[FailedJob, ...]
    edited: tuple[str, ...]
    signal: int | None


class Reporter(Protocol):
    """Tells people, or programs, of a run."""

    def waiting_for(self, jobs: Mapping[str, int]) -> None:
        """Jobs of the plan that other runs have."""

    def event(self, event: Event) -> None:
        """Something happened."""

    def end(self, summary: Summary) -> None:
        """The run is over."""

    def close(self) -> None:
        """The run broke off: leave the terminal as it was."""


def reporter_for(args: argparse.Namespace, plan: Plan, run: int) -> Reporter:
    """The reporter that fits the terminal and the options."""
    return Lines(len(plan.steps), quiet=args.quiet)


class Lines:
    """One line a job, on standard output."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        self._total = total
        self._quiet = quiet
        self._done = 0
        self._width = len(str(total))

    def waiting_for(self, jobs: Mapping[str, int]) -> None:
        """See `Reporter.waiting_for`."""
        if not self._quiet:
            runs = ", ".join(str(run) for run in sorted(set(jobs.values())))
            print(f"waiting for {len(jobs):,} jobs that run {runs} has", flush=True)

    def event(self, event: Event) -> None:
        """See `Reporter.event`."""
        if self._quiet:
            return
        if isinstance(event, Ended) and event.outcome.state == "done":
            self._done += 1
            seconds = event.outcome.ended_s - event.outcome.started_s
            print(f"[{self._done:{self._width}}/{self._total}] {event.job}  {human_time(seconds)}")
        elif isinstance(event, Ended):
            again = ", will be tried again" if event.retry else ""
            print(f"{event.outcome.state}: {event.job}: {event.outcome.message}{again}", flush=True)
        elif isinstance(event, Unneeded):
            self._done += 1
            print(f"[{self._done:{self._width}}/{self._total}] {event.job}  inputs unchanged")

    def end(self, summary: Summary) -> None:
        """See `Reporter.end`."""
        sys.stdout.flush()
        for failed in summary.failed[:5]:
            print(failure_text(failed), file=sys.stderr)
        if not self._quiet:
            print(summary_line(summary))

    def close(self) -> None:
        """See `Reporter.close`."""


def summary_line(summary: Summary) -> str:
    """One line that says how the run ended."""
    counts = summary.counts
    parts = [f"{counts['done']:,} done"]
    parts += [f"{counts[k]:,} {k}" for k in ("failed", "skipped") if counts[k]]
    left = summary.total - sum(counts[k] for k in ("done", "failed", "skipped", "unneeded"))
    if left > 0 and summary.status != "done":
        parts.append(f"{left:,} not started")
    return f"{summary.status}: {', '.join(parts)} in {human_time(summary.wall_s)}"


def failure_text(failed: FailedJob) -> str:
    """The job, its command, how it ended, the end of its log, and what to type next."""
    outcome = failed.outcome
    lines = [f"\nerror[job-failed]: {failed.job.name}: {outcome.message}"]
    for path in failed.job.outputs[:3]:
        lines.append(f" = output: {path}")
    text = failed.spec.recipe.text.rstrip("\n")
    if text:
        first, *more = text.split("\n")
        lines.append(f" = {failed.spec.recipe.kind}: {first}")
        lines += [f"   {' ' * len(failed.spec.recipe.kind)}  {line}" for line in more[:15]]
    if failed.log_tail:
        lines.append(" = the end of its log:")
        lines += [f"   | {line}" for line in failed.log_tail]
    else:
        lines.append(" = note: it printed nothing")
    name = shlex.quote(failed.job.outputs[0] if failed.job.outputs else failed.job.rule.name)
    lines.append(f" = next: hpcmake logs {name}")
    return "\n".join(lines)


def tail(path: str | None) -> tuple[str, ...]:
    """The last lines of a log file; empty when there is none."""
    if path is None:
        return ()
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            data = file.read()
    except OSError:
        return ()
    text = data.decode(errors="replace").rstrip("\n")
    return tuple(text.split("\n")[-_TAIL_LINES:]) if text else ()
