"""What `check` looks at: the files, the graph of the targets, a sample of each rule's jobs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from buildhpc.diagnostics import HpcmakeError, Problem, Span
from buildhpc.disk import World
from buildhpc.joblist.load import load_list
from buildhpc.language.syntax import Tree
from buildhpc.messages import commands as messages
from buildhpc.messages import plan as plan_messages
from buildhpc.plan.choice import Choice
from buildhpc.plan.jobs import JobMaker
from buildhpc.plan.model import Job, JobGraph
from buildhpc.plan.plan import counted
from buildhpc.plan.recipe import compared_text
from buildhpc.project import LIST_ENDING, Project, default_targets
from buildhpc.rules.config import read_settings
from buildhpc.rules.directives import DIRECTIVES
from buildhpc.rules.lint import blanks_in_params, lint
from buildhpc.rules.load import load
from buildhpc.rules.model import Pipeline, Rule
from buildhpc.rules.scope import JobScope
from buildhpc.run.describe import Describer
from buildhpc.state.database import read_state
from buildhpc.state.syntax_cache import SyntaxCache

_SAMPLE = 3
_INPUTS_TRIED = 100


@dataclass(frozen=True, slots=True)
class Findings:
    """All problems, each once; how many rules and jobs there are, None where it is not known."""

    problems: tuple[Problem, ...]
    rules: int | None = None
    jobs: int | None = None


def inspect(pipefile: str, settings: Sequence[str], targets: Sequence[str]) -> Findings:
    """Look at a Pipefile, and at what the targets would need; writes nothing."""
    trees: list[Tree] = []
    cache = SyntaxCache(Path(".hpcmake") / "cache", keep=False)

    def parse(name: str, data: bytes) -> Tree:
        trees.append(cache.parse(name, data))
        return trees[-1]

    world = World()
    try:
        if pipefile.endswith(LIST_ENDING):
            pipeline = load_list(pipefile, world, read_settings(settings))
        else:
            pipeline = load(pipefile, world, parse, read_settings(settings))
        asked = tuple(targets) or default_targets(pipeline, pipefile)
    except HpcmakeError as error:
        return Findings(error.problems)
    problems = [*pipeline.warnings, *lint(trees, pipeline), *_literal_twice(pipeline)]
    project = Project(pipeline, world, pipefile)
    graph, errors = _graph(project, asked)
    problems += errors
    jobs = list(_sample(graph)) if graph else []
    if graph:
        problems += _unused_rules(project, graph, asked)
    jobs += _plain_jobs(project, {job.rule.name for job in jobs}, problems)
    describer = Describer(pipeline, "check", lambda _: "inputs.txt")
    for job in jobs:
        problems += _evaluate(pipeline, describer, job)
    number = counted(graph.jobs) if graph else None
    return Findings(_each_once(problems), len(pipeline.rules), number)


def _each_once(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """The problems in the order of their places, each once, whatever led to it."""
    found: dict[tuple[str, str, Span | None], Problem] = {}
    for problem in problems:
        found.setdefault((problem.slug, problem.text, problem.span), problem)
    return tuple(sorted(found.values(), key=_place))


def _place(problem: Problem) -> tuple[str, int]:
    return (problem.span.source.name, problem.span.start) if problem.span else ("", 0)


def _literal_twice(pipeline: Pipeline) -> Iterator[Problem]:
    """Rules that make the same file, none of them preferred."""
    makers: dict[str, Rule] = {}
    for rule in pipeline.rules.values():
        for pattern in rule.patterns():
            if pattern.wildcards:
                continue
            path = str(pattern)
            other = makers.setdefault(path, rule)
            pairs = ((other.name, rule.name), (rule.name, other.name))
            if other is not rule and not any(pair in pipeline.prefer for pair in pairs):
                first, second = (other.name, other.span), (rule.name, rule.span)
                yield from plan_messages.ambiguous(path, first, second).problems


def _graph(project: Project, targets: Sequence[str]) -> tuple[JobGraph | None, list[Problem]]:
    """The graph of the targets; where there is none, what is wrong, not just the first thing."""
    state = read_state(Path.cwd())
    try:
        return project.graph(Choice(tuple(targets)), state), []
    except HpcmakeError as error:
        problems = list(error.problems)
    for target, part in _parts(project, targets):
        try:
            part.graph(Choice((target,)), state)
        except HpcmakeError as error:
            problems += error.problems
    return None, problems


def _parts(project: Project, targets: Sequence[str]) -> Iterator[tuple[str, Project]]:
    """The targets one by one; a rule once for each of its inputs, as if that were the only one."""
    pipeline = project.pipeline
    for target in targets:
        rule = pipeline.rules.get(target)
        if rule is None or rule.wildcards:
            yield target, project
            continue
        for item in rule.inputs[:_INPUTS_TRIED]:
            rules = {**pipeline.rules, rule.name: replace(rule, inputs=(item,))}
            yield target, Project(replace(pipeline, rules=rules), project.world, project.pipefile)


def _sample(graph: JobGraph) -> Iterator[Job]:
    """Some jobs of each rule: the first ones and the last one."""
    by_rule: dict[str, list[Job]] = {}
    for job in graph.jobs:
        by_rule.setdefault(job.rule.name, []).append(job)
    for jobs in by_rule.values():
        yield from dict.fromkeys([*jobs[: _SAMPLE - 1], jobs[-1]])


def _unused_rules(project: Project, graph: JobGraph, targets: Sequence[str]) -> Iterator[Problem]:
    """Rules that neither the targets need nor what is asked for by name: rules without outputs."""
    used = {job.rule.name for job in graph.jobs}
    if any(job.awaits for job in graph.jobs):
        return  # what is used beyond a checkpoint is not known yet
    rules = project.pipeline.rules
    state = read_state(Path.cwd())
    for rule in rules.values():
        if rule.outputs or rule.name in used:
            continue
        try:
            used |= {job.rule.name for job in project.graph(Choice((rule.name,)), state).jobs}
        except HpcmakeError as error:
            for problem in error.problems:
                yield replace(problem, severity="warning")
            return  # what this one needs is not known
    for rule in rules.values():
        if rule.name not in used:
            yield messages.unused_rule(rule.name, rule.span, targets)


def _plain_jobs(project: Project, known: set[str], problems: list[Problem]) -> list[Job]:
    """The jobs of rules without wildcards that the sample lacks."""
    maker = JobMaker(project.pipeline, project.disk)
    jobs = []
    for rule in project.pipeline.rules.values():
        if rule.wildcards or rule.name in known:
            continue
        try:
            jobs.append(maker.make(rule, ()))
        except HpcmakeError as error:
            problems += _certain(error)
    return jobs


def _evaluate(pipeline: Pipeline, describer: Describer, job: Job) -> Iterator[Problem]:
    """What comes to light when all that a rule says is computed for one of its jobs."""
    scope = JobScope(pipeline, job.rule, job.values)
    steps: list[Callable[[], object]] = [
        *(_directive(scope, name) for name in job.rule.directives),
        lambda: describer.needs(job, 2),
        lambda: compared_text(pipeline, job),
    ]
    for step in steps:
        try:
            step()
        except HpcmakeError as error:
            yield from _certain(error)
    try:
        yield from blanks_in_params(job.rule, scope)
        recipe = describer.spec(job, 1, {"cores": 1}).recipe
    except HpcmakeError as error:
        yield from _certain(error)
        return
    if recipe.kind == "shell" and job.rule.recipe is not None:
        yield from _bash_says(job, recipe.text, job.rule.recipe.span)


def _directive(scope: JobScope, name: str) -> Callable[[], object]:
    shape = DIRECTIVES[name].shape
    if shape in ("named", "retries"):
        return lambda: scope.named(name)
    return lambda: scope.many(name) if shape == "many" else scope.directive(name)


def _certain(error: HpcmakeError) -> list[Problem]:
    """The problems that no job that runs first can mend."""
    return [problem for problem in error.problems if problem.slug != "missing-file"]


def _bash_says(job: Job, text: str, span: Span) -> Iterator[Problem]:
    """What bash makes of a block; `-n` reads it and runs nothing."""
    try:
        done = subprocess.run(
            ["bash", "-n"], input=text.encode(errors="surrogateescape"), capture_output=True,
            check=False, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").splitlines()
        first = words[0].removeprefix("bash: ") if words else f"exit code {done.returncode}"
        yield messages.bash_refuses(job.rule.name, first, span)
