"""Values of directives, checked to be of the kind that their directive takes."""

from __future__ import annotations

import shlex
from typing import Any

from buildhpc.diagnostics import Span
from buildhpc.language.values import Unfilled, kind
from buildhpc.messages import rules as messages
from buildhpc.quantities import Duration, Size, quantity
from buildhpc.rules.directives import DIRECTIVES


def checked(name: str, value: Any, span: Span) -> Any:
    """`value` if it is of the kind its directive takes."""
    if isinstance(value, Unfilled):
        return value
    return _CHECKS[DIRECTIVES[name].value](name, value, span)


def _count(name: str, value: Any, span: Span) -> int:
    number = _whole(name, value, span)
    if number < 1:
        raise messages.wrong_value(name, "a number from 1 up", str(number), span)
    return number


def _whole(name: str, value: Any, span: Span) -> int:
    if isinstance(value, str) and value.strip().lstrip("-").isdigit():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or _is_quantity(value):
        raise messages.wrong_value(name, "a whole number", _shown(value), span)
    if value != int(value):
        raise messages.wrong_value(name, "a whole number", str(value), span)
    return int(value)


def _size(name: str, value: Any, span: Span) -> Any:
    return _quantity(name, value, span, Size, "a size such as `4G`")


def _time(name: str, value: Any, span: Span) -> Any:
    return _quantity(name, value, span, Duration, "a time such as `1h30m`")


def _quantity(name: str, value: Any, span: Span, wanted: type, words: str) -> Any:
    if isinstance(value, str) and (read := quantity(value.strip())) is not None:
        value = read
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not _is_quantity(value):
        raise messages.bare_minutes(name, str(value), span)
    if not isinstance(value, wanted):
        raise messages.wrong_value(name, words, _shown(value), span)
    if float(value) <= 0:  # type: ignore[arg-type]
        raise messages.wrong_value(name, f"{words} above nothing", str(value), span)
    return value


def _gpus(name: str, value: Any, span: Span) -> Any:
    if isinstance(value, str):
        model, _, count = value.rpartition(":")
        if model and count.isdigit():
            return value
        raise messages.wrong_value(name, "a number or `MODEL:NUMBER`", _shown(value), span)
    number = _whole(name, value, span)
    if number < 0:
        raise messages.wrong_value(name, "a number from 0 up", str(number), span)
    return number


def _text(name: str, value: Any, span: Span) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise messages.wrong_value(name, "a text", _shown(value), span)


def _words(name: str, value: Any, span: Span) -> str:
    text = _text(name, value, span)
    try:
        shlex.split(text)
    except ValueError as error:
        wanted = f"words as bash reads them ({str(error).lower()})"
        raise messages.wrong_value(name, wanted, _shown(value), span) from None
    return text


def _number(name: str, value: Any, span: Span) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or _is_quantity(value):
        raise messages.wrong_value(name, "numbers", _shown(value), span)
    return value


def _any(_name: str, value: Any, _span: Span) -> Any:
    return value


def _is_quantity(value: Any) -> bool:
    return isinstance(value, (Size, Duration))


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return str(value) if _is_quantity(value) else kind(value)


_CHECKS = {
    "count": _count,
    "whole": _whole,
    "size": _size,
    "time": _time,
    "gpus": _gpus,
    "text": _text,
    "words": _words,
    "number": _number,
    "any": _any,
}
