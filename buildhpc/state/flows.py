"""Jobs that nodes of data flows submit: each is in a run, and has a node and inputs of its own.

They are jobs as any other. Their wildcards say where they come from: `node`, `inputs` a digest
of what the node was called with, `turn` how often it was begun anew since its files were gone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from buildhpc.state.owners import Owner, alive
from buildhpc.state.queries import AttemptRow, attempts, attempts_in
from buildhpc.state.records import chunks

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.state.database import State


WILDCARDS = frozenset({"id", "node", "inputs", "turn"})


def is_of_flow(wildcards: Mapping[str, str]) -> bool:
    """Whether these are the wildcards of a job that a node asked for."""
    return wildcards.keys() == WILDCARDS


class Seen(NamedTuple):
    """How a job of a run is. state: as of jobs; attempt: its last one there, if there was one.

    words: why it is as it is, where no attempt tells. cluster: empty before it is submitted.
    """

    state: str
    attempt: AttemptRow | None = None
    words: str = ""
    cluster: str = ""


class NodeJob(NamedTuple):
    """A job of a node. turn: as its wildcard says. state: as of jobs; run: of its last attempt."""

    name: str
    turn: int
    state: str
    claimed: bool


_JOBS = "SELECT name, state, claim, failure FROM job WHERE name IN ({})"
_CLUSTERS = """SELECT job.name, submission.cluster FROM attempt
    JOIN job ON job.id = attempt.job JOIN submission ON submission.id = attempt.submission
    WHERE attempt.run = ? ORDER BY attempt.id"""
_OPEN = ("queued", "running")
ENDED = ("done", "failed", "cancelled", "skipped", "lost")


def seen(state: State, run: int, names: Sequence[str]) -> dict[str, Seen]:
    """How jobs of a run are; looks without the lock."""

    def query(connection: Connection) -> tuple[dict[str, Any], str, dict[str, str]]:
        rows = {
            row[0]: row[1:]
            for marks, part in chunks(names)
            for row in connection.execute(_JOBS.format(marks), part)
        }
        status = connection.execute("SELECT status FROM run WHERE id = ?", (run,)).fetchone()
        clusters = dict(connection.execute(_CLUSTERS, (run,)).fetchall())
        return rows, str(status[0]) if status else "abandoned", clusters

    rows, status, clusters = state.read(query)
    tried = attempts_in(state, run, names)
    found = {name: _seen(rows.get(name), status, tried.get(name), run) for name in names}
    for name, each in found.items():
        if each.state == "done" and each.attempt is None:
            theirs = attempts(state, name)  # another run had it already, and its job served both
            found[name] = each._replace(attempt=theirs[-1] if theirs else None)
    return {name: each._replace(cluster=clusters.get(name, "")) for name, each in found.items()}


def _seen(row: Any, status: str, attempt: AttemptRow | None, run: int) -> Seen:
    now, claim, words = row or ("waiting", None, "")
    if claim == run:
        return Seen(now if now in _OPEN else "waiting", attempt)
    if attempt is not None:
        return Seen(attempt.state, attempt)
    if status != "running":
        # Another run has made it, or it was given up before it began.
        return Seen(now if now in ENDED else "cancelled", None, words)
    given_up = claim is None and now in ("cancelled", "skipped")
    return Seen(now if given_up else "waiting", None, words)


def newest(state: State, name: str) -> tuple[int, str] | None:
    """Run and job of the last one that bears a name, or is of a rule of that name."""
    query = """SELECT attempt.run, job.name FROM job JOIN attempt ON attempt.job = job.id
        WHERE job.name = ? OR job.rule = ? ORDER BY attempt.id DESC LIMIT 1"""
    row = state.read(lambda connection: connection.execute(query, (name, name)).fetchone())
    return (int(row[0]), str(row[1])) if row else None


def holder(state: State, name: str) -> int | None:
    """The run that has a job of this name; None: no run has."""
    query = "SELECT claim FROM job WHERE name = ?"
    row = state.read(lambda connection: connection.execute(query, (name,)).fetchone())
    return int(row[0]) if row and row[0] is not None else None


def jobs_of_call(state: State, call: str) -> list[NodeJob]:
    """The jobs that a node had for what it was called with, oldest first."""
    query = """SELECT name, json_extract(wildcards, '$.turn'), state, claim IS NOT NULL FROM job
        WHERE instr(wildcards, ?) AND json_extract(wildcards, '$.inputs') = ? ORDER BY id"""
    words = (json.dumps(call), call)
    rows = state.read(lambda connection: connection.execute(query, words).fetchall())
    return [NodeJob(str(name), int(turn or 0), str(now), bool(c)) for name, turn, now, c in rows]


def submitter_lives(state: State, run: int) -> bool:
    """Whether the process that began a run is still there, as far as can be told."""
    query = "SELECT host, pid, process_start, boot, beat_s FROM run WHERE id = ?"
    row = state.read(lambda connection: connection.execute(query, (run,)).fetchone())
    return row is not None and alive(Owner(*row[:4]), row[4], state.now_s())


def all_jobs(state: State) -> list[tuple[int, str]]:
    """Run and name of the jobs of all nodes, oldest first."""
    query = """SELECT max(attempt.run), job.name FROM job JOIN attempt ON attempt.job = job.id
        WHERE json_extract(wildcards, '$.node') IS NOT NULL
        AND json_extract(wildcards, '$.turn') IS NOT NULL
        GROUP BY job.id ORDER BY max(attempt.id)"""
    rows = state.read(lambda connection: connection.execute(query).fetchall())
    return [(int(run), str(name)) for run, name in rows]
