"""What a build tells while it runs and when it ends: one line a job, or nothing but errors."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from buildhpc.plan.model import Job, Plan, Step
from buildhpc.plan.plan import counted
from buildhpc.quantities import human_time
from buildhpc.run.events import Ended, Event, Skipped, Started, Tick, Unneeded
from buildhpc.run.spec import JobSpec, Outcome
from buildhpc.show.text import Paint, command_text, painter
from buildhpc.state.logs import beside

_TAIL_LINES = 20
_TAIL_BYTES = 16_384
_COMMAND_LINES = 15
_REPORTS = 5


@dataclass(frozen=True, slots=True)
class FailedJob:
    """A job that failed for good, and the last lines of its log.

    of: `log`, or `stderr` where the lines are of that alone.
    """

    job: Job
    spec: JobSpec
    outcome: Outcome
    log_tail: tuple[str, ...]
    of: str = "log"


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended.

    status: `done`, `failed` or `interrupted`. signal: what interrupted it.
    counts: how many jobs were `done`, `failed`, `skipped`, `unneeded`, `theirs` (made by other
        runs).
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

    def theirs_done(self, job: str) -> None:
        """A job is done that another run had."""

    def stopping(self) -> None:
        """A signal came: jobs are asked to end."""

    def more(self, steps: Sequence[Step]) -> None:
        """Further jobs became known."""

    def event(self, event: Event) -> None:
        """Something happened."""

    def end(self, summary: Summary) -> None:
        """The run is over."""

    def close(self) -> None:
        """The run broke off: leave the terminal as it was."""


def reporter_for(
    args: argparse.Namespace, plan: Plan, run: int, message: Callable[[Job], str | None]
) -> Reporter:
    """The reporter that fits the terminal and the options.

    message: what the rule of a job wants its line to say.
    """
    if (own := getattr(args, "reporter", None)) is not None:
        made: Reporter = own(run)  # a program that calls us
        return made
    if args.json:
        from buildhpc.show.json_lines import JsonLines

        return JsonLines(plan, run)
    if args.quiet:
        return Quiet(_again(args))
    wording = Wording(plan, message, _again(args), verbose=args.verbose)
    if sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from buildhpc.show.live import LiveView

        return LiveView(plan, wording)
    return Lines(wording)


def _again(args: argparse.Namespace) -> str:
    """How hpcmake is called again for the same Pipefile in the same folder."""
    words = ["hpcmake"]
    words += ["-C", args.directory] if args.directory else []
    words += ["-f", args.file] if args.file else []
    for setting in args.set:
        words += ["--set", setting]
    return shlex.join(words)


class Quiet:
    """Nothing but errors, on standard error. again: how hpcmake is called again."""

    def __init__(self, again: str) -> None:
        self._again = again

    def waiting_for(self, jobs: Mapping[str, int]) -> None:
        """See `Reporter.waiting_for`."""

    def theirs_done(self, job: str) -> None:
        """See `Reporter.theirs_done`."""

    def stopping(self) -> None:
        """See `Reporter.stopping`."""

    def more(self, steps: Sequence[Step]) -> None:
        """See `Reporter.more`."""

    def event(self, event: Event) -> None:
        """See `Reporter.event`."""

    def end(self, summary: Summary) -> None:
        """See `Reporter.end`."""
        print_failures(summary, self._again)

    def close(self) -> None:
        """See `Reporter.close`."""


class Wording:
    """The lines that are said of jobs, and how many of them are done.

    message: what the rule of a job wants its line to say. again: how hpcmake is called again.
    verbose: commands are shown as jobs start, and jobs that are skipped.
    """

    def __init__(
        self, plan: Plan, message: Callable[[Job], str | None], again: str, *, verbose: bool
    ) -> None:
        self.again = again
        self.verbose = verbose
        self._total = self._done = 0
        self._jobs: dict[str, Job] = {}
        self._message = message
        self.more(plan.steps)

    def more(self, steps: Sequence[Step]) -> None:
        """Count further jobs."""
        self._total += counted([step.job for step in steps])
        self._width = len(f"{self._total}")
        # Few rules have a message; the others need no job to be found.
        self._jobs.update(
            (step.job.name, step.job) for step in steps if "message" in step.job.rule.directives
        )

    def name(self, job: str) -> str:
        """What a job is called: what its rule says, else its name."""
        found = self._jobs.get(job)
        return (self._message(found) if found else None) or job

    def waiting(self, jobs: Mapping[str, int]) -> str:
        """That other runs have jobs of this one."""
        runs = sorted(set(jobs.values()))
        who = f"run {runs[0]} has" if len(runs) == 1 else f"runs {', '.join(map(str, runs))} have"
        return f"waiting for {_many(len(jobs))} that {who}"

    def theirs(self, job: str) -> str:
        """That another run is done with a job."""
        return f"{self._counted(job)}  made by another run"

    def event(self, event: Event) -> list[str]:
        """The lines for an event; none for most of them."""
        if isinstance(event, Ended):
            return self._ended(event)
        if isinstance(event, Unneeded):
            return [f"{self._counted(event.job)}  not needed: its inputs are as they were"]
        if not self.verbose:
            return []
        if isinstance(event, Started):
            text = command_text(event.spec.recipe).rstrip("\n")
            command = [f"    {line}".rstrip() for line in text.split("\n")] if text else []
            log = [f"    log: {event.spec.log}"] if event.spec.log else []
            return [f"start: {self.name(event.job)}", *command, *log]
        if isinstance(event, Skipped):
            return [f"skipped: {event.job}, since {event.because} failed"]
        return []

    def _ended(self, event: Ended) -> list[str]:
        outcome = event.outcome
        if outcome.state == "done":
            seconds = max(0.0, outcome.ended_s - outcome.started_s)
            return [f"{self._counted(event.job)}  {human_time(seconds)}"]
        again = "; it is tried again" if event.retry else ""
        return [f"{outcome.state}: {event.job}: {outcome.message}{again}"]

    def _counted(self, job: str) -> str:
        self._done += 1
        return f"[{self._done:{self._width}}/{self._total}] {self.name(job)}"


class Lines:
    """One line a job, on standard output."""

    def __init__(self, wording: Wording) -> None:
        self._wording = wording

    def waiting_for(self, jobs: Mapping[str, int]) -> None:
        """See `Reporter.waiting_for`."""
        print(self._wording.waiting(jobs), flush=True)

    def theirs_done(self, job: str) -> None:
        """See `Reporter.theirs_done`."""
        print(self._wording.theirs(job), flush=True)

    def more(self, steps: Sequence[Step]) -> None:
        """See `Reporter.more`."""
        self._wording.more(steps)

    def stopping(self) -> None:
        """See `Reporter.stopping`."""
        sys.stdout.flush()
        print(STOPPING, file=sys.stderr)

    def event(self, event: Event) -> None:
        """See `Reporter.event`."""
        if isinstance(event, Tick):
            sys.stdout.flush()
        for line in self._wording.event(event):
            print(line)

    def end(self, summary: Summary) -> None:
        """See `Reporter.end`."""
        sys.stdout.flush()
        print_failures(summary, self._wording.again)
        print(summary_line(summary))

    def close(self) -> None:
        """See `Reporter.close`."""


STOPPING = "stopping: jobs are asked to end; a second Ctrl-C kills them"


def summary_line(summary: Summary) -> str:
    """One line that says how the run ended."""
    counts = summary.counts
    parts = [f"{_many(counts['done'])} done"]
    parts += [f"{counts[kind]:,} {kind}" for kind in ("failed", "skipped") if counts[kind]]
    if counts["unneeded"]:
        parts.append(f"{counts['unneeded']:,} not needed")
    if counts["theirs"]:
        parts.append(f"{counts['theirs']:,} made by other runs")
    left = summary.total - sum(counts.values())
    if left > 0:
        parts.append(f"{left:,} not done")
    lead = "" if summary.status == "done" else f"{summary.status}: "
    return f"{lead}{', '.join(parts)} in {human_time(summary.wall_s)}"


def _many(jobs: int) -> str:
    return "1 job" if jobs == 1 else f"{jobs:,} jobs"


def print_failures(summary: Summary, again: str) -> None:
    """Tell of the first jobs that failed, on standard error.

    again: how hpcmake is called again.
    """
    paint = painter(sys.stderr)
    for failed in summary.failed[:_REPORTS]:
        print(failure_text(failed, again, paint), file=sys.stderr)
    if len(summary.failed) > _REPORTS:
        more = len(summary.failed) - _REPORTS
        print(f"\n{_many(more)} more failed: {again} status --state failed", file=sys.stderr)
    if summary.failed:
        print(file=sys.stderr)


def failure_text(failed: FailedJob, again: str, paint: Paint) -> str:
    """The job, its command, how it ended, the end of its log, and what to type next."""
    outcome, spec = failed.outcome, failed.spec
    head = paint("red", "error[job-failed]")
    lines = [f"\n{head}: {paint('bold', failed.job.name)}: {outcome.message}"]
    if failed.job.outputs:
        more = f" and {len(failed.job.outputs) - 3} more" if len(failed.job.outputs) > 3 else ""
        lines.append(f" = output: {', '.join(failed.job.outputs[:3])}{more}")
    if spec.attempt > 1:
        lines.append(f" = note: it was tried {spec.attempt} times")
    lines += _command_lines(spec)
    # A log of so many lines may have more of them.
    cut = len(failed.log_tail) >= _TAIL_LINES
    if failed.log_tail:
        lines.append(f" = the end of its {failed.of}:" if cut else f" = {failed.of}:")
        lines += [f"   | {line}" for line in failed.log_tail]
    elif spec.recipe.kind != "none":
        lines.append(" = note: it printed nothing")
    command = "logs" if cut or failed.of != "log" else "show"
    lines.append(f" = next: {paint('bold', f'{again} {command} {shlex.quote(failed.job.name)}')}")
    return "\n".join(lines)


def _command_lines(spec: JobSpec) -> list[str]:
    text = spec.recipe.text.rstrip("\n")
    if not text:
        return []
    lines = text.split("\n")
    if len(lines) == 1:
        return [f" = {spec.recipe.kind}: {text}"]
    shown = [f"     {line}".rstrip() for line in lines[:_COMMAND_LINES]]
    if len(lines) > _COMMAND_LINES:
        shown.append(f"     ... {len(lines) - _COMMAND_LINES} lines more ...")
    return [f" = {spec.recipe.kind}:", *shown]


def tail(outcome: Outcome) -> tuple[tuple[str, ...], str]:
    """The last lines of what an attempt printed, and of what; see `FailedJob`."""
    if outcome.log is None:
        return (), "log"
    if outcome.err_at is not None and (lines := _tail(beside(outcome.log))):
        return lines, "stderr"
    return _tail(outcome.log), "log"


def _tail(path: str) -> tuple[str, ...]:
    try:
        with open(path, "rb") as file:  # a str is at hand
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            data = file.read()
    except OSError:
        return ()
    text = data.decode(errors="replace").rstrip("\n")
    return tuple(text.split("\n")[-_TAIL_LINES:]) if text else ()
