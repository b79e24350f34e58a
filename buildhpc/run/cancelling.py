"""Cancels scheduler jobs in few calls, and sees to it that they are gone."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence

from buildhpc.messages import clusters as messages
from buildhpc.run.clusters import Clusters
from buildhpc.state import cluster_runs, submissions
from buildhpc.state.cluster_runs import Stopped
from buildhpc.state.database import State
from buildhpc.state.flights import InFlight

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0
_GONE = ("ended", "unknown")
# What is cancelled leaves its queue within so long.
_LEFT_S = 60.0


def cancel(
    clusters: Clusters, flights: Sequence[InFlight], left: Iterable[InFlight] = ()
) -> dict[str, list[str]]:
    """Cancel the scheduler jobs of attempts. Returns cluster -> the ids that were cancelled.

    left: attempts that go on; an array with none of these is cancelled as a whole.
    Raises: as `check_here`, before anything is cancelled.
    """
    check_here(clusters, flights)
    kept = {each.place.submission for each in left}
    ids: dict[str, dict[str, None]] = {}
    for flight in flights:
        if flight.id is not None:
            whole = clusters.site(flight.cluster).scheduler.whole(flight.id)
            id_ = flight.id if flight.place.submission in kept else whole
            ids.setdefault(flight.cluster, {})[id_] = None
    for alias, some in ids.items():
        clusters.site(alias).cancel(list(some))
    return {alias: list(some) for alias, some in ids.items()}


def stop(
    state: State, clusters: Clusters, run: int, names: Sequence[str]
) -> tuple[Stopped, dict[str, list[str]]]:
    """Give up jobs of a run, cancel what schedulers have of them, and see that gone.

    Returns what was stopped, and cluster -> ids that do not go away. Raises: as `check_here`,
    before anything is given up.
    """
    jobs = set(names)
    check_here(clusters, (each for each in submissions.in_flight(state, run) if each.job in jobs))
    stopped = cluster_runs.cancel(state, run, names)
    ended = [*stopped.spent, *stopped.running]
    attempts = {flight.attempt for flight in ended}
    going = [each for each in submissions.in_flight(state) if each.attempt not in attempts]
    return stopped, wait_until_gone(clusters, cancel(clusters, ended, going), _LEFT_S)


def check_here(clusters: Clusters, flights: Iterable[InFlight]) -> None:
    """Whether attempts are where commands go from here. Raises: messages.not_here."""
    sites: dict[str, set[str]] = {}
    for flight in flights:
        sites.setdefault(flight.cluster, set()).add(flight.site)
    for alias, some in sites.items():
        if clusters.site(alias).answers_for(some) != some:
            raise messages.not_here(alias)


def wait_until_gone(
    clusters: Clusters, ids: dict[str, list[str]], limit_s: float
) -> dict[str, list[str]]:
    """Wait until cancelled jobs have left the queue; cluster -> those that had not in time."""
    deadline = time.monotonic() + limit_s
    pause_s = _FIRST_PAUSE_S
    left = {alias: some for alias, some in ids.items() if some}
    while left:
        left = {
            alias: some
            for alias, ids_ in left.items()
            if (some := _still_there(clusters, alias, ids_))
        }
        if not left or time.monotonic() + pause_s > deadline:
            break
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    return left


def _still_there(clusters: Clusters, alias: str, ids: Collection[str]) -> list[str]:
    site = clusters.site(alias)
    queue = site.look(fresh=True)
    if queue is None:
        return list(ids)
    there = {
        id_
        for each in queue.values()
        if each.state not in _GONE
        for id_ in (each.id, site.scheduler.whole(each.id))
    }
    return [id_ for id_ in ids if id_ in there]
