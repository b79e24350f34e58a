"""Say something of a job: from inside it of itself, or of the jobs that are named.

KEY is `phase` (a text), `progress` (0 to 1, `12/40`, `30%`), `priority` (of jobs that are named;
`priority=+100` adds to it), or a name of your own. VALUE is a number, `true`, `false`, or else a
text; `null` removes the key.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from buildhpc.messages import inside as messages

if TYPE_CHECKING:
    from buildhpc.run.own import Own
    from buildhpc.state.database import State
    from buildhpc.state.notes import Value
    from buildhpc.state.queries import JobRow

_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_LONGEST = 4096
_PATIENCE_S = 2.0
_WHOLE = re.compile(r"[+-]?\d{1,9}")


def _priority(text: str) -> int:
    """Raises: messages.bad_setting."""
    if not _WHOLE.fullmatch(text):
        raise messages.bad_setting("priority", text, "a whole number; higher ones come first")
    return int(text)


# What people may say of a job over what the Pipefile says, with what makes the value of a text.
SETTINGS: dict[str, Callable[[str], int]] = {"priority": _priority}


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `set`."""
    from buildhpc.commands.common import where_argument

    add = parser.add_argument
    add("words", nargs="*", metavar="JOB|KEY=VALUE", help="jobs, and what is to be said of them")
    where_argument(parser)
    add("--state", metavar="STATES", help="jobs in these states, e.g. `waiting,queued`")
    add("--run", type=int, metavar="N", help="jobs of this run")
    add("--all", action="store_true", help="all jobs")


def run(args: argparse.Namespace) -> int:
    """Say it. Returns the exit code. Raises: HpcmakeError."""
    from buildhpc.run.own import own_job

    found = [match for word in args.words if (match := _PAIR.fullmatch(word))]
    pairs = [(match[1], match[2]) for match in found]
    args.words = [word for word in args.words if not _PAIR.fullmatch(word)]
    if not pairs:
        raise messages.nothing_to_set()
    if (
        args.words
        or args.all
        or any(each is not None for each in (args.state, args.run, args.where))
    ):
        return _of_others(args, dict(pairs))
    own = own_job(os.environ)
    if own is None:
        raise messages.not_in_job("hpcmake set KEY=VALUE", "name jobs: `hpcmake set JOB KEY=VALUE`")
    for key, _ in pairs:
        if key in SETTINGS:
            raise messages.setting_inside(key)
    _of_itself(own, {key: value_of(key, text) for key, text in pairs})
    return 0


def value_of(key: str, text: str) -> Value:
    """The value that a text is for a key. Raises: messages.bad_progress, long_value."""
    if len(text) > _LONGEST:
        raise messages.long_value(key, _LONGEST)
    if text == "null":
        return None
    if key == "phase":
        return text
    if key == "progress":
        return _part(text)
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, float) and not math.isfinite(value):
        return text
    return value if isinstance(value, (str, int, float, bool)) else text


def _part(text: str) -> float:
    """How much of the whole a text is: `0.3`, `12/40`, `30%`. Raises: messages.bad_progress."""
    up, slash, down = text.partition("/")
    try:
        if slash:
            part = float(up) / float(down)
        elif text.endswith("%"):
            part = float(text[:-1]) / 100
        else:
            part = float(text)
    except (ValueError, ZeroDivisionError):
        raise messages.bad_progress(text) from None
    if not 0 <= part <= 1:
        raise messages.bad_progress(text)
    return round(part, 6)


def _of_itself(own: Own, values: Mapping[str, Value]) -> None:
    """Raises: messages.unset where the inbox takes no note."""
    from buildhpc.state import notes, receipts

    note = notes.Note(own.run, own.job, own.attempt, time.time_ns(), values)
    try:
        notes.write(own.inbox, note, receipts.backoff(_PATIENCE_S))
    except OSError as error:
        raise messages.unset(own.inbox, (error.strerror or str(error)).lower()) from error


def _of_others(args: argparse.Namespace, texts: Mapping[str, str]) -> int:
    """Say it of the jobs that are meant. Raises: HpcmakeError."""
    from buildhpc.commands.pick import counted, known_state, picked

    state = known_state()
    jobs = picked(state, args, "set")
    for job in jobs:
        for key in texts:
            if key in job.wildcards and args.words:
                raise messages.key_is_wildcard(key, job.name)
    never = say_of(state, jobs, texts)
    for name in never[:5]:
        print(f"left alone: `{name}` never ran, so there is nothing to say of it")
    if len(never) > 5:
        print(f"left alone: {len(never) - 5:,} more that never ran")
    print(f"{counted(len(jobs) - len(never))} set")
    return 0


def say_of(state: State, jobs: Sequence[JobRow], texts: Mapping[str, str]) -> list[str]:
    """Say it of jobs; returns those that never ran, of which only a priority can be said.

    Raises: HpcmakeError
    """
    settings = {key: SETTINGS[key](text) for key, text in texts.items() if key in SETTINGS}
    values = {key: value_of(key, text) for key, text in texts.items() if key not in SETTINGS}
    return _write(state, jobs, settings, values, more=texts.get("priority", "").startswith("+"))


def _write(
    state: State,
    jobs: Sequence[JobRow],
    settings: Mapping[str, int],
    values: Mapping[str, Value],
    *,
    more: bool,
) -> list[str]:
    """Write it down; returns the jobs that have no attempt of which anything could be said.

    more: the priority is to be added to what there is.
    """
    from buildhpc.state import notes
    from buildhpc.state.priorities import set_priority

    never = []
    with state.transaction() as connection:
        if "priority" in settings:
            rows = [job.id for job in jobs]
            set_priority(connection, rows, settings["priority"], more=more)
        for job in jobs:
            if values and job.attempt is not None:
                notes.say(connection, job.attempt, values, time.time_ns())
            elif values:
                never.append(job.name)
    return never
