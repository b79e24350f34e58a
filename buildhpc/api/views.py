"""What calls give back: values to look at, which notebooks show as tables and drawings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from buildhpc.api import html

if TYPE_CHECKING:
    from buildhpc.plan.model import Step
    from buildhpc.run.spec import Outcome
    from buildhpc.show.drawing import Drawing
    from buildhpc.show.report import Summary
    from buildhpc.state.overview import Overview
    from buildhpc.state.queries import JobRow


@dataclass(frozen=True, slots=True)
class Planned:
    """A job that would run.

    name: unique in the working folder. rule: of a job list, its task. outputs, inputs: paths.
    reason: the kind of it, such as `missing-output`; why: the same for people. after: the names
    of the planned jobs it waits for.
    """

    name: str
    rule: str
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    reason: str
    why: str
    after: tuple[str, ...]


class Plan(Sequence[Planned]):
    """What would run and why, in an order in which it could run one by one.

    total: how many jobs were looked at, fresh ones included. edited: outputs that were changed by
    hand and stay. replaced: those that would be moved aside.
    """

    def __init__(
        self, steps: Sequence[Step], total: int, edited: Sequence[str], replaced: Sequence[str]
    ) -> None:
        self.total = total
        self.edited = tuple(edited)
        self.replaced = tuple(replaced)
        self._jobs = [_planned(step) for step in steps]

    @overload
    def __getitem__(self, at: int) -> Planned: ...
    @overload
    def __getitem__(self, at: slice) -> list[Planned]: ...
    def __getitem__(self, at: int | slice) -> Planned | list[Planned]:
        return self._jobs[at]

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the jobs."""
        return tuple(job.name for job in self._jobs)

    def __str__(self) -> str:
        if not self._jobs:
            return f"nothing to do: {self.total:,} of {self.total:,} jobs are fresh"
        return f"{len(self):,} of {self.total:,} jobs would run"

    def __repr__(self) -> str:
        return f"<Plan: {self}>"

    def _repr_html_(self) -> str:
        rows = [(job.name, job.why, ", ".join(job.outputs)) for job in self._jobs]
        kept = [f"kept: {path} was changed by hand" for path in self.edited[:10]]
        table = html.table(("job", "why", "outputs"), rows) if rows else ""
        return html.text(str(self)) + table + "".join(map(html.text, kept))


def _planned(step: Step) -> Planned:
    job = step.job
    inputs = tuple(map(str, job.inputs))
    kind, why = step.reason.kind, step.reason.text
    return Planned(job.name, job.rule.task, job.outputs, inputs, kind, why, step.after)


@dataclass(frozen=True, slots=True)
class Failed:
    """A job that failed for good.

    kind: the class of its failure: `exit`, `signal`, `oom`, `timeout`, `missing-output`, ...
    message: one line for people. log: the last lines of what it printed. attempt: from 1.
    """

    name: str
    kind: str
    message: str
    exit_code: int | None
    attempt: int
    log: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    code: 0 all is done; 1 a job failed; 128 and more: a signal ended it. run: its number; None:
    there was nothing to do. status: `done`, `failed`, `interrupted` or `nothing-to-do`. done,
    failed, skipped, unneeded: numbers of jobs. wall_s: seconds. failures: what failed, and why.
    """

    code: int
    run: int | None
    status: str
    done: int = 0
    failed: int = 0
    skipped: int = 0
    unneeded: int = 0
    wall_s: float = 0.0
    failures: tuple[Failed, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all that was asked for is there."""
        return self.code == 0

    def check(self) -> Result:
        """This result, if all is done. Raises: HpcmakeError with exit code 1 otherwise."""
        if self.ok:
            return self
        from buildhpc.messages import api as messages

        raise messages.jobs_failed([each.name for each in self.failures], self.status)

    def _repr_html_(self) -> str:
        words = [f"run {self.run}: {self.status}"] if self.run else [self.status]
        numbers = {"done": self.done, "failed": self.failed, "skipped": self.skipped}
        words += [f"{number:,} {name}" for name, number in numbers.items() if number]
        rows = [(f.name, f.kind, f.message, f.log[-1] if f.log else "") for f in self.failures]
        head = ("job", "failure", "why", "last line of its log")
        table = html.table(head, rows) if rows else ""
        return html.text(", ".join([*words, f"{self.wall_s:.1f} s"])) + table


