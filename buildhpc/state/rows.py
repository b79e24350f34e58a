"""Writing the rows of jobs, outputs and recipe texts, with their check sums."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from buildhpc.state.records import job_crc, output_crc, path_bytes, sound
from buildhpc.state.schema import UNDER_WAY_SQL, DamageError

if TYPE_CHECKING:
    from sqlite3 import Connection

# The state of a job now: one that a run has and that does not run yet waits.
NOW = f"""CASE WHEN job.claim IS NULL OR job.state IN {UNDER_WAY_SQL} THEN job.state
    ELSE 'waiting' END"""

# Jobs, and not the parts of those that spawned.
SHOWN = "job.rule != ''"

_OUTPUT = """INSERT INTO output VALUES (CAST(? AS TEXT), ?, ?)
    ON CONFLICT (path) DO UPDATE SET job = excluded.job, crc = excluded.crc"""

# A run whose claim was taken over, because it seemed dead, must not write any more: `claim`.
_STATE = """UPDATE job SET state = ?, failure = ?, crc = ?, claim = ?, recorded = ?,
    attempt = coalesce(?, attempt) WHERE id = ? AND claim IS ?"""
_RECORD = """UPDATE job SET state = ?, failure = ?, crc = ?, claim = ?, recorded = ?,
    attempt = coalesce(?, attempt), body = ? WHERE id = ? AND claim IS ?"""

_TEXT = """INSERT INTO recipe_text (key, digest, text) SELECT ?, ?, ?
    WHERE NOT EXISTS (SELECT 1 FROM recipe_text WHERE key = ? AND digest = ?)"""


class Change(NamedTuple):
    """What a job's row becomes.

    body: the packed record; None leaves it as it is. outputs: what the job made.
    keep: the run that has the job from now on; None: no run.
    """

    state: str
    failure: str = ""
    body: bytes | None = None
    outputs: tuple[str, ...] = ()
    keep: int | None = None


class Row(NamedTuple):
    """A change to the job of this name and row, and the attempt that led to it."""

    name: str
    id: int
    change: Change
    attempt: int | None = None


def write_changes(
    connection: Connection, run: int | None, recorded: int, rows: Iterable[Row]
) -> None:
    """Write changes to jobs that `run` has; None: that no run has.

    recorded: the change counter that the transaction began with. Raises: DamageError.
    """
    states, bodies, outputs = [], [], []
    for name, id_, change, attempt in rows:
        body = change.body
        body_crc = _body_crc(connection, id_) if body is None else crc32(body)
        crc = job_crc(name, change.state, change.failure, body_crc)
        head = (change.state, change.failure, crc, change.keep, recorded, attempt)
        if body is None:
            states.append((*head, id_, run))
        else:
            bodies.append((*head, body, id_, run))
        for path in map(path_bytes, change.outputs):
            outputs.append((path, name, output_crc(path, name)))
    connection.executemany(_STATE, states)
    connection.executemany(_RECORD, bodies)
    connection.executemany(_OUTPUT, outputs)


def let_go(connection: Connection, run: int, recorded: int) -> None:
    """Release the claims of a run; what it left undone waits, and never is fresh."""
    rows = connection.execute(
        "SELECT name, id FROM job WHERE claim = ? AND state = 'done'", (run,)
    ).fetchall()
    change = Change("waiting")
    write_changes(connection, run, recorded, [Row(name, id_, change) for name, id_ in rows])
    connection.execute("UPDATE job SET claim = NULL WHERE claim = ?", (run,))


def write_texts(connection: Connection, texts: Mapping[str, str]) -> None:
    """Keep the texts of recipes, by digest."""
    connection.executemany(
        _TEXT,
        [
            (text_key(digest), digest, clean(text), text_key(digest), digest)
            for digest, text in texts.items()
            if text
        ],
    )


def text_key(digest: str) -> int:
    """What the text of a recipe is looked up by, besides its digest."""
    return crc32(digest.encode())


def clean(text: str) -> str:
    """A text as SQLite takes it: what is no Unicode is shown by escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _body_crc(connection: Connection, id_: int) -> int:
    row = connection.execute(
        "SELECT name, state, failure, body, crc FROM job WHERE id = ?", (id_,)
    ).fetchone()
    if row is None:
        return 0
    name, state, failure, body, crc = row
    with sound():
        body_crc = crc32(body)
    # A new check sum must not cover up that the old one was wrong.
    if job_crc(name, state, failure, body_crc) != crc:
        raise DamageError("the check sum of a job's record is wrong")
    return body_crc
