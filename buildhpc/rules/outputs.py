"""The outputs of a rule as patterns, and what wildcards match."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from buildhpc.diagnostics import Span
from buildhpc.language import syntax
from buildhpc.language.expressions import Names, evaluate
from buildhpc.language.follow import check_regex
from buildhpc.language.functions import INPUT_FLAGS, OUTPUT_FLAGS
from buildhpc.language.patterns import Pattern, pattern
from buildhpc.language.values import Path, items_of, kind
from buildhpc.language.walk import walk
from buildhpc.messages import rules as messages
from buildhpc.rules.directives import RESERVED
from buildhpc.rules.model import Output


def constraint(node: syntax.Expression, relation: str, names: Names) -> str:
    """The regular expression of `= "REGEX"` or `in LIST`."""
    if relation == "in":
        value = evaluate(node, names)
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise messages.wrong_value("where", "a list behind `in`", kind(value), node.span)
        choices = [re.escape(str(item)) for item in items_of(value)]
        return "(?:" + "|".join(choices) + ")" if choices else r"(?!)"
    value = evaluate(node, replace(names, braces="kept"))
    text = str(value) if isinstance(value, Pattern) else value
    if not isinstance(text, str):
        raise messages.wrong_value("where", "a pattern as text", kind(value), node.span)
    return check_regex(text, node.span)


def compile_outputs(
    directive: syntax.Directive | None, names: Names, where: Mapping[str, str]
) -> tuple[Output, ...]:
    """The outputs that a directive names. where: patterns of wildcards. Raises: HpcmakeError."""
    inside = replace(names, braces="wildcard", wildcards=where, path=True)
    outputs: list[Output] = []
    first: tuple[Pattern, Span] | None = None
    seen: dict[str, Span] = {}
    for item in directive.items if directive else ():
        check_flags(item.value, "output")
        patterns = []
        for value in items_of(evaluate(item.value, inside)):
            made = _output_pattern(value, item.span)
            _check_wildcards(made, item.span, first)
            first = first or (made, item.span)
            if str(made) in seen:
                raise messages.double_output(str(made), item.span, seen[str(made)])
            seen[str(made)] = item.span
            patterns.append(made)
        if patterns:
            label = item.label.name if item.label else None
            outputs.append(Output(item.span, label, is_many(item.value), tuple(patterns)))
    return tuple(outputs)


def _output_pattern(value: Any, span: Span) -> Pattern:
    if isinstance(value, Pattern):
        return pattern(value.parts, value.flags)
    if not isinstance(value, str):
        raise messages.not_a_path(kind(value), span)
    if not value:
        raise messages.empty_path(span)
    return pattern((str(value),), value.flags if isinstance(value, Path) else ())


def _check_wildcards(made: Pattern, span: Span, first: tuple[Pattern, Span] | None) -> None:
    for name in made.wildcards:
        if name in RESERVED:
            raise messages.reserved_name("wildcard", name, span)
    if first is not None:
        mine, theirs = set(made.wildcards), set(first[0].wildcards)
        if theirs - mine:
            raise messages.uneven_wildcards(min(theirs - mine), span, first[1])
        if mine - theirs:
            raise messages.uneven_wildcards(min(mine - theirs), first[1], span)
    made.regex()


def is_many(node: syntax.Expression) -> bool:
    """Whether the name of such an item stands for a list."""
    while isinstance(node, syntax.Call) and node.arguments:
        if isinstance(node.function, syntax.Name) and node.function.name in ("glob", "expand"):
            return True
        node = node.arguments[0]
    return isinstance(node, (syntax.Loop, syntax.ListOf))


def check_flags(node: syntax.Expression, side: str) -> None:
    """Whether flags go around this side, `input` or `output`. Raises: HpcmakeError."""
    wrong = INPUT_FLAGS if side == "output" else OUTPUT_FLAGS
    for inner in walk(node):
        function = inner.function if isinstance(inner, syntax.Call) else None
        if isinstance(function, syntax.Name) and function.name in wrong:
            raise messages.flag_on_wrong_side(function.name, side, function.span)
