"""Logs with stdout and stderr apart: `[logs] split`, and `logs --err` and `--out`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_scenes import Scene, wait_until
from conftest import Pipe
from own_queue import Queue
from real_schedulers import Slurm
from slurm_scenes import slurm_scene

import buildhpc

PIPEFILE = """\
rule all:
    input: "a1", "a2"
rule a:
    output: "a{n}"
    shell:
        echo out {n}; echo err {n} >&2; printf 'more out'
        touch {output}
rule quiet:
    output: "quiet"
    shell: "echo said; touch {output}"
rule named:
    output: "named"
    log: "named.log"
    shell: "echo out; echo err >&2; touch {output}"
rule bad:
    output: "bad"
    shell: "echo fine; echo wrong >&2; exit 3"
rule big:
    output: "big"
    shell: "seq 30000; seq 3 >&2; touch {output}"
rule parts:
    output: "parts"
    shell:
        echo "part ${HPCMAKE_PART:-none}"; echo "about ${HPCMAKE_PART:-none}" >&2
        if [ -z "$HPCMAKE_PART" ]; then hpcmake spawn 2; else touch {output}; fi
rule held:
    output: "held"
    shell:
        echo begun; echo careful >&2; touch going
        while [ ! -e go ]; do sleep 0.05; done
        echo over >&2
        touch {output}
