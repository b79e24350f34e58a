"""What the queues of schedulers hold, for who only looks: where one cannot be asked, nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from buildhpc.diagnostics import HpcmakeError

if TYPE_CHECKING:
    from buildhpc.run.clusters import Site
    from buildhpc.schedulers.protocol import Queued
    from buildhpc.state.database import State


def queue_of(state: State, run: int, alias: str) -> dict[str, Queued] | None:
    """What the queue of a cluster of a run holds, by id; None: it cannot be asked."""
    found = _look(state, run, alias)
    return None if found is None else found[1]


def confirmed(
    state: State, clusters: Iterable[tuple[int, str]]
) -> frozenset[tuple[str | None, str | None]]:
    """Cluster and id of all that queues hold: of each element, and of each array as a whole.

    clusters: a run and a cluster of it.
    """
    aliases = {alias: run for run, alias in clusters}
    there: set[tuple[str | None, str | None]] = set()
    for alias, run in aliases.items():
        found = _look(state, run, alias)
        if found is not None:
            site, queue = found
            ids = [id_ for id_, each in queue.items() if each.state != "ended"]
            there.update((alias, id_) for id_ in ids)
            there.update((alias, site.scheduler.whole(id_)) for id_ in ids)
    return frozenset(there)


def _look(state: State, run: int, alias: str) -> tuple[Site, dict[str, Queued]] | None:
    from buildhpc.commands.moving import clusters_of
    from buildhpc.state import cluster_runs

    try:
        site = clusters_of(cluster_runs.options(state, run), 0.0).site(alias)
        queue = site.look()
    except (HpcmakeError, OSError, KeyError):
        return None
    return None if queue is None else (site, queue)
