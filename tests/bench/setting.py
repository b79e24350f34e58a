"""Where and with which tools is measured, and what came of it: tables, ratios, limits."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graphs import write_graph
from measure import Figures, median


@dataclass(frozen=True, slots=True)
class Verdict:
    """A figure beside its limit."""

    what: str
    found: float
    limit: float
    unit: str

    def __str__(self) -> str:
        words = "met" if self.found <= self.limit else "NOT MET"
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.what:62} {self.found:8.2f} <= {self.limit:g}{unit:10} {words}"


@dataclass(slots=True)
class Setting:
    """What all parts share.

    folder: where the graphs are written. sizes: of them, the numbers of sources.
    hpcmake: its command line. snakemake: the program, None: not compared.
    verdicts: what was found beside its limit.
    """

    folder: Path
    rounds: int
    sizes: Sequence[int]
    hpcmake: Sequence[str]
    snakemake: str | None = None
    verdicts: list[Verdict] = field(default_factory=list)

    def tools(self, n: int, *, dry: bool = False) -> dict[str, list[str]]:
        """Command lines of the tools that are there."""
        more = ["-n"] if dry else []
        tools = {"hpcmake": [*self.hpcmake, "-q", "-j2", *more]}
        if shutil.which("ninja"):
            tools["ninja"] = ["ninja", "-j2", "--quiet", *more]
        if shutil.which("make"):
            tools["make"] = ["make", "-r", "-j2", *more]
        if self.snakemake and n <= 1_000:
            tools["snakemake"] = [self.snakemake, "-c2", "-q", "all", *more]
        return tools

    def graph(self, n: int) -> Path:
        """The folder of the graph of `n` sources."""
        folder = self.folder / f"n{n}"
        if not folder.exists():
            write_graph(folder, n)
        return folder

    def limit(self, what: str, found: float, limit: float, unit: str = "s CPU") -> None:
        """Put a figure beside its limit."""
        self.verdicts.append(Verdict(what, found, limit, unit))


def table(
    title: str,
    found: Mapping[str, Sequence[Figures]],
    against: str | None = None,
    per: int | None = None,
) -> None:
    """Print medians, and ratios of CPU and wall time to the tool `against`."""
    print(f"\n{title}")
    print(
        "  tool        cpu s   wall s  peak MiB"
        + ("  cpu ratio  wall ratio" if against in found else "")
        + ("  ms cpu a job" if per else "")
    )
    for name, figures in found.items():
        cpu, wall = median(figures, "cpu_s"), median(figures, "wall_s")
        line = f"  {name:10} {cpu:6.3f}  {wall:7.3f}  {median(figures, 'peak_mib'):8.0f}"
        if against is not None and against in found:
            base = found[against]
            line += f"  {cpu / median(base, 'cpu_s'):9.2f}  {wall / median(base, 'wall_s'):10.2f}"
        if per:
            line += f"  {1000 * cpu / per:12.2f}"
        print(line, flush=True)
