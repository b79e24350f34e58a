"""Checkpoints on clusters: whoever takes the run on plans what has become known."""

from __future__ import annotations

from cluster_scenes import Scene
from conftest import Pipe
from real_schedulers import Sge, Slurm
from slurm_scenes import slurm_scene
from test_checkpoints import NESTED, SPLIT, log


def test_a_run_that_nobody_follows_goes_on_below_its_checkpoints(pipe: Pipe, slurm: Slurm) -> None:
    scene = slurm_scene(pipe, slurm)
    pipe.write("Pipefile", NESTED)
    pipe.write("src/x", "1 2\n")
    pipe.write("src/y", "3\n")
    said = scene.build("--detach").out
    assert "2 of 4 jobs submitted, and those that are known once `first` has run" in said
    scene.over()
    assert pipe.read("sums/x") == "1\n1\n2\n"
    assert pipe.read("sums/y") == "1\n2\n3\n"
    assert log(pipe) == ["head", *["part"] * 6]
    scene.run(code=0)
    assert scene.run().out == "nothing to do: all 17 jobs are fresh\n"
    assert not pipe.exists("head")
    assert not list(pipe.path("part").rglob("*/*/*"))
    # Below the one that changed, in the sight of who follows.
    pipe.write("src/y", "3 1\n")
    said = scene.build().out
    assert "[11/11] " in said
    assert "11 jobs done" in said
    assert log(pipe) == ["head", *["part"] * 4]
    assert pipe.read("sums/y") == "1\n1\n2\n3\n"
    assert scene.run().out == "nothing to do: all 20 jobs are fresh\n"


def test_failures_below_and_at_a_checkpoint_end_a_run_as_any_others(pipe: Pipe, sge: Sge) -> None:
    scene = Scene(pipe, "sge", sge.jobs, sge.env)
    pipe.write("Pipefile", SPLIT.replace("wc -c", "if grep -q bb {input}; then exit 1; fi; wc -c"))
    pipe.write("words.txt", "a bb\n")
    said = scene.build("total", code=1)
    assert "count part=bb" in said.err
    assert "failed: 2 jobs done, 1 failed, 1 skipped" in said.out
    # What failed is tried again with what is known already, and with another set of parts.
    pipe.write("words.txt", "a cc\n")
    said = scene.build("total")
    assert "4 jobs done" in said.out
    assert pipe.read("total.txt") == "2\n3\n"
    assert scene.run("total").out == "nothing to do: all 4 jobs are fresh\n"
    # A file that no rule makes, found when the checkpoint has run.
    pipe.write("Pipefile", SPLIT.replace('input: "parts/{part}"', 'input: "parts/{part}", "no"'))
    pipe.write("words.txt", "a\n")
    said = scene.build("total", code=1)
    assert "no rule makes `no`, and the file does not exist" in said.err
    pipe.write("Pipefile", SPLIT.replace("mkdir {output}", "false"))
    said = scene.build("total", code=1)
    assert "failed: 0 jobs done, 1 failed, 1 skipped" in said.out
