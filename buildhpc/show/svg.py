"""What depends on what, as an SVG of its own: layers from what needs nothing to what is asked."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from buildhpc.show.drawing import Drawing

_HIGH, _GAP, _STEP, _LETTER = 28, 16, 64, 7.5


def svg(drawing: Drawing) -> Iterator[str]:
    """The lines of the picture; colours are those of the page around it."""
    layers = _layers(drawing)
    rows: dict[int, list[str]] = {}
    for name, layer in layers.items():
        rows.setdefault(layer, []).append(name)
    places: dict[str, tuple[float, float, float]] = {}
    width = 0.0
    for layer, names in sorted(rows.items()):
        x = float(_GAP)
        for name in names:
            wide = len(name) * _LETTER + 20
            places[name] = (x, _GAP + layer * _STEP, wide)
            x += wide + _GAP
        width = max(width, x)
    high = _GAP * 2 + _HIGH + max(layers.values(), default=0) * _STEP
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{high}" '
        f'viewBox="0 0 {width:.0f} {high}" font-family="sans-serif" font-size="13" '
        'color="#456" fill="none" stroke="currentColor">'
    )
    for name, needs in drawing.needs.items():
        x, y, wide = places[name]
        for other in needs:
            left, top, far = places[other]
            yield (
                f'<path d="M{left + far / 2:.0f} {top + _HIGH} C{left + far / 2:.0f} {y - 8:.0f} '
                f'{x + wide / 2:.0f} {top + _HIGH + 8:.0f} {x + wide / 2:.0f} {y}" opacity="0.6"/>'
            )
    for name, (x, y, wide) in places.items():
        thick = 2.5 if name in drawing.marked else 1
        yield f'<rect x="{x:.0f}" y="{y}" width="{wide:.0f}" height="{_HIGH}" rx="6"'
        yield f' stroke-width="{thick}"/>'
        yield (
            f'<text x="{x + wide / 2:.0f}" y="{y + 18}" text-anchor="middle" stroke="none" '
            f'fill="currentColor">{escape(name)}</text>'
        )
    yield "</svg>"


def _layers(drawing: Drawing) -> dict[str, int]:
    """Each name below all that it needs; a circle is cut somewhere."""
    layers: dict[str, int] = {}
    for root in drawing.needs:
        stack, open_ = [root], set[str]()
        while stack:
            name = stack[-1]
            needs = drawing.needs[name]
            left = [each for each in needs if each not in layers and each not in open_]
            open_.add(name)
            if left and name not in layers:
                stack.extend(left)
                continue
            stack.pop()
            open_.discard(name)
            known = [layers[each] + 1 for each in drawing.needs[name] if each in layers]
            layers.setdefault(name, max(known, default=0))
    return layers
