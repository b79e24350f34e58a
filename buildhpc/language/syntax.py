"""The syntax tree of a Pipefile: what was written, with its place, before it means anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from buildhpc.diagnostics import Span


@dataclass(frozen=True, slots=True)
class Text:
    """A quoted string. `raw` is what stands between the quotes, escapes and braces unread."""

    span: Span
    raw: str

    @property
    def inside(self) -> Span:
        """The span of `raw`, without the quotes."""
        return Span(self.span.source, self.span.start + 1, self.span.end - 1)


@dataclass(frozen=True, slots=True)
class Number:
    """A number: `int` where it is written without point and exponent."""

    span: Span
    value: int | float


@dataclass(frozen=True, slots=True)
class Quantity:
    """A size or a time as typed: `4G`, `1h30m`, `1:30:00`, `2-00:00:00`."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Constant:
    """`true`, `false` or `none`."""

    span: Span
    value: bool | None


@dataclass(frozen=True, slots=True)
class Name:
    """A bare name."""

    span: Span
    name: str


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[a, b, ...]`; an item may be a `Loop`."""

    span: Span
    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Attribute:
    """`value.name`; `name_span` covers the name alone."""

    span: Span
    value: Expression
    name: str
    name_span: Span


@dataclass(frozen=True, slots=True)
class Index:
    """`value[index]`."""

    span: Span
    value: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class Call:
    """`function(arguments, name = value)`."""

    span: Span
    function: Expression
    arguments: tuple[Expression, ...]
    keywords: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class Unary:
    """`-x` or `not x`."""

    span: Span
    operator: str
    value: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands: arithmetic, a comparison, `in`, `not in`, `and`, `or`."""

    span: Span
    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Conditional:
    """`then if condition else otherwise`; without `else`, `otherwise` is `Constant(None)`."""

    span: Span
    then: Expression
    condition: Expression
    otherwise: Expression


@dataclass(frozen=True, slots=True)
class For:
    """`for NAMES in VALUES [after RULE] [if CONDITION]`.

    after: the checkpoint whose job must have run before `values` can be known.
    """

    span: Span
    names: tuple[Name, ...]
    values: Expression
    after: Name | None
    condition: Expression | None


@dataclass(frozen=True, slots=True)
class Loop:
    """`item for ... [for ...]`: its items, in order, stand where the loop stands."""

    span: Span
    item: Expression
    clauses: tuple[For, ...]


Expression: TypeAlias = (
    Text
    | Number
    | Quantity
    | Constant
    | Name
    | ListOf
    | Attribute
    | Index
    | Call
    | Unary
    | Binary
    | Conditional
    | Loop
)


@dataclass(frozen=True, slots=True)
class Block:
    """A raw block of `shell:` or `python:`.

    text: dedented, blank lines at both ends removed, ended by a newline.
    lines: the span of each of its lines in the file, without the indentation.
    """

    span: Span
    text: str
    lines: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One value of a directive: `value`, `label = value`, or `label in value` in `where:`."""

    span: Span
    label: Name | None
    relation: Literal["=", "in"]
    value: Expression


@dataclass(frozen=True, slots=True)
class Directive:
    """`name: items` or `name:` with a raw block; `local` has neither. `span` covers the name."""

    span: Span
    name: str
    items: tuple[Item, ...]
    block: Block | None


@dataclass(frozen=True, slots=True)
class Let:
    """`let NAME = EXPR`."""

    span: Span
    name: Name
    value: Expression


@dataclass(frozen=True, slots=True)
class Config:
    """`config "FILE"`."""

    span: Span
    file: Text


@dataclass(frozen=True, slots=True)
class Include:
    """`include "FILE"`."""

    span: Span
    file: Text


@dataclass(frozen=True, slots=True)
class Use:
    """`use "FILE.py" as NAME`."""

    span: Span
    file: Text
    name: Name


@dataclass(frozen=True, slots=True)
class Where:
    """`where NAME = "REGEX"`, for the whole file."""

    span: Span
    name: Name
    pattern: Text


@dataclass(frozen=True, slots=True)
class Prefer:
    """`prefer A > B [> C]`: a rule before another."""

    span: Span
    rules: tuple[Name, ...]


@dataclass(frozen=True, slots=True)
class RuleDefinition:
    """`rule NAME:` or `checkpoint NAME:`. `span` covers the keyword and the name."""

    span: Span
    keyword: Literal["rule", "checkpoint"]
    name: Name
    directives: tuple[Directive, ...]


@dataclass(frozen=True, slots=True)
class Defaults:
    """`defaults:` directives for all rules of the file."""

    span: Span
    directives: tuple[Directive, ...]


@dataclass(frozen=True, slots=True)
class On:
    """`on start:`, `on success:` or `on failure:` with a raw shell block."""

    span: Span
    event: Literal["start", "success", "failure"]
    block: Block


Statement: TypeAlias = (
    Let | Config | Include | Use | Where | Prefer | RuleDefinition | Defaults | On
)


@dataclass(frozen=True, slots=True)
class Tree:
    """A parsed file."""

    statements: tuple[Statement, ...]
