"""What is asked of the state, and of the graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from buildhpc.api.views import Graph

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from buildhpc.project import Project
    from buildhpc.state.database import State
    from buildhpc.state.overview import Overview, Printed

_AT_ONCE = 100


def overview_of(args: argparse.Namespace, rule: str | None) -> Overview:
    """How jobs are; `args` as of `pick_args`. Raises: HpcmakeError."""
    from buildhpc.commands.common import condition_of, fold_receipts, states_of
    from buildhpc.messages import call
    from buildhpc.state.database import read_state
    from buildhpc.state.overview import Asked, overview

    fold_receipts()
    state = read_state(Path.cwd())
    if state is None:
        raise call.no_state()
    return overview(state, Asked(states_of(args.state), rule, args.run, condition_of(args, state)))


def log_of(job: str, attempt: int, stream: str) -> str:
    """What an attempt printed. stream: as of `lines_of`. Raises: HpcmakeError."""
    from buildhpc.commands.logs import is_in_one, say_in_one
    from buildhpc.commands.pick import known_state
    from buildhpc.messages import api as messages
    from buildhpc.messages import call
    from buildhpc.state.overview import printed
    from buildhpc.state.queries import attempts, log_text

    state = known_state()
    rows = attempts(state, job)
    if not rows:
        raise messages.no_record(job)
    place = attempt - 1 if attempt > 0 else attempt
    if not -len(rows) <= place < len(rows):
        raise call.no_such_attempt(job, attempt, len(rows))
    shown = printed(state, [job], place)
    if stream and (in_one := [log for log in shown if is_in_one(log)]):
        say_in_one(in_one, 1, stream)
    if shown and shown[0].text == "":
        return ""  # it went, or a later attempt wrote over it
    return log_text(state, rows[place].id, stream)


def logs_of(state: State, names: Sequence[str], stream: str) -> dict[str, str]:
    """Job -> what its last attempt printed; without those where what is asked for is not apart.

    Raises: HpcmakeError, where that is so for all of them.
    """
    from buildhpc.commands.logs import is_in_one, lines_of, say_in_one
    from buildhpc.state.overview import printed

    found: dict[str, str] = {}
    in_one: list[Printed] = []
    for start in range(0, len(names), _AT_ONCE):
        for log in printed(state, names[start : start + _AT_ONCE], -1):
            if stream and is_in_one(log):
                in_one.append(log)
            else:
                found[log.job] = "".join(f"{line}\n" for line in lines_of(state, log, stream))
    if in_one and not found:
        say_in_one(in_one, len(in_one), stream)
    return found


def graph_of(project: Project, targets: Sequence[str], jobs: bool) -> Graph:
    """The jobs, or the rules, that targets need. Raises: HpcmakeError."""
    from buildhpc.commands.graph import draw_jobs, draw_rules
    from buildhpc.plan.choice import Choice
    from buildhpc.state.database import read_state

    if jobs:
        return Graph(*draw_jobs(project, targets))
    graph = project.graph(Choice(tuple(targets)), read_state(Path.cwd()))
    return Graph(draw_rules(project.pipeline, graph), {})
