"""Numbers that options take."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def whole_number(least: int) -> Callable[[str], int]:
    """The `type` of an option that takes a whole number from `least` on."""

    def read(text: str) -> int:
        if not text.strip().lstrip("+").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"`{text}` is no whole number from {least} on")
        return int(text)

    return read


def seconds(text: str) -> float:
    """The `type` of an option that takes a number of seconds."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"`{text}` is no number of seconds")
    return number
