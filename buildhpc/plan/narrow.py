"""Part of a graph: no further than some rules, or without them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from buildhpc.messages import plan as messages
from buildhpc.plan.choice import Choice
from buildhpc.plan.model import Job, JobGraph
from buildhpc.rules.model import Pipeline


def narrowed(
    graph: JobGraph, choice: Choice, pipeline: Pipeline, priority: Callable[[Job], int]
) -> JobGraph:
    """The graph for `--until`, `--omit`, `--only` and `--min-priority`; priority: of a job.

    Raises: HpcmakeError, for `--force-rule` as well.
    """
    options = (
        ("--until", choice.until),
        ("--omit", choice.omit),
        ("--force-rule", choice.force_rules),
    )
    for option, names in options:
        for name in names:
            if name not in pipeline.rules:
                raise messages.unknown_rule_option(option, name, pipeline.rules)
    jobs = _up_to(_without(graph.jobs, graph, choice.omit), graph, choice.until)
    if choice.only:
        jobs = _alone(jobs, graph, choice.until)
    least = choice.min_priority
    chosen = [job for job in jobs if least is not None and priority(job) >= least]
    if least is not None:
        jobs = _needed_by(chosen, jobs, graph)
    if len(jobs) == len(graph.jobs):
        return graph
    kept = set(jobs)
    maker = {path: job for path, job in graph.maker.items() if job in kept}
    inside = {path: job for path, job in graph.inside.items() if job in kept}
    roots = jobs if choice.only else tuple(job for job in graph.roots if job in kept)
    # What is stopped at is what was asked for: its temp outputs stay.
    last = jobs if choice.only else [job for job in jobs if _is_of(job, choice.until)]
    ends = [path for job in (*last, *chosen) for path in job.outputs]
    targets = tuple(dict.fromkeys([*graph.targets, *ends]))
    named = {name: job for name, job in graph.named.items() if job in kept or choice.only}
    return JobGraph(jobs, maker, inside, targets, roots, named)


def asked_for(graph: JobGraph) -> list[Job]:
    """The jobs asked for; a rule that only names its inputs stands for those that make them."""
    found = []
    for job in graph.roots:
        if job.rule.recipe is None and not job.outputs:
            found += [graph.maker[path] for path in job.inputs if path in graph.maker]
        else:
            found.append(job)
    return found


def _is_of(job: Job, rules: tuple[str, ...]) -> bool:
    """Whether a job is of one of the rules, or in a job list of one of the tasks."""
    return job.rule.name in rules or job.rule.task in rules


def _without(jobs: tuple[Job, ...], graph: JobGraph, rules: tuple[str, ...]) -> tuple[Job, ...]:
    """The jobs but for those of `rules` and what depends on them."""
    left_out: set[Job] = set()
    for job in jobs if rules else ():
        if _is_of(job, rules) or any(other in left_out for other in graph.before(job)):
            left_out.add(job)
    return tuple(job for job in jobs if job not in left_out) if left_out else jobs


def _up_to(jobs: tuple[Job, ...], graph: JobGraph, rules: tuple[str, ...]) -> tuple[Job, ...]:
    """The jobs of `rules` and what they need. Raises: messages.until_not_needed."""
    if not rules:
        return jobs
    for name in rules:
        if not any(_is_of(job, (name,)) for job in jobs):
            raise messages.until_not_needed(name)
    return _needed_by([job for job in jobs if _is_of(job, rules)], jobs, graph)


def _alone(jobs: tuple[Job, ...], graph: JobGraph, until: tuple[str, ...]) -> tuple[Job, ...]:
    """The jobs that are asked for, without what they need. Raises: messages.only_awaits."""
    asked = [job for job in jobs if _is_of(job, until)] if until else asked_for(graph)
    wanted = set(asked)
    for job in asked:
        if job.awaits:
            raise messages.only_awaits(job.name)
    return tuple(job for job in jobs if job in wanted)


def _needed_by(wanted: Iterable[Job], jobs: tuple[Job, ...], graph: JobGraph) -> tuple[Job, ...]:
    """The jobs that are wanted, and what they need."""
    needed = set(wanted)
    for job in reversed(jobs):
        if job in needed:
            needed.update(graph.before(job))
    return tuple(job for job in jobs if job in needed)
