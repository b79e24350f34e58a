"""What jobs printed: of a job by its name, of the job that makes a file, of all jobs of a rule."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from buildhpc.state.database import State
    from buildhpc.state.overview import Printed

# So many logs are in memory at once.
_AT_ONCE = 100
# Some lines -> those of them that are told.
Choose: TypeAlias = Callable[[Iterable[str]], Iterable[str]]
_RANGE = re.compile(r"(\d*)-(\d*)|(\d+)")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `logs`."""
    from buildhpc.commands.common import where_argument

    add = parser.add_argument
    add("jobs", nargs="*", metavar="JOB", help="the name of a job, a file, or a rule")
    where_argument(parser)
    add(
        "--attempt",
        type=int,
        default=-1,
        metavar="N",
        help="1: the first, 2: the second; -1: the last, -2: the one before (default: -1)",
    )
    add("--err", action="store_true", help="only what went to stderr, where that is kept apart")
    add("--out", action="store_true", help="only what went to stdout, where that is kept apart")
    add("--part", type=int, metavar="K", help="of this part of a job that spawned")
    add("--tail", type=int, metavar="N", help="only the last N lines")
    add("--lines", metavar="A-B", help="only these lines, counted from 1")
    add("--grep", metavar="RE", help="only lines that this regular expression finds something in")
    add("--follow", action="store_true", help="go on with what running jobs print")


def run(args: argparse.Namespace) -> int:
    """Print the logs. Raises: HpcmakeError."""
    from buildhpc.commands.common import fold_receipts
    from buildhpc.messages import call
    from buildhpc.state.database import read_state

    fold_receipts()
    state = read_state(Path.cwd())
    if state is None:
        raise call.no_state()
    choose = _chooser(args.grep, args.lines, args.tail)
    names = _names(args, state)
    if args.part is not None:
        from buildhpc.commands.parts_show import part_names

        names = part_names(state, names, args.part)
    stream = stream_of(args.out, args.err)
    if args.follow:
        from buildhpc.commands.follow import follow

        follow(state, names, stream, choose, _chooser(args.grep, None, None))
        return 0
    place = args.attempt - 1 if args.attempt > 0 else args.attempt
    in_one = _print_all(state, names, place, stream, choose)
    if in_one:
        say_in_one(in_one, len(names), stream)
    return 0


def _print_all(
    state: State, names: Sequence[str], place: int, stream: str, choose: Choose
) -> list[Printed]:
    """Print the logs; returns those where what is asked for is not apart."""
    lead = len(names) > 1
    in_one = []
    for logs in _in_parts(state, names, place):
        for log in logs:
            if stream and is_in_one(log):
                in_one.append(log)
                continue
            lines = lines_of(state, log, stream)
            first = list(islice(lines, 1))
            print_lines(log.job if lead else "", choose(chain(first, lines)))
            if not first and not lead:
                print(f"`{log.job}` {_why_empty(log, stream)}", file=sys.stderr)
    return in_one


def stream_of(out: bool, err: bool) -> str:
    """Which part of a log is meant: `out`, `err`, or, empty, all of it."""
    return "" if out == err else ("out" if out else "err")


def is_in_one(log: Printed) -> bool:
    """Whether the log has something of stdout or stderr, and nothing tells which."""
    return log.err_at is None and (log.path is not None or bool(log.text))


def say_in_one(logs: Sequence[Printed], of: int, stream: str) -> None:
    """Tell why these logs were left out. Raises: HpcmakeError, where they are all that is meant."""
    from buildhpc.messages import commands as messages

    own = [log.path is None or log.path.startswith(".hpcmake/") for log in logs]
    if len(logs) == of:
        raise messages.in_one_log(logs[0].job, len(logs), stream, named=not any(own))
    number = "1 job has" if len(logs) == 1 else f"{len(logs):,} jobs have"
    print(f"left out: {number} stdout and stderr in one log", file=sys.stderr)


def _why_empty(log: Printed, stream: str) -> str:
    if log.queued:
        return "is queued, and has not begun"
    if log.text == "" or (log.path is not None and not os.path.exists(log.path)):
        return "has no log any more: it was removed, or a later attempt wrote over it"
    return f"printed nothing to std{stream}" if stream else "printed nothing"


def _names(args: argparse.Namespace, state: State) -> list[str]:
    """The jobs that are meant. Raises: HpcmakeError."""
    from buildhpc.commands.common import condition_of
    from buildhpc.commands.lookup import recorded_jobs
    from buildhpc.messages import commands as messages
    from buildhpc.state import queries

    said = condition_of(args, state)
    if said is None and not args.jobs:
        raise messages.no_jobs_named("logs")
    names = recorded_jobs(args, state, args.jobs) if args.jobs else None
    if said is None:
        return names or []
    found = [job.name for job in queries.jobs(state, queries.Where(condition=said))]
    return found if names is None else [name for name in names if name in set(found)]


def _in_parts(state: State, names: Sequence[str], place: int) -> Iterator[list[Printed]]:
    """The logs of the jobs, some at a time. Raises: HpcmakeError when the one job has none."""
    from buildhpc.messages import call
    from buildhpc.state import queries
    from buildhpc.state.overview import printed

    for start in range(0, len(names), _AT_ONCE):
        found = printed(state, names[start : start + _AT_ONCE], place)
        if not found and len(names) == 1:
            number = place + 1 if place >= 0 else place
            raise call.no_such_attempt(names[0], number, len(queries.attempts(state, names[0])))
        yield found


def lines_of(state: State, log: Printed, stream: str = "") -> Iterator[str]:
    """The lines of a log, one at a time: it may be larger than memory.

    stream: `out` or `err` alone; empty: both.
    """
    from buildhpc.state.logs import files_of, text_of

    if log.path is None:
        text = text_of(log.text or "", log.err_at, stream)
        yield from (line.removesuffix("\n") for line in io.StringIO(text, newline=None))
        return
    for path in files_of(log.path, log.err_at, stream):
        with (
            suppress(OSError),
            (state.folder / path).open(encoding="utf-8", errors="replace") as file,
        ):
            yield from (line.removesuffix("\n") for line in file)


def print_lines(lead: str, lines: Iterable[str]) -> None:
    """Print lines, each after the name of its job where there is one."""
    before = f"{lead} | " if lead else ""
    sys.stdout.writelines(f"{before}{line}\n" for line in lines)


def _chooser(grep: str | None, span: str | None, tail: int | None) -> Choose:
    """What keeps the lines that were asked for. Raises: HpcmakeError."""
    from buildhpc.messages import call

    first, last = 1, None
    if span is not None:
        match = _RANGE.fullmatch(span)
        if match is None or span == "-":
            raise call.bad_lines(span)
        first = int(match[3] or match[1] or 1)
        last = int(match[3] or match[2] or 0) or None
    try:
        wanted = re.compile(grep or "")
    except re.error as error:
        raise call.bad_expression(grep or "", str(error)) from None

    def choose(lines: Iterable[str]) -> Iterable[str]:
        within = islice(lines, max(0, first - 1), last)
        kept = (line for line in within if wanted.search(line))
        return kept if tail is None else deque(kept, max(0, tail))

    return choose
