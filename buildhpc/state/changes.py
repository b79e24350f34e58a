"""What commands do to the records of jobs: accept, reset, forget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from buildhpc.state.claims import Held, JobToClaim, bury, mark, sort_out
from buildhpc.state.logs import remove_log
from buildhpc.state.records import load, pack, path_bytes
from buildhpc.state.rows import Change, Row, write_changes, write_texts
from buildhpc.state.snapshot import change_counter

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.plan.stamps import Record
    from buildhpc.state.database import State


def touch_records(state: State, jobs: Sequence[tuple[JobToClaim, Record, str]]) -> dict[str, int]:
    """Record jobs as done without having run them, each with the text of its recipe.

    Returns the jobs that live runs have, which are left alone, with their run.
    """
    given = {job.name: (record, text) for job, record, text in jobs}
    with state.transaction() as connection:
        free, foreign = _free(state, connection, [job for job, _, _ in jobs])
        rows = []
        for name, held in free.items():
            record, text = given[name]
            change = Change("done", "", pack(record), record.outputs)
            rows.append(Row(name, held.id, change))
            write_texts(connection, {record.recipe: text})
        write_changes(connection, None, change_counter(state.found), rows)
    return foreign


def reset(state: State, jobs: Sequence[JobToClaim]) -> dict[str, int]:
    """Take the records of these jobs away, so that the next build runs them.

    Returns the jobs that live runs have, which are left alone, with their run.
    """
    with state.transaction() as connection:
        free, foreign = _free(state, connection, jobs)
        change = Change("reset", "", b"")
        rows = [Row(name, held.id, change) for name, held in free.items()]
        write_changes(connection, None, change_counter(state.found), rows)
    return foreign


def forget(state: State, names: Sequence[str]) -> dict[str, int]:
    """Remove all that is known of these jobs; the times of their files decide afterwards.

    Returns the jobs that live runs have, which are left alone, with their run.
    """
    with state.transaction() as connection:
        bury(connection, state.now_s(), None, change_counter(state.found))
        found = sort_out(connection, None, [JobToClaim(name, "", {}) for name in names], None)
        assert found is not None
        ids = [(held.id,) for held in found.free.values()]
        logs = _logs(connection, "job", ids)
        connection.executemany("DELETE FROM attempt WHERE job = ?", ids)
        connection.executemany("DELETE FROM job WHERE id = ?", ids)
        _forget_outputs(connection, found.free.keys())
        _forget_texts(connection)
    _remove_logs(state, logs)
    return found.foreign


def forget_runs(state: State, runs: Sequence[int]) -> None:
    """Remove runs that ended, their attempts and logs; what their jobs made stays recorded."""
    with state.transaction() as connection:
        bury(connection, state.now_s(), None, change_counter(state.found))
        ended = {
            row[0]
            for row in connection.execute(
                "SELECT id FROM run WHERE status != 'running'"
                " AND NOT EXISTS (SELECT 1 FROM job WHERE job.claim = run.id)"
            )
        }
        ids = [(run,) for run in runs if run in ended]
        logs = _logs(connection, "run", ids)
        connection.executemany("DELETE FROM attempt WHERE run = ?", ids)
        connection.executemany("DELETE FROM submission WHERE run = ?", ids)
        connection.executemany("DELETE FROM slice WHERE run = ?", ids)
        connection.executemany("DELETE FROM run WHERE id = ?", ids)
    _remove_logs(state, logs)


_COLLECTED = """INSERT OR REPLACE INTO collected SELECT job.id, job.attempt FROM output
    JOIN job ON job.name = output.job WHERE output.path = CAST(? AS TEXT)
    AND job.state = 'done' AND job.claim IS NULL AND job.attempt IS NOT NULL"""


def collect(state: State, paths: Iterable[str]) -> None:
    """Take note that temp outputs were used and removed: the jobs that made them are collected."""
    with state.transaction() as connection:
        connection.executemany(_COLLECTED, [(path_bytes(path),) for path in paths])


# Attempts that ended, have a log, and whose log is older than wanted, or not among the last.
_SPENT_LOGS = """SELECT id FROM (SELECT id, state, ended_s,
    log != '' OR log_path IS NOT NULL AS printed,
    row_number() OVER (PARTITION BY job ORDER BY id DESC) AS place FROM attempt)
    WHERE printed AND state NOT IN ('running', 'queued') AND (ended_s < ? OR place > ?)"""
_MANY = 2**62


def spent_logs(state: State, before_s: float | None, most: int | None) -> list[int]:
    """The attempts whose logs may go; looks without the lock.

    before_s: those that ended before that. most: those before the last so many of their job.
    """
    values = (before_s or 0.0, most or _MANY)
    return state.read(
        lambda connection: [row[0] for row in connection.execute(_SPENT_LOGS, values)]
    )


def remove_logs(state: State, attempts: Sequence[int]) -> None:
    """Remove what these attempts printed; all else that is known of them stays.

    An empty text says so; the text of who printed nothing is NULL.
    """
    ids = [(each,) for each in attempts]
    with state.transaction() as connection:
        logs = _logs(connection, "id", ids)
        connection.executemany("UPDATE attempt SET log = '', log_path = NULL WHERE id = ?", ids)
    _remove_logs(state, logs)


def _free(
    state: State, connection: Connection, jobs: Sequence[JobToClaim]
) -> tuple[dict[str, Held], dict[str, int]]:
    """The jobs that no live run has, each with a row now; those that one has."""
    bury(connection, state.now_s(), None, change_counter(state.found))
    found = sort_out(connection, None, jobs, None)
    assert found is not None
    return mark(connection, None, found), found.foreign


def _forget_outputs(connection: Connection, names: Iterable[str]) -> None:
    gone = set(names)
    paths = [
        (path_bytes(path),)
        for path, job in connection.execute("SELECT path, job FROM output")
        if job in gone
    ]
    connection.executemany("DELETE FROM output WHERE path = CAST(? AS TEXT)", paths)


def _forget_texts(connection: Connection) -> None:
    """Remove the texts of recipes that no record mentions any more."""
    used = {record.recipe for record in load(connection).values()}
    texts = connection.execute("SELECT id, digest FROM recipe_text").fetchall()
    unused = [(id_,) for id_, digest in texts if digest not in used]
    connection.executemany("DELETE FROM recipe_text WHERE id = ?", unused)


def _logs(connection: Connection, column: str, ids: Iterable[tuple[int]]) -> list[tuple[str, bool]]:
    """The log files of attempts, each with whether stderr is in the one beside it."""
    select = f"""SELECT log_path, err_at IS NOT NULL FROM attempt
        WHERE {column} = ? AND log_path IS NOT NULL"""
    return [(row[0], bool(row[1])) for id_ in ids for row in connection.execute(select, id_)]


def _remove_logs(state: State, logs: Iterable[tuple[str, bool]]) -> None:
    """Remove log files that hpcmake keeps; a user's own stays."""
    kept = state.home / "logs"
    for log, split in logs:
        path = state.folder / log
        if path.parent == kept:
            remove_log(str(path), split=split)
