"""Shell blocks: which braces are ours, which are bash's, and how a value is quoted in each place.

Source of the quoting rules: bash reference manual 5.2, sections 3.1.2 and 3.6.6.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

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
    """A field of a shell block, the quotes and the number of backticks that it stands in."""

    field: Field
    quoting: Quoting
    backticks: int = 0


class Place(NamedTuple):
    """A stretch of a block up to `end`. bash: it is a `${...}`, and nothing in it is ours."""

    end: int
    quoting: Quoting
    bash: bool = False
    backticks: int = 0


_SAFE = re.compile(r"[A-Za-z0-9_@%+=:,./-]+", re.ASCII)
_HEREDOC = re.compile(r"<<(-?)[ \t]*(\\?)(?:'([^'\n]+)'|\"([^\"\n]+)\"|([\w.+-]+))")
_WORD_BREAK = " \t\n;&|()<>"
_CASE = re.compile(r"case\s[^\n;]*?\sin(?!\w)")
# Kinds of text that nothing but their end interrupts; what opens another kind in plain text.
_ENDED_BY = {Quoting.SINGLE: "'", Quoting.COMMENT: "\n"}
_OPENED_BY = {
    "'": (Quoting.SINGLE, "'"),
    '"': (Quoting.DOUBLE, '"'),
    "$'": (Quoting.ANSI, "'"),
    "(": (Quoting.PLAIN, ")"),
}
_ESAC = re.compile(r"esac(?!\w)")


def quote(value: str, quoting: Quoting, backticks: int = 0) -> str:
    """`value` such that bash reads exactly it in a place of this kind.

    backticks: how many substitutions in backticks the place is in; each takes a backslash away.
    """
    quoted = _quoted(value, quoting)
    for _ in range(backticks):
        quoted = re.sub(r"([\\`])", r"\\\1", quoted)
    return quoted


def _quoted(value: str, quoting: Quoting) -> str:
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
    place = next(stretches)
    for part in fields_of(text, bare):
        length = len(part) if isinstance(part, str) else part.span.end - part.span.start
        start, at = at, at + length
        if isinstance(part, str):
            parts.append(part)
            continue
        while place.end <= start:
            place = next(stretches)
        comment = place.quoting is Quoting.COMMENT
        mine = not place.bash and not comment and text[start - 1 : start] != "$"
        if mine:
            field = Field(locate(start, at), part.name, part.steps, part.conversion)
            parts.append(Slot(field, place.quoting, place.backticks))
        else:
            parts.append(text[start:at])
    return parts


def places(text: str) -> Iterator[Place]:
    """The stretches of a block in order; the last ends behind it."""
    yield from _stretches(_Scanner(text))
    yield Place(len(text) + 1, Quoting.PLAIN)


def _stretches(scanner: _Scanner) -> Iterator[Place]:
    while scanner.at < len(scanner.text):
        quoting, backticks = scanner.quoting, scanner.backticks
        start = scanner.at
        bash = scanner.step()
        if scanner.body is not None:  # the newline, then the here-documents behind it
            for end, kind in scanner.body:
                if kind is Quoting.HEREDOC:
                    yield from _stretches(_Scanner(scanner.text[:end], start, kind))
                yield Place(end, kind)
                start = end
            scanner.body = None
        elif scanner.at > start:
            yield Place(scanner.at, quoting, bash, backticks)


class _Scanner:
    """Walks bash's text and knows the quotes around `at`."""

    def __init__(self, text: str, at: int = 0, quoting: Quoting = Quoting.PLAIN) -> None:
        self.text = text
        self.at = at
        self.stack: list[tuple[Quoting, str]] = [(quoting, "")]
        # How deep the stack is where a `case` is open: there, a `)` may end a pattern.
        self.cases: list[int] = []
        self.waiting: list[tuple[str, bool, Quoting]] = []
        self.body: list[tuple[int, Quoting]] | None = None

    @property
    def quoting(self) -> Quoting:
        """The quoting of the character at `at`."""
        return self.stack[-1][0]

    @property
    def backticks(self) -> int:
        """How many substitutions in backticks are open."""
        return sum(closer == "`" for _, closer in self.stack)

    def step(self) -> bool:
        """Go on by one construct; whether it was a `${...}`."""
        quoting, closer = self.stack[-1]
        char = self.text[self.at]
        if quoting in _ENDED_BY:
            self._until(_ENDED_BY[quoting])
        elif char == "\\":
            self._go(2)
        elif quoting is Quoting.ANSI:
            self._until("'")
        elif self.text.startswith("${", self.at):
            document = quoting is Quoting.HEREDOC
            self.at = _closing_brace(self.text, self.at + 2, document=document)
            return True
        else:
            self._outside(quoting, char, closer)
        return False

    def _outside(self, quoting: Quoting, char: str, closer: str) -> None:
        """Go on where bash substitutes: anywhere but in single quotes and comments."""
        if self.text.startswith("$(", self.at) and not self.text.startswith("$((", self.at):
            self._push(Quoting.PLAIN, ")", 2)
        elif char == "`":
            self._pop() if closer == "`" else self._push(Quoting.PLAIN, "`", 1)
        elif quoting is Quoting.DOUBLE and char == '"':
            self._pop()
        elif quoting is Quoting.PLAIN:
            self._plain(char, closer)
        else:
            self._go(1)

    def _plain(self, char: str, closer: str) -> None:
        text, at = self.text, self.at
        if at == 0 or text[at - 1] in _WORD_BREAK:
            self._word()
        if opened := next((each for each in _OPENED_BY if text.startswith(each, at)), None):
            self._push(*_OPENED_BY[opened], len(opened))
        elif char == ")" and closer == ")" and len(self.stack) not in self.cases[-1:]:
            self._pop()
        elif char == "#" and (at == 0 or text[at - 1] in _WORD_BREAK):
            self._push(Quoting.COMMENT, "\n", 0)
        elif char == "<":
            self._redirection()
        elif char == "\n" and self.waiting:
            self._documents()
        else:
            self._go(1)

    def _redirection(self) -> None:
        """Pass a `<`, and note the here-document that it may begin."""
        text, at = self.text, self.at
        arithmetic = text.rfind("((", 0, at) > text.rfind("))", 0, at)
        match = None if arithmetic else _HEREDOC.match(text, at)
        if text.startswith("<<<", at):
            self._go(3)
        elif match:
            word = match[3] or match[4] or match[5]
            quoted = bool(match[2] or match[3] or match[4])
            kind = Quoting.LITERAL if quoted else Quoting.HEREDOC
            self.waiting.append((word, bool(match[1]), kind))
            self._go(match.end() - at)
        else:
            self._go(1)

    def _word(self) -> None:
        """Note where a `case` begins and ends."""
        depth = len(self.stack)
        while self.cases and self.cases[-1] > depth:
            self.cases.pop()
        if _CASE.match(self.text, self.at):
            self.cases.append(depth)
        elif self.cases[-1:] == [depth] and _ESAC.match(self.text, self.at):
            self.cases.pop()

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

    def _until(self, closer: str) -> None:
        if self.text[self.at] == closer:
            self.stack.pop()
            if closer == "\n":
                return  # here-documents may begin behind it
        self._go(1)

    def _go(self, count: int) -> None:
        self.at = min(self.at + count, len(self.text))

    def _push(self, quoting: Quoting, closer: str, count: int) -> None:
        self.stack.append((quoting, closer))
        self._go(count)

    def _pop(self) -> None:
        self.stack.pop()
        self._go(1)


def _closing_brace(text: str, at: int, *, document: bool) -> int:
    """The offset behind the `}` that closes the `${` before `at`; the end where none does.

    document: it stands in a here-document, where a single quote in it is a letter.
    """
    open_ = ['"', "}"] if document else ["}"]
    bottom = len(open_)
    while at < len(text):
        char, closer = text[at], open_[-1]
        if char == "\\" and closer != "'":
            at += 1
        elif char == closer:
            open_.pop()
            if len(open_) < bottom:
                return at + 1
        elif closer != "'":
            context = next((each for each in reversed(open_) if each != "}"), ")")
            if text.startswith(("${", "$("), at):
                open_.append("}" if text[at + 1] == "{" else ")")
                at += 1
            elif char == '"' or (char == "'" and context == ")"):
                open_.append(char)
        at += 1
    return len(text)
