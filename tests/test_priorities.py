"""Priorities: groups within a run, jobs that go ahead of all runs, and `hpcmake set priority`."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster_scenes import Scene
from conftest import Pipe
from real_schedulers import Sge, Slurm
from slurm_scenes import slurm_scene

from buildhpc.plan.groups import Groups, inherited
from buildhpc.state import priorities
from buildhpc.state.database import open_state
from buildhpc.state.recorder import Recorder, RunInfo

GROUPS = """\
rule all:
    input: "o/{i}.low" for i in range(2), "o/{i}.high" for i in range(2)
rule low:
    output: "o/{i}.low"
    shell: "echo low >> order; touch {output}"
rule high:
    output: "o/{i}.high"
    input: "o/{i}.pre"
    priority: 10
    shell: "sleep 0.2; echo high >> order; touch {output}"
rule pre:
    output: "o/{i}.pre"
    shell: "echo pre >> order; touch {output}"
rule fails:
    output: "o/fails"
    priority: 20
    shell: "false"
"""


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, f"it never happened: {what}"
        time.sleep(0.05)


def order(pipe: Pipe) -> list[str]:
    return pipe.read("order").split()


def test_what_a_job_needs_has_its_priority_at_least() -> None:
    after = [[], [0], [1], []]
    assert inherited([0, 5, 2, 1], after.__getitem__) == [5, 5, 2, 1]
    assert inherited([0, 0, 0, 9], [[], [0], [1], []].__getitem__) == [0, 0, 0, 9]
    assert inherited([9, 0, 0], [[2], [], [1]].__getitem__) == [9, 9, 9], "jobs that came later"
    groups = Groups([5, 5, 2, 2], range(4))
    assert [groups.may_run(number) for number in range(4)] == [True, True, False, False]
    assert (groups.end(0), groups.end(1), groups.front) == (False, True, 2)


def by_priority(pipe: Pipe) -> dict[int, int]:
    """How many jobs have which priority, as `--where` sees it."""
    found = {}
    for number in (0, 3, 10, 100, 110):
        told = pipe.check(f"status --json --where 'priority = {number}'").out
        if total := json.loads(told)["totals"]["total"]:
            found[number] = total
    return found


@pytest.mark.parametrize("where", ["-j 4", "--cluster local"])
@pytest.mark.usefixtures("local_queue")
def test_a_lower_group_begins_when_the_higher_ones_are_done(pipe: Pipe, where: str) -> None:
    pipe.write("Pipefile", GROUPS)
    pipe.check(f"-q {where} --priority-groups")
    assert order(pipe) == ["pre"] * 2 + ["high"] * 2 + ["low"] * 2
    pipe.check("set high priority=+100")
    pipe.check("set 'pre i=1' priority=3")
    assert by_priority(pipe) == {0: 3, 3: 1, 110: 2}
    if where != "-j 4":
        return
    pipe.write("Pipefile", GROUPS.replace("    priority: 10\n", ""))
    pipe.check("-q --force-all")
    assert by_priority(pipe) == {0: 3, 3: 1, 100: 2}, "as its rule says now"
    pipe.write("Pipefile", GROUPS)
    pipe.path("order").unlink()
    pipe.check("-q -k -j 4 --priority-groups --force-all o/fails all", code=1)
    assert order(pipe) == ["pre"] * 2 + ["high"] * 2 + ["low"] * 2


def test_groups_go_one_after_the_other_on_slurm_and_on_grid_engine(
    pipe: Pipe, slurm: Slurm, sge: Sge
) -> None:
    pipe.write("Pipefile", GROUPS)
    for scene in (
        Scene(pipe, "slurm", slurm.jobs, slurm.env),
        Scene(pipe, "sge", sge.jobs, sge.env),
    ):
        scene.build("-q", "--priority-groups", "--force-all")
        assert order(pipe) == ["pre"] * 2 + ["high"] * 2 + ["low"] * 2
        pipe.path("order").unlink()


def test_only_what_is_worth_it_runs(pipe: Pipe) -> None:
    pipe.write("Pipefile", GROUPS)
    pipe.check("-q --min-priority 10")
    assert sorted(order(pipe)) == ["high"] * 2 + ["pre"] * 2
    pipe.check("--min-priority 10", says="nothing to do: all 4 jobs are fresh\n")
    pipe.check("--min-priority 1000", says="nothing to do: no job is meant\n")
    assert pipe.check("-n").out.endswith("2 of 6 jobs would run\n")


WAITING = """\
rule all:
    input: "o/{i}" for i in range(4)
