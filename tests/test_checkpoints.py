"""Loops over what a checkpoint makes: the build grows when it has run, and only then."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest
from conftest import Pipe

SPLIT = """\
checkpoint split:
    output: directory("parts")
    input: "words.txt"
    shell:
        mkdir {output}
        for word in $(cat {input}); do echo $word > {output}/$word; done
        echo split >> log

rule count:
    output: "counts/{part}"
    input: "parts/{part}"
    shell: "wc -c < {input} > {output}; echo count {part} >> log"

rule total:
    output: "total.txt"
    input: "counts/{row.part}" for row in glob("parts/{part}") after split
    shell: "cat {input} > {output}; echo total >> log"
"""


def log(pipe: Pipe) -> list[str]:
    """What ran since the last time, sorted."""
    lines = sorted(pipe.read("log").split("\n")[:-1]) if pipe.exists("log") else []
    pipe.path("log").unlink(missing_ok=True)
    return lines


def test_what_a_checkpoint_makes_is_looped_over_in_the_same_build(pipe: Pipe) -> None:
    pipe.write("Pipefile", "rule all:\n    input: 'total.txt'\n\n" + SPLIT)
    pipe.write("words.txt", "a bb\n")
    result = pipe.check("-n -v")
    assert result.out == (
        "split: `parts` does not exist\n"
        "total: `total.txt` does not exist\n"
        "2 of 2 jobs would run, and those that are known once `split` has run\n"
    )
    result = pipe.check("-j 2")
    assert "[1/2] split" in result.out
    assert "[4/4] total" in result.out
    assert "4 jobs done" in result.out
    assert log(pipe) == ["count a", "count bb", "split", "total"]
    assert pipe.read("total.txt") == "2\n3\n"
    for _ in range(3):
        pipe.check("", says="nothing to do: all 4 jobs are fresh\n")
    # A part more, one less, one that is as it was.
    pipe.write("words.txt", "bb cc\n")
    assert "total: what it needs is known once `split` has run" in pipe.check("-n -v").out
    why = pipe.check("why total.txt").out
    assert "total is stale: what it needs is known once `split` has run\n" in why
    assert "and split: `words.txt` changed" in why
    pipe.check("-q")
    assert log(pipe) == ["count bb", "count cc", "split", "total"]
    assert pipe.read("total.txt") == "3\n3\n"
    pipe.check("", says="nothing to do: all 4 jobs are fresh\n")
    # What hangs on a fresh checkpoint is known before anything runs.
    pipe.path("parts/bb").write_text("longer\n")
    result = pipe.check("-n -v")
    assert "count part=bb" in result.out
    assert "known once" not in result.out


LIST = """\
rule all:
    input: "out/{line}" for line in lines("list.txt") after choose

checkpoint choose:
    output: "list.txt"
    input: "wanted"
    shell: "cp {input} {output}; echo choose >> log"

rule make:
    output: "out/{x}"
    input: "src/{x}"
    shell: "cp {input} {output}; echo make {x} >> log"
"""


def test_a_list_that_says_the_same_again_makes_nothing_anew(pipe: Pipe) -> None:
    pipe.write("Pipefile", LIST)
    pipe.write("wanted", "a\nb\n")
    for name in "abc":
        pipe.write(f"src/{name}", name)
    result = pipe.check("")
    assert result.out.startswith("[1/1] choose")
    assert "3 jobs done" in result.out
    assert log(pipe) == ["choose", "make a", "make b"]
    os.utime(pipe.path("wanted"), (1, 1))
    assert "1 job done" in pipe.check("").out
    assert log(pipe) == ["choose"]
    pipe.write("wanted", "c\nb\n")
    pipe.check("-q")
    assert log(pipe) == ["choose", "make c"]
    # What was looped over is looked at in every build, also in those that know all is fresh.
    for _ in range(2):
        pipe.check("", says="nothing to do: all 3 jobs are fresh\n")
    pipe.write("list.txt", "a\nb\nc\n")
    os.utime(pipe.path("out/a"), (1, 1))
    assert "kept: `list.txt` was changed by hand" in pipe.check("-n").out
    # One that no rule makes: that job fails, with the place where it is asked for.
    pipe.write("wanted", "a\nnone\n")
    pipe.path("list.txt").unlink()
    result = pipe.check("", code=1)
    assert "no rule makes `src/none`, and the file does not exist" in result.err
    assert "all" in result.err
    pipe.write("src/none")
    pipe.check("-q")
    assert pipe.exists("out/none")


NESTED = """\
rule all:
    input: "sums/{s}" for s in ["x", "y"]

