"""The processes of this machine as /proc shows them; on systems without it, nothing is seen."""

# Paths are text here, and this runs for every process each second.

from __future__ import annotations

import os
from typing import NamedTuple

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """A process as it was at one moment.

    group: its process group. begun: its start, in ticks since boot; with the pid it tells a
    process from a later one that bears the same number.
    cpu_s: of itself and of the children it has waited for.
    """

    pid: int
    state: str
    parent: int
    group: int
    begun: int
    cpu_s: float
    rss_mib: float


def process(pid: int) -> Process | None:
    """A process by its id; None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The second word is the name in parentheses, with any characters; the rest has none.
    words = text[text.rfind(b")") + 2 :].split()
    return Process(
        pid=pid,
        state=words[0].decode(),
        parent=int(words[1]),
        group=int(words[2]),
        begun=int(words[19]),
        cpu_s=sum(map(int, words[11:15])) / _TICKS,
        rss_mib=int(words[21]) * _PAGE / 2**20,
    )


def tree(pid: int) -> list[Process]:
    """A process and its descendants, zombies excepted; empty when it is gone."""
    found: list[Process] = []
    todo = [pid]
    while todo:
        each = process(todo.pop())
        if each is None:
            continue
        if each.state not in "ZX":
            found.append(each)
        todo += _children(each.pid)
    return found


def alive(group: int) -> bool:
    """Whether a process group has members besides zombies; where /proc is not, yes."""
    everyone = [found for found in map(process, pids()) if found]
    return not everyone or any(each.group == group and each.state not in "ZX" for each in everyone)


def pids() -> list[int]:
    """The ids of all processes that can be seen."""
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        except OSError:
            continue  # the thread has ended, or the kernel was built without this file
    return found
