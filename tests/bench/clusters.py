"""What jobs on a cluster cost, on the Slurm that `tests/clusters` boots: a table of figures.

    PYTHONPATH=tests python tests/bench/clusters.py                all but what takes long
    PYTHONPATH=tests python tests/bench/clusters.py --full         100,000 jobs known as well
    PYTHONPATH=tests python tests/bench/clusters.py --only submit,run

`--snakemake PATH` names a Snakemake with its Slurm executor, to compare with. CPU seconds are
those of the command and its children. Figures that have a limit stand beside it at the end;
nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import runner as runners
from cluster_fixtures import FOLDER
from conftest import Pipe
from measure import Figures, run_once
from real_schedulers import Slurm, script
from setting import Verdict
from slurm_scenes import SlurmScene, slurm_scene

# Jobs that would begin in an hour: what is measured is what it takes to have them in the queue.
LATER = """\
rule all:
    input: "out/{{n}}" for n in range({count})
rule one:
    output: "out/{{n}}"
    options: "--begin=now+1hour"
    shell: "echo {{n}} > {{output}}"
"""
NOW = LATER.replace('    options: "--begin=now+1hour"\n', "")
SNAKEFILE = """\
rule all:
    input: expand("out/{{n}}", n=range({count}))
rule one:
    output: "out/{{n}}"
    resources: mem_mb=100, runtime=10
    shell: "echo {{wildcards.n}} > {{output}}"
"""
COMMANDS = ("sbatch", "squeue", "scontrol", "scancel", "sacct")


@dataclass
class Bench:
    """Where is measured, and what came of it."""

    slurm: Slurm
    folder: Path
    snakemake: str | None
    full: bool
    verdicts: list[Verdict] = field(default_factory=list)

    @contextmanager
    def scene(self, text: str) -> Iterator[SlurmScene]:
        """A project in a folder of its own; what it leaves at the scheduler is cancelled."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        scene = slurm_scene(Pipe(folder), Slurm(self.slurm.env, folder, frozenset()))
        scene.site("max_submitted = 20000\n")
        scene.pipe.write("Pipefile", text)
        os.environ.update(scene.env)
        try:
            yield scene
        finally:
            assert scene.slurm is not None
            scene.slurm.end()

    def timed(self, scene: SlurmScene, *words: str) -> Figures:
        """One hpcmake, and how often it called the scheduler."""
        return run_once(scene.pipe.command(*words), scene.pipe.folder)

    def limit(self, what: str, found: float, limit: float, unit: str) -> None:
        """Have a figure beside its limit at the end."""
        self.verdicts.append(Verdict(what, found, limit, unit))


def calls(scene: SlurmScene) -> dict[str, int]:
    """How often each command was called so far."""
    return {name: len(scene.calls(name)) for name in COMMANDS}


def row(what: str, figures: Figures | None = None, more: str = "") -> None:
    """Print a line of the table."""
    text = f"{figures.wall_s:8.2f} s {figures.cpu_s:8.2f} s CPU" if figures else " " * 25
    print(f"{what:44} {text}  {more}", flush=True)


def counted(before: dict[str, int], after: dict[str, int]) -> str:
    """What was called in between."""
    names = [(name, after[name] - before[name]) for name in COMMANDS]
    return ", ".join(f"{number} {name}" for name, number in names if number)


def submit(bench: Bench) -> None:
    """Submitting jobs of one rule, looking at them, cancelling them."""
    for count in (100, 1_000, 10_000):
        with bench.scene(LATER.format(count=count)) as scene:
            figures = bench.timed(scene, "--cluster", "slurm", "--detach")
            made = calls(scene)
            row(f"submit {count:,} jobs", figures, counted(dict.fromkeys(COMMANDS, 0), made))
            if count == 10_000:
                bench.limit("submit 10,000 jobs: calls of sbatch", made["sbatch"], 12, "")
                bench.limit("submit 10,000 jobs", figures.cpu_s, 10, "s CPU")
            figures = bench.timed(scene, "advance")
            row(f"advance, {count:,} in the queue", figures, counted(made, calls(scene)))
            row(f"status, {count:,} in the queue", bench.timed(scene, "status"))
            made = calls(scene)
            figures = bench.timed(scene, "cancel", "--all", "--yes")
            row(f"cancel {count:,} jobs", figures, counted(made, calls(scene)))