checkpoint first:
    output: directory("first/{s}")
    input: "src/{s}"
    shell: "mkdir -p {output}; for n in $(cat {input}); do echo $n > {output}/$n; done"

checkpoint second:
    output: directory("second/{s}/{n}")
    input: "first/{s}/{n}"
    shell: "mkdir -p {output}; for i in $(seq $(cat {input})); do echo $i > {output}/$i; done"

rule part:
    output: temp("part/{s}/{n}/{i}")
    input: "second/{s}/{n}/{i}"
    shell: "cp {input} {output}; echo part >> log"

rule inner:
    output: "inner/{s}/{n}"
    input:
        head = "head"
        parts = "part/{s}/{n}/{row.i}" for row in glob("second/{s}/{n}/{i}") after second
    shell: "test -e {input.head}; cat {input.parts} /dev/null > {output}"

rule head:
    output: temp("head")
    shell: "echo head >> log; touch {output}"

rule outer:
    output: "sums/{s}"
    input: "inner/{s}/{row.n}" for row in glob("first/{s}/{n}") after first
    shell: "cat {input} > {output}"
"""


def test_a_rule_below_a_checkpoint_may_be_one_and_each_has_its_own_wildcards(pipe: Pipe) -> None:
    pipe.write("Pipefile", NESTED)
    pipe.write("src/x", "1 2\n")
    pipe.write("src/y", "3\n")
    result = pipe.check("-j 2")
    assert "17 jobs done" in result.out, result.out
    assert pipe.read("sums/x") == "1\n1\n2\n"
    assert pipe.read("sums/y") == "1\n2\n3\n"
    assert log(pipe) == ["head", *["part"] * 6]
    assert not pipe.exists("head")
    assert not list(pipe.path("part").rglob("*/*/*"))
    pipe.check("", says="nothing to do: all 17 jobs are fresh\n")
    # Only below the one that changed; `head`, which was removed, is needed on the far side.
    pipe.write("src/y", "3 1\n")
    result = pipe.check("-j 2")
    assert log(pipe) == ["head", *["part"] * 4]
    assert "first s=x" not in result.out
    assert pipe.read("sums/y") == "1\n1\n2\n3\n"
    assert not pipe.exists("head")
    pipe.check("", says="nothing to do: all 20 jobs are fresh\n")


BOTH_SIDES = """\
rule all:
    input: "end"

rule big:
    output: temp("big")
    shell: "echo big > {output}; echo big >> log"

checkpoint cut:
    output: directory("cut")
    input: "big"
    shell: "mkdir {output}; cp {input} {output}/1; cp {input} {output}/2"

rule piece:
    output: temp("piece/{n}")
    input: "cut/{n}", "big"
    shell: "sleep 0.8; cat {input} > {output}"  # longer than what is free stays

rule end:
    output: "end"
    input: "piece/{row.n}" for row in glob("cut/{n}") after cut
    shell: "cat {input} > {output}"
"""


def test_a_temp_file_stays_until_what_a_checkpoint_brings_has_used_it(pipe: Pipe) -> None:
    pipe.write("Pipefile", BOTH_SIDES)
    assert "5 jobs done" in pipe.check("-j 2").out
    assert log(pipe) == ["big"]
    assert pipe.read("end") == "big\n" * 4
    assert not pipe.exists("big")
    assert not pipe.exists("piece/1")
    pipe.check("", says="nothing to do: all 5 jobs are fresh\n")


USED = """\
rule all:
    input: "use/{x}" for x in lines("list") after choose

