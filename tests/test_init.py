"""`hpcmake init`: a Pipefile that runs as it is."""

from __future__ import annotations

import pytest
from conftest import Pipe


@pytest.mark.parametrize("option", ["", " --minimal"])
def test_a_python_file_builds_a_job_list_that_runs_straight_away(pipe: Pipe, option: str) -> None:
    says = "wrote pipeline.py\n`hpcmake -f pipeline.py` runs it\n"
    pipe.check(f"init --python{option}", says=says)
    assert pipe.check("-f pipeline.py -j4").out.splitlines()[-1].startswith("5 jobs done")
    assert pipe.read("results/3.txt") == "75\n"
    assert pipe.read("pipeline.log").count("10 steps") == 3
    dry = pipe.check("-f pipeline.py -n --until simulate").out
    assert dry == "nothing to do: all 3 jobs are fresh\n"
    assert "simulate  3  jobs" in pipe.check("-f pipeline.py -n --force-rule simulate").out
    assert ("# A function" in pipe.read("pipeline.py")) is (not option)


@pytest.mark.parametrize("option", ["", " --minimal"])
def test_what_init_writes_runs_straight_away(pipe: Pipe, option: str) -> None:
    pipe.check(
        f"init{option}",
        says="wrote Pipefile\nwrote data/example.txt\n`hpcmake` runs it\n",
    )
    pipe.check("check --strict", says="Pipefile: 3 rules, 2 jobs, no problems\n")
    pipe.check("fmt --check", says="")
    pipe.check("")
    assert pipe.read("results/summary.tsv") == "example\t3\n"
    pipe.check("", says="nothing to do: all 2 jobs are fresh\n")
    assert ("#" in pipe.read("Pipefile")) is (not option)


def test_a_file_that_came_later_is_counted_too(pipe: Pipe) -> None:
    pipe.check("init")
    pipe.check("")
    pipe.write("data/two words.txt", "a\nb\n")
    pipe.check("")
    assert pipe.read("results/summary.tsv") == "example\t3\ntwo words\t2\n"


def test_nothing_is_overwritten(pipe: Pipe) -> None:
    pipe.write("Pipefile", "let x = 1\n")
    pipe.write("data/mine.txt", "mine\n")
    result = pipe.check("init", says="", code=2)
    assert result.err.startswith("error[already-there]: there is a `Pipefile` already")
    assert pipe.read("Pipefile") == "let x = 1\n"
    assert pipe.files() == ["Pipefile", "data/mine.txt"]


def test_a_pipefile_in_workflow_is_not_shadowed(pipe: Pipe) -> None:
    pipe.write("workflow/Pipefile", "let x = 1\n")
    assert "`workflow/Pipefile`" in pipe.check("init", code=2).err


def test_data_that_is_there_is_used(pipe: Pipe) -> None:
    pipe.write("data/mine.txt", "mine\n")
    pipe.check("init -f other", says="wrote other\n`hpcmake -f other` runs it\n")
    pipe.check("-f other")
    assert pipe.read("results/summary.tsv") == "mine\t1\n"


def test_a_folder_that_cannot_be_written_is_an_error(pipe: Pipe) -> None:
    pipe.write("data", "a file\n")
    result = pipe.check("init", code=2)
    assert result.err == "error[cannot-write]: `data/example.txt` cannot be written: file exists\n"
