"""Parsed Pipefiles, kept by the digest of their bytes, so that an unchanged one is not parsed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from buildhpc import __version__
from buildhpc.diagnostics import Source
from buildhpc.language.syntax import Tree

_KEPT = 20


class SyntaxCache:
    """Syntax trees in files of one folder. What is damaged or foreign is ignored.

    keep: write what was parsed; a command that only looks writes nothing.
    """

    def __init__(self, folder: Path, *, keep: bool) -> None:
        self._folder = folder
        self._keep = keep

    def parse(self, name: str, data: bytes) -> Tree:
        """The syntax tree of a file's bytes. Raises: HpcmakeError."""
        from buildhpc.language.store import load

        key = hashlib.sha256(f"{__version__}\0{name}\0".encode() + data).hexdigest()
        path = self._folder / f"syntax-{key[:32]}"
        try:
            text = data.decode("utf-8-sig").replace("\r\n", "\n")
            return load(path.read_bytes(), Source(name, text))
        except (OSError, ValueError):
            return self._parse_anew(name, data, path)

    def _parse_anew(self, name: str, data: bytes, path: Path) -> Tree:
        from buildhpc.language.parser import parse
        from buildhpc.language.store import dump

        tree = parse(name, data)
        if self._keep:
            write_cache(path, dump(tree))
            forget_oldest(self._folder, "syntax-*", _KEPT)
        return tree


def write_cache(path: Path, data: bytes) -> None:
    """Write a file of the cache as a whole; a cache that cannot be written is no harm."""
    private = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        private.write_bytes(data)
        private.replace(path)
    except OSError:
        private.unlink(missing_ok=True)


def forget_oldest(folder: Path, pattern: str, kept: int) -> None:
    """Remove files of the cache but for the `kept` newest, and what killed processes left.

    What cannot go is no harm. Nor is it if a process of another host finds its file gone.
    """
    try:
        found = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns)
        whole = [path for path in found if not path.suffix]
        left = [path for path in found if path.suffix and not _is_written(path)]
        for path in [*whole[:-kept], *left]:
            path.unlink(missing_ok=True)
    except OSError:
        pass


def _is_written(private: Path) -> bool:
    """Whether the process lives that writes this file; see `write_cache`."""
    from buildhpc.state.owners import process_start

    pid = private.suffix[1:]
    return pid.isdecimal() and process_start(int(pid)) is not None
