"""What every command needs that takes runs on clusters on: their clusters, and how they run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from buildhpc.commands.cluster_plan import attempt
from buildhpc.commands.describing import spec_maker
from buildhpc.commands.leftovers import remove_used, run_folder, run_marker
from buildhpc.commands.lists import list_file
from buildhpc.messages import clusters as messages
from buildhpc.plan.choice import Choice
from buildhpc.project import Recipes, open_project
from buildhpc.run.advance import Advance
from buildhpc.run.clusters import Clusters
from buildhpc.run.describe import Describer
from buildhpc.run.runner import WATCHED_S
from buildhpc.run.submitter import Conduct
from buildhpc.sites import read_sites
from buildhpc.state import cluster_runs
from buildhpc.state.database import State
from buildhpc.state.plan_file import PlannedJob

# So long a scheduler that does not answer is asked again: by who submits, and by a job that ends.
PATIENCE_S = 300.0
HASTE_S = 60.0


# What a run keeps of its options where nothing is said of them.
NO_OPTIONS: Mapping[str, Any] = {
    "cluster": "",
    "cluster_options": [],
    "pipefile": "",
    "set": [],
    "latency_s": None,
    "keep_incomplete": False,
    "choice": {},
    "retries": None,
    "unprotect": False,
    "priority_groups": False,
    "logs": None,
}


def options_of(args: argparse.Namespace, pipefile: str, choice: Choice) -> dict[str, Any]:
    """What a run keeps of its options, for whoever takes it on; see `NO_OPTIONS`.

    choice: what was asked for, for who plans what hangs on checkpoints.
    """
    return {
        "cluster": args.cluster,
        "cluster_options": args.cluster_option,
        "pipefile": pipefile,
        "set": args.set,
        "latency_s": args.latency,
        "keep_incomplete": args.keep_incomplete,
        "choice": asdict(choice),
        "retries": args.retries,
        "unprotect": args.unprotect,
        "priority_groups": args.priority_groups,
        "logs": args.logs,
    }


def clusters_of(options: Mapping[str, Any], patience_s: float = PATIENCE_S) -> Clusters:
    """The clusters as a run knows them. options: as `options_of`. Raises: HpcmakeError."""
    folder = os.getcwd()
    sites = read_sites(folder, options["cluster_options"])
    scratch = os.path.join(folder, ".hpcmake", "scripts")
    return Clusters(sites, options["cluster"], folder, scratch, patience_s)


def advance_of(state: State, clusters: Clusters, mine: Collection[int] | None = None) -> Advance:
    """What takes the runs of this folder on; mine: only these and those nobody follows."""

    def left(run: int) -> bool:
        return mine is not None and run not in mine and is_watched(state, run)

    late = _Late(state, clusters)
    advance = Advance(
        state, clusters, partial(_conduct, state), late, partial(remove_used, state), left
    )
    advance.grow = partial(_grow, state, clusters)
    return advance


def _grow(state: State, clusters: Clusters, run: int, names: Sequence[str]) -> Mapping[str, str]:
    from buildhpc.commands.grow_run import Growth

    return Growth(state, clusters, describer_of)(run, names)


def describer_of(run: int, pipeline: Any) -> Describer:
    """What describes the jobs of a run. pipeline: a `Pipeline`."""
    marker = run_marker(run)[-8:].replace(":", "-")
    return spec_maker(pipeline, marker, partial(list_file, run_folder(run)))


def _conduct(state: State, run: int) -> Conduct:
    options = cluster_runs.options(state, run)
    return Conduct(run_marker(run), options["latency_s"], options["keep_incomplete"])


class _Late:
    """What attempts run and ask for, where that hangs on files that were not there before."""

    def __init__(self, state: State, clusters: Clusters) -> None:
        self._state = state
        self._clusters = clusters

    def __call__(self, run: int, planned: PlannedJob, number: int) -> Mapping[str, Any]:
        """Raises: HpcmakeError, also where the Pipefile says something else by now."""
        options = cluster_runs.options(self._state, run)
        project = open_project(options["pipefile"], options["set"])
        project.log_to(options.get("logs"))
        details = planned.details()
        outputs: Sequence[str] = details["outputs"]
        graph = project.graph(Choice((outputs[0] if outputs else planned.job,)), self._state)
        found = [job for job in graph.jobs if job.name == planned.job]
        if not found or Recipes(project.pipeline).digest(found[0]) != details["recipe"]:
            raise messages.pipefile_changed(planned.job)
        site = self._clusters.site(planned.cluster)
        return attempt(describer_of(run, project.pipeline), found[0], number, site)


def watched(run: int) -> None:
    """Give a sign of life: who follows a run also takes it on."""
    path = Path(run_folder(run)) / "watched"
    try:
        path.touch()
    except OSError:
        return


def is_watched(state: State, run: int) -> bool:
    """Whether somebody has followed a run a moment ago."""
    try:
        watched_s = os.stat(Path(run_folder(run)) / "watched").st_mtime
    except OSError:
        return False
    return state.now_s() - watched_s <= WATCHED_S


def unwatched(run: int) -> None:
    """Leave the run to those of its jobs that end."""
    with suppress(OSError):
        (Path(run_folder(run)) / "watched").unlink()
