"""Lost jobs: found by asking the schedulers, shown with what they printed last, reset."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildhpc.state.database import State
    from buildhpc.state.overview import Asked

_LINES = 10
# So long it is looked whether what left its queue sent word, or is lost.
_LOOK_S = 120.0


def deal_with(state: State, asked: Asked, args: argparse.Namespace) -> int:
    """What `status` does about lost jobs. Returns the exit code. Raises: HpcmakeError."""
    from buildhpc.commands.pick import known_state, reset_jobs
    from buildhpc.state.queries import Where, jobs

    if args.reset_lost and not args.dry_run:
        state = known_state()
        find_lost(state)
    meant = Where(rule=asked.rule, run=asked.run, states=("lost",), condition=asked.condition)
    found = jobs(state, meant)
    if args.lost_logs:
        show_logs(state, [job.name for job in found])
    if args.reset_lost:
        reset_jobs(state, found, args)
    elif not found:
        print("no job is lost")
    return 0


def find_lost(state: State) -> None:
    """Ask the schedulers of runs on clusters, until it is known what became of each job."""
    from buildhpc.commands.moving import advance_of, clusters_of
    from buildhpc.diagnostics import HpcmakeError
    from buildhpc.state import cluster_runs

    runs = cluster_runs.open_cluster_runs(state)
    if not runs:
        return
    try:
        advance = advance_of(state, clusters_of(cluster_runs.options(state, runs[0]), 0.0))
        late_s = time.monotonic() + _LOOK_S
        step = advance.step(look=True)
        while step.unsure and time.monotonic() < late_s:
            time.sleep(advance.poll_s)
            step = advance.step(look=True)
    except HpcmakeError as error:
        print(error, file=sys.stderr)
        return
    for alias in (*step.away, *step.unanswered):
        print(f"not asked: `{alias}` does not answer", file=sys.stderr)


def show_logs(state: State, names: Sequence[str]) -> None:
    """Print the last lines of each of the jobs, led by its name."""
    from collections import deque

    from buildhpc.commands.logs import lines_of, print_lines
    from buildhpc.state.overview import printed

    for log in printed(state, names, -1):
        lines = deque(lines_of(state, log), _LINES)
        print_lines(log.job, lines or ["(printed nothing)"])
