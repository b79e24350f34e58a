"""Going through a syntax tree, however long or deep, without recursion."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from buildhpc.diagnostics import Span
from buildhpc.language import syntax
from buildhpc.language.braces import fields_of

MAX_DEPTH = 200
_WORD = re.compile(r"[^\W\d]\w*")


def too_deep(tree: syntax.Tree) -> Span | None:
    """The place of the first expression nested more than `MAX_DEPTH` deep, None without one.

    A sum of any length counts once: whoever computes it goes along its left side in a loop.
    """
    waiting: list[tuple[Any, int]] = [(node, 0) for node in reversed(tree.statements)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_DEPTH:
            span: Span = node.span
            return span
        for child in children(node):
            along = isinstance(node, syntax.Binary) and child is node.left
            inner = depth if along and isinstance(child, syntax.Binary) else depth + 1
            waiting.append((child, inner))
    return None


def same(first: Any, second: Any) -> bool:
    """Whether two trees say the same, wherever their parts stand."""
    waiting = [(first, second)]
    while waiting:
        one, other = waiting.pop()
        kind = one.__class__
        if kind is not other.__class__:
            return False
        if kind is tuple:
            if len(one) != len(other):
                return False
            waiting += zip(one, other, strict=True)
        elif is_dataclass(one):
            waiting += [(getattr(one, name), getattr(other, name)) for name in parts(kind)]
        elif one != other:
            return False
    return True


def children(node: Any) -> Iterator[Any]:
    """The nodes directly below `node`, in the order written."""
    kind = node.__class__
    for name in parts(kind):
        value = getattr(node, name)
        if isinstance(value, tuple):
            for member in value:
                # A named argument of a call is a pair of its name and its value.
                below = member[1] if isinstance(member, tuple) else member
                if is_dataclass(below) and not isinstance(below, Span):
                    yield below
        elif is_dataclass(value):
            yield value


def walk(*nodes: Any) -> Iterator[Any]:
    """The nodes and all below them, each before what is below it."""
    todo = list(nodes)
    while todo:
        here = todo.pop()
        yield here
        todo.extend(children(here))


@cache
def parts(kind: Any) -> tuple[str, ...]:
    """The names of what a node holds, but for its places in the file."""
    return tuple(
        field.name for field in fields(kind) if field.name not in ("span", "name_span", "lines")
    )


def used_names(*nodes: Any) -> Iterator[str]:
    """Every name that something below the nodes may mean: bare, in braces, in a block of Python."""
    own: set[int] = set()
    for each in walk(*nodes):
        if isinstance(each, syntax.Let):
            own.add(id(each.name))
        elif isinstance(each, syntax.Item) and each.label is not None:
            own.add(id(each.label))
        elif isinstance(each, syntax.Call):
            own.add(id(each.function))
        elif isinstance(each, syntax.Name) and id(each) not in own:
            yield each.name
        elif isinstance(each, syntax.Text):
            parts = fields_of(each.raw, each.inside, wildcards=True)
            yield from (part.name for part in parts if not isinstance(part, str))
        elif isinstance(each, syntax.Block):
            yield from _WORD.findall(each.text)
