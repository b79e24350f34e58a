"""A syntax tree as bytes, so that a Pipefile that did not change need not be read again.

Statements are nested lists of JSON. A value of any depth is one flat list, its parts before the
whole: each record takes its parts from the end of those that wait.
"""

from __future__ import annotations

import gc
import json
import zlib
from collections.abc import Iterator
from typing import Any, Literal

from buildhpc.diagnostics import Source
from buildhpc.language import syntax
from buildhpc.language.store_values import Reader, spans, write_value

_FORMAT = b"hpcmake tree 1 "
_RELATIONS: tuple[Literal["=", "in"], ...] = ("=", "in")


def dump(tree: syntax.Tree) -> bytes:
    """A tree that `parse` made, as bytes for `load`."""
    statements = [list(_statement(statement)) for statement in tree.statements]
    text = tree.statements[0].span.source.text if tree.statements else ""
    body = json.dumps([_digest(text), statements], separators=(",", ":")).encode()
    return _FORMAT + b"%08x\n" % zlib.crc32(body) + body


def load(data: bytes, source: Source) -> syntax.Tree:
    """The tree in `data`, its spans pointing into `source`.

    Raises: ValueError, when `data` is damaged or was not made from this text by this version.
    """
    head, _, body = data.partition(b"\n")
    if head + b"\n" != _FORMAT + b"%08x\n" % zlib.crc32(body):
        raise ValueError("not a stored syntax tree, or a damaged one")
    # Nothing that is made here can be garbage: looking for it takes 12 of 65 ms (1,000 rules).
    collecting = gc.isenabled()
    gc.disable()
    try:
        digest, statements = json.loads(body)
        if statements and digest != _digest(source.text):
            raise ValueError("the syntax tree of another text")
        loader = _Loader(source)
        return syntax.Tree(tuple([loader.statement(*each) for each in statements]))
    except (TypeError, IndexError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError("not a stored syntax tree") from error
    finally:
        if collecting:
            gc.enable()


def _digest(text: str) -> list[int]:
    """What tells a text from others."""
    encoded = text.encode("utf-8", "surrogatepass")
    return [len(encoded), zlib.crc32(encoded)]


def _statement(node: syntax.Statement) -> Iterator[Any]:
    """What is kept of a statement: its kind, its place, the rest as the loader takes it."""
    yield type(node).__name__
    yield node.span.start
    yield node.span.end
    match node:
        case syntax.Let(name=name, value=value):
            yield from (_name(name), write_value(value))
        case syntax.Config(file=file) | syntax.Include(file=file):
            yield _text(file)
        case syntax.Use(file=file, name=name):
            yield from (_text(file), _name(name))
        case syntax.Where(name=name, pattern=pattern):
            yield from (_name(name), _text(pattern))
        case syntax.Prefer(rules=rules):
            yield [_name(rule) for rule in rules]
        case syntax.RuleDefinition(keyword=keyword, name=name, directives=directives):
            yield from (keyword, name.name, [_directive(each) for each in directives])
        case syntax.Defaults(directives=directives):
            yield [_directive(each) for each in directives]
        case syntax.On(event=event, block=block):
            yield from (event, _block(block))


def _name(node: syntax.Name) -> list[Any]:
    return [node.span.start, node.name]


def _text(node: syntax.Text) -> list[Any]:
    return [node.span.start, node.raw]


def _directive(node: syntax.Directive) -> list[Any]:
    block = _block(node.block) if node.block else None
    return [node.span.start, node.name, [_item(item) for item in node.items], block]


def _item(node: syntax.Item) -> list[Any]:
    value = write_value(node.value)
    if node.label is None:
        return [value]
    return [value, node.label.span.start, node.label.name, _RELATIONS.index(node.relation)]


def _block(node: syntax.Block) -> list[Any]:
    return [node.text, [place for line in node.lines for place in (line.start, line.end)]]


class _Loader:
    """Makes statements from what was kept of them."""

    def __init__(self, source: Source) -> None:
        reader = Reader(source)
        self.span = spans(source)
        self.value = reader.value
        self.name = reader.name

    def statement(self, kind: str, start: int, end: int, *parts: Any) -> syntax.Statement:
        """The statement of this kind at this place."""
        span = self.span(start, end)
        match kind:
            case "RuleDefinition":
                keyword, name, directives = parts
                where = syntax.Name(self.span(end - len(name), end), name)
                return syntax.RuleDefinition(span, keyword, where, self.directives(directives))
            case "Let":
                return syntax.Let(span, self.name(*parts[0]), self.value(parts[1]))
            case "Config":
                return syntax.Config(span, self.text(*parts[0]))
            case "Include":
                return syntax.Include(span, self.text(*parts[0]))
            case "Use":
                return syntax.Use(span, self.text(*parts[0]), self.name(*parts[1]))
            case "Where":
                return syntax.Where(span, self.name(*parts[0]), self.text(*parts[1]))
            case "Prefer":
                return syntax.Prefer(span, tuple(self.name(*rule) for rule in parts[0]))
            case "Defaults":
                return syntax.Defaults(span, self.directives(parts[0]))
            case "On":
                return syntax.On(span, parts[0], self.block(*parts[1]))
        raise KeyError(kind)

    def directives(self, kept: list[Any]) -> tuple[syntax.Directive, ...]:
        """The directives of a rule."""
        span, item, block = self.span, self.item, self.block
        directives = [
            syntax.Directive(
                span(start, start + len(name)),
                name,
                tuple([item(*each) for each in items]),
                block(*lines) if lines else None,
            )
            for start, name, items, lines in kept
        ]
        return tuple(directives)

    def item(self, kept: Any, start: int = 0, name: str = "", relation: int = -1) -> syntax.Item:
        """An item, with its label if it has one."""
        value = self.value(kept)
        if relation < 0:
            return syntax.Item(value.span, None, "=", value)
        label = self.name(start, name)
        span = self.span(start, value.span.end)
        return syntax.Item(span, label, _RELATIONS[relation], value)

    def block(self, text: str, places: list[int]) -> syntax.Block:
        """A raw block with the places of its lines."""
        span = self.span
        pairs = zip(places[::2], places[1::2], strict=True)
        lines = tuple([span(start, end) for start, end in pairs])
        return syntax.Block(span(places[0], places[-1]), text, lines)

    def text(self, start: int, raw: str) -> syntax.Text:
        """A quoted string."""
        return syntax.Text(self.span(start, start + len(raw) + 2), raw)
