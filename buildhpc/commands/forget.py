"""Remove what is known of jobs or of runs; files stay."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildhpc.state.database import State


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `forget`."""
    from buildhpc.commands.pick import pick_arguments

    pick_arguments(parser, "this run: its attempts and logs; what its jobs made stays known")
    add = parser.add_argument
    add("--all-in", metavar="STATES", help="runs of which every job is in these: done,collected")
    add("--older", metavar="TIME", help="what ended so long ago, e.g. `30d`: runs, or of the jobs")


def run(args: argparse.Namespace) -> int:
    """Forget the jobs, or the runs, that are meant. Returns the exit code."""
    from buildhpc.commands.common import seconds_of
    from buildhpc.commands.pick import known_state
    from buildhpc.messages import commands as messages

    state = known_state(writes=not args.dry_run)
    before_s = None
    if args.older is not None:
        before_s = state.now_s() - seconds_of("--older", args.older)
    jobs = bool(args.words or args.all or args.state or args.where)
    runs = args.run is not None or args.all_in is not None
    if jobs and runs:
        raise messages.runs_alone("--run" if args.run is not None else "--all-in")
    if runs or (before_s is not None and not jobs):
        return _runs(state, args, before_s)
    return _jobs(state, args, before_s)


def _jobs(state: State, args: argparse.Namespace, before_s: float | None) -> int:
    from buildhpc.commands.pick import agreed, counted, named, picked, show_some, tell_left
    from buildhpc.state.changes import forget, forget_runs
    from buildhpc.state.queries import runs

    names = [
        job.name
        for job in picked(state, args, "forget")
        if before_s is None or (job.ended_s is not None and job.ended_s < before_s)
    ]
    if not agreed(args, names, "forget", "forgotten"):
        return 0
    foreign = forget(state, names)
    if args.all and before_s is None and not (args.words or named(args)):
        forget_runs(state, [run.id for run in runs(state)])
    done = [name for name in names if name not in foreign]
    show_some("forgot", done)
    tell_left(foreign.items())
    print(f"{counted(len(done))} forgotten; from now on the times of their files decide")
    return 0


def _runs(state: State, args: argparse.Namespace, before_s: float | None) -> int:
    from buildhpc.commands.common import confirmed, states_of
    from buildhpc.commands.pick import check_run
    from buildhpc.state.changes import forget_runs
    from buildhpc.state.queries import runs_all_in

    if args.run is not None:
        check_run(state, args.run)
    if before_s is None and args.all_in is None:
        chosen = [args.run]
    else:
        found = runs_all_in(state, states_of(args.all_in), before_s)
        chosen = [run for run in found if args.run in (None, run)]
    if not chosen:
        print("nothing to forget: no such run")
        return 0
    if args.dry_run:
        print(f"would forget {_told(chosen)}")
        return 0
    if not confirmed(f"{_told(chosen)} would be forgotten", yes=args.yes):
        return 0
    forget_runs(state, chosen)
    print(f"{_told(chosen)} forgotten; what {_whose(chosen)} jobs made stays known")
    return 0


def _told(runs: Sequence[int]) -> str:
    """`run 3`, `runs 2 and 3`, `12 runs, the last of them run 40`"""
    if len(runs) == 1:
        return f"run {runs[0]}"
    if len(runs) > 5:
        return f"{len(runs):,} runs, the last of them run {runs[-1]},"
    *first, last = map(str, runs)
    return f"runs {', '.join(first)} and {last}"


def _whose(runs: Sequence[int]) -> str:
    return "its" if len(runs) == 1 else "their"
