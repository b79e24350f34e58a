"""The runner of a scheduler job: real processes, a state made by hand, receipts for all ends."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from runners import RUN, Bed, until

from buildhpc import disk
from buildhpc.plan.stamps import Stamp, put_back
from buildhpc.run import readiness, runner
from buildhpc.run.readiness import Made
from buildhpc.run.signals import Signals
from buildhpc.state import receipts
from buildhpc.state.receipts import Ended, Key

UNTIL_TOLD = "touch begun; while [ ! -e go ]; do sleep 0.02; done"
WAITS = "trap 'echo told; sleep 0.3; exit 1' TERM; touch begun; while true; do sleep 0.05; done"


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def kill_at(bed: Bed, process: subprocess.Popen[str], mark: str, *signals: int) -> int:
    """Send signals once a recipe has written the file `mark`; the exit code of the runner."""
    until((bed.folder / mark).exists)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.05)
    return process.wait(timeout=30)


# How jobs end.


def test_a_job_is_run_and_told(bed: Bed) -> None:
    bed.write("in", "text")
    bed.job("cat in > out; echo printed", ["out"], ["in"], recipe="digest")
    bed.plan()
    assert bed.run() == (0, "")
    assert (bed.folder / "out").read_text() == "text"
    begun, ended = bed.begun(), bed.ended()
    assert begun.runner == ended.runner
    assert begun.log == str(bed.home / f"run-{RUN}" / "logs" / "0-1.log")
    assert begun.runner.host == os.uname().nodename
    assert (begun.job, ended.job, ended.recipe) == ("job0", "job0", "digest")
    assert (ended.outcome.state, ended.outcome.exit_code) == ("done", 0)
    assert (ended.log_text, ended.outcome.log) == ("printed\n", begun.log)
    out, source = (bed.folder / "out").stat(), (bed.folder / "in").stat()
    assert ended.outputs == {"out": (out.st_mtime_ns, 4)}
    assert ended.inputs == {"in": (source.st_mtime_ns, 4)}
    assert (ended.changed, ended.retry, ended.because) == ([], False, None)
    left = [path.name for path in (bed.home / f"run-{RUN}" / "logs").iterdir()]
    assert left == ["0-1.log"]


def test_a_failed_job_is_told_and_leaves_nothing(bed: Bed) -> None:
    bed.job("echo half > out; echo oh; exit 3", ["out"], retry={"": 0, "exit": 1})
    bed.plan()
    assert bed.run() == (1, "")
    ended = bed.ended()
    outcome = ended.outcome
    assert (outcome.state, outcome.failure, outcome.exit_code) == ("failed", "exit", 3)
    assert (ended.log_text, ended.retry, ended.outputs) == ("oh\n", True, None)
    assert bed.files() == []


def test_an_output_that_is_not_made_is_a_failure(bed: Bed) -> None:
    bed.job("true", ["out"], retry={"exit": 1})
    bed.plan()
    assert bed.run() == (1, "")
    assert bed.ended().outcome.failure == "missing-output"
    assert not bed.ended().retry


def test_a_program_that_is_missing_is_a_failure(bed: Bed) -> None:
    bed.job("true")
    bed.plan()
    assert bed.run(PATH="/nowhere") == (1, "")
    assert bed.ended().outcome.failure == "launch"


def test_a_job_without_a_recipe_is_done_when_its_outputs_are_there(bed: Bed) -> None:
    bed.write("out")
    bed.job("", ["out|touch"])
    bed.plan()
    assert bed.run() == (0, "")
    assert bed.ended().outcome.state == "done"


def test_a_large_log_stays_a_file(bed: Bed) -> None:
    bed.job("head -c 70000 /dev/zero | tr '\\0' x")
    bed.job("echo own", log="logs/own.txt")
    bed.plan()
    assert bed.run() == (0, "")
    ended = bed.ended()
    assert ended.log_text is None
    assert ended.outcome.log is not None
    assert Path(ended.outcome.log).stat().st_size == 70000
    assert bed.run(1) == (0, "")
    assert (bed.ended(1).log_text, bed.ended(1).outcome.log) == (None, "logs/own.txt")
    assert bed.begun(1).log == "logs/own.txt"
    assert (bed.folder / "logs/own.txt").read_text() == "own\n"


def test_what_the_job_is_told_and_what_it_makes_beside_its_outputs(bed: Bed) -> None:
    bed.write("out", "edited")
    bed.write("in", "same")
    bed.job(
        "echo new > out; echo temp > t; umask; echo $HPCMAKE_RUN",
        ["out", "t|temp"],
        ["in"],
        content=["in", "t"],
        replaced=["out"],
        restore={"t": [10**18, 5]},
        benchmark="bench/b.tsv",
    )
    bed.more["umask"] = 0o27
    bed.plan()
    assert bed.run() == (0, "")
    ended = bed.ended()
    assert ended.log_text == f"0027\nbed:{os.getpid()}:{RUN}:0.1.0\n"
    assert (bed.folder / "out.edited").read_text() == "edited"
    assert ended.hashes is not None
    known = put_back("t", Stamp(10**18, 5))
    assert ended.hashes.keys() == {"in", "t", *known}
    assert known.items() <= ended.hashes.items()
    assert ended.outputs is not None
    assert ended.outputs["t"] == (10**18, 5)
    assert (bed.folder / "bench/b.tsv").read_text().startswith("wall_s\t")


def test_an_input_that_changes_meanwhile_is_told(bed: Bed) -> None:
    bed.write("in", "old")
    bed.job("echo changed >> in; touch out", ["out"], ["in"])
    bed.plan()
    assert bed.run() == (0, "")
    assert bed.ended().changed == ["in"]


# What jobs need.


def chain(bed: Bed) -> None:
    """`made` by one job, read by the next."""
    bed.job("echo made > made", ["made"])
    bed.job("cat made > out", ["out", "old"], ["made"], {0: ["made"]})


def unready(bed: Bed, number: int = 1) -> tuple[str, str | None]:
    """Let the job come to its end: it was not ready. What its receipt says."""
    before = bed.files()
    assert bed.run(number) == (1, "")
    assert bed.files() == before
    ended = bed.ended(number)
    assert ended.outcome.state == "unready"
    return ended.outcome.message, ended.because


def spoilt(bed: Bed, number: int = 1) -> str:
    """Let the job come to its end: what it needs was made, and is not there. What it says."""
    before = bed.files()
    assert bed.run(number) == (1, "")
    assert bed.files() == before
    outcome = bed.ended(number).outcome
    assert (outcome.state, outcome.failure) == ("failed", "launch")
    return outcome.message


def test_nothing_is_touched_while_a_predecessor_is_not_done(bed: Bed) -> None:
    chain(bed)
    bed.plan()
    bed.write("made", "of old")
    bed.write("old", "precious")
    said = ("`job0`, which it needs, is not done", "job0")
    assert unready(bed) == said
    assert (bed.folder / "old").read_text() == "precious"
    bed.receipt(0, "failed")
    Path(bed.inbox, "2.1.1.0.started").unlink()
    assert unready(bed) == said
    # Done before, and now claimed again: that is not done either.
    bed.record(0)
    bed.sql("UPDATE job SET claim = 3 WHERE id = 1")
    Path(bed.inbox, "2.1.1.0.started").unlink()
    assert unready(bed) == said


@pytest.mark.parametrize("told", ["receipt", "record"])
def test_a_predecessor_is_done_by_its_receipt_or_by_the_state(bed: Bed, told: str) -> None:
    bed.job("echo made > made", ["made"])
    bed.job("cat made > out", ["out"], ["made"], {0: ["made"]})
    bed.plan()
    bed.write("made", "made\n")
    if told == "receipt":
        bed.receipt(0, "failed")
        bed.receipt(0, attempt=2)
    else:
        bed.record(0)
    assert bed.run(1) == (0, "")
    assert bed.ended(1).outcome.state == "done"


@pytest.mark.parametrize("told", ["receipt", "record"])
@pytest.mark.parametrize("change", ["gone", "other"])
def test_nothing_is_touched_when_an_input_is_not_as_it_was_left(
    bed: Bed, told: str, change: str
) -> None:
    chain(bed)
    bed.plan()
    made = bed.write("made", "made\n")
    bed.receipt(0) if told == "receipt" else bed.record(0)
    made.unlink() if change == "gone" else made.write_text("something else\n")
    assert spoilt(bed) == "`made` is not there as `job0` left it"


def test_a_file_in_a_folder_that_a_job_made(bed: Bed) -> None:
    bed.job("mkdir d; touch d/f", ["d|directory"])
    bed.job("cat d/f > out", ["out"], ["d/f"], {0: ["d/f"]})
    bed.job("cat d/f > out2", ["out2"], ["d/f"], {0: ["d/f"]})
    bed.plan()
    assert bed.run(0) == (0, "")
    assert bed.run(1) == (0, "")
    bed.write("d/g")
    assert spoilt(bed, 2) == "`d/f` is not there as `job0` left it"


@pytest.mark.parametrize("planned", [True, False])
def test_a_late_input_is_waited_for(bed: Bed, planned: bool) -> None:
    bed.latency_s = 20.0
    bed.job("echo made > made", ["made"])
    bed.job("cat made > out", ["out"], ["made"], {0: ["made"]} if planned else None)
    bed.plan()
    made = bed.write("made", "made\n")
    bed.receipt(0)
    away = made.rename(bed.folder / "elsewhere")
    process = bed.start(1)
    bed.begun(1)
    time.sleep(1.0)
    away.rename(made)
    assert process.wait(timeout=30) == 0
    ended = bed.ended(1)
    assert ended.outcome.state == "done"
    assert ended.outcome.ended_s - bed.begun(1).started_s >= 1.0


def test_a_file_server_is_asked_anew(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    bed.job("touch made", ["made"])
    bed.job("touch out", ["out"], ["made"], {0: ["made"]})
    monkeypatch.chdir(bed.folder)
    bed.write("made")
    look, listdir = disk.look, os.listdir
    listed: list[str] = []

    def cached(path: str) -> Stamp | None:
        return look(path) if listed else None

    def server(path: str) -> list[str]:
        listed.append(path)
        return listdir(path)

    made: Made = {"job0": {"made": look("made")}}
    monkeypatch.setattr(disk, "look", cached)
    monkeypatch.setattr(os, "listdir", server)
    assert readiness.unready(bed.jobs[1], made, 10.0, lambda _: True) is None
    assert listed == ["."]


def test_an_input_that_nobody_makes_and_is_missing_is_a_failure(bed: Bed) -> None:
    bed.job("touch out", ["out"], ["in"])
    bed.plan()
    assert bed.run() == (1, "")
    outcome = bed.ended().outcome
    assert outcome.failure == "launch"
    assert outcome.message == "`in`, an input of `job0`, is not there any more"


# Who may run a job.


def test_only_one_of_two_runners_of_an_attempt_runs_it(bed: Bed) -> None:
    bed.job(f"echo x >> log; {UNTIL_TOLD}; touch out", ["out"])
    bed.plan()
    first = bed.start()
    until((bed.folder / "begun").exists)
    assert bed.run() == (1, "")
    assert bed.names() == ["2.0.1.0.started"]
    bed.write("go")
    assert first.wait(timeout=30) == 0
    assert bed.ended().runner.pid == first.pid
    # The scheduler starts what is done once more: nothing happens, and all is well.
    Path(bed.inbox, "2.0.1.0.started").unlink()
    bed.attempt(0, state="done")
    assert bed.run() == (0, "")
    assert (bed.folder / "log").read_text() == "x\n"


@pytest.mark.parametrize(
    ("column", "value"),
    [("submission", 8), ("state", "lost"), ("state", "cancelled"), ("run", 3), ("restart", 1)],
)
def test_an_attempt_that_the_state_gave_to_another_is_not_run(
    bed: Bed, column: str, value: object
) -> None:
    bed.job("touch out", ["out"])
    bed.plan()
    bed.attempt(0, **{column: value})
    if column == "restart":
        bed.attempt(0, state="running", pid=1, host="elsewhere")
    assert bed.run() == (1, "")
    assert bed.names() == []
    assert bed.files() == []


def test_a_receipt_folded_at_once_does_no_harm(bed: Bed) -> None:
    bed.job(f"{UNTIL_TOLD}; touch out", ["out"])
    bed.plan()
    process = bed.start()
    until((bed.folder / "begun").exists)
    by = bed.begun().runner
    bed.attempt(0, state="running", restart=0, host=by.host, pid=by.pid)
    bed.attempt(0, process_start=by.process_start)
    receipts.remove(bed.inbox, Key(RUN, 0, 1), "started")
    bed.write("go")
    assert process.wait(timeout=30) == 0
    assert bed.ended().outcome.state == "done"


@pytest.mark.parametrize("folded", [False, True])
@pytest.mark.parametrize("end", ["echo old > out", "exit 1"])
def test_a_start_anew_takes_over_from_one_that_lives_on(bed: Bed, end: str, folded: bool) -> None:
    first = f"if [ ! -e begun ]; then {UNTIL_TOLD}; {end}"
    bed.job(f"{first}; else echo new > out; fi", ["out"])
    bed.plan()
    old = bed.start()
    until((bed.folder / "begun").exists)
    assert bed.run(SLURM_RESTART_COUNT="1") == (0, "")
    assert bed.ended(restart=1).outcome.state == "done"
    if folded:
        bed.attempt(0, state="done", restart=1)
        receipts.remove(bed.inbox, Key(RUN, 0, 1, 1), "started")
    bed.write("go")
    assert old.wait(timeout=30) == 1
    assert bed.ended().outcome.state == "superseded"
    # An `exit 1` would have had it remove what the other one made.
    assert (bed.folder / "out").read_text() == ("old\n" if "old" in end else "new\n")


def test_private_names_are_those_of_one_start(bed: Bed) -> None:
    bed.job("echo $PWD/.hpcmake-tok-out; echo x > .hpcmake-tok-out", ["out|atomic"])
    bed.plan()
    assert bed.run(SLURM_RESTART_COUNT="2") == (0, "")
    assert bed.ended(restart=2).log_text == f"{bed.folder}/.hpcmake-tok.1.2-out\n"
    assert bed.files() == ["out"]


@pytest.mark.parametrize(("state", "code"), [("done", 0), ("failed", 1)])
def test_a_start_anew_of_what_ended_does_nothing(bed: Bed, state: str, code: int) -> None:
    bed.job("echo x > out", ["out"])
    bed.plan()
    bed.receipt(0, state)
    assert bed.run(SLURM_RESTART_COUNT="1") == (code, "")
    assert bed.files() == []
    assert bed.names() == ["2.0.1.0.ended"]


def test_a_start_anew_of_what_was_cancelled_runs_it(bed: Bed) -> None:
    bed.job("echo x > out", ["out"])
    bed.plan()
    bed.started(0)
    bed.receipt(0, "cancelled")
    assert bed.run(RESTARTED="1") == (0, "")
    assert bed.run(RESTARTED="1") == (0, "")
    assert bed.ended(restart=1).outcome.state == "done"
    bed.attempt(0, state="running", restart=4, pid=1)
    receipts.remove(bed.inbox, Key(RUN, 0, 1, 1), "ended")
    assert bed.run(RESTARTED="1") == (0, "")
    assert bed.ended(restart=5).outcome.state == "done"


@pytest.mark.parametrize(
    ("columns", "runs"),
    [
        ({"state": "cancelled", "told": "receipt", "restart": 0}, True),
        ({"state": "failed", "told": "accounting", "restart": None}, True),
        ({"state": "failed", "told": "receipt", "restart": 0}, False),
        ({"state": "cancelled", "restart": 1}, False),
        ({"state": "cancelled", "claim": 3}, False),
        ({"state": "lost", "attempt": 99}, False),
        ({"state": "lost"}, True),
    ],
)
def test_a_start_anew_of_what_was_ended_from_outside(
    bed: Bed, columns: dict[str, object], runs: bool
) -> None:
    bed.job("echo x > out", ["out"])
    bed.plan()
    of_job = {"claim": None, "attempt": 1}
    for name, value in {**of_job, **columns}.items():
        table, key = ("job", "id") if name in of_job else ("attempt", "job")
        bed.sql(f"UPDATE {table} SET {name} = ? WHERE {key} = 1", value)
    assert bed.run(SLURM_RESTART_COUNT="1") == (0 if runs else 1, "")
    assert bed.files() == (["out"] if runs else [])


# Signals.


def test_a_wait_without_an_end_is_over_when_a_process_ends() -> None:
    # As for one that is a zombie by the time that its memory is looked at: no more looks are due.
    heard: list[int] = []
    with Signals(heard.append) as signals, subprocess.Popen(["true"]):
        signals.wait(float("inf"))
    assert heard == []


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT], [signal.SIGUSR2]])
def test_a_scheduler_cancels(bed: Bed, numbers: list[int]) -> None:
    bed.job(f"echo half > out; {WAITS}", ["out"], time_s=3600, retry={"": 5})
    bed.plan()
    process = bed.start()
    assert kill_at(bed, process, "begun", *numbers) == 1
    ended = bed.ended()
    assert ended.outcome.state == "cancelled"
    name = signal.Signals(numbers[0]).name
    assert ended.outcome.message == f"its scheduler job was ended by {name}"
    assert "told\n" in str(ended.log_text)
    assert not ended.retry
    assert bed.files() == ["begun"]


@pytest.mark.parametrize(
    ("numbers", "time_s"),
    [
        ([signal.SIGUSR1, signal.SIGTERM], 3600),
        ([signal.SIGXCPU], None),
        ([signal.SIGTERM], 0),
        ([signal.SIGUSR2], 0),
    ],
)
def test_a_scheduler_says_that_the_time_is_over(
    bed: Bed, numbers: list[int], time_s: int | None
) -> None:
    bed.job(WAITS, time_s=time_s, retry={"timeout": 1})
    bed.plan()
    assert kill_at(bed, bed.start(), "begun", *numbers) == 1
    ended = bed.ended()
    assert (ended.outcome.state, ended.outcome.failure) == ("failed", "timeout")
    assert ended.retry


def test_what_was_ignored_or_blocked_at_the_start_is_heard(bed: Bed) -> None:
    bed.job(WAITS, time_s=3600)
    bed.plan()
    deaf = (
        "import os, signal, sys\n"
        "for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD):\n"
        "    signal.signal(number, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGTERM, signal.SIGCHLD])\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    process = bed.start(prefix=[sys.executable, "-c", deaf])
    assert kill_at(bed, process, "begun", signal.SIGTERM) == 1
    assert bed.ended().outcome.state == "cancelled"
    assert "told\n" in str(bed.ended().log_text)


def test_a_recipe_that_hears_the_signal_first_is_cancelled_as_well(bed: Bed) -> None:
    bed.job("echo $$ > begun.tmp; mv begun.tmp begun; exec sleep 60", time_s=3600)
    bed.plan()
    process = bed.start()
    until((bed.folder / "begun").exists)
    os.kill(int((bed.folder / "begun").read_text()), signal.SIGTERM)
    time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    assert bed.ended().outcome.state == "cancelled"


def test_a_recipe_that_will_not_end_is_killed(bed: Bed) -> None:
    bed.job("trap '' TERM; touch begun; while true; do sleep 0.05; done", time_s=3600)
    bed.plan()
    process = bed.start()
    begun_s = time.monotonic()
    assert kill_at(bed, process, "begun", signal.SIGTERM) == 1
    assert time.monotonic() - begun_s < 15
    assert bed.ended().outcome.state == "cancelled"


def test_a_runner_that_is_killed_leaves_its_beginning_only(bed: Bed) -> None:
    bed.job("echo $$ > pid.tmp; mv pid.tmp begun; sleep 60", ["out"])
    bed.plan()
    process = bed.start()
    assert kill_at(bed, process, "begun", signal.SIGKILL) == -signal.SIGKILL
    assert bed.names() == ["2.0.1.0.started"]
    os.killpg(int((bed.folder / "begun").read_text()), signal.SIGKILL)


def test_waiting_for_an_input_ends_when_the_scheduler_says_so(bed: Bed) -> None:
    bed.latency_s = 60.0
    chain(bed)
    bed.plan()
    bed.receipt(0)
    process = bed.start(1)
    bed.begun(1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 1
    outcome = bed.ended(1).outcome
    assert outcome.state == "cancelled"
    assert outcome.message.startswith("it was not begun: its scheduler job was ended")


# Disks and databases in trouble.


def test_a_receipt_waits_for_an_inbox_that_cannot_be_written(bed: Bed) -> None:
    bed.job(f"{UNTIL_TOLD}; touch out", ["out"])
    bed.plan()
    process = bed.start()
    until((bed.folder / "begun").exists)
    inbox = Path(bed.inbox)
    inbox.rename(bed.home / "away")
    inbox.write_text("")  # no folder: nobody writes in it, not even root
    bed.write("go")
    until((bed.folder / "out").exists)
    time.sleep(1.0)
    assert process.poll() is None
    inbox.unlink()
    (bed.home / "away").rename(inbox)
    assert process.wait(timeout=30) == 0
    assert bed.ended().outcome.state == "done"


def test_a_receipt_that_cannot_be_written_is_printed(bed: Bed) -> None:
    bed.job(f"{UNTIL_TOLD}; touch out", ["out"])
    bed.plan()
    process = bed.start()
    until((bed.folder / "begun").exists)
    inbox = Path(bed.inbox)
    inbox.rename(bed.home / "away")
    inbox.write_text("")
    bed.write("go")
    until((bed.folder / "out").exists)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)  # there is no time for patience any more
    out, _ = process.communicate(timeout=30)
    first, second = out.splitlines()
    assert first == f"`{inbox}` cannot be written: Not a directory"
    assert second.startswith('2.0.1.0.ended {"run": 2, ')


@pytest.mark.skipif(os.getuid() == 0, reason="root writes where it may not")
def test_a_read_only_inbox_is_waited_for(bed: Bed) -> None:
    bed.job("touch out", ["out"])
    bed.plan()
    Path(bed.inbox).mkdir()
    Path(bed.inbox).chmod(0o500)
    process = bed.start()
    time.sleep(1.0)
    assert process.poll() is None
    Path(bed.inbox).chmod(0o700)
    assert process.wait(timeout=30) == 0
    assert bed.ended().outcome.state == "done"


def test_a_state_that_is_written_all_the_time_is_read(bed: Bed) -> None:
    for n in range(3):
        bed.job(f"touch out{n}", [f"out{n}"])
    bed.plan()
    over = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(bed.database, isolation_level=None)) as connection:
            while not over.is_set():
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("UPDATE run SET beat_s = beat_s + 1")
                connection.execute("UPDATE job SET recorded = recorded + 1")
                over.wait(0.03)
                connection.execute("COMMIT")
                over.wait(0.003)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert [bed.run(n) for n in range(3)] == [(0, "")] * 3
    finally:
        over.set()
        writer.join()
    assert [bed.ended(n).outcome.state for n in range(3)] == ["done"] * 3


def test_a_state_that_stays_unreadable_is_a_failure(bed: Bed) -> None:
    bed.job("touch out", ["out"])
    bed.plan()
    bed.database.write_bytes(b"this is no database" * 1000)
    process = bed.start()
    bed.begun()
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 1
    outcome = bed.ended().outcome
    assert outcome.failure == "launch"
    assert outcome.message.startswith("the node cannot read the state: ")
    assert bed.files() == []


def test_a_manifest_that_is_late_is_waited_for(bed: Bed) -> None:
    bed.job("touch out", ["out"])
    bed.plan()
    manifest = bed.home / f"run-{RUN}" / "slice-1.jsonl"
    away = manifest.rename(bed.folder / "away")
    process = bed.start()
    time.sleep(0.5)
    away.rename(manifest)
    assert process.wait(timeout=30) == 0


# Several jobs in one element.


def test_a_batch_goes_on_with_what_does_not_need_a_failed_job(bed: Bed) -> None:
    bed.job("touch a", ["a"])
    bed.job("exit 1", ["b"])
    bed.job("cat a > c", ["c"], ["a"], {0: ["a"]})
    bed.job("cat b > d", ["d"], ["b"], {1: ["b"]})
    bed.plan([0, 1, 2, 3])
    assert bed.run() == (1, "")
    states = [bed.ended(n).outcome.state for n in range(4)]
    assert states == ["done", "failed", "done", "unready"]
    assert bed.ended(3).because == "job1"


def test_each_job_of_a_batch_has_its_own_time(bed: Bed) -> None:
    bed.job("sleep 60", time_s=1)
    bed.job("touch out", ["out"], time_s=1)
    bed.plan([0, 1])
    assert bed.run() == (1, "")
    assert bed.ended(0).outcome.failure == "timeout"
    assert bed.ended(1).outcome.state == "done"


def test_the_scheduler_keeps_the_time_of_a_single_job(bed: Bed) -> None:
    bed.job("sleep 1.2", time_s=1)
    bed.plan()
    assert bed.run() == (0, "")


def test_the_rest_of_a_batch_is_not_begun_when_the_scheduler_ends_it(bed: Bed) -> None:
    bed.job(WAITS, time_s=3600)
    bed.job("touch out", ["out"], time_s=3600)
    bed.plan([0, 1])
    assert kill_at(bed, bed.start(), "begun", signal.SIGTERM) == 1
    assert [bed.ended(n).outcome.state for n in (0, 1)] == ["cancelled", "cancelled"]
    assert bed.files() == ["begun"]


# What the scheduler says, and what comes after.


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ""),
        ({"SLURM_JOB_ID": "12"}, "12"),
        ({"SLURM_JOB_ID": "14", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}, "12_3"),
        ({"JOB_ID": "12", "SGE_TASK_ID": "undefined"}, "12"),
        ({"JOB_ID": "12", "SGE_TASK_ID": "4"}, "12.4"),
        ({"PBS_JOBID": "12[3].server", "PBS_ARRAY_INDEX": "3"}, "12[3].server"),
        ({"HPCMAKE_QUEUE_JOB": "ab-1_2", "SLURM_JOB_ID": "12"}, "ab-1_2"),
    ],
)
def test_the_id_is_found_in_the_environment(environ: dict[str, str], expected: str) -> None:
    assert runner.scheduler_id(environ) == expected


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, 0),
        ({"SLURM_RESTART_COUNT": "3"}, 3),
        ({"RESTARTED": "0"}, 0),
        ({"RESTARTED": "1"}, None),
    ],
)
def test_a_start_anew_is_known(environ: dict[str, str], expected: int | None) -> None:
    assert runner.restart_count(environ) == expected


def test_the_id_is_told(bed: Bed) -> None:
    bed.job("true")
    bed.plan()
    assert bed.run(SLURM_JOB_ID="12") == (0, "")
    assert bed.ended().runner.scheduler_id == "12"


@pytest.fixture
def advances(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    calls: list[int] = []
    monkeypatch.setattr(runner, "_advance", calls.append)
    return calls


@pytest.mark.parametrize(
    ("text", "wakes", "files", "expected"),
    [
        ("true", False, [], []),
        ("true", True, [], [RUN]),
        ("exit 1", False, [], [RUN]),
        ("true", False, ["more"], [RUN]),
        ("exit 1", True, ["more", "watched"], []),
    ],
)
def test_the_run_is_moved_on_where_that_helps(
    bed: Bed, advances: list[int], text: str, wakes: bool, files: list[str], expected: list[int]
) -> None:
    bed.job(text, wakes=wakes)
    bed.plan()
    (bed.home / f"run-{RUN}" / "watched").unlink()
    for name in files:
        bed.write(f".hpcmake/run-{RUN}/{name}")
    before = os.getcwd()
    try:
        runner.main(bed.command()[-2:])
    finally:
        os.chdir(before)
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
    assert advances == expected


def test_a_front_end_that_went_away_is_not_waited_for(bed: Bed, advances: list[int]) -> None:
    bed.job("exit 1")
    bed.plan()
    watched = bed.home / f"run-{RUN}" / "watched"
    os.utime(watched, (time.time() - 90, time.time() - 90))
    before = os.getcwd()
    try:
        assert runner.main(bed.command()[-2:]) == 1
    finally:
        os.chdir(before)
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
    assert advances == [RUN]


def test_a_mistake_of_ours_is_told_all_the_same(bed: Bed) -> None:
    bed.job("true")
    bed.plan()
    manifest = bed.home / f"run-{RUN}" / "slice-1.jsonl"
    text = manifest.read_text().replace('"needs":{"cores"', '"nneds":{"cores"')
    manifest.write_text(text)
    code, out = bed.run()
    assert code == 1
    assert "Traceback" in out
    found = bed.receipts()
    assert any(isinstance(each, Ended) and each.outcome.failure == "launch" for each in found)
