"""`hpcmake reset` and `hpcmake forget`: records go, files stay."""

from __future__ import annotations

import json

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
    built.check("reset --state failed -n", says="would reset b n=x\n")


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
    assert "error[needs-yes]: 2 jobs would be " in built.check(f"{command} b", code=2).err
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