rule one:
    output: "o/{i}"
    shell:
        echo {i} >> order
        while [ ! -e go ]; do sleep 0.05; done
        touch {output}
"""


@pytest.mark.parametrize("where", ["-j 1", "--cluster local --cluster-option max_submitted=1"])
@pytest.mark.usefixtures("local_queue")
def test_a_priority_that_is_set_while_jobs_wait_counts(pipe: Pipe, where: str) -> None:
    pipe.write("Pipefile", WAITING)
    with subprocess.Popen(pipe.command("-q", *where.split()), cwd=pipe.folder) as build:
        try:
            wait_until(lambda: pipe.exists("order"), "a job runs")
            pipe.check("set 'one i=2' priority=1", says="1 job set\n")
            pipe.check("set 'one i=3' 'one i=2' priority=+100", says="2 jobs set\n")
            time.sleep(0.8)  # the build looks every half second, and tells nobody
        finally:
            pipe.write("go")
    assert build.returncode == 0
    assert order(pipe) == ["0", "2", "3", "1"]


URGENT = """\
rule all:
    input: "o/{i}" for i in range(20)
rule one:
    output: "o/{i}"
    shell: "echo one >> order; sleep 0.2; touch {output}"
rule now:
    output: "o/now"
    input: "o/first"
    priority: 100
    shell: "echo now >> order; touch {output}"
rule first:
    output: "o/first"
    cores: 2
    shell: "echo first >> order; touch {output}"
rule holds:
    output: "o/holds"
    priority: 200
    shell: "echo holds >> order; while [ ! -e go ]; do sleep 0.05; done; touch {output}"
"""


def test_a_job_of_100_goes_ahead_of_other_runs_and_nobody_waits_for_the_dead(pipe: Pipe) -> None:
    pipe.write("Pipefile", URGENT)
    state = open_state(pipe.folder)
    with subprocess.Popen(pipe.command("-q", "o/holds", "o/now"), cwd=pipe.folder) as urgent:
        wait_until(lambda: pipe.exists("order"), "the first job runs")
        wait_until(lambda: priorities.floor(state, 0) == 100, "the urgent job waits for room")
        with subprocess.Popen(pipe.command("-q", "all"), cwd=pipe.folder) as other:
            wait_until(lambda: "all" in pipe.run("status").out, "the other run has begun")
            time.sleep(0.5)
            assert order(pipe) == ["holds"]
            pipe.write("go")
        assert (urgent.wait(), other.returncode) == (0, 0)
    assert order(pipe)[:3] == ["holds", "first", "now"]
    assert order(pipe).count("one") == 20
    assert priorities.floor(state, 0) is None


def test_on_slurm_a_job_of_100_of_one_run_goes_ahead_of_what_waits_in_another(
    pipe: Pipe, slurm: Slurm
) -> None:
    low = URGENT.replace("range(20)", "range(2)").replace("    priority: 200\n", "")
    pipe.write("Pipefile", low.replace('output: "o/{i}"', 'output: "o/{i}"\n    input: "o/holds"'))
    scene = slurm_scene(pipe, slurm, "max_submitted = 1\n")
    with scene.following("-q", "all") as ordinary:
        scene.wait_for(lambda: pipe.exists("order"), "its first job runs")
        with scene.following("-q", "o/now") as urgent:
            scene.wait_for(lambda: priorities.floor(scene.state, 1) == 100, "the urgent one waits")
            pipe.write("go")
            scene.finish(urgent)
        scene.finish(ordinary)
    assert order(pipe) == ["holds", "first", "now", "one", "one"]
    assert priorities.floor(scene.state, 0) is None


def test_who_is_dead_or_silent_holds_nobody_back(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    recorder = Recorder(state, RunInfo("hpcmake", (), {}))
    recorder.claim([])
    priorities.announce(state, recorder.id, 150)
    assert priorities.floor(state, 0) == 150
    assert priorities.floor(state, recorder.id) is None
    assert priorities.floor(state, 0, of_clusters=True) is None
    with state.transaction() as connection:
        connection.execute("UPDATE urgent SET at_s = at_s - ?", (priorities.FRESH_S + 1,))
    assert priorities.floor(state, 0) is None
    priorities.announce(state, recorder.id, 150)
    with state.transaction() as connection:
        connection.execute("UPDATE run SET pid = ?", (_a_dead_process(),))
    assert priorities.floor(state, 0) is None


def _a_dead_process() -> int:
    with subprocess.Popen(["true"]) as process:
        pass
    assert not os.path.exists(f"/proc/{process.pid}")
    return process.pid
