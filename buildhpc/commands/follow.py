"""`hpcmake logs --follow`: what running jobs print, as they print it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from buildhpc.state.logs import files_of, text_of

if TYPE_CHECKING:
    from buildhpc.commands.logs import Choose
    from buildhpc.state.database import State
    from buildhpc.state.overview import Printed

_PAUSE_S = 0.2


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

    def see(self, state: State, log: Printed, stream: str) -> None:
        """Take note of where the log is now. stream: as `_streams` has it."""
        if log.attempt != self._attempt:
            self._read(all_of_it=True)
            self._attempt, self._file, self._found = log.attempt, None, False
        if self._found:
            return
        if log.path is not None:
            with suppress(OSError):
                self._file = (state.folder / files_of(log.path, log.err_at, stream)[0]).open("rb")
                self._found = True
        elif log.text is not None:
            self._rest, self._found = text_of(log.text, log.err_at, stream).encode(), True

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


def _streams(log: Printed, stream: str) -> Sequence[str]:
    """What is followed of a log: stdout and stderr, one of them, or, empty, both in one."""
    if log.err_at is None:
        return () if stream else ("",)
    return (stream,) if stream else ("out", "err")


def follow(state: State, names: Sequence[str], stream: str, first: Choose, later: Choose) -> None:
    """Print what the jobs printed and print, until no run has any of them any more.

    stream: `out` or `err` alone; empty: both. first: what is told of the lines that are there;
    later: of those that come. Raises: HpcmakeError, where no log has what is asked for apart.
    """
    from buildhpc.commands.common import fold_receipts
    from buildhpc.commands.logs import is_in_one, print_lines, say_in_one
    from buildhpc.state.overview import held, printed

    tails: dict[tuple[str, str], _Tail] = {}
    begun: set[tuple[str, str]] = set()
    if stream and (in_one := [log for log in printed(state, names, -1) if is_in_one(log)]):
        say_in_one(in_one, len(names), stream)
    seen = b""
    while True:
        fold_receipts()
        now = state.generation()
        # Asked each time, since a run that dies does not write that it did.
        busy = held(state, names)
        if now != seen:
            seen = now
            for log in printed(state, names, -1):
                for each in _streams(log, stream):
                    tails.setdefault((log.job, each), _Tail()).see(state, log, each)
        for which, tail in tails.items():
            if lines := tail.lines(all_of_it=not busy):
                chosen = later(lines) if which in begun else first(lines)
                begun.add(which)
                print_lines(which[0] if len(names) > 1 else "", chosen)
        sys.stdout.flush()
        if not busy:
            return
        time.sleep(_PAUSE_S)
