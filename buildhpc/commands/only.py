"""`--only`: what jobs need that are run without it has to be there, and may be out of date."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from buildhpc.commands.common import note
from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import plan as messages

if TYPE_CHECKING:
    from buildhpc.plan.choice import Choice
    from buildhpc.plan.model import Job, JobGraph, Plan
    from buildhpc.plan.stale import Evidence
    from buildhpc.project import Project
    from buildhpc.state.database import State

_SHOWN = 10


def look_at_needs(
    project: Project,
    choice: Choice,
    state: State | None,
    planned: tuple[JobGraph, Evidence, Plan],
) -> None:
    """Say which of the files that the chosen jobs need are out of date.

    Raises: messages.only_missing, where one is not there.
    """
    graph, evidence, plan = planned
    growing = project.growing
    free = replace(choice, only=False, force=False, force_all=False, force_rules=())
    try:
        whole, _, asked = project.plan(free, state)
    except HpcmakeError:  # what else is wrong with what is left out is not asked for
        return
    finally:
        project.growing = growing
    stale = {step.job.name for step in asked.steps}
    steps = {step.job.name for step in plan.steps}
    old: dict[str, str] = {}
    for job, path, maker in _left_out(graph, whole):
        if path not in evidence.disk and job.name in steps:
            raise messages.only_missing(job.name, path, maker.name)
        if maker.name in stale:
            old.setdefault(path, maker.name)
    for path, name in list(old.items())[:_SHOWN]:
        note(messages.used_as_it_is(path, name))
    if len(old) > _SHOWN:
        note(messages.more_used(len(old) - _SHOWN))


def _left_out(graph: JobGraph, whole: JobGraph) -> Iterator[tuple[Job, str, Job]]:
    """The inputs that a job makes that is left out: the job that needs it, the file, its maker."""
    kept = {job.name for job in graph.jobs}
    for job in graph.jobs:
        for path in job.inputs:
            maker = whole.maker.get(path)
            if maker is not None and maker.name not in kept:
                yield job, path, maker
