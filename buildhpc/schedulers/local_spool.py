"""The folder of this machine's queue: its lock, and the journal of all that happened."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
import string
import time
from collections.abc import Iterable

from buildhpc.schedulers.local_jobs import Book, Event

# How long the queue remembers what has ended.
HISTORY_S = 7 * 86400.0
_MANY = 20_000


class QueueError(Exception):
    """The queue refuses something; the text says why.

    code: exit code of the command: 1 it is wrong as it is, 75 it may go well later.
    """

    def __init__(self, text: str, code: int = 1) -> None:
        self.code = code
        super().__init__(text)


class Spool:
    """The folder of a queue, which belongs to one user on one host.

    Not below XDG_RUNTIME_DIR: that goes away when the user logs off, and a shell without it
    would find another queue.
    """

    def __init__(self, base: str) -> None:
        self.base = os.path.abspath(base or f"/tmp/hpcmake-{os.getuid()}")
        self.folder = os.path.join(self.base, f"queue-{os.uname().nodename}")
        self._lock = -1

    @property
    def locked(self) -> int:
        """The file descriptor that holds the lock."""
        return self._lock

    def exists(self) -> bool:
        """Whether anything was ever submitted here."""
        return os.path.lexists(self.path("journal"))

    def path(self, *names: str) -> str:
        """The path of a file of the spool."""
        return os.path.join(self.folder, *names)

    def lock(self) -> bool:
        """Make the folder and take its lock, which ends with this process; False: others have it.

        The lock is on the folder itself: it cannot be replaced while it holds something, and
        who clears /tmp leaves locked folders alone. Source: tmpfiles.d(5).
        Raises: QueueError.
        """
        try:
            for folder in (self.base, self.folder, self.path("scripts"), self.path("ends")):
                os.makedirs(folder, mode=0o700, exist_ok=True)
            self._check()
            lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            raise _refused(self.folder, error) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._lock = lock
        except BlockingIOError:
            os.close(lock)
            return False
        except OSError as error:
            os.close(lock)
            raise _refused(self.folder, error) from None
        if self.intact():
            return True
        self.release()
        return False

    def adopt(self, lock: int) -> None:
        """Go on under the lock of the process that started this one."""
        os.set_inheritable(lock, False)
        self._lock = lock

    def release(self) -> None:
        """Give the lock back."""
        os.close(self._lock)
        self._lock = -1

    def intact(self) -> bool:
        """Whether the locked folder is still the one of this name."""
        try:
            return os.path.samestat(os.fstat(self._lock), os.stat(self.folder))
        except OSError:
            return False

    def remove(self, *names: str) -> None:
        """Remove a file of the spool, if it is there."""
        try:
            os.unlink(self.path(*names))
        except OSError:
            return

    def read(self, *names: str) -> str:
        """The text of a file; empty where it is missing or not whole."""
        try:
            with open(self.path(*names), encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
        except OSError:
            return ""
        return text[:-1] if text.endswith("\n") else ""

    def _check(self) -> None:
        """Raises: QueueError, where others could write here."""
        for folder, owners in ((self.base, (os.getuid(), 0)), (self.folder, (os.getuid(),))):
            found = os.stat(folder, follow_symlinks=folder == self.base)
            if found.st_uid not in owners or not stat.S_ISDIR(found.st_mode):
                raise QueueError(f"`{folder}` belongs to somebody else")
        if found.st_mode & 0o077:
            raise QueueError(f"`{self.folder}` is open to others: chmod 700 it")


def _refused(folder: str, error: OSError) -> QueueError:
    return QueueError(f"cannot use `{folder}`: {error.strerror}", 75)


class Journal:
    """All events of a queue, a line each; `book` is what they came to."""

    def __init__(self, spool: Spool) -> None:
        self.book = Book()
        self._path = spool.path("journal")
        self._late: list[bytes] = []
        self._lines = 0
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            self._load()
            if self._lines == 0:
                letters = string.ascii_lowercase + string.digits
                prefix = "".join(secrets.choice(letters) for _ in range(4))
                self.write({"event": "counted", "last": 0, "prefix": prefix})
        except OSError as error:
            raise _refused(self._path, error) from None
        self._most = 2 * self._lines + _MANY

    def write(self, event: Event, must: bool = True) -> None:
        """Write an event down, then apply it.

        must: where it cannot be written it did not happen, and this raises QueueError; else it
        is written as soon as that is possible.
        """
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        try:
            self._append(b"".join([*self._late, line]))
            self._late.clear()
        except OSError as error:
            if must:
                raise _refused(self._path, error) from None
            self._late.append(line)
        self._lines += 1
        self.book.apply(event)

    def tidy(self, always: bool = False) -> None:
        """Write the journal anew where it has become much longer than what it tells."""
        if self._late or not (always or self._lines > self._most):
            return
        self.book.forget(time.time() - HISTORY_S)
        events = list(self.book.events())
        try:
            fresh = _written(f"{self._path}.new", events)
            os.replace(f"{self._path}.new", self._path)
        except OSError:
            self._most = self._lines + _MANY
            return
        os.close(self._file)
        self._file, self._lines, self._most = fresh, len(events), 2 * len(events) + _MANY

    def _append(self, data: bytes) -> None:
        size = os.fstat(self._file).st_size
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError:
            os.ftruncate(self._file, size)
            raise

    def _load(self) -> None:
        with open(self._path, "rb") as file:
            data = file.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):  # the machine stopped in the middle of a line
            os.ftruncate(self._file, whole)
        for line in data[:whole].split(b"\n")[:-1]:
            try:
                self.book.apply(json.loads(line))
            except (ValueError, KeyError, TypeError, IndexError):
                continue  # a line that the file system damaged
            self._lines += 1


def _written(path: str, events: Iterable[Event]) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    with open(os.dup(file), "wb") as writer:
        writer.writelines(
            json.dumps(event, separators=(",", ":")).encode() + b"\n" for event in events
        )
    return file
