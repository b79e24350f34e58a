"""What jobs printed: of a job by its name, of the job that makes a file, of all jobs of a rule."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildhpc.state.database import State
    from buildhpc.state.overview import Printed

# So many logs are in memory at once.
_AT_ONCE = 100
_RANGE = re.compile(r"(\d*)-(\d*)|(\d+)")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `logs`."""
    add = parser.add_argument
    add("jobs", nargs="+", metavar="JOB", help="the name of a job, a file, or a rule")
    add(
        "--attempt",
        type=int,
        default=-1,
        metavar="N",
        help="1: the first, 2: the second; -1: the last, -2: the one before (default: -1)",
    )
    add("--tail", type=int, metavar="N", help="only the last N lines")
    add("--lines", metavar="A-B", help="only these lines, counted from 1")
    add("--grep", metavar="RE", help="only lines that this regular expression finds something in")
    add("--follow", action="store_true", help="go on with what running jobs print")


def run(args: argparse.Namespace) -> int:
    """Print the logs. Raises: HpcmakeError."""
    from buildhpc.commands.lookup import recorded_jobs
    from buildhpc.messages import call
    from buildhpc.state.database import read_state

    state = read_state(Path.cwd())
    if state is None:
        raise call.no_state()
    choose = _chooser(args.grep, args.lines, args.tail)
    names = recorded_jobs(args, state, args.jobs)
    if args.follow:
        from buildhpc.commands.follow import follow

        follow(state, names, choose, _chooser(args.grep, None, None))
        return 0
    place = args.attempt - 1 if args.attempt > 0 else args.attempt
    lead = len(names) > 1
    for logs in _in_parts(state, names, place):
        for log in logs:
            text = text_of(state, log)
            print_lines(log.job if lead else "", choose(text.splitlines()))
            if not text and not lead:
                print(f"`{log.job}` printed nothing", file=sys.stderr)
    return 0


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


def text_of(state: State, log: Printed) -> str:
    """The whole text of a log; empty where nothing is known."""
    if log.path is None:
        return log.text or ""
    try:
        return (state.folder / log.path).read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def print_lines(lead: str, lines: Iterable[str]) -> None:
    """Print lines, each after the name of its job where there is one."""
    for line in lines:
        print(f"{lead} | {line}" if lead else line)


def _chooser(
    grep: str | None, span: str | None, tail: int | None
) -> Callable[[Sequence[str]], Sequence[str]]:
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

    def choose(lines: Sequence[str]) -> Sequence[str]:
        kept = [line for line in lines[max(0, first - 1) : last] if wanted.search(line)]
        return kept if tail is None else kept[max(0, len(kept) - max(0, tail)) :]

    return choose
