"""What a runner costs beyond its recipe: `PYTHONPATH=tests python tests/bench/runner.py`.

CPU and wall time of one scheduler job whose recipe is `:`, less those of what any executor
pays for it, `bash -euo pipefail -c :`; in a state of 20,000 jobs: as it is, with 2,000 receipts in
the inbox, and with others that write into the state all the time. Another number of rounds than
15 may be given.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from measure import Figures, run_once
from runners import RUN, Bed

from buildhpc.state import receipts
from buildhpc.state.receipts import Key

JOBS = 20_000
RECEIPTS = 2_000
BARE = ("bash", "-euo", "pipefail", "-c", ":")


def bed_of(folder: Path) -> Bed:
    """A job that needs another one, among many others."""
    bed = Bed(folder)
    bed.job(":", ["made"])
    bed.job(":", [], ["made"], {0: ["made"]})
    bed.plan()
    bed.write("made")
    bed.record(0)
    crc = 0
    with closing(sqlite3.connect(bed.database)) as connection, connection:
        connection.executemany(
            "INSERT INTO job VALUES (?, ?, 'rule', '{}', 'waiting', '', ?, NULL, 0, ?, x'')",
            ((n, f"other{n}", RUN, crc) for n in range(3, JOBS)),
        )
        connection.execute("UPDATE guard SET rows = rows + ? WHERE id = 1", (JOBS - 3,))
    return bed


def measured(bed: Bed, rounds: int) -> tuple[list[Figures], list[Figures]]:
    """Runners, and what their recipe costs."""
    runners, recipes = [], []
    for _ in range(rounds):
        for kind in ("started", "ended"):
            receipts.remove(bed.inbox, Key(RUN, 1, 1), kind)
        runners.append(run_once(bed.command(1), bed.folder))
        recipes.append(run_once(BARE, bed.folder))
    return runners, recipes


@contextmanager
def busy(bed: Bed) -> Iterator[None]:
    """Others write into the state all the time."""
    over = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(bed.database, isolation_level=None)) as connection:
            while not over.wait(0.1):
                connection.execute("UPDATE job SET recorded = recorded + 1 WHERE id > 3")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


@contextmanager
def crowded(bed: Bed) -> Iterator[None]:
    """Many receipts lie in the inbox."""
    for number in range(10, 10 + RECEIPTS):
        Path(bed.inbox, Key(RUN, number, 1).name("ended")).touch()
    yield


@contextmanager
def quiet(_: Bed) -> Iterator[None]:
    """Nothing else happens."""
    yield


def told(name: str, runners: Sequence[Figures], recipes: Sequence[Figures]) -> str:
    """One line: medians in ms."""

    def median(pick: Callable[[Figures], float], figures: Sequence[Figures]) -> float:
        return statistics.median(map(pick, figures)) * 1000

    cpu = median(lambda f: f.cpu_s, runners) - median(lambda f: f.cpu_s, recipes)
    wall = median(lambda f: f.wall_s, runners) - median(lambda f: f.wall_s, recipes)
    peak = max(figures.peak_mib for figures in runners)
    return f"{name:<8} {cpu:6.0f} ms CPU {wall:6.0f} ms wall {peak:6.0f} MiB"


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        bed = bed_of(Path(folder))
        for around in (quiet, crowded, busy):
            with around(bed):
                print(told(around.__name__, *measured(bed, rounds)), flush=True)


if __name__ == "__main__":
    main()
