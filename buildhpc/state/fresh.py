"""The cache that makes nothing-to-do fast: names and stamps of the last plan without a stale job.

It says that a request found everything fresh, by which reads of the world, for which content of
the state, and what every file looked like. When all of that is still so, so is the answer. It is
never truth: missing, foreign or damaged, it is ignored.
"""

from __future__ import annotations

import marshal
import os
import sys
import zlib
from array import array
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from buildhpc import __version__
from buildhpc.disk import Trace, digest, look, unchanged

_KEPT = 8
_SMALL = 2**20
# A time this near to the moment it was looked at could still be given to another content.
_TICK_NS = 50_000_000
_COARSE_TICK_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class FreshPlan:
    """What is remembered of a plan without a stale job.

    trace: what loading read. generation: of the state. jobs: how many were looked at.
    stamps: path -> (mtime_ns, size) of every file. folders: those of them that are folders,
    stamped by what is below them. missing: temp files that are gone.
    """

    trace: Trace
    generation: bytes
    jobs: int
    stamps: Mapping[str, tuple[int, int]]
    folders: Collection[str]
    missing: Collection[str]


def request_key(*words: object) -> str:
    """The name of what was asked for: everything that decides the plan besides files."""
    import hashlib

    version = (__version__, sys.version, marshal.version)
    return hashlib.sha256(repr((version, words)).encode(errors="surrogateescape")).hexdigest()[:32]


def still_fresh(folder: Path, key: str, generation: bytes) -> int | None:
    """The number of jobs, all fresh, or None when that is not known for sure."""
    try:
        data = (folder / f"fresh-{key}").read_bytes()
        if zlib.crc32(data[4:]) != int.from_bytes(data[:4], "big"):
            return None
        found = marshal.loads(data[4:])
        found_key, found_generation, trace, jobs, names, times, folders, missing, racy = found
    except (OSError, ValueError, EOFError, TypeError):
        return None
    if found_key != key or found_generation != generation or not unchanged(dict(trace)):
        return None
    same = (
        _stamps(names.split("\0") if names else []) == times
        and all(look(path) == tuple(stamp) for path, stamp in folders)
        and not any(os.path.lexists(path) for path in missing)
        and all(digest(path) == known for path, known in racy)
    )
    return jobs if same else None


def _stamps(names: list[str]) -> bytes | None:
    """Times and sizes of files as one string of bytes, None when one of them is missing."""
    # 300,000 files: 1.0 s, of which 0.8 s are the calls of stat.
    values = array("q")
    append = values.append
    try:
        for found in map(os.stat, names):
            append(found.st_mtime_ns)
            append(found.st_size)
    except (OSError, OverflowError):
        return None
    return values.tobytes()


def remember(folder: Path, key: str, plan: FreshPlan, looked_ns: int) -> None:
    """Write the cache, unless a large file changed just before `looked_ns`.

    looked_ns: the file system's time before the files were looked at; see `clock`.
    """
    files = [path for path in plan.stamps if path not in plan.folders]
    racy = []
    for path in files:
        if is_racy(plan.stamps[path][0], looked_ns):
            known = digest(path, _SMALL)
            if known is None:
                return
            racy.append((path, known))
    values = array("q")
    for path in files:
        values.extend(plan.stamps[path])
    trees = [(path, tuple(plan.stamps[path])) for path in plan.folders]
    if any("\0" in path for path in files):
        return
    whole = (
        key,
        plan.generation,
        list(plan.trace.items()),
        plan.jobs,
        "\0".join(files),
        values.tobytes(),
        trees,
        list(plan.missing),
        racy,
    )
    from buildhpc.state.syntax_cache import write_cache

    try:
        data = marshal.dumps(whole)
    except ValueError:
        return
    write_cache(folder / f"fresh-{key}", zlib.crc32(data).to_bytes(4, "big") + data)
    _forget_oldest(folder)


def is_racy(mtime_ns: int, looked_ns: int) -> bool:
    """Whether a file with this time could change after `looked_ns` without its time changing."""
    tick = _COARSE_TICK_NS if mtime_ns % 1_000_000_000 == 0 else _TICK_NS
    return mtime_ns >= looked_ns - tick


def clock(folder: Path) -> int:
    """The file system's own time now, in ns; of its clock, not of this machine's."""
    path = folder / "clock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b".")  # an empty file keeps an old time on some file servers
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _forget_oldest(folder: Path) -> None:
    try:
        found: Iterable[Path] = sorted(folder.glob("fresh-*"), key=lambda p: p.stat().st_mtime_ns)
        for path in list(found)[:-_KEPT]:
            path.unlink(missing_ok=True)
    except OSError:
        pass
