"""`hpcmake reset` and `hpcmake forget`: records go, files stay."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import Pipe

PIPEFILE = """\
rule all:
    input: "out/x.b", "out/y.b"

rule b:
    output: "out/{n}.b"
    input: "{n}.a"
    shell: "cp {input} {output}"

rule a:
    output: "{n}.a"
    input: "src/{n}"
    shell: "cp {input} {output}"
"""


@pytest.fixture
def built(pipe: Pipe) -> Pipe:
    pipe.write("Pipefile", PIPEFILE)
    for name in "xy":
        pipe.write(f"src/{name}", f"{name}\n", mtime=1000)
    pipe.check("-q")
    return pipe


def stale(pipe: Pipe) -> list[str]:
    events = map(json.loads, pipe.check("-n --json").out.splitlines())
    return sorted(event["job"] for event in events if event.get("text") == "it was reset")


def last_run(pipe: Pipe) -> int:
    message = pipe.check("reset --run 99 --yes", code=2).err
    return int(message.rpartition("the last one is run ")[2])


@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        ("'a n=x'", ["a n=x"]),
        ("a n=x", ["a n=x"]),
        ("b", ["b n=x", "b n=y"]),
        ("./out/x.b", ["b n=x"]),
        ("x.a b", ["a n=x", "b n=x", "b n=y"]),
        ("--all", ["a n=x", "a n=y", "b n=x", "b n=y"]),
        ("--state done b", ["b n=x", "b n=y"]),
        ("--run LAST y.a", ["a n=y"]),
    ],
)
def test_what_is_named_runs_again(built: Pipe, words: str, jobs: list[str]) -> None:
    files = built.files()
    words = words.replace("LAST", str(last_run(built)))
    number = "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"
    words = f"--force {words}"
    built.check(f"reset {words} -n", says="".join(f"would reset {job}\n" for job in jobs))
    assert stale(built) == []
    built.check(
        f"reset {words} --yes",
        says="".join(f"reset {job}\n" for job in jobs)
        + f"{number} reset; the next build that needs them runs them again\n",
    )
    assert stale(built) == jobs
    assert built.files() == files


def test_a_state_that_there_is_not_is_an_error(built: Pipe) -> None:
    assert "the nearest is `failed`" in built.check("reset --state fialed --yes", code=2).err


def test_reset_by_state_finds_what_failed(built: Pipe) -> None:
    built.check("reset --state failed --yes", says="nothing to reset: no such job\n")
    built.write("Pipefile", PIPEFILE.replace("cp {input} {output}", "false", 1))
    built.check("-q", code=1)
    assert built.check("reset --state failed,done -n").out.startswith("would reset a n=x\n")
    done = built.check("reset --all -n", says="would reset b n=x\nwould reset b n=y\n")
    assert done.err == "2 jobs are done, and spared; `--force` resets them as well\n"
    found = built.check("status --state failed,done --json").out
    assert [job["state"] for job in json.loads(found)["jobs"]].count("done") == 2
    spared = "nothing to reset: 1 job is done, and spared; `--force` resets it as well\n"
    built.check("reset 'a n=x' --yes", says=spared)


@pytest.mark.parametrize("command", ["reset", "forget"])
def test_what_is_meant_has_to_be_said(built: Pipe, command: str) -> None:
    result = built.check(f"{command} --yes", code=2)
    assert result.err == (
        f"error[which-jobs]: `hpcmake {command}` wants to know which jobs\n"
        " = help: name jobs, rules or files;"
        " or use `--state failed`, `--run N`, `--where` or `--all`\n"
    )


@pytest.mark.parametrize("command", ["reset", "forget"])
def test_without_a_terminal_yes_is_wanted(built: Pipe, command: str) -> None:
    words = f"{command} b" + (" --force" if command == "reset" else "")
    assert "error[needs-yes]: 2 jobs would be " in built.check(words, code=2).err
    assert built.check("-n").out.startswith("nothing to do")


@pytest.mark.parametrize("command", ["reset", "forget"])
def test_unknown_names_are_errors(built: Pipe, command: str) -> None:
    assert "error[unknown-job]" in built.check(f"{command} nobody --yes", code=2).err
    last = last_run(built)
    result = built.check(f"{command} --run {last + 1} --yes", code=2)
    assert result.err == (
        f"error[unknown-run]: there was no run {last + 1}\n = help: the last one is run {last}\n"
    )


@pytest.mark.parametrize("command", ["reset", "forget"])
def test_where_nothing_was_built_there_is_nothing_to_do(pipe: Pipe, command: str) -> None:
    pipe.write("Pipefile", PIPEFILE)
    assert "error[no-state]" in pipe.check(f"{command} --all --yes", code=2).err
    assert not pipe.exists(".hpcmake")


def test_a_forgotten_job_is_judged_by_the_times_of_its_files(built: Pipe) -> None:
    built.check("forget b -n", says="would forget b n=x\nwould forget b n=y\n")
    built.check(
        "forget b --yes",
        says="forgot b n=x\nforgot b n=y\n"
        "2 jobs forgotten; from now on the times of their files decide\n",
    )
    built.check("-n", says="nothing to do: all 4 jobs are fresh\n")
    built.write("x.a", "newer\n", mtime=4_000_000_000)
    assert (
        "`x.a` is newer than its outputs, and there is no record of a run" in built.check("-n").out
    )


def test_a_forgotten_run_takes_its_attempts_and_not_the_records(built: Pipe) -> None:
    run = last_run(built)
    built.check(f"forget --run {run} -n", says=f"would forget run {run}\n")
    built.check(
        f"forget --run {run} --yes", says=f"run {run} forgotten; what its jobs made stays known\n"
    )
    built.check("-n", says="nothing to do: all 4 jobs are fresh\n")
    assert f"there was no run {run}\n" in built.check(f"forget --run {run} --yes", code=2).err


def test_runs_and_jobs_are_not_forgotten_at_once(built: Pipe) -> None:
    result = built.check("forget --run 1 b --yes", code=2)
    assert result.err == (
        "error[bad-option]: `--run` forgets runs, and cannot be joined with jobs\n"
        " = help: use one, then the other\n"
    )


def test_all_can_be_forgotten_and_files_stay(built: Pipe) -> None:
    files, run = built.files(), last_run(built)
    built.check("forget --all --yes")
    assert built.files() == files
    assert f"there was no run {run}\n" in built.check(f"reset --run {run} --yes", code=2).err
    built.check("-n", says="nothing to do: all 4 jobs are fresh\n")


def test_runs_are_forgotten_by_what_became_of_their_jobs_and_by_age(built: Pipe) -> None:
    first = last_run(built)
    built.write("Pipefile", PIPEFILE.replace("cp {input} {output}", "echo no; false", 1))
    built.check("-q -k", code=1)
    built.write("Pipefile", PIPEFILE.replace("cp {input} {output}", "cat {input} >{output}", 1))
    built.check("-q out/y.b")
    built.check("forget --all-in done,collected -n", says=f"would forget run {first + 2}\n")
    built.check("forget --all-in failed -n", says="nothing to forget: no such run\n")
    built.check("forget --older 1d --yes", says="nothing to forget: no such run\n")
    built.check("forget --older 1d --all --yes", says="nothing to forget: no such job\n")
    built.check("forget --older 0s --state failed -n", says="would forget b n=x\n")
    said = built.check("forget --older 0s --all-in failed,done -n").out
    assert said == f"would forget runs {first}, {first + 1} and {first + 2}\n"
    built.check(
        "forget --all-in done --yes",
        says=f"run {first + 2} forgotten; what its jobs made stays known\n",
    )
    assert list(json.loads(built.check("status --json").out)["by_run"]) == [
        "0", str(first), str(first + 1)
    ]  # fmt: skip


def test_what_never_ended_is_not_old(pipe: Pipe) -> None:
    text = 'rule b:\n    output: "b"\n    input: "a"\n    shell: "touch b"\n'
    pipe.write("Pipefile", text + 'rule a:\n    output: "a"\n    shell: "false"\n')
    pipe.check("-q b", code=1)
    assert json.loads(pipe.check("status --json").out)["counts"]["b"] == {"skipped": 1}
    pipe.check("forget --all --older 1d -n", says="nothing to forget: no such job\n")


def test_logs_that_go_after_a_build_do_not_make_the_next_one_plan(pipe: Pipe) -> None:
    pipe.write("Pipefile", 'rule a:\n    output: "a"\n    input: "s"\n    shell: "echo; cp s a"\n')
    pipe.write("hpcmake.toml", "[logs]\nattempts = 1\n")
    for text in ("1", "22"):
        pipe.write("s", text)
        pipe.check("-q")
    assert pipe.check("logs a --attempt 1").err.endswith("or a later attempt wrote over it\n")
    loaded = (
        'import sys, buildhpc.cli; buildhpc.cli.main([]); print("buildhpc.project" in sys.modules)'
    )
    told = subprocess.run(
        [sys.executable, "-c", loaded], cwd=pipe.folder, capture_output=True, text=True, check=True
    )
    assert told.stdout == "nothing to do: the job is fresh\nFalse\n"


def test_logs_go_as_the_settings_say_and_nothing_else_of_their_attempts(pipe: Pipe) -> None:
    pipe.write("Pipefile", 'rule a:\n    output: "{n}.a"\n    shell: "echo hi; touch {output}"\n')
    pipe.check("-q x.a y.a")
    pipe.check("clean --logs", says="nothing to remove: all logs are kept\n")
    pipe.check("clean --logs --older 0s -n", says="would remove 2 logs\n")
    pipe.write("hpcmake.toml", '[logs]\nattempts = 1\nkeep = "1d"\n')
    pipe.check("-q x.a --force")  # and afterwards the log of its first attempt goes
    pipe.check("logs x.a --attempt -1", says="hi\n")
    gone = pipe.check("logs x.a --attempt 1", says="")
    assert (
        gone.err
        == "`a n=x` has no log any more: it was removed, or a later attempt wrote over it\n"
    )
    assert "error[needs-yes]: 2 logs would be" in pipe.check("clean --logs --older 0s", code=2).err
    said = "removed 2 logs; what else is known of their attempts stays\n"
    pipe.check("clean --logs --older 0s --yes", says=said)
    pipe.check("clean --logs", says="nothing to remove: all logs are kept\n")
    attempts = json.loads(pipe.check("show x.a --json").out)["attempts"]
    assert [each["exit_code"] for each in attempts] == [0, 0]
    pipe.write("hpcmake.toml", "[logs]\nkeep = 3\n")
    assert "`keep` wants a time such as" in pipe.check("clean --logs", code=2).err