def result_of(code: int, run: int | None, summary: Summary | None) -> Result:
    """The result of a run. summary: how it ended; None: there was nothing to do."""
    if summary is None:
        return Result(code, run, "nothing-to-do" if code == 0 else "left")
    counts = summary.counts
    failures = [
        _failed(each.job.name, each.outcome, each.spec.attempt, each.log_tail)
        for each in summary.failed
    ]
    numbers = {name: counts[name] for name in ("done", "failed", "skipped", "unneeded")}
    return Result(
        code, run, summary.status, **numbers, wall_s=summary.wall_s, failures=tuple(failures)
    )


def _failed(name: str, outcome: Outcome, attempt: int, log: tuple[str, ...]) -> Failed:
    kind = outcome.failure or outcome.state
    return Failed(name, kind, outcome.message, outcome.exit_code, attempt, log)


@dataclass(frozen=True, slots=True)
class Submitted:
    """What was handed to a scheduler.

    run: its number. jobs: how many jobs of the plan there are. submitted: how many of them the
    scheduler has confirmed with an id; the rest follows when there is room. refused: its words
    where it did not take jobs.
    """

    run: int | None
    jobs: int
    submitted: int
    refused: tuple[str, ...] = ()


class Jobs(Sequence["JobRow"]):
    """Jobs that are known from runs, by rule and name; what is not known of one is None."""

    def __init__(self, rows: Sequence[JobRow]) -> None:
        self._rows = list(rows)

    @overload
    def __getitem__(self, at: int) -> JobRow: ...
    @overload
    def __getitem__(self, at: slice) -> list[JobRow]: ...
    def __getitem__(self, at: int | slice) -> JobRow | list[JobRow]:
        return self._rows[at]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[JobRow]:
        return iter(self._rows)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the jobs."""
        return tuple(row.name for row in self._rows)

    def __repr__(self) -> str:
        return f"<Jobs: {len(self):,}>"

    def _repr_html_(self) -> str:
        rows = [
            (row.name, row.state, row.run or "", row.host or "", row.failure) for row in self._rows
        ]
        return html.table(("job", "state", "run", "host", "failure"), rows, states=1)


class Status:
    """How the jobs of a folder are.

    counts: rule -> state -> number of jobs. overview: what runs, is queued, failed last; which
    runs live.
    """

    def __init__(self, overview: Overview) -> None:
        self.counts: Mapping[str, Mapping[str, int]] = overview.counts
        self.overview = overview

    def total(self, state: str) -> int:
        """How many jobs are in a state."""
        return sum(of_rule.get(state, 0) for of_rule in self.counts.values())

    def __str__(self) -> str:
        totals: dict[str, int] = {}
        for of_rule in self.counts.values():
            for name, number in of_rule.items():
                totals[name] = totals.get(name, 0) + number
        return ", ".join(f"{number:,} {name}" for name, number in totals.items()) or "no jobs"

    def __repr__(self) -> str:
        return f"<Status: {self}>"

    def _repr_html_(self) -> str:
        states = list(dict.fromkeys(name for each in self.counts.values() for name in each))
        rows: list[list[Any]] = [
            [rule, *(of_rule.get(name, 0) for name in states), sum(of_rule.values())]
            for rule, of_rule in self.counts.items()
        ]
        failed = [(job.job, job.state, job.failure) for job in self.overview.failed]
        more = html.table(("failed last", "state", "why"), failed, states=1) if failed else ""
        if not rows:
            return html.text(str(self))
        return html.table(("rule", *states, "total"), rows) + more


class Graph:
    """What depends on what; names are those of rules, or of jobs.

    needs: name -> the names that it needs. stale: name -> why its job would run.
    """

    def __init__(self, drawing: Drawing, stale: Mapping[str, str]) -> None:
        self.needs: Mapping[str, tuple[str, ...]] = drawing.needs
        self.stale = dict(stale)
        self._drawing = drawing

    def text(self) -> str:
        """The graph as a tree of text."""
        from buildhpc.show.drawing import Strokes, tree

        return "\n".join(tree(self._drawing, Strokes()))

    def mermaid(self) -> str:
        """The graph as a Mermaid flow chart."""
        from buildhpc.show.drawing import mermaid

        return "\n".join(mermaid(self._drawing))

    def dot(self) -> str:
        """The graph for Graphviz."""
        from buildhpc.show.drawing import dot

        return "\n".join(dot(self._drawing))

    def __repr__(self) -> str:
        return f"<Graph: {len(self.needs):,}>"

    def _repr_html_(self) -> str:
        drawn = html.drawing(self.needs, self.stale)
        if drawn or not self.needs:
            return drawn
        words = f"{len(self.needs):,} boxes: too many to draw; `text()` has them all"
        return html.text(words)
