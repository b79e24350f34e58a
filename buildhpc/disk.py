"""The working folder: stamps of files, each looked at once, and what expressions read."""

from __future__ import annotations

import errno
import hashlib
import os
import stat as stat_module
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from buildhpc.diagnostics import HpcmakeError, Note, Problem
from buildhpc.plan.stamps import Stamp

# Times are kept in 64 bits; a file may claim to be of the year 2400.
_FAR_NS = 2**63
_STALE_PAUSES_S = (0.0, 0.1, 0.4)

# What a read of the world is remembered as: (kind, name) -> digest of the answer.
Trace = dict[tuple[str, str], str]


_UNSEEN: Any = object()
_UNKNOWN = Stamp(0, -1)


class Disk(Mapping[str, Stamp]):
    """Stamps by path; a missing file has no entry. Each file is looked at once.

    folders: those of the paths looked at that are folders. lenient: a path that cannot be looked
    at is no error here: it is one of `unreadable`, and no job that needs or makes it is fresh.
    """

    def __init__(self, *, lenient: bool = False) -> None:
        self._stamps: dict[str, Stamp | None] = {}
        self.folders: set[str] = set()
        self.unreadable: set[str] = set()
        self._lenient = lenient
        self._made: Container[str] = ()

    def __getitem__(self, path: str) -> Stamp:
        stamp = self.get(path)
        if stamp is None:
            raise KeyError(path)
        return stamp  # type: ignore[no-any-return]  # a stamp is what `get` finds

    def get(self, path: str, default: Any = None) -> Any:
        """The stamp of `path`, `default` where nothing is."""
        # 600,000 calls in a plan of 200,000 jobs: 0.06 s this way, 0.5 s through Mapping's own,
        # 0.2 s where the first look at a path is an exception.
        stamp = self._stamps.get(path, _UNSEEN)
        if stamp is _UNSEEN:
            lenient = self._lenient
            stamp = self._look(path) if lenient else look(path, self.folders)
            self._stamps[path] = stamp
        return default if stamp is None else stamp

    def expect(self, made: Container[str]) -> None:
        """Know the outputs of the jobs, as long as none was looked at that matters."""
        self._made = made
        for path in self.unreadable:
            del self._stamps[path]
        self.unreadable.clear()

    def _look(self, path: str) -> Stamp | None:
        try:
            return look(path, self.folders)
        except HpcmakeError:
            self.unreadable.add(path)
            # Its job runs, or finds that it cannot make room; a source is like no record of it.
            return None if path in self._made else _UNKNOWN

    def __contains__(self, path: object) -> bool:
        return self.get(path) is not None  # type: ignore[arg-type]  # only paths are asked for

    def __iter__(self) -> Iterator[str]:
        return (path for path, stamp in self._stamps.items() if stamp is not None)

    def looked(self) -> Iterable[tuple[str, Stamp | None]]:
        """Every path that was looked at, with None where nothing was."""
        return self._stamps.items()

    def __len__(self) -> int:
        return sum(stamp is not None for stamp in self._stamps.values())


