"""What depends on what, drawn as a tree of text, as Mermaid, or as DOT."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

# Deeper branches go on at the left margin, so that a chain of 10,000 jobs stays readable.
_DEPTH = 24


@dataclass(frozen=True, slots=True)
class Drawing:
    """Things by name, and what they need.

    needs: every name -> the names that it needs, in order; each name has an entry.
    notes: name -> what is said behind it. marked: the names that stand out.
    """

    needs: Mapping[str, tuple[str, ...]]
    notes: Mapping[str, str]
    marked: Collection[str] = ()

    def roots(self) -> list[str]:
        """What nothing else needs."""
        needed = {name for names in self.needs.values() for name in names}
        return [name for name in self.needs if name not in needed]


@dataclass(frozen=True, slots=True)
class Strokes:
    """What the branches of a tree are drawn with."""

    fork: str = "├── "
    end: str = "└── "
    bar: str = "│   "
    gap: str = "    "


ASCII = Strokes("|-- ", "`-- ", "|   ", "    ")


def tree(drawing: Drawing, strokes: Strokes) -> Iterator[str]:
    """A tree, the things that nothing needs first; what was drawn before is not drawn again."""
    drawn: set[str] = set()
    # What is only needed in a circle has no root.
    waiting = [*drawing.roots(), *drawing.needs][::-1]
    while waiting:
        root = waiting.pop()
        if root in drawn:
            continue
        # A name, what stands before it, and what stands before those that it needs.
        stack = [(root, "", "", 0)]
        while stack:
            name, lead, indent, depth = stack.pop()
            text = lead + name + _note(drawing, name)
            below = drawing.needs[name]
            if name in drawn and below:
                yield f"{text} (above)"
                continue
            if depth == _DEPTH and below:
                waiting.append(name)
                yield f"{text} (below)"
                continue
            drawn.add(name)
            yield text
            for number, each in enumerate(reversed(below)):
                stroke, more = (strokes.fork, strokes.bar) if number else (strokes.end, strokes.gap)
                stack.append((each, indent + stroke, indent + more, depth + 1))


def _note(drawing: Drawing, name: str) -> str:
    note = drawing.notes.get(name)
    return f"  {note}" if note else ""


def mermaid(drawing: Drawing) -> Iterator[str]:
    """A flow chart; arrows lead from what is needed to what needs it.

    Source: mermaid.js.org/syntax/flowchart.html.
    """
    ids = {name: f"n{number}" for number, name in enumerate(drawing.needs)}
    yield "flowchart TD"
    for name, id_ in ids.items():
        text = "".join(_MERMAID.get(character, character) for character in name)
        yield f'    {id_}["{text}"]'
    for name, needs in drawing.needs.items():
        for each in needs:
            yield f"    {ids[each]} --> {ids[name]}"
    if drawing.marked:
        yield "    classDef stale fill:#fd8,stroke:#a60"
        yield f"    class {','.join(ids[name] for name in ids if name in drawing.marked)} stale"


_MERMAID = {'"': "#quot;", "#": "#35;", "<": "#lt;", ">": "#gt;"}


def dot(drawing: Drawing) -> Iterator[str]:
    """A graph for Graphviz; arrows lead from what is needed to what needs it.

    Source: graphviz.org/doc/info/lang.html.
    """
    yield "digraph hpcmake {"
    yield "    node [shape=box];"
    for name in drawing.needs:
        style = " [style=filled, fillcolor=orange]" if name in drawing.marked else ""
        yield f"    {_quoted(name)}{style};"
    for name, needs in drawing.needs.items():
        for each in needs:
            yield f"    {_quoted(each)} -> {_quoted(name)};"
    yield "}"


def _quoted(name: str) -> str:
    text = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
