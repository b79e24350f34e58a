"""What people say of priorities while jobs wait, and which run has a job that goes ahead of all.

A run whose job of a priority of 100 or more is ready, and for which there is no room yet, says
so; the others hold back what is of lower priority, as long as it lives and goes on saying so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from buildhpc.state.runs import open_runs

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.state.database import State

# What a run said longer ago counts no more: nobody waits for one that hangs.
FRESH_S = 60.0


class Said(NamedTuple):
    """What is said of the priority of a job over what the Pipefile says.

    priority: None: nothing. more: to be added.
    """

    priority: int | None = None
    more: int = 0

    def of(self, planned: int) -> int:
        """The priority of a job that has `planned` by its Pipefile."""
        return (planned if self.priority is None else self.priority) + self.more


def said(state: State) -> dict[str, Said]:
    """Job -> what is said of its priority; no entry where nothing is."""
    query = """SELECT job.name, setting.key, setting.value FROM setting
        JOIN job ON job.id = setting.job WHERE setting.key IN ('priority', 'boost')"""
    found: dict[str, Said] = {}
    for name, key, value in state.read(lambda connection: connection.execute(query).fetchall()):
        old = found.get(name, Said())
        found[name] = (
            old._replace(priority=value) if key == "priority" else old._replace(more=value)
        )
    return found


def set_priority(connection: Connection, jobs: Iterable[int], value: int, *, more: bool) -> None:
    """Say what the priority of jobs is, by their rows; more: add to it."""
    for job in jobs:
        if more:
            connection.execute(
                "INSERT INTO setting VALUES (?, 'boost', ?)"
                " ON CONFLICT (job, key) DO UPDATE SET value = value + excluded.value",
                (job, value),
            )
        else:
            connection.execute("DELETE FROM setting WHERE job = ? AND key = 'boost'", (job,))
            connection.execute(
                "INSERT OR REPLACE INTO setting VALUES (?, 'priority', ?)", (job, value)
            )


def plan_priorities(
    connection: Connection, jobs: Mapping[str, int], priorities: Mapping[str, int]
) -> None:
    """Say what the Pipefile says of the priority of jobs, given with their rows.

    priorities: no entry: it says nothing.
    """
    known = connection.execute("SELECT 1 FROM setting WHERE key = 'planned' LIMIT 1").fetchone()
    if known:
        connection.executemany(
            "DELETE FROM setting WHERE job = ? AND key = 'planned'",
            ((row,) for row in jobs.values()),
        )
    said = ((jobs[job], value) for job, value in priorities.items() if job in jobs)
    connection.executemany("INSERT INTO setting VALUES (?, 'planned', ?)", said)


def announce(state: State, run: int, priority: int | None) -> None:
    """Say of which priority, of 100 or more, a run has a job that waits for room; None: none."""
    with state.transaction() as connection:
        connection.execute("DELETE FROM urgent WHERE run = ?", (run,))
        if priority is not None:
            row = (run, priority, state.now_s())
            connection.execute("INSERT INTO urgent VALUES (?, ?, ?)", row)


def tell(state: State, run: int, priority: int | None) -> None:
    """As `announce`, where that is not what was said a moment ago."""
    query = "SELECT priority, at_s FROM urgent WHERE run = ?"
    row = state.read(lambda connection: connection.execute(query, (run,)).fetchone())
    if row is None and priority is None:
        return
    late = row is not None and state.now_s() - row[1] > FRESH_S / 3
    if row is None or row[0] != priority or late:
        announce(state, run, priority)


def floor(state: State, run: int, *, of_clusters: bool = False) -> int | None:
    """The highest priority that a job of another run waits with; what is lower waits for it.

    of_clusters: only of runs on clusters. None: no such job.
    """

    def query(connection: Connection) -> int | None:
        now_s = state.now_s()
        rows = connection.execute(
            "SELECT run, priority FROM urgent WHERE run != ? AND at_s > ?", (run, now_s - FRESH_S)
        ).fetchall()
        if not rows:
            return None
        living = {
            each.id
            for each in open_runs(connection)
            if each.lives(now_s) and (each.cluster is not None or not of_clusters)
        }
        return max((priority for id_, priority in rows if id_ in living), default=None)

    return state.read(query)