def rest(bench: Bench) -> None:
    """A front end that follows 10,000 jobs of which nothing is heard."""
    count, window_s = 10_000, 60.0
    with bench.scene(LATER.format(count=count)) as scene:
        scene.pipe.write("hpcmake.toml", "[cluster.slurm]\nmax_submitted = 20000\n")
        with scene.following("-q") as front:
            scene.wait_for(lambda: len(scene.squeue("%i")) == count, "all are submitted", 300)
            time.sleep(20.0)  # its first look at the queue is over
            before, begun_s = cpu_s(front.pid), time.monotonic()
            time.sleep(window_s)
            used = 100 * (cpu_s(front.pid) - before) / (time.monotonic() - begun_s)
            row(f"follow {count:,} jobs at rest", None, f"{used:.2f} % CPU")
            bench.limit("follow 10,000 jobs at rest", used, 1.0, "% CPU")


def cpu_s(pid: int) -> float:
    """CPU time of a process and of the children that it has waited for."""
    values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, values[11:15])) / os.sysconf("SC_CLK_TCK")


def known(bench: Bench) -> None:
    """`status` where many jobs are known."""
    for count in (10_000, 100_000) if bench.full else (10_000,):
        with bench.scene(LATER.format(count=count)) as scene:
            scene.site("max_submitted = 2000\n")
            figures = bench.timed(scene, "--cluster", "slurm", "--detach")
            row(f"plan {count:,} jobs, submit 1,999", figures)
            row(f"status, {count:,} known", bench.timed(scene, "status"))
            row(f"dry run, {count:,} known", bench.timed(scene, "-n", "-q", "--cluster", "slurm"))


def run(bench: Bench) -> None:
    """From the command to the last file: 1,000 trivial jobs, and the same as a plain array."""
    with bench.scene(NOW.format(count=1_000)) as scene:
        figures = bench.timed(scene, "--cluster", "slurm", "-q")
        row("build 1,000 trivial jobs", figures, counted(dict.fromkeys(COMMANDS, 0), calls(scene)))
        scene.empty()
        assert scene.slurm is not None
        scene.pipe.write("plain/.keep")
        words = ["-o", "/dev/null", "--wait", "--array=0-999", "--mem=100M", "--wrap"]
        words.append("echo $SLURM_ARRAY_TASK_ID > plain/$SLURM_ARRAY_TASK_ID")
        plain = run_once(["sbatch", *words], scene.pipe.folder)
        assert len(list(scene.pipe.path("plain").iterdir())) == 1_001
        row("the same as `sbatch --wait --array`", plain, f"x {figures.wall_s / plain.wall_s:.2f}")


def rival(bench: Bench) -> None:
    """100 jobs, and the same with Snakemake."""
    with bench.scene(NOW.format(count=100)) as scene:
        row("build 100 trivial jobs", bench.timed(scene, "--cluster", "slurm", "-q"),
            counted(dict.fromkeys(COMMANDS, 0), calls(scene)))  # fmt: skip
    if bench.snakemake is None:
        row("the same with Snakemake", None, "not asked for: --snakemake PATH")
        return
    with bench.scene("") as scene:
        scene.pipe.write("Snakefile", SNAKEFILE.format(count=100))
        words = ["--executor", "slurm", "--jobs", "100", "--quiet", "all"]
        figures = run_once([bench.snakemake, *words], scene.pipe.folder)
        made = counted(dict.fromkeys(COMMANDS, 0), calls(scene))
        row("the same with Snakemake", figures, made)


def runner(bench: Bench) -> None:
    """One runner beside the shell that its recipe is."""
    folder = Path(tempfile.mkdtemp(dir=bench.folder))
    os.chdir(folder)
    print(runners.told("a runner", *runners.measured(runners.bed_of(folder), 15)), flush=True)


PARTS: dict[str, Callable[[Bench], None]] = {
    each.__name__: each for each in (submit, runner, run, rival, known, rest)
}


@contextmanager
def booted() -> Iterator[Slurm]:
    """The Slurm cluster that nothing breaks, which nobody takes down meanwhile."""
    done = script("slurm-up", "alpha")
    assert done.returncode == 0, done.stderr
    name, value = done.stdout.strip().removeprefix("export ").split("=", 1)
    with ExitStack() as stack:
        for each in ("in-use", "alpha"):
            if (lock := FOLDER / f"{each}.lock").exists():
                file = stack.enter_context(lock.open())
                fcntl.flock(file, fcntl.LOCK_SH)
        yield Slurm({name: value}, Path("/"), frozenset())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", default=",".join(PARTS), metavar="PART,...")
    parser.add_argument("--snakemake", metavar="PATH")
    args = parser.parse_args()
    version = subprocess.run(["sinfo", "-V"], capture_output=True, text=True, check=False).stdout
    print(
        f"{platform.platform()}, {version.strip()}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}"
    )
    with booted() as slurm, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        bench = Bench(slurm, Path(folder), args.snakemake, args.full)
        for part in args.only.split(","):
            PARTS[part](bench)
        os.chdir("/")
    print("\nlimits")
    for verdict in bench.verdicts:
        print(f"  {verdict}")


if __name__ == "__main__":
    main()
