"""What depends on what: the rules of the Pipefile, or the jobs of a build."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from buildhpc.diagnostics import HpcmakeError
from buildhpc.show.drawing import ASCII, Drawing, Strokes, dot, mermaid, tree
from buildhpc.show.text import columns, draws_lines, one_line, painter

if TYPE_CHECKING:
    from buildhpc.plan.model import JobGraph
    from buildhpc.project import Project
    from buildhpc.rules.model import Pipeline, Rule


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `graph`."""
    add = parser.add_argument
    add("targets", nargs="*", metavar="TARGET", help="draw what a build of these is about")
    add("--jobs", action="store_true", help="draw jobs, the stale ones marked, instead of rules")
    add("--format", choices=["text", "mermaid", "dot", "svg"], default="text", help="default: text")


def run(args: argparse.Namespace) -> int:
    """Print the graph. Raises: HpcmakeError."""
    from buildhpc.commands.common import find_pipefile
    from buildhpc.project import open_project

    project = open_project(find_pipefile(args.file), args.set)
    lines: Iterator[str] = iter(())
    if args.jobs:
        drawing, reasons = draw_jobs(project, args.targets)
        paint = painter(sys.stdout)
        notes = {name: paint("yellow", f"stale: {text}") for name, text in reasons.items()}
        drawing = replace(drawing, notes=notes)
    else:
        graph = _graph(project, args.targets)
        drawing = draw_rules(project.pipeline, graph)
        if args.format == "text":
            lines = _described(project.pipeline, drawing, graph)
    for line in lines:
        print(line)
    for line in _drawn(drawing, args.format):
        print(line)
    return 0


def _drawn(drawing: Drawing, form: str) -> Iterator[str]:
    if form == "text":
        return tree(drawing, Strokes() if draws_lines(sys.stdout) else ASCII)
    if form == "svg":
        from buildhpc.show.svg import svg

        return svg(drawing)
    return mermaid(drawing) if form == "mermaid" else dot(drawing)


def draw_jobs(project: Project, targets: Sequence[str]) -> tuple[Drawing, dict[str, str]]:
    """The jobs of a build, and why those of them are stale that are. Raises: HpcmakeError."""
    from buildhpc.plan.choice import Choice
    from buildhpc.state.database import read_state

    graph, _, plan = project.plan(Choice(tuple(targets)), read_state(Path.cwd()))
    reasons = {step.job.name: step.reason.text for step in plan.steps}
    needs = {}
    for job in graph.jobs:
        needs[job.name] = tuple(other.name for other in graph.before(job))
    return Drawing(needs, {}, reasons.keys()), reasons


def _graph(project: Project, targets: Sequence[str]) -> JobGraph | None:
    """The jobs of a build; None, with a word why, where the whole Pipefile has no such graph.

    Raises: HpcmakeError when the targets asked for cannot be had.
    """
    from buildhpc.plan.choice import Choice
    from buildhpc.state.database import read_state

    try:
        return project.graph(Choice(tuple(targets)), read_state(Path.cwd()))
    except HpcmakeError as error:
        if targets:
            raise
        print(f"note: drawn from the rules alone, since {error.problems[0].text}", file=sys.stderr)
        return None


def draw_rules(pipeline: Pipeline, graph: JobGraph | None) -> Drawing:
    """The rules that the jobs are of; all rules where the jobs cannot be told."""
    if graph is None:
        found = {name: _needed_by_form(pipeline, rule) for name, rule in pipeline.rules.items()}
        return Drawing({name: tuple(needs) for name, needs in found.items()}, {})
    needs: dict[str, dict[str, None]] = {job.rule.name: {} for job in graph.jobs}
    for job in graph.jobs:
        names = needs[job.rule.name]
        for other in graph.before(job):
            if other.rule.name != job.rule.name:
                names[other.rule.name] = None
    return Drawing({name: tuple(each) for name, each in needs.items()}, {})


def _needed_by_form(pipeline: Pipeline, rule: Rule) -> list[str]:
    """The rules whose outputs look like inputs of `rule`, its wildcards named after themselves."""
    from buildhpc.plan.index import PatternIndex
    from buildhpc.rules.scope import JobScope

    index = PatternIndex(pipeline.rules.values())
    try:
        paths = [str(path) for path in JobScope(pipeline, rule, rule.wildcards)["input"]]
    except HpcmakeError:
        return []
    found = [index.candidates(path)[:1] for path in paths]
    names = dict.fromkeys(each.rule.name for option in found for each in option)
    return [name for name in names if name != rule.name]


def _described(pipeline: Pipeline, drawing: Drawing, graph: JobGraph | None) -> Iterator[str]:
    """Each rule: what it makes, from what, and how many jobs it has."""
    jobs: Mapping[str, int] = Counter(job.rule.name for job in graph.jobs) if graph else {}
    for name, rule in pipeline.rules.items():
        if name not in drawing.needs:
            continue
        count = jobs.get(name, 0)
        many = f"  {count:,} job{'s' if count != 1 else ''}" if graph else ""
        yield f"{name}{many}"
        rows = [("  makes", ", ".join(map(str, rule.patterns())))] if rule.outputs else []
        if rule.inputs:
            rows.append(("  from", ", ".join(one_line(item.span.text) for item in rule.inputs)))
        yield from columns(rows)
    unused = [name for name in pipeline.rules if name not in drawing.needs]
    if unused:
        open_ = graph is not None and any(job.awaits for job in graph.jobs)
        why = "not known to be needed before a checkpoint has run" if open_ else "not needed here"
        yield f"{why}: {', '.join(unused)}"
    yield ""
