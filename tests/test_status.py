"""`hpcmake status`: what is told of jobs, from the state alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from conftest import Pipe

PIPEFILE = """\
rule all:
    input: "a1.txt", "a2.txt", "b.txt", "c.txt"
rule a:
    output: "a{n}.txt"
    shell: "touch {output}"
rule b:
    output: "b.txt"
    shell: "exit 3"
rule c:
    output: "c.txt"
    input: "b.txt"
    shell: "touch {output}"
"""

SLOW = """\
rule slow:
    output: "slow.txt"
    shell: "echo so far; touch began; sleep 60"
"""


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below the folder with its size and time."""
    found = {str(path): path.lstat() for path in folder.rglob("*")}
    return {path: (status.st_size, status.st_mtime_ns) for path, status in found.items()}


def start(pipe: Pipe, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "buildhpc.cli", *words],
        cwd=pipe.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(pipe: Pipe, path: str) -> None:
    deadline = time.monotonic() + 60
    while not pipe.exists(path):
        assert time.monotonic() < deadline, f"`{path}` never came"
        time.sleep(0.02)


def wait_for_state(pipe: Pipe, state: str) -> None:
    deadline = time.monotonic() + 60
    while state not in pipe.run("status").out:
        assert time.monotonic() < deadline, f"nothing is ever {state}"
        time.sleep(0.1)


def plain(text: str) -> str:
    """The text with moments, numbers of processes and the host left out."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "WHEN", text)
    text = re.sub(r"process \d+", "process P", text)
    text = text.replace(os.uname().nodename, "HOST").replace(sys.executable, "PYTHON")
    return re.sub(r"for [\d.]+ s", "for T", text)


def test_jobs_are_counted_by_rule_and_state_and_the_last_failure_is_told(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    pipe.check("-q -k", code=1)
    assert (
        plain(pipe.check("status").out)
        == """\
rule   done  failed  skipped  total
a         2       .        .      2
b         .       1        .      1
c         .       .        1      1
total     2       1        1      4

failed last
  b: exit code 3, run 2, WHEN
  `hpcmake logs b` shows what it printed

0 in queue, 0 running, 1 failed, 2 of 4 done
"""
    )
    assert (
        re.sub(r": \S.*", ": COMMAND", plain(pipe.check("status --by-run").out))
        == """\
run 2, failed, since WHEN: COMMAND
  rule   done  failed  total
  a         2       .      2
  b         .       1      1
  total     2       1      3

not tried by any run
  rule  skipped  total
  c           1      1

0 in queue, 0 running, 1 failed, 2 of 4 done
"""
    )


def test_jobs_in_a_state_are_listed_and_others_left_out(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    pipe.check("-q -k", code=1)
    table = "rule  done  total\na        2      2\n"
    done = "\n0 in queue, 0 running, 2 of 2 done\n"
    pipe.check("status --state done", says=f"{table}\na n=1\na n=2\n{done}")
    pipe.check("status --rule a", says=f"{table}{done}")
    found = pipe.check("status --state skipped,failed").out
    assert found.endswith(
        "\n\nb: exit code 3\nc: needs: b\n\n0 in queue, 0 running, 1 failed, 0 of 2 done\n"
    )


def test_only_what_a_run_tried_is_counted(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    pipe.check("-q a1.txt")
    pipe.check("-q a2.txt")
    pipe.check(
        "status --run 3 --state done",
        says="rule  done  total\na        1      1\n\na n=2\n\n"
        "0 in queue, 0 running, 1 of 1 done\n",
    )


def test_names_that_are_unknown_are_told_with_the_nearest(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE.replace("rule a:", "rule align:"))
    pipe.check("-q a1.txt")
    assert pipe.check("status --state faild", code=2).err.startswith(
        "error[unknown-state]: `--state faild`: there is no such state\n"
        " = help: the nearest is `failed`;"
    )
    assert pipe.check("status --rule alin", code=2).err == (
        "error[unknown-rule]: no job of rule `alin` is known\n = help: the nearest is `align`\n"
    )
    assert pipe.check("status --run 7", code=2).err == (
        "error[unknown-run]: there was no run 7\n = help: the last one is run 2\n"
    )


def test_where_nothing_was_built_it_says_so_and_writes_nothing(pipe: Pipe) -> None:
    assert pipe.check("status", code=2).err.startswith("error[no-state]: nothing was built")
    assert pipe.files() == []


def test_no_pipefile_is_needed_and_nothing_is_written(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    pipe.check("-q a1.txt")
    pipe.path("Pipefile").unlink()
    before = snapshot(pipe.folder)
    table = "rule  done  total\na        1      1\n"
    pipe.check("status", says=f"{table}\n0 in queue, 0 running, 1 of 1 done\n")
    assert snapshot(pipe.folder) == before


def test_as_json_all_is_there_for_programs(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    pipe.check("-q -k", code=1)
    found = json.loads(pipe.check("status --json").out)
    assert found["counts"] == {"a": {"done": 2}, "b": {"failed": 1}, "c": {"skipped": 1}}
    assert found["by_run"]["0"] == {"c": {"skipped": 1}}
    assert found["totals"] == {"queued": 0, "running": 0, "done": 2, "total": 4}
    assert found["running"] == found["runs"] == found["lost"] == []
    assert found["failed"][0]["job"] == "b"
    assert found["failed"][0]["failure"] == "exit: exit code 3"
    listed = json.loads(pipe.check("status --json --state done").out)["jobs"]
    assert [job["job"] for job in listed] == ["a n=1", "a n=2"]


def test_what_runs_is_told_and_is_lost_once_its_run_is_killed(pipe: Pipe) -> None:
    pipe.write("Pipefile", SLOW)
    build = start(pipe)
    try:
        wait_for(pipe, "began")
        wait_for_state(pipe, "running")
        said = plain(pipe.check("status").out)
        assert said.startswith(
            """\
