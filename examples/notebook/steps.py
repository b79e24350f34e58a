"""What the jobs do: functions that workers import."""

from __future__ import annotations

import logging
import random
from pathlib import Path

log = logging.getLogger(__name__)


def estimate(points: int, seed: int, result: str) -> None:
    """Estimate pi from random points, and write it to the file `result`."""
    numbers = random.Random(seed)
    inside = sum(numbers.random() ** 2 + numbers.random() ** 2 < 1 for _ in range(points))
    log.info("%d of %d points are inside", inside, points)
    Path(result).write_text(f"{4 * inside / points}\n")


def compare(first: str, second: str) -> None:
    """Print by how much the estimates in two files differ."""
    one, two = (float(Path(path).read_text()) for path in (first, second))
    print(f"they differ by {abs(one - two):.4f}")
