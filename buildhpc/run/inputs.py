"""The inputs of one attempt: what they were just before it began, and whether they changed."""

# Paths are text here, and this runs once for every job.

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from buildhpc import disk
from buildhpc.messages import plan as messages
from buildhpc.plan.stamps import SMALL, Stamp
from buildhpc.state.fresh import is_racy


class Seen(NamedTuple):
    """What a job's inputs were just before it started.

    stamps: in the order of the inputs. hashes: path -> SHA-256, of those that are compared by
    content, and of small ones whose stamp alone proves nothing yet.
    """

    stamps: tuple[Stamp, ...]
    hashes: dict[str, str]

    def of(self, inputs: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Path -> its stamp, of these inputs."""
        pairs = zip(inputs, self.stamps, strict=True)
        return {path: (stamp.mtime_ns, stamp.size) for path, stamp in pairs}


def see(inputs: Iterable[str], job: str, by_content: Container[str] | None, now_ns: int) -> Seen:
    """What the inputs of a job are now.

    by_content: the paths that are compared by content; None: all. now_ns: what `Clock` said
    just before. Raises: messages.missing_input
    """
    stamps = []
    hashes: dict[str, str] = {}
    for path in inputs:
        stamp = disk.look(path)
        if stamp is None:
            raise messages.missing_input(path, job)
        stamps.append(stamp)
        whole = by_content is None or path in by_content
        if whole or (is_racy(stamp.mtime_ns, now_ns) and stamp.size <= SMALL):
            known = disk.digest(path)
            if known is not None:
                hashes[path] = known
    return Seen(tuple(stamps), hashes)


def changed(inputs: Iterable[str], stamps: Sequence[Stamp | None]) -> list[str]:
    """The inputs that are not as they were seen."""
    return [path for path, old in zip(inputs, stamps, strict=False) if disk.look(path) != old]


class Clock:
    """The file system's time, asked before the files that it is compared with.

    home: the folder of the state.
    """

    def __init__(self, home: str) -> None:
        self._home = home
        self._file: int | None = None

    def now_ns(self) -> int:
        """Its time now, in ns; 0 where it does not tell, since its disk is full or read-only."""
        try:
            if self._file is None:
                folder = os.path.join(self._home, "cache")
                os.makedirs(folder, exist_ok=True)
                flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
                self._file = os.open(os.path.join(folder, "clock"), flags, 0o666)
            os.pwrite(self._file, b".", 0)
            return os.fstat(self._file).st_mtime_ns
        except OSError:
            return 0

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with suppress(OSError):
                os.close(self._file)
            self._file = None
