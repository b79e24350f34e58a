"""`hpcmake export`: scripts that people submit by hand, and builds that know what came of them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from cluster_scenes import wait_until
from conftest import Pipe, Result
from real_schedulers import Sge, Slurm

PIPEFILE = """\
rule all:
    input: "sum"

rule map:
    output: "out{sample}"
    input: "in"
    where: sample = "[0-9]+"
    time: 5m
    shell: "cat {input} > {output}; echo made {sample}"

rule double:
    output: "two{sample}", temp("tmp{sample}")
    input: "out{sample}"
    where: sample = "[0-9]+"
    time: 5m
    shell: "cat {input} {input} | tee {output}; [ ! -e fail{sample} ]"

rule sum:
    output: "sum"
    input: "two{i}" for i in range(1, 4)
    shell: "xargs cat < {input:file} > {output}"
"""
FRESH = "nothing to do: all 7 jobs are fresh\n"


@pytest.fixture
def files(pipe: Pipe) -> Pipe:
    """A working folder with a Pipefile of three steps."""
    pipe.write("Pipefile", PIPEFILE)
    pipe.write("in", "text\n")
    return pipe


def submit(pipe: Pipe, folder: str = "hpcmake-export", env: dict[str, str] | None = None) -> Result:
    """Run the script `submit`, from elsewhere."""
    done = subprocess.run(
        [pipe.path(folder) / "submit"], cwd="/", env={**os.environ, **(env or {})}, check=False,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    return Result(done.returncode, done.stdout, done.stderr)


def counts(pipe: Pipe) -> dict[str, int]:
    """State -> how many jobs are in it, with what runners told by now."""
    found: dict[str, int] = {}
    for of_rule in json.loads(pipe.check("status --json").out)["counts"].values():
        for state, number in of_rule.items():
            found[state] = found.get(state, 0) + number
    return found


def wait_for(pipe: Pipe, **expected: int) -> None:
    wait_until(lambda: counts(pipe) == expected, f"{expected}, at last {counts(pipe)}")


def play(pipe: Pipe, cluster: str, env: dict[str, str] | None = None) -> None:
    """Export, submit, see a job fail, submit again, and build."""
    pipe.write("fail2")
    said = pipe.check(f"export --cluster {cluster}").out
    assert said == "7 jobs in 3 submissions: `hpcmake-export/submit` submits them\n"
    assert counts(pipe) == {"waiting": 7}
    answer = submit(pipe, env=env)
    assert (answer.code, answer.err) == (0, "")
    wait_for(pipe, done=5, failed=1, waiting=1)
    pipe.check("logs 'double sample=2'", says="text\ntext\n")
    pipe.check("logs 'map sample=1'", says="made 1\n")
    assert not pipe.exists("two2"), "what fails leaves nothing"

    pipe.path("fail2").unlink()
    before = {path: pipe.path(path).stat().st_mtime_ns for path in ("out1", "two1")}
    answer = submit(pipe, env=env)
    assert (answer.code, answer.err) == (0, "")
    wait_for(pipe, done=7)
    assert pipe.read("sum") == "text\ntext\n" * 3
    again = {path: pipe.path(path).stat().st_mtime_ns for path in before}
    assert again == before, "what is done is not done again"
    pipe.check("", says=FRESH)
    assert not pipe.exists("tmp1"), "a temp file goes with the next build"
    pipe.check("-n", says=FRESH)
    shown = json.loads(pipe.check("show two2 --json").out)
    assert shown["attempts"][-1]["scheduler_id"].startswith(answer.out.split()[1])


def test_on_slurm(files: Pipe, slurm: Slurm) -> None:
    play(files, "slurm", slurm.env)


def test_on_grid_engine(files: Pipe, sge: Sge) -> None:
    play(files, "sge", sge.env)


def test_on_this_machine(files: Pipe) -> None:
    play(files, "local")


def run_script(pipe: Pipe, rule: str, element: int = 0, folder: str = "hpcmake-export") -> int:
    """Run one element of an exported job script as Slurm would."""
    (script,) = pipe.path(folder).glob(f"{rule}.*.sh")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    environ |= {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7"}
    environ["SLURM_ARRAY_TASK_ID"] = str(element)
    return subprocess.run(["bash", script], cwd="/", env=environ, check=False).returncode


def test_cluster_file_does_the_same_and_each_export_has_a_folder(files: Pipe) -> None:
    for folder in ("hpcmake-export", "hpcmake-export-2"):
        said = files.check("--cluster file").out
        assert said == f"7 jobs in 3 submissions: `{folder}/submit` submits them\n"
    files.check("export --cluster file -o scripts/mine two1")
    names = sorted(path.name.split(".")[0] for path in files.path("scripts/mine").iterdir())
    assert names == ["double", "jobs", "logs", "map", "submit"]
    result = files.check("export --cluster file -o scripts/mine", code=2)
    assert "error[already-there]" in result.err


def test_what_a_job_needs_is_looked_at_and_a_build_goes_its_own_way(files: Pipe) -> None:
    files.check("export --cluster file")
    assert run_script(files, "double") == 1, "what it needs is not done"
    assert not files.exists("two1")
    assert counts(files) == {"waiting": 7}
    assert [run_script(files, "map", element) for element in range(3)] == [0, 0, 0]
    assert run_script(files, "double") == 0
    assert counts(files) == {"done": 4, "waiting": 3}
    files.check("-q two2")  # here, whatever is exported
    made = files.path("two2").stat().st_mtime_ns
    assert run_script(files, "double", 1) == 1, "another run has made it"
    assert files.path("two2").stat().st_mtime_ns == made
    files.check("-q")
    files.check("", says=FRESH)


def test_a_job_that_was_stale_with_a_record_is_fresh_after_its_script(files: Pipe) -> None:
    files.check("-q")
    files.write("in", "other\n")
    files.check("export --cluster file out1")
    assert run_script(files, "map") == 0
    assert files.read("out1") == "other\n"
    files.check("out1", says="nothing to do: the job is fresh\n")


def test_a_running_job_belongs_to_its_export_until_it_ended_or_is_cancelled(files: Pipe) -> None:
    files.write("Pipefile", 'rule a:\n    output: "a"\n    shell: "touch begun; cat pipe > a"\n')
    os.mkfifo(files.path("pipe"))
    files.check("export --cluster file")
    (script,) = files.path("hpcmake-export").glob("a.*.sh")
    environ = {**os.environ, "SLURM_JOB_ID": "12345"}
    with subprocess.Popen(["bash", script], env=environ) as runner:
        wait_until(lambda: files.exists("begun"), "it runs")
        wait_for(files, running=1)
        shown = files.check("status").out
        assert "file job 12345" in shown
        assert run_script(files, "a") == 1, "it runs already"
        for words in ("reset --all --force --yes", "forget --all --yes"):
            assert "which is alive" in files.check(words).err
        assert "error[jobs-taken]" in files.check("export --cluster file", code=2).err
        files.check("forget --run 2 --yes")
        assert counts(files) == {"running": 1}
        cancelled = files.check("cancel --all --yes")
        assert cancelled.out == "1 job cancelled\n"
        assert counts(files) == {"cancelled": 1}
        files.path("pipe").write_text("text")
        assert runner.wait(timeout=60) == 1, "it is not its own any more"
    assert counts(files) == {"cancelled": 1}
    with subprocess.Popen(["bash", script], env=environ) as runner:
        files.path("pipe").write_text("text")
        assert runner.wait(timeout=60) == 0, "people may submit it again"
    files.check("", says="nothing to do: the job is fresh\n")


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(files: Pipe) -> None:
    pipefile = files.read("Pipefile")
    files.write("Pipefile", pipefile.replace("rule sum:\n", "rule sum:\n    local\n"))
    assert "error[other-cluster]" in files.check("export --cluster file", code=2).err
    files.write("Pipefile", pipefile.replace("rule sum:\n", "rule sum:\n    mem: size(input[0])\n"))
    assert "error[known-too-late]" in files.check("export --cluster file", code=2).err
    assert files.files() == ["Pipefile", "in"]
    files.write("Pipefile", pipefile.replace("rule sum:\n", 'rule sum:\n    cluster: "file"\n'))
    assert "error[only-exports]" in files.check("--cluster local", code=2).err
    assert "error[bad-option]" in files.check("export", code=2).err
    assert "error[unknown-cluster]" in files.check("export --cluster slrm", code=2).err


def test_nothing_stale_is_nothing_to_export(files: Pipe) -> None:
    files.check("-q")
    files.check("export --cluster file", says=FRESH)
    assert not Path(files.folder, "hpcmake-export").exists()
