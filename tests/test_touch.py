"""`hpcmake --touch`: what is there counts as made."""

from __future__ import annotations

import json

from conftest import Pipe

PIPEFILE = """\
rule all:
    input: "b/x", "b/y"

rule b:
    output: "b/{n}"
    input: "a/{n}"
    shell: "cp {input} {output}"

rule a:
    output: temp("a/{n}")
    input: "src/{n}"
    shell: "cp {input} {output}"
"""


def start(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    for name in "xy":
        pipe.write(f"src/{name}", "source\n", mtime=2000)
        pipe.write(f"b/{name}", "made elsewhere\n", mtime=1000)


def test_what_is_there_counts_as_done_and_a_build_has_nothing_to_do(pipe: Pipe) -> None:
    start(pipe)
    assert "would run" in pipe.check("-n").out
    result = pipe.check("--touch", says="4 jobs count as done\n")
    assert result.err == ""
    pipe.check("-n", says="nothing to do: all 4 jobs are fresh\n")
    pipe.check("", says="nothing to do: all 4 jobs are fresh\n")
    assert pipe.read("b/x") == "made elsewhere\n"


def test_what_has_no_files_is_passed_over(pipe: Pipe) -> None:
    start(pipe)
    pipe.path("b/y").unlink()
    result = pipe.check("--touch", says="3 jobs count as done; 1 passed over\n")
    assert result.err == "passed over: `b n=y`, since `b/y` does not exist\n"
    assert pipe.check("-n").out.splitlines()[-1] == "2 of 4 jobs would run"
    assert not pipe.exists("b/y")


def test_a_changed_input_counts_from_now_on(pipe: Pipe) -> None:
    start(pipe)
    pipe.check("--touch")
    pipe.write("src/x", "changed\n", mtime=1500)
    assert pipe.check("-n").out.splitlines()[-1] == "2 of 4 jobs would run"
    pipe.check("--touch", says="2 jobs count as done\n")
    pipe.check("", says="nothing to do: all 4 jobs are fresh\n")


def test_an_output_edited_by_hand_is_accepted(pipe: Pipe) -> None:
    start(pipe)
    pipe.check("")
    pipe.write("b/x", "by hand\n")
    assert "kept: `b/x` was changed by hand" in pipe.check("").err
    pipe.check("--touch", says="1 job counts as done\n")
    assert pipe.check("", says="nothing to do: all 4 jobs are fresh\n").err == ""


def test_a_rule_that_makes_no_files_is_passed_over(pipe: Pipe) -> None:
    pipe.write("Pipefile", 'rule all:\n    shell: "echo run"\n')
    result = pipe.check("--touch", says="0 jobs count as done; 1 passed over\n")
    assert result.err == "passed over: `all` makes no files\n"


def test_nothing_stale_is_nothing_to_accept(pipe: Pipe) -> None:
    start(pipe)
    pipe.check("")
    pipe.check("--touch", says="nothing to accept: everything is fresh\n")


def test_a_program_gets_one_event(pipe: Pipe) -> None:
    start(pipe)
    pipe.path("b/y").unlink()
    event = json.loads(pipe.check("--touch --json").out)
    assert event == {"event": "touched", "jobs": 3, "passed_over": ["b n=y"]}


def test_a_dry_run_accepts_nothing(pipe: Pipe) -> None:
    start(pipe)
    pipe.check("--touch -n")
    assert not pipe.exists(".hpcmake")
