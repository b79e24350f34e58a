"""`hpcmake show`: everything known of a job."""

from __future__ import annotations

import json
import os
import re

import pytest
from conftest import Pipe

PIPEFILE = """\
rule all:
    input: "m1.txt", "m2.txt"
rule map:
    output:
        bam = "m{n}.txt"
    input:  "s{n}.txt"
    cores:  2
    mem:    1G * attempt
    time:   1h30m
    retries: 1
    env:    LEVEL = 7
    resources: licence = 1
    shell:
        echo mapping {n}
        cp {input} {output.bam}
"""


@pytest.fixture
def built(pipe: Pipe) -> Pipe:
    pipe.write("Pipefile", PIPEFILE)
    pipe.write("s1.txt", "x\n", mtime=1_000_000_000)
    pipe.write("s2.txt", "x\n", mtime=1_000_000_000)
    pipe.check("-q -j2")
    return pipe


def plain(text: str) -> str:
    """The text without what differs from one run to the next."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?", "WHEN", text)
    text = text.replace(os.uname().nodename, "HOST")
    text = re.sub(r"[\d.]+ s\b|[\d.]+ [MG]iB(?=  )|(?<=  )-(?=  )", "N", text)
    return re.sub(r" +\n", "\n", re.sub(r"  +", "  ", text))


def test_all_is_told_of_a_job(built: Pipe) -> None:
    built.write("s1.txt", "longer\n", mtime=1_000_000_500)
    assert (
        plain(built.check("show m1.txt").out)
        == """\
map n=1
  rule  map, Pipefile:3:6
  wildcard  n = 1
  state  done, stale: `s1.txt` changed
  needs  2 cores, 1.0 GiB of memory, 1:30:00 of time, licence = 1
  env  LEVEL=7
  inputs
  s1.txt  7 bytes, WHEN  was 2 bytes, WHEN
  outputs
  m1.txt  2 bytes, WHEN
  shell
  echo mapping 1
  cp s1.txt m1.txt
  attempts
  run  state  started  wall  cpu  peak  host  exit  log
  1  2  done  WHEN  N  N  N  HOST  0  10 bytes
"""
    )


@pytest.mark.parametrize("words", ["m2.txt", "map n=2", "'map n=2'"])
def test_as_json_the_same_is_there_for_programs(built: Pipe, words: str) -> None:
    found = json.loads(built.check(f"show --json {words}").out)
    assert found["job"] == "map n=2"
    assert found["wildcards"] == {"n": "2"}
    assert found["fresh"] is True
    assert found["inputs"][0]["now"] == found["inputs"][0]["recorded"]
    assert found["needs"]["mem_mib"] == 1024
    assert found["recipe"]["text"] == "echo mapping 2\ncp s2.txt m2.txt\n"
    assert [(each["run"], each["state"]) for each in found["attempts"]] == [(2, "done")]


def test_every_attempt_is_told(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE.replace("cp {input}", "exit 5 # {input}"))
    pipe.write("s1.txt", "x\n")
    pipe.check("-q -j2 m1.txt", code=1)
    said = plain(pipe.check("show m1.txt").out)
    assert "  state  failed, stale: `m1.txt` does not exist\n" in said
    assert said.endswith(
        "  1  2  failed  WHEN  N  N  N  HOST  5  10 bytes\n"
        "  2  2 try 2  failed  WHEN  N  N  N  HOST  5  10 bytes\n"
        "  last: exit code 5\n"
    )


def test_a_job_that_never_ran_is_told_and_nothing_is_written(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    pipe.write("s1.txt", "x\n")
    said = pipe.check("show m1.txt").out
    assert "  state     never ran, stale: `m1.txt` does not exist\n" in said
    assert "attempts" not in said
    assert pipe.files() == ["Pipefile", "s1.txt"]
    assert not pipe.exists(".hpcmake")


def test_a_rule_has_to_mean_one_job(built: Pipe) -> None:
    assert built.check("show map", code=2).err == (
        "error[many-jobs]: rule `map` has 2 jobs: which of them is not said\n"
        " = help: name one of its files, e.g. `m1.txt`\n"
    )
    assert built.check("show s1.txt", code=2).err == (
        "error[no-job]: `s1.txt` is a source: no job makes it\n"
        " = help: `hpcmake why s1.txt` tells which jobs need it\n"
    )


def test_without_a_pipefile_the_state_tells_what_it_knows(built: Pipe) -> None:
    with_it = plain(built.check("show m1.txt").out)
    built.path("Pipefile").unlink()
    said = plain(built.check("show m1.txt").out)
    assert said == plain(built.check("show map n=1").out)
    gone = ("  rule", "  state", "  env", "  shell", "  needs")
    missing = [line for line in with_it.splitlines() if line not in said.splitlines()]
    assert [line for line in missing if not line.startswith(gone)] == []
    assert "  state  done\n" in said
    assert "  needs  2 cores, 1.0 GiB of memory, 1:30:00 of time\n" in said
    assert json.loads(built.check("show --json m1.txt").out)["fresh"] is None
    told = built.check("show --json --where n=2").out
    assert json.loads(told)["job"] == "map n=2"
    assert "error[unknown-job]" in built.check("show mm1.txt", code=2).err
    assert "error[no-pipefile]" in built.check("why mm1.txt", code=2).err
