"""What a build costs: nothing to do, planning, one change, and jobs that do nothing."""

from __future__ import annotations

import os
from pathlib import Path

from graphs import pretend_built, remove_outputs
from measure import Figures, in_turn, median, run_once
from setting import Setting, table

# Writes the CPU time of its parent, hpcmake, at the moment when the job starts.
_STARTED = """\
rule all:
    output: "all.out"
    input: "b.{{i}}" for i in range({n})
    shell: ": > {{output}}"

rule a:
    output: "a.{{n}}"
    input: "src.{{n}}"
    shell: "cut -d' ' -f14,15 /proc/$PPID/stat > started; : > {{output}}"

rule b:
    output: "b.{{n}}"
    input: "a.{{n}}"
    shell: ": > {{output}}"
"""
_READY = """\
rule all:
    input: "r.{{i}}" for i in range({n})

rule r:
    output: "r.{{n}}"
    shell: ": > {{output}}"
"""


def noop(setting: Setting) -> None:
    """Nothing to do."""
    for n in setting.sizes:
        folder = setting.graph(n)
        pretend_built(folder, n)
        run_once([*setting.hpcmake, "-q", "--touch"], folder)
        tools = setting.tools(n)
        for command in tools.values():
            run_once(command, folder)  # the first one may still write its notes
        found = in_turn(tools, folder, setting.rounds)
        table(f"nothing to do, {2 * n + 1:,} jobs", found, "ninja")


def dry(setting: Setting) -> None:
    """`-n`, everything missing."""
    cpu_s: dict[int, float] = {}
    for n in setting.sizes:
        folder = setting.graph(n)
        remove_outputs(folder, n)
        tools = setting.tools(n, dry=True)
        if n > 10_000:
            tools.pop("ninja", None)  # quadratic in the gather: 40 s and more
        found = in_turn(tools, folder, setting.rounds)
        table(f"-n, all missing, {2 * n + 1:,} jobs", found, "make")
        cpu_s[n] = median(found["hpcmake"], "cpu_s")
        if n == 100_000:
            setting.limit("-n, all missing, 200,001 jobs", cpu_s[n], 4.0)
            peak = median(found["hpcmake"], "peak_mib")
            setting.limit("-n, all missing, 200,001 jobs: memory", peak, 250, "MiB")
            setting.limit("-n, 200,001 jobs : 20,001 jobs", cpu_s[n] / cpu_s[10_000], 12, "")


def one(setting: Setting) -> None:
    """One source changed: the whole build of three jobs, and hpcmake until the first one starts."""
    for n in setting.sizes:
        folder = setting.graph(n)
        (folder / "Started").write_text(_STARTED.format(n=n))
        hpcmake = [*setting.hpcmake, "-q", "-f", "Started"]
        tools = {**setting.tools(n), "hpcmake": hpcmake}
        found: dict[str, list[Figures]] = {name: [] for name in tools}
        until: list[Figures] = []
        for name, command in tools.items():
            # Not in turn: to each tool what another one made would be a change.
            pretend_built(folder, n)
            run_once([*hpcmake, "--touch"], folder)
            run_once(command, folder)
            for _ in range(setting.rounds):
                os.utime(folder / "src.7")
                found[name].append(run_once(command, folder))
                if name == "hpcmake":
                    until.append(_until_start(folder))
        table(f"one source changed, {2 * n + 1:,} jobs", found, "ninja")
        middle = median(until, "cpu_s")
        print(f"  hpcmake until its first job starts: {middle:.2f} s CPU")
        if n == 100_000:
            setting.limit("one of 200,001 sources changed, until its job starts", middle, 3.0)


def _until_start(folder: Path) -> Figures:
    ticks = sum(map(int, (folder / "started").read_text().split()))
    return Figures(0.0, ticks / os.sysconf("SC_CLK_TCK"), 0.0)


def run(setting: Setting) -> None:
    """Trivial jobs, two at a time, from nothing."""
    for n in (500, 2_000, 10_000):
        folder = setting.graph(n)
        tools = setting.tools(n)

        def clear(folder: Path = folder, n: int = n) -> None:
            remove_outputs(folder, n)

        found = in_turn(tools, folder, min(setting.rounds, 3), clear)
        table(f"{2 * n + 1:,} trivial jobs, -j2", found, "ninja", per=2 * n + 1)
        if n == 2_000 and "ninja" in found:
            for each, words in (("cpu_s", "CPU"), ("wall_s", "wall time")):
                ratio = median(found["hpcmake"], each) / median(found["ninja"], each)
                setting.limit(f"4,001 trivial jobs, -j2, {words} : ninja's", ratio, 1.25, "")


def ready(setting: Setting) -> None:
    """Jobs that wait for nothing: what each costs, however many are ready."""
    each_ms: list[float] = []
    for n in (1_000, 5_000, 20_000):
        folder = setting.folder / f"ready{n}"
        folder.mkdir(exist_ok=True)
        (folder / "Pipefile").write_text(_READY.format(n=n))
        command = [*setting.hpcmake, "-q", "-j2", "--force-all"]
        found = in_turn({"hpcmake": command}, folder, min(setting.rounds, 3))
        table(f"{n:,} ready jobs, -j2", found, per=n)
        each_ms.append(1000 * median(found["hpcmake"], "cpu_s") / n)
    setting.limit("a job of 20,000 ready ones : of 1,000", each_ms[-1] / each_ms[0], 1.1, "")
