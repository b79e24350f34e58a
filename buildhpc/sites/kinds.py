"""What a setting may be, and how its value is read: of a file, and of a call in Python."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """wanted: in the words of a message. read: value -> what it means; None: it is no such."""

    wanted: str
    read: Callable[[Any], Any]


def text(value: Any) -> str | None:
    """A text of one line that says something."""
    return value if isinstance(value, str) and value and "\n" not in value else None


def split(value: str) -> tuple[str, ...] | None:
    """The words of a text, as bash reads them; None: a quotation in it has no end."""
    try:
        return tuple(shlex.split(value))
    except ValueError:
        return None


def whole(value: Any, least: int) -> int | None:
    """A whole number that is not below `least`."""
    fine = isinstance(value, int) and not isinstance(value, bool) and value >= least
    return value if fine else None
