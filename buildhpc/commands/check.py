"""Find all that can be known to be wrong, or hardly meant, without running anything."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildhpc.commands.check_cluster import Report
    from buildhpc.commands.findings import Findings
    from buildhpc.diagnostics import Problem


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `check`."""
    from buildhpc.commands.common import cluster_option

    add = parser.add_argument
    add("targets", nargs="*", metavar="TARGET", help="what is built; default: as `hpcmake` alone")
    add("--cluster", metavar="NAME", help="and whether this cluster would take the jobs")
    cluster_option(parser)
    add("--strict", action="store_true", help="warnings count as errors: exit code 2")
    add("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    """Check the Pipefile; nothing is run or written. Returns the exit code."""
    from buildhpc.commands.common import find_pipefile
    from buildhpc.commands.findings import inspect

    pipefile = find_pipefile(args.file)
    found = inspect(pipefile, args.set, args.targets)
    report = _clusters(args, pipefile, found) if args.cluster else None
    if report is not None:
        found = replace(found, problems=(*found.problems, *report.problems))
    errors = [problem for problem in found.problems if problem.severity == "error"]
    warnings = [problem for problem in found.problems if problem.severity == "warning"]
    if args.json:
        _print_json(found, errors, warnings, report)
    else:
        from buildhpc.diagnostics import render

        # Errors last: what a terminal shows at its end.
        for problem in [*warnings, *errors]:
            print(render(problem), end="\n\n", file=sys.stderr)
        sys.stderr.flush()
        print(f"{pipefile}: {_summary(found, len(errors), len(warnings))}")
        for each in report.clusters if report else ():
            print(each.line())
    return _code(errors, args.strict and warnings, report)


def _clusters(args: argparse.Namespace, pipefile: str, found: Findings) -> Report | None:
    """What clusters say of the jobs; None where there is no telling what these are."""
    if any(problem.severity == "error" for problem in found.problems):
        return None
    from buildhpc.commands.check_cluster import check_clusters
    from buildhpc.project import open_project

    project = open_project(pipefile, args.set, keep=False)
    return check_clusters(project, args.targets, args.cluster, args.cluster_option)


def _code(errors: Sequence[Problem], counts: object, report: Report | None) -> int:
    if report is not None and report.away and not set(errors).difference(report.away):
        return 3
    return 2 if errors or counts else 0


def _summary(found: Findings, errors: int, warnings: int) -> str:
    parts = []
    if found.rules is not None:
        parts.append(_counted(found.rules, "rule"))
    if found.jobs is not None:
        parts.append(_counted(found.jobs, "job"))
    if errors:
        parts.append(_counted(errors, "error"))
    if warnings:
        parts.append(_counted(warnings, "warning"))
    return ", ".join(parts if errors or warnings else [*parts, "no problems"])


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _print_json(
    found: Findings,
    errors: Sequence[Problem],
    warnings: Sequence[Problem],
    report: Report | None,
) -> None:
    document: dict[str, object] = {
        "rules": found.rules,
        "jobs": found.jobs,
        "errors": [_as_json(problem) for problem in errors],
        "warnings": [_as_json(problem) for problem in warnings],
    }
    if report is not None:
        document["clusters"] = [asdict(each) for each in report.clusters]
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _as_json(problem: Problem) -> dict[str, object]:
    place: dict[str, object] = {}
    if problem.span is not None:
        line, column = problem.span.source.position(problem.span.start)
        place = {"file": problem.span.source.name, "line": line, "column": column}
    notes = [{"kind": note.kind, "text": note.text} for note in problem.notes]
    return {"slug": problem.slug, "text": problem.text, **place, "notes": notes}
