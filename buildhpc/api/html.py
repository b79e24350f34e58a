"""Small pieces of HTML for notebooks: escaped, without scripts, for light and dark pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

# Readable on white and on black alike.
_COLOURS = {
    "done": "#2e9e5b",
    "running": "#3b82c4",
    "queued": "#3b82c4",
    "failed": "#d64545",
    "lost": "#d64545",
    "skipped": "#b8860b",
    "cancelled": "#b8860b",
    "stale": "#c8781e",
}
_LINE = "1px solid rgba(128,128,128,.35)"
_CELL = f"padding:.15em .7em;border-bottom:{_LINE};text-align:"
# So many rows, boxes of a drawing, and letters in a box are shown.
_ROWS = 50
_BOXES = 120
_LETTERS = 26
_BOX_HEIGHT, _LETTER_WIDTH, _GAP_X, _GAP_Y = 28, 7.4, 24, 34


def text(words: str) -> str:
    """A line of text."""
    return f"<div>{escape(words)}</div>"


def state(name: str) -> str:
    """The name of a state, in its colour."""
    colour = _COLOURS.get(name)
    shown = escape(name)
    return f'<span style="color:{colour};font-weight:600">{shown}</span>' if colour else shown


def table(head: Sequence[str], rows: Sequence[Sequence[object]], states: int = -1) -> str:
    """A table; numbers stand on the right.

    states: the column that holds states; -1: none does. Of many rows the first are shown.
    """
    shown = ["".join(_cell("th", name, name) for name in head)]
    for row in rows[:_ROWS]:
        cells = [
            _cell("td", value, state(str(value)) if number == states else None)
            for number, value in enumerate(row)
        ]
        shown.append("".join(cells))
    body = "".join(f"<tr>{cells}</tr>" for cells in shown)
    more = text(f"and {len(rows) - _ROWS:,} more") if len(rows) > _ROWS else ""
    return f'<table style="border-collapse:collapse">{body}</table>{more}'


def _cell(tag: str, value: object, html: str | None) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    side = "right" if number else "left"
    shown = f"{value:,}" if number else str(value)
    inside = escape(shown) if html is None or tag == "th" else html
    return f'<{tag} style="{_CELL}{side}">{inside}</{tag}>'


def drawing(needs: Mapping[str, Sequence[str]], marked: Mapping[str, str]) -> str:
    """What depends on what, as SVG: layer below layer, each box below all that it needs.

    marked: name -> why it stands out, shown when the pointer rests on it. Empty where there are
    more boxes than a person could read.
    """
    if len(needs) > _BOXES:
        return ""
    layers = _layers(needs)
    places: dict[str, tuple[float, float, float]] = {}
    width = 0.0
    for level, names in enumerate(layers):
        x = _GAP_X / 2
        for name in names:
            box = len(_short(name)) * _LETTER_WIDTH + 20
            places[name] = (x, level * (_BOX_HEIGHT + _GAP_Y) + 4, box)
            x += box + _GAP_X
        width = max(width, x)
    places = _centred(layers, places, width)
    height = len(layers) * (_BOX_HEIGHT + _GAP_Y) - _GAP_Y + 10
    lines = [_arrow(places[other], places[name]) for name in needs for other in needs[name]]
    boxes = [_box(name, places[name], marked.get(name)) for name in needs]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" style="max-width:100%" font-size="12" '
        f'font-family="ui-monospace,monospace">{"".join(lines)}{"".join(boxes)}</svg>'
    )


def _layers(needs: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The names by how many stand above them, one after the other, at most."""
    level: dict[str, int] = {}
    open_: list[str] = [*needs][::-1]
    while open_:
        name = open_[-1]
        missing = [each for each in needs[name] if each not in level]
        if missing and name not in level:
            level[name] = 0  # a circle, if it is come upon again
            open_ += missing
            continue
        level[name] = max((level[each] + 1 for each in needs[name]), default=0)
        open_.pop()
    layers: list[list[str]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for name in needs:
        layers[level[name]].append(name)
    return layers


def _centred(
    layers: Sequence[Sequence[str]], places: Mapping[str, tuple[float, float, float]], width: float
) -> dict[str, tuple[float, float, float]]:
    moved = {}
    for names in layers:
        x, _, box = places[names[-1]]
        shift = (width - (x + box + _GAP_X / 2)) / 2
        moved.update({n: (places[n][0] + shift, places[n][1], places[n][2]) for n in names})
    return moved


def _arrow(start: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    x1, y1 = start[0] + start[2] / 2, start[1] + _BOX_HEIGHT
    x2, y2 = end[0] + end[2] / 2, end[1]
    middle = (y1 + y2) / 2
    path = f"M{x1:.0f} {y1:.0f}C{x1:.0f} {middle:.0f} {x2:.0f} {middle:.0f} {x2:.0f} {y2:.0f}"
    return f'<path d="{path}" fill="none" stroke="currentColor" stroke-opacity=".4"/>'


def _box(name: str, place: tuple[float, float, float], why: str | None) -> str:
    x, y, width = place
    colour = "currentColor" if why is None else _COLOURS["stale"]
    title = f"{name}: {why}" if why else name
    return (
        f'<g><title>{escape(title)}</title><rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" '
        f'height="{_BOX_HEIGHT}" rx="5" fill="{colour}" fill-opacity=".08" stroke="{colour}"/>'
        f'<text x="{x + width / 2:.0f}" y="{y + 18:.0f}" text-anchor="middle" '
        f'fill="currentColor">{escape(_short(name))}</text></g>'
    )


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
