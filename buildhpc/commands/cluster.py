"""A build on clusters: planned here, submitted, followed until it ends or the user leaves."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from buildhpc.commands.checks import check_files, check_protected, check_values
from buildhpc.commands.cluster_plan import PlanLines
from buildhpc.commands.common import command_line, warn
from buildhpc.commands.follow_run import Follower
from buildhpc.commands.grow_run import parted
from buildhpc.commands.leftovers import take_over
from buildhpc.commands.moving import advance_of, clusters_of, describer_of, options_of
from buildhpc.commands.retention import prune
from buildhpc.commands.work import to_claims
from buildhpc.diagnostics import HpcmakeError
from buildhpc.plan.choice import Choice
from buildhpc.plan.model import JobGraph, Plan
from buildhpc.plan.stale import Evidence
from buildhpc.project import Project, Recipes
from buildhpc.run.handlers import run_handlers
from buildhpc.show.text import nothing_to_do
from buildhpc.state import cluster_runs
from buildhpc.state.claims import Claimed
from buildhpc.state.database import State, open_state
from buildhpc.state.plan_file import Open, write_plan
from buildhpc.state.recorder import RunInfo


class ClusterSession:
    """A build on clusters from its plan to its exit code."""

    def __init__(self, args: argparse.Namespace, project: Project, choice: Choice) -> None:
        self._args = args
        self._project = project
        self._choice = choice
        self._state: State = open_state(Path.cwd(), warn)
        self._options = options_of(args, project.pipefile, choice)
        self._clusters = clusters_of(self._options)
        self._run = 0

    def build(self, graph: JobGraph, evidence: Evidence, plan: Plan, seen: bytes) -> int:
        """Submit the plan, and follow it. Returns the exit code. Raises: HpcmakeError."""
        args = self._args
        self._check(graph, plan)
        self._clusters.site(args.cluster)
        info = RunInfo(command_line(args), tuple(args.targets), self._options)
        self._run = cluster_runs.reserve_run(self._state, info, args.cluster)
        try:
            while True:
                claimed = self._claim(graph, evidence, plan, seen)
                if not claimed.changed:
                    break
                seen = self._state.generation()
                graph, evidence, plan = self._project.plan(self._choice, self._state)
                if not plan.steps:
                    cluster_runs.end_run_if_over(self._state, self._run)
                    if not (args.quiet or args.json):
                        print(nothing_to_do(plan.total))
                    return 0
                self._check(graph, plan)
            code = self._go(plan, claimed)
        except HpcmakeError:
            if not cluster_runs.was_submitted(self._state, self._run):
                # Nothing was submitted: it is as if nobody had asked.
                cluster_runs.cancel(self._state, self._run)
                cluster_runs.end_run_if_over(self._state, self._run)
            raise
        prune(self._state)
        return code

    def _claim(self, graph: JobGraph, evidence: Evidence, plan: Plan, seen: bytes) -> Claimed:
        """Write the plan down, then claim its jobs."""
        describer = describer_of(self._run, self._project.pipeline)
        recipes = Recipes(self._project.pipeline)
        known, later = parted(plan.steps, graph)
        first = replace(plan, steps=known)
        lines = PlanLines(first, graph, evidence, describer, recipes, self._clusters)
        made = list(lines.lines(self._args.retries))
        write_plan(self._state.home, self._run, made, Open(later, graph.targets))
        jobs = to_claims(self._project.pipeline, [step.job for step in plan.steps])
        claimed = cluster_runs.open_run(self._state, self._run, jobs, seen)
        take_over(self._state, claimed.dead, self._run)
        return claimed

    def _go(self, plan: Plan, claimed: Claimed) -> int:
        pipeline = self._project.pipeline
        run_handlers(pipeline, "start", {"run": self._run, "log": os.devnull, "failed": []})
        advance = advance_of(self._state, self._clusters, (self._run,))
        follower = Follower(self._args, self._state, self._run, plan, advance, pipeline)
        return follower.detach() if self._args.detach else follower.follow(claimed.foreign)

    def _check(self, graph: JobGraph, plan: Plan) -> None:
        """What would go wrong for sure is said before anything runs. Raises: HpcmakeError."""
        check_protected(plan, unprotect=self._args.unprotect)
        describer = describer_of(self._run, self._project.pipeline)
        check_values(plan, self._project.pipeline, describer)
        check_files(plan, graph, describer)
