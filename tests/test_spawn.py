"""Jobs that go on as parts: an array on clusters, in the pool here; the last part ends the job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_scenes import Scene, wait_until
from conftest import Pipe
from own_queue import Queue
from real_schedulers import Sge, Slurm
from slurm_scenes import slurm_scene

from buildhpc.run import parts
from buildhpc.state import parts as state_parts
from buildhpc.state import receipts
from buildhpc.state.database import open_state

# `stop` holds part 1 up until it is told how to go on; `once` lets what needs the job look early.
PIPEFILE = """\
rule all:
    input: "report", "copy"
rule sum:
    output: "sum"
    input: "numbers"
    shell:
        echo "sum ${HPCMAKE_PART:-first} of ${HPCMAKE_PARTS:-1}" >> ran
        echo "printed by ${HPCMAKE_PART:-first}"
        if [ -z "$HPCMAKE_PART" ]; then
            mkdir -p pieces
            echo made first > {output}
            hpcmake spawn 3
            exit
        fi
        hpcmake set phase=adding progress="$HPCMAKE_PART/3"
        hpcmake show --self --json > own.$HPCMAKE_PART
        awk "NR % 3 == $HPCMAKE_PART" {input} | paste -sd+ > pieces/$HPCMAKE_PART
        if [ $HPCMAKE_PART = 1 ]; then
            touch held
            while [ -e stop ]; do sleep 0.05; done
            [ ! -e fail ] || exit 7
        fi
        if hpcmake spawn --done; then
            echo "gather" >> ran
            cat pieces/* > {output}
        fi
rule report:
    output: "report"
    input: "sum"
    shell: "echo report >> ran; cat {input} > {output}"
rule copy:
    output: "copy"
    input: "report"
    shell: "echo copy >> ran; cat {input} > {output}"
"""
SUM = "3+6+9\n1+4+7\n2+5+8\n"
WHOLE = ["sum first of 1", *(f"sum {n} of 3" for n in range(3)), "gather", "report", "copy"]


def begin(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    pipe.write("numbers", "".join(f"{n}\n" for n in range(1, 10)))


def ran(pipe: Pipe) -> list[str]:
    return pipe.read("ran").splitlines() if pipe.exists("ran") else []


def shown(scene: Scene) -> list[dict[str, Any]]:
    """The parts of the last attempt, as `show --parts` tells of them."""
    found: list[dict[str, Any]] = json.loads(scene.run("show", "sum", "--parts", "--json").out)[
        "parts"
    ]
    return found


def how(scene: Scene) -> list[str]:
    told = scene.run("show", "sum", "--parts", "--json", code=None)
    return [part["state"] for part in json.loads(told.out)["parts"]] if told.code == 0 else []


def test_on_slurm_the_parts_are_one_array_and_the_last_one_gathers(
    pipe: Pipe, slurm: Slurm
) -> None:
    scene = slurm_scene(pipe, slurm)
    begin(pipe)
    pipe.write("stop")
    with scene.following() as front:
        scene.wait_for(lambda: how(scene) == ["done", "running", "done"], "one part is held")
        assert pipe.read("sum") == "made first\n", "parts leave outputs as they are"
        told = scene.run("status").out
        assert "2 of 3 parts done, 1 running" in told
        assert "slurm *\n" in told, "as many stars as parts that the scheduler has"
        assert scene.states() == {"sum": "spawned", "report": "waiting", "copy": "waiting"}
        said = scene.run("show", "sum", "--parts").out
        assert "phase" not in said
        assert "adding, 33%" in said
        (spawned,) = json.loads(scene.run("status", "--json").out)["spawned"]
        assert (spawned["job"], spawned["confirmed"]) == ("sum", 1)
        pipe.path("stop").unlink()
        said = scene.finish(front)
    assert "3 jobs done" in said
    assert sorted(ran(pipe)) == sorted(WHOLE)
    assert ran(pipe)[-3:] == ["gather", "report", "copy"]
    assert pipe.read("copy") == SUM
    arrays = [line for line in scene.calls("sbatch") if "--array=0-2" in line]
    assert [len(arrays), scene.submissions().count(3)] == [1, 1]
    assert [part["tried"] for part in shown(scene)] == [1, 1, 1]
    own = json.loads(pipe.read("own.2"))
    assert [own["part"], own["values"]["phase"]] == [{"number": 2, "count": 3}, "adding"]
    assert scene.run("logs", "sum", "--part", "2").out == "printed by 2\n"
    assert scene.run("logs", "sum").out == "printed by first\n"
    assert scene.run("status").out.splitlines()[:2] == [
        "rule    done  total",
        "copy       1      1",
    ]
    scene.now_fresh(3)
    pipe.write("numbers", "1\n")
    assert "`numbers` changed" in scene.run("why", "sum").out
    # Nothing is left of parts in a state that forgets their job.
    scene.run("forget", "--yes", "sum")
    left = """SELECT (SELECT count(*) FROM part), (SELECT count(*) FROM note),
        (SELECT count(*) FROM job), (SELECT count(*) FROM attempt)"""
    assert scene.state.read(lambda c: c.execute(left).fetchone()) == (0, 0, 2, 2)


def lost_and_again(scene: Scene, kill: Any, kind: str, state: str) -> None:
    """A part is killed while nobody follows; later it alone is run again, and the job goes on."""
    pipe = scene.pipe
    begin(pipe)
    pipe.write("stop")
    scene.build("--detach", "-q", "report")
    scene.wait_for(lambda: how(scene) == ["done", "running", "done"], "one part is held")
    (held,) = [part["scheduler_id"] for part in shown(scene) if part["state"] == "running"]
    kill(held)
    scene.empty()
    scene.wait_for(
        lambda: scene.run("advance") and scene.states()["sum"] == state,
        "it is known that it is over",
    )
    assert how(scene) == ["done", state, "done"]
    assert scene.states()["report"] == "skipped"
    assert ran(pipe).count("sum 0 of 3") == 1
    pipe.path("stop").unlink()
    wrong = {"lost": "failed", "failed": "lost", "all": "lost"}[kind]
    assert "nothing to retry" in scene.run("retry", "sum", "--parts", wrong).out
    again = scene.run("retry", "--parts", kind).out
    assert "`sum`: 1 of 3 parts begin anew\n" in again
    assert how(scene) == ["done", "done", "done"]
    assert [pipe.read("sum"), pipe.read("report")] == [SUM, SUM]
    scene.build("-q")
    assert sorted(ran(pipe)) == sorted([*WHOLE, "sum 1 of 3"])
    assert pipe.read("copy") == SUM
    scene.empty()


def test_on_slurm_a_part_that_was_killed_is_run_again_alone(pipe: Pipe, slurm: Slurm) -> None:
    scene = slurm_scene(pipe, slurm)
    lost_and_again(scene, lambda id_: slurm.run("scancel", id_), "all", "cancelled")


def test_on_grid_engine_a_part_that_was_killed_is_run_again_alone(pipe: Pipe, sge: Sge) -> None:
    scene = Scene(pipe, "sge", sge.jobs, sge.env)

    def kill(id_: str) -> None:
        job, _, task = id_.partition(".")
        sge.run("qdel", job, "-t", task)

    lost_and_again(scene, kill, "all", "cancelled")


FAILS = """\
rule sum:
    output: "sum"
    retries: exit = 1
    shell:
        if [ -z "$HPCMAKE_PART" ]; then hpcmake spawn 3; exit; fi
        echo "$HPCMAKE_PART try $HPCMAKE_ATTEMPT" >> ran
        echo "printed by $HPCMAKE_PART"
        while [ $HPCMAKE_PART = 1 ] && [ -e stop ]; do sleep 0.05; done
        if [ $HPCMAKE_PART = 1 ] && [ ! -e good ]; then exit 7; fi
        if hpcmake spawn --done; then echo gathered > {output}; fi
"""
RAN = ["0 try 1", "1 try 1", "1 try 2", "2 try 1"]


@pytest.fixture
def scene(pipe: Pipe, tmp_path: Path) -> Iterator[Scene]:
    """A queue of this machine for this test alone."""
    queue = Queue(tmp_path / "spool")
    yield Scene(pipe, "local", queue.jobs, {}, queue.settings)
    queue.end()


def test_a_part_that_fails_fails_the_job_once_its_tries_are_over(scene: Scene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", FAILS)
    said = scene.build(code=1)
    assert "failed: sum: part 1 of 3: exit code 7\n" in said.out + said.err
    assert sorted(ran(pipe)) == RAN
    assert [(part["state"], part["tried"]) for part in shown(scene)] == [
        *(("done", 1), ("failed", 2), ("done", 1))
    ]
    assert "part 1 of 3:\nprinted by 1\n" in scene.run("logs", "sum").out
    pipe.write("good")
    scene.run("retry", "-q", "sum", "--parts", "failed")
    assert [sorted(ran(pipe)), pipe.read("sum")] == [sorted([*RAN, "1 try 1"]), "gathered\n"]
    # Another recipe makes nothing of the parts of this one.
    pipe.write("Pipefile", FAILS.replace("gathered", "gathered anew").replace("= 1", "= 2"))
    pipe.path("good").unlink()
    pipe.path("ran").unlink()
    scene.build("-q", "--retries", "0", "--logs", "told", code=1)
    assert "part 2 of 3:\nprinted by 2\n" in scene.run("logs", "sum").out
    pipe.write("Pipefile", FAILS.replace("gathered", "once more"))
    pipe.write("good")
    scene.run("retry", "-q", "sum", "--parts", "failed")
    assert [len(ran(pipe)), pipe.read("sum")] == [6, "once more\n"]


def test_the_word_of_the_last_part_may_be_lost(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", FAILS)
    pipe.write("good")
    pipe.write("stop")
    scene.build("--detach", "-q")
    scene.wait_for(lambda: how(scene) == ["done", "running", "done"], "one part is held")
    inbox = str(pipe.path(".hpcmake/inbox"))
    with open_state(pipe.folder).locked():
        pipe.path("stop").unlink()
        name = receipts.Key(2, 0, 1, 1).name("ended")
        wait_until(lambda: Path(inbox, name).exists(), "the job is said to be done")
        Path(inbox, name).write_bytes(b"torn")
    scene.wait_for(lambda: how(scene) == ["done"] * 3, "the parts are done")
    assert scene.states() == {"sum": "spawned"}
    monkeypatch.setattr(state_parts, "_GRACE_S", 0.0)
    assert state_parts.end_spawned(open_state(pipe.folder), 2) is False
    assert scene.states() == {"sum": "lost"}
    assert "none of them told of its end" in scene.run("status").out
    scene.build("-q")
    assert scene.states() == {"sum": "done"}


def test_here_parts_share_the_cores_and_the_last_one_ends_the_job(pipe: Pipe) -> None:
    begin(pipe)
    told = pipe.run("-j2")
    assert [told.code, told.out.splitlines()[-1][:11]] == [0, "3 jobs done"]
    assert sorted(ran(pipe)) == sorted(WHOLE)
    assert pipe.read("copy") == SUM
    log = pipe.run("logs", "sum").out
    assert log.startswith("printed by first\npart ")
    assert "part 2 of 3:\nprinted by 2\n" in log
    assert pipe.run().out == "nothing to do: all 3 jobs are fresh\n"
    assert list(pipe.path(".hpcmake").glob("run-*")) == []
    # A part that fails is tried again as its job would be; then the job has failed.
    pipe.write("Pipefile", FAILS)
    pipe.path("ran").unlink()
    failed = pipe.run("-j3", "--force", "sum")
    assert failed.code == 1
    assert "part 1 of 3: exit code 7" in failed.out + failed.err
    assert [sorted(ran(pipe)), pipe.exists("sum")] == [RAN, False]
    command = "echo $HPCMAKE_PART > $HPCMAKE_PART.of.$HPCMAKE_PARTS"
    recipe = f"touch {{output}}; hpcmake spawn 2 -- bash -c '{command}'"
    pipe.write("Pipefile", f'rule sum:\n    output: "sum"\n    shell:\n        {recipe}\n')
    pipe.run("-j2")
    assert [pipe.read("0.of.2"), pipe.read("1.of.2")] == ["0\n", "1\n"]


def test_a_build_that_is_killed_amid_parts_begins_anew(pipe: Pipe) -> None:
    begin(pipe)
    pipe.write("stop")
    with subprocess.Popen(
        pipe.command("-j1"), cwd=pipe.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as build:
        wait_until(lambda: pipe.exists("held"), "a part is held")
        build.send_signal(signal.SIGKILL)
    pipe.path("stop").unlink()
    pipe.path("ran").unlink()
    done = pipe.run("-j3")
    assert [done.code, sorted(ran(pipe))] == [0, sorted(WHOLE)], done.err
    # Asked to end, it ends its parts, and the job is cancelled.
    pipe.write("stop")
    pipe.path("held").unlink()
    with subprocess.Popen(
        pipe.command("-j1", "--force-all"),
        cwd=pipe.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as build:
        wait_until(lambda: pipe.exists("held"), "a part is held")
        build.send_signal(signal.SIGINT)
    assert "cancelled" in pipe.run("status", "--state", "cancelled").out
    assert not pipe.exists("sum")


COUNT = """\
import sys
from buildhpc.run import parts
print(parts.say_done(sys.argv[1], int(sys.argv[2]), 8))
"""


def test_exactly_one_part_is_the_last(tmp_path: Path) -> None:
    folder = str(tmp_path / "parts")
    for number in range(8):
        parts.begin(folder, number)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", COUNT, folder, str(number)],
            env=env,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    told = [each.communicate()[0].strip() for each in running]
    assert sorted(told) == ["False"] * 7 + ["True"]
    last = told.index("True")
    # Said again it is the same; begun anew the last one is the last again, also after another.
    assert [parts.say_done(folder, last, 8), parts.say_done(folder, (last + 1) % 8, 8)] == [
        *(True, False)
    ]
    parts.begin(folder, last)
    assert parts.say_done(folder, (last + 1) % 8, 8) is False
    assert parts.say_done(folder, last, 8) is True
    fresh = str(tmp_path / "fresh")
    parts.begin(fresh, 1)
    assert parts.say_done(fresh, 1, 3, known=[0]) is False
    assert parts.say_done(fresh, 1, 3, known=[0, 2]) is True
