"""Frequency against rank of the words of each text, both logarithmic, as SVG.

Zipf's law says that the word of rank r is 1/r as frequent as the first: a line of slope -1.
"""

import math
from pathlib import Path

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 480, 70, 40, 190, 50
RANKS = (1, 2000)
SHARES = (0.0001, 0.2)


def x(rank: float) -> float:
    """Where a rank stands."""
    low, high = map(math.log, RANKS)
    return LEFT + (math.log(rank) - low) / (high - low) * (WIDTH - LEFT - RIGHT)


def y(share: float) -> float:
    """Where a share of all words stands."""
    low, high = map(math.log, SHARES)
    return HEIGHT - BOTTOM - (math.log(share) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def slope(shares: list[float]) -> float:
    """The slope of the least-squares line through the hundred first ranks, both logarithmic."""
    points = [(math.log(rank), math.log(s)) for rank, s in enumerate(shares[:100], 1)]
    mean_x = sum(px for px, _ in points) / len(points)
    mean_y = sum(py for _, py in points) / len(points)
    above = sum((px - mean_x) * (py - mean_y) for px, py in points)
    return above / sum((px - mean_x) ** 2 for px, _ in points)


def line(points: list[tuple[float, float]], style: str) -> str:
    """A line through points."""
    places = " ".join(f"{x(rank):.1f},{y(share):.1f}" for rank, share in points)
    return f'<polyline fill="none" {style} points="{places}"/>'


def label(at_x: float, at_y: float, text: str, more: str = "") -> str:
    """A piece of text."""
    return f'<text x="{at_x:.1f}" y="{at_y:.1f}" {more}>{text}</text>'


svg = [
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
    'font-family="sans-serif" font-size="12">',
    '<rect width="100%" height="100%" fill="white"/>',
    label(LEFT, 24, "Words of free software licences: Zipf's law", 'font-size="16"'),
    label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, "rank of the word", 'text-anchor="middle"'),
    label(0, 0, "share of all words", 'transform="translate(16 300) rotate(-90)"'),
]
for rank in (1, 10, 100, 1000):
    svg.append(line([(rank, SHARES[0]), (rank, SHARES[1])], 'stroke="#ddd"'))
    svg.append(label(x(rank), HEIGHT - BOTTOM + 18, str(rank), 'text-anchor="middle"'))
for share in (0.0001, 0.001, 0.01, 0.1):
    svg.append(line([(RANKS[0], share), (RANKS[1], share)], 'stroke="#ddd"'))
    svg.append(label(LEFT - 8, y(share) + 4, f"{100 * share:g}%", 'text-anchor="end"'))
svg.append(line([(1, 0.1), (1000, 0.0001)], 'stroke="black" stroke-dasharray="5 4"'))
svg.append(label(WIDTH - RIGHT + 34, TOP + 10, "slope of ranks 1 to 100"))
svg.append(label(WIDTH - RIGHT + 34, TOP + 30, "Zipf: -1.00"))
dashes = f'x1="{WIDTH - RIGHT + 10}" x2="{WIDTH - RIGHT + 28}" y1="{TOP + 26}" y2="{TOP + 26}"'
svg.append(f'<line {dashes} stroke="black" stroke-dasharray="5 4"/>')

for number, path in enumerate(job.input):
    counts = [int(row.split("\t")[1]) for row in Path(path).read_text().splitlines()]
    shares = [count / sum(counts) for count in counts]
    colour = f"hsl({360 * number // len(job.input)} 65% 45%)"
    svg.append(line(list(enumerate(shares, 1)), f'stroke="{colour}" stroke-width="1.5"'))
    at_y = TOP + 50 + 20 * number
    svg.append(
        f'<rect x="{WIDTH - RIGHT + 10}" y="{at_y - 7}" width="18" height="4" fill="{colour}"/>'
    )
    text = f"{Path(path).stem}: {slope(shares):.2f}"
    svg.append(label(WIDTH - RIGHT + 34, at_y, text))

Path(job.output).write_text("\n".join([*svg, "</svg>", ""]))
