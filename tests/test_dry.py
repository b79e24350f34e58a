"""`hpcmake -n`: what would run and why, and nothing else."""

from __future__ import annotations

import json

import pytest
from conftest import Pipe

PIPEFILE = """\
rule all:
    input: "report.txt"
rule map:
    output: "m{n}.txt"
    input:  "s{n}.txt"
    shell:  "cp {input} {output}"
rule report:
    output: "report.txt"
    input:  "m{n}.txt" for n in range(1, 4)
    shell:  "cat {input} > {output}"
"""


@pytest.fixture
def sources(pipe: Pipe) -> Pipe:
    pipe.write("Pipefile", PIPEFILE)
    for number in (1, 2, 3):
        pipe.write(f"s{number}.txt", "x\n", mtime=1_000_000_000)
    return pipe


def test_a_line_a_rule_in_the_order_of_running(sources: Pipe) -> None:
    sources.check(
        "-n",
        says="""\
map     3  jobs  no output yet
report  1  job   `report.txt` does not exist
4 of 4 jobs would run
""",
    )
    assert sources.files() == ["Pipefile", "s1.txt", "s2.txt", "s3.txt"]
    assert not sources.exists(".hpcmake")


def test_different_reasons_are_counted_and_verbose_tells_each(sources: Pipe) -> None:
    sources.check("-q")
    sources.write("s1.txt", "longer\n", mtime=1_000_000_500)
    sources.write("s3.txt", "longer\n", mtime=1_000_000_500)
    sources.path("m2.txt").unlink()
    sources.check(
        "-n",
        says="""\
map     3  jobs  an input changed (2), no output yet (1)
report  1  job   `m1.txt` will be made anew
4 of 4 jobs would run
""",
    )
    sources.check(
        "-n -v",
        says="""\
map n=1: `s1.txt` changed
map n=2: `m2.txt` does not exist
map n=3: `s3.txt` changed
report: `m1.txt` will be made anew
4 of 4 jobs would run
""",
    )


def test_nothing_to_do_is_said(sources: Pipe) -> None:
    sources.check("-q")
    sources.check("-n", says="nothing to do: all 4 jobs are fresh\n")
    sources.check("-n -q", says="")
    sources.check("-n m1.txt", says="nothing to do: the job is fresh\n")


def test_files_changed_by_hand_are_told(sources: Pipe) -> None:
    sources.check("-q")
    sources.write("report.txt", "mine\n")
    said = sources.check("-n").out
    assert said == (
        "kept: `report.txt` was changed by hand since it was made\n"
        "nothing to do: all 4 jobs are fresh\n"
    )
    sources.write("s1.txt", "longer\n", mtime=1_000_000_500)
    assert sources.check("-n").out.startswith(
        "edited: `report.txt` was changed by hand; it would be moved to `report.txt.edited`\n"
    )


def test_as_json_each_job_is_a_line(sources: Pipe) -> None:
    lines = [json.loads(line) for line in sources.check("-n --json").out.splitlines()]
    assert lines[0] == {
        "event": "planned",
        "job": "map n=1",
        "rule": "map",
        "outputs": ["m1.txt"],
        "reason": "missing-output",
        "text": "`m1.txt` does not exist",
        "after": [],
    }
    assert lines[3]["after"] == ["map n=1", "map n=2", "map n=3"]
    assert lines[4] == {"event": "plan", "jobs": 4, "total": 4, "edited": [], "replaced": []}
