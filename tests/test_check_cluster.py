"""`check --cluster` and `-n --cluster`: what is known of a cluster before anything is submitted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import Pipe
from real_schedulers import Sge, Slurm

PIPEFILE = """\
rule all:
    input: "sum"

rule map:
    output: "out{sample}"
    where: sample = "[0-9]+"
    time: 5m
    shell: "touch {output}"

rule double:
    output: "two{sample}"
    input: "out{sample}"
    where: sample = "[0-9]+"
    time: 5m
    shell: "touch {output}"

rule sum:
    output: "sum"
    input: "two{i}" for i in range(1, 4)
    shell: "touch {output}"
"""
SOUND = "Pipefile: 4 rules, 7 jobs, no problems\n"
WORKS = "cluster {0}: 7 jobs, 2 different requests, {0} would take all\n"


@pytest.fixture
def files(pipe: Pipe) -> Pipe:
    """A working folder with a Pipefile of three steps."""
    pipe.write("Pipefile", PIPEFILE)
    return pipe


def fake(pipe: Pipe, name: str, text: str) -> dict[str, str]:
    """The environment in which a program is a script of ours, which logs how it is called."""
    program = pipe.write(f"bin/{name}", f'#!/bin/bash\necho "$*" >> {pipe.folder}/calls\n{text}\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}"}


def test_slurm_is_asked_about_each_request(files: Pipe, slurm: Slurm) -> None:
    words = ("check", "--cluster", "slurm")
    assert files.run(*words, env=slurm.env).out == SOUND + WORKS.format("slurm")
    refused = files.run(*words, "--cluster-option", "partition=nowhere", env=slurm.env)
    assert refused.code == 2
    assert refused.out.endswith("cluster slurm: 7 jobs, 2 different requests, 2 refused\n")
    assert "error[unfit-request]: cluster `slurm` would not take `map sample=1`" in refused.err
    assert " and 5 more like it\n --> Pipefile:4:6\n" in refused.err
    assert "nowhere" in refused.err
    assert "= note: asked for with --time=0-00:05:00 --partition=nowhere --array=0-2\n" in (
        refused.err
    )
    assert files.files() == ["Pipefile"]
    assert slurm.jobs() == [], "nothing was submitted"


def test_grid_engine_is_asked(files: Pipe, sge: Sge) -> None:
    found = files.run("check", "--cluster", "sge", env=sge.env)
    assert (found.code, found.out) == (0, SOUND + WORKS.format("sge")), found.err
    words = ("check", "--cluster", "sge", "--cluster-option", "partition=nowhere.q")
    refused = files.run(*words, env=sge.env)
    assert refused.code == 2
    assert "error[unfit-request]: cluster `sge` would not take `map sample=1`" in refused.err


def test_the_queue_of_this_machine_is_asked_and_pbs_cannot_be(files: Pipe) -> None:
    files.check("check --cluster local", says=SOUND + WORKS.format("local"))
    files.check("check --cluster pbs", says=SOUND + "cluster pbs: 7 jobs, 2 different requests,"
                " pbs cannot be asked without submitting\n")  # fmt: skip


def test_a_scheduler_is_asked_once_for_a_request_and_fresh_jobs_count(files: Pipe) -> None:
    env = fake(files, "sbatch", "exit 0")
    files.check("-q")
    assert files.run("check", "--cluster", "slurm", env=env).code == 0
    calls = files.read("calls").splitlines()
    assert len(calls) == 2
    assert all(call.startswith("--test-only ") for call in calls)


def test_a_scheduler_that_cannot_be_had_is_no_mistake(files: Pipe) -> None:
    words = "Batch job submission failed: Unable to contact slurm controller (connect failure)"
    env = fake(files, "sbatch", f"echo 'sbatch: error: {words}' >&2; exit 1")
    found = files.run("check", "--cluster", "slurm", env=env)
    assert found.code == 3
    assert "error[cluster-away]: cluster `slurm` does not say what it would take: " in found.err
    assert len(files.read("calls").splitlines()) == 1, "it is not asked again"


def test_all_of_the_site_is_looked_at(files: Pipe) -> None:
    site = """\
