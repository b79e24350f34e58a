"""A plan that goes as far as its checkpoints, and what lets it grow once they have run."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from buildhpc import disk
from buildhpc.plan.choice import Choice
from buildhpc.plan.graph import GraphBuilder
from buildhpc.plan.growing import Growing
from buildhpc.plan.judge import Judge
from buildhpc.plan.model import Job, JobGraph, Plan
from buildhpc.plan.plan import make_plan
from buildhpc.plan.stale import Evidence
from buildhpc.plan.stamps import Record
from buildhpc.project import Project, forced
from buildhpc.state.database import read_state

if TYPE_CHECKING:
    from buildhpc.state.database import State


def plan_until_checkpoints(
    project: Project, choice: Choice, state: State | None
) -> tuple[JobGraph, Evidence, Plan]:
    """As `Project.plan`; `project.growing` is then what hangs on checkpoints that will run."""
    past = _Past(state)
    doubted: set[str] = set()
    while True:
        builder = project.builder(state)
        judge = _judge(project, builder, choice, past, doubted)
        graph = project.found(builder, choice)
        names = forced(graph, choice) | doubted
        evidence = replace(
            judge.evidence, targets=frozenset(graph.targets), forced=names, makers=graph.maker
        )
        plan = make_plan(graph, evidence)
        planned = {step.job for step in plan.steps}
        # Seldom: a temp file is made again, or what was asked for by name is forced.
        wrong = {job.name for job in judge.relied if job in planned}
        if not wrong:
            break
        doubted |= wrong
    if any(job.awaits for job in graph.jobs):
        project.growing = growing(builder, judge, graph, choice)
        project.growing.begin(plan.steps, graph.jobs)
        past.grows = True
    return graph, evidence, plan


def growing(builder: GraphBuilder, judge: Judge, graph: JobGraph, choice: Choice) -> Growing:
    """What lets a plan grow, from the time its jobs run."""
    assert isinstance(graph.maker, dict)
    judge.evidence = replace(judge.evidence, digest=disk.digest, order_time=_order_time)
    # Jobs that run meanwhile make and remove files.
    look = partial(disk.Disk, lenient=True)
    return Growing(builder, judge, graph.maker, look, choice.omit)


def _order_time(path: str) -> int:
    """The time of a path; of one that goes away meanwhile, later than any other."""
    try:
        return disk.tree_mtime(path)
    except OSError:
        return 2**63


def growing_now(
    project: Project, choice: Choice, state: State, planned: Mapping[str, bool]
) -> tuple[GraphBuilder, Judge, Growing, dict[str, Job]]:
    """What lets a plan grow that was made by another process.

    planned: name of a job of the plan -> whether it is still to run. Returns as well the graph
    that grows: path -> its job.
    """
    past = _Past(state)
    past.grows = True
    builder = project.builder(state)
    judge = _judge(project, builder, choice, past, ())
    judge.planned = builder.given = planned
    maker: dict[str, Job] = {}
    graph = JobGraph((), maker, {}, (), ())
    return builder, judge, growing(builder, judge, graph, choice), maker


def _judge(
    project: Project,
    builder: GraphBuilder,
    choice: Choice,
    past: _Past,
    doubted: Container[str],
) -> Judge:
    basis = project.basis(past.records, _Makers(past, builder).get, choice)
    basis = replace(basis, forced=_Forced(choice))
    return Judge(builder, basis, past.fetch, doubted)


class _Past:
    """What the state knows of jobs.

    grows: from now on what others wrote meanwhile counts as well.
    """

    def __init__(self, state: State | None) -> None:
        self.grows = False
        self._state = state
        self._newer: dict[str, Record] = {}
        older: Mapping[str, Record] = state.records() if state is not None else {}
        # No key of `older` is ever written or deleted, which is all that a Mapping lacks.
        self.records: Mapping[str, Record] = ChainMap(self._newer, older)  # type: ignore[arg-type]

    def fetch(self, names: Sequence[str]) -> Mapping[str, Record]:
        """All records, those of these jobs as they are now."""
        if self.grows and (state := self._now()) is not None:
            self._newer.update(state.record(names))
        return self.records

    def makers(self, paths: Sequence[str]) -> Mapping[str, str]:
        """Path -> the job that made it last."""
        state = self._now() if self.grows else self._state
        return state.maker(paths) if state is not None else {}

    def _now(self) -> State | None:
        # It may have begun to exist since.
        self._state = self._state or read_state(Path.cwd())
        return self._state


class _Makers:
    """Who made a file last; asked of the state for many files at once."""

    def __init__(self, past: _Past, builder: GraphBuilder) -> None:
        self._past = past
        self._builder = builder
        self._at = 0
        self._found: dict[str, str] = {}

    def get(self, path: str) -> str | None:
        """The job that made `path` last, None where the state knows of none."""
        order = self._builder.order
        new = order[min(self._at, len(order)) :]
        self._at = len(order)
        if new:
            self._found.update(self._past.makers([p for job in new for p in job.outputs]))
        return self._found.get(path)


class _Forced(Container[str]):
    """The names of jobs that have to run, as far as their rules tell."""

    def __init__(self, choice: Choice) -> None:
        self._all = choice.force_all
        self._rules = frozenset(choice.force_rules)

    def __contains__(self, name: object) -> bool:
        return self._all or str(name).partition(" ")[0] in self._rules
