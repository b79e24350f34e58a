"""Runs on real Slurm that are left and come back to, cancelled, retried, and kept in limits."""

from __future__ import annotations

import os
import re
import signal

import cluster_scenes as play
import pytest
from cluster_scenes import Scene
from conftest import Pipe
from real_schedulers import Slurm
from slurm_scenes import SlurmScene, slurm_scene

from buildhpc.state.queries import runs

LONG = int(os.environ.get("HPCMAKE_ROUNDS", "30")) >= 1000


@pytest.fixture
def scene(pipe: Pipe, slurm: Slurm) -> SlurmScene:
    return slurm_scene(pipe, slurm)


def test_cancels_as_on_any_scheduler(pipe: Pipe, slurm: Slurm) -> None:
    play.cancelled(Scene(pipe, "slurm", slurm.jobs, slurm.env))


def test_what_somebody_cancels_at_the_scheduler_is_told(pipe: Pipe, slurm: Slurm) -> None:
    def delete() -> None:
        told = slurm.run("squeue", "-h", "-t", "running", "-o", "%F %Z").out.splitlines()
        (array,) = {line.split()[0] for line in told if str(pipe.folder) in line}
        slurm.run("scancel", array)

    play.deleted_by_hand(Scene(pipe, "slurm", slurm.jobs, slurm.env), delete)


WIDE = """\
rule all:
    input: "out/{{n}}" for n in range({count})
rule one:
    output: "out/{{n}}"
    shell: "echo {{n}} >> ran; echo > {{output}}"
"""


def test_never_more_than_max_submitted_are_in_the_queue(scene: SlurmScene) -> None:
    count = 60 if LONG else 24
    scene.pipe.write("Pipefile", WIDE.format(count=count))
    scene.site("max_submitted = 5\n")
    assert f": 4 of {count} jobs submitted; " in scene.build("--detach").out
    most = 0

    def complete() -> bool:
        nonlocal most
        most = max(most, len(scene.squeue("%i")))
        return len(scene.ran()) == count

    scene.wait_for(complete, "all have run though nobody watches", 300)
    assert 1 <= most <= 5
    scene.over()
    scene.ran_once(*map(str, range(count)))
    scene.now_fresh(count)


TWO = """\
rule all:
    input: "out{n}" for n in range(3)
rule wait:
    output: "mid{n}"
    where: n = "[0-9]"
    shell:
        echo begun {n} >> ran
        for i in $(seq 1200); do [ -e go ] && break; sleep 0.1; done
        echo {n} > {output}
rule after:
    input: "mid{n}"
    output: "out{n}"
    where: n = "[0-9]"
    shell: "cp {input} {output}; echo after {n} >> ran"
rule other:
    input: "out{n}" for n in range(3)
    output: "other"
    shell: "echo other >> ran; cat {input} > {output}"
"""
ALL = [f"{word} {n}" for word in ("begun", "after") for n in range(3)]


def begun(scene: SlurmScene) -> None:
    """Wait until the three jobs run that wait for `go`."""
    scene.wait_for(lambda: len(scene.ran()) == 3, "three run")


def test_who_detaches_comes_back_and_takes_the_run_on(scene: SlurmScene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", TWO)
    assert ": 6 of 6 jobs submitted; " in scene.build("--detach").out
    begun(scene)
    told = scene.run("status").out
    assert re.search(r"^after +\. +3 +3$", told, re.MULTILINE), told
    assert len(re.findall(r"^  wait n=\d  for .* slurm job \d+_\d\*?$", told, re.MULTILINE)) == 3
    # Neither a cluster nor this machine is given again what a run has already.
    with scene.following() as front, scene.meanwhile("other") as local:
        scene.wait_for(lambda: len(runs(scene.state)) == 3, "the others are there")
        pipe.write("go")
        said, local_said = scene.finish(front), scene.finish(local)
    assert "6 made by other runs" in said.splitlines()[-1], said
    assert "made by another run" in said, said
    assert "1 job done, 6 made by other runs" in local_said.splitlines()[-1], local_said
    scene.ran_once(*ALL, "other")
    assert len(scene.calls("sbatch")) == 2
    scene.now_fresh(6)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_leaves_leaves_the_jobs_to_go_on(scene: SlurmScene, number: signal.Signals) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", TWO)
    with scene.following() as front:
        begun(scene)
        scene.wait_for(lambda: list(scene.states().values()).count("running") == 3, "it is told")
        front.send_signal(number)
        said = scene.finish(front, code=128 + number)
    assert "6 jobs go on" in said, said
    if number == signal.SIGINT:
        pipe.write("go")
        scene.wait_for(lambda: len(scene.ran()) == 6, "they need nobody")
        scene.empty()
    else:
        with scene.meanwhile("watch") as watch:
            pipe.write("go")
            scene.finish(watch)
    scene.ran_once(*ALL)
    assert len(scene.calls("sbatch")) == 2
    scene.now_fresh(6)


def test_some_jobs_are_cancelled_and_tried_again_in_few_calls(scene: SlurmScene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", TWO)
    with scene.following("-k") as front:
        begun(scene)
        assert scene.run("cancel", "wait n=1", "--yes").out == "1 job cancelled\n"
        assert scene.run("cancel", "after n=2", "--yes").out == "1 job cancelled\n"
        assert len(scene.squeue("%i")) == 3, "two run, and what waits for one of them"
        told = scene.run("retry", "after n=2").out
        assert "after n=2" in told, told
        pipe.write("go")
        said = scene.finish(front, code=1)
    assert "wait n=1" in said, said
    states = {"wait n=1": "cancelled", "after n=1": "skipped"}
    assert {job: state for job, state in scene.states().items() if state != "done"} == states
    assert pipe.exists("out2")
    assert len(scene.calls("scancel")) <= 4
    scene.empty()
    scene.run("retry")
    assert sorted(scene.ran()) == sorted([*ALL, "begun 1"])
    scene.now_fresh(6)


def test_a_rule_and_a_run_are_cancelled(scene: SlurmScene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", TWO)
    scene.build("--detach")
    begun(scene)
    (run,) = runs(scene.state)
    assert scene.run("cancel", "after", "--yes").out == "3 jobs cancelled\n"
    assert len(scene.squeue("%i")) == 3
    assert scene.run("cancel", "--run", str(run.id), "--yes").out == "3 jobs cancelled\n"
    assert scene.squeue("%i") == []
    assert len(scene.calls("scancel")) == 2
    assert set(scene.states().values()) == {"cancelled"}
    assert not pipe.exists("mid0")
    assert scene.run("watch").out == "nothing to watch: no run is on a cluster\n"
    pipe.write("go")
    scene.build()
    assert sorted(scene.ran()) == sorted([*ALL, *ALL[:3]])
    scene.now_fresh(6)
