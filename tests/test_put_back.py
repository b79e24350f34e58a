"""Temp files that are put back for one job: what others know of them stays true."""

from __future__ import annotations

import json

import pytest
from conftest import Pipe

# What it makes has another size each time, as of programs that write the date into their output.
TEMPS = """\
rule all:
    input: "one", "two"
rule made:
    output: temp({flagged})
    shell: "{make}"
rule one:
    output: "one"
    input: "kept"
    params: version = {version}
    shell: "test ! -e fail; touch one"
rule two:
    output: "two"
    input: "kept"
    shell: "touch two"
"""
KINDS = {
    "a file": ('"kept"', "echo x $(cat again) > kept"),
    "a folder": ('directory("kept")', "mkdir kept; echo x $(cat again) > kept/text"),
}


@pytest.mark.parametrize("again", ["", "a b c"], ids=["shorter", "longer"])
@pytest.mark.parametrize("where", ["-j 2", "--cluster local"])
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.usefixtures("local_queue")
def test_nobody_runs_for_what_was_put_back(pipe: Pipe, kind: str, where: str, again: str) -> None:
    flagged, make = KINDS[kind]

    def version(number: int, words: str = "") -> None:
        text = TEMPS.replace("{flagged}", flagged).replace("{make}", make)
        pipe.write("Pipefile", text.replace("{version}", str(number)) + words)

    def at_rest(number: int) -> None:
        assert not pipe.exists("kept")
        version(number, "# so that it is planned anew\n")
        pipe.check("-n", says="nothing to do: all 3 jobs are fresh\n")

    version(1)
    pipe.write("again", "a")
    pipe.check(f"-q {where}")
    at_rest(1)
    version(2)
    pipe.write("again", again)
    pipe.write("fail")
    pipe.check(f"-q {where}", code=1)
    assert pipe.exists("kept")
    pipe.path("fail").unlink()
    *planned, ended = [json.loads(line) for line in pipe.check("-n --json").out.splitlines()]
    assert [each["job"] for each in planned] == ["one"]
    assert ended["edited"] == []
    pipe.check(f"-q {where}")
    at_rest(2)
    pipe.write("again", again + " b")
    version(3)
    pipe.check(f"-q {where}")
    at_rest(3)