def look(path: str, folders: set[str] | None = None) -> Stamp | None:
    """The stamp of what is at `path` now, None where nothing is.

    folders: where `path` is put when it is a folder. Raises: HpcmakeError
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # no file can have this name
            return None
        if error.errno != errno.ESTALE or not (again := _asked_again(path)):
            raise unreadable(path, error) from None
        found = again
    if stat_module.S_ISDIR(found.st_mode):
        if folders is not None:
            folders.add(path)
        try:
            return _tree_stamp(path)
        except OSError as error:
            raise unreadable(path, error) from None
    if not -_FAR_NS <= found.st_mtime_ns < _FAR_NS:
        return Stamp(found.st_mtime_ns % _FAR_NS, found.st_size)
    return Stamp(found.st_mtime_ns, found.st_size)


def _asked_again(path: str) -> os.stat_result | None:
    """A file whose server knew it by another handle, once its name was asked for anew."""
    for pause_s in _STALE_PAUSES_S:
        time.sleep(pause_s)
        with suppress(OSError):
            os.listdir(os.path.dirname(path) or ".")
            return os.stat(path)
    return None


def unreadable(path: str, error: OSError) -> HpcmakeError:
    """A file that is there, or may be, but cannot be looked at."""
    why = (error.strerror or str(error)).lower()
    note = Note(
        "help", "a file that cannot be seen is not taken for a missing one: mend that first"
    )
    return HpcmakeError(
        Problem("unreadable", f"`{path}` cannot be looked at: {why}", None, (note,))
    )


def _tree_stamp(root: str) -> Stamp:
    """Names, sizes and times of all below `root`, as one digest, and their number."""
    digest = hashlib.sha256()
    count = 0
    folders = [root]
    while folders:
        folder = folders.pop()
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        for entry in listed:
            count += 1
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_folder:
                folders.append(entry.path)
                facts = "/"
            else:
                found = entry.stat(follow_symlinks=not entry.is_symlink() or _exists(entry.path))
                facts = f"{found.st_size}:{found.st_mtime_ns}"
            digest.update(
                f"{os.path.relpath(entry.path, root)}\0{facts}\0".encode(errors="surrogateescape")
            )
    return Stamp(int.from_bytes(digest.digest()[:8], "big") >> 1, count)


def _exists(path: str) -> bool:
    return os.path.exists(path)


def tree_mtime(path: str) -> int:
    """The newest modification time of `path` or, of a folder, of the files below it, in ns."""
    newest = os.stat(path).st_mtime_ns
    if not os.path.isdir(path):
        return newest
    times = [
        os.stat(os.path.join(folder, name), follow_symlinks=False).st_mtime_ns
        for folder, _, names in os.walk(path)
        for name in names
    ]
    return max(times, default=newest)


def digest(path: str, most: int | None = None) -> str | None:
    """SHA-256 in hex of a file's bytes; None where it is missing, no file, or above `most`."""
    try:
        with open(path, "rb") as file:
            if most is not None and os.fstat(file.fileno()).st_size > most:
                return None
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


class World:
    """What loading and expressions read; every answer is kept in `trace`.

    trace: see `unchanged`. opaque: a Python helper was loaded, and what it reads is not known.
    """

    def __init__(self) -> None:
        self.trace: Trace = {}
        self.opaque = False

    def bytes(self, path: str) -> bytes:
        """The bytes of a file. Raises: OSError."""
        with open(path, "rb") as file:
            data = file.read()
        self.trace["file", path] = _sha(data)
        self.opaque |= path.endswith(".py")
        return data

    def text(self, path: str) -> str:
        """The text of a file. Raises: OSError, UnicodeDecodeError."""
        return self.bytes(path).decode("utf-8-sig")

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted; empty where there is no folder."""
        found = _names(folder)
        self.trace["names", folder] = _sha("\0".join(found).encode(errors="surrogateescape"))
        return found

    def size(self, path: str) -> int | None:
        """Size in bytes, None where there is no file."""
        size = _size(path)
        self.trace["size", path] = str(size)
        return size

    def env(self, name: str) -> str | None:
        """A variable of the environment."""
        value = os.environ.get(name)
        self.trace["env", name] = str(value)
        return value


def unchanged(trace: Trace) -> bool:
    """Whether every read would be answered as it was."""
    return all(_ANSWERS[kind](name) == answer for (kind, name), answer in trace.items())


def _file_answer(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return _sha(file.read())
    except OSError:
        return ""


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise unreadable(folder, error) from None


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise unreadable(path, error) from None


_ANSWERS: dict[str, Callable[[str], str]] = {
    "file": _file_answer,
    "names": lambda folder: _sha("\0".join(_names(folder)).encode(errors="surrogateescape")),
    "size": lambda path: str(_size(path)),
    "env": lambda name: str(os.environ.get(name)),
}
