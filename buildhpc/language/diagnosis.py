"""Why a text cannot be read at some point: from where reading stopped to a problem."""

from __future__ import annotations

import re

from buildhpc.diagnostics import Problem, Span
from buildhpc.language.diagnosis_values import of_brackets, of_value
from buildhpc.language.failure import Failure
from buildhpc.messages import syntax as messages
from buildhpc.messages import syntax_values as values

_TEXT = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'")
_HIDDEN = re.compile(rf"{_TEXT.pattern}|#.*")
_LAMBDA = re.compile(r"\blambda\b[^:\n]*:")
_RUN = re.compile(r"([ \t]*)run[ \t]*:[ \t]*(?:#.*)?$")
_PREFIXES = frozenset({"f", "r", "b", "u", "fr", "rf", "br", "rb"})
_RESERVED = frozenset({"and", "or", "not", "if", "else", "for", "in"})
_FORMS = {
    "CONFIG": 'config "FILE"',
    "INCLUDE": 'include "FILE"',
    "USE": 'use "FILE.py" as NAME',
    "PREFER": "prefer A > B",
    "WHERE": 'where NAME = "REGEX"',
    "ON": "on success:",
    "LET": "let NAME = VALUE",
}
_EXPECTED = (
    ("TEXT", "a value"),
    ("PLUS", "an operator"),
    ("_COLON", "`:`"),
    ("_EQUAL", "`=`"),
    ("_COMMA", "`,`"),
    ("RPAR", "`)`"),
    ("RSQB", "`]`"),
    ("_NL", "the end of the line"),
)


def diagnose(failure: Failure) -> Problem:
    """The problem that best says why reading stopped."""
    looks = (_of_run, _of_block, _of_lambda, _of_characters, _of_indentation, _of_first_word)
    for look in (*looks, _of_head, _of_statement, _of_directive, of_brackets, of_value):
        problem = look(failure)
        if problem is not None:
            return problem
    expected = ", ".join(name for kind, name in _EXPECTED if kind in failure.expected)
    if "NAME" in failure.expected and "TEXT" not in failure.expected:
        name = "a directive" if "RECIPE" in failure.expected else "a name"
        expected = f"{name}, {expected}" if expected else name
    expected = " or ".join(expected.rsplit(", ", 1))
    if failure.kind in ("_NL", "$END", "_DEDENT"):
        end = failure.line[-1].end_pos if failure.line else failure.at
        return values.unexpected_end(Span(failure.source, end or 0, end or 0), expected)
    return values.unexpected(failure.word, expected)


def _of_run(failure: Failure) -> Problem | None:
    """Python below Snakemake's `run:`."""
    text = failure.source.text
    start = failure.line_start
    here = text[start : failure.line_end]
    depth = len(here) - len(here.lstrip(" \t"))
    while start > 0 and depth > 0:
        start = text.rfind("\n", 0, start - 1) + 1
        line = text[start : text.index("\n", start)]
        indent = len(line) - len(line.lstrip(" \t"))
        if line.strip() and indent < depth:
            depth = indent
            if found := _RUN.match(line):
                at = start + found.end(1)
                return messages.run_block(Span(failure.source, at, at + 3))
    return None


def _of_block(failure: Failure) -> Problem | None:
    """The text of a recipe that is neither a block nor a string."""
    line = failure.line
    if len(line) < 2 or line[0].type not in ("RECIPE", "ON") or line[-1].type == "TEXT":
        return None
    head = failure.over(*line[:2] if line[0].type == "ON" else line[:1])
    colon = next((word for word in line if word.type == "_COLON"), None)
    if colon is None:
        return None
    after = colon.end_pos or 0
    end = failure.source.text.find("\n", after)
    behind = failure.source.text[after : None if end < 0 else end]
    if failure.kind == "_NL" and line[-1] is colon:
        return messages.empty_block(Span(failure.source, head.start, after), f"{head.text}:")
    start = after + len(behind) - len(behind.lstrip())
    span = Span(failure.source, start, after + len(behind.rstrip()))
    if line[0].type == "ON":
        return messages.block_in_line(span, f"{head.text}:")
    return None if behind.strip()[:1] in ('"', "'") else messages.unquoted_block(span, head.text)


def _of_lambda(failure: Failure) -> Problem | None:
    """A Python function where a value belongs."""
    line = failure.source.text[failure.line_start : failure.line_end]
    masked = _HIDDEN.sub(lambda found: " " * len(found[0]), line)
    if found := _LAMBDA.search(masked):
        start = failure.line_start + found.start()
        return messages.no_lambda(Span(failure.source, start, start + len("lambda")))
    return None


def _of_characters(failure: Failure) -> Problem | None:
    """Strings without an end, and what looks like a Python string."""
    text, at = failure.source.text, failure.at
    quote = text[at : at + 1]
    if quote and quote in "\"'":
        for start in (at, at - 2):
            if start >= 0 and text.startswith(quote * 3, start):
                return values.triple_quotes(Span(failure.source, start, start + 3))
        if _TEXT.match(text, at) is None:
            end = at + len(failure.rest.rstrip())
            return values.unclosed_text(Span(failure.source, at, end))
        if failure.last == "TEXT":
            return values.adjacent_strings(failure.word, failure.over(failure.line[-1]))
        before = failure.line[-1] if failure.line else None
        if before is not None and before.end_pos == at and before.lower() in _PREFIXES:
            return values.string_prefix(failure.over(before))
    return None


