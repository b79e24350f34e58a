"""Attempts that schedulers have: found, ended by what others tell of them, taken back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from buildhpc.plan.arrays import Place
from buildhpc.state.logs import Log, fold_log
from buildhpc.state.rows import Change, Row, clean, write_changes
from buildhpc.state.runs import count_undone
from buildhpc.state.snapshot import change_counter

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.state.database import State


class InFlight(NamedTuple):
    """An attempt that a scheduler has, or is about to have.

    attempt, row: numbers in the state, of it and of its job. number: counted from 1 in its run.
    place: the submission in the state, and which element of it. id: of the element at the
    scheduler; None before that is known. state: `queued`, or `running` once its runner said so.
    waits: it was submitted after others. host, started_s: None before it began. stopped: what
    its runner said when it was told to end from outside; None: it was not. name: of the
    submission, at the scheduler. site: what tells that from others; empty: nothing does.
    """

    attempt: int
    run: int
    job: str
    row: int
    number: int
    place: Place
    cluster: str
    id: str | None
    state: str
    waits: bool
    host: str | None
    started_s: float | None
    stopped: str | None = None
    name: str = ""
    site: str = ""


class End(NamedTuple):
    """The end of an attempt as somebody else than its runner tells it.

    state: `failed`, `cancelled` or `lost`. failure: class of a failure. told: by whom:
    `accounting`, `queue`, or `user`. retry: the job is tried again.
    """

    attempt: int
    state: str
    failure: str | None
    message: str
    told: str
    retry: bool = False
    exit_code: int | None = None
    host: str = ""
    peak_mib: float = 0.0


_FLIGHTS = """SELECT attempt.id, attempt.run, job.name, job.id, attempt.number,
    attempt.submission, attempt.element, submission.elements, submission.cluster,
    attempt.scheduler_id, attempt.state, submission.edges != '[]', attempt.host,
    attempt.started_s, CASE WHEN attempt.told = 'receipt' THEN attempt.message END,
    submission.name, slice.site FROM attempt JOIN job ON job.id = attempt.job
    JOIN submission ON submission.id = attempt.submission
    JOIN slice ON slice.id = submission.slice
    WHERE attempt.state IN ('running', 'queued')"""

_END = """UPDATE attempt SET state = ?, failure = ?, message = ?, told = ?, ended_s = ?,
    exit_code = ?, host = coalesce(host, ?), peak_mib = coalesce(peak_mib, ?),
    log_path = ?, log = ?, err_at = coalesce(?, err_at) WHERE id = ?"""


def flights_of(connection: Connection, condition: str, *values: object) -> list[InFlight]:
    """The attempts in flight for which a condition holds, in the order of submitting."""
    rows = connection.execute(f"{_FLIGHTS} AND {condition} ORDER BY attempt.id", values)
    return [
        InFlight(*(*row[:5], Place(*row[5:8]), *row[8:11], bool(row[11]), *row[12:]))
        for row in rows
    ]


def read_flights(state: State, run: int | None) -> list[InFlight]:
    """The attempts in flight of a run, or of all."""
    if run is None:
        return state.read(lambda connection: flights_of(connection, "1"))
    return state.read(lambda connection: flights_of(connection, "attempt.run = ?", run))


def names_of(state: State, cluster: str) -> set[str]:
    """The names of all that was ever submitted to a cluster, as its queue shows them."""
    query = "SELECT name FROM submission WHERE cluster = ?"
    return state.read(lambda connection: {row[0] for row in connection.execute(query, (cluster,))})


def withdraw(connection: Connection, flights: Sequence[InFlight]) -> list[InFlight]:
    """Remove attempts that never began, as if they had not been submitted.

    Returns one of each scheduler job, or element, that has nothing to do any more.
    """
    unmake(connection, [(each.attempt, each.row) for each in flights])
    elements = {each.place[:2]: each for each in flights}
    busy = (
        "SELECT 1 FROM attempt WHERE submission = ? AND element = ?"
        " AND state IN ('running', 'queued')"
    )
    return [
        each for place, each in elements.items() if not connection.execute(busy, place).fetchone()
    ]


def unmake(connection: Connection, attempts: Sequence[tuple[int, int]]) -> None:
    """Remove attempts, each given with the row of its job; the one before is its last again."""
    connection.executemany(
        "UPDATE job SET attempt = (SELECT max(id) FROM attempt WHERE job = ? AND id != ?)"
        " WHERE id = ? AND attempt = ?",
        [(row, attempt, row, attempt) for attempt, row in attempts],
    )
    connection.executemany(
        "DELETE FROM attempt WHERE id = ?", [(attempt,) for attempt, _ in attempts]
    )


def close_spent(connection: Connection) -> None:
    """Mark the submissions that have no attempt any more that is yet to end."""
    connection.execute(
        "UPDATE submission SET state = 'gone' WHERE state NOT IN ('gone', 'exported')"
        " AND NOT EXISTS"
        " (SELECT 1 FROM attempt WHERE attempt.submission = submission.id"
        " AND attempt.state IN ('running', 'queued'))"
    )


def change_of(run: int, state: str, failure: str | None, message: str, retry: bool) -> Change:
    """What becomes of a job when an attempt of it ended otherwise than well."""
    if retry:
        return Change("waiting", keep=run)
    return Change(state, clean(f"{failure}: {message}" if failure else message))


def end_attempts(state: State, ends: Sequence[End]) -> list[InFlight]:
    """Record the ends of attempts that left no receipt; returns those that had not ended yet."""
    logs = _logs(state, [end.attempt for end in ends])
    with state.transaction() as connection:
        found = []
        changes: dict[int, list[Row]] = {}
        for end in ends:
            for flight in flights_of(connection, "attempt.id = ?", end.attempt):
                found.append(flight)
                _write_end(connection, end, logs.get(end.attempt, Log()), state.now_s())
                change = change_of(flight.run, end.state, end.failure, end.message, end.retry)
                changes.setdefault(flight.run, []).append(Row(flight.job, flight.row, change))
        recorded = change_counter(state.found)
        for run, rows in changes.items():
            write_changes(connection, run, recorded, rows)
            count_undone(connection, run, sum(row.change.keep is None for row in rows))
        close_spent(connection)
    for log in logs.values():
        log.discard()
    return found


def _write_end(connection: Connection, end: End, log: Log, now_s: float) -> None:
    connection.execute(
        _END,
        (
            *(end.state, end.failure, clean(end.message), end.told, now_s, end.exit_code),
            *(end.host or None, end.peak_mib or None, log.path, log.text, log.err_at),
            end.attempt,
        ),
    )


def _logs(state: State, attempts: Iterable[int]) -> dict[int, Log]:
    """What attempts printed that cannot tell it themselves any more."""

    def query(connection: Connection) -> list[tuple[Any, ...]]:
        select = "SELECT id, log_path, err_at FROM attempt WHERE id = ? AND log_path IS NOT NULL"
        return [row for id_ in attempts for row in connection.execute(select, (id_,))]

    folder, home = str(state.folder), os.path.normpath(state.home)
    return {
        id_: fold_log(folder, home, path, f"lost-{id_}", err_at)
        for id_, path, err_at in state.read(query)
    }


def inputs_of(meta: str | None) -> list[str] | None:
    """All inputs of an attempt in their order, where that was kept."""
    found: list[str] | None = json.loads(meta).get("inputs") if meta else None
    return found
