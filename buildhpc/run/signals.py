"""Waiting for processes to end and for signals, without threads and without polling."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_WITHOUT_SIGNALS_S = 0.02
# `poll` takes so many milliseconds, and no infinity.
_LONGEST_S = 86_400.0


class Signals:
    """Wakes the event loop when a child ends or a signal asks to stop.

    A context manager: inside it `on_stop` hears of SIGINT, SIGTERM, SIGHUP and SIGQUIT, also
    where they were ignored, as `&` in a script does; only a SIGHUP that is ignored, as `nohup`
    does, stays so. also: further signals that it hears of. Outside the main thread Python
    allows no handlers: then `wait` polls.
    """

    def __init__(self, on_stop: Callable[[int], None], also: Iterable[int] = ()) -> None:
        self._on_stop = on_stop
        self._numbers = (*_STOP, *also)
        self._before: dict[int, Any] = {}
        self._wakeup_before = -1
        self._reader = self._writer = -1
        self._poll = select.poll()

    def __enter__(self) -> Signals:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._poll.register(self._reader, select.POLLIN)
        try:
            self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        except ValueError:  # not the main thread
            return self
        self._set(signal.SIGCHLD, _ignore)
        for number in self._numbers:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._set(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self._before:
            signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, timeout_s: float) -> None:
        """Return when something happened, or after `timeout_s`, which may be without an end."""
        timeout_s = min(timeout_s, _LONGEST_S if self._before else _WITHOUT_SIGNALS_S)
        if self._poll.poll(max(0.0, timeout_s) * 1000):
            os.read(self._reader, 65536)

    def _set(self, number: int, handler: Callable[[int, FrameType | None], None]) -> None:
        self._before[number] = signal.signal(number, handler)

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._on_stop(number)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Has Python write to the wake-up pipe, which it does only for signals with a handler."""
