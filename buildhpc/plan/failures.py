"""Why a path cannot be had, and how that is told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from buildhpc.diagnostics import HpcmakeError, nearest
from buildhpc.messages import plan as messages
from buildhpc.plan.jobs import input_span
from buildhpc.plan.model import Job
from buildhpc.plan.paths import stands_for
from buildhpc.rules.model import Pipeline, Rule


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a path cannot be had: the job tried last, and why the input it lacks cannot be had.

    cycle: where the path is needed to make itself: (path, rule) in order.
    """

    path: str
    job: Job | None = None
    cause: Failure | None = None
    cycle: tuple[tuple[str, str], ...] = ()

    @property
    def root(self) -> Failure:
        """The failure that all hangs on."""
        failure = self
        while failure.cause is not None:
            failure = failure.cause
        return failure


def explain(
    pipeline: Pipeline,
    failure: Failure,
    rule: Rule | None,
    near: Callable[[str], Sequence[str]],
) -> HpcmakeError:
    """The error for a target that cannot be had: the chain down to what is missing.

    rule: the target, where that is one. near: paths like another.
    """
    chain: list[tuple[str, str]] = []
    job: Job | None = None
    while failure.cause is not None:
        assert failure.job is not None
        job = failure.job
        path = "" if stands_for(failure.path) is not None else failure.path
        chain.insert(0, (job.rule.name, path))
        failure = failure.cause
    span = rule.span if rule else None
    recipe = job.rule.recipe if job is not None else None
    if recipe is not None and recipe.kind == "script":
        span = recipe.span
    if job is not None and (item := input_span(pipeline, job, failure.path)) is not None:
        span = item.span
    if failure.cycle:
        return messages.cycle(failure.cycle, span or next(iter(pipeline.rules.values())).span)
    return messages.no_rule(failure.path, chain, near(failure.path), span)


def near_paths(
    path: str,
    pipeline: Pipeline,
    names: Callable[[str], Sequence[str]],
    known: tuple[Sequence[str], Collection[str]],
) -> list[str]:
    """Paths like `path` that are there or that a rule makes.

    names: folder -> names in it. known: paths that jobs make, and those that cannot be had.
    """
    folder, _, _ = path.rpartition("/")
    made, hopeless = known
    there = [f"{folder}/{name}" if folder else name for name in names(folder or ".")]
    could = []
    for rule in pipeline.rules.values():
        for pattern in rule.patterns():
            prefix, suffix = pattern.prefix, pattern.suffix
            if not pattern.wildcards:
                could.append(str(pattern))
            elif path.startswith(prefix):
                guess = path[: max(len(prefix), len(path) - len(suffix))] + suffix
                could += [guess] if pattern.match(guess) else []
    return nearest(path, {*there, *made, *could} - {path, *hopeless})
