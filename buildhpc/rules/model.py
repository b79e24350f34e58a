"""A Pipefile checked: rules with their expressions compiled, and what belongs to all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from buildhpc.diagnostics import Span
from buildhpc.language.expressions import Thunk
from buildhpc.language.patterns import Pattern
from buildhpc.language.shell import Slot
from buildhpc.language.syntax import Name
from buildhpc.language.values import Files


@dataclass(frozen=True, slots=True)
class InputItem:
    """An item of `input`.

    label: its name, or None. many: the name stands for a list.
    value: gives a path, a list of paths, or none.
    make: where the item is one path made of the wildcards alone, the function from their
        values, in the order of the rule, to the path; else None.
    late: a loop in it waits for a checkpoint.
    """

    span: Span
    label: str | None
    many: bool
    value: Thunk
    make: Callable[..., str] | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """An item of `output`: one pattern, or several where the item is a loop or a list."""

    span: Span
    label: str | None
    many: bool
    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True)
class RecipeCode:
    """What the jobs of a rule do, before anything is filled in.

    parts: of a `shell` block: literal text and slots.
    text: of a `python` block; of a `call` the function's own text, where that is what counts of
        its file. value: of `script` and `call`: gives the path or `module:function`.
    """

    kind: Literal["shell", "script", "python", "call"]
    span: Span
    parts: tuple[str | Slot, ...] = ()
    text: str = ""
    value: Thunk | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """A compiled value of a directive: its label, what computes it, and its place."""

    span: Span
    label: str | None
    thunk: Thunk
    constant: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a Pipefile.

    wildcards: names, in order of appearance in the first output.
    directives: values of all other directives, by name.
    folder: of its Pipefile, relative to the working folder.
    order: its place among all rules.
    one_path: exactly one path leads to each of its jobs.
    after: rules without wildcards whose jobs are done first, though no `input` names a file of
        theirs. streams: what goes to stderr has a file of its own beside the `log`.
    awaits: the checkpoints that loops of its inputs wait for, each once.
    """

    name: str
    span: Span
    checkpoint: bool
    wildcards: tuple[str, ...]
    outputs: tuple[Output, ...]
    inputs: tuple[InputItem, ...]
    directives: Mapping[str, tuple[Value, ...]]
    recipe: RecipeCode | None
    folder: str
    order: int
    one_path: bool
    after: tuple[str, ...] = ()
    streams: bool = False
    awaits: tuple[Name, ...] = ()

    @property
    def task(self) -> str:
        """What its jobs are counted under: of `map/s1` in a job list, `map`."""
        return self.name.rpartition("/")[0] or self.name

    def patterns(self) -> list[Pattern]:
        """The patterns of all outputs, in the order written."""
        return [pattern for output in self.outputs for pattern in output.patterns]


@dataclass(frozen=True, slots=True)
class Handler:
    """`on start:`, `on success:`, `on failure:`."""

    event: str
    span: Span
    parts: tuple[str | Slot, ...]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """All that a Pipefile and the files it includes say.

    rules: by name, in the order written.
    prefer: pairs of rule names: the first wins over the second.
    constants: `let` values, `config`, helpers, as they are at the end of the file.
    files: every file that was read, with the bytes' digest: what a cache hangs on.
    warnings: problems that do not stop a build, for `check`.
    default: the rules that are meant where no target is given; empty: `all`, or the first.
    logging: `file` and `level` of what functions log; empty: nothing is said.
    logs: a folder for what each attempt prints, unless its rule says where; empty: the state.
    settled: order of a rule and values of its wildcards -> the inputs of that job, where they
        hang on a checkpoint that has run.
    """

    rules: Mapping[str, Rule]
    prefer: frozenset[tuple[str, str]]
    constants: Mapping[str, Any]
    handlers: Sequence[Handler] = ()
    lets: Mapping[str, Span] = field(default_factory=dict)
    warnings: Sequence[Any] = ()
    default: tuple[str, ...] = ()
    logging: Mapping[str, str] = field(default_factory=dict)
    logs: str = ""
    settled: dict[tuple[int, tuple[str, ...]], Files] = field(default_factory=dict)

    @property
    def awaits(self) -> bool:
        """Whether inputs of a rule are known only once a checkpoint has run."""
        return any(rule.awaits for rule in self.rules.values())