checkpoint choose:
    output: "list"
    input: "wanted"
    shell: "cp -p {input} {output}"  # with a time of which nothing is in doubt

rule use:
    output: "use/{x}"
    input: "list"
    shell: "cp {input} {output}"
"""


def test_what_a_checkpoint_made_anew_is_seen_as_it_is_now(pipe: Pipe) -> None:
    pipe.write("Pipefile", USED)
    pipe.write("wanted", "a\n", 1e9)
    pipe.check("-q")
    pipe.write("wanted", "a\nb\n", 1e9 + 10)
    pipe.check("-q")
    assert pipe.read("use/a") == pipe.read("use/b") == "a\nb\n"
    pipe.check("", says="nothing to do: all 3 jobs are fresh\n")


def test_what_waits_for_a_checkpoint_that_failed_is_skipped(pipe: Pipe) -> None:
    pipe.write("Pipefile", SPLIT.replace("mkdir {output}", "false"))
    pipe.write("words.txt", "a\n")
    pipe.write("other")
    result = pipe.check("-k -v total", code=1)
    assert "skipped: total, since split failed" in result.out
    assert "failed: 0 jobs done, 1 failed, 1 skipped" in result.out
    pipe.write("Pipefile", SPLIT)
    assert "3 jobs done" in pipe.check("total").out


def test_after_a_kill_between_checkpoint_and_followers_the_next_build_goes_on(pipe: Pipe) -> None:
    pipe.write("Pipefile", SPLIT.replace("wc -c", "while [ -e wait ]; do sleep 0.05; done; wc -c"))
    pipe.write("words.txt", "a bb\n")
    pipe.write("wait")
    build = subprocess.Popen(pipe.command("-q", "total"), cwd=pipe.folder)
    deadline = time.monotonic() + 60
    running = ("status", "--where", "state = 'running' and rule = 'count'")
    while "count part=a" not in pipe.run(*running).out:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    build.send_signal(signal.SIGKILL)
    build.wait()
    pipe.path("wait").unlink()
    assert "total" in pipe.check("-n total").out
    pipe.check("-q total")
    ran = log(pipe)
    assert ran.count("split") == 1
    assert ran.count("total") == 1
    assert pipe.read("total.txt") == "2\n3\n"
    pipe.check("total", says="nothing to do: all 4 jobs are fresh\n")


def test_programs_are_told_what_became_known(pipe: Pipe) -> None:
    pipe.write("Pipefile", SPLIT)
    pipe.write("words.txt", "a\n")
    events = [json.loads(line) for line in pipe.check("--json total").out.splitlines()]
    assert [event["job"] for event in events if event["event"] == "known"] == ["count part=a"]
    started = [event for event in events if event["event"] == "started"]
    assert [event["job"] for event in started] == ["split", "count part=a", "total"]
    assert events[-1]["jobs"] == 3


@pytest.mark.parametrize(
    ("option", "ran"),
    [
        ("--force-all", ["count a", "split", "total"]),
        ("--force-rule count", ["count a", "total"]),
        ("--force", ["total"]),
    ],
)
def test_forcing_knows_what_it_forces(pipe: Pipe, option: str, ran: list[str]) -> None:
    pipe.write("Pipefile", SPLIT)
    pipe.write("words.txt", "a\n")
    pipe.check("-q total")
    log(pipe)
    pipe.check(f"-q total {option}")
    assert log(pipe) == ran


def test_jobs_that_wait_for_each_other_across_a_checkpoint_are_an_error(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        SPLIT.replace('input: "parts/{part}"', 'input: "parts/{part}", "total.txt"'),
    )
    pipe.write("words.txt", "a\n")
    result = pipe.check("total", code=1)
    assert "`total.txt` is needed to make itself" in result.err
