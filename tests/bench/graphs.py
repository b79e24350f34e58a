"""The graphs that are measured: the same files and jobs in the words of each tool.

N sources `src.K`, N files `a.K` made from them, N files `b.K` from those, one gather `all.out`
of all `b.K`: 2N+1 jobs, 3N+1 files, in one folder. Every recipe is `: > OUTPUT` in bash.
"""

from __future__ import annotations

import os
from pathlib import Path

PIPEFILE = """\
rule all:
    output: "all.out"
    input: "b.{{i}}" for i in range({n})
    shell: ": > {{output}}"

rule a:
    output: "a.{{n}}"
    input: "src.{{n}}"
    shell: ": > {{output}}"

rule b:
    output: "b.{{n}}"
    input: "a.{{n}}"
    shell: ": > {{output}}"
"""

SNAKEFILE = """\
rule all:
    input: expand("b.{{i}}", i=range({n}))
    output: "all.out"
    shell: ": > {{output}}"

rule a:
    input: "src.{{n}}"
    output: "a.{{n}}"
    shell: ": > {{output}}"

rule b:
    input: "a.{{n}}"
    output: "b.{{n}}"
    shell: ": > {{output}}"
"""

MAKEFILE = """\
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.SECONDARY:
.PHONY: default
default: all.out
all.out: {gathered}
\t@: > $@
a.%: src.%
\t@: > $@
b.%: a.%
\t@: > $@
"""

# What ninja 1.11 runs through `/bin/sh -c`; `exec` spares it the second process.
NINJA_COMMAND = 'exec bash -euo pipefail -c ": > {out}"'


def write_graph(folder: Path, n: int) -> None:
    """Sources and the build files of all tools, nothing built."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        (folder / f"src.{number}").touch()
    (folder / "Pipefile").write_text(PIPEFILE.format(n=n))
    (folder / "Snakefile").write_text(SNAKEFILE.format(n=n))
    gathered = " ".join(f"b.{number}" for number in range(n))
    (folder / "Makefile").write_text(MAKEFILE.format(gathered=gathered))
    lines = ["rule sh", "  command = " + NINJA_COMMAND.format(out="$out")]
    lines.append(f"build all.out: sh {gathered}")
    for number in range(n):
        lines.append(f"build a.{number}: sh src.{number}")
        lines.append(f"build b.{number}: sh a.{number}")
    (folder / "build.ninja").write_text("\n".join([*lines, ""]))


def outputs(n: int) -> list[str]:
    """All outputs, each after what it is made from."""
    made = [name for number in range(n) for name in (f"a.{number}", f"b.{number}")]
    return [*made, "all.out"]


def pretend_built(folder: Path, n: int) -> None:
    """Make all outputs and ninja's log of them, as a build would have left them."""
    lines = ["# ninja log v5"]
    for name in outputs(n):
        path = folder / name
        path.touch()
    now = (folder / "all.out").stat().st_mtime_ns
    for name in outputs(n):
        os.utime(folder / name, ns=(now, now))
        command = NINJA_COMMAND.format(out=name)
        lines.append(f"0\t1\t{now}\t{name}\t{murmur_hash(command.encode()):x}")
    (folder / ".ninja_log").write_text("\n".join([*lines, ""]))


def murmur_hash(data: bytes) -> int:
    """MurmurHash64A with ninja's seed. Source: ninja 1.11.1, src/build_log.cc."""
    m, r, mask = 0xC6A4A7935BD1E995, 47, 2**64 - 1
    h = (0xDECAFBADDECAFBAD ^ (len(data) * m)) & mask
    whole = len(data) // 8 * 8
    for at in range(0, whole, 8):
        k = int.from_bytes(data[at : at + 8], "little") * m & mask
        k = (k ^ (k >> r)) * m & mask
        h = (h ^ k) * m & mask
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ (h >> r)) * m & mask
    return h ^ (h >> r)


def remove_outputs(folder: Path, n: int) -> None:
    """Back to the sources, with no tool remembering anything."""
    import shutil

    for name in [*outputs(n), ".ninja_log", ".ninja_deps"]:
        (folder / name).unlink(missing_ok=True)
    for name in (".hpcmake", ".snakemake"):
        shutil.rmtree(folder / name, ignore_errors=True)
