"""Which jobs share one scheduler job: by `batch`, by `group`, mostly none."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple


class Ready(NamedTuple):
    """A job of a plan that is to be submitted.

    number: of the job in the plan; a job has a higher number than those it needs.
    key: jobs with equal keys may be in one array: rule, what it asks for, which attempt.
    after: the jobs that must be done first and are not: to be submitted as well, or in flight.
    batch: how many jobs with this key share one scheduler job. group: its name, or empty.
    """

    number: int
    key: Hashable
    after: tuple[int, ...] = ()
    batch: int = 1
    group: str = ""


class Element(NamedTuple):
    """What one scheduler job, or one element of an array, runs: jobs one after the other.

    key: of its jobs; elements with equal keys may be in one array.
    after: the jobs outside of it that must be done first, each once.
    """

    jobs: tuple[int, ...]
    key: Hashable
    after: tuple[int, ...]


def elements(jobs: Sequence[Ready]) -> list[Element]:
    """The elements of jobs, each after all those it needs."""
    stages = _stages(jobs)
    levels = _levels(jobs)
    components = _components(jobs, levels)
    shares: dict[Hashable, list[Ready]] = {}
    for job in jobs:
        if job.group:
            key: Hashable = ("group", components[job.number])
        elif job.batch > 1:
            key = ("batch", job.key, stages[job.number])
        else:
            key = job.number
        shares.setdefault(key, []).append(job)
    found = []
    for together in shares.values():
        size = len(together) if together[0].group else together[0].batch
        for start in range(0, len(together), size):
            found.append(_element(together[start : start + size]))
    while True:
        ordered = _in_order(found)
        if len(ordered) == len(found):
            return ordered
        # Two groups that wait for each other, each for another part: those jobs go alone.
        by_number = {job.number: job for job in jobs}
        rest = {number for element in found for number in element.jobs}
        rest -= {number for element in ordered for number in element.jobs}
        found = ordered + [_element([by_number[number]]) for number in sorted(rest)]


def _element(jobs: Sequence[Ready]) -> Element:
    own = {job.number for job in jobs}
    after = {number: None for job in jobs for number in job.after if number not in own}
    keys = tuple(job.key for job in jobs)
    return Element(tuple(sorted(own)), keys[0] if len(set(keys)) == 1 else keys, tuple(after))


def _stages(jobs: Sequence[Ready]) -> dict[int, int]:
    """How many jobs stand before each, one after the other, at most."""
    stages: dict[int, int] = {}
    for job in sorted(jobs):
        stages[job.number] = 1 + max((stages.get(each, 0) for each in job.after), default=0)
    return stages


def _levels(jobs: Sequence[Ready]) -> dict[int, int]:
    """How often a path to each job of a group has left that group.

    Where a way from one job of a group to another one leads outside, they cannot share a
    scheduler job: it would wait for itself.
    """
    by_number = {job.number: job for job in jobs}
    found: dict[int, int] = {}
    for group in {job.group for job in jobs} - {""}:
        levels: dict[int, int] = {}
        for job in sorted(jobs):
            levels[job.number] = max(
                (
                    levels[each] + (by_number[each].group == group != job.group)
                    for each in job.after
                    if each in levels
                ),
                default=0,
            )
        found.update((job.number, levels[job.number]) for job in jobs if job.group == group)
    return found


def _components(jobs: Sequence[Ready], levels: Mapping[int, int]) -> dict[int, int]:
    """Job of a group -> the first one that it is connected with inside the group and level."""
    by_number = {job.number: job for job in jobs}
    first: dict[int, int] = {}

    def root(number: int) -> int:
        while first[number] != number:
            first[number] = first[first[number]]
            number = first[number]
        return number

    for job in sorted(jobs):
        if not job.group:
            continue
        first[job.number] = job.number
        for each in job.after:
            other = by_number.get(each)
            if other is None or other.group != job.group or levels[each] != levels[job.number]:
                continue
            one, two = root(each), root(job.number)
            first[max(one, two)] = min(one, two)
    return {number: root(number) for number in first}


def _in_order(found: Sequence[Element]) -> list[Element]:
    """Elements, each after all those it needs; without those that wait for each other."""
    home = {number: place for place, element in enumerate(found) for number in element.jobs}
    waits = [0] * len(found)
    followers: list[list[int]] = [[] for _ in found]
    for place, element in enumerate(found):
        for before in {home[number] for number in element.after if number in home}:
            followers[before].append(place)
            waits[place] += 1
    ready = [place for place, number in enumerate(waits) if not number]
    ordered = []
    for place in ready:  # grows while it is walked
        ordered.append(found[place])
        for each in followers[place]:
            waits[each] -= 1
            if not waits[each]:
                ready.append(each)
    return ordered
