"""`--touch`: what is there counts as made; nothing runs."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from buildhpc import disk
from buildhpc.commands.build import CACHE
from buildhpc.commands.common import warn
from buildhpc.commands.work import to_claim
from buildhpc.plan.model import Job, JobGraph, Plan
from buildhpc.plan.recipe import digest_of
from buildhpc.plan.stamps import SMALL, Record, Stamp
from buildhpc.project import Project, Recipes
from buildhpc.state import fresh
from buildhpc.state.changes import touch_records
from buildhpc.state.database import open_state, read_state

_SHOWN = 10


class _Passed(NamedTuple):
    """A job that was passed over and what it lacks; None: it makes no files."""

    job: str
    lacks: str | None


def touch(args: argparse.Namespace, project: Project, graph: JobGraph, plan: Plan) -> int:
    """Record as done the jobs of the plan whose outputs are there. Returns the exit code."""
    jobs = {step.job: None for step in plan.steps}
    jobs.update((graph.maker[path], None) for path in plan.edited)  # their new content counts
    jobs.update(_unrecorded(graph))
    passed = [each for job in jobs if (each := _lacking(job, project.disk)) is not None]
    names = {each.job for each in passed}
    accepted = [job for job in jobs if job.name not in names]
    foreign: dict[str, int] = {}
    if accepted:
        state = open_state(Path.cwd(), warn)
        recipes = Recipes(project.pipeline)
        now_ns = fresh.clock(CACHE)
        triples = []
        for job in accepted:
            text = recipes.text(job)
            record = _record(job, digest_of(text), project.disk, now_ns)
            triples.append((to_claim(job), record, text))
        foreign = touch_records(state, triples)
        state.close()
    _tell(args, len(accepted) - len(foreign), passed, foreign)
    return 0


def _unrecorded(graph: JobGraph) -> dict[Job, None]:
    """The jobs that make files and that the state does not know: only times speak for them."""
    state = read_state(Path.cwd())
    records = state.records() if state else {}
    return {job: None for job in graph.jobs if job.outputs and job.name not in records}


def _lacking(job: Job, stamps: Mapping[str, Stamp]) -> _Passed | None:
    """Why a job cannot be accepted, None when it can. A `temp` output may be gone."""
    if not job.outputs:
        return _Passed(job.name, None)
    missing = (path for path in job.outputs if path not in job.temp and stamps.get(path) is None)
    path = next(missing, None)
    return None if path is None else _Passed(job.name, path)


def _record(job: Job, recipe: str, stamps: Mapping[str, Stamp], now_ns: int) -> Record:
    """The record of a job as if it had just made what is there."""
    inputs = tuple(stamps.get(path) for path in job.inputs)
    hashes = {}
    for path, stamp in zip(job.inputs, inputs, strict=True):
        if stamp is None or os.path.isdir(path):
            continue
        racy = fresh.is_racy(stamp.mtime_ns, now_ns) and stamp.size <= SMALL
        if (racy or path in job.content) and (known := disk.digest(path)) is not None:
            hashes[str(path)] = known
    outputs = tuple(stamps.get(path) for path in job.outputs)
    names = tuple(map(str, job.inputs))
    return Record("done", "", recipe, names, inputs, job.outputs, outputs, hashes)


def _tell(
    args: argparse.Namespace, accepted: int, passed: list[_Passed], foreign: Mapping[str, int]
) -> None:
    if args.json:
        over = [each.job for each in passed]
        print(json.dumps({"event": "touched", "jobs": accepted, "passed_over": over}))
        return
    lines = [_passed_line(each) for each in passed]
    lines += [f"passed over: `{job}` is run by run {run} now" for job, run in foreign.items()]
    for line in lines[:_SHOWN]:
        print(line, file=sys.stderr)
    if len(lines) > _SHOWN:
        print(f"passed over: and {len(lines) - _SHOWN:,} more", file=sys.stderr)
    if args.quiet:
        return
    if not accepted and not lines:
        print("nothing to accept: everything is fresh")
    else:
        what = "1 job counts" if accepted == 1 else f"{accepted:,} jobs count"
        print(f"{what} as done; {len(lines):,} passed over" if lines else f"{what} as done")


def _passed_line(passed: _Passed) -> str:
    if passed.lacks is None:
        return f"passed over: `{passed.job}` makes no files"
    return f"passed over: `{passed.job}`, since `{passed.lacks}` does not exist"
