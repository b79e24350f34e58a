"""Jobs by rule and state, what runs where, what was lost, what failed last.

Looks at the state: no Pipefile is read; all that is written is what runners told of their jobs.
Where jobs are on clusters whose schedulers can be asked, what these confirm has a star.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from buildhpc.show.dashboard import Confirmed
    from buildhpc.state.database import State
    from buildhpc.state.overview import Asked, JobNow, Overview, QueuedNow
    from buildhpc.state.parts import Spawned

_REFRESH_S = 0.5
_LOOK_S = 5.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `status`."""
    from buildhpc.commands.common import where_argument

    add = parser.add_argument
    where_argument(parser)
    add("--state", metavar="STATES", help="only jobs in these states, and list them: lost,failed")
    add("--rule", metavar="RULE", help="only jobs of this rule")
    add("--run", type=int, metavar="N", help="only jobs that this run tried")
    add("--by-run", action="store_true", help="a table for each run")
    add("--json", action="store_true", help="as one JSON document; with `--watch` one a line")
    add("--watch", action="store_true", help="keep looking until no run is left, or Ctrl-C")
    add("--every", metavar="TIME", help="with `--watch`: look so often, e.g. `10s`")
    add("--lost-logs", action="store_true", help="show what lost jobs printed last")
    add("--reset-lost", action="store_true", help="let the next build run lost jobs again")
    add("-n", "--dry-run", action="store_true", help="show what would be reset")
    add("--yes", action="store_true", help="do not ask before a reset")


def run(args: argparse.Namespace) -> int:
    """Tell how the jobs of this folder are. Raises: HpcmakeError."""
    from buildhpc.commands.common import condition_of, fold_receipts, seconds_of, states_of
    from buildhpc.messages import call
    from buildhpc.state.database import read_state
    from buildhpc.state.overview import Asked, overview

    states = states_of(args.state)
    every_s = seconds_of("--every", args.every) if args.every else _REFRESH_S
    fold_receipts()
    state = read_state(Path.cwd())
    if state is None:
        raise call.no_state()
    asked = Asked(states, args.rule, args.run, condition_of(args, state))
    if args.watch:
        watch = _watch_json if args.json else _watch
        return watch(state, asked, args, every_s)
    if args.lost_logs or args.reset_lost:
        from buildhpc.commands.lost import deal_with

        return deal_with(state, asked, args)
    found = overview(state, asked)
    _check_names(state, asked, found)
    confirmed = _confirmed(state, found)
    if args.json:
        import json

        print(json.dumps(_document(found, asked, confirmed), indent=2))
        return 0
    for line in _lines(state, found, asked, confirmed, by_run=args.by_run):
        print(line)
    return 0


def _lines(
    state: State, found: Overview, asked: Asked, confirmed: Confirmed, *, by_run: bool
) -> Iterator[str]:
    from buildhpc.show import dashboard
    from buildhpc.show.text import painter
    from buildhpc.state.queries import runs

    paint = painter(sys.stdout)
    if by_run:
        return dashboard.by_run(found, {run.id: run for run in runs(state)}, paint)
    return dashboard.lines(found, asked, time.time(), paint, confirmed)


def _confirmed(state: State, found: Overview) -> Confirmed:
    """What schedulers that can be asked have in their queues now."""
    jobs: list[JobNow | QueuedNow | Spawned] = [*found.running, *found.queued, *found.spawned]
    wanted = {(each.run, each.cluster) for each in jobs if each.run and each.cluster}
    if not wanted:
        return frozenset()
    from buildhpc.commands.queues import confirmed

    return confirmed(state, wanted)


def _check_names(state: State, asked: Asked, found: Overview) -> None:
    """Raises: HpcmakeError when a rule or a run was asked for that nothing is known of."""
    from buildhpc.messages import call
    from buildhpc.state import overview, queries

    if found.counts:
        return
    if asked.rule is not None:
        rules = overview.overview(state, overview.Asked()).counts
        if asked.rule not in rules:
            raise call.unknown_rule(asked.rule, rules)
    if asked.run is not None:
        runs = [run.id for run in queries.runs(state)]
        if asked.run not in runs:
            raise call.unknown_run(asked.run, runs)


def _document(found: Overview, asked: Asked, confirmed: Confirmed) -> dict[str, Any]:
    document = asdict(found)
    document["totals"] = {
        "queued": found.number("queued"),
        "running": found.number("running", "spawned"),
        "done": found.number("done", "collected"),
        "total": found.number(),
    }
    for job in (*document["running"], *document["queued"]):
        if job["cluster"]:
            job["confirmed"] = (job["cluster"], job["scheduler_id"]) in confirmed
    for job in document["spawned"]:
        job["confirmed"] = sum((job["cluster"], id_) in confirmed for id_ in job["ids"])
    jobs = document.pop("listed")
    return {**document, "jobs": jobs} if asked.lists else document


def _watch(state: State, asked: Asked, args: argparse.Namespace, every_s: float) -> int:
    """Show the same again and again until no run is left."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for found, confirmed in _looks(state, asked, every_s):
            lines = _lines(state, found, asked, confirmed, by_run=args.by_run)
            live.update(Text.from_ansi("\n".join(lines)), refresh=True)
    return 0


def _watch_json(state: State, asked: Asked, args: argparse.Namespace, every_s: float) -> int:
    """A document a line, as often as something has changed."""
    import json

    del args
    last = ""
    for found, confirmed in _looks(state, asked, every_s):
        text = json.dumps(_document(found, asked, confirmed))
        if text != last:
            print(text, flush=True)
        last = text
    return 0


def _looks(state: State, asked: Asked, every_s: float) -> Iterator[tuple[Overview, Confirmed]]:
    """How the jobs are, again and again until no run is left."""
    from buildhpc.commands.common import fold_receipts
    from buildhpc.state.overview import overview

    confirmed: Confirmed = frozenset()
    look_s, seen = 0.0, b""
    while True:
        fold_receipts()
        # Whether runs live shows without anything being written.
        late = time.monotonic() >= look_s
        if late or state.generation() != seen:
            seen = state.generation()
            found = overview(state, asked)
        if late:
            confirmed, look_s = _confirmed(state, found), time.monotonic() + _LOOK_S
        yield found, confirmed
        if not found.runs:
            return
        time.sleep(every_s)
