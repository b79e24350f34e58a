"""What the commands tell, and leave alone, of jobs that a cluster has; no scheduler is at hand."""

from __future__ import annotations

import json
import os
import re
import subprocess

import cluster_state
import pytest
from cluster_state import ClusterRun, left
from conftest import Pipe

from buildhpc.run.spec import Outcome
from buildhpc.state.cluster_runs import cancel, end_run_if_over
from buildhpc.state.database import open_state
from buildhpc.state.submissions import in_flight

PIPEFILE = """\
rule all:
    input: "out0", "out1", "out2"

rule map:
    output: "out{sample}"
    input: "in"
    where: sample = "[0-9]"
    shell: "cat {input} > {output}"
"""


@pytest.fixture
def run(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> ClusterRun:
    """Three jobs on a cluster: one runs, one is queued, one waits."""

    def name(number: int) -> str:
        return f"map sample={number}"

    monkeypatch.setattr(cluster_state, "name_of", name)
    pipe.write("Pipefile", PIPEFILE)
    pipe.write("in", "text\n")
    found = ClusterRun(open_state(pipe.folder), 3).begin()
    found.submit(0, 1)
    found.started(0, log=f".hpcmake/run-{found.run}/logs/0-1.log")
    return found


def without_times(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "WHEN", text)
    text = re.sub(r"for [\d,.]+ ?[a-z]+( \d+ [a-z]+)?", "for LONG", text)
    return text.replace(f"{os.uname().nodename}, process {os.getpid()}", "HERE")


def test_status_tells_what_runs_where_and_what_is_queued(pipe: Pipe, run: ClusterRun) -> None:
    shown = without_times(pipe.check("status").out)
    assert shown == (
        "rule  running  queued  waiting  total\n"
        "map         1       1        1      3\n"
        "\n"
        "running\n"
        f"  map sample=0  for LONG  run {run.run}, node7, gpu job 91_0\n"
        "\n"
        "queued\n"
        f"  map  1 job  run {run.run}, gpu job 91  since WHEN\n"
        "\n"
        "runs\n"
        f"  run {run.run}  1 running, 1 queued, 1 waiting  since WHEN  on gpu, followed by HERE"
        "  hpcmake --cluster gpu all\n"
        "\n"
        "1 waiting, 1 in queue, 1 running, 0 of 3 done\n"
    )
    assert left(run.inbox) == [], "what the runner told is part of the state now"
    document = json.loads(pipe.check("status --json").out)
    assert document["running"][0]["scheduler_id"] == "91_0"
    assert document["queued"][0]["scheduler_id"] == "91"
    assert document["runs"][0]["cluster"] == "gpu"


def test_status_does_not_wait_for_who_holds_the_lock(pipe: Pipe, run: ClusterRun) -> None:
    with run.state.locked():
        shown = pipe.check("status").out
    assert shown.startswith("rule  queued  waiting  total\nmap        2        1      3\n")
    assert left(run.inbox), "nobody could fold it"


def test_logs_of_a_running_job_are_read_where_it_writes_them(pipe: Pipe, run: ClusterRun) -> None:
    log = pipe.write(f".hpcmake/run-{run.run}/logs/0-1.log", "so far\n")
    pipe.check("logs 'map sample=0'", says="so far\n")
    result = pipe.check("logs 'map sample=1'", says="")
    assert result.err == "`map sample=1` is queued, and has not begun\n"
    run.ended(0, Outcome("failed", "exit", 1, log=str(log)), log_text="so far\nover\n")
    pipe.check("logs 'map sample=0'", says="so far\nover\n")
    assert not log.exists()


def test_following_a_log_ends_with_the_job(pipe: Pipe, run: ClusterRun) -> None:
    log = pipe.write(f".hpcmake/run-{run.run}/logs/0-1.log", "first\n")
    with subprocess.Popen(
        pipe.command("logs", "--follow", "map sample=0"),
        cwd=pipe.folder,
        stdout=subprocess.PIPE,
        text=True,
    ) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "first\n"
        with log.open("a") as file:
            file.write("last\n")
        run.ended(0, Outcome("failed", "exit", 1, log=str(log)), log_text="first\nlast\n")
        assert follower.stdout.read() == "last\n"
        assert follower.wait(timeout=60) == 0


def test_show_and_why_tell_where_a_job_is(pipe: Pipe, run: ClusterRun) -> None:
    shown = pipe.check("show out0").out
    assert "running, stale" in shown
    assert "node7, job 91_0" in shown
    why = pipe.check("why out0").out
    assert f"run {run.run} has it: running on node7, gpu job 91_0\n" in why
    why = pipe.check("why out1").out
    assert f"run {run.run} has it: queued, gpu job 91_1\n" in why
    assert "has it" not in pipe.check("why out2").out


def test_why_and_a_dry_run_write_nothing(pipe: Pipe, run: ClusterRun) -> None:
    before = run.state.generation()
    for words in ("-n", "why out0", "reset -n --all", "forget -n --all", "clean -n"):
        pipe.check(words)
    assert run.state.generation() == before
    assert len(left(run.inbox)) == 1


def test_what_a_cluster_has_is_left_alone(pipe: Pipe, run: ClusterRun) -> None:
    for words in ("reset --all --force --yes", "forget --all --yes"):
        result = pipe.check(words)
        assert result.err.count(f"belongs to run {run.run}, which is alive") == 3
    pipe.write("out0", "half")
    result = pipe.check("clean --yes", says="nothing to remove\n")
    assert f"kept: `out0` is what run {run.run} works on, which is alive" in result.err
    assert len(in_flight(run.state)) == 2


def test_a_run_that_ended_is_forgotten_with_its_slices(pipe: Pipe, run: ClusterRun) -> None:
    run.ended(0, Outcome("failed", "exit", 1))
    pipe.check("status")
    cancel(run.state, run.run)
    assert end_run_if_over(run.state, run.run) == "failed"
    pipe.check(f"forget --run {run.run} --yes")
    with run.state.transaction() as connection:
        for table in ("run", "slice", "submission", "attempt"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_a_build_on_this_machine_waits_for_what_a_cluster_has(pipe: Pipe, run: ClusterRun) -> None:
    with subprocess.Popen(
        pipe.command("-j", "2", "out0"),
        cwd=pipe.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as build:
        assert build.stdout is not None
        line = build.stdout.readline()
        assert f"run {run.run}" in line, line
        assert build.poll() is None
        pipe.write("out0", "text\n")
        seen, made = (pipe.path(path).stat() for path in ("in", "out0"))
        run.ended(
            0,
            Outcome("done", None, 0),
            inputs={"in": (seen.st_mtime_ns, seen.st_size)},
            outputs={"out0": (made.st_mtime_ns, made.st_size)},
        )
        said = build.stdout.read()
        assert build.wait(timeout=60) == 0, said
    assert run.states()[0] == "done"
    assert pipe.read("out0") == "text\n", "it did not run here as well"


def test_a_build_learns_of_ends_before_it_plans(pipe: Pipe, run: ClusterRun) -> None:
    run.ended(0, Outcome("failed", "exit", 1))
    pipe.check("-j 1 out0")
    assert pipe.read("out0") == "text\n"
    assert left(run.inbox) == []


def test_the_folder_of_a_run_on_a_cluster_stays_while_it_goes_on(
    pipe: Pipe, run: ClusterRun
) -> None:
    with run.state.transaction() as connection:
        connection.execute("UPDATE run SET pid = 2147483646, process_start = 1")
    pipe.write("Pipefile", PIPEFILE.replace("out2", "out3"))
    pipe.check("-j 1 out3")
    assert left(run.state.home / f"run-{run.run}") == ["plan.jsonl"]
    assert len(in_flight(run.state)) == 2
