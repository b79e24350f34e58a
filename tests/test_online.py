"""What `status`, `show` and `why` tell of jobs that a scheduler which can be asked has."""

from __future__ import annotations

import json
import re

from cluster_scenes import wait_until
from conftest import Pipe
from real_schedulers import Slurm

PIPEFILE = """\
rule all:
    input: "now", "later"

rule now:
    output: "now"
    cores: 1
    shell: "cat pipe > {output}"

rule later:
    output: "later"
    time: 5m
    options: "--begin=now+1hour"
    shell: "touch {output}"
"""


def test_what_the_scheduler_says_is_told(pipe: Pipe, slurm: Slurm) -> None:
    pipe.write("Pipefile", PIPEFILE)
    slurm.run("mkfifo", "pipe")
    pipe.write("hpcmake.toml", '[cluster.slurm]\npoll = "1s"\ngrace = "2s"\n')
    run = pipe.run("--cluster", "slurm", "--detach", "-q", env=slurm.env)
    assert run.code == 0, run.err

    def told(*words: str) -> str:
        return pipe.run(*words, env=slurm.env).out

    wait_until(lambda: "running\n" in told("status"), "a job runs")
    wait_until(lambda: told("status").count("*\n") + told("status").count("*  ") >= 2, "two stars")
    status = told("status")
    assert re.search(r"\n  now  +for .*, slurm job \d+\*\n", status), status
    assert re.search(r"\n  later  +1 job  run 2, slurm job \d+\*  since", status), status
    assert "  * its scheduler says so as well\n" in status
    document = json.loads(told("status", "--json"))
    assert [document[state][0]["confirmed"] for state in ("running", "queued")] == [True, True]

    wait_until(lambda: "BeginTime" in told("why", "later"), "the scheduler has a reason")
    assert "    its scheduler says queued: BeginTime\n" in told("why", "later")
    shown = told("show", "later")
    assert re.search(r"  cluster  +slurm job \d+, named later\.\S+, queued as it says, BeginTime\n",
                     shown), shown  # fmt: skip
    facts = json.loads(told("show", "now", "--json"))["scheduler"]
    assert (facts["state"], facts["queue"], facts["cluster"]) == ("running", "running", "slurm")
    assert facts["host"] is not None

    # The same without the scheduler at hand.
    gone = {"PATH": "/usr/bin:/bin", "SLURM_CONF": "/nowhere"}
    status = pipe.run("status", env=gone).out
    assert re.search(r"slurm job \d+  since", status) and "*" not in status
    assert "its scheduler" not in pipe.run("why", "later", env=gone).out
    cancelled = pipe.run("cancel", "--all", "--yes", env=slurm.env)
    assert cancelled.out == "2 jobs cancelled\n", cancelled.err


def test_the_job_script_is_shown(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    text = pipe.check("show --script --cluster slurm later").out
    assert text.startswith("#!/bin/bash\n")
    assert "#SBATCH --time=0-00:05:00\n" in text
    assert "#SBATCH --begin=now+1hour\n" in text
    assert text.endswith("/.hpcmake/run-N/slice-S.jsonl $((0 + ${element:-0}))\n")
    assert "#$ -l h_rt=300\n" not in text
    assert pipe.check("show --script --cluster pbs now later").out.count("#PBS -N") == 2
    assert "error[which-cluster]" in pipe.check("show --script now", code=2).err
    assert pipe.files() == ["Pipefile"]
