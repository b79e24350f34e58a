"""What a build tells: a line a job, JSON, and the live view, looked at through a real terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from conftest import Pipe

from buildhpc.run.events import Ended, Skipped, Started
from buildhpc.run.spec import JobSpec, Needs, Outcome, Recipe
from buildhpc.show.live import Progress

PIPEFILE = """\
rule all:
    input: "good.txt", "needs.txt"
rule good:
    output: "good.txt"
    message: "the good one"
    shell:
        echo fine
        touch {output}
rule bad:
    output: "bad.txt"
    retries: 1
    shell: "echo oh no; exit 3"
rule needs:
    output: "needs.txt"
    input:  "bad.txt"
    shell:  "touch {output}"
"""

FAILURE = """
error[job-failed]: bad: exit code 3
 = output: bad.txt
 = note: it was tried 2 times
 = shell: echo oh no; exit 3
 = log:
   | oh no
 = next: hpcmake show bad

"""


def timeless(text: str) -> str:
    return re.sub(r"\b[\d.]+ s\b", "T", text)


def test_elsewhere_than_on_a_terminal_each_job_is_a_line(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    result = pipe.check("-k", code=1)
    assert timeless(result.out).splitlines()[-1] == "failed: 1 job done, 1 failed, 1 skipped in T"
    assert sorted(timeless(result.out).splitlines()[:-1]) == [
        "[1/3] the good one  T",
        "failed: bad: exit code 3",
        "failed: bad: exit code 3; it is tried again",
    ]
    assert result.err == FAILURE
    pipe.path("good.txt").unlink()
    assert timeless(pipe.check("good.txt").out) == "[1/1] the good one  T\n1 job done in T\n"


def test_verbose_shows_commands_and_what_is_skipped(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    said = pipe.check("-v good.txt").out
    assert timeless(said) == (
        "start: the good one\n    echo fine\n    touch good.txt\n[1/1] the good one  T\n"
        "1 job done in T\n"
    )
    assert "skipped: needs, since bad failed\n" in pipe.check("-v needs.txt", code=1).out


def test_quiet_says_nothing_but_errors(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    result = pipe.check("-q -k", code=1)
    assert (result.out, result.err) == ("", FAILURE)


def test_what_to_type_next_works_for_the_folder_and_the_pipefile_that_were_named(
    pipe: Pipe,
) -> None:
    pipe.write("sub dir/other.hpc", PIPEFILE)
    result = pipe.check("-q -C 'sub dir' -f other.hpc needs.txt", code=1)
    command = result.err.strip().splitlines()[-1].removeprefix(" = next: ")
    assert command == "hpcmake -C 'sub dir' -f other.hpc show bad"
    pipe.check(command.removeprefix("hpcmake "))


def test_a_long_log_is_cut_and_logs_shows_the_rest(pipe: Pipe) -> None:
    pipe.write("Pipefile", 'rule a:\n    output: "a"\n    shell: "seq 100; exit 1"\n')
    lines = pipe.check("-q", code=1).err.strip().splitlines()
    assert lines[-1] == " = next: hpcmake logs a"
    assert lines[-2] == "   | 100"
    assert " = the end of its log:" in lines


def test_json_tells_events_with_fields_that_stay(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    result = pipe.check("--json -k", code=1)
    events = [json.loads(line) for line in result.out.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "run-started"
    assert kinds[-1] == "run-ended"
    assert sorted(kinds[1:-1]) == ["ended"] * 3 + ["skipped"] + ["started"] * 3
    assert events[0].keys() == {"event", "time", "run", "jobs"}
    good = next(e for e in events if e["event"] == "ended" and e["job"] == "good")
    assert good.keys() == {
        *("event", "time", "job", "rule", "outputs", "attempt", "state", "failure", "message"),
        *("exit_code", "signal", "wall_s", "cpu_s", "peak_mib", "retry"),
    }
    started = next(e for e in events if e["event"] == "started" and e["job"] == "good")
    assert (started["reason"], started["text"]) == ("missing-output", "`good.txt` does not exist")
    bad = [e for e in events if e["event"] == "ended" and e["job"] == "bad"]
    assert [(e["attempt"], e["failure"], e["exit_code"], e["retry"]) for e in bad] == [
        (1, "exit", 3, True),
        (2, "exit", 3, False),
    ]
    skipped = next(e for e in events if e["event"] == "skipped")
    assert (skipped["job"], skipped["because"]) == ("needs", "bad")
    assert events[-1]["status"] == "failed"
    assert [events[-1][k] for k in ("jobs", "done", "failed", "skipped")] == [3, 1, 1, 1]
    assert result.err == ""


class Terminal:
    """A build that has a terminal, and what it wrote there."""

    def __init__(self, pipe: Pipe, words: list[str], env: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 70, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "buildhpc.cli", *words],
            cwd=pipe.folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": "", **env},
        )
        os.close(slave)
        self.written = ""

    def read_until(self, text: str) -> str:
        """What was written up to `text`; an empty one: up to the end."""
        deadline = time.monotonic() + 60
        while not text or text not in plain(self.written):
            assert time.monotonic() < deadline, plain(self.written)
            try:
                data = os.read(self._master, 65536)
            except OSError:
                assert not text, plain(self.written)
                break
            self.written += data.decode(errors="replace")
        return plain(self.written)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@contextmanager
def terminal(pipe: Pipe, *words: str, **env: str) -> Iterator[Terminal]:
    opened = Terminal(pipe, list(words), env)
    try:
        yield opened
    finally:
        opened.close()


def plain(text: str) -> str:
    """What was written without what moves the cursor and colours."""
    return re.sub(r"\x1b\[[?\d;]*[A-Za-z]|\r", "", text)


SLOW = """\
rule all:
    input:
        "f{n}.txt" for n in range(8)
        "slow.txt"
