"""The jobs of a list as they are added; the standard library is all that this needs."""

from __future__ import annotations

import functools
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from buildhpc.diagnostics import Source, Span
from buildhpc.messages import joblist as messages

Path: TypeAlias = str | os.PathLike[str]
Paths: TypeAlias = Path | Sequence[Path] | Mapping[str, Path | Sequence[Path]]
Work: TypeAlias = str | Sequence[str] | Callable[..., object]
# Set by a worker while it imports the file of its function.
IMPORTING = "HPCMAKE_IMPORTING"

Flag = Literal["temp", "protected", "directory", "touch", "nonempty", "atomic"]

# What a job may be told to need, besides the directives that say what it is.
_NOT_NEEDS = {
    *("input", "output", "where", "when", "args", "params", "log"),
    *("shell", "script", "python", "call"),
}


class FlaggedPath(str):
    """An output with what is asked of it; `flags` as in a Pipefile."""

    __slots__ = ("flags",)
    flags: tuple[str, ...]


def flagged(path: str, *flags: Flag) -> FlaggedPath:
    """An output of which more is asked than to be there.

    flags: `temp`: removed once nothing needs it; `protected`: made read-only; `directory`;
    `touch`: made by hpcmake on success; `nonempty`: an empty file is a failure; `atomic`: the
    job's `{output}` is a private name, renamed into place on success.
    """
    made = FlaggedPath(path)
    made.flags = (*getattr(path, "flags", ()), *flags)
    return made


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a Python file, or of a cell of a notebook."""

    file: str
    line: int

    def span(self) -> Span:
        """The line, for messages."""
        import linecache

        linecache.checkcache(self.file)
        lines = linecache.getlines(self.file)
        # What tells one text of the file from the next; of a cell of a notebook all stay.
        stamp = linecache.cache.get(self.file, ())[:2]
        source, starts = _source(self.file, os.getcwd(), stamp)
        if self.line > len(lines):
            return Span(Source(source.name, "\n" * (self.line - 1)), self.line - 1, self.line)
        text, start = lines[self.line - 1], starts[self.line - 1]
        lead = len(text) - len(text.lstrip())
        return Span(source, start + lead, start + len(text.rstrip()))


@functools.lru_cache(maxsize=8)
def _source(file: str, here: str, stamp: object) -> tuple[Source, list[int]]:  # noqa: ARG001
    """The text of a file as messages show it, and where each of its lines begins.

    stamp: what tells that text from the next.
    """
    import linecache

    beside = os.path.relpath(file, here)
    plain = [line.rstrip("\n") for line in linecache.getlines(file)]
    starts = [0, *itertools.accumulate(len(line) + 1 for line in plain)]
    return Source(file if beside.startswith("..") else beside, "\n".join(plain)), starts


@dataclass(frozen=True, slots=True)
class Entry:
    """A job of a list.

    name: e.g. `map/s1`, the subtask `s1` of the task `map`. work: a command, as text or as words,
    or a function. arguments: its keyword arguments. directives: what it needs.
    """

    name: str
    work: Work
    arguments: Mapping[str, Any]
    after: tuple[str, ...]
    inputs: Paths
    outputs: Paths
    place: Place
    directives: dict[str, Any] = field(default_factory=dict)

    def needs(self, **directives: object) -> Entry:
        """Say what the job needs, by the names of a Pipefile's directives.

        directives: `cores=4`, `mem="4G"` (of the whole job), `time="1h30m"`, `gpus=1`,
        `retries=2`, `env={"A": "b"}`, `resources={"licence": 1}`, `partition="long"`, ...
        Raises: HpcmakeError
        """
        check_needs(directives, self.place)
        self.directives.update(directives)
        return self


def check_needs(directives: Mapping[str, object], place: Place) -> None:
    """Whether each is a directive that says what a job needs. Raises: HpcmakeError."""
    from buildhpc.rules.directives import DIRECTIVES, FOREIGN

    for name in directives:
        if name in _NOT_NEEDS or name not in DIRECTIVES:
            known = DIRECTIVES.keys() - _NOT_NEEDS
            raise messages.unknown_need(name, known, FOREIGN.get(name), place.span())


class Entries:
    """Jobs in the order in which they were added, each with a name of its own.

    logs: a folder for what each attempt prints: `LOGS/NAME.ATTEMPT.out` and `.err`; None: it is
        kept in the state. log_file: a file that what functions log through `logging` is added
        to, from `log_level` up. defaults: what every job needs; see `Entry.needs`.
    """

    def __init__(
        self,
        *,
        logs: Path | None = None,
        log_file: Path | None = None,
        log_level: str = "INFO",
        **defaults: object,
    ) -> None:
        check_needs(defaults, caller())
        self.logs = None if logs is None else os.fspath(logs)
        self.log_file = None if log_file is None else os.fspath(log_file)
        self.log_level = log_level
        self.defaults = defaults
        self._entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def add(
        self,
        name: str,
        work: Work,
        /,
        *,
        after: str | Sequence[str] = (),
        inputs: Paths = (),
        outputs: Paths = (),
        **arguments: object,
    ) -> Entry:
        """Add a job; what comes back has `needs`.

        work: a command for bash, in which `{input}`, `{output}`, `{cores}` and `{args}` are filled
            in as in a Pipefile; or its words; or a function that workers can import.
        after: names of jobs, or of tasks, that must be done first.
        inputs, outputs: paths relative to the working folder, or by name. A job with outputs is
            skipped while they are there and nothing they were made from changed; one without
            runs each time.
        arguments: for a command `--key value` each, in the place of `{args}` or at its end (true:
            the bare key; none and false: nothing); for a function its keyword arguments, of
            values that JSON holds.
        Raises: HpcmakeError
        """
        place = caller()
        messages.check_name(name, place.span)
        if name in self._entries:
            raise messages.name_twice(name, place.span(), self._entries[name].place.span())
        if isinstance(work, functools.partial):
            arguments = {**work.keywords, **arguments}
            work = work if work.args else work.func
        if callable(work) and IMPORTING not in os.environ:
            from buildhpc.joblist.functions import check_call

            check_call(name, work, arguments, place)
        first = (after,) if isinstance(after, str) else tuple(after)
        entry = Entry(name, work, arguments, first, inputs, outputs, place, dict(self.defaults))
        self._entries[name] = entry
        return entry

    def task(self, name: str) -> Task:
        """What adds jobs as subtasks: `task("map").add("s1", ...)` is the job `map/s1`."""
        return Task(self, name)


class Task:
    """A name that jobs of a list share; its own name stands for all of them in `after`."""

    def __init__(self, entries: Entries, name: str) -> None:
        self._entries = entries
        self.name = name

    def add(
        self, name: str, work: Work, /, *, after: str | Sequence[str] = (), **keywords: Any
    ) -> Entry:
        """Add a subtask; `after` may name others of this task. See `JobList.add`."""
        first = [after] if isinstance(after, str) else after
        own = [f"{self.name}/{each}" for each in first]
        names = [o if o in self._entries else each for o, each in zip(own, first, strict=True)]
        return self._entries.add(f"{self.name}/{name}", work, after=names, **keywords)

    def task(self, name: str) -> Task:
        """A task inside this one."""
        return Task(self._entries, f"{self.name}/{name}")


def caller() -> Place:
    """The line of the program that called us: where a message points to."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("buildhpc."):
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)
