"""Which rules could make a path: patterns in buckets, so that more rules cost no more time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from buildhpc.language.patterns import Pattern
from buildhpc.rules.model import Rule


class Candidate(NamedTuple):
    """A rule that could make a path, and the values of its wildcards that do.

    free: characters of the path that wildcards matched; fewer is more specific, 0 is literal.
    pattern: of the output; None where a rule is asked for by its name.
    """

    free: int
    rule: Rule
    values: tuple[str, ...]
    pattern: Pattern | None


class PatternIndex:
    """Output patterns by what is literal in them: whole path, folder, last name, ending."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._literal: dict[str, list[Candidate]] = {}
        self._buckets: dict[tuple[str | None, str | None], list[tuple[Rule, Pattern]]] = {}
        self.has_directories = False
        for rule in rules:
            for pattern in rule.patterns():
                self.has_directories |= "directory" in pattern.flags
                if pattern.wildcards:
                    self._buckets.setdefault(_bucket(pattern), []).append((rule, pattern))
                else:
                    path = str(pattern)
                    self._literal.setdefault(path, []).append(Candidate(0, rule, (), pattern))

    def candidates(self, path: str) -> list[Candidate]:
        """All that could make `path`, the most specific first."""
        found = list(self._literal.get(path, ()))
        folder, _, name = path.rpartition("/")
        ending = _ending(name)
        for key in ((folder, ending), (folder, None), (None, ending), (None, None)):
            for rule, pattern in self._buckets.get(key, ()):
                match = pattern.regex().fullmatch(path)
                if match is not None:
                    values = tuple(match[name] for name in rule.wildcards)
                    free = len(path) - pattern.literal_length
                    found.append(Candidate(free, rule, values, pattern))
        if len(found) > 1:
            found.sort(key=lambda candidate: (candidate.free, candidate.rule.order))
        return found

    def folder_makers(self, path: str) -> list[Candidate]:
        """What could make a folder above `path` as a `directory(...)` output, nearest first."""
        if not self.has_directories:
            return []
        folder = path.rpartition("/")[0]
        while folder:
            found = [c for c in self.candidates(folder) if c.pattern and "directory" in c.pattern.flags]
            if found:
                return found
            folder = folder.rpartition("/")[0]
        return []


def _bucket(pattern: Pattern) -> tuple[str | None, str | None]:
    """Folder and ending that every match has, None for what a wildcard may change."""
    prefix, suffix = pattern.prefix, pattern.suffix
    rest = str(pattern)[len(prefix) :]
    crossing = any(
        not isinstance(part, str) and not _stays(part.regex) for part in pattern.parts
    )
    folder = None if "/" in rest or crossing else prefix.rpartition("/")[0]
    ending = _ending(suffix) if "." in suffix.rpartition("/")[2] else None
    return folder, ending


def _stays(regex: str) -> bool:
    """Whether a wildcard's expression surely matches no `/`."""
    if regex == r"[^/]+":
        return True
    return not any(sign in regex for sign in ("/", ".", "[^", "\\S", "\\W", "\\D", "\\x", "\\u"))


def _ending(name: str) -> str | None:
    dot = name.rfind(".")
    return name[dot:] if dot >= 0 else None
