"""Paths that no file can have, and those that stand for a job which makes no file."""

from __future__ import annotations

NAME_MAX = 255
_PATH_MAX = 4095
# No file has such a name.
_MARK = "\0"


def possible(path: str) -> bool:
    """Whether a file system could hold a file of this name."""
    return len(path) <= _PATH_MAX and all(len(name) <= NAME_MAX for name in path.split("/"))


def stand_in(rule: str) -> str:
    """What stands for the one job of a rule where paths are settled."""
    return _MARK + rule


def stands_for(path: str) -> str | None:
    """The rule that a path stands for; None: it is one that a file can have."""
    return path[1:] if path.startswith(_MARK) else None
