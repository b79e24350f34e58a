"""How many more jobs may be submitted: `max_submitted` bounds what a queue shows of a folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import NamedTuple

from buildhpc.run.clusters import Site
from buildhpc.state.database import State
from buildhpc.state.flights import InFlight, names_of

# A slice is only made for a window that has so much of its room free.
_WORTHWHILE = 4
# Of so few places none can be spared: then the bound is kept as far as the state knows.
_FEW = 3


class Places(NamedTuple):
    """How many more jobs may be submitted. crowded: what is about to leave a queue leaves none."""

    free: int
    crowded: bool = False


def free_places(
    state: State, site: Site, flights: Sequence[InFlight], wanted: int, ever: int
) -> Places:
    """How many of `wanted` jobs may be submitted to a cluster now.

    flights: all that are in flight, in any queue. ever: how many scheduler jobs there may have
    been lately; where there is room for them all, nobody has to be asked. One place is kept for
    the job that takes the run on, and while others are there another one: it is still in the
    queue itself when it submits the next of its kind.
    """
    most = site.settings.max_submitted
    mine = [each for each in flights if each.cluster == site.alias]
    there = len({each.place[:2] for each in mine})
    free = max(0, most - min(1, most - 1) - there)
    if not _worthwhile(free, wanted, most, there):
        return Places(0)
    if ever < most or most <= _FEW:
        return Places(free)
    leaving, going_on = _others(state, site, mine)
    kept = max(2 if there or leaving else 1, going_on + 1)
    free = max(0, most - kept - there - leaving)
    if not free or not _worthwhile(free, wanted, most, there + leaving):
        return Places(0, crowded=True)
    return Places(free)


def go_on_prefix(state: State) -> str:
    """What the names begin with of the scheduler jobs that take the runs of a folder on."""
    folder = os.path.abspath(state.folder).encode(errors="surrogateescape")
    return f"go_on.{hashlib.sha256(folder).hexdigest()[:6]}-"


def _worthwhile(free: int, wanted: int, most: int, there: int) -> bool:
    """Whether the room is worth a slice; where nothing is there, any room is."""
    return not there or free >= min(wanted, max(1, most // _WORTHWHILE))


def _others(state: State, site: Site, mine: Sequence[InFlight]) -> tuple[int, int]:
    """How many jobs of a folder a queue shows beside those in flight.

    Jobs that told of their end and are about to leave, as a runner that submits is; and those
    that take runs on. None, where nobody knows.
    """
    queue = site.look(fresh=True) or {}
    known = {each.id for each in mine}
    names = names_of(state, site.alias)
    prefix = go_on_prefix(state)
    shown = [each for each in queue.values() if each.state != "ended" and each.id not in known]
    leaving = sum(each.name in names for each in shown)
    return leaving, sum(each.name.startswith(prefix) for each in shown)
