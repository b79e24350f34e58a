"""The parts of jobs that spawned: how they are, and which of them a command means."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildhpc.messages import inside as messages

if TYPE_CHECKING:
    from buildhpc.show.text import Paint
    from buildhpc.state.database import State
    from buildhpc.state.parts import Part
    from buildhpc.state.queries import JobRow


@dataclass(frozen=True, slots=True)
class Whole:
    """A job, and the parts of its last attempt."""

    job: JobRow
    parts: Sequence[Part]


def wholes(state: State, names: Sequence[str]) -> list[Whole]:
    """The jobs of these names with their parts. Raises: messages.no_parts."""
    from buildhpc.state import queries
    from buildhpc.state.parts import parts_of

    found = []
    for name in names:
        for job in queries.jobs(state, queries.Where(name=name)):
            parts = parts_of(state, job.attempt) if job.attempt is not None else []
            if not parts:
                raise messages.no_parts(name)
            found.append(Whole(job, parts))
    return found


def part_names(state: State, names: Sequence[str], number: int) -> list[str]:
    """By which names one part of each job is known. Raises: messages.no_parts, no_such_part."""
    found = []
    for whole in wholes(state, names):
        if not 0 <= number < len(whole.parts):
            raise messages.no_such_part(whole.job.name, number, len(whole.parts))
        found.append(whole.parts[number].job)
    return found


def show_parts(args: argparse.Namespace) -> int:
    """Tell how the parts of jobs are. Raises: HpcmakeError."""
    from buildhpc.commands.common import fold_receipts
    from buildhpc.commands.lookup import recorded_jobs
    from buildhpc.messages import call
    from buildhpc.messages.commands import no_jobs_named
    from buildhpc.show.text import painter
    from buildhpc.state.database import read_state

    fold_receipts()
    state = read_state(Path.cwd())
    if state is None:
        raise call.no_state()
    if not args.job:
        raise no_jobs_named("show --parts")
    found = wholes(state, recorded_jobs(args, state, args.job))
    documents = [_document(state, whole) for whole in found]
    if args.json:
        import json

        print(json.dumps(documents if len(documents) > 1 else documents[0], indent=2))
        return 0
    for document in documents:
        for line in _lines(document, painter(sys.stdout)):
            print(line)
    return 0


def _document(state: State, whole: Whole) -> dict[str, Any]:
    from buildhpc.state import notes

    said = notes.said(state, [part.id for part in whole.parts if part.id is not None])
    parts = [
        {
            **{"part": part.number, "state": part.state, "tried": part.tried or 0},
            **{"host": part.host, "scheduler_id": part.scheduler_id, "failure": part.failure},
            **{"started_s": part.started_s, "ended_s": part.ended_s, "exit_code": part.exit_code},
            "values": said.get(part.id, {}) if part.id is not None else {},
        }
        for part in whole.parts
    ]
    return {"job": whole.job.name, "state": whole.job.state, "run": whole.job.run, "parts": parts}


def _lines(document: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    from buildhpc.quantities import human_time
    from buildhpc.show.text import COLOUR_OF_STATE, clock, columns, one_line, said_text

    yield f"{paint('bold', document['job'])}: {document['state']}, run {document['run']}"
    rows = [("  part", "state", "tries", "started", "wall", "host", "said")]
    for part in document["parts"]:
        ended_s = part["ended_s"] or (time.time() if part["state"] == "running" else None)
        wall = "-"
        if part["started_s"] and ended_s:
            wall = human_time(max(0.0, ended_s - part["started_s"]))
        id_ = part["scheduler_id"]
        where = ", ".join(filter(None, (part["host"], id_ and f"job {id_}"))) or "-"
        said = [one_line(said_text(*each)) for each in part["values"].items()]
        said = [one_line(part["failure"].removeprefix("exit: "))] if part["failure"] else said
        state = paint(COLOUR_OF_STATE.get(part["state"], ""), part["state"])
        tried = str(part["tried"])
        began = clock(part["started_s"])
        rows.append((f"  {part['part']}", state, tried, began, wall, where, ", ".join(said)))
    yield from columns(rows)
