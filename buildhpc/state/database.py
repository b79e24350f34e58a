"""The database of the state: what it is asked, and writing it under the lock."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from buildhpc.diagnostics import HpcmakeError, Problem
from buildhpc.messages import state as messages
from buildhpc.state import schema, snapshot
from buildhpc.state.lock import Lock
from buildhpc.state.records import Records, load, load_makers, load_some
from buildhpc.state.rows import text_key

if TYPE_CHECKING:
    from sqlite3 import Connection

T = TypeVar("T")

FOLDER = ".hpcmake"
LOCK_TIMEOUT_S = 60.0

# What fsync answers where folders cannot be synced. Source: fsync(2).
_NO_SYNC = frozenset({errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.EOPNOTSUPP})


def generation(folder: Path) -> bytes:
    """What tells one content of the state of a working folder from the next.

    Equal as long as nothing was written; empty when there is none. Needs no SQLite.
    """
    return snapshot.generation(folder / FOLDER / "state.db")


def read_state(folder: Path) -> State | None:
    """The state of a working folder, for looking only; None when there is none."""
    return State(folder, _no_notice) if generation(folder) else None


def open_state(
    folder: Path,
    notice: Callable[[Problem], None] | None = None,
    lock_timeout_s: float = LOCK_TIMEOUT_S,
) -> State:
    """The state of a working folder, for writing; nothing is made before the first write.

    notice: called with warnings: once, that there is no real lock here; that one is waited for.
    """
    return State(folder, notice or _no_notice, lock_timeout_s)


def _no_notice(problem: Problem) -> None:
    del problem


def make_home(home: Path) -> None:
    """Make the folder of the state, which nobody should commit. Raises: OSError, HpcmakeError."""
    try:
        home.mkdir()
        sync_names(home.parent)
    except FileExistsError as error:
        if not home.is_dir():
            raise HpcmakeError(messages.not_a_folder(home)) from error
    ignore = home / ".gitignore"
    # A kill may have left it empty.
    if not (ignore.exists() and ignore.stat().st_size):
        ignore.write_text("*\n", encoding="utf-8")


def sync_names(folder: Path) -> None:
    """See to it that the names in a folder outlast a power loss. Raises: OSError.

    Where a file system does not do that for folders there is nothing to do.
    """
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(fd)


class State:
    """What hpcmake knows of the jobs of a working folder.

    folder: the working folder. home: the folder of the state in it. path: the database.
    found: the generation that the last `transaction` began with. commits: how many there were.

    Reading takes no lock and writes nothing. Writing happens in `transaction`, under the lock.
    """

    def __init__(
        self,
        folder: Path,
        notice: Callable[[Problem], None],
        lock_timeout_s: float = LOCK_TIMEOUT_S,
    ) -> None:
        self.folder = folder
        self.home = folder / FOLDER
        self.path = self.home / "state.db"
        self.found = b""
        self.commits = 0
        self._lock = Lock(self.home / "lock", lock_timeout_s, notice)
        self._connection: Connection | None = None
        self._identity: tuple[int, int] | None = None

    def records(self) -> Records:
        """Job name -> record, of all jobs that have one."""
        return self.read(load)

    def record(self, names: Sequence[str]) -> Records:
        """Job name -> record, of these jobs where they have one."""
        return self.read(lambda connection: load_some(connection, names))

    def maker(self, paths: Sequence[str]) -> dict[str, str]:
        """Path -> name of the job that made it last; no entry where none did."""
        return self.read(lambda connection: load_makers(connection, paths))

    def recipe_text(self, digest: str) -> str | None:
        """The text of the recipe of this digest, if it is known."""
        row = self.read(
            lambda connection: connection.execute(
                "SELECT text FROM recipe_text WHERE key = ? AND digest = ?",
                (text_key(digest), digest),
            ).fetchone()
        )
        return row[0] if row else None

    def generation(self) -> bytes:
        """What tells one content of the state from the next; empty when there is none."""
        return snapshot.generation(self.path)

    def check_there(self) -> None:
        """Whether the database that was used is still there. Raises: messages.replaced"""
        if self._connection is None:
            there = bool(self.generation())
        else:
            there = self._file() == self._identity
        if not there:
            raise HpcmakeError(messages.replaced(self.path))

    def now_s(self) -> float:
        """Seconds since the epoch by the clock of the file system, as last seen."""
        return time.time() + self._lock.ahead_s

    def read(self, query: Callable[[Connection], T]) -> T:
        """What `query` returns for one whole content of the database; see `snapshot.read`."""
        return snapshot.read(self.path, query)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all others from writing, over several transactions.

        Raises: messages.unwritable; locked with exit code 3.
        """
        from buildhpc.state.refusals import refusal

        try:
            self._make_home()
            with self._lock.held():
                yield
        except OSError as error:
            raise refusal(self.path, error, writing=True) from error

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Change the state, as a whole or not at all.

        Raises: messages.unwritable, damaged, newer, replaced; locked, busy with exit code 3.
        """
        import sqlite3

        from buildhpc.state.refusals import refusal

        try:
            self._make_home()
            with self._lock.held():
                connection = self._connected()
                self.found = self.generation()
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    self._lock.check()
                    connection.execute("COMMIT")
                    self.commits += 1
                    # Else a power loss could bring the journal back, and undo what was promised:
                    # a job could start, and count as done as it was before.
                    sync_names(self.home)
                except BaseException:
                    self._roll_back(connection)
                    raise
        except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
            raise
        except (
            sqlite3.Error,
            # A damaged text, or a message of SQLite that quotes one.
            UnicodeDecodeError,
            OSError,
            schema.DamageError,
            schema.NewerError,
        ) as error:
            raise refusal(self.path, error, writing=True) from error

    def close(self) -> None:
        """Let go of the database; what is not written stays unwritten."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._identity = None

    def _make_home(self) -> None:
        if self._connection is None:
            make_home(self.home)

    def _connected(self) -> Connection:
        """The connection, to the file that is there; the caller holds the lock."""
        if self._connection is not None:
            try:
                self.check_there()
            except HpcmakeError:
                self.close()
                raise
            return self._connection
        # SQLite asks for locks of another kind, that a file system without ours lacks as well.
        connection = snapshot.connect(self.path, "unix-none" if self._lock.leased else "")
        try:
            # A journal that is deleted after each transaction works on every file system.
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            snapshot.prepare(connection, self.path)
            connection.execute("COMMIT")
        except BaseException:
            self._roll_back(connection)
            connection.close()
            raise
        self._connection = connection
        self._identity = self._file()
        return connection

    def _file(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _roll_back(self, connection: Connection) -> None:
        """Undo; if not even that works, the next one who opens the database will."""
        import sqlite3

        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return
        self.close()
