"""Which moving average predicts a noisy series best? Task 1, 1-1 and 1-2, 2, 2-1 and 2-2.

`1` makes a series; `1-1` and `1-2` smooth it in two ways; `2` compares both; `2-1` writes the
better one down, `2-2` says it to people.
"""

import logging
import math
import random
import sys
from pathlib import Path

import buildhpc

log = logging.getLogger(__name__)


def simulate(length: int, seed: int, result: str) -> None:
    """A sine with noise."""
    numbers = random.Random(seed)
    values = [math.sin(n / 20) + numbers.gauss(0, 0.3) for n in range(length)]
    write(result, values)


def smooth(window: int, source: str, result: str) -> None:
    """The mean of the last `window` values, for each value."""
    values = read(source)
    log.info("smoothing %d values over %d", len(values), window)
    write(result, [mean(values[max(0, n - window) : n]) for n in range(1, len(values) + 1)])


def compare(source: str, smoothed: dict[str, str], result: str) -> None:
    """How far each prediction is from the value that follows, on the mean."""
    values = read(source)
    errors = {}
    for name, path in smoothed.items():
        pairs = zip(read(path), values[1:], strict=False)
        errors[name] = mean([abs(guess - value) for guess, value in pairs])
    lines = [f"{error:.4f} {name}\n" for name, error in errors.items()]
    Path(result).write_text("".join(sorted(lines)))


def mean(values: list[float]) -> float:
    """The arithmetic mean."""
    return sum(values) / len(values)


def read(path: str) -> list[float]:
    """The numbers of a file, one a line."""
    return [float(line) for line in Path(path).read_text().splitlines()]


def write(path: str, values: list[float]) -> None:
    """Write numbers, one a line."""
    Path(path).write_text("".join(f"{value}\n" for value in values))


DATA, FAST, SLOW = "results/series.txt", "results/fast.txt", "results/slow.txt"
TABLE = "results/errors.txt"

jobs = buildhpc.JobList(logs="results/logs", log_file="results/jobs.log", time="5m")
jobs.add("1", simulate, length=2000, seed=1, result=DATA, outputs=DATA)
for name, window, path in (("1-1", 3, FAST), ("1-2", 12, SLOW)):
    job = jobs.add(name, smooth, window=window, source=DATA, result=path, outputs=path, after="1")
    job.needs(mem="200M")
jobs.add(
    "2",
    compare,
    source=DATA,
    smoothed={"over 3": FAST, "over 12": SLOW},
    result=TABLE,
    outputs=TABLE,
    after=["1-1", "1-2"],
)
jobs.add("2-1", "head -n 1 {input} > {output}", inputs=TABLE, outputs="results/best.txt", after="2")
jobs.add("2-2", ["sort", "--reverse", TABLE], after="2", key=1)

if __name__ == "__main__":
    sys.exit(jobs.main())
