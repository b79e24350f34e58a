"""Builds on real Slurm while processes are killed, daemons go down, nodes die and disks fill."""

from __future__ import annotations

import os

import pytest
from conftest import Pipe
from real_schedulers import Slurm
from wrapped import Bent

LONG = int(os.environ.get("HPCMAKE_ROUNDS", "30")) >= 1000

# Five scheduler jobs: two roots, an array behind an array, a join, and one behind another.
PIPEFILE = """\
rule all:
    input: "join", "last"
rule first:
    output: "a/{n}"
    shell: "echo first{n} >> ran; sleep 0.2; echo {n} > {output}"
rule second:
    input: "a/{n}"
    output: "b/{n}"
    shell: "echo second{n} >> ran; cat {input} {input} > {output}"
rule join:
    input: "b/{n}" for n in ["0", "1", "2"]
    output: "join"
    shell: "echo join >> ran; cat {input} > {output}"
rule alone:
    output: "alone"
    retries: 1
    shell: "echo alone >> ran; echo alone > {output}"
rule last:
    input: "alone"
    output: "last"
    shell: "echo last >> ran; cat {input} > {output}"
"""
JOBS = [f"{rule}{n}" for rule in ("first", "second") for n in range(3)] + ["join", "alone", "last"]
OUTPUTS = {"join": "0\n0\n1\n1\n2\n2\n", "last": "alone\n"}

# A call is killed before it reached the scheduler, while it is on its way, or when it is done.
BEFORE = "kill -9 $PPID; exit 1"
DURING = """kill -9 $PPID; sleep 2.5; exec "$real" "$@" """
AFTER = """"$real" "$@"; kill -9 $PPID"""
MOMENTS = [
    (command, call, when)
    for command, calls in (("sbatch", 6), ("scontrol", 1))
    for call in range(1, calls + 1)
    for when in ("before", "during", "after")
]
SHORT = {0, 4, 8, 10, 14, 19, 20}


def right(bent: Bent) -> bool:
    """Whether the outputs are what the recipes make."""
    return {path: bent.pipe.read(path) for path in OUTPUTS} == OUTPUTS


@pytest.mark.parametrize(
    ("command", "call", "when"),
    [moment for k, moment in enumerate(MOMENTS) if LONG or k in SHORT],
)
def test_killed_at_any_moment_of_submitting_it_runs_each_job_once(
    slurm: Slurm, pipe: Pipe, command: str, call: int, when: str
) -> None:
    bent = Bent(pipe, slurm)
    pipe.write("Pipefile", PIPEFILE)
    words = {"before": BEFORE, "during": DURING, "after": AFTER}[when]
    bent.bend(command, f'if [ $n = {call} ]; then {words}; exit; fi; exec "$real" "$@"')
    assert bent.end(bent.start()).code == -9
    bent.went_well(JOBS, bent.run())
    assert right(bent)
