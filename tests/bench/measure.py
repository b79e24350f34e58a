"""Times whole commands from outside, tools in turn, so that a drifting machine drifts for all."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figures:
    """One run. cpu_s: of the command and all its children. peak_mib: of its largest process."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def run_once(command: Sequence[str], folder: Path) -> Figures:
    """Run a command in a folder. Raises: RuntimeError when it fails."""
    begun = time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - begun
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {process.returncode}\n{said.decode()[-2000:]}")
    return Figures(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def in_turn(
    commands: Mapping[str, Sequence[str]],
    folder: Path,
    rounds: int,
    before: Callable[[], None] | None = None,
) -> dict[str, list[Figures]]:
    """Run the commands one after the other, `rounds` times. `before` goes before each."""
    found: dict[str, list[Figures]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            if before is not None:
                before()
            found[name].append(run_once(command, folder))
    return found


def median(figures: Sequence[Figures], name: str) -> float:
    """The median of one figure."""
    values: list[float] = [getattr(each, name) for each in figures]
    return statistics.median(values)
