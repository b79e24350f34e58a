"""Take jobs' records away, so that the next build runs them again."""

from __future__ import annotations

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `reset`."""
    from buildhpc.commands.pick import pick_arguments

    pick_arguments(parser, "jobs that this run ran")


def run(args: argparse.Namespace) -> int:
    """Reset the jobs that are meant; no file is touched. Returns the exit code."""
    from buildhpc.commands.common import confirmed
    from buildhpc.commands.pick import counted, known_state, picked, show_some, tell_left
    from buildhpc.state.changes import reset
    from buildhpc.state.claims import JobToClaim

    state = known_state(writes=not args.dry_run)
    found = picked(state, args, "reset")
    names = [job.name for job in found]
    if not found:
        print("nothing to reset: no such job")
        return 0
    if args.dry_run:
        show_some("would reset", names)
        return 0
    if not confirmed(f"{counted(len(found))} would be reset", yes=args.yes):
        return 0
    foreign = reset(state, [JobToClaim(job.name, job.rule, job.wildcards) for job in found])
    done = [name for name in names if name not in foreign]
    show_some("reset", done)
    tell_left(foreign.items())
    print(f"{counted(len(done))} reset; the next build that needs them runs them again")
    return 0