rule fast:
    output: "f{n}.txt"
    shell:  "touch {output}"
rule slow:
    output: "slow.txt"
    shell:
        while [ ! -e go ]; do sleep 0.05; done
        touch {output}
"""


def test_on_a_terminal_bars_and_what_runs_are_shown_and_then_removed(pipe: Pipe) -> None:
    pipe.write("Pipefile", SLOW)
    with terminal(pipe, "-j4") as screen:
        screen.read_until("8 of 9 jobs done")
        said = screen.read_until(" left")
        assert re.search(r"fast  ━+  8/8\n", said)
        assert re.search(r"slow  ─+  0/1  1 running\n", said)
        assert re.search(r"  slow  [\d.]+ s\n", said)
        assert re.search(r"8 of 9 jobs done, 1 core in use, [\d.]+ s so far, at least", said)
        pipe.write("go")
        end = screen.read_until("")
        assert timeless(end).endswith("9 jobs done in T\n")
        assert "[1/9]" not in end
        # The cursor is shown again, and the frame is gone.
        assert screen.written.count("\x1b[?25h") == screen.written.count("\x1b[?25l") == 1
        assert screen.process.wait(timeout=30) == 0


LIST = """\
from buildhpc import JobList
jobs = JobList()
jobs.task("map").add("s 1", "echo 1")
jobs.add("last one", "false", after="map/s 1")
jobs.add("never", "true", after="last one")
"""


def test_jobs_of_a_list_are_counted_under_their_tasks(pipe: Pipe) -> None:
    pipe.write("pipeline.py", LIST)
    with terminal(pipe, "-f", "pipeline.py") as screen:
        end = timeless(screen.read_until(""))
    assert "internal" not in end
    assert end.endswith("failed: 1 job done, 1 failed, 1 skipped in T\n")


def test_failures_scroll_by_above_and_the_report_is_coloured_on_a_terminal_only(pipe: Pipe) -> None:
    pipe.write("Pipefile", SLOW + 'rule bad:\n    output: "bad.txt"\n    shell: "exit 3"\n')
    words = ("-k", "-j4", "all", "bad.txt")
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        with terminal(pipe, *words, **env) as screen:
            screen.read_until("failed: bad: exit code 3")
            screen.read_until("1 failed")
            pipe.write("go")
            assert "error[job-failed]: bad: exit code 3" in screen.read_until("")
            assert ("\x1b[31merror[job-failed]\x1b[0m" in screen.written) is coloured
            assert screen.process.wait(timeout=30) == 1
        pipe.path("go").unlink()
        pipe.path("slow.txt").unlink()


def test_ctrl_c_leaves_the_terminal_as_it_was(pipe: Pipe) -> None:
    pipe.write("Pipefile", SLOW)
    with terminal(pipe, "-j4") as screen:
        screen.read_until("1 running")
        screen.process.send_signal(signal.SIGINT)
        end = screen.read_until("")
        assert timeless(end).endswith("interrupted: 8 jobs done, 1 not done in T\n")
        assert screen.written.rindex("\x1b[?25h") > screen.written.rindex("\x1b[?25l")
        assert screen.process.wait(timeout=30) == 130


def test_jobs_that_another_run_has_are_waited_for_and_counted(pipe: Pipe) -> None:
    pipe.write("Pipefile", SLOW)
    with terminal(pipe, "-j4") as first:
        first.read_until("1 running")
        while "\nfast" not in pipe.run("status", "--state", "done").out:
            pass  # what is done is written down now and then
        with terminal(pipe, "-j4") as second:
            said = second.read_until("waiting for 1 job that run 2 has")
            assert "0 of 1 jobs done" in said
            pipe.write("go")
            assert timeless(second.read_until("")).endswith(
                "0 jobs done, 1 made by other runs in T\n"
            )
            assert second.process.wait(timeout=30) == 0
        assert first.process.wait(timeout=30) == 0


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    with terminal(pipe, "good.txt", TERM="dumb") as screen:
        assert timeless(screen.read_until("")) == "[1/1] the good one  T\n1 job done in T\n"


def run_one(progress: Progress, name: str, seconds: float, cores: int = 1) -> None:
    spec = JobSpec(name, name.split()[0], 1, (), (), Recipe("shell", "x"), Needs(cores))
    progress.event(Started(name, spec, 1), 0.0)
    progress.event(Ended(name, spec, Outcome("done", started_s=1.0, ended_s=1.0 + seconds)), 0.0)


def begin(progress: Progress, name: str, cores: int, now_s: float) -> None:
    spec = JobSpec(name, name.split()[0], 1, (), (), Recipe("shell", "x"), Needs(cores))
    progress.event(Started(name, spec, 1), now_s)


def test_before_a_job_ended_nothing_is_said_of_the_time_left() -> None:
    progress = Progress({"map": 3})
    begin(progress, "map n=0", 1, 0.0)
    assert progress.left(5.0) is None


def test_the_time_left_comes_from_finished_jobs_and_the_cores_in_use() -> None:
    progress = Progress({"map": 21})
    run_one(progress, "map n=0", 10.0, cores=2)
    begin(progress, "map n=1", 2, 100.0)
    begin(progress, "map n=2", 2, 100.0)
    # 20 jobs of 20 core seconds are left, of which 20 are done; on four cores.
    assert progress.left(105.0) == ((20 * 20.0 - 20.0) / 4, False)


def test_jobs_of_a_rule_that_nothing_is_known_of_make_it_a_guess() -> None:
    progress = Progress({"map": 1, "call": 3})
    run_one(progress, "map n=0", 10.0)
    begin(progress, "call n=0", 1, 0.0)
    assert progress.left(0.0) == (30.0, True)


def test_failed_and_skipped_jobs_are_over_but_not_done() -> None:
    progress = Progress({"map": 3})
    spec = JobSpec("map n=0", "map", 1, (), (), Recipe("shell", "x"))
    progress.event(Started("map n=0", spec, 1), 0.0)
    progress.event(Ended("map n=0", spec, Outcome("failed", "exit", 1), retry=True), 0.0)
    assert (progress.over, progress.running) == (0, {})
    progress.event(Ended("map n=0", spec, Outcome("failed", "exit", 1)), 0.0)
    progress.event(Skipped("map n=1", "map n=0"), 0.0)
    assert (progress.over, progress.done, progress.rules["map"].failed) == (2, 0, 1)
