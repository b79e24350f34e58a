"""`hpcmake why`: the reason of a target, with the chain that led there."""

from __future__ import annotations

import re

import pytest
from conftest import Pipe

PIPEFILE = """\
let reference = "ref.fa"
rule all:
    input: "c1.txt", "c2.txt"
rule map:
    output: temp("m{n}.txt")
    input:  "s{n}.txt", reference
    params: depth = 3
    shell:
        echo mapping {n}
        cat {input} > {output}
rule call:
    output: "c{n}.txt"
    input:  "m{n}.txt"
    shell:  "cp {input} {output}"
"""


@pytest.fixture
def built(pipe: Pipe) -> Pipe:
    pipe.write("Pipefile", PIPEFILE.replace('temp("m{n}.txt")', '"m{n}.txt"'))
    for path in ("s1.txt", "s2.txt", "ref.fa"):
        pipe.write(path, "x\n", mtime=1_000_000_000)
    pipe.check("-q")
    return pipe


def test_a_fresh_job_tells_by_which_run(built: Pipe) -> None:
    said = re.sub(r"\d{4}-\S+ [\d:]+", "WHEN", built.check("why c1.txt").out)
    assert said == (
        "call n=1 is fresh: it was made by run 2, at WHEN, "
        "and nothing it depends on changed since\n"
    )


def test_without_a_record_times_are_what_is_told(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE.replace('temp("m{n}.txt")', '"m{n}.txt"'))
    for number, path in enumerate(("s1.txt", "ref.fa", "m1.txt", "c1.txt")):
        pipe.write(path, mtime=1_000_000_000 + number)
    pipe.check(
        "why c1.txt",
        says="call n=1 is fresh: no input is newer than its outputs, "
        "and there is no record of a run\n",
    )
    assert not pipe.exists(".hpcmake")


def test_the_chain_leads_to_the_first_cause_with_old_and_new_value(built: Pipe) -> None:
    built.write("s2.txt", "longer\n", mtime=1_000_000_500)
    said = re.sub(r"\d{4}-\S+ [\d:.]+", "WHEN", built.check("why c2.txt").out)
    assert (
        said
        == """\
call n=2 is stale: `m2.txt` will be made anew
  by map n=2: `s2.txt` changed
    then: 2 bytes, WHEN
    now:  7 bytes, WHEN
"""
    )
    assert built.check("why c1.txt").out.startswith("call n=1 is fresh")


def test_a_changed_recipe_is_shown_as_a_difference(built: Pipe) -> None:
    text = built.read("Pipefile").replace("echo mapping", "echo MAPPING")
    built.write("Pipefile", text.replace("depth = 3", "depth = 4"))
    built.check(
        "why m1.txt",
        says="""\
map n=1 is stale: its recipe or parameters changed
    @@ -1,3 +1,3 @@
    -echo mapping 1
    +echo MAPPING 1
     cat s1.txt ref.fa > m1.txt
    -params: {"depth": 3}
    +params: {"depth": 4}
""",
    )


def test_another_set_of_inputs_is_shown_path_by_path(built: Pipe) -> None:
    built.write("new.fa")
    built.write("Pipefile", built.read("Pipefile").replace('"ref.fa"', '"new.fa"'))
    built.check(
        "why m1.txt",
        says="""\
map n=1 is stale: `new.fa` is new among its inputs
    - ref.fa
    + new.fa
""",
    )


def test_each_job_of_a_rule_is_told(built: Pipe) -> None:
    built.path("c2.txt").unlink()
    said = built.check("why call").out
    assert re.sub("it was made .*", "...", said) == (
        "call n=1 is fresh: ...\n\ncall n=2 is stale: `c2.txt` does not exist\n"
    )
    assert built.check("why call n=2").out == "call n=2 is stale: `c2.txt` does not exist\n"
    assert built.check("why all").out == (
        "all only names other files; 1 of 2 jobs are stale\n\n"
        "call n=2 is stale: `c2.txt` does not exist\n"
    )


def test_a_source_says_who_needs_it(built: Pipe) -> None:
    built.check(
        "why ref.fa",
        says="`ref.fa` is a source: no rule makes it\nit is needed by\n  map n=1\n  map n=2\n",
    )


def test_a_temporary_file_is_made_for_the_job_that_needs_it(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    for path in ("s1.txt", "s2.txt", "ref.fa"):
        pipe.write(path, "x\n", mtime=1_000_000_000)
    pipe.check("-q")
    assert not pipe.exists("m1.txt")
    assert re.sub("it was made .*", "...", pipe.check("why map n=1").out) == (
        "map n=1 is fresh: ...\n  `m1.txt` is temporary and was removed; nothing stale needs it\n"
    )
    pipe.path("c1.txt").unlink()
    pipe.check(
        "why map n=1",
        says="map n=1 is stale: `m1.txt` is temporary and not there, and `call n=1` needs it\n"
        "  for call n=1: `c1.txt` does not exist\n",
    )


def test_a_file_changed_by_hand_is_told(built: Pipe) -> None:
    built.write("c1.txt", "mine\n")
    assert built.check("why c1.txt").out.endswith(
        "\n  `c1.txt` was changed by hand and is kept; `--force` makes it anew\n"
    )


def test_a_failed_job_points_to_its_log(pipe: Pipe) -> None:
    pipe.write("Pipefile", 'rule a:\n    output: "a{n}"\n    shell: "touch {output}; exit 4"\n')
    pipe.check("-q --keep-incomplete a1", code=1)
    pipe.write("a1")
    pipe.check(
        "why a1",
        says="a n=1 is stale: its last attempt failed: exit: exit code 4\n"
        "    `hpcmake logs 'a n=1'` shows what it printed\n",
    )


def test_what_is_unknown_is_an_error_with_the_nearest(built: Pipe) -> None:
    assert "error[no-rule]" in built.check("why c1.txtt", code=2).err
    assert built.check("why call n=3", code=2).err == (
        "error[unknown-job]: `call n=3` is no job, no file that a job makes, and no rule\n"
        " = help: the nearest is `call n=2`\n"
    )


def test_a_chain_of_a_thousand_jobs_is_cut_in_the_middle(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        """\
rule last:
    input: "f1500"
rule step:
    output: "f{n}"
    input:  f"f{int(n) - 1}" if int(n) > 0 else "start"
    shell:  "cp {input} {output}"
""".replace('f"f{int(n) - 1}"', '"f" + str(int(n) - 1)'),
    )
    pipe.write("start", mtime=1_000_000_000)
    for number in range(1501):
        pipe.write(f"f{number}", mtime=999_000_000)
    lines = pipe.check("why f1500").out.split("\n")
    assert lines[0] == "step n=1500 is stale: `f1499` will be made anew"
    assert lines[20] == "  ... 1,479 jobs more ..."
    assert lines[-2].startswith("  by step n=0: `start` is newer than its outputs")
