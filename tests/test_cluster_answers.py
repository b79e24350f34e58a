"""What schedulers answer: too late, too much, nothing, nonsense; it is never taken for an end."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest
from conftest import Pipe
from real_schedulers import Sge, Slurm
from wrapped import SGE, Bent

from buildhpc.state import queries
from buildhpc.state.database import read_state

# How many rounds; so many ask for the long forms of all tests.
LONG = int(os.environ.get("HPCMAKE_ROUNDS", "30")) >= 1000
CHAIN = """\
rule all:
    input: "c1", "c2", "c3"
rule a:
    output: "a{n}"
    cores: int(n)
    shell: "echo a{n} >> ran; echo {n} > {output}"
rule c:
    input: "a{n}"
    output: "c{n}"
    cores: int(n)
    shell: "echo c{n} >> ran; cat {input} > {output}"
"""
JOBS = [f"{rule}{n}" for rule in "ac" for n in (1, 2, 3)]

# It takes its time, and a test says when it ends.
SLOW = """\
rule slow:
    output: "slow"
    shell: "echo slow >> ran; until [ -e go ]; do sleep 0.1; done; echo done > {output}"
"""

# What a command that submits may do; the last one is as it should be.
ODD_SUBMITS = {
    "slurm": """\
case $n in
    1) echo hello ;;
    2) "$real" "$@" >/dev/null; echo hello ;;
    3) "$real" "$@" >&2 ;;
    4) id=$("$real" "$@"); echo "$id"; echo "$id" ;;
    5) "$real" "$@"; echo "sbatch: error: out of luck" >&2; exit 1 ;;
    6) head -c 10000000 /dev/zero | tr "\\\\0" x; echo; "$real" "$@" ;;
    7) "$real" "$@"; echo "sbatch: error: Socket timed out on send/recv" >&2; exit 1 ;;
    *) exec "$real" "$@" ;;
esac
""",
}
ODD_SUBMITS["sge"] = ODD_SUBMITS["slurm"].replace("Socket timed out", "receive timeout")
SLOW_SUBMITS = """\
case $n in
    1) sleep 100 ;;
    2) "$real" "$@"; sleep 100 ;;
    3) ;;
    4) echo "Batch job submission failed: Socket timed out on send/recv operation" >&2; exit 1 ;;
    5) "$real" "$@"; kill -9 $$ ;;
    *) exec "$real" "$@" ;;
