"""Which recorded jobs the words of a command mean, and what is said of many of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from buildhpc.commands.common import condition_of, fold_receipts, warn, where_argument
from buildhpc.commands.lookup import recorded_jobs
from buildhpc.commands.status import STATES
from buildhpc.messages import call
from buildhpc.messages import commands as messages
from buildhpc.state.database import State, open_state
from buildhpc.state.queries import JobRow, Where, jobs, runs

_SHOWN = 20


def pick_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    """Options that say which jobs are meant."""
    add = parser.add_argument
    add("words", nargs="*", metavar="JOB", help="a job, a rule, or a file that a job made")
    where_argument(parser)
    add("--state", metavar="STATE", help="jobs in this state, e.g. `failed`")
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
    if args.state is not None and args.state not in STATES:
        raise call.unknown_state(args.state, STATES)
    said = condition_of(args, state)
    wanted = jobs(state, Where(state=args.state, run=args.run, condition=said))
    if not args.words:
        return wanted
    names = set(recorded_jobs(args, state, args.words))
    return [job for job in wanted if job.name in names]


def check_run(state: State, number: int) -> None:
    """Whether there was a run of this number. Raises: call.unknown_run."""
    known = [run.id for run in runs(state)]
    if number not in known:
        raise call.unknown_run(number, known)


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
