"""Builds on real Slurm while processes are killed, daemons go down, nodes die and disks fill."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

import pytest
from conftest import Pipe
from real_schedulers import Slurm
from wrapped import SETTINGS, SLURM, Bent, kill

from buildhpc.state import queries, submissions
from buildhpc.state.database import open_state, read_state

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
    for command, calls in (("sbatch", range(1, 7)), ("scontrol", [2]))  # 1: which cluster is it
    for call in calls
    for when in ("before", "during", "after")
]
SHORT = {4}


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


# It is done when the test says so.
SLOW = """\
rule all:
    input: "join"
rule slow:
    output: atomic("slow{n}")
    retries: node = 1, preempted = 1
    shell: "echo slow{n} >> ran; until [ -e go ]; do sleep 0.1; done; echo {n} > {output}"
rule join:
    input: "slow1", "slow2"
    output: "join"
    shell: "echo join >> ran; cat {input} > {output}"
"""
SLOW_JOBS = ["join", "slow1", "slow2"]


@pytest.fixture
def bent(slurm: Slurm, pipe: Pipe) -> Bent:
    """A project with two jobs that go on until there is a file `go`, and one that needs both."""
    pipe.write("Pipefile", SLOW)
    return Bent(pipe, slurm)


def attempts(bent: Bent, job: str) -> list[queries.AttemptRow]:
    """The attempts of a job, by what is written down."""
    state = read_state(bent.pipe.folder)
    assert state is not None
    return queries.attempts(state, job)


def states(bent: Bent) -> dict[str, str]:
    """Job -> its state, by what is written down."""
    state = read_state(bent.pipe.folder)
    return {job.name: job.state for job in queries.jobs(state)} if state else {}


def begun(bent: Bent) -> bool:
    """Whether both of the slow jobs run, and the state knows that."""
    return [*states(bent).values()].count("running") == 2


def scheduler_id(bent: Bent, job: str) -> str:
    """The id of what is in flight of a job."""
    flights = submissions.in_flight(open_state(bent.pipe.folder))
    (found,) = [flight.id for flight in flights if flight.job == job]
    assert found
    return found


def running(bent: Bent) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """A front end that follows, and the ids of the slow jobs, both of which run."""
    process = bent.start()
    bent.wait(lambda: begun(bent))
    return process, {job: scheduler_id(bent, job) for job in ("slow n=1", "slow n=2")}


def test_a_front_end_that_is_killed_is_not_missed_and_nothing_is_submitted_again(
    bent: Bent,
) -> None:
    process, _ = running(bent)
    kill(process)
    # Back in the middle, and gone again; then back after the end.
    process = bent.start()
    bent.wait(lambda: bent.calls("squeue") >= 3)
    kill(process)
    bent.pipe.write("go")
    bent.wait(lambda: bent.pipe.exists("join") and not bent.cluster.jobs())
    calls = bent.calls("sbatch")
    assert calls == 3, "one array, what needs it, and what takes the run on"
    result = bent.run()
    assert result.out.startswith("nothing to do"), result.out
    bent.went_well(SLOW_JOBS, result)
    assert bent.calls("sbatch") == calls


def test_a_runner_that_is_killed_leaves_its_job_lost_or_failed_and_its_dependents_skipped(
    bent: Bent,
) -> None:
    process, _ = running(bent)
    os.kill(attempts(bent, "slow n=1")[-1].used.pid or 0, signal.SIGKILL)
    bent.wait(lambda: states(bent)["slow n=1"] in ("failed", "lost"))
    bent.pipe.write("go")
    result = bent.end(process)
    assert result.code == 1
    # Slurm does not show why at once, and its accounting may be late.
    assert states(bent)["slow n=1"] in ("failed", "lost")
    assert [states(bent)[job] for job in ("slow n=2", "join")] == ["done", "skipped"]
    said = result.out + result.err
    assert "the scheduler says FAILED" in said or "left no word of its end" in said
    assert bent.left() == []
    assert bent.run().code == 0
    assert bent.ran().count("slow2") == 1


def test_deleted_by_hand_a_job_is_cancelled_and_what_needs_it_leaves_the_queue(bent: Bent) -> None:
    process, ids = running(bent)
    bent.cluster.run("scancel", ids["slow n=1"])
    bent.wait(lambda: states(bent)["slow n=1"] == "cancelled")
    bent.wait(lambda: states(bent)["join"] == "skipped")
    bent.pipe.write("go")
    result = bent.end(process)
    assert result.code == 1
    assert "cancelled" in result.out + result.err
    assert states(bent) == {"slow n=1": "cancelled", "slow n=2": "done", "join": "skipped"}
    assert bent.left() == []


def test_a_job_that_waits_is_deleted_by_hand(bent: Bent) -> None:
    process, _ = running(bent)
    bent.cluster.run("scancel", scheduler_id(bent, "join"))
    bent.wait(lambda: states(bent)["join"] == "cancelled")
    bent.pipe.write("go")
    assert bent.end(process).code == 1
    assert bent.left() == []
    assert bent.ran() == ["slow1", "slow2"]


def test_a_job_that_is_started_anew_by_its_scheduler_is_one_attempt(bent: Bent) -> None:
    bent.settings('options = ["--requeue"]')
    process, ids = running(bent)
    bent.cluster.run("scontrol", "requeue", ids["slow n=1"])
    bent.wait(lambda: bent.ran().count("slow1") == 2)
    bent.pipe.write("go")
    result = bent.end(process)
    bent.went_well([*SLOW_JOBS, "slow1"], result)
    assert len(attempts(bent, "slow n=1")) == 1
    assert bent.pipe.read("join") == "1\n2\n"


def test_a_job_that_an_admin_holds_waits_until_it_is_released(bent: Bent) -> None:
    process, _ = running(bent)
    join = scheduler_id(bent, "join")
    bent.cluster.run("scontrol", "hold", join)
    bent.pipe.write("go")
    bent.wait(lambda: [*states(bent).values()].count("done") == 2)
    calls = bent.calls("squeue")
    bent.wait(lambda: bent.calls("squeue") >= calls + 5)
    assert states(bent)["join"] == "queued"
    assert bent.cluster.state(join) == "PENDING"
    bent.cluster.run("scontrol", "release", join)
    bent.went_well(SLOW_JOBS, bent.end(process))


def test_a_job_whose_need_left_no_record_does_not_run(bent: Bent) -> None:
    process, _ = running(bent)
    join = scheduler_id(bent, "join")
    bent.cluster.run("scontrol", "hold", join)
    kill(process)
    bent.pipe.write("go")
    inbox = bent.pipe.path(".hpcmake/inbox")
    bent.wait(lambda: len(list(inbox.glob("*.ended"))) == 2)
    for receipt in inbox.glob("*.ended"):
        receipt.unlink()
    bent.cluster.run("scontrol", "release", join)
    bent.wait(lambda: bent.cluster.jobs() == [])
    assert bent.ran() == ["slow1", "slow2"]
    # What takes the run on has found out that nobody knows what they came to.
    assert states(bent) == {"slow n=1": "lost", "slow n=2": "lost", "join": "skipped"}
    assert "left no word of its end" in bent.pipe.check("status").out
    assert bent.run().code == 0
    assert bent.pipe.read("join") == "1\n2\n"


def test_a_job_whose_input_was_changed_since_fails_once_and_does_not_run(bent: Bent) -> None:
    process, _ = running(bent)
    join = scheduler_id(bent, "join")
    bent.cluster.run("scontrol", "hold", join)
    bent.pipe.write("go")
    bent.wait(lambda: [*states(bent).values()].count("done") == 2)
    bent.pipe.write("slow1", "somebody else's\n")
    bent.cluster.run("scontrol", "release", join)
    result = bent.end(process)
    assert result.code == 1
    assert "`slow1` is not there as `slow n=1` left it" in result.out + result.err
    assert bent.ran() == ["slow1", "slow2"]
    assert bent.left() == []


def test_two_builds_on_two_clusters_at_once_run_each_job_once(
    slurm: Slurm, slurm_beta: Slurm, pipe: Pipe
) -> None:
    pipe.write("Pipefile", PIPEFILE)
    one = Bent(pipe, slurm)
    config = {"alpha": slurm.env, "beta": slurm_beta.env}
    settings = ""
    for alias, env in config.items():
        # Each cluster has commands of its own, as by a module that is loaded.
        for name in SLURM:
            real = shutil.which(name)
            text = f'#!/bin/sh\nSLURM_CONF={env["SLURM_CONF"]} exec {real} "$@"\n'
            pipe.write(f"{alias}/{name}", text).chmod(0o755)
        settings += SETTINGS.format(alias=alias, scheduler="slurm", grace="2s", more="")
    pipe.write("hpcmake.toml", settings)
    processes = []
    for alias, env in config.items():
        one.env = {**env, "PATH": f"{pipe.path(alias)}:{os.environ['PATH']}"}
        one.alias = alias
        processes.append(one.start())
    results = [one.end(process) for process in processes]
    assert [result.code for result in results] == [0, 0], results
    one.went_well(JOBS, results[0])
    assert slurm_beta.jobs() == []


def test_commands_that_speak_to_another_cluster_tell_nothing_of_jobs(
    bent: Bent, slurm_beta: Slurm
) -> None:
    """As from the login node of another cluster, whose queue has none of the jobs."""
    process, _ = running(bent)
    kill(process)
    bent.pipe.path(".hpcmake/run-2/watched").unlink()  # as if it had been killed long ago
    looks, here = bent.calls("squeue"), bent.env
    bent.env = {**bent.env, **slurm_beta.env}
    other = bent.start()
    bent.wait(lambda: bent.calls("squeue") >= looks + 9)  # three times the grace, and more
    assert set(states(bent).values()) == {"running", "queued"}
    cancelled = bent.pipe.run("cancel", "--all", "--yes", env=bent.env)
    assert (cancelled.code, "error[other-cluster]" in cancelled.err) == (3, True)
    other.send_signal(signal.SIGINT)
    assert "another cluster of the same kind answers here" in bent.end(other).err
    bent.env = here
    bent.pipe.write("go")
    bent.went_well(SLOW_JOBS, bent.run())


def test_a_lock_that_is_held_for_long_loses_no_end(bent: Bent) -> None:
    process, _ = running(bent)
    inbox = bent.pipe.path(".hpcmake/inbox")
    with open_state(bent.pipe.folder).locked():
        bent.pipe.write("go")
        bent.wait(lambda: len(list(inbox.glob("*.ended"))) == 3)
        assert process.poll() is None
    bent.went_well(SLOW_JOBS, bent.end(process))


def test_an_inbox_that_cannot_be_written_for_a_while_loses_no_end(bent: Bent) -> None:
    process, _ = running(bent)
    inbox = bent.pipe.path(".hpcmake/inbox")
    aside = inbox.with_name("aside")
    inbox.rename(aside)
    inbox.write_text("in the way")
    bent.pipe.write("go")
    bent.wait(lambda: bent.pipe.exists("slow1") and bent.pipe.exists("slow2"))
    assert process.poll() is None
    inbox.unlink()
    aside.rename(inbox)
    bent.went_well(SLOW_JOBS, bent.end(process))


def test_what_takes_a_run_on_is_killed_and_another_one_does(bent: Bent) -> None:
    bent.pipe.write("Pipefile", SLOW.replace("retries: node = 1, preempted = 1", "retries: 1"))
    text = "if [ ! -e failed ]; then touch failed; exit 1; fi; until [ -e go ]"
    bent.pipe.write("Pipefile", bent.pipe.read("Pipefile").replace("until [ -e go ]", text))
    result = bent.run("--detach")
    assert result.code == 0, result.err
    bent.wait(lambda: bent.ran() != [])
    bent.cluster.run("scancel", "--name", go_on_name(bent), code=None)
    bent.pipe.write("go")
    bent.wait(lambda: bent.cluster.jobs() == [], limit_s=60)
    result = bent.run()
    assert result.code == 0, result.out + result.err
    assert bent.pipe.read("join") == "1\n2\n"
    assert bent.ran().count("join") == 1
    assert bent.left() == []


def go_on_name(bent: Bent) -> str:
    """The name of the scheduler job that takes a run on."""
    marks = list(bent.pipe.path(".hpcmake").glob("run-*/go-on"))
    return marks[0].read_text().split()[1] if marks else "none"


@pytest.mark.breaks
def test_nothing_is_lost_while_the_controller_is_down(bent: Bent) -> None:
    process, _ = running(bent)
    bent.cluster.fault("controller-down")
    bent.pipe.write("go")
    calls = bent.calls("squeue")
    bent.wait(lambda: [*states(bent).values()].count("done") == 2)
    bent.wait(lambda: bent.calls("squeue") >= calls + 3)
    assert states(bent)["join"] == "queued"
    bent.cluster.fault("controller-up")
    bent.went_well(SLOW_JOBS, bent.end(process))


@pytest.mark.breaks
def test_nothing_is_lost_when_the_controller_goes_down_while_jobs_are_submitted(
    bent: Bent,
) -> None:
    bent.pipe.write("Pipefile", PIPEFILE)
    bent.bend("sbatch", '[ $n != 3 ] || until [ -e down ]; do sleep 0.1; done; exec "$real" "$@"')
    process = bent.start()
    bent.wait(lambda: bent.calls("sbatch") >= 3)
    bent.cluster.fault("controller-down")
    bent.pipe.write("down")
    bent.wait(lambda: bent.calls("squeue") + bent.calls("sbatch") >= 5, limit_s=90)
    bent.cluster.fault("controller-up")
    bent.went_well(JOBS, bent.end(process))


@pytest.mark.breaks
def test_a_job_of_a_dead_node_runs_elsewhere(bent: Bent) -> None:
    process, _ = running(bent)
    host = attempts(bent, "slow n=1")[-1]
    node = bent.cluster.run(
        "squeue", "-h", "-o", "%N", "-j", scheduler_id(bent, "slow n=1")
    ).out.split()[0]
    bent.cluster.fault("node-down", node.removeprefix(bent.cluster.name))
    bent.wait(lambda: len(attempts(bent, "slow n=1")) == 2)
    assert attempts(bent, "slow n=1")[0].failure == "node", host
    bent.wait(lambda: states(bent)["slow n=1"] == "running")
    bent.pipe.write("go")  # the process on the dead node sees it as well
    result = bent.end(process)
    assert result.code == 0, result.out + result.err
    assert bent.pipe.read("join") == "1\n2\n"
    assert bent.left() == []
    assert bent.pipe.run("-n").out.startswith("nothing to do")


@pytest.mark.breaks("database")
def test_nothing_is_lost_while_accounting_is_down(bent: Bent) -> None:
    process, ids = running(bent)
    bent.cluster.fault("database-down")
    bent.cluster.run("scancel", ids["slow n=1"])
    bent.wait(lambda: states(bent)["slow n=1"] == "cancelled")
    bent.pipe.write("go")
    result = bent.end(process)
    assert result.code == 1
    assert states(bent) == {"slow n=1": "cancelled", "slow n=2": "done", "join": "skipped"}
    assert bent.left() == []


def test_a_job_that_makes_room_for_a_more_urgent_one_is_tried_again(bent: Bent) -> None:
    process, ids = running(bent)
    # No cluster of the tests has two ranks of jobs: it is the queue that tells of one.
    bent.bend("squeue", '"$real" "$@" | sed "s/CANCELLED/PREEMPTED/"')
    bent.cluster.run("scancel", ids["slow n=1"])
    bent.wait(lambda: bent.ran().count("slow1") == 2)
    assert attempts(bent, "slow n=1")[0].failure == "preempted"
    bent.pipe.write("go")
    bent.went_well([*SLOW_JOBS, "slow1"], bent.end(process))
    assert bent.pipe.read("join") == "1\n2\n"
