"""The values of a syntax tree as flat lists of JSON, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from buildhpc.diagnostics import Source, Span
from buildhpc.language import syntax

# A single word is kept as one record, anything else as a list of records.
_TEXT, _NAME, _NUMBER, _QUANTITY, _CONSTANT = range(5)


def spans(source: Source) -> Callable[[int, int], Span]:
    """A function that makes the span from one offset to another in `source`.

    It fills the slots itself: half of what is loaded are spans, and the constructor of a frozen
    class takes twice as long (0.85 and 0.45 us).
    """
    # mypy does not know the descriptors of slots.
    members: Any = Span
    fill_source, fill_start = members.source.__set__, members.start.__set__
    fill_end, new = members.end.__set__, object.__new__

    def span(start: int, end: int) -> Span:
        made = new(Span)
        fill_source(made, source)
        fill_start(made, start)
        fill_end(made, end)
        return made

    return span


def write_value(node: syntax.Expression) -> list[Any]:
    """What is kept of a value, for `Reader.value`."""
    if (word := _word(node)) is not None:
        return word
    records: list[list[Any]] = []
    waiting: list[Any] = [node]
    # The whole is written before its parts, the last of these first; then all is turned round.
    while waiting:
        node = waiting.pop()
        word = _word(node)
        record, parts = (word, []) if word is not None else _whole(node)
        records.append(record)
        waiting += parts
    return records[::-1]


def _word(node: Any) -> list[Any] | None:
    """What is kept of a value of one word, None for any other."""
    match node:
        case syntax.Text(raw=raw):
            return [_TEXT, node.span.start, raw]
        case syntax.Name(name=name):
            return [_NAME, node.span.start, name]
        case syntax.Quantity(text=text):
            return [_QUANTITY, node.span.start, text]
        case syntax.Number(value=value):
            return [_NUMBER, node.span.start, node.span.end, value]
        case syntax.Constant(value=value):
            return [_CONSTANT, node.span.start, node.span.end, value]
    return None


def _whole(node: Any) -> tuple[list[Any], list[Any]]:
    """What is kept of a node by itself, and its parts in order."""
    place = [node.span.start, node.span.end]
    match node:
        case syntax.ListOf(items=items):
            return ["list", *place, len(items)], [*items]
        case syntax.Attribute(value=value, name=name, name_span=span):
            return ["attribute", *place, name, span.start], [value]
        case syntax.Index(value=value, index=index):
            return ["index", *place], [value, index]
        case syntax.Call(function=function, arguments=arguments, keywords=keywords):
            names = [name for name, _ in keywords]
            given = [value for _, value in keywords]
            return ["call", *place, len(arguments), names], [function, *arguments, *given]
        case syntax.Unary(operator=operator, value=value):
            return ["unary", *place, operator], [value]
        case syntax.Binary(operator=operator, left=left, right=right):
            return ["binary", *place, operator], [left, right]
        case syntax.Conditional(then=then, condition=condition, otherwise=otherwise):
            return ["conditional", *place], [then, condition, otherwise]
        case syntax.Loop(item=item, clauses=clauses):
            return ["loop", *place, len(clauses)], [item, *clauses]
    return _clause(node)


def _clause(node: syntax.For) -> tuple[list[Any], list[Any]]:
    """What is kept of a `for` by itself, and its parts in order."""
    names = [[name.span.start, name.name] for name in node.names]
    after = [node.after.span.start, node.after.name] if node.after else None
    conditions = [node.condition] if node.condition else []
    record = ["for", node.span.start, node.span.end, names, after, len(conditions)]
    return record, [node.values, *conditions]


class Reader:
    """Makes values from what was kept of them."""

    def __init__(self, source: Source) -> None:
        self.span = spans(source)
        self.waiting: list[Any] = []
        self.makers: dict[str, Callable[..., Any]] = {
            "list": self._list,
            "attribute": self._attribute,
            "index": self._index,
            "call": self._call,
            "unary": self._unary,
            "binary": self._binary,
            "conditional": self._conditional,
            "for": self._for,
            "loop": self._loop,
        }

    def value(self, kept: list[Any]) -> syntax.Expression:
        """The value that `write_value` kept."""
        if kept[0].__class__ is int:
            return self._word(*kept)
        waiting = self.waiting = []
        for record in kept:
            kind = record[0]
            if kind.__class__ is int:
                waiting.append(self._word(*record))
            else:
                waiting.append(self.makers[kind](self.span(*record[1:3]), *record[3:]))
        value: syntax.Expression
        (value,) = waiting
        return value

    def _word(self, kind: int, start: int, value: Any, more: Any = None) -> syntax.Expression:
        """A value of one word; `value` is its end where its text does not tell that."""
        if kind == _TEXT:
            return syntax.Text(self.span(start, start + len(value) + 2), value)
        if kind == _NAME:
            return syntax.Name(self.span(start, start + len(value)), value)
        if kind == _QUANTITY:
            return syntax.Quantity(self.span(start, start + len(value)), value)
        if kind == _NUMBER:
            return syntax.Number(self.span(start, value), more)
        return syntax.Constant(self.span(start, value), more)

    def _take(self, count: int) -> list[Any]:
        """The last parts that wait, in order."""
        if not 0 <= count <= len(self.waiting):
            raise IndexError(count)
        first = len(self.waiting) - count
        parts = self.waiting[first:]
        del self.waiting[first:]
        return parts

    def name(self, start: int, name: str) -> syntax.Name:
        """A name."""
        return syntax.Name(self.span(start, start + len(name)), name)

    def _list(self, span: Span, count: int) -> syntax.ListOf:
        return syntax.ListOf(span, tuple(self._take(count)))

    def _attribute(self, span: Span, name: str, start: int) -> syntax.Attribute:
        name_span = self.span(start, start + len(name))
        return syntax.Attribute(span, self.waiting.pop(), name, name_span)

    def _index(self, span: Span) -> syntax.Index:
        return syntax.Index(span, *self._take(2))

    def _call(self, span: Span, count: int, names: list[str]) -> syntax.Call:
        given = self._take(len(names))
        arguments = tuple(self._take(count))
        keywords = tuple(zip(names, given, strict=True))
        return syntax.Call(span, self.waiting.pop(), arguments, keywords)

    def _unary(self, span: Span, operator: str) -> syntax.Unary:
        return syntax.Unary(span, operator, self.waiting.pop())

    def _binary(self, span: Span, operator: str) -> syntax.Binary:
        return syntax.Binary(span, operator, *self._take(2))

    def _conditional(self, span: Span) -> syntax.Conditional:
        return syntax.Conditional(span, *self._take(3))

    def _for(self, span: Span, names: Any, rule: Any, conditions: int) -> syntax.For:
        condition = self.waiting.pop() if conditions else None
        after = self.name(*rule) if rule else None
        named = tuple(self.name(*name) for name in names)
        return syntax.For(span, named, self.waiting.pop(), after, condition)

    def _loop(self, span: Span, count: int) -> syntax.Loop:
        clauses = tuple(self._take(count))
        return syntax.Loop(span, self.waiting.pop(), clauses)
