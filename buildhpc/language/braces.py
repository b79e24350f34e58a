"""Names in braces inside strings: `{name}`, `{name.attr}`, `{name[0]}`, `{name,REGEX}`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from buildhpc.diagnostics import Span

_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t"}
_FIELD = re.compile(
    r"\{([^\W\d]\w*)((?:\.[^\W\d]\w*|\[-?\d+\]|\[\"[^\"\]]*\"\]|\['[^'\]]*'\])*)"
    r"(?::([a-z]+))?\}"
)
_WILDCARD = re.compile(r"\{([^\W\d]\w*),")
_STEP = re.compile(r"\.(\w+)|\[(-?\d+)\]|\[[\"']([^\"'\]]*)[\"']\]")
_CALL = re.compile(r"(?<!\{)\{[^\W\d]\w*(?:\.\w+)*(?:\([^{}]*\)|![rsa]|:[<>^=+\d][^{}]*)\}")
_DOUBLED = re.compile(r"\{\{[^\W\d]\w*\}\}")


@dataclass(frozen=True, slots=True)
class Field:
    """`{name.attr[0]:conversion}` at a place of a text.

    steps: attribute names and indices to follow from the name.
    pattern: the regular expression of `{name,REGEX}`, else None.
    """

    span: Span
    name: str
    steps: tuple[str | int, ...] = ()
    conversion: str | None = None
    pattern: str | None = None

    @property
    def written(self) -> str:
        """As it stands in the text."""
        return self.span.text


def fields_of(text: str, base: Span, *, wildcards: bool = False) -> list[str | Field]:
    """Split `text` at its fields; what is no field stays in the literal parts.

    base: the span of `text`, character for character.
    wildcards: `{name,REGEX}` is a field as well.
    """
    parts: list[str | Field] = []
    literal = 0
    at = text.find("{")
    while at >= 0:
        end, field = _read(text, at, base, wildcards=wildcards)
        if field is not None:
            parts += [text[literal:at], field]
            literal = end
        at = text.find("{", end)
    parts.append(text[literal:])
    return [part for part in parts if part != ""]


def _read(text: str, at: int, base: Span, *, wildcards: bool) -> tuple[int, Field | None]:
    """Where to look on from `at`, a `{`, and the field that stands there if one does."""
    if doubled := _DOUBLED.match(text, at):
        return doubled.end(), None
    if text.startswith("{{", at):
        return at + 2, None
    if match := _FIELD.match(text, at):
        span = Span(base.source, base.start + at, base.start + match.end())
        return match.end(), Field(span, match[1], _steps(match[2]), match[3])
    if wildcards and (match := _WILDCARD.match(text, at)):
        end = _matching(text, at)
        if end is not None:
            span = Span(base.source, base.start + at, base.start + end)
            return end, Field(span, match[1], pattern=text[match.end() : end - 1].strip())
    return at + 1, None


def _steps(text: str) -> tuple[str | int, ...]:
    return tuple(int(index) if index else (name or key) for name, index, key in _STEP.findall(text))


def _matching(text: str, at: int) -> int | None:
    """The offset behind the `}` that closes the `{` at `at`; a backslash hides a brace."""
    depth = 0
    skip = False
    for offset in range(at, len(text)):
        char = text[offset]
        if skip:
            skip = False
        elif char == "\\":
            skip = True
        elif char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                return offset + 1
    return None


def call_in(text: str, base: Span) -> Span | None:
    """The place of a call or a format in braces, such as `{len(x)}` or `{x!r}`; None: none."""
    match = _CALL.search(text)
    if match is None:
        return None
    return Span(base.source, base.start + match.start(), base.start + match.end())


def undouble(literal: str) -> str:
    """`literal` with `{{name}}` as `{name}`; other doubled braces are left alone."""
    if "{{" not in literal:
        return literal
    return _DOUBLED.sub(lambda match: match[0][1:-1], literal)


def unescape(raw: str) -> str:
    """The text of a quoted string: its escapes read; other backslashes stay."""
    if "\\" not in raw:
        return raw
    return re.sub(r"\\([\\\"'nt])", lambda match: _ESCAPES[match[1]], raw)