"""
SPLIT = "[logs]\nsplit = true\n"


@pytest.fixture
def split(pipe: Pipe) -> Pipe:
    pipe.write("Pipefile", PIPEFILE)
    pipe.write("hpcmake.toml", SPLIT)
    return pipe


def test_stdout_and_stderr_are_shown_together_or_alone(
    split: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    split.check("-q a1 a2 quiet")
    split.check("logs a1", says="out 1\nmore out\nerr 1\n")
    split.check("logs a1 --err", says="err 1\n")
    split.check("logs a1 --out", says="out 1\nmore out\n")
    split.check("logs a1 --out --err --tail 2", says="more out\nerr 1\n")
    split.check("logs a --err", says="a n=1 | err 1\na n=2 | err 2\n")
    split.check("logs a --out --grep more", says="a n=1 | more out\na n=2 | more out\n")
    split.check("""logs --where "n = '2'" --err --attempt 1 --lines 1""", says="err 2\n")
    assert split.check("logs quiet --err", says="").err == "`quiet` printed nothing to stderr\n"
    monkeypatch.chdir(split.folder)
    pipeline = buildhpc.load()
    assert pipeline.log("a n=1", err=True) == "err 1\n"
    assert pipeline.logs("a", err=True) == {"a n=1": "err 1\n", "a n=2": "err 2\n"}
    assert pipeline.logs("a n=1") == {"a n=1": "out 1\nmore out\nerr 1\n"}


def test_what_is_in_one_log_is_said_to_be(split: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    split.path("hpcmake.toml").unlink()
    split.check("-q a1 named")
    split.write("hpcmake.toml", SPLIT)
    split.check("-q a2 named --force")
    assert split.check("logs a1 --err", code=2).err == (
        "error[one-log]: what `a n=1` printed to stderr cannot be told apart from the rest\n"
        " = note: both went to one log when it ran\n"
        " = help: `hpcmake logs 'a n=1'` shows both, in the order in which it printed them;"
        " `split = true` below `[logs]` in `hpcmake.toml` keeps them apart from now on\n"
    )
    assert "`log` of its rule names one file" in split.check("logs named --out", code=2).err
    assert split.check("logs a --err", says="a n=2 | err 2\n").err == (
        "left out: 1 job has stdout and stderr in one log\n"
    )
    assert "left out: 1 job" in split.check("logs a --err --follow", says="a n=2 | err 2\n").err
    monkeypatch.chdir(split.folder)
    pipeline = buildhpc.load()
    with pytest.raises(buildhpc.HpcmakeError, match="one-log"):
        pipeline.log("a n=1", err=True)
    assert pipeline.logs("a", err=True) == {"a n=2": "err 2\n"}
    split.write("hpcmake.toml", "[logs]\nsplit = 1\n")
    assert "`split` wants `true` or `false`" in split.check("-q a1 --force", code=2).err


def test_a_job_that_fails_shows_what_it_said_to_stderr(split: Pipe) -> None:
    said = split.check("-q bad", code=1).err
    assert " = stderr:\n   | wrong\n = next: hpcmake logs bad\n" in said
    split.check("logs bad --out", says="fine\n")
    split.check("report")
    page = split.read("hpcmake-report.html")
    assert "fine" in page
    assert "wrong" in page


def test_large_logs_are_two_files_that_go_together(split: Pipe) -> None:
    split.check("-q big")
    split.check("logs big --err", says="1\n2\n3\n")
    split.check("logs big --tail 4", says="30000\n1\n2\n3\n")
    attempt = json.loads(split.check("show big --json").out)["attempts"][0]
    assert Path(attempt["err_path"]) == Path(attempt["log_path"]).with_suffix(".err")
    assert split.read(attempt["err_path"]) == "1\n2\n3\n"
    assert attempt["log_bytes"] == 168894 + 6
    split.check("clean --logs --older 0s --yes")
    assert list(split.path(".hpcmake/logs").iterdir()) == []
    assert "has no log any more" in split.check("logs big --err").err


def test_parts_and_job_lists_keep_them_apart_too(split: Pipe) -> None:
    split.check("-q parts")
    split.check("logs parts --err --grep about", says="about none\nabout 0\nabout 1\n")
    assert "about" not in split.check("logs parts --out").out
    split.write(
        "jobs.py",
        "import buildhpc\njobs = buildhpc.JobList(logs='logs')\n"
        "jobs.add('talk', 'echo hello; echo alas >&2')\n",
    )
    split.check("-f jobs.py -q")
    split.check("logs talk --err", says="alas\n")
    split.check("logs talk", says="hello\nalas\n")
    assert [split.read("logs/talk.1.out"), split.read("logs/talk.1.err")] == ["hello\n", "alas\n"]


def test_stderr_is_followed_and_outlives_a_build_that_was_killed(split: Pipe) -> None:
    build = subprocess.Popen(split.command("-q", "held"), cwd=split.folder)
    wait_until(lambda: split.exists("going") and "running" in split.run("status").out, "it runs")
    with subprocess.Popen(
        split.command("logs", "held", "--follow", "--err"),
        cwd=split.folder,
        stdout=subprocess.PIPE,
        text=True,
    ) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "careful\n"
        build.send_signal(signal.SIGKILL)
        build.wait()
        split.path("going").unlink()
        again = subprocess.Popen(split.command("-q", "held"), cwd=split.folder)
        wait_until(lambda: split.exists("going"), "it runs again")
        split.write("go")
        assert again.wait(timeout=60) == 0
        assert follower.wait(timeout=60) == 0
    split.check("logs held --attempt 1 --err", says="careful\n")
    split.check("logs held --attempt 1 --out", says="begun\n")
    split.check("logs held --err", says="careful\nover\n")


@pytest.fixture
def here(split: Pipe, tmp_path: Path) -> Iterator[Scene]:
    queue = Queue(tmp_path / "spool")
    yield Scene(split, "local", queue.jobs, settings=queue.settings + SPLIT)
    queue.end()


def on_a_cluster(scene: Scene) -> None:
    """Jobs that end well, fail, print much, go on as parts, and are lost."""
    said = scene.build("a1", "bad", "big", "parts", "-k", code=1)
    assert " = stderr:\n   | wrong\n" in said.out + said.err
    assert scene.run("logs", "a1").out == "out 1\nmore out\nerr 1\n"
    assert scene.run("logs", "--where", "1", "--err", "--lines", "1").out == (
        "a n=1 | err 1\nbad | wrong\nbig | 1\nparts | about none\n"
    )
    assert scene.run("logs", "big", "--out", "--tail", "1").out == "30000\n"
    assert scene.run("logs", "parts", "--part", "1", "--err").out == "about 1\n"
    with scene.following("-q", "held") as front:
        scene.wait_for(lambda: scene.pipe.exists("going"), "it runs")
        with subprocess.Popen(
            scene.pipe.command("logs", "held", "--err", "--follow"),
            cwd=scene.pipe.folder,
            env={**os.environ, **scene.env},
            stdout=subprocess.PIPE,
            text=True,
        ) as follower:
            assert follower.stdout is not None
            assert follower.stdout.readline() == "careful\n"
            scene.pipe.write("go")
            scene.finish(front)
            assert follower.stdout.read() == "over\n"
    left = list(scene.pipe.path(".hpcmake").rglob("*.err"))
    assert [path.parent.name for path in left] == ["logs"], "that of `big` alone"


def test_on_the_queue_of_this_machine(here: Scene) -> None:
    on_a_cluster(here)


def test_on_slurm(split: Pipe, slurm: Slurm) -> None:
    scene = slurm_scene(split, slurm)
    scene.settings += SPLIT
    scene.site()
    on_a_cluster(scene)
