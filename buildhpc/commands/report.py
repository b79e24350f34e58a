"""Write one page of HTML: summary, failures with logs, timeline, resources, graph."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildhpc.state.database import State

_FAILURES = 50
_ATTEMPTS = 3000
_RUNS = 50


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `report`."""
    add = parser.add_argument
    add(
        "-o",
        "--output",
        default="hpcmake-report.html",
        metavar="FILE",
        help="default: hpcmake-report.html",
    )


def run(args: argparse.Namespace) -> int:
    """Write the page. Returns the exit code. Raises: HpcmakeError."""
    from buildhpc.commands.common import fold_receipts
    from buildhpc.messages import call
    from buildhpc.messages import commands as messages
    from buildhpc.show.page import Facts, page
    from buildhpc.state.database import read_state
    from buildhpc.state.overview import Asked, overview
    from buildhpc.state.queries import runs
    from buildhpc.state.usage import ran, used

    fold_receipts()
    state = read_state(Path.cwd())
    if state is None:
        raise call.no_state()
    found = overview(state, Asked(failures=_FAILURES))
    failed = [*found.failed, *found.lost]
    facts = Facts(
        *(f"hpcmake: {Path.cwd().name}", time.time(), found, runs(state)[-_RUNS:]),
        *(ran(state, _ATTEMPTS), used(state), _graph(args), failed),
        _logs(state, [job.job for job in failed]),
    )
    try:
        Path(args.output).write_text("\n".join(page(facts)), "utf-8", "backslashreplace")
    except OSError as error:
        raise messages.cannot_write(args.output, (error.strerror or str(error)).lower()) from None
    print(f"wrote `{args.output}`")
    return 0


def _logs(state: State, names: Sequence[str]) -> dict[str, str]:
    from buildhpc.commands.logs import lines_of
    from buildhpc.state.overview import printed

    return {log.job: "\n".join(lines_of(state, log)) for log in printed(state, names, -1)}


def _graph(args: argparse.Namespace) -> list[str]:
    """The rules of the Pipefile; none where that cannot be read now."""
    from buildhpc.commands.common import find_pipefile
    from buildhpc.commands.graph import draw_rules
    from buildhpc.diagnostics import HpcmakeError
    from buildhpc.plan.choice import Choice
    from buildhpc.project import open_project
    from buildhpc.show.svg import svg
    from buildhpc.state.database import read_state

    try:
        project = open_project(find_pipefile(args.file), args.set)
        graph = project.graph(Choice(), read_state(Path.cwd()))
    except HpcmakeError as error:
        return [f"<p>cannot be drawn: {_escaped(error.problems[0].text)}</p>"]
    return list(svg(draw_rules(project.pipeline, graph)))


def _escaped(text: str) -> str:
    from html import escape

    return escape(text)
