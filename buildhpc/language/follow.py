"""Steps from a value to a part of it, and checks of what is written in patterns."""

from __future__ import annotations

import re
from typing import Any

from buildhpc.diagnostics import Span
from buildhpc.language.values import Files, Missing, Path, Unfilled, kind
from buildhpc.messages import language as messages
from buildhpc.quantities import Duration, Size

_QUANTITY_PARTS = {"mb", "gb", "bytes", "minutes", "hours", "seconds", "hms"}


def check_regex(text: str, span: Span) -> str:
    """`text` if it is a regular expression, without the anchors it does not need."""
    bare = text.removeprefix("^")
    if bare.endswith("$") and not bare.endswith("\\$"):
        bare = bare[:-1]
    try:
        re.compile(bare)
    except (re.error, OverflowError) as error:
        raise messages.bad_pattern(text, str(error), span) from None
    return bare


def follow(value: Any, step: str | int, span: Span) -> Any:
    """`value.step` or `value[step]`."""
    if isinstance(value, Unfilled):
        return Unfilled(f"{value}.{step}" if isinstance(step, str) else f"{value}[{step}]")
    if isinstance(step, str):
        if isinstance(value, (Size, Duration)) and step in _QUANTITY_PARTS:
            part = getattr(value, step, None)
            if part is not None:
                return part
        if hasattr(value, "get"):
            try:
                return value.get(step)
            except Missing as error:
                raise messages.no_such_part(str(error), span, error.near) from None
        raise messages.no_such_part(f"{kind(value)} has no `{step}`", span, ())
    if isinstance(value, (list, Files)):
        try:
            return value[step]
        except IndexError:
            text = f"there is no item {step}: the list has {len(value)}, counted from 0"
            raise messages.no_such_part(text, span, ()) from None
    if isinstance(value, str) and -len(value) <= step < len(value):
        # `{input.bam[0]}` works whether one path is there or a list of one.
        return str(value) if step in (0, -1) and isinstance(value, Path) else str(value)[step]
    raise messages.no_such_part(f"{kind(value)} has no item {step}", span, ())
