"""`-n --cluster`: how a build would submit its jobs."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from buildhpc.commands.grow_run import parted
from buildhpc.commands.sketching import (
    Planned,
    clusters_for,
    here,
    plan_lines,
    room_of,
)
from buildhpc.project import Project
from buildhpc.run.asks import Files
from buildhpc.run.clusters import Site
from buildhpc.run.sketch import (
    Sketch,
    choose_first,
    drafts_of,
    plain_names,
    sketches,
    tries_of,
)
from buildhpc.show.text import painter
from buildhpc.state.plan_file import as_planned
from buildhpc.state.submissions import Submission

_ID = re.compile(r"(<id of [^>]+>)")


def show_submissions(args: argparse.Namespace, project: Project, planned: Planned) -> None:
    """Print the commands that submit the first jobs of a plan. Raises: HpcmakeError."""
    found, later = _sketched(args, project, planned)
    if args.json:
        _as_json(found)
    elif not args.quiet:
        for line in _lines(found, later, scripts=args.verbose):
            print(line)


def submit_lines(args: argparse.Namespace, project: Project, planned: Planned) -> list[str]:
    """The command lines that submit the first jobs of a plan. Raises: HpcmakeError."""
    found, _ = _sketched(args, project, planned)
    lines = []
    for _, some in groupby(found, lambda each: each.site.alias):
        these = list(some)
        lines += [_shown(_command(each)) for each in these]
        lines += [_shown(words) for words in _releases(these[0].site, these)]
    return lines


def _sketched(
    args: argparse.Namespace, project: Project, planned: Planned
) -> tuple[Sequence[Sketch], int]:
    """The first submissions of a plan, and how many of its jobs come later."""
    clusters = clusters_for(args.cluster, args.cluster_option)
    clusters.site(args.cluster)
    graph, evidence, plan = planned
    known, _ = parted(plan.steps, graph)
    lines = plan_lines(project, (graph, evidence, replace(plan, steps=known)), clusters)
    jobs = as_planned(lines.lines(args.retries))
    first = choose_first(jobs, lambda alias: room_of(clusters, alias))
    made = drafts_of(clusters, tries_of(jobs, first))
    slice_ = here(".hpcmake", "run-N", "slice-S")
    files = Files(here(), f"{slice_}.jsonl", f"{slice_}.out")
    return sketches(clusters, made, plain_names(made), files, _id_of), len(jobs) - len(first)


def _id_of(site: Site, made: Submission, element: int | None) -> str:
    whole = f"<id of {made.name}>"
    return whole if element is None else site.scheduler.element_id(whole, element)


def _command(sketch: Sketch) -> list[str]:
    site, ask = sketch.site, sketch.ask
    return site.scheduler.submit(ask, site.there(site.script_path(ask.name)))


def _releases(site: Site, found: Sequence[Sketch]) -> list[list[str]]:
    held = [f"<id of {each.ask.name}>" for each in found if each.ask.held]
    return site.scheduler.release(held)


def _as_json(found: Sequence[Sketch]) -> None:
    for each in found:
        fields = {
            "event": "submission",
            "cluster": each.site.alias,
            "name": each.ask.name,
            "jobs": each.jobs,
            "elements": each.ask.elements,
            "after": [edge.id for edge in each.ask.after],
            "command": _command(each),
        }
        print(json.dumps(fields))


def _lines(found: Sequence[Sketch], later: int, *, scripts: bool) -> Iterator[str]:
    paint = painter(sys.stdout)
    for alias, some in groupby(found, lambda each: each.site.alias):
        these = list(some)
        site = these[0].site
        yield ""
        host = f", at {site.settings.host}" if site.settings.host else ""
        yield f"on {paint('bold', alias)}{host}:"
        for each in these:
            yield f"  {_shown(_command(each))}"
            if scripts:
                text = site.scheduler.script(each.ask)
                yield from (paint("dim", f"    {line}") for line in text.splitlines())
        for words in _releases(site, these):
            yield f"  {_shown(words)}"
    if later:
        what = "1 job is" if later == 1 else f"{later:,} jobs are"
        yield ""
        yield f"{what} submitted later, when there is room or what they need is done"


def _shown(words: Sequence[str]) -> str:
    """Words as for bash, but for the places of ids."""
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    parts = _ID.split(word)
    return "".join(
        part if number % 2 else shlex.quote(part) if part or len(parts) == 1 else ""
        for number, part in enumerate(parts)
    )
