"""What is known of submissions by the names that they have at schedulers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from buildhpc.state.records import chunks

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.state.database import State


class Known(NamedTuple):
    """What is known of a submission by its name.

    state: as in the table. may_go_on: one of its attempts was ended from outside, and is gone on
    with where its scheduler starts it anew.
    """

    scheduler_id: str | None
    state: str
    may_go_on: bool


def known_by(state: State, names: Sequence[str]) -> dict[str, Known]:
    """What is known of submissions of these names; others have no entry."""
    query = """SELECT name, scheduler_id, state, EXISTS (SELECT 1 FROM attempt
        WHERE attempt.submission = submission.id AND (attempt.state IN ('cancelled', 'lost')
        OR (attempt.state = 'failed' AND attempt.told != 'receipt')))
        FROM submission WHERE name IN"""

    def read(connection: Connection) -> dict[str, Known]:
        return {
            row[0]: Known(row[1], row[2], bool(row[3]))
            for marks, part in chunks(names)
            for row in connection.execute(f"{query} ({marks})", part)
        }

    return state.read(read)


def never_seen(state: State, run: int) -> set[str]:
    """The clusters that have not shown what was submitted of a run, so that it was taken back.

    It may turn up all the same, where the command that submitted it took its time.
    """
    query = (
        "SELECT cluster FROM submission WHERE run = ? AND state = 'gone' AND scheduler_id IS NULL"
    )
    return state.read(lambda connection: {row[0] for row in connection.execute(query, (run,))})
