"""Remove what is known of jobs or of runs; files stay."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildhpc.state.database import State


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `forget`."""
    from buildhpc.commands.pick import pick_arguments

    pick_arguments(parser, "this run: its attempts and logs; what its jobs made stays known")


def run(args: argparse.Namespace) -> int:
    """Forget the jobs, or the run, that is meant. Returns the exit code."""
    from buildhpc.commands.pick import known_state
    from buildhpc.messages import commands as messages

    state = known_state(writes=not args.dry_run)
    if args.run is None:
        return _jobs(state, args)
    if args.words or args.all or args.state is not None or args.where is not None:
        raise messages.runs_alone()
    return _run(state, args)


def _jobs(state: State, args: argparse.Namespace) -> int:
    from buildhpc.commands.common import confirmed
    from buildhpc.commands.pick import counted, named, picked, show_some, tell_left
    from buildhpc.state.changes import forget, forget_runs
    from buildhpc.state.queries import runs

    names = [job.name for job in picked(state, args, "forget")]
    if not names:
        print("nothing to forget: no such job")
        return 0
    if args.dry_run:
        show_some("would forget", names)
        return 0
    if not confirmed(f"{counted(len(names))} would be forgotten", yes=args.yes):
        return 0
    foreign = forget(state, names)
    if args.all and not (args.words or named(args)):
        forget_runs(state, [run.id for run in runs(state)])
    done = [name for name in names if name not in foreign]
    show_some("forgot", done)
    tell_left(foreign.items())
    print(f"{counted(len(done))} forgotten; from now on the times of their files decide")
    return 0


def _run(state: State, args: argparse.Namespace) -> int:
    from buildhpc.commands.common import confirmed
    from buildhpc.commands.pick import check_run
    from buildhpc.state.changes import forget_runs

    check_run(state, args.run)
    if args.dry_run:
        print(f"would forget run {args.run}")
        return 0
    if not confirmed(f"run {args.run} would be forgotten", yes=args.yes):
        return 0
    forget_runs(state, [args.run])
    print(f"run {args.run} forgotten; what its jobs made stays known")
    return 0
