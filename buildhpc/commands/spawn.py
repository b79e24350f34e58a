"""From inside a job: go on as N parts that share its folder, each with its number and the count.

Called once, as the last thing before the recipe ends well. The recipe runs N times then, with
HPCMAKE_PART from 0 to N - 1 and HPCMAKE_PARTS = N; with `-- COMMAND` that runs instead. The job
is done when all its parts are. In a part, `hpcmake spawn --done` says that its work is done; the
exit code is 0 in the last part to say so, which may gather what the others made, and 1 in others.
"""

from __future__ import annotations

import argparse
import os
import shlex
from typing import TYPE_CHECKING

from buildhpc.messages import inside as messages

if TYPE_CHECKING:
    from buildhpc.run.own import Own

_MOST = 100_000
_OUTSIDE = "call it in a recipe"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `spawn`."""
    add = parser.add_argument
    add("words", nargs="*", metavar="N [-- COMMAND]", help="how many parts; what they run")
    add("--done", action="store_true", help="this part is done; exit code 0: it is the last one")


def run(args: argparse.Namespace) -> int:
    """Ask for parts, or say that this one is done. Raises: HpcmakeError."""
    from buildhpc.run.own import own_job

    own = own_job(os.environ)
    if own is None:
        raise messages.not_in_job("hpcmake spawn", _OUTSIDE)
    if args.done:
        return _done(own)
    return _spawn(own, args.words)


def _done(own: Own) -> int:
    from buildhpc.run.parts import say_done

    part = own.document["self"].get("part")
    if part is None:
        raise messages.no_part()
    try:
        last = say_done(part["folder"], part["number"], part["count"], part["done"])
    except OSError as error:
        raise messages.unset(part["folder"], (error.strerror or str(error)).lower()) from error
    return 0 if last else 1


def _spawn(own: Own, words: list[str]) -> int:
    from buildhpc.run.parts import write_request

    if not words or not words[0].isdecimal() or not 1 <= int(words[0]) <= _MOST:
        raise messages.how_many_parts(words[0] if words else "", _MOST)
    known = own.document["self"]
    for name in ("part", "exported", "atomic"):
        if known.get(name):
            raise messages.cannot_spawn(name)
    asked = {"parts": int(words[0]), "command": shlex.join(words[1:])}
    try:
        write_request(own.path, asked)
    except OSError as error:
        raise messages.unset(own.path, (error.strerror or str(error)).lower()) from error
    return 0
