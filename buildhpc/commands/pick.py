"""Which recorded jobs the words of a command mean, and what is said of many of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from buildhpc.commands.common import (
    condition_of,
    confirmed,
    fold_receipts,
    states_of,
    warn,
    where_argument,
)
from buildhpc.commands.lookup import recorded_jobs
from buildhpc.messages import call
from buildhpc.messages import commands as messages
from buildhpc.state.changes import reset
from buildhpc.state.claims import JobToClaim
from buildhpc.state.database import State, open_state
from buildhpc.state.queries import JobRow, Where, jobs, runs

_SHOWN = 20


def pick_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    """Options that say which jobs are meant."""
    add = parser.add_argument
    add("words", nargs="*", metavar="JOB", help="a job, a rule, or a file that a job made")
    where_argument(parser)
    add("--state", metavar="STATES", help="jobs in these states, e.g. `failed,lost`")
    add("--run", type=int, metavar="N", help=what)
    add("--all", action="store_true", help="all jobs")
    add("-n", "--dry-run", action="store_true", help="show what would be done")
    add("--yes", action="store_true", help="do not ask")


def known_state(*, writes: bool = True) -> State:
    """The state of the working folder, with what runners told of their jobs.

    writes: False where nothing at all may be written. Raises: call.no_state.
    """
    if writes:
        fold_receipts(wait_s=10.0)
    state = open_state(Path.cwd(), warn)
    if not state.generation():
        raise call.no_state()
    return state


def named(args: argparse.Namespace) -> bool:
    """Whether an option says which jobs are meant."""
    return any(each is not None for each in (args.state, args.run, args.where))


def picked(state: State, args: argparse.Namespace, command: str) -> list[JobRow]:
    """The jobs that are meant, by rule and name. Raises: HpcmakeError."""
    if not (args.words or args.all or named(args)):
        raise messages.no_jobs_named(command)
    if args.run is not None:
        check_run(state, args.run)
    states = states_of(args.state)
    said = condition_of(args, state)
    wanted = jobs(state, Where(states=states, run=args.run, condition=said))
    if not args.words:
        return wanted
    names = set(recorded_jobs(args, state, args.words))
    return [job for job in wanted if job.name in names]


def check_run(state: State, number: int) -> None:
    """Whether there was a run of this number. Raises: call.unknown_run."""
    known = [run.id for run in runs(state)]
    if number not in known:
        raise call.unknown_run(number, known)


def agreed(
    args: argparse.Namespace, names: Sequence[str], verb: str, past: str, none: str = "no such job"
) -> bool:
    """Whether to go on with these jobs; says so where there are none, or none is to be touched.

    Raises: HpcmakeError where nobody can be asked.
    """
    if not names:
        print(f"nothing to {verb}: {none}")
        return False
    if args.dry_run:
        show_some(f"would {verb}", names)
        return False
    return confirmed(f"{counted(len(names))} would be {past}", yes=args.yes)


def reset_jobs(
    state: State, found: Sequence[JobRow], args: argparse.Namespace, none: str = "no such job"
) -> None:
    """Ask, then reset jobs; no file is touched. Raises: HpcmakeError."""
    names = [job.name for job in found]
    if not agreed(args, names, "reset", "reset", none):
        return
    foreign = reset(state, [JobToClaim(job.name, job.rule, job.wildcards) for job in found])
    done = [name for name in names if name not in foreign]
    show_some("reset", done)
    tell_left(foreign.items())
    print(f"{counted(len(done))} reset; the next build that needs them runs them again")


def show_some(lead: str, names: Sequence[str]) -> None:
    """Print names to stdout, a line each, the first of them where there are many."""
    for name in names[:_SHOWN]:
        print(f"{lead} {name}")
    if len(names) > _SHOWN:
        print(f"{lead} {len(names) - _SHOWN:,} more")


def tell_left(foreign: Iterable[tuple[str, int]]) -> None:
    """Say which jobs stayed as they are because a run has them."""
    for name, run in foreign:
        print(f"left alone: `{name}` belongs to run {run}, which is alive", file=sys.stderr)


def counted(number: int) -> str:
    """`1 job`, `1,200 jobs`."""
    return "1 job" if number == 1 else f"{number:,} jobs"
