"""`hpcmake logs --follow`: what running jobs print, as they print it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

if TYPE_CHECKING:
    from buildhpc.state.database import State
    from buildhpc.state.overview import Printed

_PAUSE_S = 0.2

# Some lines -> those of them that are told.
Choose: TypeAlias = Callable[[Iterable[str]], Iterable[str]]


class _Tail:
    """The log of one job: how much of it was told.

    A log is read from its file, which goes on being readable here when it is folded into the
    state; what was folded before it could be opened is read there.
    """

    def __init__(self) -> None:
        self._attempt: int | None = None
        self._file: BinaryIO | None = None
        self._found = False
        self._rest = b""
        self._whole: list[bytes] = []

    def see(self, state: State, log: Printed) -> None:
        """Take note of where the log is now."""
        if log.attempt != self._attempt:
            self._read(all_of_it=True)
            self._attempt, self._file, self._found = log.attempt, None, False
        if self._found:
            return
        if log.path is not None:
            with suppress(OSError):
                self._file = (state.folder / log.path).open("rb")
                self._found = True
        elif log.text is not None:
            self._rest, self._found = log.text.encode(), True

    def lines(self, *, all_of_it: bool) -> list[str]:
        """The lines since the last time; `all_of_it`: also one that has no end yet."""
        self._read(all_of_it=all_of_it)
        lines = [line.decode("utf-8", "replace") for line in self._whole]
        self._whole.clear()
        return lines

    def _read(self, *, all_of_it: bool) -> None:
        if self._file is not None:
            self._rest += self._file.read()
        *whole, rest = self._rest.split(b"\n")
        if all_of_it and rest:
            whole, rest = [*whole, rest], b""
        self._whole += whole
        self._rest = rest


def follow(state: State, names: Sequence[str], first: Choose, later: Choose) -> None:
    """Print what the jobs printed and print, until no run has any of them any more.

    first: what is told of the lines that are there; later: of those that come.
    """
    from buildhpc.commands.common import fold_receipts
    from buildhpc.commands.logs import print_lines
    from buildhpc.state.overview import held, printed

    tails = {name: _Tail() for name in names}
    begun: set[str] = set()
    seen = b""
    while True:
        fold_receipts()
        now = state.generation()
        # Asked each time, since a run that dies does not write that it did.
        busy = held(state, names)
        if now != seen:
            seen = now
            for log in printed(state, names, -1):
                tails[log.job].see(state, log)
        for name, tail in tails.items():
            if lines := tail.lines(all_of_it=not busy):
                chosen = later(lines) if name in begun else first(lines)
                begun.add(name)
                print_lines(name if len(names) > 1 else "", chosen)
        sys.stdout.flush()
        if not busy:
            return
        time.sleep(_PAUSE_S)
