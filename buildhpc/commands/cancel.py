"""Stop jobs: those that a scheduler has, and those that run on this machine.

What needs a job that was cancelled is skipped. Files of jobs that are done stay.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildhpc.state.database import State
    from buildhpc.state.queries import JobRow


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `cancel`."""
    from buildhpc.commands.pick import pick_arguments

    pick_arguments(parser, "jobs of this run")


def run(args: argparse.Namespace) -> int:
    """Cancel the jobs that are meant. Returns the exit code. Raises: HpcmakeError."""
    from buildhpc.commands.pick import agreed, counted, known_state, picked
    from buildhpc.state import inbox

    inbox.glance(Path.cwd())
    state = known_state()
    found = [job for job in picked(state, args, "cancel") if job.claim is not None]
    names = [job.name for job in found]
    if not agreed(args, names, "cancel", "cancelled", "no run has such a job"):
        return 0
    stopped, left = cancel_jobs(state, found)
    print(f"{counted(stopped)} cancelled")
    if left:
        print(f"still in the queue: {' '.join(left[:20])}", file=sys.stderr)
    return 1 if left else 0


def cancel_jobs(state: State, jobs: Sequence[JobRow]) -> tuple[int, list[str]]:
    """Cancel jobs that runs have; how many, and the ids that a scheduler does not let go.

    Raises: HpcmakeError
    """
    from buildhpc.state import cluster_runs

    on_clusters = set(cluster_runs.open_cluster_runs(state))
    exported = set(cluster_runs.exported_runs(state))
    by_run: dict[int, list[JobRow]] = {}
    for job in jobs:
        assert job.claim is not None
        by_run.setdefault(job.claim, []).append(job)
    stopped = 0
    left: list[str] = []
    for run_, some in by_run.items():
        if run_ in on_clusters:
            number, there = _on_cluster(state, run_, [job.name for job in some])
            left += there
        elif run_ in exported:
            number = _exported(state, run_, [job.name for job in some])
        else:
            number = _here(state, run_, some)
        stopped += number
    return stopped, left


def _on_cluster(state: State, run_: int, names: Sequence[str]) -> tuple[int, list[str]]:
    """Cancel jobs of a run on clusters; how many, and the ids that do not go away."""
    from buildhpc.commands.moving import advance_of, clusters_of
    from buildhpc.run.cancelling import stop
    from buildhpc.state import cluster_runs

    clusters = clusters_of(cluster_runs.options(state, run_))
    stopped, left = stop(state, clusters, run_, names)
    advance_of(state, clusters).step(look=True)
    # Parts of a job are not counted.
    number = len({*stopped.jobs, *(each.job for each in stopped.running)}.intersection(names))
    return number, [id_ for some in left.values() for id_ in some]


def _exported(state: State, run_: int, names: Sequence[str]) -> int:
    """Give up jobs that people submitted, and cancel what their scheduler has of them."""
    from buildhpc.commands.common import note
    from buildhpc.commands.moving import clusters_of
    from buildhpc.diagnostics import HpcmakeError
    from buildhpc.state import cluster_runs, submissions
    from buildhpc.state.flights import End

    flights = [each for each in submissions.in_flight(state, run_) if each.job in set(names)]
    ends = [End(each.attempt, "cancelled", None, "", "user") for each in flights]
    ended = submissions.verdict(state, ends)
    ids = [each.id for each in ended if each.id]
    try:
        clusters = clusters_of(cluster_runs.options(state, run_))
        clusters.site(ended[0].cluster).cancel(ids)
    except HpcmakeError:
        told = " ".join(ids)
        note(f"its scheduler is not at hand: cancel there what is left of {told}")
    return len(ended)


def _here(state: State, run_: int, jobs: Sequence[JobRow]) -> int:
    """End jobs that run on this machine; of a whole run, the hpcmake that runs them."""
    from buildhpc.commands.common import note
    from buildhpc.state.owners import process_start
    from buildhpc.state.queries import attempts, runs

    (row,) = [each for each in runs(state) if each.id == run_]
    if row.host != socket.gethostname():
        note(f"left alone: run {run_} is on `{row.host}`, process {row.pid}")
        return 0
    running = [job for job in jobs if job.state == "running"]
    if len(jobs) > len(running):
        # Jobs that wait have no process of their own: the run itself is asked to end.
        os.kill(row.pid, signal.SIGINT)
        return len(jobs)
    for job in running:
        used = attempts(state, job.name)[-1].used
        if used.pid and process_start(used.pid) is not None:
            os.killpg(used.pid, signal.SIGTERM)
    return len(running)