esac
"""


@pytest.fixture
def bent(slurm: Slurm, pipe: Pipe) -> Bent:
    """A project on Slurm."""
    return Bent(pipe, slurm)


@pytest.fixture
def bent_sge(sge: Sge, pipe: Pipe) -> Bent:
    """A project on Grid Engine."""
    return Bent(pipe, sge, SGE)


def test_odd_answers_to_submitting_lose_and_double_no_job(bent: Bent) -> None:
    bent.pipe.write("Pipefile", CHAIN)
    bent.bend("sbatch", ODD_SUBMITS["slurm"])
    bent.went_well(JOBS, bent.run())
    assert bent.calls("sbatch") == 7  # one was refused by nonsense, and nothing is tried twice


def test_late_answers_to_submitting_lose_and_double_no_job(bent: Bent) -> None:
    bent.pipe.write("Pipefile", CHAIN)
    bent.bend("sbatch", SLOW_SUBMITS)
    bent.went_well(JOBS, bent.run(hasty=True))
    assert bent.calls("sbatch") == 9


def test_what_is_accepted_late_and_twice_runs_once_and_leaves_the_queue(bent: Bent) -> None:
    bent.pipe.write("Pipefile", SLOW)
    # The first call is killed, and what it has begun reaches the scheduler after the second one.
    late = """
    if [ $n = 1 ]; then
        cp "${@: -1}" late.sh
        setsid bash -c 'until [ -e second ]; do sleep 0.1; done; "$0" "$@"' \\
            "$real" "${@:1:$#-1}" late.sh >/dev/null 2>&1 &
        sleep 100
    fi
    "$real" "$@" && touch second
    """
    bent.bend("sbatch", late)
    process = bent.start(hasty=True)
    bent.wait(lambda: bent.ran() == ["slow"])
    bent.wait(lambda: len(bent.cluster.jobs()) == 2 or bent.calls("scancel"))
    bent.wait(lambda: len(bent.cluster.jobs()) == 1)
    bent.pipe.write("go")
    bent.went_well(["slow"], bent.end(process))


def test_a_release_that_does_not_happen_is_tried_again(bent: Bent) -> None:
    bent.pipe.write("Pipefile", CHAIN)
    bent.bend(
        "scontrol",
        'case $n in 1) echo hello ;; 2) exit 1 ;; 3) sleep 100 ;; *) exec "$real" "$@" ;; esac',
    )
    bent.went_well(JOBS, bent.run(hasty=True))


def states(bent: Bent) -> list[str]:
    """The states of the jobs, by what is written down."""
    state = read_state(bent.pipe.folder)
    assert state is not None
    return [job.state for job in queries.jobs(state)]


ODD_LISTS = {
    "error": "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1",
    "garbage": "echo hello",
    "localised": "echo 'ID | ZUSTAND'; echo '12|wartend'",
    "half": '"$real" "$@" | head -c 9',
    "empty": "true",
    "unknown": '"$real" "$@" | sed "s/RUNNING/TAUMELT/"',
}


@pytest.mark.parametrize("answer", ODD_LISTS)
def test_odd_answers_of_the_queue_end_no_job(bent: Bent, answer: str) -> None:
    bent.pipe.write("Pipefile", SLOW)
    process = bent.start()
    bent.wait(lambda: bent.ran() == ["slow"])
    calls = bent.calls("squeue")
    bent.bend("squeue", ODD_LISTS[answer])
    bent.wait(lambda: bent.calls("squeue") >= calls + (7 if answer == "empty" else 2))
    assert states(bent) == ["running"]
    bent.mend("squeue")
    bent.pipe.write("go")
    result = bent.end(process)
    bent.went_well(["slow"], result)
    if answer not in ("empty", "unknown"):
        assert "does not answer; its jobs go on" in result.err


@pytest.mark.parametrize("answer", ["exit 1", "echo hello", "sleep 100"] if LONG else ["exit 1"])
def test_odd_answers_of_accounting_end_no_job(bent: Bent, answer: str) -> None:
    bent.pipe.write("Pipefile", SLOW)
    process = bent.start(hasty=True)
    bent.wait(lambda: bent.ran() == ["slow"])
    bent.bend("sacct", answer)
    bent.bend("squeue", "true")
    calls = bent.calls("sacct")
    bent.wait(lambda: bent.calls("sacct") >= calls + (3 if "sleep" in answer else 7))
    assert states(bent) == ["running"]
    bent.mend("squeue", "sacct")
    bent.pipe.write("go")
    bent.went_well(["slow"], bent.end(process))


def test_a_job_that_nobody_knows_for_a_while_is_not_lost(bent: Bent) -> None:
    bent.settings(grace="4s")
    bent.pipe.write("Pipefile", SLOW)
    process = bent.start()
    bent.wait(lambda: bent.ran() == ["slow"])
    bent.bend("sacct", "true")
    bent.bend("squeue", "true")
    calls = bent.calls("sacct")
    bent.wait(lambda: bent.calls("sacct") >= calls + 7)  # 7 s, and 4 of grace
    bent.mend("squeue", "sacct")
    bent.wait(lambda: bent.calls("sacct") and bent.calls("squeue"))
    assert states(bent) == ["running"]
    bent.pipe.write("go")
    bent.went_well(["slow"], bent.end(process))


def test_a_job_that_nobody_knows_for_long_is_lost_and_told_so(bent: Bent) -> None:
    bent.pipe.write("Pipefile", SLOW)
    process = bent.start()
    bent.wait(lambda: bent.ran() == ["slow"])
    bent.bend("sacct", "true")
    bent.bend("squeue", "true")
    result = bent.end(process)
    assert result.code == 1
    assert "the scheduler knows nothing of it" in result.out + result.err
    bent.mend("squeue", "sacct")
    bent.pipe.write("go")
    bent.wait(lambda: bent.cluster.jobs() == [])
    # What its runner says counts more.
    assert bent.pipe.read("slow") == "done\n"
    bent.pipe.check("status")
    assert states(bent) == ["done"]


AWAY = "echo 'sbatch: error: Batch job submission failed: Unable to contact slurm controller"
AWAY += " (connect failure)' >&2; exit 1"


@pytest.mark.parametrize("answer", [AWAY, "sleep 100"] if LONG else [AWAY])
def test_a_scheduler_that_takes_nothing_is_told_and_nothing_is_left(
    bent: Bent, answer: str
) -> None:
    bent.pipe.write("Pipefile", CHAIN)
    bent.bend("sbatch", answer)
    result = bent.run(hasty=True)
    assert result.code == 3, result.err
    waits, _, told = result.err.partition("\n")
    assert waits.startswith(f"note: cluster `{bent.alias}` does not answer: "), result.err
    assert told.startswith(f"error[cluster-away]: cluster `{bent.alias}` takes no jobs: ")
    assert "nothing was submitted" in result.err
    assert "since" not in bent.pipe.check("status").out, "no run goes on"
    if answer == AWAY:
        bent.mend("sbatch")
        bent.went_well(JOBS, bent.run())


def test_commands_that_are_not_there_are_told_and_nothing_is_left(bent: Bent) -> None:
    bent.pipe.write("Pipefile", CHAIN)
    bent.env["PATH"], path = "/nowhere", bent.env["PATH"]
    for words in ((), ("--detach",)):
        result = bent.run(*words)
        assert result.code == 3
        assert "there is no `sbatch` on this machine" in result.err
    bent.env["PATH"] = path
    bent.went_well(JOBS, bent.run())


def test_nobody_knows_whether_it_was_submitted_until_the_queue_can_be_had(bent: Bent) -> None:
    bent.pipe.write("Pipefile", CHAIN)
    bent.bend("sbatch", 'if [ $n = 1 ]; then "$real" "$@" >/dev/null; fi; echo hello')
    bent.bend("squeue", "echo hello")
    process = bent.start(hasty=True)
    bent.wait(lambda: bent.calls("squeue") >= 4)
    assert process.poll() is None
    bent.mend("sbatch", "squeue")
    bent.went_well(JOBS, bent.end(process))


def test_what_could_not_be_cancelled_leaves_the_queue_later(bent: Bent) -> None:
    text = SLOW + 'rule last:\n    input: "slow"\n    output: "last"\n    shell: "echo > last"\n'
    bent.pipe.write("Pipefile", f'rule all:\n    input: "last"\n{text}')
    process = bent.start()
    bent.wait(lambda: bent.ran() == ["slow"])
    bent.bend("scancel", "echo hello")
    words = bent.pipe.command("cancel", "--yes", "last")
    with subprocess.Popen(words, cwd=bent.pipe.folder, env={**os.environ, **bent.env}) as cancel:
        bent.wait(lambda: bent.calls("scancel") >= 2)
        assert len(bent.cluster.jobs()) == 2
        bent.mend("scancel")
        bent.wait(lambda: len(bent.cluster.jobs()) == 1)
    assert cancel.returncode == 0
    bent.pipe.write("go")
    assert bent.end(process).code == 1
    assert bent.left() == []


# Grid Engine


def test_odd_answers_to_submitting_to_grid_engine_lose_and_double_no_job(bent_sge: Bent) -> None:
    bent_sge.pipe.write("Pipefile", CHAIN.replace("cores: int(n)", "retries: int(n)"))
    bent_sge.bend("qsub", ODD_SUBMITS["sge"])
    bent_sge.went_well(JOBS, bent_sge.run())


@pytest.mark.parametrize(
    "answer",
    ["exit 1", "true", *(["echo hello", '"$real" "$@" | head -c 99'] if LONG else [])],
)
def test_odd_answers_of_grid_engine_end_no_job(bent_sge: Bent, answer: str) -> None:
    bent = bent_sge
    bent.pipe.write("Pipefile", SLOW)
    process = bent.start()
    bent.wait(lambda: bent.ran() == ["slow"])
    calls = bent.calls("qstat")
    bent.bend("qstat", answer)
    bent.wait(lambda: bent.calls("qstat") >= calls + 2)
    assert states(bent) == ["running"]
    # It is not in the list, and the accounting gives no answer that can be read.
    bent.bend("qstat", """"$real" -xml -u nobody""")
    bent.bend("qacct", answer)
    bent.wait(lambda: bent.calls("qacct") >= (2 if answer != "true" else 0))
    assert states(bent) == ["running"]
    bent.mend("qstat", "qacct")
    bent.pipe.write("go")
    bent.went_well(["slow"], bent.end(process))


def test_a_job_that_grid_engine_cannot_start_fails_and_leaves_the_queue(bent_sge: Bent) -> None:
    bent = bent_sge
    bent.pipe.write("Pipefile", SLOW)
    bent.settings('options = ["-wd", "/nowhere"]')
    result = bent.run()
    assert result.code == 1
    assert "Eqw" in result.out + result.err
    assert bent.left() == []
    assert bent.ran() == []


def test_who_leaves_while_a_scheduler_is_asked_again_is_not_kept(bent: Bent) -> None:
    bent.pipe.write("Pipefile", CHAIN)
    bent.bend("sbatch", AWAY)
    process = bent.start()
    bent.wait(lambda: bent.calls("sbatch") >= 1)
    process.send_signal(signal.SIGINT)
    assert bent.end(process, limit_s=20).code == 3
    bent.mend("sbatch")
    bent.went_well(JOBS, bent.run())
