"""A disk that loses power: of what was written and not synced any part may be missing."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# What is to be traced, and how: all texts in hexadecimal.
STRACE = (
    *("-y", "-xx", "-s", "10000000", "-e"),
    "trace=openat,write,pwrite64,?fsync,fdatasync,ftruncate,flock,?rename,?renameat,?renameat2,"
    "?unlink,unlinkat,?rmdir,?mkdir,mkdirat,?vfork,clone,clone3",
)
_SECTOR = 512
_LINE = re.compile(r"(\w+)\((.*)\) += (-?\d+)")
_FD = re.compile(r"(\d+|AT_FDCWD)<((?:\\x..)*)>")
_ON_NAMES = {"rename": "rename", "mkdir": "mkdir", "unlink": "unlink", "rmdir": "unlink"}
_TEXT = re.compile(r'"((?:\\x..)*)"')


@dataclass(frozen=True)
class Operation:
    """One step of a recorded run: a change to a file or a name, a sync, a job, a promise.

    kind: `create`, `mkdir`, `unlink`, `rename`, `write`, `size`, `sync`; `started`: a process
    was started; `released`: the lock of the state was, so what was written before must last.
    """

    kind: str
    path: str = ""
    other: str = ""
    at: int = 0
    data: bytes = b""


def operations(lines: Sequence[str], folder: str) -> list[Operation]:
    """What a traced run did in hpcmake's own folder of the project in `folder`."""
    home = f"{folder}/.hpcmake"
    reader = _Reader(folder)
    found = (operation for line in lines for operation in reader.read(line))
    return [
        each
        for each in found
        if each.path in ("", folder, home) or each.path.startswith(f"{home}/")
    ]


class _Reader:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._offsets: dict[int, int] = {}

    def read(self, line: str) -> Iterator[Operation]:
        """What a line of strace tells."""
        match = _LINE.match(line)
        if match is None or int(match[3]) < 0:
            return
        name, arguments, result = match[1], match[2], int(match[3])
        files = [(number, _text(path)) for number, path in _FD.findall(arguments)]
        texts = _TEXT.findall(arguments)
        if name in ("clone", "clone3", "vfork"):
            yield Operation("started")
        elif name == "flock":
            yield from [Operation("released")] if "LOCK_UN" in arguments else []
        elif name in ("write", "pwrite64", "fsync", "fdatasync", "ftruncate"):
            yield self._on_file(name, arguments, files[0], texts)
        elif name == "openat":
            self._offsets[result] = 0
            yield from _opened(arguments, self._path(files, texts[0]))
        else:
            kind = next(kind for word, kind in _ON_NAMES.items() if name.startswith(word))
            yield Operation(kind, self._path(files, texts[0]), self._path(files, texts[-1]))

    def _on_file(
        self, name: str, arguments: str, file: tuple[str, str], texts: Sequence[str]
    ) -> Operation:
        number, path = int(file[0]), file[1]
        if name in ("fsync", "fdatasync"):
            return Operation("sync", path)
        last = int(arguments.rsplit(", ", 1)[1])
        if name == "ftruncate":
            return Operation("size", path, at=last)
        data = bytes.fromhex(texts[0].replace("\\x", ""))
        if name == "pwrite64":
            return Operation("write", path, at=last, data=data)
        at = self._offsets.get(number, 0)
        self._offsets[number] = at + len(data)
        return Operation("write", path, at=at, data=data)

    def _path(self, files: Sequence[tuple[str, str]], text: str) -> str:
        base = files[0][1] if files else self._folder
        return os.path.normpath(os.path.join(base, _text(text)))


def _opened(arguments: str, path: str) -> Iterator[Operation]:
    if "O_CREAT" in arguments:
        yield Operation("create", path)
    if "O_TRUNC" in arguments:
        yield Operation("size", path)


def _text(code: str) -> str:
    return os.fsdecode(bytes.fromhex(code.replace("\\x", "")))