[cluster.here]
scheduler = "pbs"
[[cluster.here.partition]]
name = "short"
max_time = "2m"
[cluster.here.rule.mop]
mem = "2G"
[cluster.other]
scheduler = "lsf"
"""
    files.write("hpcmake.toml", site)
    found = files.check("check --cluster here --json", code=2)
    document = json.loads(found.out)
    told = [(each["slug"], each["text"]) for each in document["errors"]]
    assert [slug for slug, _ in told] == ["bad-value", "no-partition", "no-partition"]
    assert "`map sample=1`" in told[1][1]
    assert [each["slug"] for each in document["warnings"]] == ["unused-site-rule"]
    files.write("hpcmake.toml", site.replace("2m", "2h").replace("lsf", "pbs"))
    found = files.check("check --cluster here")
    assert "warning[unused-site-rule]" in found.err
    assert "= help: the nearest is `map`\n" in found.err
    files.check("check --cluster here --strict", code=2)
    assert "error[unknown-cluster]" in files.check("check --cluster hre", code=2).err


def test_what_a_scheduler_has_no_words_for_is_told(files: Pipe) -> None:
    files.write("Pipefile", PIPEFILE.replace("    time: 5m\n", "    nodes: 2\n"))
    found = files.check("check --cluster local", code=2)
    assert found.err.count("error[cannot-express]") == 2, "once for each rule"


def test_needs_that_hang_on_files_come_later(files: Pipe) -> None:
    text = PIPEFILE.replace("rule sum:\n", "rule sum:\n    mem: 2 * size(input[0])\n")
    files.write("Pipefile", text)
    found = files.check("check --cluster local")
    assert found.out.endswith(
        "cluster local: 7 jobs, 1 request, 1 known only when other jobs have run,"
        " local would take it\n"
    )
    lines = files.check("-n --cluster slurm").out.splitlines()
    assert lines[-1] == "1 job is submitted later, when there is room or what they need is done"


def test_a_dry_run_shows_the_commands_that_submit(files: Pipe) -> None:
    lines = files.check("-n --cluster slurm").out.splitlines()
    at = lines.index("on slurm:")
    assert lines[:at] == [
        "map     3  jobs  no output yet",
        "double  3  jobs  no output yet",
        "sum     1  job   `sum` does not exist",
        "7 of 7 jobs would run",
        "",
    ]
    folder = files.folder
    common = f"--chdir={folder} --output={folder}/.hpcmake/run-N/slice-S.out --open-mode=append"
    common += " --no-requeue --nodes=1 --ntasks=1 --cpus-per-task=1"
    scripts = f"{folder}/.hpcmake/scripts"
    kill = "--kill-on-invalid-dep=yes"
    assert lines[at + 1 :] == [
        f"  sbatch --parsable --job-name=map {common} --time=0-00:05:00 --array=0-2 --hold"
        f" {scripts}/map.sh",
        f"  sbatch --parsable --job-name=double {common} --time=0-00:05:00 --array=0-2"
        f" --dependency=aftercorr:<id of map> {kill} {scripts}/double.sh",
        f"  sbatch --parsable --job-name=sum {common} --signal=B:USR1@60"
        f" --dependency=afterok:<id of double> {kill} {scripts}/sum.sh",
        "  scontrol release <id of map>",
    ]
    assert files.files() == ["Pipefile"]
    assert not Path(files.folder, ".hpcmake").exists()


def test_a_dry_run_knows_rooms_clusters_and_options(files: Pipe) -> None:
    option = "--cluster-option max_submitted=3"
    lines = files.check(f"-n --cluster sge {option}").out.splitlines()
    scripts = f"{files.folder}/.hpcmake/scripts"
    assert lines[-6:] == [
        "on sge:",
        f"  qsub -terse -h {scripts}/map.sh",
        f"  qsub -terse -hold_jid <id of map> {scripts}/double.sh",
        "  qrls <id of map>",
        "",
        "5 jobs are submitted later, when there is room or what they need is done",
    ]
    verbose = files.check("-n -v --cluster sge sum").out
    assert "\n    #$ -l h_rt=300\n" in verbose
    events = [json.loads(line) for line in files.check("-n --json --cluster pbs").out.splitlines()]
    asked = [event for event in events if event["event"] == "submission"]
    assert [(each["name"], each["jobs"], each["after"]) for each in asked] == [
        ("map", 3, []),
        ("double", 3, ["<id of map>"]),
        ("sum", 1, ["<id of double>"]),
    ]
    assert asked[1]["command"][0] == "qsub"
    assert "error[unknown-cluster]" in files.check("-n --cluster slrm", code=2).err
    files.check("-q")
    files.check("-n --cluster slurm", says="nothing to do: all 7 jobs are fresh\n")
