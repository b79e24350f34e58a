"""What would be submitted of a plan, without submitting it, and without a run to be written to."""

# Paths are text here.

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from buildhpc.plan.arrays import Link
from buildhpc.plan.window import Waiting, choose
from buildhpc.run.asks import Files, Try, ask_of
from buildhpc.run.clusters import Clusters, Site
from buildhpc.run.slices import Draft, drafts, shape_of
from buildhpc.schedulers.protocol import Ask, Edge
from buildhpc.state.plan_file import PlannedJob
from buildhpc.state.submissions import Submission, label

# The id of what a submission will be, or of one element of it.
IdOf = Callable[[Site, Submission, int | None], str]


def _no_end(alias: str) -> int:
    del alias
    return sys.maxsize


class Sketch(NamedTuple):
    """A submission that is yet to be made."""

    site: Site
    draft: Draft
    ask: Ask

    @property
    def jobs(self) -> int:
        """How many jobs it runs."""
        return sum(map(len, self.draft.elements))


def choose_first(
    planned: Sequence[PlannedJob], room: Callable[[str], int], done: Collection[int] = ()
) -> list[int]:
    """The jobs that a run submits before any job has ended.

    room: cluster -> how many jobs may be in its queue. done: jobs that have ended well already.
    """
    waiting = [
        Waiting(each.number, each.cluster, each.after, each.priority, each.deferred)
        for each in planned
    ]
    aliases = {each.cluster for each in planned}
    return choose(waiting, done, {}, {alias: room(alias) for alias in aliases})


def tries_of(planned: Sequence[PlannedJob], numbers: Iterable[int]) -> dict[int, Try]:
    """First attempts of jobs whose needs are known, by their numbers in the plan."""
    found = {}
    for number in sorted(numbers):
        job = planned[number]
        values = job.attempt(1)
        assert values is not None
        found[number] = Try(job, 1, job.details(), values)
    return found


def drafts_of(
    clusters: Clusters, tries: Mapping[int, Try], done: Collection[int] = ()
) -> list[Draft]:
    """The submissions of jobs, those of a cluster together, each after those it waits for.

    done: jobs of the plan that nothing waits for any more.
    """
    made: list[Draft] = []
    for alias in sorted({each.planned.cluster for each in tries.values()}):
        jobs = [
            (each.planned, each.values["request"])
            for each in tries.values()
            if each.planned.cluster == alias
        ]
        made += drafts(alias, jobs, done, {}, shape_of(clusters.site(alias)))
    return made


def all_drafts(clusters: Clusters, planned: Sequence[PlannedJob]) -> list[Draft]:
    """As `drafts_of`, of all jobs whose needs are known, whoever waits for whom."""
    made: list[Draft] = []
    done = {each.number for each in planned if each.deferred}
    while chosen := choose_first([e for e in planned if e.number not in done], _no_end, done):
        made += drafts_of(clusters, tries_of(planned, chosen), done)
        done.update(chosen)
    return made


def plain_names(made: Sequence[Draft]) -> list[Submission]:
    """Submissions with names for people, each once."""
    seen: Counter[str] = Counter()
    found, first = [], 0
    for place, draft in enumerate(made):
        name = label(draft.label)
        seen[name] += 1
        found.append(Submission(place, f"{name}-{seen[name]}" if seen[name] > 1 else name, first))
        first += len(draft.elements)
    return found


def sketches(
    clusters: Clusters,
    made: Sequence[Draft],
    names: Sequence[Submission],
    files: Files,
    id_of: IdOf,
) -> list[Sketch]:
    """What is asked of the schedulers, in the order of submitting."""
    found = []
    places: dict[str, list[int]] = {}
    for place, (draft, name) in enumerate(zip(made, names, strict=True)):
        site = clusters.site(draft.cluster)
        mine = places.setdefault(draft.cluster, [])
        mine.append(place)
        after = [_edge(site, link, [names[each] for each in mine], id_of) for link in draft.links]
        found.append(Sketch(site, draft, ask_of(site, draft, name, after, files)))
    return found


def _edge(site: Site, link: Link, names: Sequence[Submission], id_of: IdOf) -> Edge:
    assert link.array is not None  # nothing is in flight
    return Edge(id_of(site, names[link.array], link.element), link.kind)
