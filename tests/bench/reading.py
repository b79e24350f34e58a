"""What there is to read and to hold costs: starting, parsing, wide and long graphs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from measure import in_turn, median, run_once
from setting import Setting, table

from buildhpc.run.frontier import Frontier

# Whether the library that parses was loaded, told after all is done.
_LOADED = """\
import sys
from buildhpc.cli import main
sys.argv = ["hpcmake", "-q", "o0"]
main()
print("lark" in sys.modules)
"""


def start(setting: Setting) -> None:
    """`--version` and `--help`."""
    commands = {word: [*setting.hpcmake, word] for word in ("--version", "--help")}
    table("start", in_turn(commands, setting.folder, 9))


def parse(setting: Setting) -> None:
    """Explicit rules of seven lines, parsed anew; unchanged; unchanged with a job to run."""
    for rules in (1_000, 5_000):
        folder = setting.folder / f"rules{rules}"
        folder.mkdir(exist_ok=True)
        (folder / "s").touch()
        (folder / "Pipefile").write_text("".join(_rule(number) for number in range(rules)))
        build = [*setting.hpcmake, "-q", "o0"]
        shutil.rmtree(folder / ".hpcmake", ignore_errors=True)
        found = in_turn({"anew": [*build, "-n"]}, folder, setting.rounds)
        run_once(build, folder)
        run_once(build, folder)
        found |= in_turn({"unchanged": build}, folder, setting.rounds)
        found |= in_turn({"a job": build}, folder, setting.rounds, (folder / "s").touch)
        table(f"{rules:,} explicit rules, one target", found)
        if rules == 1_000:
            setting.limit("1,000 rules parsed anew", median(found["anew"], "cpu_s"), 0.6)
        said = subprocess.run(
            [sys.executable, "-c", _LOADED], cwd=folder, capture_output=True, text=True, check=True
        ).stdout
        print(f"  unchanged, the parser was loaded: {'yes' if 'True' in said else 'no'}")


def _rule(number: int) -> str:
    return (
        f'rule r{number}:\n    output: "o{number}"\n    input: "s"\n    cores: 1\n'
        f'    mem: 1G\n    time: 10m\n    shell: ": > {{output}}"\n\n'
    )


def wide(setting: Setting) -> None:
    """One job with very many inputs."""
    cpu_s = []
    for count in (10_000, 100_000):
        folder = setting.folder / f"wide{count}"
        if not folder.exists():
            folder.mkdir()
            for number in range(count):
                (folder / f"s.{number}").touch()
        (folder / "Pipefile").write_text(
            f'rule all:\n    output: "o"\n    input: "s.{{i}}" for i in range({count})\n'
            '    shell: "wc -l < {input:file} > {output}"\n'
        )

        def clear(folder: Path = folder) -> None:
            shutil.rmtree(folder / ".hpcmake", ignore_errors=True)

        command = [*setting.hpcmake, "-q", "--force"]
        found = in_turn({"build": command}, folder, min(setting.rounds, 3), clear)
        table(f"one job of {count:,} inputs", found)
        cpu_s.append(median(found["build"], "cpu_s"))
    setting.limit("one job of 100,000 inputs : of 10,000", cpu_s[1] / cpu_s[0], 12, "")


def chain(setting: Setting) -> None:
    """A very long chain of jobs, planned."""
    cpu_s = []
    for count in (1_000, 10_000, 100_000):
        folder = setting.folder / f"chain{count}"
        folder.mkdir(exist_ok=True)
        (folder / "c.0").touch()
        (folder / "Pipefile").write_text(
            f'rule all:\n    input: "c.{count}"\n\nrule link:\n    output: "c.{{n,[0-9]+}}"\n'
            '    input: "c." + str(int(n) - 1)\n    shell: ": > {output}"\n'
        )
        found = in_turn({"-n": [*setting.hpcmake, "-n", "-q"]}, folder, min(setting.rounds, 3))
        table(f"a chain of {count:,}, planned", found)
        cpu_s.append(median(found["-n"], "cpu_s"))
    setting.limit("a chain of 100,000 : of 10,000", cpu_s[2] / cpu_s[1], 12, "")


def gather(setting: Setting) -> None:
    """Jobs that one job waits for, finished one by one: the bookkeeping alone."""
    each_us: list[float] = []
    print("\na gather, scheduled")
    for count in (20_000, 200_000):
        times_s = []
        for _ in range(setting.rounds):
            waits: list[Sequence[int]] = [*[()] * count, range(count)]
            frontier = Frontier(count + 1, waits.__getitem__)
            begun_s = time.process_time()
            ready = [each for task in range(count) for each in frontier.finish(task)]
            times_s.append(time.process_time() - begun_s)
            assert ready == [count]
        each_us.append(1e6 * sorted(times_s)[len(times_s) // 2] / count)
        print(f"  {count:,} jobs: {each_us[-1]:.2f} us CPU each")
    setting.limit(
        "the end of a job, gather of 200,000 : of 20,000", each_us[1] / each_us[0], 1.5, ""
    )
