"""Take jobs' records away, so that the next build runs them again.

Jobs that are done are spared, unless `--force`, `--state done` or a condition on `state` says
that they are meant.
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildhpc.state.queries import JobRow

_DONE = ("done", "collected")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `reset`."""
    from buildhpc.commands.pick import pick_arguments

    pick_arguments(parser, "jobs that this run ran")
    add = parser.add_argument
    add("--lost", action="store_true", help="jobs that are lost; schedulers are asked first")
    add("--logs", action="store_true", help="show what each of the jobs printed last")
    add("--force", action="store_true", help="jobs that are done as well")


def is_spared(job: JobRow, args: argparse.Namespace) -> bool:
    """Whether a job is done, and nothing says that such jobs are meant."""
    told = args.force or args.state or re.search(r"\bstate\b", args.where or "", re.IGNORECASE)
    return not told and job.state in _DONE


def run(args: argparse.Namespace) -> int:
    """Reset the jobs that are meant; no file is touched. Returns the exit code."""
    from buildhpc.commands.lost import find_lost, show_logs
    from buildhpc.commands.pick import counted, known_state, picked, reset_jobs

    state = known_state(writes=not args.dry_run)
    if args.lost:
        args.state = f"{args.state},lost" if args.state else "lost"
        if not args.dry_run:
            find_lost(state)
    every = picked(state, args, "reset")
    found = [job for job in every if not is_spared(job, args)]
    if args.logs:
        show_logs(state, [job.name for job in found])
    none = "no such job"
    if spared := len(every) - len(found):
        are, them = ("is", "it") if spared == 1 else ("are", "them")
        none = f"{counted(spared)} {are} done, and spared; `--force` resets {them} as well"
        if found:
            print(none, file=sys.stderr)
    reset_jobs(state, found, args, none)
    return 0
