"""Which temp files no job of a run on clusters needs any more."""

# Paths are text here.

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from buildhpc.state.plan_file import PlannedJob


def spent_files(plan: Sequence[PlannedJob], done: Collection[int]) -> list[str]:
    """The temp files that are there and that all who need them have used.

    done: numbers of the jobs that are.
    """
    users: dict[str, set[int]] = {}
    makers: dict[str, int | None] = {}
    for planned in plan:
        makers.update(dict.fromkeys(planned.temp, planned.number))
        for maker, path in planned.uses_temp:
            users.setdefault(path, set()).add(planned.number)
            makers.setdefault(path, maker)
    over = frozenset(done)
    free = [
        path
        for path, maker in makers.items()
        if (maker is None or maker in over) and users.get(path, set()) <= over
    ]
    return [path for path in free if os.path.lexists(path)]
