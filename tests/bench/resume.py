"""A large build that is killed halfway: what it costs to find out what is left to do.

    python tests/bench/resume.py              100,001 trivial jobs, killed at 50 % (four minutes)
    python tests/bench/resume.py --finish     and carried on to its end (four minutes more)

Bars: the plan of the rest takes at most 6 s of CPU and 250 MiB; no more jobs run again than are
done in a second, since what happened is written down every 0.2 s.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from graphs import outputs, write_graph
from measure import Figures, median, run_once

MOST_CPU_S = 6.0
MOST_MIB = 250.0
_HPCMAKE = (sys.executable, "-m", "buildhpc.cli")


def kill_halfway(folder: Path, jobs: int, share: float) -> float:
    """Start a build and kill it, with all that it started, when a share of the jobs is done.

    Returns the jobs a second up to then.
    """
    begun = 0.0
    with subprocess.Popen(
        [*_HPCMAKE, "-q", f"-j{os.cpu_count()}"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    ) as build:
        while (done := made(folder)) < share * jobs:
            if build.poll() is not None:
                raise RuntimeError(f"the build ended by itself: {build.returncode}")
            begun = begun or (time.monotonic() if done else 0.0)
            time.sleep(0.2)
        os.killpg(build.pid, signal.SIGKILL)
    return done / (time.monotonic() - begun)


def made(folder: Path) -> int:
    """How many outputs there are."""
    return sum(name.startswith(("a.", "b.", "all.")) for name in os.listdir(folder))


def again(folder: Path, jobs: int) -> int:
    """How many jobs would run though their output is there."""
    said = subprocess.run(
        [*_HPCMAKE, "-n", "--json"], cwd=folder, capture_output=True, text=True, check=True
    )
    planned = [json.loads(line) for line in said.stdout.splitlines() if '"job"' in line]
    return len(planned) - (jobs - made(folder))


def told(what: str, figures: Figures) -> None:
    """Print a line of figures."""
    print(
        f"{what:28} cpu {figures.cpu_s:7.2f} s  wall {figures.wall_s:7.2f} s"
        f"  peak {figures.peak_mib:5.0f} MiB",
        flush=True,
    )


def measured(folder: Path, jobs: int, share: float, *, finish: bool) -> bool:
    """Kill a build and print what the rest costs; whether the bars hold."""
    n = (jobs - 1) // 2
    write_graph(folder, n)
    rate = kill_halfway(folder, jobs, share)
    print(f"killed at {made(folder):,} of {jobs:,} jobs, {rate:.0f} a second", flush=True)
    rounds = [run_once([*_HPCMAKE, "-n", "-q"], folder) for _ in range(3)]
    cpu_s, mib = median(rounds, "cpu_s"), median(rounds, "peak_mib")
    told("plan of the rest, median of 3", Figures(median(rounds, "wall_s"), cpu_s, mib))
    repeated = again(folder, jobs)
    most = (os.cpu_count() or 1) + int(rate)
    print(f"{repeated} jobs would run again, of at most {most}", flush=True)
    if finish:
        told("the rest", run_once([*_HPCMAKE, "-q", f"-j{os.cpu_count()}"], folder))
        missing = [name for name in outputs(n) if not (folder / name).exists()]
        told("nothing to do", run_once([*_HPCMAKE, "-q"], folder))
        if missing or again(folder, jobs):
            print(f"not made: {missing[:5]}")
            return False
    return cpu_s <= MOST_CPU_S and mib <= MOST_MIB and repeated <= most


def main() -> int:
    """Measure, and say whether the bars hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--jobs", type=int, default=100_001)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--finish", action="store_true")
    args = parser.parse_args()
    print(
        f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}"
    )
    with tempfile.TemporaryDirectory() as folder:
        good = measured(Path(folder), args.jobs, args.share, finish=args.finish)
    print("within the bars" if good else "NOT within the bars")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
