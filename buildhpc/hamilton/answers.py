"""Answers to those who wait in other threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any


def answer(told: Future[Any], act: Callable[[], Any]) -> None:
    """Give who waits what an act returns, or why it could not be done."""
    try:
        value = act()
    except BaseException as error:  # it is told to who asked
        fail(told, error)
    else:
        with suppress(InvalidStateError):
            told.set_result(value)


def fail(told: Future[Any], error: BaseException) -> None:
    """Give who waits an error; nothing where there was an answer already."""
    with suppress(InvalidStateError):
        told.set_exception(error)
