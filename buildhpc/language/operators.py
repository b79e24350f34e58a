"""What the operators of the language do with each kind of value."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from buildhpc.language.patterns import Pattern
from buildhpc.language.values import Fields, Unfilled, kind
from buildhpc.quantities import Duration, Size


class Unfit(Exception):  # noqa: N818 - the evaluator makes an error of it
    """The operands do not fit the operator, or each other."""


_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


def binary(symbol: str, left: Any, right: Any) -> Any:
    """`left symbol right`. Raises: Unfit."""
    if isinstance(left, Unfilled) or isinstance(right, Unfilled):
        return Unfilled(f"({left} {symbol} {right})")
    if symbol == "==":
        return equal(left, right)
    if symbol == "!=":
        return not equal(left, right)
    if symbol in ("in", "not in"):
        return contains(right, left) == (symbol == "in")
    if symbol in _COMPARE:
        _same_dimension(symbol, left, right)
        return bool(_COMPARE[symbol](left, right))
    return _arithmetic(symbol, left, right)


def negative(value: Any) -> Any:
    """`-value`. Raises: Unfit."""
    if _dimension(value) is None:
        raise Unfit(f"`-` needs a number, not {kind(value)}")
    return type(value)(-value) if isinstance(value, (Size, Duration)) else -value


def equal(left: Any, right: Any) -> bool:
    """`left == right`; a number and a text are never equal."""
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    return bool(left == right)


def contains(container: Any, item: Any) -> bool:
    """`item in container`. Raises: Unfit."""
    if isinstance(container, str):
        if not isinstance(item, str):
            raise Unfit(f"`in` looks for text in a text, not for {kind(item)}")
        return item in container
    if isinstance(container, Fields):
        return str(item) in container.plain()
    try:
        return any(equal(each, item) for each in container)
    except TypeError:
        raise Unfit(f"`in` needs a list or a text on its right, not {kind(container)}") from None


def total(values: list[Any]) -> Any:
    """The sum of `values`; 0 for none. Raises: Unfit."""
    result: Any = values[0] if values else 0
    for value in values[1:]:
        result = _arithmetic("+", result, value)
    return result


def extreme(symbol: str, values: list[Any]) -> Any:
    """The least (`<`) or greatest (`>`) of `values`, which are not empty. Raises: Unfit."""
    best = values[0]
    for value in values[1:]:
        if binary(symbol, value, best):
            best = value
    return best


def _arithmetic(symbol: str, left: Any, right: Any) -> Any:
    if symbol == "+" and (joined := _joined(left, right)) is not None:
        return joined
    dimensions = (_dimension(left), _dimension(right))
    if None in dimensions:
        wrong = left if dimensions[0] is None else right
        raise Unfit(
            f"`{symbol}` cannot combine {kind(left)} and {kind(right)}"
            if kind(left) != kind(right)
            else f"`{symbol}` does not work on {kind(wrong)}"
        )
    result_kind = _result(symbol, *dimensions)
    if result_kind is None:
        raise Unfit(f"`{symbol}` cannot combine {kind(left)} and {kind(right)}")
    plain = [float(v) if isinstance(v, (Size, Duration)) else v for v in (left, right)]
    try:
        result = _ARITHMETIC[symbol](*plain)
    except ZeroDivisionError:
        raise Unfit("division by zero") from None
    except OverflowError:
        raise Unfit("the number is too large") from None
    return result if result_kind in (int, float) else result_kind(result)


def _joined(left: Any, right: Any) -> Any:
    """Texts, lists and patterns put together; None for anything else."""
    if isinstance(left, (str, Pattern)) and isinstance(right, (str, Pattern)):
        if isinstance(left, Pattern) or isinstance(right, Pattern):
            return left + right
        return str(left) + str(right)
    if isinstance(left, list) and isinstance(right, list):
        return left + right
    return None


def _dimension(value: Any) -> type | None:
    """`Size`, `Duration`, `int` for plain numbers; None for what cannot be computed with."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (Size, Duration)):
        return type(value)
    return int if isinstance(value, (int, float)) else None


def _result(symbol: str, left: type | None, right: type | None) -> type | None:
    if left is int and right is int:
        return int
    if symbol in ("+", "-", "%") and left is right:
        return left
    if symbol in ("/", "//") and left is right:
        return int
    if symbol == "*" and int in (left, right):
        return left if right is int else right
    if symbol in ("/", "//") and right is int:
        return left
    return None


def _same_dimension(symbol: str, left: Any, right: Any) -> None:
    if isinstance(left, str) and isinstance(right, str):
        return
    if _dimension(left) is None or _dimension(left) is not _dimension(right):
        raise Unfit(f"`{symbol}` cannot compare {kind(left)} with {kind(right)}")
