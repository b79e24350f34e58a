"""What several commands do alike."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from buildhpc.diagnostics import Problem, render

if TYPE_CHECKING:
    from buildhpc.plan.choice import Choice
    from buildhpc.state.database import State
    from buildhpc.state.where import Condition

PIPEFILES = ("Pipefile", "workflow/Pipefile")

# Who hears of warnings and notes instead of the terminal: a program that calls us.
LISTENER: ContextVar[Callable[[str], None] | None] = ContextVar("listener", default=None)


def find_pipefile(given: str | None) -> str:
    """The Pipefile of the current folder, relative to it. Raises: HpcmakeError."""
    if given is not None:
        if not os.path.isfile(given):
            from buildhpc.messages import call

            raise call.no_such_pipefile(given)
        return os.path.normpath(given)
    for name in PIPEFILES:
        if os.path.isfile(name):
            return name
    from buildhpc.messages import call

    here = Path.cwd()
    for folder in here.parents:
        for name in PIPEFILES:
            if (folder / name).is_file():
                raise call.no_pipefile(str(here), str(folder / name), str(folder))
    raise call.no_pipefile(str(here), None, None)


def choice_of(args: argparse.Namespace) -> Choice:
    """Which jobs the command line means."""
    from buildhpc.plan.choice import Choice

    return Choice(
        targets=tuple(args.targets),
        force=args.force,
        force_all=args.force_all,
        force_rules=tuple(args.force_rule),
        until=tuple(args.until),
        omit=tuple(args.omit),
        content=args.check == "content",
        min_priority=args.min_priority,
        only=args.only,
    )


def fold_receipts(*, wait_s: float = 0.2) -> None:
    """Make what runners told of their jobs part of the state, where that can be done now.

    wait_s: so long the lock is waited for. Nothing is loaded where nobody told anything.
    """
    try:
        told = any(name[:1] != "." for name in os.listdir(Path(".hpcmake") / "inbox"))
    except OSError:
        return
    if told:
        from buildhpc.state.inbox import glance

        for problem in glance(Path.cwd(), wait_s).problems:
            warn(problem)


def states_of(text: str | None) -> tuple[str, ...]:
    """What `--state` says, the states of jobs with commas between; none where it says nothing.

    Raises: call.unknown_state.
    """
    if text is None:
        return ()
    from buildhpc.messages import call
    from buildhpc.state.queries import STATES

    found = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    for word in found:
        if word not in STATES:
            raise call.unknown_state(word, STATES)
    return found


def seconds_of(option: str, text: str) -> float:
    """The time that an option says. Raises: call.bad_time."""
    from buildhpc.messages import call
    from buildhpc.quantities import Duration, quantity

    found = quantity(text)
    if not isinstance(found, Duration):
        raise call.bad_time(option, text)
    return float(found)


def where_argument(parser: argparse.ArgumentParser) -> None:
    """The option that says which jobs are meant by a condition."""
    parser.add_argument(
        "--where",
        metavar="CONDITION",
        help="jobs for which this holds, e.g. \"rule = 'map' and wall_s > 3600\"",
    )


def cluster_option(parser: argparse.ArgumentParser) -> None:
    """The option that says something of clusters."""
    parser.add_argument(
        "--cluster-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="over what hpcmake.toml says of the cluster",
    )


def condition_of(args: argparse.Namespace, state: State) -> Condition | None:
    """What `--where` says; None: nothing. Raises: HpcmakeError."""
    if args.where is None:
        return None
    from buildhpc.state.where import condition

    return condition(state, args.where)


# Here a file server may take so long to show an output.
LATENCY_S = 5.0


def warn(problem: Problem) -> None:
    """Tell of a warning."""
    note(render(problem))


def note(text: str) -> None:
    """Tell of something beside the answer, on standard error where nobody else listens."""
    listener = LISTENER.get()
    if listener is None:
        print(text, file=sys.stderr)
    else:
        listener(text)


def command_line(args: argparse.Namespace) -> str:
    """What was typed, as a run remembers it; a program that calls us says it itself."""
    said: str = getattr(args, "command_line", "") or shlex.join(sys.argv)
    return said


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether the user agrees. Raises: HpcmakeError where nobody can be asked."""
    if yes:
        return True
    if not sys.stdin.isatty():
        from buildhpc.messages import call

        raise call.needs_yes(question)
    return input(f"{question}. Go on? [y/N] ").strip().lower() in ("y", "yes")