@dataclass
class _File:
    """Bytes that are on the disk for sure, and changes that may be."""

    safe: bytes = b""
    unsafe: list[Operation] = field(default_factory=list)

    def content(self) -> bytes:
        content = self.safe
        for change in self.unsafe:
            content = _changed(content, change)
        return content

    def sync(self) -> None:
        self.safe = self.content()
        self.unsafe.clear()

    def remains(self, rng: random.Random, share: float) -> bytes:
        """What may be left of it. share: how likely each of its changes, or a part of it."""
        content = self.safe
        for change in self.unsafe:
            for part in _parts(change) if rng.random() < 0.2 else [change]:
                if rng.random() < share:
                    content = _changed(content, part)
        return content


def _parts(change: Operation) -> Iterator[Operation]:
    """A write that a disk does in several steps."""
    if change.kind == "size":
        yield change
    start, end = change.at, change.at + len(change.data)
    while change.kind == "write" and start < end:
        stop = min(end, (start // _SECTOR + 1) * _SECTOR)
        data = change.data[start - change.at : stop - change.at]
        yield Operation("write", change.path, at=start, data=data)
        start = stop


def _changed(content: bytes, change: Operation) -> bytes:
    if change.kind == "size":
        return content[: change.at].ljust(change.at, b"\0")
    end = change.at + len(change.data)
    return content[: change.at].ljust(change.at, b"\0") + change.data + content[end:]


class Disk:
    """Files below one folder, of which some changes may not have reached the disk yet.

    Names are as unsafe as bytes: the folder must be synced for a name to appear or go for sure.
    """

    def __init__(self, folder: Path) -> None:
        self._root = str(folder)
        self._safe: dict[str, _File | None] = {self._root: None}
        home = folder / ".hpcmake"
        for path in [home, *home.rglob("*")] if home.exists() else []:
            self._safe[str(path)] = None if path.is_dir() else _File(path.read_bytes())
        self._now = dict(self._safe)
        self._unsafe: list[tuple[Operation, _File | None]] = []

    def do(self, operation: Operation) -> None:
        """Go on by one step."""
        kind, path = operation.kind, operation.path
        if kind in ("write", "size"):
            file = self._now[path]
            assert file is not None
            file.unsafe.append(operation)
        elif kind == "sync":
            self._sync(path)
        elif kind in ("create", "mkdir", "unlink", "rename"):
            if kind == "create" and path in self._now:
                return
            file = _File() if kind == "create" else self._now.get(path)
            self._unsafe.append((operation, file))
            _name(self._now, operation, file)

    def whole(self) -> dict[str, bytes | None]:
        """All files as programs see them; None for a folder."""
        return {path: None if file is None else file.content() for path, file in self._now.items()}

    def remains(self, rng: random.Random, names: float, data: float) -> dict[str, bytes | None]:
        """What may be left when the power goes now.

        names, data: how likely each unsafe change of a name, and of a file, is kept.
        """
        left = dict(self._safe)
        lost: set[str] = set()
        for operation, file in self._unsafe:
            paths = {operation.path, operation.other} - {""}
            # What a file system writes of one name it writes in order.
            if paths & lost or rng.random() >= names:
                lost |= paths
            else:
                _name(left, operation, file)
        there = {self._root}
        remaining: dict[str, bytes | None] = {}
        for path, file in sorted(left.items()):
            if os.path.dirname(path) in there:
                remaining[path] = None if file is None else file.remains(rng, data)
                there.add(path)
        return remaining

    def _sync(self, path: str) -> None:
        file = self._now[path]
        if file is not None:
            file.sync()
            return
        for operation, changed in self._unsafe:
            if os.path.dirname(operation.path) == path:
                _name(self._safe, operation, changed)
        self._unsafe = [each for each in self._unsafe if os.path.dirname(each[0].path) != path]


def _name(names: dict[str, _File | None], operation: Operation, file: _File | None) -> None:
    if operation.kind in ("create", "mkdir"):
        names[operation.path] = file
    else:
        names.pop(operation.path, None)
        if operation.kind == "rename":
            names[operation.other] = file
