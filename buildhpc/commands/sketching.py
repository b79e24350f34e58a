"""A plan as it would go to clusters: for who checks it, shows it, or writes it down."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from buildhpc.commands.cluster_plan import PlanLines
from buildhpc.commands.moving import clusters_of
from buildhpc.plan.model import JobGraph, Plan
from buildhpc.plan.stale import Evidence
from buildhpc.project import Project, Recipes
from buildhpc.run.clusters import Clusters
from buildhpc.run.describe import Describer

Planned = tuple[JobGraph, Evidence, Plan]


def clusters_for(cluster: str, options: Sequence[str]) -> Clusters:
    """The clusters of the working folder; `cluster` is that of rules that name none.

    options: as `--cluster-option` gives them. Raises: HpcmakeError.
    """
    return clusters_of({"cluster": cluster, "cluster_options": options})


def plan_lines(
    project: Project,
    planned: Planned,
    clusters: Clusters,
    list_file: Callable[[Sequence[str]], str] = lambda _: "LIST-OF-INPUTS",
) -> PlanLines:
    """What makes the lines of a plan file, without a run.

    list_file: makes the file that lists inputs, where a recipe wants one.
    """
    graph, evidence, plan = planned
    describer = Describer(project.pipeline, "sketch", list_file)
    return PlanLines(plan, graph, evidence, describer, Recipes(project.pipeline), clusters)


def room_of(clusters: Clusters, alias: str) -> int:
    """How many jobs of a run may be in a queue; one place is for hpcmake itself."""
    most = clusters.site(alias).settings.max_submitted
    return max(1, most - 1)


def here(*parts: str) -> str:
    """An absolute path in the working folder."""
    return os.path.join(Path.cwd(), *parts)
