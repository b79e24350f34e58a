"""Graphs that nobody here drew: real scientific workflows, run and checked as Pipefiles.

    python tests/bench/workflows.py                        Montage, Epigenomics, 1000Genome
    python tests/bench/workflows.py --tasks 5000 --only Montage

Instances come from wfcommons (`pip install wfcommons`), which makes them from recipes of real
runs. Each task becomes an explicit rule that reads its inputs and writes small real files. Then:
every task runs once and after what it needs; a second build does nothing; touching one source
runs exactly what descends from it; a build killed half-way is carried on, and only the rest runs.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HPCMAKE = [sys.executable, "-m", "buildhpc.cli"]
RECIPES = {
    "Montage": "MontageRecipe",
    "Epigenomics": "EpigenomicsRecipe",
    "1000Genome": "GenomeRecipe",
}


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a workflow: its name, the files it reads and those it writes."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def generate(recipe: str, tasks: int) -> list[Task]:
    """The tasks of an instance of about this size."""
    import wfcommons.wfchef.recipes as recipes
    from wfcommons import WorkflowGenerator

    random.seed(1)
    workflow = WorkflowGenerator(getattr(recipes, recipe).from_num_tasks(tasks)).build_workflow()
    made: dict[str, str] = {}
    outputs: dict[str, list[str]] = {}
    for task in workflow.tasks.values():
        names = [_name(file) for file in task.output_files] or [f"{task.task_id}.out"]
        fresh = [name if name not in made else f"{task.task_id}.{name}" for name in names]
        outputs[task.task_id] = list(dict.fromkeys(fresh))
        made.update(dict.fromkeys(outputs[task.task_id], task.task_id))
    found = []
    for task in workflow.tasks.values():
        parents = list(workflow.predecessors(task.task_id))
        inputs = [outputs[parent][0] for parent in parents]
        inputs += [name for name in map(_name, task.input_files) if made.get(name) in parents]
        if not parents:
            inputs += [f"source.{task.task_id}"]
        found.append(
            Task(_word(task.task_id), tuple(dict.fromkeys(inputs)), tuple(outputs[task.task_id]))
        )
    return found


def _name(file: Any) -> str:
    return str(file.file_id).replace("/", "_")


def _word(text: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in text)


def write(folder: Path, tasks: list[Task]) -> list[str]:
    """The Pipefile and the sources; the names of the sources."""
    made = {path for task in tasks for path in task.outputs}
    used = {path for task in tasks for path in task.inputs}
    sources = sorted(used - made)
    for number, path in enumerate(sources):
        (folder / path).write_text(f"source {number}\n")
    finals = sorted(made - used)
    lines = ["rule all:", "    input:", *(f'        "{path}"' for path in finals), ""]
    for task in tasks:
        lines += [f"rule {task.name}:", "    output:", *(f'        "{p}"' for p in task.outputs)]
        lines += ["    input:", *(f'        "{p}"' for p in task.inputs)] if task.inputs else []
        lines += ["    shell:", f"        echo {task.name} >> ran.log"]
        lines += (
            ["        sum=$(xargs -d '\\n' cat < {input:file} | sha256sum)"]
            if task.inputs
            else ["        sum=none"]
        )
        lines += ['        for file in {output}; do echo "$file $sum" > "$file"; done', ""]
    (folder / "Pipefile").write_text("\n".join(lines))
    return sources


def build(folder: Path, *words: str) -> float:
    """Build; the CPU seconds of it all. Raises: RuntimeError."""
    with subprocess.Popen([*HPCMAKE, "-q", "-j2", *words], cwd=folder) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"hpcmake ended with {process.returncode}")
    return used.ru_utime + used.ru_stime


def ran(folder: Path) -> Counter[str]:
    """How often each task ran since the last time this was asked."""
    log = folder / "ran.log"
    found = Counter(log.read_text().split()) if log.exists() else Counter[str]()
    log.unlink(missing_ok=True)
    return found


def descendants(tasks: list[Task], source: str) -> set[str]:
    """The tasks that follow from a file."""
    users: dict[str, list[Task]] = {}
    for task in tasks:
        for path in task.inputs:
            users.setdefault(path, []).append(task)
    found: set[str] = set()
    todo = [source]
    while todo:
        for task in users.get(todo.pop(), ()):
            if task.name not in found:
                found.add(task.name)
                todo += task.outputs
    return found


def check(name: str, size: int) -> None:
    """One workflow, all that is promised of it."""
    tasks = generate(RECIPES[name], size)
    everything = Counter(task.name for task in tasks)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sources = write(folder, tasks)
        planned = build(folder, "-n")
        first = build(folder)
        expect(ran(folder), everything, f"{name}: first build")
        build(folder)
        again = build(folder)
        expect(ran(folder), Counter(), f"{name}: second build")
        source = sources[len(sources) // 2]
        os.utime(folder / source)
        build(folder)
        expect(ran(folder), Counter(descendants(tasks, source)), f"{name}: one source touched")
        killed = killed_half_way(folder, tasks)
        expect(killed, everything, f"{name}: killed half-way")
        print(
            f"{name:12} {len(tasks):6,} tasks: plan {planned:.2f} s, build {first:.2f} s, "
            f"nothing to do {again:.2f} s CPU; all checks hold",
            flush=True,
        )


def killed_half_way(folder: Path, tasks: list[Task]) -> Counter[str]:
    """Kill a build of everything when half of it is done, and carry on; what ran in all."""
    for task in tasks:
        for path in task.outputs:
            (folder / path).unlink()
    with subprocess.Popen([*HPCMAKE, "-q", "-j2"], cwd=folder) as process:
        while not (folder / "ran.log").exists() or _lines(folder / "ran.log") < len(tasks) // 2:
            if process.poll() is not None:
                raise RuntimeError("the build ended before it could be killed")
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    half = ran(folder)
    build(folder)
    rest = ran(folder)
    repeated = half & rest
    print(
        f"{'':12} killed after {sum(half.values())}, then {sum(rest.values())} ran, "
        f"{sum(repeated.values())} of them again (not yet written down when it was killed)"
    )
    return half + rest - repeated


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def expect(found: Counter[str], wanted: Counter[str], what: str) -> None:
    """Compare what ran with what should have. Raises: RuntimeError."""
    if found != wanted:
        more, less = list((found - wanted).elements()), list((wanted - found).elements())
        raise RuntimeError(f"{what}: ran too often {more[:5]}, not {less[:5]}")


def main() -> None:
    """Check the workflows that were asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tasks", type=int, default=1_000)
    parser.add_argument("--only", choices=[*RECIPES], action="append")
    args = parser.parse_args()
    for name in args.only or RECIPES:
        check(name, args.tasks)


if __name__ == "__main__":
    main()