rule  running  total
slow        1      1

running
  slow  for T  run 2, HOST, process P

runs
  run 2  1 running  since WHEN  HOST, process P  """
        )
        listed = plain(pipe.check("status --state running").out)
        assert "\n\nslow: for T, run 2, HOST, process P\n\n" in listed
    finally:
        build.kill()
        build.wait()
    said = plain(pipe.check("status").out)
    assert said.startswith("rule  lost  total\nslow     1      1\n")
    assert "slow: lost: its run died before it ended, run 2" in said
    pipe.check("status --state running", says="no jobs\n")
    pid = json.loads(pipe.check("status --json").out)["lost"][0]["pid"]
    os.killpg(pid, signal.SIGKILL)
    pipe.check("status --lost-logs", says="slow | so far\n")
    pipe.check("status --reset-lost --lost-logs -n", says="slow | so far\nwould reset slow\n")
    pipe.check("retry --state lost -n", says="would retry slow\n")
    assert "needs-yes" in pipe.check("status --reset-lost", code=2).err
    pipe.check(
        "reset --lost --logs --yes",
        says="slow | so far\nreset slow\n"
        "1 job reset; the next build that needs them runs them again\n",
    )
    pipe.check("status --reset-lost --yes", says="nothing to reset: no such job\n")
    assert plain(pipe.check("status").out).startswith("rule  reset  total\nslow      1      1\n")


def test_watching_ends_with_the_last_run(pipe: Pipe) -> None:
    pipe.write("Pipefile", SLOW.replace("sleep 60", "sleep 2").replace("began;", "began {output};"))
    build = start(pipe)
    wait_for(pipe, "began")
    wait_for_state(pipe, "running")
    said = pipe.check("status --watch").out
    assert said.strip() == (
        "rule  done  total\nslow     1      1\n\n0 in queue, 0 running, 1 of 1 done"
    )
    assert build.wait(timeout=30) == 0
    assert json.loads(pipe.check("status --watch --json --every 1s").out)["totals"]["done"] == 1


def test_a_job_is_collected_once_its_temp_outputs_were_used_and_removed(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        'rule b:\n    output: "b"\n    input: "a"\n    shell: "cp {input} {output}"\n'
        'rule a:\n    output: temp("a")\n    shell: "touch {output}"\n',
    )
    pipe.check("-q")
    counts = json.loads(pipe.check("status --json").out)["counts"]
    assert counts == {"a": {"collected": 1}, "b": {"done": 1}}
    assert "\n\na\n\n" in pipe.check("status --where \"state = 'collected'\"").out
    pipe.check("", says="nothing to do: all 2 jobs are fresh\n")
    pipe.check("reset --state collected --yes")
    assert json.loads(pipe.check("status --json").out)["counts"]["a"] == {"reset": 1}
    pipe.check("-q b")
    assert json.loads(pipe.check("status --json").out)["counts"]["a"] == {"collected": 1}
