"""From what the grammar found to the syntax tree."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from buildhpc.diagnostics import HpcmakeError, Source, Span
from buildhpc.language import syntax
from buildhpc.messages import syntax_values as values
from buildhpc.quantities import quantity

if TYPE_CHECKING:
    from lark import Token

_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "none": None}
_LEAVES = (syntax.Text, syntax.Number, syntax.Quantity, syntax.Constant, syntax.Name)
_BLOCK_HEAD = re.compile(r"[^\n]*\n(?:[ \t]*\n)*([ \t]+)")
_BLANK_END = re.compile(r"(?:\n[ \t]*)+\Z")
_MAX_DIGITS = 300


class Builder:
    """One method for each form of the grammar: its parts in, its node of the tree out.

    source: what the spans point into; set before each parse.
    """

    def __init__(self) -> None:
        self.source = Source("", "")

    def start(self, parts: list[syntax.Statement]) -> syntax.Tree:
        """The whole file."""
        return syntax.Tree(tuple(parts))

    def directives(self, _: list[syntax.Directive]) -> syntax.Tree:
        """Directives read by themselves; only whether they can be read counts."""
        return syntax.Tree(())

    # Statements

    def let(self, parts: list[Any]) -> syntax.Let:
        """`let NAME = VALUE`."""
        word, name, value = parts
        return syntax.Let(self._from(word, value), self._name(name), value)

    def config(self, parts: list[Token]) -> syntax.Config:
        """`config "FILE"`."""
        return syntax.Config(self._over(parts[0], parts[1]), self._text(parts[1]))

    def include(self, parts: list[Token]) -> syntax.Include:
        """`include "FILE"`."""
        return syntax.Include(self._over(parts[0], parts[1]), self._text(parts[1]))

    def use(self, parts: list[Token]) -> syntax.Use:
        """`use "FILE" as NAME`."""
        word, file, name = parts
        return syntax.Use(self._over(word, name), self._text(file), self._name(name))

    def where(self, parts: list[Token]) -> syntax.Where:
        """`where NAME = "REGEX"`."""
        word, name, pattern = parts
        return syntax.Where(self._over(word, pattern), self._name(name), self._text(pattern))

    def prefer(self, parts: list[Token]) -> syntax.Prefer:
        """`prefer A > B`."""
        return syntax.Prefer(
            self._over(parts[0], parts[-1]), tuple(self._name(name) for name in parts[1:])
        )

    def rule(self, parts: list[Any]) -> syntax.RuleDefinition:
        """`rule NAME:` or `checkpoint NAME:` with its directives."""
        word, name, *directives = parts
        keyword: Literal["rule", "checkpoint"] = "rule" if word == "rule" else "checkpoint"
        return syntax.RuleDefinition(
            self._over(word, name), keyword, self._name(name), tuple(directives)
        )

    def defaults(self, parts: list[Any]) -> syntax.Defaults:
        """`defaults:` with its directives."""
        return syntax.Defaults(self._span(parts[0]), tuple(parts[1:]))

    def on(self, parts: list[Any]) -> syntax.On:
        """`on EVENT:` with its block."""
        word, event, block = parts
        return syntax.On(self._over(word, event), event.value, self._block(block))

    # Directives

    def directive(self, parts: list[Any]) -> syntax.Directive:
        """`NAME: ITEMS`."""
        return syntax.Directive(self._span(parts[0]), parts[0].value, tuple(parts[1:]), None)

    def raw(self, parts: list[Token]) -> syntax.Directive:
        """`shell:` or `python:` with its block."""
        name, block = parts
        return syntax.Directive(self._span(name), name.value, (), self._block(block))

    def item(self, parts: list[syntax.Expression]) -> syntax.Item:
        """A value alone."""
        return syntax.Item(parts[0].span, None, "=", parts[0])

    def labelled(self, parts: list[Any]) -> syntax.Item:
        """`NAME = VALUE`."""
        name, value = parts
        return syntax.Item(self._from(name, value), self._name(name), "=", value)

    def member(self, parts: list[Any]) -> syntax.Item:
        """`NAME in VALUES`."""
        name, _, value = parts
        return syntax.Item(self._from(name, value), self._name(name), "in", value)

    # Expressions

    def loop(self, parts: list[Any]) -> syntax.Loop:
        """`ITEM for ... [for ...]`."""
        item, *clauses = parts
        return syntax.Loop(self._join(item, clauses[-1]), item, tuple(clauses))

    def names(self, parts: list[Token]) -> tuple[syntax.Name, ...]:
        """The names a loop sets."""
        return tuple(self._name(name) for name in parts)

    def for_clause(self, parts: list[Any]) -> syntax.For:
        """`for NAMES in VALUES [after RULE] [if CONDITION]`."""
        word, names, _, values, *more = parts
        after = self._name(more.pop(0)) if more and isinstance(more[0], str) else None
        condition = more[0] if more else None
        end = condition or after or values
        return syntax.For(self._from(word, end), names, values, after, condition)

    def conditional(self, parts: list[syntax.Expression]) -> syntax.Conditional:
        """`THEN if CONDITION [else OTHERWISE]`."""
        then, condition, *rest = parts
        end = condition.span.end
        otherwise = rest[0] if rest else syntax.Constant(Span(self.source, end, end), None)
        return syntax.Conditional(self._join(then, otherwise), then, condition, otherwise)

    def binary(self, parts: list[Any]) -> syntax.Binary:
        """`LEFT OPERATOR RIGHT`."""
        left, operator, right = parts
        return syntax.Binary(self._join(left, right), operator.value, left, right)

    def not_in(self, parts: list[Any]) -> syntax.Binary:
        """`LEFT not in RIGHT`."""
        left, right = parts[0], parts[-1]
        return syntax.Binary(self._join(left, right), "not in", left, right)

    def unary(self, parts: list[Any]) -> syntax.Unary:
        """`-VALUE` or `not VALUE`."""
        operator, value = parts
        return syntax.Unary(self._from(operator, value), operator.value, value)

    def attribute(self, parts: list[Any]) -> syntax.Attribute:
        """`VALUE.NAME`."""
        value, name = parts
        span = Span(self.source, value.span.start, name.end_pos)
        return syntax.Attribute(span, value, name.value, self._span(name))

    def index(self, parts: list[Any]) -> syntax.Index:
        """`VALUE[INDEX]`."""
        value, _, index, end = parts
        return syntax.Index(Span(self.source, value.span.start, end.end_pos), value, index)

    def call(self, parts: list[Any]) -> syntax.Call:
        """`FUNCTION(ARGUMENTS)`."""
        function, _, *given, end = parts
        span = Span(self.source, function.span.start, end.end_pos)
        keywords = tuple(argument for argument in given if isinstance(argument, tuple))
        arguments = tuple(argument for argument in given if not isinstance(argument, tuple))
        return syntax.Call(span, function, arguments, keywords)

    def keyword(self, parts: list[Any]) -> tuple[str, syntax.Expression]:
        """`NAME = VALUE` in a call."""
        return parts[0].value, parts[1]

    def text(self, parts: list[Token]) -> syntax.Text:
        """A quoted string."""
        return self._text(parts[0])

    def number(self, parts: list[Token]) -> syntax.Number:
        """A number."""
        written = parts[0].value
        whole = written.isdigit()
        value = int(written) if whole and len(written) <= _MAX_DIGITS else float(written)
        if value == float("inf") or len(written) > _MAX_DIGITS:
            raise HpcmakeError(values.huge_number(self._span(parts[0])))
        return syntax.Number(self._span(parts[0]), value)

    def quantity(self, parts: list[Token]) -> syntax.Quantity:
        """A size or a time."""
        written = parts[0].value
        if len(written) > _MAX_DIGITS or quantity(written) is None:
            raise HpcmakeError(values.bad_number(self._span(parts[0])))
        return syntax.Quantity(self._span(parts[0]), written)

    def name(self, parts: list[Token]) -> syntax.Name | syntax.Constant:
        """A name, or one of the three constants."""
        word = parts[0].value
        if word in _CONSTANTS:
            return syntax.Constant(self._span(parts[0]), _CONSTANTS[word])
        return self._name(parts[0])

    def list_of(self, parts: list[Any]) -> syntax.ListOf:
        """`[ITEMS]`."""
        return syntax.ListOf(self._over(parts[0], parts[-1]), tuple(parts[1:-1]))

    def group(self, parts: list[Any]) -> syntax.Expression:
        """`(VALUE)`: the value, its span widened by the brackets unless it is a single word."""
        opening, value, closing = parts
        if isinstance(value, _LEAVES):
            return value
        widened: syntax.Expression = replace(value, span=self._over(opening, closing))
        return widened

    # Parts

    def _name(self, token: Token) -> syntax.Name:
        return syntax.Name(self._span(token), token.value)

    def _text(self, token: Token) -> syntax.Text:
        return syntax.Text(self._span(token), token.value[1:-1])

    def _block(self, token: Token) -> syntax.Block:
        """The block: its indentation taken away, blank lines at both ends dropped."""
        head = _BLOCK_HEAD.match(token.value)
        assert head is not None  # the grammar sees to it
        indent = head[1]
        at = (token.start_pos or 0) + head.start(1)
        texts: list[str] = []
        spans: list[Span] = []
        body = _BLANK_END.sub("", token.value[head.start(1) :])
        for line in body.split("\n"):
            inset = len(indent) if line.startswith(indent) else len(line)
            texts.append(line[inset:])
            spans.append(Span(self.source, at + inset, at + len(line)))
            at += len(line) + 1
        span = Span(self.source, spans[0].start, spans[-1].end)
        return syntax.Block(span, "\n".join(texts) + "\n", tuple(spans))

    def _span(self, token: Token) -> Span:
        return Span(self.source, token.start_pos or 0, token.end_pos or 0)

    def _over(self, first: Token, last: Token) -> Span:
        return Span(self.source, first.start_pos or 0, last.end_pos or 0)

    def _from(self, first: Token, last: syntax.Expression | syntax.Name) -> Span:
        return Span(self.source, first.start_pos or 0, last.span.end)

    def _join(self, first: syntax.Expression, last: syntax.Expression | syntax.For) -> Span:
        return Span(self.source, first.span.start, last.span.end)
