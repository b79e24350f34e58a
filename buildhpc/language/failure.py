"""Where reading a text stopped, and what stood around it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildhpc.diagnostics import Source, Span

if TYPE_CHECKING:
    from lark import Token

_WORD = re.compile(r"[^\W\d]\w*|[0-9][\w.]*|\"[^\"\n]*\"|'[^'\n]*'|[=!<>]=|.")


@dataclass(frozen=True, slots=True)
class Failure:
    """Where reading stopped.

    at: the place of the word that does not belong there.
    kind: what sort of word it is, empty for characters that are no word.
    line: the words before it in its line, joined lines counting as one.
    before: the words of the line before that.
    expected: the sorts of words that could stand there.
    brackets: those open there.
    """

    source: Source
    at: int
    kind: str
    line: tuple[Token, ...]
    before: tuple[Token, ...]
    expected: frozenset[str]
    brackets: tuple[Token, ...]

    @property
    def word(self) -> Span:
        """The word that does not belong there."""
        found = _WORD.match(self.source.text, self.at)
        return Span(self.source, self.at, found.end() if found else self.at)

    @property
    def shown(self) -> str:
        """The text of that word."""
        return self.word.text

    @property
    def rest(self) -> str:
        """What follows from there on in the line."""
        return self.source.text[self.at : self.line_end]

    @property
    def line_end(self) -> int:
        """Where the line as typed ends."""
        end = self.source.text.find("\n", self.at)
        return len(self.source.text) if end < 0 else end

    @property
    def line_start(self) -> int:
        """Where the line as typed begins."""
        return self.source.text.rfind("\n", 0, self.at) + 1

    @property
    def last(self) -> str:
        """What sort of word the last one in the line is, empty without one."""
        return self.line[-1].type if self.line else ""

    def over(self, *words: Token) -> Span:
        """The span from the first to the last of `words`."""
        return Span(self.source, words[0].start_pos or 0, words[-1].end_pos or 0)
