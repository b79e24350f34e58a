"""Find all that can be known to be wrong, or hardly meant, without running anything."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildhpc.commands.findings import Findings
    from buildhpc.diagnostics import Problem


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `check`."""
    add = parser.add_argument
    add("targets", nargs="*", metavar="TARGET", help="what is built; default: as `hpcmake` alone")
    add("--strict", action="store_true", help="warnings count as errors: exit code 2")
    add("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    """Check the Pipefile; nothing is run or written. Returns the exit code."""
    from buildhpc.commands.common import find_pipefile
    from buildhpc.commands.findings import inspect

    pipefile = find_pipefile(args.file)
    found = inspect(pipefile, args.set, args.targets)
    errors = [problem for problem in found.problems if problem.severity == "error"]
    warnings = [problem for problem in found.problems if problem.severity == "warning"]
    if args.json:
        _print_json(found, errors, warnings)
    else:
        from buildhpc.diagnostics import render

        # Errors last: what a terminal shows at its end.
        for problem in [*warnings, *errors]:
            print(render(problem), end="\n\n", file=sys.stderr)
        sys.stderr.flush()
        print(f"{pipefile}: {_summary(found, len(errors), len(warnings))}")
    return 2 if errors or (args.strict and warnings) else 0


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


def _print_json(found: Findings, errors: Sequence[Problem], warnings: Sequence[Problem]) -> None:
    document = {
        "rules": found.rules,
        "jobs": found.jobs,
        "errors": [_as_json(problem) for problem in errors],
        "warnings": [_as_json(problem) for problem in warnings],
    }
    print(json.dumps(document, indent=2, ensure_ascii=False))


def _as_json(problem: Problem) -> dict[str, object]:
    place: dict[str, object] = {}
    if problem.span is not None:
        line, column = problem.span.source.position(problem.span.start)
        place = {"file": problem.span.source.name, "line": line, "column": column}
    notes = [{"kind": note.kind, "text": note.text} for note in problem.notes]
    return {"slug": problem.slug, "text": problem.text, **place, "notes": notes}
