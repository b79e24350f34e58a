"""The schedulers that `tests/clusters` boots are real ones, and break and mend as told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from real_schedulers import Cluster, Pbs, Sge, Slurm, script

IN_FULL = pytest.mark.skipif(
    int(os.environ.get("HPCMAKE_ROUNDS", "30")) < 1000, reason="with HPCMAKE_ROUNDS=1000"
)

FIRST_PORT = int(os.environ.get("HPCMAKE_CLUSTERS_PORT", "17300"))


def test_slurm_runs_a_job_as_who_submitted_it(slurm: Slurm) -> None:
    job = slurm.submit("--wrap", "id -u; hostname; echo $SLURM_CLUSTER_NAME", "-o", "out")
    slurm.wait_for_state(job, "COMPLETED")
    told = (slurm.folder / "out").read_text().split()
    assert [told[0], told[2]] == [str(os.geteuid()), "alpha"]
    slurm.wait_for(lambda: slurm.accounted(job) == {job: ("COMPLETED", "0:0")}, "accounted")


def test_slurm_has_its_partitions_and_nodes(slurm: Slurm, slurm_beta: Slurm) -> None:
    for cluster, count in ((slurm, 4), (slurm_beta, 2)):
        told = cluster.run("sinfo", "-h", "-o", "%R %D").out.split("\n")
        assert sorted(told) == ["", f"debug {count}", f"long {count}", "short 1"]


def test_jobs_of_slurm_wait_for_each_other(slurm: Slurm) -> None:
    first = slurm.submit("-H", "--wrap", "sleep 0.5; echo first >> log")
    second = slurm.submit("-d", f"afterok:{first}", "--wrap", "echo second >> log")
    assert [slurm.state(first), slurm.state(second)] == ["PENDING", "PENDING"]
    slurm.run("scontrol", "release", first)
    slurm.wait_for_state(second, "COMPLETED")
    assert (slurm.folder / "log").read_text() == "first\nsecond\n"


def test_what_waits_for_a_failed_job_stays_or_is_cancelled_as_the_cluster_has_it(
    slurm: Slurm, slurm_beta: Slurm
) -> None:
    waiting = {}
    for cluster in (slurm, slurm_beta):
        failing = cluster.submit("-H", "--wrap", "exit 3")
        waiting[cluster] = cluster.submit("-d", f"afterok:{failing}", "--wrap", "true")
        cluster.run("scontrol", "release", failing)
    slurm_beta.wait_for_state(waiting[slurm_beta], "CANCELLED")
    slurm.wait_for(lambda: "DependencyNeverSatisfied" in reason(slurm, waiting[slurm]))
    assert slurm.state(waiting[slurm]) == "PENDING"


def reason(cluster: Slurm, job: str) -> str:
    """Why a job of Slurm is pending."""
    return cluster.run("squeue", "-h", "-o", "%r", "-j", job).out.strip()


def test_slurm_runs_arrays(slurm: Slurm, slurm_beta: Slurm) -> None:
    job = slurm.submit("--array=1-3", "--wrap", "exit $((SLURM_ARRAY_TASK_ID == 2))")
    ended = {"1": ("COMPLETED", "0:0"), "2": ("FAILED", "1:0"), "3": ("COMPLETED", "0:0")}
    expected = {f"{job}_{task}": result for task, result in ended.items()}
    slurm.wait_for(lambda: slurm.accounted(job) == expected, "accounted")
    assert slurm.states(job) == {task: result[0] for task, result in expected.items()}
    refused = slurm_beta.run("sbatch", "--array=101", "--wrap", "true", code=1)
    assert "Invalid job array specification" in refused.err


def test_beta_forgets_a_job_that_its_accounting_remembers(slurm_beta: Slurm) -> None:
    job = slurm_beta.submit("--wrap", "exit 3")
    slurm_beta.wait_for(lambda: slurm_beta.accounted(job) == {job: ("FAILED", "3:0")}, "accounted")
    slurm_beta.wait_for(lambda: not slurm_beta.states(job), "forgotten")
    assert slurm_beta.accounted(job) == {job: ("FAILED", "3:0")}


def test_slurm_ends_a_job_whose_time_is_over(slurm: Slurm) -> None:
    job = slurm.submit("--wrap", "sleep 100")
    slurm.wait_for_state(job, "RUNNING")
    slurm.fault("expire", job)
    slurm.wait_for_state(job, "TIMEOUT", limit_s=60)


@pytest.mark.breaks
def test_a_job_ends_while_the_controller_of_slurm_is_down(slurm: Slurm) -> None:
    job = slurm.submit("--wrap", "while [ ! -e go ]; do sleep 0.1; done; exit 4")
    slurm.wait_for_state(job, "RUNNING")
    slurm.fault("controller-down")
    failed = slurm.run("squeue", code=1)
    assert "Unable to contact slurm controller" in failed.err
    (slurm.folder / "go").touch()
    slurm.fault("controller-up")
    slurm.wait_for_state(job, "FAILED")
    slurm.wait_for(lambda: slurm.accounted(job) == {job: ("FAILED", "4:0")}, "accounted")


@pytest.mark.breaks("database")
def test_slurm_accounts_later_what_ran_while_the_database_was_down(slurm: Slurm) -> None:
    slurm.fault("database-down")
    job = slurm.submit("--wrap", "true")
    slurm.wait_for_state(job, "COMPLETED")
    slurm.run("sacct", code=1)
    slurm.fault("database-up")
    slurm.wait_for(lambda: slurm.accounted(job) == {job: ("COMPLETED", "0:0")}, "accounted")


@pytest.mark.breaks
def test_slurm_loses_a_node_and_gets_it_back(slurm: Slurm) -> None:
    job = slurm.submit("-w", f"{slurm.name}2", "--no-requeue", "--wrap", "sleep 100")
    slurm.wait_for_state(job, "RUNNING")
    slurm.fault("node-down", "2")
    slurm.wait_for_state(job, "NODE_FAIL")
    slurm.fault("node-up", "2")
    job = slurm.submit("-w", f"{slurm.name}2", "--wrap", "true")
    slurm.wait_for_state(job, "COMPLETED")


@pytest.mark.breaks
def test_slurm_starts_nothing_on_a_drained_node(slurm: Slurm) -> None:
    slurm.fault("drain", "1")
    job = slurm.submit("-w", f"{slurm.name}1", "--wrap", "true")
    slurm.wait_for(lambda: "ReqNodeNotAvail" in reason(slurm, job), "why it waits")
    slurm.fault("node-up", "1")
    slurm.wait_for_state(job, "COMPLETED")


@IN_FULL
@pytest.mark.breaks
def test_a_slurm_that_is_found_broken_is_booted_anew(slurm: Slurm) -> None:
    slurm.fault("node-down", "1")
    slurm.fault("controller-down")
    done = script("slurm-up", slurm.name)
    assert done.returncode == 0, done.stderr
    job = slurm.submit("-w", f"{slurm.name}1", "--wrap", "true")
    slurm.wait_for_state(job, "COMPLETED")


@IN_FULL
@pytest.mark.breaks
def test_an_sge_that_is_found_broken_is_booted_anew(sge: Sge) -> None:
    sge.fault("execd-down")
    done = script("sge-up")
    assert done.returncode == 0, done.stderr
    job = sge.submit("-b", "y", "-N", "job", "true")
    sge.wait_for(lambda: sge.accounted(job), "accounted")


def test_sge_runs_a_job_as_who_submitted_it(sge: Sge) -> None:
    command = ("-b", "y", "-N", "job", "-cwd", "-j", "y", "-o", "out", "id -u; exit 3")
    job = sge.submit(*command)
    sge.wait_for(lambda: sge.accounted(job), "accounted")
    assert (sge.folder / "out").read_text() == f"{os.geteuid()}\n"
    record = sge.accounted(job)[0]
    assert [record[name] for name in ("jobname", "failed", "exit_status")] == ["job", "0", "3"]
    assert sge.state(job) == ""


def test_jobs_of_sge_wait_for_each_other(sge: Sge) -> None:
    options = ("-b", "y", "-N", "job", "-cwd")
    first = sge.submit("-h", *options, "sleep 0.5; echo first >> log")
    second = sge.submit("-hold_jid", first, *options, "echo second >> log")
    assert [sge.state(first), sge.state(second)] == ["hqw", "hqw"]
    sge.run("qrls", first)
    sge.wait_for(lambda: sge.accounted(second), "the second is accounted")
    assert (sge.folder / "log").read_text() == "first\nsecond\n"


def test_sge_runs_arrays(sge: Sge) -> None:
    job = sge.submit("-h", "-t", "1-3", "-b", "y", "-N", "job", "-cwd", "exit $SGE_TASK_ID")
    assert sge.states(job) == {f"{job}.1-3:1": "hqw"}
    sge.run("qrls", job)
    sge.wait_for(lambda: len(sge.accounted(job)) == 3, "accounted")
    codes = {record["taskid"]: record["exit_status"] for record in sge.accounted(job)}
    assert codes == {"1": "1", "2": "2", "3": "3"}


@pytest.mark.breaks
def test_a_job_ends_while_the_daemons_of_sge_are_down(sge: Sge) -> None:
    command = "while [ ! -e go ]; do sleep 0.1; done; exit 4"
    job = sge.submit("-b", "y", "-N", "job", "-cwd", command)
    sge.wait_for_state(job, "r")
    sge.fault("execd-down")
    sge.fault("qmaster-down")
    failed = sge.run("qstat", code=1)
    assert "unable to send message to qmaster" in failed.err
    (sge.folder / "go").touch()
    sge.fault("qmaster-up")
    sge.fault("execd-up")
    sge.wait_for(lambda: sge.accounted(job), "accounted", limit_s=60)
    assert sge.accounted(job)[0]["exit_status"] == "4"


def test_pbs_speaks_of_jobs_as_torque_does(pbs: Pbs) -> None:
    write_script(pbs, "echo $PBS_JOBID $PBS_O_WORKDIR $PBS_JOBNAME; sleep 0.5")
    job = pbs.submit(
        "-h", "-N", "name", "-l", "walltime=00:05:00", "-j", "oe", "-o", "out", "script"
    )
    after = pbs.submit("-W", f"depend=afterok:{job}", "-j", "oe", "-o", "out2", "script")
    assert [pbs.state(job), pbs.state(after)] == ["Q", "Q"]
    pbs.run("qrls", job)
    pbs.wait_for_state(after, "C")
    assert (pbs.folder / "out").read_text() == f"{job} {pbs.folder} name\n"
    assert (pbs.folder / "out2").read_text().startswith(f"{after} ")


def test_pbs_deletes_a_job(pbs: Pbs) -> None:
    write_script(pbs, "sleep 100")
    job = pbs.submit("script")
    pbs.wait_for_state(job, "R")
    pbs.run("qdel", job)
    pbs.wait_for_state(job, "C")


def write_script(cluster: Cluster, text: str) -> None:
    """Write a script to be submitted."""
    (cluster.folder / "script").write_text(f"#!/bin/sh\n{text}\n")


def test_what_a_test_leaves_is_cancelled_and_what_others_run_is_not(slurm: Slurm, sge: Sge) -> None:
    job = ("-b", "y", "-N", "job", "sleep 100")
    for cluster, words in ((slurm, ("--wrap", "sleep 100")), (sge, job)):
        folder = cluster.folder
        cluster.folder = folder / type(cluster).__name__
        cluster.folder.mkdir()
        other = type(cluster)(cluster.env, folder / "other", broken=frozenset())
        other.folder.mkdir(exist_ok=True)
        theirs, ours = other.submit(*words), cluster.submit(*words)
        assert [cluster.jobs(), other.jobs()] == [[ours], [theirs]]
        cluster.end()
        assert [cluster.jobs(), other.jobs()] == [[], [theirs]]
        other.end()


def test_nothing_listens_beyond_this_machine(slurm: Slurm, sge: Sge) -> None:
    del slurm, sge  # they are up
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for row in Path(table).read_text().splitlines()[1:]:
            address, _, port = row.split()[1].partition(":")
            if row.split()[3] == "0A" and 0 <= int(port, 16) - FIRST_PORT < 200:
                found.add(address)
    assert found
    assert all(address.endswith("7F") for address in found)  # 127.*, little endian
