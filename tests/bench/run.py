"""hpcmake against GNU make, ninja and Snakemake on one graph, in one run, as a table of ratios.

    python tests/bench/run.py                  everything up to 20,001 jobs
    python tests/bench/run.py --full           up to 200,001 jobs (half an hour, 3 GB of inodes)
    python tests/bench/run.py --only noop,run  some of the parts

CPU seconds are those of the tool and its children. Tools that are missing are left out, and
said so. `--snakemake PATH` names a Snakemake to compare with; it is slow, so only at N = 1,000.
Figures that have a limit stand beside it at the end; where wall time is meant, nothing else
should run on the machine.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import building
import reading
from setting import Setting

HPCMAKE = [sys.executable, "-m", "buildhpc.cli"]
PARTS: dict[str, Callable[[Setting], None]] = {
    "start": reading.start,
    "noop": building.noop,
    "dry": building.dry,
    "one": building.one,
    "run": building.run,
    "ready": building.ready,
    "parse": reading.parse,
    "wide": reading.wide,
    "chain": reading.chain,
    "gather": reading.gather,
}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", default=",".join(PARTS), metavar="PART,...", help=", ".join(PARTS)
    )
    parser.add_argument("--snakemake", metavar="PATH")
    parser.add_argument(
        "--folder", type=Path, help="where to write the graphs (default: a temporary one)"
    )
    args = parser.parse_args()
    print(
        f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}"
    )
    for tool in ("ninja", "make"):
        if not shutil.which(tool):
            print(f"{tool} is not installed: not compared")
    own = shutil.which("hpcmake", path=str(Path(sys.executable).parent))
    sizes = [1_000, 10_000, 100_000] if args.full else [1_000, 10_000]
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        hpcmake = [own] if own else HPCMAKE
        setting = Setting(folder, args.rounds, sizes, hpcmake, args.snakemake)
        for part in args.only.split(","):
            PARTS[part](setting)
    print("\nlimits")
    for verdict in setting.verdicts:
        print(f"  {verdict}")


if __name__ == "__main__":
    main()
