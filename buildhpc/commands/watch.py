"""Follow the runs on clusters of this folder, and keep submitting what becomes possible.

For sites whose nodes may not submit, and for who left a run and comes back. Ctrl-C leaves; the
jobs go on.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from buildhpc.diagnostics import HpcmakeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from buildhpc.run.advance import Advance
    from buildhpc.state.database import State

_GLANCE_S = 1.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `watch`."""
    add = parser.add_argument
    add("--every", metavar="TIME", help="look so often, e.g. `10m`, instead of as the site says")
    add("-n", "--times", type=int, metavar="N", help="look so many times at most")
    add("-q", "--quiet", action="store_true", help="say nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Follow until no run on a cluster is left. Returns the exit code. Raises: HpcmakeError."""
    code = follow_runs(args.every, args.times, _nothing if args.quiet else _shower())
    if code is None and not args.quiet:
        print("nothing to watch: no run is on a cluster")
    return code or 0


def follow_runs(every: str | None, times: int | None, show: Callable[[State], None]) -> int | None:
    """Follow until no run on a cluster is left; the exit code, None where there was none.

    every: how often to look; None: as the site says. times: at most so often. show: called after
    each look. Raises: HpcmakeError.
    """
    from buildhpc.commands.common import seconds_of, warn
    from buildhpc.commands.moving import advance_of, clusters_of
    from buildhpc.state import cluster_runs
    from buildhpc.state.database import open_state

    every_s = seconds_of("--every", every) if every else None
    state = open_state(Path.cwd(), warn)
    runs = cluster_runs.open_cluster_runs(state)
    if not runs:
        return None
    advance = advance_of(state, clusters_of(cluster_runs.options(state, runs[0])))
    _watch(state, advance, every_s, times, show)
    return _code(state, runs)


def _watch(
    state: State,
    advance: Advance,
    every_s: float | None,
    times: int | None,
    show: Callable[[State], None],
) -> None:
    """Look and take on, until no run is left."""
    from buildhpc.commands.common import note
    from buildhpc.commands.moving import watched
    from buildhpc.state import cluster_runs, receipts

    looks = 0
    due_s = 0.0
    generation = b""
    warned = False
    while runs := cluster_runs.open_cluster_runs(state):
        look = time.monotonic() >= due_s
        news = receipts.any_there(str(state.home / "inbox")) or state.generation() != generation
        if look:
            for run_ in runs:
                watched(run_)
            due_s = time.monotonic() + (every_s or advance.poll_s)
            looks += 1
        if look or news:
            try:
                advance.step(look=look)
            except HpcmakeError as error:
                if not warned:
                    note(str(error))
                warned = True
            generation = state.generation()
            show(state)
        if times is not None and looks >= times:
            return
        time.sleep(_GLANCE_S)
        state.check_there()


def _nothing(_: State) -> None:
    """What is shown when nothing is."""


def _shower() -> Callable[[State], None]:
    """Shows how jobs are: drawn anew on a terminal, elsewhere a line when that has changed."""
    from buildhpc.show.text import painter
    from buildhpc.state.overview import Asked, overview

    last = ""

    def line(state: State) -> None:
        nonlocal last
        totals: dict[str, int] = {}
        for of_rule in overview(state, Asked()).counts.values():
            for name, number in of_rule.items():
                totals[name] = totals.get(name, 0) + number
        text = ", ".join(f"{number:,} {name}" for name, number in totals.items())
        if text != last:
            print(text, flush=True)
        last = text

    if not sys.stdout.isatty():
        return line

    def table(state: State) -> None:
        from buildhpc.show.dashboard import lines

        text = "\n".join(lines(overview(state, Asked()), Asked(), time.time(), painter(sys.stdout)))
        print(f"\x1b[H\x1b[2J{text}", flush=True)

    return table


def _code(state: State, runs: list[int]) -> int:
    """1 where one of the runs failed."""
    from buildhpc.state import cluster_runs

    return int(any(cluster_runs.ended(state, run) == "failed" for run in runs))
