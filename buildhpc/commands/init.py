"""Write a commented Pipefile to start from, or a Python file, that runs as it is."""

from __future__ import annotations

import argparse
from pathlib import Path

_SAMPLE = "data/example.txt"
_SAMPLE_TEXT = "one line\nanother line\nand a third\n"

_COMMENTED = """\
# What files are made from what files. `hpcmake` makes all that is not up to date, `hpcmake -n`
# shows what it would do and why, `hpcmake check` looks for mistakes.

# A value, visible from here on. This one has a row for each file that is there: row.name.
let texts = glob("data/{name}.txt")

# What `hpcmake` without a target makes.
rule all:
    input: "results/summary.tsv"

# `{name}` is a wildcard: this rule makes results/example.lines, and any other of that form.
rule count_lines:
    output: "results/{name}.lines"
    input: "data/{name}.txt"
    # What a job needs, the same words for this machine and for any cluster.
    cores: 1
    mem: 100M
    time: 5m
    # A block of bash, run as it stands; names in braces are filled in and quoted.
    shell:
        wc -l < {input} > {output}

# One file from many: a path for each row. The block is a script of its own: an error ends it.
rule summary:
    output: "results/summary.tsv"
    input: "results/{row.name}.lines" for row in texts
    shell:
        for file in {input}; do
            printf '%s\\t%d\\n' "$(basename "$file" .lines)" "$(cat "$file")"
        done > {output}
"""

_PYTHON = """\
import logging
import sys
from pathlib import Path

import buildhpc

log = logging.getLogger(__name__)


# A function of a job is imported by a worker, and gets what the job was added with.
def simulate(seed: int, steps: int, result: str) -> None:
    log.info("seed %d, %d steps", seed, steps)
    Path(result).write_text(f"{sum(range(seed, seed + steps))}\\n")


# What each attempt prints goes to logs/NAME.ATTEMPT.out and .err.
jobs = buildhpc.JobList(logs="logs", log_file="pipeline.log")

jobs.add("prepare", "mkdir -p results")
# The jobs simulate/1, simulate/2 and simulate/3; each is skipped while its result is there.
task = jobs.task("simulate")
for seed in (1, 2, 3):
    result = f"results/{seed}.txt"
    job = task.add(f"{seed}", simulate, seed=seed, steps=10, result=result, outputs=result)
    # What a job needs, the same words for this machine and for any cluster.
    job.needs(cores=1, mem="100M", time="5m")
# A command gets its arguments as `--key value`.
jobs.add("report", "cat results/*.txt; echo", after=["prepare", "simulate"], title="sums")

if __name__ == "__main__":
    sys.exit(jobs.main())
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `init`."""
    add = parser.add_argument
    add("--minimal", action="store_true", help="without the comments")
    add("--python", action="store_true", help="a Python file that builds a job list instead")


def run(args: argparse.Namespace) -> int:
    """Write the files; never over one that is there. Returns the exit code."""
    from buildhpc.commands.common import PIPEFILES
    from buildhpc.messages import commands as messages

    path = Path(args.file or ("pipeline.py" if args.python else "Pipefile"))
    listed = args.python or path.suffix == ".py"
    for there in (str(path),) if args.file or args.python else PIPEFILES:
        if Path(there).exists() or Path(there).is_symlink():
            raise messages.already_there(there)
    sample = Path(_SAMPLE)
    text = _PYTHON if listed else _COMMENTED
    texts = {path: _without_comments(text) if args.minimal else text}
    if not listed and not any(sample.parent.glob("*.txt")):
        texts[sample] = _SAMPLE_TEXT
    for file, text in texts.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as opened:
                opened.write(text)
        except OSError as error:
            raise messages.cannot_write(str(file), (error.strerror or str(error)).lower()) from None
        print(f"wrote {file}")
    print(f"`hpcmake{f' -f {path}' if args.file or listed else ''}` runs it")
    return 0


def _without_comments(text: str) -> str:
    kept = [line for line in text.split("\n") if not line.lstrip().startswith("#")]
    return "\n".join(kept).lstrip("\n")
