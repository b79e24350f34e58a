"""`hpcmake [TARGET...]`: plan what is stale and run it here."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from buildhpc.state import fresh
from buildhpc.state.snapshot import generation

if TYPE_CHECKING:
    from buildhpc.plan.model import JobGraph, Plan
    from buildhpc.project import Choice, Project

HOME = Path(".hpcmake")
CACHE = HOME / "cache"


def run(args: argparse.Namespace) -> int:
    """Build, or show what a build would do. Returns the exit code."""
    from buildhpc.commands.common import choice_of, find_pipefile

    pipefile = find_pipefile(args.file)
    choice = choice_of(args)
    key = fresh.request_key(pipefile, args.set, choice, os.environ.get("PYTHONPATH"))
    if _may_be_known(args):
        jobs = fresh.still_fresh(CACHE, key, generation(HOME / "state.db"))
        if jobs is not None:
            _say_nothing_to_do(args, jobs)
            return 0
    return _planned_build(args, pipefile, choice, key)


def _may_be_known(args: argparse.Namespace) -> bool:
    return not (args.touch or args.force or args.force_all or args.force_rule)


def _say_nothing_to_do(args: argparse.Namespace, jobs: int) -> None:
    if args.json:
        import json

        print(json.dumps({"event": "nothing-to-do", "jobs": jobs}))
    elif not args.quiet:
        what = "the job is" if jobs == 1 else f"all {jobs:,} jobs are"
        print(f"nothing to do: {what} fresh")


def _planned_build(args: argparse.Namespace, pipefile: str, choice: Choice, key: str) -> int:
    import gc

    from buildhpc.project import open_project
    from buildhpc.state.database import read_state

    # Planning only builds up: the collector would walk all of it again and again, in vain.
    gc.disable()
    looked_ns = 0 if args.dry_run else fresh.clock(CACHE) if HOME.is_dir() else 0
    seen = generation(HOME / "state.db")
    project = open_project(pipefile, args.set, keep=not args.dry_run and HOME.is_dir())
    graph, evidence, plan = project.plan(choice, read_state(Path.cwd()))
    gc.enable()
    gc.freeze()
    if args.dry_run:
        from buildhpc.commands.dry import show_plan

        return show_plan(args, graph, plan)
    if args.touch:
        from buildhpc.commands.touch import touch

        return touch(args, project, graph, plan)
    if plan.steps:
        from buildhpc.commands.session import Session

        return Session(args, project, choice).build(graph, evidence, plan, seen)
    _tidy(graph, project)
    _tell_edited(args, plan)
    if looked_ns and not project.world.opaque and not plan.edited:
        _remember(project, graph, key, seen, looked_ns)
    _say_nothing_to_do(args, plan.total)
    return 0


def _remember(
    project: Project, graph: JobGraph, key: str, seen: bytes, looked_ns: int
) -> None:
    paths = {path: None for job in graph.jobs for path in (*job.inputs, *job.outputs)}
    paths |= dict.fromkeys(graph.targets)
    stamps, missing = {}, []
    for path in paths:
        stamp = project.disk.get(path)
        if stamp is None:
            missing.append(str(path))
        else:
            stamps[str(path)] = stamp
    folders = [path for path in stamps if path in project.disk.folders]
    plan = fresh.FreshPlan(
        project.world.trace, seen, len(graph.jobs), stamps, folders, missing
    )
    fresh.remember(CACHE, key, plan, looked_ns)


def _tidy(graph: JobGraph, project: Project) -> None:
    """Remove temp files that an interrupted build left though nothing needs them."""
    if not any(job.temp for job in graph.jobs):
        return
    from buildhpc.commands.session import remove_files
    from buildhpc.commands.work import TempKeeper

    keeper = TempKeeper(graph, ())
    remove_files(keeper.left_over(lambda path: path in project.disk))


def _tell_edited(args: argparse.Namespace, plan: Plan) -> None:
    if plan.edited and not args.quiet:
        for line in edited_lines(plan.edited):
            print(line, file=sys.stderr)


def edited_lines(paths: Sequence[str]) -> list[str]:
    """What is said of outputs that were changed by hand and stay."""
    lines = [f"kept: `{path}` was changed by hand since it was made" for path in paths[:10]]
    if len(paths) > 10:
        lines.append(f"kept: and {len(paths) - 10} more")
    return lines

