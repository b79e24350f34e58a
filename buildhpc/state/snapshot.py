"""Reading the state without a lock and without leaving a trace."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import state as messages
from buildhpc.state import schema

if TYPE_CHECKING:
    from sqlite3 import Connection

T = TypeVar("T")

# A database that is nowhere, for a query to find nothing in.
MEMORY = Path(":memory:")

# So long a reader tries before it gives up on a database that changes under its eyes.
TIMEOUT_S = 30.0

# So often it reads the file in its place before it reads a copy: a copy is made quickly, while
# a build may write several times a second.
IN_PLACE = 3


class UnsteadyError(Exception):
    """The database changed while it was looked at."""


def generation(path: Path) -> bytes:
    """What tells one content of the database from the next; empty when there is none.

    It is the first 100 bytes of the file, which hold SQLite's change counter and a number drawn
    when the database was made; its size; and whether an unfinished transaction lies beside it.
    Source: sqlite.org/fileformat2.html, section 1.3.
    """
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            head = os.read(fd, 100)
            size = os.fstat(fd).st_size
        finally:
            os.close(fd)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError:
        # It is there and cannot be read: whoever reads it will say why.
        return b"unreadable"
    return head + size.to_bytes(8, "little") + bytes([unfinished(path)]) if size else b""


def change_counter(seen: bytes) -> int:
    """The number of transactions up to a generation; 0 for none."""
    return int.from_bytes(seen[24:28], "big")


def unfinished(path: Path) -> bool:
    """Whether a transaction is under way, or was cut off by a kill."""
    try:
        return os.stat(f"{path}-journal").st_size > 0  # as quick as it gets
    except OSError:
        return False


def read(path: Path, query: Callable[[Connection], T], in_place: int = IN_PLACE) -> T:
    """What `query` returns for one whole content of the database.

    The connection may be used up to the end of `query` only. A database that is missing or
    empty has empty tables. in_place: as `IN_PLACE`.
    Raises: messages.damaged, newer, unreadable; messages.busy with exit code 3.
    """
    import sqlite3

    from buildhpc.state.refusals import refusal

    # A damaged row may hold values of any kind, so it may be our reading that stumbles.
    stumbles = (TypeError, ValueError, schema.DamageError)
    refused = (sqlite3.DatabaseError, OSError, schema.NewerError, *stumbles)
    deadline = time.monotonic() + TIMEOUT_S
    for number in count():
        seen = generation(path)
        copied = number >= in_place
        if unfinished(path) and not copied:
            # Most likely it is being committed right now.
            time.sleep(0.02)
            continue
        failure: Exception | None = None
        steady = True
        try:
            with _view(path, seen, copied) as connection:
                result = query(connection)
        except UnsteadyError:
            steady = False
        except refused as error:
            failure = error
        steady = steady and (copied or generation(path) == seen)
        if steady and failure is None:
            return result
        # Twice the same: not a writer that was in the way, but what is there.
        if steady and failure is not None and number:
            raise refusal(path, failure, writing=False) from failure
        if time.monotonic() > deadline:
            break
        time.sleep(0.002 * min(number, 20))
    raise HpcmakeError(messages.busy(path), exit_code=3)


@contextmanager
def _view(path: Path, seen: bytes, copied: bool) -> Iterator[Connection]:
    import sqlite3

    if seen and copied:
        with _copy(path) as copy, closing(connect(copy)) as connection:
            yield prepare(connection, copy)
        return
    if not seen:
        with closing(connect(MEMORY)) as connection:
            yield prepare(connection, MEMORY)
        return
    # Immutable: SQLite neither locks the file nor looks for a journal.
    name = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    view = sqlite3.connect(f"file:{name}?mode=ro&immutable=1", uri=True, isolation_level=None)
    with closing(view) as connection:
        connection.text_factory = _text
        if schema.version_of(connection) != schema.VERSION:
            # Of an older version, or empty: only a copy can be brought up to date.
            raise UnsteadyError
        yield connection


@contextmanager
def _copy(path: Path) -> Iterator[Path]:
    """A copy of the database outside of the project, with its unfinished transaction."""
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory(prefix="hpcmake-") as folder:
        copy = Path(folder) / path.name
        before = _files(path)
        if before[1] is not None:
            shutil.copyfile(f"{path}-journal", f"{copy}-journal")
        shutil.copyfile(path, copy)
        if _files(path) != before:
            raise UnsteadyError
        yield copy


def _files(path: Path) -> list[tuple[int, int] | None]:
    """Size and time of the database and its journal; None for what is missing."""
    found: list[tuple[int, int] | None] = []
    for name in (path, Path(f"{path}-journal")):
        try:
            status = name.stat()
            found.append((status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found


def connect(path: Path, vfs: str = "") -> Connection:
    """A connection that may write; transactions are begun and ended by statements."""
    import sqlite3

    if vfs:
        name = str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        connection = sqlite3.connect(f"file:{name}?vfs={vfs}", uri=True, isolation_level=None)
    else:
        connection = sqlite3.connect(path, timeout=20.0, isolation_level=None)
    connection.text_factory = _text
    return connection


def prepare(connection: Connection, path: Path) -> Connection:
    """The same connection to the database at `path`, with tables of the current version."""
    version = schema.version_of(connection)
    if version is None:
        if path.exists() and path.stat().st_size:
            raise schema.DamageError("it is cut off")
        schema.create(connection)
    elif version < schema.VERSION:
        schema.migrate(connection, version)
    return connection


def _text(stored: bytes) -> str:
    """A text of the database; a path may be no UTF-8."""
    return stored.decode("utf-8", "surrogatepass")
