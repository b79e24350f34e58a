"""Plain text for people: columns, times, and colours where a terminal shows them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, TextIO, TypeAlias

if TYPE_CHECKING:
    from buildhpc.run.spec import Recipe

# Text -> the text in a colour, or as it is.
Paint: TypeAlias = Callable[[str, str], str]

_CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "dim": "2", "bold": "1"}

COLOUR_OF_STATE = {
    "done": "green",
    "running": "blue",
    "failed": "red",
    "lost": "red",
    "skipped": "yellow",
    "cancelled": "yellow",
}


def painter(stream: TextIO) -> Paint:
    """What colours text for `stream`; it changes nothing where colours are not wanted.

    Source: no-color.org: NO_COLOR, when not empty, forbids colours.
    """
    wanted = stream.isatty() and not os.environ.get("NO_COLOR")
    return _painted if wanted and os.environ.get("TERM") != "dumb" else _plain


def _painted(colour: str, text: str) -> str:
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if colour in _CODES and text else text


def _plain(colour: str, text: str) -> str:
    del colour
    return text


def columns(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """The rows with their cells one below the other, two blanks apart.

    right: the columns that are aligned to the right, as numbers are.
    """
    count = max((len(row) for row in rows), default=0)
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(count)]
    return [
        "  ".join(
            cell.rjust(widths[at]) if at in right else cell.ljust(widths[at])
            for at, cell in enumerate(row)
        ).rstrip()
        for row in rows
    ]


def clock(seconds: float | None) -> str:
    """A moment as people read it, `-` where it is not known."""
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(int(seconds)).isoformat(" ")


def one_line(text: str) -> str:
    """A text without line breaks and control characters, for a line of its own."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def command_text(recipe: Recipe) -> str:
    """What a recipe runs; of a function with its arguments."""
    if recipe.kind != "call":
        return recipe.text
    said = ", ".join(f"{name}={value!r}" for name, value in recipe.arguments.items())
    return f"{recipe.text}({said})"


def draws_lines(stream: TextIO) -> bool:
    """Whether `stream` can show the characters that trees are drawn with."""
    try:
        "└─├│…".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def nothing_to_do(jobs: int) -> str:
    """What is said where every job is fresh."""
    if not jobs:
        return "nothing to do: no job is meant"
    what = "the job is" if jobs == 1 else f"all {jobs:,} jobs are"
    return f"nothing to do: {what} fresh"


def said_text(name: str, value: object) -> str:
    """What a job says of itself under a name, for people; `progress` in hundredths."""
    if name == "progress" and isinstance(value, (int, float)):
        return f"{int(100 * value + 1e-6)}%"
    if isinstance(value, str):
        return value
    import json

    return json.dumps(value)
