"""The text of a Pipefile to its syntax tree."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from buildhpc.diagnostics import HpcmakeError, Problem, Source, Span
from buildhpc.language.builder import Builder
from buildhpc.language.diagnosis import diagnose
from buildhpc.language.failure import Failure
from buildhpc.language.layout import Layout, Line
from buildhpc.language.recovery import Part, problems
from buildhpc.language.syntax import Tree
from buildhpc.language.walk import MAX_DEPTH, too_deep
from buildhpc.messages import syntax as messages
from buildhpc.messages import syntax_values as values

if TYPE_CHECKING:
    from lark.exceptions import UnexpectedInput

_CARRIAGE_RETURN = re.compile(r"\r+(?=\n|\Z)")


def parse(name: str, text: str | bytes) -> Tree:
    """The syntax tree of `text`.

    name: what messages call the file.
    Raises: messages.syntax, one problem for each independent mistake.
    """
    return _parse(read(name, text), None)


def parse_lines(name: str, text: str | bytes) -> tuple[Tree, Source, list[Line]]:
    """The syntax tree of `text` with the words it was made from, line by line.

    Raises: messages.syntax, one problem for each independent mistake.
    """
    source = read(name, text)
    lines: list[Line] = []
    return _parse(source, lines.append), source, lines


def _parse(source: Source, see: Callable[[Line], None] | None) -> Tree:
    """The syntax tree of `source`."""
    machine = _machine()
    tree, problem = machine.run(source, Part(0, len(source.text)), see)
    if tree is not None:
        return tree
    assert problem is not None
    raise HpcmakeError(problems(source, lambda part: machine.run(source, part)[1], problem))


def read(name: str, text: str | bytes) -> Source:
    """The text as spans know it: no byte-order mark, lines ended by one newline each.

    Raises: messages.not_utf8, messages.nul_byte
    """
    plain = text if isinstance(text, str) else _decoded(name, text)
    plain = _plain(plain)
    source = Source(name, plain)
    if (at := plain.find("\0")) >= 0:
        raise HpcmakeError(messages.nul_byte(Span(source, at, at + 1)))
    return source


def _plain(text: str) -> str:
    """Without what Windows puts at the beginning of files and at the end of lines."""
    return _CARRIAGE_RETURN.sub("", text.removeprefix("\ufeff"))


def _decoded(name: str, data: bytes) -> str:
    """The text that `data` encodes."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise HpcmakeError(_undecodable(name, data, error)) from None


def _undecodable(name: str, data: bytes, error: UnicodeDecodeError) -> Problem:
    """The problem of a file that is not UTF-8, at its first bad byte."""
    before = _plain(data[: error.start].decode())
    line = data[error.start :].split(b"\n", 1)[0].rstrip(b"\r")
    source = Source(name, before + line.decode(errors="replace"))
    span = Span(source, len(before), len(before) + 1)
    return messages.not_utf8(span, data[error.start : error.start + 1])


class _Machine:
    """lark with the grammar of the language, ready to read any number of texts."""

    def __init__(self) -> None:
        from lark import Lark

        self.layout = Layout()
        self.builder = Builder()
        self.lock = threading.Lock()
        self.lark = Lark(
            _grammar(),
            parser="lalr",
            lexer="contextual",
            start=["start", "directives"],
            maybe_placeholders=False,
            postlex=cast(Any, self.layout),  # lark asks for a subclass only to type it
            transformer=cast(Any, self.builder),
        )

    def run(
        self, source: Source, part: Part, see: Callable[[Line], None] | None = None
    ) -> tuple[Tree | None, Problem | None]:
        """The tree of a part of `source`, or the first thing that is wrong with it.

        see: called with each line that was read.
        """
        from lark import TextSlice
        from lark.exceptions import UnexpectedInput

        text = source.text if source.text.endswith("\n") else source.text + "\n"
        if part.end == len(source.text):
            part = replace(part, end=len(text))
        with self.lock:
            self.builder.source = source
            self.layout.begin(source, part, see)
            try:
                entry = "directives" if part.indent else "start"
                tree = cast(Tree, self.lark.parse(TextSlice(text, part.start, part.end), entry))
            except UnexpectedInput as error:
                return None, diagnose(_failure(source, self.layout, error))
            except HpcmakeError as error:
                return None, error.problems[0]
            deep = too_deep(tree) if self.layout.long_lines else None
        return (None, values.too_deep(deep, MAX_DEPTH)) if deep else (tree, None)


@cache
def _machine() -> _Machine:
    return _Machine()


def _grammar() -> str:
    """The grammar: beside the package when installed, beside its folder in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "grammar", package.parent / "grammar"):
        file = folder / "pipefile.lark"
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise FileNotFoundError(package / "grammar" / "pipefile.lark")


def _failure(source: Source, layout: Layout, error: UnexpectedInput) -> Failure:
    """What is known about the place where lark stopped."""
    from lark.exceptions import UnexpectedToken

    kind = ""
    at = error.pos_in_stream or 0
    if isinstance(error, UnexpectedToken):
        kind = error.token.type
        at = (error.token.end_pos if kind in ("_INDENT", "_DEDENT") else at) or 0
    line, before = layout.line, layout.before
    if kind == "_NL":
        line, before = before, []
    elif kind != "$END":
        line = [word for word in line if (word.end_pos or 0) <= at]
    text = source.text
    while at < len(text) and text[at] in " \t":  # the place of a word lark took for a block
        at += 1
    state: Any = error.interactive_parser  # lark does not type it
    accepted = state.accepts() if state is not None else set()
    return Failure(
        source, at, kind, tuple(line), tuple(before), frozenset(accepted), tuple(layout.brackets)
    )
