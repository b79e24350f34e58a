"""Builds on real Slurm: graphs of all shapes, failures, retries, limits, and what jobs ask for."""

from __future__ import annotations

from collections.abc import Callable

import cluster_scenes as play
import pytest
from cluster_scenes import Scene
from conftest import Pipe
from real_schedulers import Slurm
from slurm_scenes import SlurmScene, slurm_scene


@pytest.fixture
def scene(pipe: Pipe, slurm: Slurm) -> SlurmScene:
    return slurm_scene(pipe, slurm)


@pytest.mark.parametrize(
    "acted",
    [play.chain, play.diamond, play.failing_middle, play.pairs, play.retries],
)
def test_runs_as_on_any_scheduler(scene: SlurmScene, acted: Callable[[Scene], None]) -> None:
    acted(scene)


FAN = """\
rule all:
    input: "sum"
rule one:
    input: "in"
    output: "one/{n}"
    shell: "echo one {n} >> ran; echo {n} > {output}"
rule two:
    input: "two/{n}.in"
    output: "two/{n}"
    shell: "echo two {n} >> ran; cp {input} {output}"
rule half:
    input: "in"
    output: "two/{n}.in"
    shell: "echo half {n} >> ran; echo {n} > {output}"
rule sum:
    input:
        "one/{n}" for n in range(200)
        "two/{n}" for n in range(10)
    output: "sum"
    shell: "echo sum >> ran; cp {input:file} list; cat {input} > {output}"
"""


def test_a_rule_of_many_jobs_is_one_array_and_elements_follow_elements(scene: SlurmScene) -> None:
    scene.pipe.write("Pipefile", FAN)
    scene.pipe.write("in")
    told = scene.build()
    assert "221 jobs done" in told.out.splitlines()[-1]
    few = [f"{rule} {n}" for rule in ("half", "two") for n in range(10)]
    scene.ran_once(*(f"one {n}" for n in range(200)), *few, "sum")
    assert scene.pipe.read("sum").split() == [str(n) for n in (*range(200), *range(10))]
    inputs = [f"one/{n}" for n in range(200)] + [f"two/{n}" for n in range(10)]
    assert scene.pipe.read("list").split() == inputs
    told_to = {line.split("--job-name=")[1].split(".")[0]: line for line in scene.calls("sbatch")}
    assert sorted(told_to) == ["half", "one", "sum", "two"]
    assert len(scene.calls("sbatch")) == 4
    assert ["--array=0-199" in told_to["one"], "--hold" in told_to["one"]] == [True, True]
    assert ["aftercorr" in told_to["two"], "--hold" in told_to["two"]] == [True, False]
    assert ["afterok" in told_to["sum"], "--array" in told_to["sum"]] == [True, False]
    asked, released = scene.calls("scontrol")
    assert [asked, released[:8]] == ["show config", "release "], "all are released at once"
    assert [scene.calls("sacct"), scene.calls("scancel")] == [[], []]
    scene.now_fresh(221)


CLASSES = """\
rule all:
    input: "hungry", "slow", "wrong"
rule hungry:
    output: "hungry"
    mem: 64M * attempt * attempt
    retries: oom = 1, signal = 1
    shell:
        echo hungry $SLURM_MEM_PER_NODE >> ran
        python3 -c 'import time; x = b"x" * (100 << 20); time.sleep(4 * ({attempt} == 1))'
        echo > {output}
rule slow:
    output: "slow"
    time: 10m * attempt
    retries: timeout = 1
    shell:
        echo slow $(squeue -h -j $SLURM_JOB_ID -o %l) >> ran
        echo $SLURM_JOB_ID > id
        [ {attempt} = 2 ] || sleep 600
        echo > {output}
rule wrong:
    output: "wrong"
    retries: oom = 3, timeout = 3
    shell: "echo wrong >> ran; exit 1"
"""


def test_limits_are_told_apart_and_retries_know_of_them(scene: SlurmScene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", CLASSES)
    assert scene.slurm is not None
    with scene.following("-k") as front:
        scene.wait_for(lambda: pipe.exists("id") and pipe.read("id").strip(), "the slow one runs")
        scene.slurm.fault("expire", pipe.read("id").strip())
        scene.finish(front, code=1)
    failures = {job: [each.failure for each in scene.attempts(job)] for job in scene.states()}
    assert failures.pop("hungry")[1:] == [None]  # of the first one below
    assert failures == {"slow": ["timeout", None], "wrong": ["exit"]}
    scene.ran_once("hungry 64", "hungry 256", "slow 10:00", "slow 20:00", "wrong")
    # By the node's memory controller; where there is none, by a daemon that kills what it sees.
    assert scene.attempts("hungry")[0].failure in ("oom", "signal")
    scene.empty()
