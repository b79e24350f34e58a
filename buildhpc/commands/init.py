"""Write a commented Pipefile to start from, that runs as it is."""

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


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `init`."""
    parser.add_argument("--minimal", action="store_true", help="without the comments")


def run(args: argparse.Namespace) -> int:
    """Write the files; never over one that is there. Returns the exit code."""
    from buildhpc.commands.common import PIPEFILES
    from buildhpc.messages import commands as messages

    path = Path(args.file or "Pipefile")
    for there in (str(path),) if args.file else PIPEFILES:
        if Path(there).exists() or Path(there).is_symlink():
            raise messages.already_there(there)
    sample = Path(_SAMPLE)
    texts = {path: _without_comments(_COMMENTED) if args.minimal else _COMMENTED}
    if not any(sample.parent.glob("*.txt")):
        texts[sample] = _SAMPLE_TEXT
    for file, text in texts.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as opened:
                opened.write(text)
        except OSError as error:
            raise messages.cannot_write(str(file), (error.strerror or str(error)).lower()) from None
        print(f"wrote {file}")
    print(f"`hpcmake{f' -f {args.file}' if args.file else ''}` runs it")
    return 0


def _without_comments(text: str) -> str:
    kept = [line for line in text.split("\n") if not line.lstrip().startswith("#")]
    return "\n".join(kept).lstrip("\n")
