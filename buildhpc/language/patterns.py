"""Paths with wildcards: what matches them, which values that gives, what the values make."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

DEFAULT = r"[^/]+"


@dataclass(frozen=True, slots=True)
class Wild:
    """A wildcard inside a pattern; `regex` is what it matches."""

    name: str
    regex: str = DEFAULT


@dataclass(frozen=True, slots=True)
class Pattern:
    """Literal text and wildcards in turn, e.g. `mapped/`, `{sample}`, `.bam`.

    flags, pin: see `values.Path`.
    """

    parts: tuple[str | Wild, ...]
    flags: tuple[str, ...] = ()
    pin: str | None = None
    _compiled: list[re.Pattern[str]] = field(default_factory=list, compare=False, repr=False)

    def __add__(self, other: object) -> Pattern:
        if not isinstance(other, (str, Pattern)):
            return NotImplemented
        more = other.parts if isinstance(other, Pattern) else (str(other),)
        return Pattern((*self.parts, *more), self.flags)

    def __radd__(self, other: object) -> Pattern:
        if not isinstance(other, str):
            return NotImplemented
        return Pattern((str(other), *self.parts), self.flags)

    def __str__(self) -> str:
        return "".join(p if isinstance(p, str) else "{" + p.name + "}" for p in self.parts)

    @property
    def wildcards(self) -> tuple[str, ...]:
        """Names of the wildcards, each once, in order of appearance."""
        return tuple(dict.fromkeys(p.name for p in self.parts if isinstance(p, Wild)))

    @property
    def prefix(self) -> str:
        """The literal text before the first wildcard."""
        return _literal(self.parts)

    @property
    def suffix(self) -> str:
        """The literal text behind the last wildcard; the whole text where there is none."""
        reverse = [p[::-1] if isinstance(p, str) else p for p in reversed(self.parts)]
        return _literal(reverse)[::-1]

    @property
    def literal_length(self) -> int:
        """How many characters of a match are not a wildcard's."""
        return sum(len(p) for p in self.parts if isinstance(p, str))

    def regex(self) -> re.Pattern[str]:
        """The compiled expression; a wildcard is a group of its name. Raises: re.error."""
        if not self._compiled:
            seen: set[str] = set()
            text = []
            for part in self.parts:
                if isinstance(part, str):
                    text.append(re.escape(part))
                elif part.name in seen:
                    text.append(f"(?P={part.name})")
                else:
                    seen.add(part.name)
                    text.append(f"(?P<{part.name}>{part.regex})")
            self._compiled.append(re.compile("".join(text), re.DOTALL))
        return self._compiled[0]

    def match(self, path: str) -> dict[str, str] | None:
        """The wildcards' values that make `path`, None where there are none."""
        found = self.regex().fullmatch(path)
        if found is None:
            return None
        return {name: found[name] for name in self.wildcards}

    def format(self, names: Sequence[str]) -> Callable[..., str]:
        """A function from the values of the wildcards `names`, in that order, to the path."""
        pieces = [
            part.replace("{", "{{").replace("}", "}}")
            if isinstance(part, str)
            else "{" + str(names.index(part.name)) + "}"
            for part in self.parts
        ]
        return "".join(pieces).format


def pattern(parts: Sequence[str | Wild], flags: tuple[str, ...] = ()) -> Pattern:
    """A pattern with neighbouring literals joined and its path in the standard form."""
    return Pattern(tuple(_normal(_joined(parts))), flags)


def pattern_part(parts: Sequence[str | Wild]) -> Pattern:
    """A pattern that others are put to first: as it is written, but for neighbours joined."""
    return Pattern(tuple(_joined(parts)))


def _joined(parts: Sequence[str | Wild]) -> list[str | Wild]:
    joined: list[str | Wild] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def _normal(parts: list[str | Wild]) -> list[str | Wild]:
    """`parts` as `normal` would make the path: marks stand for the wildcards meanwhile."""
    wilds = [part for part in parts if isinstance(part, Wild)]
    text = normal("".join(part if isinstance(part, str) else "\0" for part in parts))
    if text.count("\0") != len(wilds):  # `{x}/..` took a wildcard with it
        return parts
    normalized: list[str | Wild] = []
    for index, piece in enumerate(text.split("\0")):
        if index:
            normalized.append(wilds[index - 1])
        if piece:
            normalized.append(piece)
    return normalized


def normal(path: str) -> str:
    """One spelling for one file: `./a`, `x/../a`, `a//b` and `a/` made plain; links unread."""
    if "/." not in path and "//" not in path and path[:1] != "." and path[-1:] != "/":
        return path
    absolute = path.startswith("/")
    parts: list[str] = []
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part != ".." or not absolute:
            parts.append(part)
    plain = "/".join(parts)
    return "/" + plain if absolute else plain or "."


def find(
    pattern: Pattern, list_folder: Callable[[str], Sequence[str]]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Existing paths that match, each with its wildcards' values, sorted by path.

    list_folder: folder -> names in it; empty for what is no folder.
    """
    folder, _, rest = pattern.prefix.rpartition("/")
    start = folder or ("/" if pattern.prefix.startswith("/") else "")
    crosses = any(isinstance(p, Wild) and _crosses(p.regex) for p in pattern.parts)
    depth = str(pattern).count("/") - (folder.count("/") + 1 if folder else 0)
    open_folders = [(start, 0)]
    found = []
    while open_folders:
        here, level = open_folders.pop()
        last = level >= depth and not crosses
        for name in list_folder(here or "."):
            if level == 0 and not name.startswith(rest):
                continue
            path = f"{here.rstrip('/')}/{name}" if here else name
            if (crosses or level == depth) and (values := pattern.match(path)) is not None:
                found.append((path, values))
            if not last:
                open_folders.append((path, level + 1))
    return iter(sorted(found))


def _crosses(regex: str) -> bool:
    """Whether a wildcard's expression may match a `/`."""
    return regex != DEFAULT and bool(re.search(r"\.|/|\[\^|\\[^dw.\-_]", regex))


def _literal(parts: Sequence[str | Wild]) -> str:
    text = ""
    for part in parts:
        if not isinstance(part, str):
            break
        text += part
    return text
