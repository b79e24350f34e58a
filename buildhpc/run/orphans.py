"""Processes that an earlier run left behind when it was killed, found by HPCMAKE_RUN."""

# Paths are text here.

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable

from buildhpc.run import processes

_NAME = b"HPCMAKE_RUN="


def find(marker: str) -> list[int]:
    """The processes of this user that run under a marker, or under one that goes on after it.

    `F` finds those of `F:1` and `F:2`, `F:1` not those of `F:12`. This process, those above
    it and those in its process group are never among them.
    """
    wanted = os.fsencode(marker.rstrip(":"))
    spared = _above()
    own_group = os.getpgrp()
    found = []
    for pid in processes.pids():
        if pid in spared or not any(_under(each, wanted) for each in _markers(pid)):
            continue
        seen = processes.process(pid)
        if seen and seen.state not in "ZX" and seen.group != own_group:
            found.append(pid)
    return found


def kill(pids: Iterable[int], grace_s: float) -> list[int]:
    """Ask processes and their groups to end, kill them after `grace_s`; those still there."""
    seen = [each for each in map(processes.process, pids) if each]
    groups = {each.group for each in seen} - {os.getpgrp(), 0}
    _signal(seen, groups, signal.SIGTERM)
    _signal(seen, groups, signal.SIGCONT)
    deadline = time.monotonic() + grace_s
    killed = False
    while left := [each for each in seen if _alive(each)]:
        if time.monotonic() >= deadline:
            if killed:
                return [each.pid for each in left]
            _signal(left, groups, signal.SIGKILL)
            killed = True
            deadline = time.monotonic() + 2.0
        time.sleep(0.02)
    # Members without the marker, if any, go with their group.
    _signal([], groups, signal.SIGKILL)
    return []


def _alive(seen: processes.Process) -> bool:
    now = processes.process(seen.pid)
    return now is not None and now.begun == seen.begun and now.state not in "ZX"


def _signal(seen: Iterable[processes.Process], groups: set[int], number: int) -> None:
    for target in [*(-group for group in groups), *(each.pid for each in seen)]:
        try:
            os.kill(target, number)
        except (ProcessLookupError, PermissionError):
            continue


def _markers(pid: int) -> list[bytes]:
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.getuid():
            return []
        with open(f"/proc/{pid}/environ", "rb") as file:
            variables = file.read().split(b"\0")
    except OSError:
        return []
    values = [each[len(_NAME) :] for each in variables if each.startswith(_NAME)]
    return values[0].split() if values else []


def _under(marker: bytes, wanted: bytes) -> bool:
    return marker == wanted or marker.startswith(wanted + b":")


def _above() -> set[int]:
    found = {os.getpid()}
    each = processes.process(os.getpid())
    while each is not None and each.parent > 0:
        found.add(each.parent)
        each = processes.process(each.parent)
    return found
