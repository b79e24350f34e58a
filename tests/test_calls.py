"""Commands of schedulers: run here and over ssh, whatever they do; one question for all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from ssh_host import Host, ssh_host

from buildhpc.diagnostics import HpcmakeError
from buildhpc.run import calls, polls
from buildhpc.run.calls import Place, call, environment
from buildhpc.run.clusters import Pace, Site
from buildhpc.run.polls import Look, Poll
from buildhpc.schedulers.protocol import Answer

HERE = Place("gpu")


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PATH for fake commands."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


def test_a_command_is_told_in_full(bin_folder: Path, tmp_path: Path) -> None:
    program(bin_folder, "qstat", 'pwd; echo "$# $1" >&2; read -r line; echo "<$line>"; exit 7')
    answer = call(HERE, ["qstat", "two words"], str(tmp_path))
    assert answer == Answer(7, f"{tmp_path}\n<>\n", "1 two words\n")


def test_garbage_is_kept_as_it_is(bin_folder: Path, tmp_path: Path) -> None:
    program(bin_folder, "qstat", r"printf 'a\0\377\n'")
    assert call(HERE, ["qstat"], str(tmp_path)) == Answer(0, "a\0\udcff\n", "")


def test_a_command_that_hangs_is_ended_with_what_it_started(
    bin_folder: Path, tmp_path: Path
) -> None:
    program(bin_folder, "sbatch", f"echo 12; sleep 1000 & echo $! >{tmp_path}/pid; wait")
    answer = call(HERE, ["sbatch"], str(tmp_path), longest_s=0.5)
    assert answer == Answer(None, "12\n", "")
    assert gone(int((tmp_path / "pid").read_text()))


def gone(pid: int) -> bool:
    """Whether a process is gone, or soon is."""
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_a_command_that_never_stops_printing_is_ended(bin_folder: Path, tmp_path: Path) -> None:
    program(bin_folder, "squeue", "exec yes")
    answer = call(HERE, ["squeue"], str(tmp_path))
    assert answer.code is None
    assert calls.MOST_BYTES < len(answer.out) < calls.MOST_BYTES + 2**20


def test_nobody_waits_for_what_a_command_leaves_behind(bin_folder: Path, tmp_path: Path) -> None:
    program(bin_folder, "qsub", f"sleep 1000 & echo $! >{tmp_path}/pid; echo 5; exit 3")
    started_s = time.monotonic()
    assert call(HERE, ["qsub"], str(tmp_path)) == Answer(3, "5\n", "")
    assert time.monotonic() - started_s < 20
    os.kill(int((tmp_path / "pid").read_text()), 9)


def test_a_scheduler_that_is_not_here_is_told_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(HpcmakeError) as caught:
        call(HERE, ["sbatchx", "a.sh"], str(tmp_path))
    assert caught.value.exit_code == 3
    assert str(caught.value) == (
        "error[no-scheduler]: cluster `gpu`: there is no `sbatchx` on this machine\n"
        " = help: run hpcmake where the scheduler's commands are on PATH, or say in hpcmake.toml"
        ' which machine has them: `[cluster.gpu]`, `host = "NAME"`'
    )


def test_a_program_that_cannot_be_started_is_told(bin_folder: Path, tmp_path: Path) -> None:
    program(bin_folder, "qsub-x", "").write_bytes(b"\x7fELF")
    with pytest.raises(HpcmakeError) as caught:
        call(HERE, ["qsub-x"], str(tmp_path))
    assert str(caught.value) == (
        "error[no-scheduler]: cluster `gpu`: cannot start `qsub-x`: Exec format error"
    )


INSIDE = {
    # what a job of Slurm, Grid Engine, PBS or hpcmake has, and what is left of it
    "SLURM_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3", "SLURM_RESTART_COUNT": "1",
    "SLURM_MEM_PER_CPU": "100", "SLURM_CLUSTERS": "b", "SBATCH_TIMELIMIT": "5",
    "SQUEUE_FORMAT": "%i", "PBS_JOBID": "5.server", "PBS_O_WORKDIR": "/", "JOB_ID": "8",
    "SGE_TASK_ID": "2", "SGE_O_HOST": "h", "QUEUE": "all.q", "RESTARTED": "1", "PE": "smp",
    "HPCMAKE_RUN": "x:1", "HPCMAKE_JOB": "a", "CUDA_VISIBLE_DEVICES": "0", "TMPDIR": "/s/job17",
}  # fmt: skip
KEPT = {
    "SLURM_CONF": "/etc/s", "SBATCH_ACCOUNT": "p1", "SGE_ROOT": "/sge", "SGE_CELL": "c",
    "PBS_CONF_FILE": "/etc/pbs.conf", "PATH": "/bin", "TMP": "/tmp", "OMP_NUM_THREADS": "2",
}  # fmt: skip


def test_inside_of_a_job_commands_run_as_on_a_login_node() -> None:
    assert environment({**INSIDE, **KEPT}, {}, submits=True) == KEPT


def test_what_is_common_outside_of_jobs_is_kept() -> None:
    ours = {"QUEUE": "x", "JOB_NAME": "y", "CUDA_VISIBLE_DEVICES": "1", "TMPDIR": "/tmp/17"}
    assert environment(ours, {}, submits=True) == ours


def test_listings_are_in_english_and_jobs_keep_their_language() -> None:
    ours = {"LC_ALL": "de_DE.UTF-8", "OLD": "1"}
    said = {"OLD": None, "SLURM_BITSTR_LEN": "0"}
    assert environment(ours, said, submits=False) == {"LC_ALL": "C", "SLURM_BITSTR_LEN": "0"}
    assert environment(ours, {}, submits=True) == ours


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with ssh_host(tmp_path_factory.mktemp("ssh")) as found:
        yield found
        words = [*calls._ssh(far(found)), "-O", "exit", found.name]
        subprocess.run(words, stderr=subprocess.DEVNULL, check=False)


def far(host: Host, **environment: str | None) -> Place:
    return Place("gpu", host.name, host.options, environment)


def test_a_command_runs_on_another_host(host: Host, tmp_path: Path) -> None:
    folder = tmp_path / "it's a $folder"
    folder.mkdir()
    (folder / "tell").symlink_to(
        program(
            tmp_path,
            "tell",
            'pwd; echo "$#:$2:$WORD:${GONE-none}:$LC_ALL"; cat; echo e >&2; exit 9',
        )
    )
    words = ["./tell", "1", 'a "b" $c `d` \\ é\n!']
    answer = call(far(host, WORD="it's", GONE=None), words, str(folder))
    assert answer == Answer(9, f"{folder}\n2:{words[2]}:it's:none:C\n", "e\n")


def test_one_connection_serves_all_calls(host: Host) -> None:
    call(far(host), ["true"], "/")
    before = host.logins()
    started_s = time.monotonic()
    for code in range(3):
        assert call(far(host), ["bash", "-c", f"exit {code}"], "/") == Answer(code, "", "")
    assert time.monotonic() - started_s < 10
    assert host.logins() == before


def test_what_profiles_print_is_no_part_of_an_answer(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = calls._REMOTE
    monkeypatch.setattr(calls, "_REMOTE", f"echo welcome; echo hello >&2\n{script}")
    assert call(far(host), ["printf", "x"], str(tmp_path)) == Answer(0, "x", "")


def test_a_far_command_that_hangs_is_given_up_and_the_next_one_works(
    host: Host, tmp_path: Path
) -> None:
    answer = call(far(host), ["bash", "-c", "echo 5; sleep 1000"], str(tmp_path), longest_s=3)
    assert answer == Answer(None, "5\n", "")
    assert call(far(host), ["echo", "6"], str(tmp_path)) == Answer(0, "6\n", "")


def test_a_connection_that_hangs_is_given_up_and_made_anew(host: Host, tmp_path: Path) -> None:
    call(far(host), ["true"], str(tmp_path))
    words = [*calls._ssh(far(host)), "-O", "check", host.name]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stderr
    master = int(said.partition("pid=")[2].partition(")")[0])
    os.kill(master, signal.SIGSTOP)
    try:
        assert call(far(host), ["true"], str(tmp_path), longest_s=1).code is None
        assert call(far(host), ["echo", "6"], str(tmp_path)) == Answer(0, "6\n", "")
    finally:
        os.kill(master, signal.SIGKILL)


def test_a_connection_that_is_lost_leaves_the_answer_open(host: Host, tmp_path: Path) -> None:
    command = ["bash", "-c", "echo 5; kill -9 $PPID; sleep 0.1"]
    assert call(far(host), command, str(tmp_path)) == Answer(None, "5\n", "")


def test_what_is_missing_on_another_host_is_told(host: Host, tmp_path: Path) -> None:
    with pytest.raises(HpcmakeError) as caught:
        call(far(host), ["sbatchx"], str(tmp_path))
    assert (caught.value.exit_code, str(caught.value)) == (
        3,
        "error[no-scheduler]: cluster `gpu`: there is no `sbatchx` on `127.0.0.1`\n"
        " = help: see whether `ssh 127.0.0.1 sbatchx` finds it; `module load` goes into ~/.profile",
    )
    with pytest.raises(HpcmakeError) as caught:
        call(far(host), ["true"], str(tmp_path / "none"))
    assert (caught.value.exit_code, str(caught.value)) == (
        3,
        f"error[no-shared-folder]: cluster `gpu`: `127.0.0.1` has no folder `{tmp_path}/none`\n"
        " = help: the folder has to be on a file system that both machines share",
    )


def test_a_host_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    place = Place("gpu", "127.0.0.1", ("-F", "none", "-p", "1"))
    with pytest.raises(HpcmakeError) as caught:
        call(place, ["true"], str(tmp_path))
    assert (caught.value.exit_code, str(caught.value)) == (
        3,
        "error[no-host]: cluster `gpu`: `127.0.0.1` cannot be reached by ssh\n"
        " = ssh said: ssh: connect to host 127.0.0.1 port 1: Connection refused\n"
        " = help: `ssh -o BatchMode=yes 127.0.0.1 true` has to work, without any question",
    )


class Counted:
    """A queue that counts how often it is asked. answers: in turn, the last one again."""

    def __init__(self, folder: Path, *answers: Answer) -> None:
        self.count = 0
        self._answers = answers
        self._command = [str(folder / "squeue")]
        program(folder, "squeue", "true")

    def poll(self) -> Poll:
        return Poll(HERE, self._command, self.ask, lambda answer: answer.code == 0)

    def ask(self) -> Answer:
        self.count += 1
        return self._answers[min(self.count, len(self._answers)) - 1]


GOOD, BAD = Answer(0, "one\n", ""), Answer(1, "", "no")


def at(monkeypatch: pytest.MonkeyPatch, time_s: float) -> None:
    monkeypatch.setattr(time, "time", lambda: time_s)


def test_a_queue_is_asked_once_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Counted(tmp_path, GOOD)
    at(monkeypatch, 1000.0)
    assert queue.poll().look() == Look(GOOD, 1000.0)
    at(monkeypatch, 1014.9)
    assert queue.poll().look() == Look(GOOD, 1000.0)
    at(monkeypatch, 1015.0)
    assert queue.poll().look() == Look(GOOD, 1015.0)
    assert queue.poll().look(since_s=1014.0) == Look(GOOD, 1015.0)
    at(monkeypatch, 1016.0)
    assert queue.poll().look(since_s=1016.0) == Look(GOOD, 1016.0)
    at(monkeypatch, 1000.0)  # the clock was put back
    assert queue.poll().look() == Look(GOOD, 1000.0)
    assert queue.count == 4


def test_a_queue_that_gives_no_answer_is_asked_less_and_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Counted(tmp_path, *[BAD] * 6, GOOD)
    asked = [0.0]
    for time_s in range(1000, 2000):
        at(monkeypatch, float(time_s))
        look = queue.poll().look()
        if look.asked_s != asked[-1]:
            asked.append(look.asked_s)
    waits = [later - earlier for earlier, later in pairwise(asked[1:])]
    assert waits[:8] == [30, 60, 120, 180, 180, 180, 15, 15]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"answer": {}}', '{"answer": {"code": "0"}, "asked_s": 1}']
)
def test_a_damaged_look_is_not_looked_at(tmp_path: Path, text: str) -> None:
    queue = Counted(tmp_path, GOOD)
    kept = Path(calls.private_folder("polls")) / queue.poll()._name
    kept.write_text(text)
    assert queue.poll().look().answer == GOOD
    assert queue.count == 1
    assert json.loads(kept.read_text())["answer"] == {"code": 0, "out": "one\n", "err": ""}


def test_other_clusters_are_asked_for_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Counted(tmp_path, GOOD)
    one.poll().look()
    monkeypatch.setenv("SLURM_CONF", "/another")
    one.poll().look()
    assert one.count == 2


POLL = """
import sys
from buildhpc.run.calls import Place, call
from buildhpc.run.polls import Poll
place, command = Place("gpu"), [sys.argv[1]]
poll = Poll(place, command, lambda: call(place, command, "/"), lambda answer: True)
print(poll.look().answer.out, end="")
"""


def test_many_at_once_ask_once(tmp_path: Path) -> None:
    path = program(tmp_path, "squeue", f"echo asked >>{tmp_path}/asked; sleep 0.5; echo here")
    words = [sys.executable, "-c", POLL, str(path)]
    started = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    assert [each.communicate(timeout=60)[0] for each in started] == ["here\n"] * 6
    assert (tmp_path / "asked").read_text() == "asked\n"


def test_where_no_folder_can_be_had_each_asks_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polls, "private_folder", refused)
    queue = Counted(tmp_path, GOOD)
    poll = queue.poll()
    assert poll.look().answer == GOOD
    poll.look()
    assert queue.count == 1  # what it knows itself still serves
    queue.poll().look()
    assert queue.count == 2


def refused(*_: str) -> str:
    raise PermissionError(1, "no")


def test_a_folder_that_others_could_have_made_is_not_used(tmp_path: Path) -> None:
    folder = Path(calls.private_folder("test-of-folders"))
    try:
        folder.chmod(0o777)
        with pytest.raises(PermissionError):
            calls.private_folder("test-of-folders")
        folder.rmdir()
        folder.symlink_to(tmp_path)
        with pytest.raises(PermissionError):
            calls.private_folder("test-of-folders")
    finally:
        folder.unlink(missing_ok=True)


def test_calls_that_submit_come_at_once_and_then_at_the_pace_of_the_site(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = 0.0
    waits: list[float] = []
    monkeypatch.setattr("buildhpc.run.clusters.time.sleep", waits.append)
    pace = Pace(10.0, lambda: now_s)
    for _ in range(100):
        pace.keep()
    assert waits == []
    pace.keep()
    pace.keep()
    assert waits == pytest.approx([0.1, 0.2])
    now_s = 1000.0
    waits.clear()
    pace.keep()
    assert waits == []


class Silent(Site):
    """A cluster that never says which one it is."""

    def __init__(self) -> None:
        self.asked = 0

    def known_as(self) -> str | None:
        self.asked += 1
        return None


def test_which_cluster_answers_is_asked_once_for_many_jobs() -> None:
    silent = Silent()
    assert silent.answers_for(["", ""]) == {""}
    assert silent.asked == 0, "nothing tells it from others"
    assert silent.answers_for([*["alpha"] * 1000, ""]) == {""}
    assert silent.asked == 1
