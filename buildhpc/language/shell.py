"""Shell blocks: which braces are ours, which are bash's, and how a value is quoted in each place.

Source of the quoting rules: bash reference manual 5.2, sections 3.1.2 and 3.6.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from buildhpc.diagnostics import Span
from buildhpc.language.braces import Field, fields_of


class Quoting(Enum):
    """Where in bash's text a place lies."""

    PLAIN = "plain"
    DOUBLE = "double"
    SINGLE = "single"
    ANSI = "ansi"
    HEREDOC = "heredoc"
    LITERAL = "literal"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True)
class Slot:
    """A field of a shell block and the quotes it stands in."""

    field: Field
    quoting: Quoting


_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+", re.ASCII)
_HEREDOC = re.compile(r"<<(-?)[ \t]*(\\?)(?:'([^'\n]+)'|\"([^\"\n]+)\"|([\w.+-]+))")
_WORD_BREAK = " \t\n;&|()<>"


def quote(value: str, quoting: Quoting) -> str:
    """`value` such that bash reads exactly it in a place of this kind."""
    if quoting is Quoting.PLAIN:
        return value if _SAFE.fullmatch(value) else "'" + value.replace("'", "'\"'\"'") + "'"
    if quoting is Quoting.SINGLE:
        return value.replace("'", "'\\''")
    if quoting is Quoting.DOUBLE:
        return re.sub(r'([\\"$`])', r"\\\1", value)
    if quoting is Quoting.HEREDOC:
        return re.sub(r"([\\$`])", r"\\\1", value)
    if quoting is Quoting.ANSI:
        return re.sub(r"([\\'])", r"\\\1", value)
    return value


def slots_of(text: str, locate: Callable[[int, int], Span]) -> list[str | Slot]:
    """Split a block into literal text and slots.

    locate: (start, end) offsets into `text` -> their span in the file.
    Braces in comments and in `${...}` are bash's; `{{name}}` stands for `{name}`.
    """
    bare = Span(locate(0, 0).source, 0, 0)
    parts: list[str | Slot] = []
    at = 0
    stretches = places(text)
    covered, quoting, bash = next(stretches)
    for part in fields_of(text, bare):
        length = len(part) if isinstance(part, str) else part.span.end - part.span.start
        start, at = at, at + length
        if isinstance(part, str):
            parts.append(part)
            continue
        while covered <= start:
            covered, quoting, bash = next(stretches)
        mine = not bash and quoting is not Quoting.COMMENT and text[start - 1 : start] != "$"
        if mine:
            field = Field(locate(start, at), part.name, part.steps, part.conversion)
            parts.append(Slot(field, quoting))
        else:
            parts.append(text[start:at])
    return parts


def places(text: str) -> Iterator[tuple[int, Quoting, bool]]:
    """Stretches of `text` in order: where each ends, its quoting, and whether it is `${...}`."""
    scanner = _Scanner(text)
    while scanner.at < len(text):
        before = scanner.quoting
        start = scanner.at
        bash = scanner.step()
        if scanner.body is not None:  # the newline, then the here-documents behind it
            for end, kind in scanner.body:
                yield end, kind, False
            scanner.body = None
        elif scanner.at > start:
            yield scanner.at, before, bash
    yield len(text) + 1, Quoting.PLAIN, False


class _Scanner:
    """Walks bash's text and knows the quotes around `at`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.stack: list[tuple[Quoting, str]] = [(Quoting.PLAIN, "")]
        self.waiting: list[tuple[str, bool, Quoting]] = []
        self.body: list[tuple[int, Quoting]] | None = None

    @property
    def quoting(self) -> Quoting:
        """The quoting of the character at `at`."""
        return self.stack[-1][0]

    def step(self) -> bool:
        """Go on by one construct; whether it was a `${...}`."""
        quoting, closer = self.stack[-1]
        char = self.text[self.at]
        if quoting is Quoting.SINGLE:
            return self._until("'")
        if quoting is Quoting.COMMENT:
            if char == "\n":
                self.stack.pop()
                return False
            self.at += 1
            return False
        if char == "\\":
            self.at = min(self.at + 2, len(self.text))
            return False
        if quoting is Quoting.ANSI:
            return self._until("'")
        if self.text.startswith("${", self.at):
            self.at = _closing_brace(self.text, self.at + 1)
            return True
        if self.text.startswith("$(", self.at) and not self.text.startswith("$((", self.at):
            return self._push(Quoting.PLAIN, ")", 2)
        if char == "`":
            return self._pop(1) if closer == "`" else self._push(Quoting.PLAIN, "`", 1)
        if quoting is Quoting.DOUBLE:
            return self._pop(1) if char == '"' else self._go(1)
        return self._plain(char, closer)

    def _plain(self, char: str, closer: str) -> bool:
        text, at = self.text, self.at
        if char == "'":
            return self._push(Quoting.SINGLE, "'", 1)
        if char == '"':
            return self._push(Quoting.DOUBLE, '"', 1)
        if text.startswith("$'", at):
            return self._push(Quoting.ANSI, "'", 2)
        if char == "(":
            return self._push(Quoting.PLAIN, ")", 1)
        if char == ")" and closer == ")":
            return self._pop(1)
        if char == "#" and (at == 0 or text[at - 1] in _WORD_BREAK):
            self.stack.append((Quoting.COMMENT, "\n"))
            return False
        if text.startswith("<<<", at):
            return self._go(3)
        arithmetic = text.rfind("((", 0, at) > text.rfind("))", 0, at)
        if char == "<" and not arithmetic and (match := _HEREDOC.match(text, at)):
            word = match[3] or match[4] or match[5]
            quoted = bool(match[2] or match[3] or match[4])
            kind = Quoting.LITERAL if quoted else Quoting.HEREDOC
            self.waiting.append((word, bool(match[1]), kind))
            return self._go(match.end() - at)
        if char == "\n" and self.waiting:
            self._documents()
            return False
        return self._go(1)

    def _documents(self) -> None:
        """Pass the newline and the bodies of the here-documents that begin behind it."""
        self.at += 1
        self.body = [(self.at, Quoting.PLAIN)]
        for word, tabs, kind in self.waiting:
            while self.at < len(self.text):
                end = self.text.find("\n", self.at)
                end = len(self.text) if end < 0 else end
                line = self.text[self.at : end]
                self.at = min(end + 1, len(self.text))
                if (line.lstrip("\t") if tabs else line) == word:
                    break
            self.body.append((self.at, kind))
        self.waiting = []

    def _until(self, closer: str) -> bool:
        if self.text[self.at] == closer:
            self.stack.pop()
        self.at += 1
        return False

    def _go(self, count: int) -> bool:
        self.at += count
        return False

    def _push(self, quoting: Quoting, closer: str, count: int) -> bool:
        self.stack.append((quoting, closer))
        return self._go(count)

    def _pop(self, count: int) -> bool:
        self.stack.pop()
        return self._go(count)


def _closing_brace(text: str, at: int) -> int:
    """The offset behind the `}` that closes the `{` at `at`; the end where none does."""
    depth = 0
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                return at + 1
        at += 1
    return len(text)
