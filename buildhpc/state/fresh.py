"""The cache that makes nothing-to-do fast: names and stamps of the last plan without a stale job.

It says that a request found everything fresh, by which reads of the world, for which content of
the state, and what every file looked like. When all of that is still so, so is the answer; when
only files changed, it says which. It is never truth: missing, foreign or damaged, it is ignored.
"""

from __future__ import annotations

import marshal
import os
import sys
import zlib
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from buildhpc import __version__
from buildhpc.disk import Trace, digest, look, unchanged
from buildhpc.plan.stamps import SMALL

_KEPT = 8
# A time this near to the moment it was looked at could still be given to another content.
_TICK_NS = 50_000_000
_COARSE_TICK_NS = 2_000_000_000
_NOWHERE = -1


@dataclass(frozen=True, slots=True)
class FreshPlan:
    """What is remembered of a plan without a stale job.

    trace: what loading read. generation: of the state. jobs: how many were looked at.
    stamps: path -> (mtime_ns, size) of every file. folders: those of them that are folders,
    stamped by what is below them. missing: the paths that were looked for and are not there.
    hashes: path -> digest of the content that was found fresh, where it was looked at.
    """

    trace: Trace
    generation: bytes
    jobs: int
    stamps: Mapping[str, tuple[int, int]]
    folders: Collection[str]
    missing: Collection[str]
    hashes: Mapping[str, str]

    def names(self) -> list[str]:
        """All paths, in the order of their numbers: files, folders, missing ones."""
        files = [path for path in self.stamps if path not in self.folders]
        return [*files, *self.folders, *self.missing]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a request.

    jobs: how many there are. changed: numbers of the paths that are not as they were; when
    there are none, all jobs are fresh. gone: numbers of those that are not there.
    names: all paths, by number: first as many files as `files` says, then folders, then paths
    that were not there. packed: the graph; see `plan.known.pack`.
    """

    jobs: int
    changed: Sequence[int]
    gone: Sequence[int]
    names: Sequence[str]
    files: int
    stamps: array[int]
    folders: Sequence[tuple[int, int]]
    packed: bytes
    trace: Trace

    def stamp(self, number: int) -> tuple[int, int] | None:
        """The stamp a path had, None where it was missing."""
        if number < self.files:
            return self.stamps[2 * number], self.stamps[2 * number + 1]
        number -= self.files
        return self.folders[number] if number < len(self.folders) else None


def request_key(*words: object) -> str:
    """The name of what was asked for: everything that decides the plan besides files."""
    import hashlib

    version = (__version__, sys.version, marshal.version)
    return hashlib.sha256(repr((version, words)).encode(errors="surrogateescape")).hexdigest()[:32]


def known(folder: Path, key: str, generation: bytes) -> Known | None:
    """What is known of a request, None when that is nothing for sure."""
    try:
        data = (folder / f"fresh-{key}").read_bytes()
        if zlib.crc32(data[4:]) != int.from_bytes(data[:4], "big"):
            return None
        found = marshal.loads(data[4:])
        found_key, found_generation, trace, jobs, text, times, folders, missing, racy, graph = found
    except (OSError, ValueError, EOFError, TypeError):
        return None
    if found_key != key or found_generation != generation or not unchanged(dict(trace)):
        return None
    if any(os.path.lexists(path) for path in missing):
        return None
    files = text.split("\0") if text else []
    before = array("q")
    before.frombytes(times)
    changed, gone = _changes(files, before)
    for number, (path, stamp) in enumerate(folders, len(files)):
        now = look(path)
        if now is None:
            gone.append(number)
        if now != tuple(stamp):
            changed.append(number)
    changed += [number for number, known_ in racy if digest(files[number]) != known_]
    gone += range(len(files) + len(folders), len(files) + len(folders) + len(missing))
    names = [*files, *(path for path, _ in folders), *missing]
    stamps = [stamp for _, stamp in folders]
    return Known(jobs, changed, gone, names, len(files), before, stamps, graph, dict(trace))


def _changes(files: list[str], before: array[int]) -> tuple[list[int], list[int]]:
    """The numbers of files that are not as they were, and of those that are gone."""
    # 300,000 files: 1.0 s, of which 0.8 s are the calls of stat.
    values = array("q")
    append = values.append
    gone: list[int] = []
    try:
        for found in map(os.stat, files):
            append(found.st_mtime_ns)
            append(found.st_size)
    except (OSError, OverflowError):
        values, gone = _one_by_one(files)
    if values == before:
        return [], gone
    changed = [
        number
        for number in range(len(files))
        if values[2 * number] != before[2 * number]
        or values[2 * number + 1] != before[2 * number + 1]
    ]
    return changed, gone


def _one_by_one(files: list[str]) -> tuple[array[int], list[int]]:
    values = array("q")
    gone = []
    for number, path in enumerate(files):
        stamp = look(path)
        if stamp is None:
            gone.append(number)
        values.extend(stamp or (_NOWHERE, _NOWHERE))
    return values, gone


def remember(folder: Path, key: str, plan: FreshPlan, looked_ns: int, graph: bytes = b"") -> None:
    """Write the cache, unless a large file changed just before `looked_ns`.

    looked_ns: the file system's time before the files were looked at; see `clock`.
    graph: see `plan.known.pack`.
    """
    files = [path for path in plan.stamps if path not in plan.folders]
    racy = []
    values = array("q")
    for number, path in enumerate(files):
        stamp = plan.stamps[path]
        values.extend(stamp)
        if is_racy(stamp[0], looked_ns):
            found = plan.hashes.get(path) or digest(path, SMALL)
            if found is None:
                return
            racy.append((number, found))
    if any("\0" in path for path in files):
        return
    whole = (
        key,
        plan.generation,
        list(plan.trace.items()),
        plan.jobs,
        "\0".join(files),
        values.tobytes(),
        [(path, tuple(plan.stamps[path])) for path in plan.folders],
        list(plan.missing),
        racy,
        graph,
    )
    from buildhpc.state.syntax_cache import forget_oldest, write_cache

    try:
        data = marshal.dumps(whole)
    except ValueError:
        return
    write_cache(folder / f"fresh-{key}", zlib.crc32(data).to_bytes(4, "big") + data)
    forget_oldest(folder, "fresh-*", _KEPT)


def is_racy(mtime_ns: int, looked_ns: int) -> bool:
    """Whether a file with this time could change after `looked_ns` without its time changing."""
    tick = _COARSE_TICK_NS if mtime_ns % 1_000_000_000 == 0 else _TICK_NS
    return mtime_ns >= looked_ns - tick


def clock(folder: Path) -> int:
    """The file system's own time now, in ns; of its clock, not of this machine's."""
    path = folder / "clock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One byte written over: an empty file keeps an old time on some file servers, and one
        # that is cut off and written anew is flushed to the disk at once on ext4.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.pwrite(file, b".", 0)
            return os.fstat(file).st_mtime_ns
        finally:
            os.close(file)
    except OSError:
        return 0
