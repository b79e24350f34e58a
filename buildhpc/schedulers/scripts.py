"""What job scripts and commands of all schedulers have in common."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence

from buildhpc.schedulers.protocol import Answer, Ask, UnreadableError

# A warning takes from the time that a job may use, so short jobs get none.
_WORTH_WARNING = 10
_SHOWN = 300
_PLAIN = re.compile(r"[\w@%+=:,./^~*!?&|()\[\]<>-]+", re.ASCII)


def job_script(ask: Ask, directives: Iterable[str], element: str, *, redirect: bool) -> str:
    """The script of a job: bash, the directives, the working folder, `$element`, the body.

    directives: whole lines. element: bash for the number of the element, counted from 0.
    redirect: the script itself sends what it prints to the output file.
    """
    folder = shlex.quote(ask.folder)
    told = shlex.quote(f"hpcmake: the working folder {ask.folder} cannot be entered on host")
    lines = ["#!/bin/bash", *directives, ""]
    if redirect:
        lines.append(f"exec >>{shlex.quote(ask.output)} 2>&1 || exit 1")
    lines.append(f'cd -- {folder} || {{ echo {told} "$HOSTNAME" >&2; exit 1; }}')
    lines.append(f"element={element if ask.elements else 0}")
    return "\n".join(lines) + "\n" + ask.body.rstrip("\n") + "\n"


def plain(words: Iterable[str]) -> bool:
    """Words that mean themselves whatever reads a directive."""
    return all(_PLAIN.fullmatch(word) for word in words)


def warned(ask: Ask) -> bool:
    """The job is to get a signal before its time limit: it is long enough for that."""
    time_s = ask.request.time_s
    return bool(ask.warn_s) and (time_s is None or time_s >= _WORTH_WARNING * ask.warn_s)


def share(total: int, parts: int) -> int:
    """The part of an amount that one of `parts` has, rounded up."""
    return -(-total // max(1, parts))


def clock(time_s: int) -> str:
    """A time limit as `HH:MM:SS`, hours unbounded."""
    return f"{time_s // 3600:02}:{time_s // 60 % 60:02}:{time_s % 60:02}"


def chunks(words: Sequence[str], size: int) -> Iterator[list[str]]:
    """The words, each once, in lists of at most `size`."""
    once = list(dict.fromkeys(words))
    for start in range(0, len(once), size):
        yield once[start : start + size]


def numbers(text: str) -> list[int]:
    """The numbers that `1,3-5,10-20:5%2` stands for.

    What follows `%` is how many may run at once; of a list that ends in `...` the rest was
    left out. Raises: ValueError
    """
    found: list[int] = []
    for part in text.partition("%")[0].split(","):
        if part.strip("0123456789") == "...":
            break  # the last number may have lost digits
        span, _, step = part.partition(":")
        first, _, last = span.partition("-")
        found += range(int(first), int(last or first) + 1, int(step or 1))
    return found


def unreadable(answer: Answer, expected: str) -> UnreadableError:
    """An answer that is not what was expected, quoted."""
    if answer.code is None:
        return UnreadableError(f"{expected} expected, but there was no answer in time")
    text = (answer.err.strip() or answer.out.strip())[:_SHOWN]
    return UnreadableError(f"{expected} expected, but exit code {answer.code} came with: {text}")
