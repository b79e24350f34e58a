"""What a user is told when something is wrong: a problem, its place, its cure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Source:
    """A text that spans point into.

    name: how a message calls it, e.g. `Pipefile` or `--set`.
    text: without a byte-order mark, lines ended by one newline character each.
    """

    name: str
    text: str

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column of `offset`, both counted from 1."""
        start = self.text.rfind("\n", 0, offset) + 1
        return self.text.count("\n", 0, offset) + 1, offset - start + 1

    def line(self, number: int) -> str:
        """The text of a line counted from 1, without its end."""
        lines = self.text.split("\n")
        return lines[number - 1] if number <= len(lines) else ""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a source: offsets into its text, `end` excluded."""

    source: Source
    start: int
    end: int

    @property
    def place(self) -> str:
        """`file:line:column`, as editors understand it."""
        line, column = self.source.position(self.start)
        return f"{self.source.name}:{line}:{column}"

    @property
    def text(self) -> str:
        """The characters the span covers."""
        return self.source.text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Note:
    """A second line or a second place of a problem.

    kind: `needed by`, `note`, `help`, ... : what stands before the colon.
    """

    kind: str
    text: str
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    slug: stands for this kind of problem for ever, e.g. `no-rule`.
    text: true without the rest; lower case, no full stop.
    """

    slug: str
    text: str
    span: Span | None = None
    notes: tuple[Note, ...] = ()
    severity: Literal["error", "warning"] = "error"


class HpcmakeError(Exception):
    """What users see: one or more problems, and the exit code they lead to.

    exit_code: 1 a job failed; 2 the Pipefile, the call or the request is wrong; 3 the
        lock or the scheduler could not be had.
    """

    def __init__(self, problems: Problem | Iterable[Problem], exit_code: int = 2) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        self.exit_code = exit_code
        super().__init__("\n\n".join(render(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[Any, ...]:
        # By its text alone, as other exceptions go, it could not be made again in another process.
        return type(self), (self.problems, self.exit_code)


class Collecting:
    """A `with` block whose HpcmakeError is kept, not raised."""

    def __init__(self, found: list[Problem]) -> None:
        self._found = found

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: object, _trace: object) -> bool:
        if isinstance(error, HpcmakeError):
            self._found.extend(error.problems)
            return True
        return False


def render(problem: Problem) -> str:
    """The text of a problem as the terminal shows it, without a last newline."""
    lines = [f"{problem.severity}[{problem.slug}]: {problem.text}"]
    gutter = ""
    if problem.span is not None:
        excerpt = _excerpt(problem.span)
        gutter = " " * (excerpt[1].index("|") - 1)
        lines += excerpt
    for note in problem.notes:
        first, *more = note.text.split("\n")
        lead = f"{gutter} = {note.kind}: "
        lines.append(lead + first)
        lines += [" " * len(lead) + line if line else "" for line in more]
        if note.span is not None:
            lines += [gutter + line for line in _excerpt(note.span)]
    return "\n".join(lines)


def _excerpt(span: Span) -> list[str]:
    """The place, the line as typed, and carets under the guilty part."""
    number, column = span.source.position(span.start)
    text = span.source.line(number)
    width = len(str(number))
    carets = max(1, min(span.end - span.start, len(text) - column + 1))
    # Tabs are kept in the padding so that the carets stand right however wide a tab is.
    padding = "".join("\t" if c == "\t" else " " for c in text[: column - 1])
    blank = " " * width
    return [
        f"{blank}--> {span.place}",
        f"{blank} |",
        f"{number} | {text}",
        f"{blank} | {padding}{'^' * carets}",
    ]


def nearest(word: str, known: Iterable[str], limit: int = 1) -> list[str]:
    """The known names most like `word`, best first; empty when none is close."""
    import difflib

    names = sorted(set(known))
    folded = {name.casefold(): name for name in reversed(names)}
    close = difflib.get_close_matches(word.casefold(), folded, n=limit, cutoff=0.6)
    return [folded[name] for name in close]
