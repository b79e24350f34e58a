"""hpcmake against GNU make, ninja and Snakemake on one graph, in one run, as a table of ratios.

    python tests/bench/run.py                  everything up to 20,001 jobs
    python tests/bench/run.py --full           up to 200,001 jobs (ten minutes, 3 GB of inodes)
    python tests/bench/run.py --only noop,run  some of the parts

CPU seconds are those of the tool and its children. Tools that are missing are left out, and
said so. `--snakemake PATH` names a Snakemake to compare with; it is slow, so only at N = 1,000.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from graphs import pretend_built, remove_outputs, write_graph
from measure import Figures, in_turn, median, run_once

HPCMAKE = [sys.executable, "-m", "buildhpc.cli"]


class Bench:
    """One run of the benchmarks. folder: where the graphs are written."""

    def __init__(self, folder: Path, args: argparse.Namespace) -> None:
        self._folder = folder
        self._rounds = args.rounds
        self._sizes = [1_000, 10_000, 100_000] if args.full else [1_000, 10_000]
        self._snakemake = args.snakemake
        own = shutil.which("hpcmake", path=str(Path(sys.executable).parent))
        self._hpcmake = [own] if own else HPCMAKE

    def tools(self, n: int, *, dry: bool = False) -> dict[str, list[str]]:
        """Command lines of the tools that are there."""
        more = ["-n"] if dry else []
        tools = {"hpcmake": [*self._hpcmake, "-q", *more]}
        if shutil.which("ninja"):
            tools["ninja"] = ["ninja", "-j2", "--quiet", *more]
        if shutil.which("make"):
            tools["make"] = ["make", "-r", "-j2", *more]
        if self._snakemake and n <= 1_000:
            tools["snakemake"] = [self._snakemake, "-j2", "-q", "all", *more]
        return tools

    def start(self) -> None:
        """`--version` and `--help`."""
        commands = {word: [*self._hpcmake, word] for word in ("--version", "--help")}
        table("start", in_turn(commands, self._folder, 9), None)

    def noop(self) -> None:
        """Nothing to do."""
        for n in self._sizes:
            folder = self._graph(n)
            pretend_built(folder, n)
            run_once([*self._hpcmake, "-q", "--touch"], folder)
            tools = self.tools(n)
            for command in tools.values():
                run_once(command, folder)  # the first one may still write its notes
            table(
                f"nothing to do, {2 * n + 1:,} jobs", in_turn(tools, folder, self._rounds), "ninja"
            )

    def dry(self) -> None:
        """`-n`, everything missing."""
        for n in self._sizes:
            folder = self._graph(n)
            remove_outputs(folder, n)
            tools = self.tools(n, dry=True)
            if n > 10_000:
                tools.pop("ninja", None)  # quadratic in the gather: 40 s and more
            table(
                f"-n, all missing, {2 * n + 1:,} jobs", in_turn(tools, folder, self._rounds), "make"
            )

    def one(self) -> None:
        """One source changed; the figures are of the whole build of three jobs."""
        for n in self._sizes:
            folder = self._graph(n)
            pretend_built(folder, n)
            run_once([*self._hpcmake, "-q", "--touch"], folder)
            tools = {k: v for k, v in self.tools(n).items() if k != "make"}
            for command in tools.values():
                run_once(command, folder)
            started: list[float] = []

            def change(folder: Path = folder) -> None:
                os.utime(folder / "src.7")

            found: dict[str, list[Figures]] = {name: [] for name in tools}
            for _ in range(self._rounds):
                for name, command in tools.items():
                    change()
                    begun = time.time()
                    found[name].append(run_once(command, folder))
                    if name == "hpcmake":
                        started.append((folder / "a.7").stat().st_mtime - begun)
                    run_once(tools["hpcmake"], folder)
                    if "ninja" in tools:
                        run_once(tools["ninja"], folder)
                    run_once(tools["hpcmake"], folder)
                    run_once(tools["hpcmake"], folder)
            table(f"one source changed, {2 * n + 1:,} jobs", found, "ninja")
            middle = sorted(started)[len(started) // 2]
            print(f"  until hpcmake's first job wrote its output: {middle:.2f} s")

    def run(self) -> None:
        """Trivial jobs, two at a time, from nothing."""
        for n in (500, 2_000, 10_000):
            folder = self._graph(n)
            tools = {
                name: [*command, "-j2"] if name == "hpcmake" else command
                for name, command in self.tools(n if n > 500 else 10**6).items()
            }

            def clear(folder: Path = folder, n: int = n) -> None:
                remove_outputs(folder, n)

            found = in_turn(tools, folder, min(self._rounds, 3), clear)
            table(f"{2 * n + 1:,} trivial jobs, -j2", found, "ninja", per=2 * n + 1)

    def parse(self) -> None:
        """A thousand explicit rules of seven lines, parsed anew and unchanged."""
        for rules in (1_000, 5_000):
            folder = self._folder / f"rules{rules}"
            folder.mkdir(exist_ok=True)
            text = "".join(_rule(number) for number in range(rules))
            (folder / "s").touch()
            commands = {"anew": [*self._hpcmake, "-n", "-q", "o0"]}
            (folder / "Pipefile").write_text(text)
            table(f"{rules:,} rules, read for -n of one target", in_turn(commands, folder, 3), None)
            run_once([*self._hpcmake, "-q", "o0"], folder)
            run_once([*self._hpcmake, "-q", "o0"], folder)
            table(
                f"{rules:,} rules, unchanged, nothing to do",
                in_turn({"unchanged": [*self._hpcmake, "-q", "o0"]}, folder, 3),
                None,
            )

    def shapes(self) -> None:
        """One job with very many inputs; a very long chain."""
        for count in (10_000, 100_000):
            folder = self._folder / f"wide{count}"
            folder.mkdir(exist_ok=True)
            for number in range(count):
                (folder / f"s.{number}").touch()
            (folder / "Pipefile").write_text(
                f'rule all:\n    output: "o"\n    input: "s.{{i}}" for i in range({count})\n'
                '    shell: "wc -l < {input:file} > {output}"\n'
            )

            def clear(folder: Path = folder) -> None:
                shutil.rmtree(folder / ".hpcmake", ignore_errors=True)

            table(
                f"one job of {count:,} inputs",
                in_turn({"build": [*self._hpcmake, "-q", "--force"]}, folder, 3, clear),
                None,
            )
        for count in (1_000, 10_000):
            folder = self._folder / f"chain{count}"
            folder.mkdir(exist_ok=True)
            (folder / "c.0").touch()
            (folder / "Pipefile").write_text(
                f'rule all:\n    input: "c.{count}"\n\nrule link:\n    output: "c.{{n}}"\n'
                '    input: "c." + str(int(n) - 1)\n    shell: ": > {output}"\n'
            )
            table(
                f"a chain of {count:,}, planned",
                in_turn({"-n": [*self._hpcmake, "-n", "-q"]}, folder, 3),
                None,
            )

    def _graph(self, n: int) -> Path:
        folder = self._folder / f"n{n}"
        if not folder.exists():
            write_graph(folder, n)
        return folder


def _rule(number: int) -> str:
    return (
        f'rule r{number}:\n    output: "o{number}"\n    input: "s"\n    cores: 1\n'
        f'    mem: 1G\n    time: 10m\n    shell: ": > {{output}}"\n\n'
    )


def table(
    title: str, found: Mapping[str, Sequence[Figures]], against: str | None, per: int | None = None
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


def main() -> None:
    """Run what was asked for."""
    parts = ("start", "noop", "dry", "one", "run", "parse", "shapes")
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(parts))
    parser.add_argument("--snakemake", metavar="PATH")
    parser.add_argument(
        "--folder", type=Path, help="where to write the graphs (default: a temporary one)"
    )
    args = parser.parse_args()
    print(
        f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}"
    )
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(args.folder or Path(temporary), args)
        for part in args.only.split(","):
            act: Callable[[], None] = getattr(bench, part)
            act()


if __name__ == "__main__":
    main()
