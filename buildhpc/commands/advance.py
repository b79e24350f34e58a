"""Take runs on clusters one step on, as jobs do when they end.

What runners told is written down, what left no word is asked of the scheduler, and what becomes
possible is submitted. It may be called at any time, from cron as well.
"""

from __future__ import annotations

import argparse
import time
from contextlib import suppress
from pathlib import Path

from buildhpc.diagnostics import HpcmakeError

# How long a job that ends waits for the lock; and how long one that takes the run on, which
# nobody else may do.
_HASTE_S = 5.0
_PATIENCE_S = 120.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `advance`."""
    add = parser.add_argument
    add("--run", type=int, metavar="N", help="the run that this is about")
    add("--quietly", action="store_true", help="say nothing, and give up where others are at it")
    add("--go-on", metavar="NAME", help="be the scheduler job of that name that takes a run on")


def run(args: argparse.Namespace) -> int:
    """Take a step. Returns the exit code. Raises: HpcmakeError."""
    try:
        return _advance(args)
    except HpcmakeError:
        if args.quietly:
            return 0
        raise


def _advance(args: argparse.Namespace) -> int:
    from buildhpc.commands.common import warn
    from buildhpc.commands.moving import HASTE_S, PATIENCE_S, advance_of, clusters_of
    from buildhpc.run.looking import go_on_mark
    from buildhpc.state import cluster_runs
    from buildhpc.state.database import open_state

    hasty = args.quietly and not args.go_on
    state = open_state(Path.cwd(), warn, _HASTE_S if hasty else _PATIENCE_S)
    runs = cluster_runs.open_cluster_runs(state)
    if not runs:
        return 0
    chosen = args.run if args.run in runs else runs[0]
    if args.go_on:
        _be_gone(go_on_mark(state.home, chosen), args.go_on)
    options = cluster_runs.options(state, chosen)
    clusters = clusters_of(options, HASTE_S if hasty else PATIENCE_S)
    advance = advance_of(state, clusters)
    step = advance.step(look=not hasty)
    submitted = step.submitted
    while args.go_on and advance.unsure:
        time.sleep(advance.poll_s)
        submitted += advance.step(look=True).submitted
    if not args.quietly:
        for problem in step.problems:
            warn(problem)
        print(f"{submitted:,} jobs submitted, {len(step.told):,} told of")
    return 0


def _be_gone(mark: Path, name: str) -> None:
    """This job goes on now: what it leaves to be done needs another one."""
    with suppress(OSError):
        if mark.read_text(encoding="utf-8").split()[-1:] == [name]:
            mark.unlink()