def _of_indentation(failure: Failure) -> Problem | None:
    """Lines that are deeper than they can be, or not deep enough."""
    before = failure.before
    if failure.line or not before or failure.kind == "_NL":
        return None
    if failure.kind != "_INDENT":
        if before[-1].type != "_COLON" or before[0].type == "RECIPE":
            return None
        return messages.empty_part(failure.over(*before), failure.over(*before[:-1]).text)
    if before[-1].type == "TEXT" and failure.shown[:1] in ('"', "'"):
        return values.adjacent_strings(failure.word, failure.over(before[-1]))
    if len(before) == 1 and before[0].type == "NAME":
        return messages.missing_colon(failure.over(*before))
    return messages.unexpected_indentation(Span(failure.source, failure.line_start, failure.at))


def _of_first_word(failure: Failure) -> Problem | None:
    """A line at the left margin that begins no statement."""
    word = failure.word
    if failure.line or failure.brackets or failure.at != failure.line_start or not failure.rest:
        return None
    if foreign := messages.foreign_word(word):
        return foreign
    if not word.text.isidentifier():
        if word.text[0] in ")]":
            return values.stray_bracket(word)
        known = word.text[0].isalnum() or word.text[0] in "\"'"
        return messages.unknown_statement(word) if known else values.unknown_character(word)
    after = failure.source.text[word.end : failure.line_end].lstrip()
    if after.startswith(":"):
        return messages.outside_rule(word)
    if re.match(r"=(?!=)", after):
        return messages.missing_let(word)
    return messages.unknown_statement(word)


def _of_head(failure: Failure) -> Problem | None:
    """The first line of a rule, of `defaults` or of `on`."""
    line = failure.line
    if not line or line[0].type not in ("RULE", "DEFAULTS", "ON"):
        return None
    head = failure.over(*line)
    if line[-1].type == "_COLON":
        rest = Span(failure.source, failure.at, failure.at + len(failure.rest.rstrip()))
        return messages.one_line_rule(rest, failure.over(*line[:-1]).text)
    if line[0].type == "RULE" and len(line) == 1:
        return _no_name(failure, f"a {line[0]}")
    if line[0].type == "RULE" and failure.kind != "_NL" and failure.shown not in "=":
        name = line[-1]
        more = re.match(r"[^\s:#]*", failure.rest)
        end = failure.at + (more.end() if more else 0)
        return messages.bad_name(Span(failure.source, name.start_pos or 0, end), "a rule")
    if line[0].type == "ON" and len(line) == 1:
        return messages.wrong_form(failure.word, "on", _FORMS["ON"])
    return messages.missing_colon(head)


def _of_statement(failure: Failure) -> Problem | None:
    """Statements of one line."""
    line = failure.line
    if not line or line[0].type not in _FORMS or line[1:2] == (":",):
        return None
    if line[0].type == "WHERE" and "_COLON" in failure.expected:
        return None
    word, form = line[0], _FORMS[line[0].type]
    if len(line) == 1 and failure.shown == ":":
        return messages.extra_colon(failure.word, form)
    if word.type in ("LET", "WHERE") and len(line) == 1:
        what = "a value" if word.type == "LET" else "a wildcard"
        return _no_name(failure, what)
    if word.type in ("LET", "WHERE") and len(line) == 2 and failure.shown == ":":
        return messages.colon_for_equals(failure.word, line[1])
    if word.type == "LET" and len(line) > 2:
        return None
    if failure.kind == "_NL":
        return messages.wrong_form(failure.over(*line), word, form)
    return messages.wrong_form(failure.word, word, form)


def _no_name(failure: Failure, what: str) -> Problem:
    """The problem of a name that is missing or wrong."""
    if failure.shown in _RESERVED:
        return messages.reserved_word(failure.word)
    if failure.kind == "_NL" or failure.shown in ":=":
        return messages.missing_name(failure.over(*failure.line), what)
    found = _TEXT.match(failure.rest) or re.match(r"[^\s:=]+", failure.rest)
    end = failure.at + (found.end() if found else 1)
    return messages.bad_name(Span(failure.source, failure.at, end), what)


def _of_directive(failure: Failure) -> Problem | None:
    """Directives without their colon, items without their `=`."""
    line, shown = failure.line, failure.shown
    if not line:
        return None
    first = line[0]
    if first.type == "WHERE" and len(line) < 4:
        return messages.wrong_form(
            failure.word, "where", 'where: NAME = "REGEX"` or `where: NAME in LIST'
        )
    if len(line) == 1 and "_COLON" in failure.expected:
        name = failure.over(first)
        if shown == "=":
            return messages.equals_for_colon(failure.word, first)
        if first in messages.STATEMENTS and first.type == "NAME":
            return messages.statement_inside(name)
        return messages.missing_colon(name)
    if shown == ":" and "_EQUAL" in failure.expected and line[-1].type == "NAME":
        return messages.colon_for_equals(failure.word, line[-1])
    if len(line) == 2 and line[1].type == "_COLON" and failure.kind == "_NL":
        return values.missing_value(failure.over(line[1]), ":")
    return None
