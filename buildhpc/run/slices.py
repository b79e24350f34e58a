"""From the jobs that are to be submitted to drafts of submissions, each cluster by itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from buildhpc.plan.arrays import Link, Place, Shape, arrange
from buildhpc.plan.elements import Ready, elements
from buildhpc.run.clusters import Site
from buildhpc.schedulers.protocol import Request
from buildhpc.state.plan_file import PlannedJob


@dataclass(frozen=True, slots=True)
class Draft:
    """A scheduler job or array that is to be submitted.

    label: of what it runs, for its name. links: what it waits for; `array` in them is the place
    among the drafts of its cluster. elements: the numbers of the jobs of each, in their order.
    """

    cluster: str
    label: str
    request: Request
    elements: tuple[tuple[int, ...], ...]
    links: tuple[Link, ...]


def drafts(
    cluster: str,
    jobs: Sequence[tuple[PlannedJob, Mapping[str, Any]]],
    done: Collection[int],
    flights: Mapping[int, Place],
    shape: Shape,
) -> list[Draft]:
    """The submissions of jobs of one cluster, each after those it waits for.

    jobs: in the order of the plan, each with what its next attempt asks for, the fields of a
    `Request`. done: the jobs of the plan that are done. flights: those in the cluster's queue.
    """
    asked = {planned.number: Request(**_with_tuples(request)) for planned, request in jobs}
    ready = []
    for planned, _ in jobs:
        after = tuple(number for number in planned.after if number not in done)
        key = (planned.rule, asked[planned.number])
        ready.append(Ready(planned.number, key, after, planned.batch or 1, planned.group or ""))
    labels = {planned.number: planned.group or planned.rule for planned, _ in jobs}
    found = []
    for array in arrange(elements(ready), flights, shape):
        numbers = tuple(element.jobs for element in array.elements)
        # The elements of an array ask for the same; where they run several jobs, the first
        # one has the most of them.
        request = together([asked[number] for number in numbers[0]])
        found.append(Draft(cluster, labels[numbers[0][0]], request, numbers, array.links))
    return found


def shape_of(site: Site) -> Shape:
    """What the scheduler of a cluster can do, as far as arrays hang on it."""
    able = site.scheduler.abilities
    return Shape(
        site.max_array if able.arrays else 1, able.ok_edges, able.element_edges, able.one_element
    )


def together(requests: Sequence[Request]) -> Request:
    """What a scheduler job asks for that runs jobs one after the other.

    Each of them has all of it in its turn, so nothing but time adds up.
    """
    first = requests[0]
    times = [each.time_s for each in requests]
    return replace(
        first,
        cores=max(each.cores for each in requests),
        mem_mib=_most(each.mem_mib for each in requests),
        time_s=None if None in times else sum(time for time in times if time),
        gpus=max(each.gpus for each in requests),
        nodes=max(each.nodes for each in requests),
        tasks=max(each.tasks for each in requests),
        disk_mib=_most(each.disk_mib for each in requests),
    )


def _most(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {**values, "options": tuple(values["options"])}
