"""What jobs say of themselves while they run: notes in the inbox, without the lock.

A note is `note-RUN-NANOSECONDS-RANDOM` in the folder `inbox`: a line of JSON, and its check sum.
"""

# Paths are text here: `hpcmake set` in a job is to be quick.

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from buildhpc.state import receipts
from buildhpc.state.receipts import BadReceiptError

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.state.database import State

# A value that a job may give itself; None removes it.
Value = str | int | float | bool | None
# So many notes become part of the state in one transaction.
_AT_ONCE = 2000
# The attempt of a job on this machine is written down a moment after it began.
_EARLY_S = 3600.0


class Note(NamedTuple):
    """What one attempt says of itself. at_ns: when, by the clock of its host."""

    run: int
    job: str
    attempt: int
    at_ns: int
    values: Mapping[str, Value]


def write(inbox: str, note: Note, tries: Iterable[None]) -> None:
    """Put a note into the inbox. tries: as `receipts.backoff`. Raises: OSError."""
    name = f"note-{note.run}-{note.at_ns}-{os.urandom(4).hex()}"
    receipts.put(inbox, name, json.dumps(note._asdict()), tries)


def names(inbox: str) -> list[str]:
    """The notes that are there. Raises: OSError, if the folder cannot be read."""
    try:
        return sorted(
            name
            for name in os.listdir(inbox)
            if name.startswith("note-") and receipts.NEWS.fullmatch(name)
        )
    except FileNotFoundError:
        return []


def read(inbox: str, name: str) -> Note:
    """One note. Raises: BadReceiptError; OSError."""
    with open(os.path.join(inbox, name), "rb") as file:
        text = receipts.unseal(file.read())
    try:
        return Note(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise BadReceiptError("it is none that this hpcmake writes") from error


def untold(inbox: str, run: int, job: str, attempt: int) -> dict[str, Value]:
    """What an attempt said of itself and what is no part of the state yet."""
    mine = []
    try:
        listed = names(inbox)
    except OSError:
        return {}
    for name in listed:
        try:
            note = read(inbox, name)
        except (OSError, BadReceiptError):
            continue
        if note[:3] == (run, job, attempt):
            mine.append(note)
    found: dict[str, Value] = {}
    for note in sorted(mine, key=lambda note: note.at_ns):
        found.update(note.values)
    return found


def fold(state: State) -> list[str]:
    """Make notes part of the state; returns the names of those that are torn, which stay.

    Raises: OSError; as `State.transaction`.
    """
    inbox = str(state.home / "inbox")
    listed = names(inbox)
    torn: list[str] = []
    for start in range(0, len(listed), _AT_ONCE):
        part = listed[start : start + _AT_ONCE]
        with state.locked():
            found = {}
            for name in part:
                try:
                    found[name] = read(inbox, name)
                except FileNotFoundError:
                    continue  # folded meanwhile
                except BadReceiptError:
                    os.replace(os.path.join(inbox, name), os.path.join(inbox, f"{name}.bad"))
                    torn.append(f"{name}.bad")
            for name in _write(state, found):
                os.unlink(os.path.join(inbox, name))
    return torn


def _write(state: State, found: Mapping[str, Note]) -> list[str]:
    """Write notes; returns those that nothing more is to be done about."""
    if not found:
        return []
    over = []
    with state.transaction() as connection:
        for name, note in found.items():
            attempt = _attempt_of(connection, *note[:3])
            if attempt is not None:
                say(connection, attempt, note.values, note.at_ns)
            if attempt is not None or time.time() - note.at_ns / 1e9 > _EARLY_S:
                over.append(name)
    return over


def _attempt_of(connection: Connection, run: int, job: str, number: int) -> int | None:
    row = connection.execute(
        "SELECT max(attempt.id) FROM attempt JOIN job ON job.id = attempt.job"
        " WHERE job.name = ? AND attempt.run = ? AND attempt.number = ?",
        (job, run, number),
    ).fetchone()
    found: int | None = row[0]
    return found


def attempt_of(state: State, run: int, job: str, number: int) -> int | None:
    """The attempt of this number of a job in a run; None: it is not written down."""
    return state.read(lambda connection: _attempt_of(connection, run, job, number))


def say(connection: Connection, attempt: int, values: Mapping[str, Value], at_ns: int) -> None:
    """Write what is said of an attempt, where nothing later was."""
    connection.executemany(
        "INSERT INTO note VALUES (?, ?, ?, ?) ON CONFLICT (attempt, key) DO UPDATE"
        " SET value = excluded.value, at_ns = excluded.at_ns"
        " WHERE excluded.at_ns >= note.at_ns",
        [(attempt, key, json.dumps(value), at_ns) for key, value in values.items()],
    )


def said(state: State, attempts: Sequence[int]) -> dict[int, dict[str, Value]]:
    """Attempt -> what is said of it, by name; no entry where nothing is."""
    select = "SELECT key, value FROM note WHERE attempt = ? AND value != 'null' ORDER BY key"

    def query(connection: Connection) -> dict[int, dict[str, Value]]:
        found = {
            attempt: {
                key: json.loads(value) for key, value in connection.execute(select, (attempt,))
            }
            for attempt in attempts
        }
        return {attempt: values for attempt, values in found.items() if values}

    return state.read(query)
