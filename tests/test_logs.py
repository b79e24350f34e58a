"""`hpcmake logs`: what jobs printed, while they run and later."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from conftest import Pipe

PIPEFILE = """\
rule all:
    input: "m1.txt", "m2.txt", "quiet.txt"
rule map:
    output: "m{n}.txt"
    shell:
        for i in 1 2 3 4 5; do echo line $i of {n}; done
        touch {output}
rule quiet:
    output: "quiet.txt"
    shell: "touch {output}"
rule bad:
    output: "bad.txt"
    retries: 1
    shell: "echo attempt {attempt}; exit 1"
"""


@pytest.fixture
def built(pipe: Pipe) -> Pipe:
    pipe.write("Pipefile", PIPEFILE)
    pipe.check("-q")
    return pipe


@pytest.mark.parametrize("words", ["m1.txt", "./m1.txt", "'map n=1'", "map n=1"])
def test_a_job_goes_by_its_name_or_a_file_that_it_made(built: Pipe, words: str) -> None:
    lines = "".join(f"line {i} of 1\n" for i in range(1, 6))
    built.check(f"logs {words}", says=lines)


def test_lines_of_several_jobs_are_led_by_the_name_of_their_job(built: Pipe) -> None:
    says = "map n=1 | line 5 of 1\nmap n=2 | line 5 of 2\n"
    built.check("logs map --tail 1", says=says)
    built.check("logs m1.txt m2.txt --tail 1", says=says)


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ("--tail 2", [4, 5]),
        ("--tail 0", []),
        ("--lines 2-3", [2, 3]),
        ("--lines 4-", [4, 5]),
        ("--lines -2", [1, 2]),
        ("--lines 3", [3]),
        ("--lines 9-12", []),
        ("--grep '[24] of'", [2, 4]),
        ("--lines 2-4 --grep '[25] of'", [2]),
        ("--grep 'line' --tail 1", [5]),
    ],
)
def test_lines_are_chosen(built: Pipe, options: str, lines: list[int]) -> None:
    built.check(f"logs m1.txt {options}", says="".join(f"line {i} of 1\n" for i in lines))


def test_an_attempt_is_named_by_its_number_from_either_end(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    pipe.check("-q bad.txt", code=1)
    for number, attempt in ((1, 1), (2, 2), (-1, 2), (-2, 1)):
        pipe.check(f"logs bad --attempt {number}", says=f"attempt {attempt}\n")
    assert pipe.check("logs bad --attempt 3", code=2).err == (
        "error[no-attempt]: there is no attempt 3 of `bad`: it has 2 attempts\n"
    )


def test_a_file_that_its_job_never_made_is_found_by_the_pipefile(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    pipe.check("-q bad.txt", code=1)
    pipe.check("logs bad.txt", says="attempt 2\n")


def test_a_job_that_printed_nothing_or_never_ran_says_so(built: Pipe) -> None:
    said = built.check("logs quiet", says="")
    assert said.err == "`quiet` printed nothing\n"
    assert built.check("logs bad.txt", code=2).err == (
        "error[no-attempt]: `bad` never ran, so it printed nothing\n"
    )


def test_what_is_wrong_in_the_call_is_told(built: Pipe) -> None:
    assert built.check("logs mpa", code=2).err == (
        "error[unknown-job]: `mpa` is no job, no file that a job makes, and no rule\n"
        " = help: the nearest is `map`\n"
    )
    assert "`--lines x` is no range of lines" in built.check("logs map --lines x", code=2).err
    assert "no regular expression" in built.check("logs map --grep '('", code=2).err


def test_following_tells_lines_as_they_come_and_ends_with_the_job(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        """\
rule talk:
    output: "t.txt"
    shell:
        echo one
        while [ ! -e go ]; do sleep 0.05; done
        echo two
        printf three
        touch {output}
""",
    )
    command = [sys.executable, "-m", "buildhpc.cli"]
    build = subprocess.Popen([*command, "-q"], cwd=pipe.folder)
    deadline = time.monotonic() + 60
    while "running" not in pipe.run("status").out:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    follower = subprocess.Popen(
        [*command, "logs", "talk", "--follow"], cwd=pipe.folder, stdout=subprocess.PIPE, text=True
    )
    assert follower.stdout is not None
    assert follower.stdout.readline() == "one\n"
    pipe.write("go")
    assert follower.stdout.read() == "two\nthree\n"
    assert follower.wait(timeout=30) == 0
    assert build.wait(timeout=30) == 0
    pipe.check("logs talk", says="one\ntwo\nthree\n")
    pipe.check("logs talk --follow --tail 1", says="three\n")
