"""All mistakes of a text that cannot be read: each statement and each directive by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from buildhpc.diagnostics import Problem, Source
from buildhpc.messages import syntax as messages

MAX_PROBLEMS = 100
_STATEMENT = re.compile(rf"(?:{'|'.join(messages.STATEMENTS)})\b")
_GOES_ON = re.compile(r"[,(\[\\][ \t]*(?:#.*)?$")
_RULE = re.compile(r"(?:(?:rule|checkpoint)[ \t]+[^\W\d]\w*|defaults)[ \t]*:[ \t]*(?:#.*)?$")
_TRIPLE = re.compile(r"(\"\"\"|''\')[\s\S]*?\1")
_WRITTEN = re.compile(r"[ \t]*[^\s#]")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a text that is read by itself.

    indent: that of its directives; empty where the part holds statements.
    style: the character that indents the file, where that is known.
    """

    start: int
    end: int
    indent: str = ""
    style: str = ""


def problems(
    source: Source, attempt: Callable[[Part], Problem | None], whole: Problem
) -> list[Problem]:
    """The independent problems of `source`, in order, at least one.

    attempt: the first problem of a part, if it has one.
    whole: the first problem of the whole text, which may be one of no part.
    """
    found: list[Problem] = []
    # A Python string of several lines is one mistake, however its lines begin.
    text = _TRIPLE.sub(lambda string: string[0].replace("\n", " "), source.text)
    for part in _statements(text):
        problem = attempt(part)
        if problem is None:
            continue
        inner = [attempt(piece) for piece in _directives(text, part)]
        found += [each for each in inner if each is not None] or [problem]
        if len(found) >= MAX_PROBLEMS:
            return [*found[: MAX_PROBLEMS - 1], messages.last_shown(found[MAX_PROBLEMS - 1])]
    return found or [whole]


def _statements(text: str) -> Iterator[Part]:
    """The text cut at each line that begins a statement."""
    style = next((line[0] for _, line in _lines(text, 0) if line[:1] in (" ", "\t")), "")
    begin = 0
    before = ""
    for start, line in _lines(text, 0):
        if line[:1].strip() and line[0] not in "#)]}":
            opens = _STATEMENT.match(line) or not _GOES_ON.search(before)
            if opens and start > begin:
                yield Part(begin, start, "", style)
                begin = start
        before = line if _WRITTEN.match(line) else before
    yield Part(begin, len(text), "", style)


def _directives(text: str, part: Part) -> Iterator[Part]:
    """The directives of a rule; nothing where its first line is wrong."""
    lines = iter(_lines(text[: part.end], part.start))
    head = next((line for _, line in lines if _WRITTEN.match(line)), "")
    body = [(start, line) for start, line in lines if _WRITTEN.match(line)]
    if not _RULE.match(head) or not body:
        return
    first = body[0][1]
    indent = first[: len(first) - len(first.lstrip(" \t"))]
    if not indent:
        return
    opens = re.compile(rf"{indent}[^\W\d]\w*[ \t]*(?:[:=\"']|#|$)")
    begin, before = body[0][0], ""
    for start, line in body:
        if opens.match(line) and not _GOES_ON.search(before) and start > begin:
            yield Part(begin, start, indent, part.style)
            begin = start
        before = line
    yield Part(begin, part.end, indent, part.style)


def _lines(text: str, start: int) -> Iterator[tuple[int, str]]:
    """Each line with its place."""
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield start, text[start:end]
        start = end + 1
