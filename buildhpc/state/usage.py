"""What jobs asked for and used: per rule, and when they ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.state.database import State


@dataclass(frozen=True, slots=True)
class Used:
    """Some attempts of one rule: how much they asked for and used; None: not known.

    Of what was used the median and the most; of what was asked for the most.
    """

    rule: str
    jobs: int
    wall_s: float | None
    most_wall_s: float | None
    time_s: float | None
    peak_mib: float | None
    most_peak_mib: float | None
    mem_mib: float | None
    cores: float | None
    busy_cores: float | None


class Ran(NamedTuple):
    """An attempt that began: when, and how it ended."""

    job: str
    rule: str
    state: str
    started_s: float
    ended_s: float | None
    host: str | None


_USED = """SELECT job.rule, attempt.ended_s - attempt.started_s, attempt.time_s, attempt.peak_mib,
    attempt.mem_mib, attempt.cores, attempt.cpu_s FROM job JOIN attempt ON attempt.id = job.attempt
    WHERE job.rule != '' AND attempt.state = 'done' AND attempt.started_s IS NOT NULL
    AND {where} ORDER BY job.rule"""
_RAN = """SELECT job.name, job.rule, attempt.state, attempt.started_s, attempt.ended_s, attempt.host
    FROM attempt JOIN job ON job.id = attempt.job
    WHERE job.rule != '' AND attempt.started_s IS NOT NULL
    ORDER BY attempt.started_s DESC LIMIT ?"""


def used(state: State, run: int | None = None) -> list[Used]:
    """Per rule what the last attempts that ended well asked for and used; run: only those of it.

    100,000 jobs take 0.5 s.
    """
    where = "1" if run is None else "attempt.run = ?"
    values = () if run is None else (run,)

    def query(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
        found: dict[str, list[tuple[Any, ...]]] = {}
        for rule, *rest in connection.execute(_USED.format(where=where), values):
            found.setdefault(rule, []).append(tuple(rest))
        return found

    return [_of(rule, rows) for rule, rows in state.read(query).items()]


def _of(rule: str, rows: Sequence[tuple[Any, ...]]) -> Used:
    wall, time, peak, mem, cores = ([row[at] for row in rows if row[at]] for at in range(5))
    busy = [row[5] / row[0] for row in rows if row[5] is not None and row[0] and row[0] > 1.0]
    return Used(
        rule,
        len(rows),
        *(median(wall) if wall else None, max(wall, default=None), max(time, default=None)),
        *(median(peak) if peak else None, max(peak, default=None), max(mem, default=None)),
        *(max(cores, default=None), median(busy) if busy else None),
    )


def ran(state: State, most: int) -> list[Ran]:
    """The last attempts that began, at most so many, oldest first."""
    rows = state.read(lambda connection: connection.execute(_RAN, (most,)).fetchall())
    return [Ran(*row) for row in reversed(rows)]
