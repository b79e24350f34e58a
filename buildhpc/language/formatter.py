"""A Pipefile in its standard form.

Made from the words of the file and what stands between them, so that comments and the line
breaks of long lists stay; the result is read again and must say the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from buildhpc.language.layout import Line, Word
from buildhpc.language.parser import parse_lines
from buildhpc.language.walk import same

_INDENT = 4
_OPERANDS = frozenset({"TEXT", "NUMBER", "QUANTITY", "NAME", "RPAR", "RSQB"})
_COMPOUND = frozenset({"RULE", "DEFAULTS", "ON"})
_OPENING = frozenset({"LPAR", "LSQB"})
_CLOSING = frozenset({"RPAR", "RSQB"})
_BLOCK = re.compile(r"([^\n]*)\n(?:[ \t]*\n)*([ \t]+)([\s\S]*)")
_BLANK_END = re.compile(r"(?:\n[ \t]*)+\Z")


def format_text(name: str, text: str | bytes) -> str:
    """The standard form of a Pipefile: same meaning, same comments.

    Raises: messages.syntax, as `parse` does.
    """
    tree, source, lines = parse_lines(name, text)
    old = source.text if source.text.endswith("\n") else source.text + "\n"
    new = _assemble(list(_entries(old, lines)))
    again, _, new_lines = parse_lines(name, new)
    if not same(tree, again) or _comments(old, lines) != _comments(new, new_lines):
        raise RuntimeError(f"the standard form of {name} would not mean the same: a bug")
    return new


@dataclass(frozen=True, slots=True)
class _Entry:
    """Some lines of the result that stand together.

    kind: `comment`, `line`, or `compound` for the first line of a rule and the like.
    blank: whether a blank line comes before.
    """

    kind: str
    depth: int
    text: str
    blank: bool


def _entries(text: str, lines: list[Line]) -> Iterator[_Entry]:
    """The lines and comments of the file in order, in their new form."""
    columns: list[int] = []
    end = 0
    for line in [*lines, None]:
        depth = line.depth if line else 0
        start = line.words[0].start if line else len(text)
        between = text[end:start] if columns else "\n" + text[end:start]
        blank = False
        for column, comment in _own_lines(between):
            if comment:
                yield _Entry("comment", _depth(column, columns, depth), comment, blank)
            blank = not comment
        if line is None:
            return
        margin = text[text.rfind("\n", 0, start) + 1 : start]
        columns = [*columns[:depth], len(margin.expandtabs(8))]
        kind = "compound" if line.words[0].kind in _COMPOUND else "line"
        yield _Entry(kind, depth, _written(text, line), blank)
        last = line.words[-1]
        # The blank lines that a block ends with stand between it and what follows.
        end = last.start + len(_BLANK_END.sub("", text[last.start : last.end]))


def _depth(column: int, columns: list[int], following: int) -> int:
    """How deep a comment belongs: with the line after it, or still with those before.

    columns: of the lines before, by depth.
    """
    deeper = [depth for depth in range(following + 1, len(columns)) if column >= columns[depth]]
    return max(deeper, default=following)


def _assemble(entries: list[_Entry]) -> str:
    """The result: blank lines between rules, never more than one together."""
    blank = [entry.blank for entry in entries]
    for number, entry in enumerate(entries):
        before = entries[number - 1] if number else None
        if before is None or entry.depth > before.depth:
            blank[number] = False
        elif entry.depth == 0 and (before.depth > 0 or before.kind == "compound"):
            blank[number] = True
        elif entry.kind == "compound":
            first = number
            while first > 0 and not blank[first] and _heads(entries[first - 1]):
                first -= 1
            blank[first] = first > 0
    lines: list[str] = []
    for entry, gap in zip(entries, blank, strict=True):
        margin = " " * _INDENT * entry.depth
        lines += [""] * gap + [margin + entry.text]
    return "".join(line + "\n" for line in lines)


def _heads(entry: _Entry) -> bool:
    """Whether what follows `entry` without a blank line is what it speaks of."""
    return entry.kind == "comment" and entry.depth == 0


def _own_lines(between: str) -> Iterator[tuple[int, str]]:
    """Comments and blank lines, by column; blank ones are empty.

    between: from the end of a word to the beginning of another.
    """
    for line in between.split("\n")[1:-1]:
        comment = line.strip(" \t")
        # A line that only joins others is neither.
        if not comment or comment[0] == "#":
            yield len(line.expandtabs(8)) - len(line.expandtabs(8).lstrip(" ")), comment


def _behind(between: str) -> str:
    """The comment at the end of a line, empty without one."""
    comment = between.split("\n", 1)[0].strip(" \t")
    return comment if comment.startswith("#") else ""


def _comments(text: str, lines: list[Line]) -> list[str]:
    """All comments of a file in order, but for those inside blocks."""
    ends = [0]
    found: list[str] = []
    words = [word for line in lines for word in line.words]
    for word in words:
        between = text[ends[-1] : word.start]
        found += [_behind(between), *(comment for _, comment in _own_lines(between))]
        if word.kind == "BLOCK":
            found.append(_behind(text[word.start : word.end]))
        ends.append(word.end)
    last = text[ends[-1] :]
    found += [_behind(last), *(comment for _, comment in _own_lines(last))]
    return [comment for comment in found if comment]


def _written(text: str, line: Line) -> str:
    """A line of the file in its new form; further lines bring their own margin."""
    last = line.words[-1]
    if last.kind == "BLOCK":
        head = replace(line, words=line.words[:-1])
        return _LineWriter(text, head).written() + _block(text[last.start : last.end], line.depth)
    comment = _behind(text[last.end : text.index("\n", last.end) + 1])
    return _LineWriter(text, line).written() + (f"  {comment}" if comment else "")


def _block(block: str, depth: int) -> str:
    """A raw block at its new place, the text in it untouched."""
    found = _BLOCK.match(_BLANK_END.sub("", block))
    assert found is not None  # the grammar sees to it
    comment = found[1].strip(" \t")
    lines = [f"  {comment}" if comment else ""]
    for number, line in enumerate(found[3].split("\n")):
        inner = line if number == 0 else line.removeprefix(found[2])
        # A blank line that is shorter than the indentation says nothing.
        empty = not inner or (number > 0 and inner is line)
        lines.append("" if empty else " " * _INDENT * (depth + 1) + inner)
    return "\n".join(lines)


class _LineWriter:
    """Writes one line of the file, or several that are joined.

    done: lines that are complete; current: the one being written, both with their margin.
    margins: for each open bracket, the columns of what is in it and of what closes it.
    """

    def __init__(self, text: str, line: Line) -> None:
        self.text = text
        self.words = line.words
        self.margin = _INDENT * line.depth
        self.done: list[str] = []
        self.current = " " * self.margin
        self.margins: list[tuple[int, int]] = []

    def written(self) -> str:
        """The line, without the margin of its first line."""
        for number, word in enumerate(self.words):
            if number:
                self._separate(number)
            written = _spelt(word, self.text)
            if word.kind in _OPENING:
                self._open(number)
            elif word.kind in _CLOSING:
                self.margins.pop()
            self.current += written
        return "\n".join([*self.done, self.current])[self.margin :]

    def _separate(self, number: int) -> None:
        """Go on after one word, before another: in the same line, or in a new one."""
        before, word = self.words[number - 1], self.words[number]
        between = self.text[before.end : word.start]
        if "\n" not in between:
            self.current += " " * _spaced(self.words[max(0, number - 2) : number], word)
            return
        inner, closing = self.margins[-1] if self.margins else (self._item_column(), 0)
        comment = _behind(between)
        if comment:
            self.current += f"  {comment}"
        elif not self.margins and before.kind != "_COMMA":
            self.current += " \\"
        self.done.append(self.current)
        for _, own in _own_lines(between):
            if own or self.done[-1]:
                self.done.append(" " * inner + own if own else "")
        self.current = " " * (closing if word.kind in _CLOSING else inner)

    def _open(self, number: int) -> None:
        """Note where the lines inside of a bracket begin."""
        word = self.words[number]
        following = self.words[number + 1].start
        if "\n" in self.text[word.end : following]:
            outer = len(self.current) - len(self.current.lstrip(" "))
            self.margins.append((outer + _INDENT, outer))
        else:
            self.margins.append((len(self.current) + 1, len(self.current)))

    def _item_column(self) -> int:
        """Where further lines begin: below the first item of a directive."""
        colon = self.margin == _INDENT and self.words[1].kind == "_COLON"
        return self.margin + (self.words[0].end - self.words[0].start + 2 if colon else _INDENT)


def _spelt(word: Word, text: str) -> str:
    """A word as it is written: strings in double quotes where that changes nothing else."""
    written = text[word.start : word.end]
    if word.kind == "TEXT" and written[0] == "'" and not {'"', "\\"} & set(written):
        return f'"{written[1:-1]}"'
    return written


def _spaced(before: tuple[Word, ...], word: Word) -> bool:
    """Whether a blank stands between the last of `before` and `word`.

    before: the one or two words before `word`.
    """
    last = before[-1].kind
    if word.kind in ("_COMMA", "_COLON", *_CLOSING) or last in _OPENING or last == "_DOT":
        return False
    if word.kind == "_DOT":
        return last in ("NUMBER", "QUANTITY")
    if word.kind in _OPENING:
        return last not in _OPERANDS
    # A minus that stands before a single value is written close to it.
    return last != "MINUS" or (len(before) > 1 and before[0].kind in _OPERANDS)
