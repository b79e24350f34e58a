"""Scheduler `local`: this machine as a small cluster, whose jobs outlive who submitted them."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from buildhpc.quantities import Size, quantity
from buildhpc.schedulers.protocol import (
    Abilities,
    Answer,
    Ask,
    Queued,
    Refusal,
    Switches,
    Verdict,
)
from buildhpc.schedulers.scripts import chunks, unreadable, warned

# So many ids in one command: a command line has a longest length.
_IDS = 500
_LATER = 75
_ID = re.compile(r"[a-z0-9]+-[0-9]+\n")


class Local:
    """The queue of this machine, a program beside this module.

    Switches: `spool` the folder it lives in, on a local disk; `cores`, `mem` (a size, or MiB) what
    its jobs may use together, by default all that the machine has; `python` what it runs under.
    Words for `options`: `--grace=SECONDS` between SIGTERM and SIGKILL, 30 by default.
    """

    abilities = Abilities(
        words=frozenset({"mem_mib", "time_s", "gpus"}),
        max_array=100_000,
        element_edges=True,
        one_element=True,
    )
    switches: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "spool": (),
        "cores": (),
        "mem": (),
        "python": (),
    }
    environment: Mapping[str, str | None] = {}

    def __init__(self, switches: Switches) -> None:
        said = switches.values
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "local_queue.py")
        self._program = [said.get("python") or sys.executable, "-I", "-S", program]
        self._spool = _options(said, "spool")
        self._limits = _options(said, "cores")
        if "mem" in said:
            size = quantity(said["mem"])
            self._limits += ["--mem", str(size.mb) if isinstance(size, Size) else said["mem"]]

    def script(self, ask: Ask) -> str:
        """See `Scheduler.script`."""
        wish = ask.request
        words = [f"name={ask.name}", f"folder={json.dumps(ask.folder)}"]
        words += [f"output={json.dumps(ask.output)}", f"cores={wish.cores}"]
        numbers = {
            "elements": ask.elements,
            "mem": wish.mem_mib,
            "gpus": wish.gpus,
            "time": wish.time_s,
            "warn": ask.warn_s if wish.time_s and warned(ask) else 0,
        }
        words += [f"{name}={number}" for name, number in numbers.items() if number]
        words += [f"after={edge.kind}:{edge.id}" for edge in ask.after]
        words += ["held"] if ask.held else []
        lines = [f"#QUEUE --{word}" for word in words]
        lines += [f"#QUEUE {word}" for word in wish.options]
        lines += ["element=$HPCMAKE_QUEUE_ELEMENT", ask.body.rstrip("\n")]
        return "\n".join(["#!/usr/bin/env bash", *lines, ""])

    def submit(self, ask: Ask, script: str) -> list[str]:  # noqa: ARG002  # all is in the script
        """See `Scheduler.submit`."""
        return self._command("submit", *self._limits, script)

    def scheduler_id(self, answer: Answer) -> str | None:
        """See `Scheduler.scheduler_id`."""
        if answer.code == 0 and _ID.fullmatch(answer.out):
            return answer.out.strip()
        if answer.code in (1, _LATER) and answer.err.startswith("hpcmake queue: "):
            return None
        raise unreadable(answer, "the id of a job")

    def refusal(self, answer: Answer) -> Refusal:
        """See `Scheduler.refusal`."""
        return "later" if answer.code == _LATER else "wrong"

    def element_id(self, scheduler_id: str, element: int) -> str:
        """See `Scheduler.element_id`."""
        return f"{scheduler_id}_{element}"

    def whole(self, job: str) -> str:
        """See `Scheduler.whole`."""
        return job.partition("_")[0]

    def release(self, ids: Sequence[str]) -> list[list[str]]:
        """See `Scheduler.release`."""
        return self._commands("release", ids)

    def cancel(self, ids: Sequence[str]) -> list[list[str]]:
        """See `Scheduler.cancel`."""
        return self._commands("cancel", ids)

    def identify(self) -> list[str]:
        """See `Identified.identify`: it is a queue of one host."""
        return ["uname", "-n"]

    def identity(self, answer: Answer) -> str:
        """See `Identified.identity`."""
        name = answer.out.strip()
        if answer.code != 0 or not name:
            raise unreadable(answer, "the name of a host")
        return name

    def queue(self, user: str) -> list[str]:  # noqa: ARG002  # the queue is one user's
        """See `Scheduler.queue`."""
        return self._command("queue")

    def in_queue(self, answer: Answer) -> list[Queued]:
        """See `Scheduler.in_queue`."""
        return [Queued(*row) for row in _rows(answer, 5)]

    def finished(self, ids: Sequence[str]) -> list[list[str]]:
        """See `Scheduler.finished`."""
        return self._commands("finished", ids)

    def verdicts(self, answer: Answer) -> dict[str, Verdict]:
        """See `Scheduler.verdicts`."""
        return {row[0]: Verdict(*row[1:]) for row in _rows(answer, 6)}

    def validate(self, ask: Ask, script: str) -> list[str] | None:  # noqa: ARG002  # as `submit`
        """See `Scheduler.validate`."""
        return self._command("check", *self._limits, script)

    def _command(self, verb: str, *words: str) -> list[str]:
        return [*self._program, verb, *self._spool, *words]

    def _commands(self, verb: str, ids: Sequence[str]) -> list[list[str]]:
        return [self._command(verb, *some) for some in chunks(ids, _IDS)]


def _options(said: Mapping[str, str], *names: str) -> list[str]:
    return [word for name in names if name in said for word in (f"--{name}", said[name])]


def _rows(answer: Answer, width: int) -> list[list[Any]]:
    """The rows of a listing; the first line tells how many there are. Raises: UnreadableError."""
    wrong = unreadable(answer, "the number of jobs and a line for each")
    if answer.code != 0:
        raise wrong
    try:
        first, *rows = map(json.loads, answer.out.splitlines())
        count = first["count"]
    except (ValueError, TypeError, KeyError):
        raise wrong from None
    if len(rows) != count or any(not isinstance(row, list) or len(row) != width for row in rows):
        raise wrong
    return rows
