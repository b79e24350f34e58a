"""Runs on Grid Engine, which starts what waits for a job however that one ended."""

from __future__ import annotations

import os
import time

import cluster_scenes as scenes
import pytest
from cluster_scenes import Scene
from conftest import Pipe
from real_schedulers import Sge, Slurm

IN_FULL = int(os.environ.get("HPCMAKE_ROUNDS", "30")) >= 1000


@pytest.fixture
def scene(pipe: Pipe, sge: Sge) -> Scene:
    return Scene(pipe, "sge", sge.jobs, sge.env)


def elements(sge: Sge) -> int:
    """How many jobs of the folder are in the queue, each element for itself."""
    count = 0
    for job in sge.jobs():
        for name in sge.states(job):
            _, _, tasks = name.partition(".")
            first, _, last = tasks.partition(":")[0].partition("-")
            count += int(last) - int(first) + 1 if last else 1 + tasks.count(",")
    return count


def test_a_chain(scene: Scene) -> None:
    scenes.chain(scene)


def test_a_diamond(scene: Scene) -> None:
    scenes.diamond(scene)


def test_what_needs_a_failed_job_never_runs(scene: Scene) -> None:
    scenes.failing_middle(scene)


def test_many_jobs_are_one_array(scene: Scene) -> None:
    scenes.fan(scene)


def test_elements_wait_for_their_own(scene: Scene) -> None:
    scenes.pairs(scene)


def test_no_more_are_in_the_queue_than_may_be(scene: Scene, sge: Sge) -> None:
    scenes.window(scene, lambda: elements(sge))


def test_what_is_cancelled_is_gone(scene: Scene) -> None:
    scenes.cancelled(scene)


def test_what_is_deleted_by_hand_is_told(scene: Scene, sge: Sge) -> None:
    scenes.deleted_by_hand(scene, lambda: sge.cancel(min(sge.jobs(), key=int)))


def test_what_fails_is_tried_again(scene: Scene) -> None:
    scenes.retries(scene)


def test_batches_and_groups(scene: Scene) -> None:
    scenes.batch_and_group(scene)


def test_a_need_that_it_has_nothing_for_is_refused(scene: Scene) -> None:
    scenes.refused(scene, 'qos: "high"', "cluster `sge` has nothing for `qos`")


LONG = """\
rule all:
    input: "long", "after"

rule long:
    output: "long"
    time: 4s if attempt == 1 else 5m
    retries: timeout = 1
    shell: "echo {attempt} >> tries; [ {attempt} = 2 ] || sleep 300; touch {output}"

rule never:
    output: "never"
    time: 4s
    shell: "sleep 300; touch {output}"

rule after:
    input: "never"
    output: "after"
    shell: "touch {output}"
"""


def test_a_time_limit_is_told_as_such_and_may_be_another_one_next_time(scene: Scene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", LONG)
    scene.build(code=1)
    assert pipe.read("tries").split() == ["1", "2"]
    assert scene.states() == {"long": "done", "never": "failed", "after": "skipped"}
    assert [each.failure for each in scene.attempts("never")] == ["timeout"]
    scene.empty()


UNSTARTABLE = """\
rule all:
    input: "far", "near"

rule odd:
    output: "odd"
    options: "-wd /no/such/folder"
    shell: "touch {output}"

rule far:
    input: "odd"
    output: "far"
    shell: "touch {output}"

rule near:
    output: "near"
    shell: "touch {output}"
"""


def test_a_job_that_cannot_be_started_has_failed_and_leaves_the_queue(scene: Scene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", UNSTARTABLE)
    told = scene.build(code=1)
    assert scene.states() == {"odd": "failed", "far": "skipped", "near": "done"}
    (attempt,) = scene.attempts("odd")
    assert attempt.failure == "launch"
    assert "Eqw" in told.err, told.err
    scene.empty()


RERUN = """\
rule make:
    output: "out"
    options: "-r y"
    shell: "echo >> begun; while [ ! -e go ]; do sleep 0.1; done; echo x >> {output}"
"""


def test_a_job_that_is_run_anew_goes_on_as_the_same_attempt(scene: Scene, sge: Sge) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", RERUN)
    with scene.following() as front:
        scene.wait_for(lambda: pipe.exists("begun"), "it runs")
        (job,) = sge.jobs()
        asked_s = 0.0

        def again() -> bool:
            # Grid Engine sometimes says that it has done so, and goes on with the job as it is.
            nonlocal asked_s
            if time.monotonic() - asked_s > 15:
                asked_s = time.monotonic()
                sge.run("qmod", "-rj", job, code=None)
            return len(pipe.read("begun")) > 1

        scene.wait_for(again, "it runs again", 90)
        pipe.write("go")
        scene.finish(front)
    assert pipe.read("out") == "x\n"
    assert [each.state for each in scene.attempts("make")] == ["done"]
    scene.empty()


@pytest.mark.skipif(not IN_FULL, reason="takes a minute: with HPCMAKE_ROUNDS=1000")
@pytest.mark.breaks
def test_the_qmaster_is_down_for_a_while(scene: Scene, sge: Sge) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", scenes.WAITING)
    pipe.write("in")
    sge.fault("qmaster-down")
    with scene.following() as front:
        scene.wait_for(lambda: pipe.exists(".hpcmake/scripts"), "it begins to submit")
        sge.fault("qmaster-up")
        scene.wait_for(lambda: scenes.begun(scene), "three run")
        sge.fault("qmaster-down")
        pipe.write("go")
        scene.wait_for(lambda: scene.states()["wait n=0"] == "done", "receipts tell all the same")
        sge.fault("qmaster-up")
        scene.finish(front)
    assert set(scene.states().values()) == {"done"}
    assert sorted(pipe.read("after").split()) == ["0", "1", "2"]
    scene.empty()


def test_two_at_once_on_two_clusters(scene: Scene, slurm: Slurm) -> None:
    other = Scene(scene.pipe, "slurm", slurm.jobs, slurm.env)
    scene.settings = f"[cluster.slurm]\n{scenes.QUICK}"
    scene.site()
    scenes.both_at_once(scene, other)
