"""Lets a run on clusters grow: plans what hangs on checkpoints that have run, and adds it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

from buildhpc.commands.checks import check_protected
from buildhpc.commands.cluster_plan import PlanLines
from buildhpc.commands.leftovers import take_over
from buildhpc.commands.work import to_claims
from buildhpc.diagnostics import HpcmakeError
from buildhpc.later import growing_now
from buildhpc.messages import clusters as messages
from buildhpc.plan.choice import Choice
from buildhpc.plan.graph import GraphBuilder
from buildhpc.plan.growing import Grown
from buildhpc.plan.model import Job, JobGraph, Plan, Step
from buildhpc.project import Recipes, open_project
from buildhpc.rules.model import Pipeline
from buildhpc.run.clusters import Clusters
from buildhpc.run.describe import Describer
from buildhpc.state import cluster_runs
from buildhpc.state.claims import JobToClaim
from buildhpc.state.database import State
from buildhpc.state.plan_file import Later, Open, extend_plan, read_later, read_plan


def later_of(steps: Iterable[Step], graph: JobGraph, open_: Collection[str] = ()) -> list[Later]:
    """The steps that wait for a checkpoint, or for one that does, each after those it needs.

    open_: names of further jobs that wait.
    """
    waiting = set(open_)
    found = []
    for step in steps:
        job = step.job
        known = tuple(name for name in step.after if name in waiting)
        if not (job.awaits or known):
            continue
        waiting.add(job.name)
        runs = tuple(dict.fromkeys(graph.maker[path].name for path in job.awaits))
        wildcards = dict(zip(job.rule.wildcards, job.values, strict=True))
        known = tuple(name for name in known if name not in runs)
        found.append(Later(job.name, job.rule.name, wildcards, runs, known))
    return found


def parted(
    steps: Sequence[Step], graph: JobGraph, open_: Collection[str] = ()
) -> tuple[tuple[Step, ...], list[Later]]:
    """The steps that are known in full, and the others as `later_of` tells them."""
    later = later_of(steps, graph, open_)
    waiting = {each.job for each in later}
    return tuple(step for step in steps if step.job.name not in waiting), later


class _Asked(NamedTuple):
    """What lets a run grow. names: the jobs whose turn it is. planned: see `growing_now`."""

    names: Sequence[str]
    later: Open
    numbers: Mapping[str, int]
    planned: Mapping[str, bool]


class Growth:
    """Plans runs on; see `Advance.grow`."""

    def __init__(self, state: State, clusters: Clusters, describer_of: Any) -> None:
        self._state = state
        self._clusters = clusters
        self._describer_of = describer_of

    def __call__(self, run: int, names: Sequence[str]) -> Mapping[str, str]:
        """Plan jobs whose checkpoints have run; those that cannot be, with the reason.

        Raises: HpcmakeError where nothing can be planned now.
        """
        home = self._state.home
        later, plan = read_later(home, run), read_plan(home, run)
        if not {each.job for each in later.jobs}.issuperset(names):
            return {}  # somebody else was faster
        every = [*(each.job for each in plan), *(each.job for each in later.jobs)]
        standings = cluster_runs.standings(self._state, run, every)
        planned = {n: s.state != "done" for n, s in zip(every, standings, strict=True)}
        planned |= dict.fromkeys((each.job for each in later.jobs), True)
        for name in names:
            del planned[name]
        numbers = {each.job: each.number for each in plan}
        try:
            return self._grow(run, _Asked(names, later, numbers, planned))
        except HpcmakeError as error:
            if error.exit_code == 3:
                raise
            if read_later(home, run) != later:
                return {}  # somebody else was faster, and jobs run already
            if len(names) > 1:
                return {job: text for name in names for job, text in self(run, [name]).items()}
            return {names[0]: error.problems[0].text}

    def _grow(self, run: int, asked: _Asked) -> Mapping[str, str]:
        options = cluster_runs.options(self._state, run)
        project = open_project(options["pipefile"], options["set"])
        project.log_to(options.get("logs"))
        choice = Choice(**options["choice"])
        planned = asked.planned
        builder, judge, growing, maker = growing_now(project, choice, self._state, planned)
        known = {each.job: each for each in asked.later.jobs}
        jobs = [_job(project.pipeline, builder, known[name]) for name in asked.names]
        growing.begin((), jobs)
        grown = growing.grow(jobs)
        failed = {each.job.name: str(each.error.problems[0].text) for each in grown if each.error}
        targets = (*asked.later.targets, *_named(grown))
        steps = [step for each in grown for step in (*each.more, each.step) if step is not None]
        graph = JobGraph((), maker, {}, tuple(targets), ())
        open_ = [name for name in known if name not in asked.names or name in failed]
        closed, more = parted(steps, graph, open_)
        replaced = tuple(path for each in grown for path in each.replaced)
        plan = Plan(closed, 0, (), replaced)
        check_protected(plan, unprotect=options["unprotect"])
        describer: Describer = self._describer_of(run, project.pipeline)
        recipes = Recipes(project.pipeline)
        lines = PlanLines(plan, graph, judge.evidence, describer, recipes, self._clusters)
        lines.behind(asked.numbers)
        left = [each for each in asked.later.jobs if each.job in open_]
        written = [*lines.lines(options["retries"])]
        new = [step.job for each in grown for step in each.more]
        added = to_claims(project.pipeline, new)
        if self._write(run, asked, written, Open(_ordered(left, more), targets), added):
            gone = [e.job.name for e in grown if e.step is None and e.error is None]
            cluster_runs.let_be(self._state, run, gone)
        return failed

    def _write(
        self,
        run: int,
        asked: _Asked,
        lines: Sequence[Mapping[str, Any]],
        later: Open,
        added: Sequence[JobToClaim],
    ) -> bool:
        """Add to the plan, and claim; False: somebody else has."""
        with self._state.locked():
            home = self._state.home
            if read_later(home, run) != asked.later or len(read_plan(home, run)) != len(
                asked.numbers
            ):
                return False
            extend_plan(home, run, lines, later)
            claimed = cluster_runs.open_run(self._state, run, added)
        take_over(self._state, claimed.dead, run)
        return True


def _job(pipeline: Pipeline, builder: GraphBuilder, later: Later) -> Job:
    """The job that was known later. Raises: messages.pipefile_changed."""
    rule = pipeline.rules.get(later.rule)
    if rule is None or set(rule.wildcards) != later.wildcards.keys():
        raise messages.pipefile_changed(later.job)
    return builder.know(rule, tuple(later.wildcards[name] for name in rule.wildcards))


def _named(grown: Iterable[Grown]) -> list[str]:
    """What rules stand for that only name their inputs: it is asked for."""
    return [str(path) for each in grown if not each.job.acts for path in each.job.inputs]


def _ordered(left: Sequence[Later], more: Sequence[Later]) -> list[Later]:
    """Later jobs, each after those it needs."""
    jobs = {each.job: each for each in (*more, *left)}
    needs = {
        name: [other for other in (*each.runs, *each.known) if other in jobs]
        for name, each in jobs.items()
    }
    return [jobs[name] for name in TopologicalSorter(needs).static_order()]
