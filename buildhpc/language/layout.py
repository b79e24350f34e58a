"""The lines of a Pipefile: from a stream of words to statements, indented parts and blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildhpc.diagnostics import HpcmakeError, Problem, Source, Span
from buildhpc.language.recovery import Part
from buildhpc.language.walk import MAX_DEPTH
from buildhpc.messages import syntax as messages
from buildhpc.messages import syntax_values as values

if TYPE_CHECKING:
    from lark import Token

MAX_BRACKETS = 100
_CLOSING = {"RPAR": "(", "RSQB": "["}
_BLOCK_START = re.compile(r"[^\n]*\n(?:[ \t]*\n)*([ \t]+)")
_FIRST_LINE = re.compile(r"\n(?:[ \t]*\n)*([ \t]*)([^\n]*)")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a Pipefile, by the name the grammar has for its kind."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Line:
    """A statement, a directive or some items: one line, or several that are joined.

    depth: 0 for a statement, 1 for a directive, 2 for items below a directive.
    """

    depth: int
    words: tuple[Word, ...]


class Layout:
    """Puts `_INDENT` and `_DEDENT` into the stream and drops the newlines that end nothing.

    levels: how deep the open parts are indented; a new line must match one of them.
    style: the character the file is indented with, once one was seen.
    brackets: those open at this point.
    last: the last word that was passed on.
    line, before: the words of this line and of the line before.
    long_lines: whether a line is long enough to nest deeply without brackets.
    """

    always_accept = ("_NL",)

    def __init__(self) -> None:
        self.begin(Source("", ""), Part(0, 0))

    def begin(self, source: Source, part: Part, see: Callable[[Line], None] | None = None) -> None:
        """Get ready for a part of `source`.

        see: called with each line that was read.
        """
        self.see = see
        self.source = source
        self.start = part.start
        self.end = part.end
        self.levels = [len(part.indent)]
        self.style = part.style
        self.brackets: list[Token] = []
        self.line: list[Token] = []
        self.before: list[Token] = []
        self.last: Token | None = None
        self.long_lines = False

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        """The words of `stream` with their layout."""
        checks = {
            "NAME": self._check_name,
            "BLOCK": self._check_block,
            "LPAR": self._open,
            "LSQB": self._open,
            "RPAR": self._close,
            "RSQB": self._close,
        }
        for token in stream:
            if token.type == "_NL":
                width = self._width(token)
                if self.brackets or self.last is None or self._goes_on(token, width):
                    continue
                self._end_line(token)
                yield token
                yield from self._steps(token, width)
                continue
            if self.last is None:
                self._check_first(token)
            check = checks.get(token.type)
            if check is not None:
                check(token)
            self.last = token
            self.line.append(token)
            yield token
        yield from self._finish()

    def _end_line(self, newline: Token) -> None:
        """Remember that a line ended."""
        if self.last is not None and self.last.type == "BLOCK":
            self._check_end_of_block(newline)
        elif (newline.start_pos or 0) - (self.line[0].start_pos or 0) > MAX_DEPTH:
            self.long_lines = True
        if self.see is not None:
            words = (Word(word.type, word.start_pos or 0, word.end_pos or 0) for word in self.line)
            self.see(Line(len(self.levels) - 1, tuple(words)))
        self.last = newline
        self.before, self.line = self.line, []

    def _width(self, newline: Token) -> int:
        """How deep the line after `newline` is indented, by tabs or by spaces."""
        end = newline.end_pos or 0
        if end >= self.end:
            return self.levels[0]
        indent = newline[newline.rindex("\n") + 1 :]
        if indent:
            self.style = self.style or indent[0]
            if indent.strip(self.style):
                if self.last is not None and self.last.type == "BLOCK":
                    self._check_end_of_block(newline)
                span = Span(self.source, end - len(indent), end)
                raise HpcmakeError(messages.mixed_indentation(span, self.style))
        return len(indent)

    def _goes_on(self, newline: Token, width: int) -> bool:
        """Whether the items before `newline` go on behind it: after a trailing comma."""
        if self.last is None or self.last.type != "_COMMA" or newline.end_pos == self.end:
            return False
        if width > self.levels[-1]:
            return True
        # Strings that are not indented deeper go on as well: in the line of a directive, not
        # among items below one, where each line stands for itself.
        directive = len(self.levels) == (1 if self.levels[0] else 2)
        following = self.source.text[newline.end_pos or 0]
        return directive and width == self.levels[-1] and following in ("'", '"')

    def _steps(self, newline: Token, width: int) -> Iterator[Token]:
        """The `_INDENT` or the `_DEDENT`s that lead to a line indented by `width`."""
        levels = self.levels
        new = type(newline).new_borrow_pos
        if width > levels[-1]:
            levels.append(width)
            yield new("_INDENT", "", newline)
            return
        while width < levels[-1]:
            last = levels.pop()
            if not levels or width > levels[-1]:
                end = newline.end_pos or 0
                span = Span(self.source, end - width, end)
                raise HpcmakeError(messages.unindent(span, [*levels, last]))
            yield new("_DEDENT", "", newline)

    def _finish(self) -> Iterator[Token]:
        """What is missing at the end of the text."""
        if self.brackets:
            raise HpcmakeError(values.open_bracket(self._span(self.brackets[-1])))
        last = self.last
        if last is None:
            return
        new = type(last).new_borrow_pos
        if last.type != "_NL":
            newline = new("_NL", "\n", last)
            self._end_line(newline)
            yield newline
        for _ in self.levels[1:]:
            yield new("_DEDENT", "", last)

    def _check_first(self, token: Token) -> None:
        """The first statement of a text stands at the left margin."""
        start = token.start_pos or 0
        line = self.source.text.rfind("\n", 0, start) + 1
        if start > line and self.levels == [0] and self.source.text[line:start].isspace():
            raise HpcmakeError(messages.indented_start(Span(self.source, line, start)))

    def _check_block(self, block: Token) -> None:
        """A block is deeper than the line that opens it."""
        found = _BLOCK_START.match(block)
        deep = found[1] if found else ""
        if self._columns(deep) <= self._columns(self._margin):
            raise HpcmakeError(self.empty_block(block.start_pos or 0))

    def empty_block(self, after_colon: int) -> Problem:
        """The problem of a block that is not there, after the colon that should open it."""
        line = self.source.text.rfind("\n", 0, after_colon) + 1
        head = self.source.text[line:after_colon].strip()
        start = self.source.text.index(head, line)
        return messages.empty_block(Span(self.source, start, start + len(head)), head)

    def _check_end_of_block(self, newline: Token) -> None:
        """What follows a block is no deeper than the line that opened it."""
        found = _FIRST_LINE.match(self.source.text, newline.start_pos or 0, self.end)
        if found and found[2] and self._columns(found[1]) > self._columns(self._margin):
            end = found.start(2) + len(found[2].rstrip())
            span = Span(self.source, found.start(2), end)
            raise HpcmakeError(messages.block_indentation(span))

    @property
    def _margin(self) -> str:
        """The indentation of the statement or directive that is being read."""
        return self.style * self.levels[-1]

    @staticmethod
    def _columns(indent: str) -> int:
        """How far a terminal would indent by `indent`, to compare tabs with spaces."""
        return len(indent.expandtabs(8))

    def _check_name(self, token: Token) -> None:
        """Regular expressions take more for letters than a name may have."""
        if not token.isascii() and not token.isidentifier():
            raise HpcmakeError(messages.bad_name(self._span(token), "anything"))

    def _open(self, token: Token) -> None:
        """Brackets hold brackets, but only so many."""
        self.brackets.append(token)
        if len(self.brackets) > MAX_BRACKETS:
            raise HpcmakeError(values.too_deep(self._span(token), MAX_BRACKETS))

    def _close(self, token: Token) -> None:
        """A closing bracket ends the bracket opened last."""
        if not self.brackets:
            raise HpcmakeError(values.stray_bracket(self._span(token)))
        opening = self.brackets.pop()
        if opening != _CLOSING[token.type]:
            span = self._span(opening)
            raise HpcmakeError(values.wrong_bracket(self._span(token), span))

    def _span(self, token: Token) -> Span:
        return Span(self.source, token.start_pos or 0, token.end_pos or 0)
