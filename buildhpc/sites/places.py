"""Reads `hpcmake.toml` so that every value keeps the place where it stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from buildhpc.diagnostics import Source, Span
from buildhpc.messages import sites as messages

# Names from the top of the file down to a value; numbers count the items of a list.
Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_PLAIN = re.compile(r"[^,\]}\n#]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|' r"'''.*?'{3,5}|" r'"(?:[^"\\\n]|\\.)*"|' r"'[^'\n]*'", re.DOTALL
)
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands, and its name before it."""

    key: Span
    value: Span


@dataclass(frozen=True, slots=True)
class Layer:
    """What a file says, and where; one over another gives a layer again."""

    values: Mapping[str, Any]
    places: Mapping[Path, Place]

    def over(self, below: Layer) -> Layer:
        """This layer on top of another, key by key; lists are replaced whole."""
        return Layer(_merged(below.values, self.values), {**below.places, **self.places})


EMPTY = Layer({}, {})


def parse(name: str, text: str) -> Layer:
    """The layer that the text of a file holds. Raises: messages.bad_toml."""
    source = Source(name, text.removeprefix("\ufeff").replace("\r\n", "\n"))
    try:
        values = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        raise messages.bad_toml(*_told(source, str(error))) from None
    places: dict[Path, Place] = {}
    for path, place in _Scanner(source).places():
        places.setdefault(path, place)
    return Layer(values, places)


def _told(source: Source, text: str) -> tuple[str, Span]:
    """What the parser says, and where it says it."""
    found = _AT.search(text)
    offset = len(source.text.rstrip("\n"))
    if found and found[1]:
        lines = source.text.split("\n")
        offset = sum(len(line) + 1 for line in lines[: int(found[1]) - 1]) + int(found[2]) - 1
    cause = text[: found.start()] if found else text
    return cause[:1].lower() + cause[1:], Span(source, offset, offset + 1)


def _merged(below: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in over.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[key] = _merged(old or {}, value) if both else value
    return result


class _Scanner:
    """Finds the places of all values in a text that is known to be TOML."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._text = source.text
        self._at = 0
        self._lists: dict[Path, int] = {}

    def places(self) -> Iterator[tuple[Path, Place]]:
        """Path and place of each value, in order; that of a table whenever it is named."""
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table, places = self._header()
                yield from places
            else:
                yield from self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> tuple[Path, list[tuple[Path, Place]]]:
        double = self._text.startswith("[[", self._at)
        start, self._at = self._at, self._at + 1 + double
        names, keys = self._name()
        self._at = self._text.index("]", self._at) + 1 + double
        if double:
            path = self._resolved(names[:-1]) + names[-1:]
            self._lists[path] = self._lists.get(path, -1) + 1
        whole = Span(self._source, start, self._at)
        paths = [self._resolved(names[: number + 1]) for number in range(len(names))]
        places = [(path, Place(key, whole)) for path, key in zip(paths, keys, strict=True)]
        lists = [(path[:-1], place) for path, place in places if isinstance(path[-1], int)]
        return paths[-1], [*lists, *places]

    def _resolved(self, names: Path) -> Path:
        """A path in which lists of tables have the number of their last item."""
        path: Path = ()
        for name in names:
            path += (name,)
            if path in self._lists:
                path += (self._lists[path],)
        return path

    def _pair(self, table: Path) -> Iterator[tuple[Path, Place]]:
        names, keys = self._name()
        self._skip(_SPACE)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        start = self._at
        inner = list(self._value(table + names))
        value = Span(self._source, start, self._at)
        for number, key in enumerate(keys):
            yield table + names[: number + 1], Place(key, value)
        yield from inner

    def _name(self) -> tuple[Path, list[Span]]:
        """Names with dots between them, and where each stands."""
        names: Path = ()
        spans = []
        while True:
            self._skip(_SPACE)
            start, text = self._at, self._skip(_KEY)
            names += (_bare(text),)
            spans.append(Span(self._source, start, self._at))
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return names, spans
            self._at += 1

    def _value(self, path: Path) -> Iterator[tuple[Path, Place]]:
        first = self._text[self._at]
        if first in "\"'":
            self._skip(_STRING)
        elif first == "[":
            yield from self._items("]", lambda number: self._item((*path, number)))
        elif first == "{":
            yield from self._items("}", lambda _: self._pair(path))
        else:
            text = self._skip(_PLAIN)
            self._at -= len(text) - len(text.rstrip())

    def _items(
        self, end: str, read: Callable[[int], Iterator[tuple[Path, Place]]]
    ) -> Iterator[tuple[Path, Place]]:
        self._at += 1
        number = 0
        self._skip(_BLANK)
        while self._text[self._at] != end:
            yield from read(number)
            number += 1
            self._skip(_BLANK)
            if self._text[self._at] == ",":
                self._at += 1
                self._skip(_BLANK)
        self._at += 1

    def _item(self, path: Path) -> Iterator[tuple[Path, Place]]:
        start = self._at
        inner = list(self._value(path))
        span = Span(self._source, start, self._at)
        yield path, Place(span, span)
        yield from inner

    def _skip(self, pattern: re.Pattern[str]) -> str:
        """Pass over what matches; its text."""
        found = pattern.match(self._text, self._at)
        text = found[0] if found else ""
        self._at += len(text)
        return text


def _bare(key: str) -> str:
    """The name that a key spells."""
    if key.startswith("'"):
        return key[1:-1]
    return str(tomllib.loads(f"x = {key}")["x"]) if key.startswith('"') else key
