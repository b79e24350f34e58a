"""Why a value cannot be read."""

from __future__ import annotations

import re

from buildhpc.diagnostics import Problem, Span
from buildhpc.language.failure import Failure
from buildhpc.messages import syntax as messages
from buildhpc.messages import syntax_values as values

_NUMBER = re.compile(r"\.?[0-9](?:(?<=[0-9][eE])[+-](?=[0-9])|[\w.]|[:-](?=[0-9]))*")
_RESERVED = frozenset({"and", "or", "not", "if", "else", "for", "in"})
_PAIRS = {")": "(", "]": "["}
_BRACKET = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|#.*|[()\[\]]")
_OPERANDS = frozenset({"TEXT", "NUMBER", "QUANTITY", "NAME", "RPAR", "RSQB"})
_VALUES = frozenset({"TEXT", "NUMBER", "QUANTITY", "NAME", "LPAR", "LSQB"})


def of_brackets(failure: Failure) -> Problem | None:
    """Brackets that are closed wrongly, or not at all."""
    word, source = failure.word, failure.source
    if word.text in _PAIRS:
        if not failure.brackets:
            return values.stray_bracket(word)
        opening = failure.brackets[-1]
        if opening != _PAIRS[word.text]:
            return values.wrong_bracket(word, failure.over(opening))
    if failure.brackets:
        opening = failure.brackets[-1]
        start = opening.start_pos or 0
        newline = source.text.find("\n", start)
        if 0 <= newline < failure.at and not _closed(source.text, start):
            return values.open_bracket(failure.over(opening))
    return None


def _closed(text: str, start: int) -> bool:
    """Whether the bracket at `start` has a counterpart somewhere."""
    depth = 0
    for found in _BRACKET.finditer(text, start):
        if found[0] in "([":
            depth += 1
        elif found[0] in ")]":
            depth -= 1
            if depth == 0:
                return True
    return False


def of_value(failure: Failure) -> Problem | None:
    """Values, operators and what stands between them."""
    for look in (_at_end, _of_number, _between, _of_reserved):
        problem = look(failure)
        if problem is not None:
            return problem
    return None


def _at_end(failure: Failure) -> Problem | None:
    """A line that ends where a value belongs."""
    ended = failure.kind in ("_NL", "$END")
    if not ended or not failure.line or "TEXT" not in failure.expected:
        return None
    last = failure.line[-1]
    return values.missing_value(failure.over(last), last)


def _of_number(failure: Failure) -> Problem | None:
    """Numbers and characters that are none."""
    source, at = failure.source, failure.at
    number = _NUMBER.match(source.text, at)
    if number and (failure.kind == "" or number[0].startswith(".")):
        return values.bad_number(Span(source, at, number.end()))
    if failure.kind == "" and not failure.shown.isidentifier():
        return values.unknown_character(Span(source, at, at + 1))
    return None


def _between(failure: Failure) -> Problem | None:
    """What cannot follow a value."""
    if not failure.line or failure.kind == "_NL":
        return None
    word, before = failure.word, failure.line[-1]
    if before.type == "TEXT" and before.end_pos == failure.at:
        return values.quote_inside(word, before[0])
    if word.text == "=":
        return values.single_equals(word)
    if before.type in _OPERANDS and failure.kind in ("COMPARE", "IN", "NOT"):
        return values.chained_comparison(word)
    if before.type in _OPERANDS and failure.kind in _VALUES and "_COMMA" in failure.expected:
        return values.missing_comma(word)
    return None


def _of_reserved(failure: Failure) -> Problem | None:
    """A reserved word where a name or a value belongs."""
    if failure.shown not in _RESERVED or "NAME" not in failure.expected or not failure.line:
        return None
    if "TEXT" not in failure.expected:
        return messages.reserved_word(failure.word)
    return values.missing_value(failure.over(failure.line[-1]), failure.line[-1])
