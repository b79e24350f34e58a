"""What a submission is made of: what is asked of the scheduler, what its runners are told."""

# Paths are text here.

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from buildhpc.run.clusters import Site
from buildhpc.run.manifest import Element, Need, Planned
from buildhpc.run.slices import Draft
from buildhpc.schedulers.protocol import Ask, Edge
from buildhpc.state.plan_file import PlannedJob
from buildhpc.state.submissions import QueuedJob, Submission, ToSubmit

_RUNNER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "runner.py")
# A scheduler tells a job so long before the end of its time.
WARN_S = 60


class Try(NamedTuple):
    """An attempt that is to be submitted.

    details: what the plan file says of the job. values: `spec` and `request` of the attempt.
    """

    planned: PlannedJob
    number: int
    details: Mapping[str, Any]
    values: Mapping[str, Any]


class Files(NamedTuple):
    """Files of a slice, absolute, as this host has them.

    folder: the working folder. output: what job scripts themselves print.
    """

    folder: str
    manifest: str
    output: str


def ask_of(site: Site, draft: Draft, made: Submission, after: Sequence[Edge], files: Files) -> Ask:
    """What is asked of the scheduler for a draft; one that waits for nothing is held."""
    first = f"$(({made.first} + ${{element:-0}}))"
    words = [site.python, "-I", "-S", site.there(_RUNNER), site.there(files.manifest)]
    return Ask(
        name=made.name,
        body=f"exec {shlex.join(words)} {first}\n",
        request=draft.request,
        folder=site.there(files.folder),
        output=site.there(files.output),
        elements=len(draft.elements) if len(draft.elements) > 1 else 0,
        after=tuple(after),
        held=not after,
        warn_s=WARN_S,
    )


def to_submit(draft: Draft, tries: Mapping[int, Try]) -> ToSubmit:
    """A draft as the state keeps it."""
    jobs = tuple(
        QueuedJob(number, tries[number].values["spec"], element)
        for element, numbers in enumerate(draft.elements)
        for number in numbers
    )
    count = len(draft.elements)
    return ToSubmit(draft.cluster, count if count > 1 else 0, jobs, draft.links, draft.label)


def elements_of(
    made: Sequence[Submission],
    drafts: Sequence[Draft],
    tries: Mapping[int, Try],
    wakers: Collection[int],
) -> list[Element]:
    """What the runners of a slice are told, in the order of its manifest.

    wakers: the jobs whose success somebody waits for outside of their own queue.
    """
    return [
        Element(each.id, at, [_planned(tries[number], number in wakers) for number in numbers])
        for each, draft in zip(made, drafts, strict=True)
        for at, numbers in enumerate(draft.elements)
    ]


def _planned(attempt: Try, wakes: bool) -> Planned:
    """What the runner is told of an attempt."""
    planned, details = attempt.planned, attempt.details
    spec = attempt.values["spec"]
    tries = {name: most - attempt.number + 1 for name, most in planned.retries.items()}
    return Planned(
        details.get("number", planned.number),
        attempt.number,
        spec,
        [Need(number, job, paths) for number, job, paths in details["needs"]],
        details["content"],
        details["replaced"] if attempt.number == 1 else (),
        details["restore"],
        details["recipe"],
        details["benchmark"],
        tries,
        wakes,
        details.get("unless"),
        details.get("part"),
    )


def umask() -> int:
    """That of this process."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
