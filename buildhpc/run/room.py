"""Disks that are full, which a failed job may not have been able to say: its log was on one."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable

from buildhpc.messages import run as messages

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# What a program writes at once may be larger than what is left.
_PROBE_BYTES = 65_536
_KEPT_BYTES = 32_768


def lacking(paths: Iterable[str]) -> str:
    """Words on the first of these files beside which nothing can be written; empty for none."""
    seen: set[int] = set()
    for folder in {os.path.dirname(path) or ".": None for path in paths}:
        try:
            device = os.stat(folder).st_dev
            if device not in seen:
                seen.add(device)
                _probe(folder)
        except OSError as error:
            if error.errno in _NO_ROOM:
                return messages.no_room(folder, error.strerror or str(error))
    return ""


def _probe(folder: str) -> None:
    """Write a file that goes by itself. Raises: OSError"""
    import tempfile  # 10 ms, which builds without failures do not pay

    # By writing, since a quota is not in what the file system says of its free blocks.
    with tempfile.TemporaryFile(dir=folder, prefix=".hpcmake-", buffering=0) as file:
        written = file.write(bytes(_PROBE_BYTES))
        if written < _PROBE_BYTES:
            file.write(bytes(1))


def cut(log: str) -> None:
    """Keep only the end of a large log, so that there is room for the record of its job."""
    try:
        with open(log, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size <= 2 * _KEPT_BYTES:
                return
            file.seek(size - _KEPT_BYTES)
            kept = file.read().partition(b"\n")[2]
            file.truncate(0)
            file.seek(0)
            file.write(messages.log_cut(size).encode() + kept)
    except OSError:
        return  # it is as full as it was
