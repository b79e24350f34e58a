"""Which jobs of a plan are submitted next, and which of those in flight have to come back."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple


class Waiting(NamedTuple):
    """A job of a plan that nobody has submitted.

    number: of the job; higher than those of all jobs it needs. after: the jobs of the plan that
    it needs. priority: higher first. deferred: what it asks for hangs on files that are not
    there yet, so that it can only be submitted once all it needs is done.
    """

    number: int
    cluster: str
    after: tuple[int, ...] = ()
    priority: int = 0
    deferred: bool = False


def choose(
    waiting: Sequence[Waiting],
    done: Collection[int],
    flights: Mapping[int, str],
    room: Mapping[str, int],
) -> list[int]:
    """The jobs to submit now, each after those it needs.

    flights: job in flight -> its cluster. room: cluster -> how many more jobs may be in its
    queue. A job can be submitted when all that it needs is done, or is in the queue of its own
    cluster by then: a scheduler knows nothing of the jobs of another one.
    """
    jobs = {job.number: job for job in waiting}
    left = dict(room)
    waits: dict[int, int] = {}
    followers: dict[int, list[int]] = {}
    ready: list[tuple[int, int]] = []
    for job in waiting:
        open_ = 0
        for each in job.after:
            if each in done or (flights.get(each) == job.cluster and not job.deferred):
                continue
            open_ += 1
            if each in jobs and jobs[each].cluster == job.cluster and not job.deferred:
                followers.setdefault(each, []).append(job.number)
        waits[job.number] = open_
        if not open_:
            heapq.heappush(ready, (-job.priority, job.number))
    chosen = []
    while ready:
        job = jobs[heapq.heappop(ready)[1]]
        if left.get(job.cluster, 0) <= 0:
            continue
        left[job.cluster] -= 1
        chosen.append(job.number)
        for each in followers.get(job.number, ()):
            waits[each] -= 1
            if not waits[each]:
                heapq.heappush(ready, (-jobs[each].priority, each))
    return chosen


def stranded(
    queued: Iterable[tuple[int, Sequence[int]]], done: Collection[int], flights: Collection[int]
) -> list[int]:
    """The jobs in a queue that wait there for a job that is no longer in one, and is not done.

    queued: job that has not begun -> the jobs of the plan it needs, in the order of the plan.
    flights: all jobs in flight. Such a job would wait for ever, or run in vain: it has to be
    submitted again, together with what it needs.
    """
    back: set[int] = set()
    for number, after in queued:
        if any(each not in done and (each not in flights or each in back) for each in after):
            back.add(number)
    return sorted(back)


def hopeless(
    jobs: Iterable[tuple[int, Sequence[int]]], given_up: Mapping[int, str]
) -> dict[int, str]:
    """Job that will never run -> the name of the job that failed and that it needs.

    jobs: those that are not over -> the jobs of the plan they need, in the order of the plan.
    given_up: job that failed for good, or was given up -> the name of the one to blame.
    """
    found: dict[int, str] = {}
    for number, after in jobs:
        for each in after:
            because = given_up.get(each) or found.get(each)
            if because is not None:
                found[number] = because
                break
    return found
