"""What schedulers have of a run: slices and their submissions, attempts in flight, their ends.

Each function is one transaction. A job is `queued` before its submission is made, so that no
other run can start it; a submission of which nobody knows whether it was made is found by name.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from buildhpc.plan.arrays import Link
from buildhpc.state.flights import (
    End,
    InFlight,
    close_spent,
    end_attempts,
    flights_of,
    read_flights,
    withdraw,
)
from buildhpc.state.owners import Owner, alive, this_process
from buildhpc.state.records import MANY, chunks
from buildhpc.state.rows import Change, Row, clean, write_changes, write_texts
from buildhpc.state.schema import LAST_ATTEMPT, UNDER_WAY
from buildhpc.state.snapshot import change_counter

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.state.database import State


class QueuedJob(NamedTuple):
    """An attempt that is submitted.

    number: of the job in the plan. spec: a JobSpec as JSON has it. element: of its array.
    """

    number: int
    spec: Mapping[str, Any]
    element: int = 0


class ToSubmit(NamedTuple):
    """One scheduler job, or an array of them.

    elements: of the array; 0: a plain job. links: what it waits for; `array` in them is a
    place in the list of those that are opened together. label: of what it runs, for its name
    at the scheduler.
    """

    cluster: str
    elements: int
    jobs: tuple[QueuedJob, ...]
    links: tuple[Link, ...] = ()
    label: str = ""


class Submission(NamedTuple):
    """Something that is about to be submitted: its number, its name at the scheduler, and the
    line of its first element in the manifest, counted from 0."""

    id: int
    name: str
    first: int


class Slice(NamedTuple):
    """A slice that was opened. manifest: its path from the working folder, yet to be written."""

    id: int
    manifest: str
    submissions: tuple[Submission, ...]


class Doubt(NamedTuple):
    """A submission whose process died before its slice was over.

    state: `making` (nobody knows whether it was submitted: it is looked for by `name`), or
    `held` (it has its id, and is yet to be released). quiet_s: since a last sign of life of it.
    site: what tells its cluster from others; empty: nothing does.
    """

    slice: int
    run: int
    submission: int
    cluster: str
    name: str
    scheduler_id: str | None
    state: str
    quiet_s: float
    site: str = ""


_ODD = re.compile(r"[^A-Za-z0-9_.]")

_ATTEMPT = """INSERT INTO attempt (id, job, run, number, state, message, cores, mem_mib, time_s,
    meta, log_path, err_at, command, submission, element)
    VALUES (?, ?, ?, ?, 'queued', '', ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


def open_slice(
    state: State,
    run: int,
    arrays: Sequence[ToSubmit],
    texts: Mapping[str, str] | None = None,
    seen: frozenset[int] | None = None,
    site: str = "",
) -> Slice | None:
    """Record that jobs are about to be submitted, by this process.

    site: what tells the cluster from others; empty: nothing does. texts: digest -> the compared
    text of the recipes. seen: the attempts in flight at this cluster that its room was counted
    by. None: one of the jobs is not waiting for this run any more, or others are in flight by
    now, so that there is another choice to be made; nothing was recorded. 10,000 jobs take 0.5
    s CPU.
    """
    (state.home / "inbox").mkdir(parents=True, exist_ok=True)
    with state.transaction() as connection:
        queued = [job for array in arrays for job in array.jobs]
        ids = _waiting(connection, run, [job.spec["name"] for job in queued])
        if ids is None or (seen is not None and _others(connection, arrays[0].cluster, seen)):
            return None
        manifest = f"{state.home.name}/run-{run}/slice-{{}}.jsonl"
        opened, rows = write_slice(connection, run, arrays, ids, (manifest, state.now_s(), site))
        write_changes(connection, run, change_counter(state.found), rows)
        write_texts(connection, texts or {})
    return opened


def _others(connection: Connection, cluster: str, seen: Collection[int]) -> bool:
    """Whether more is in flight at a cluster than somebody has seen."""
    flights = flights_of(connection, "submission.cluster = ?", cluster)
    return any(each.attempt not in seen for each in flights)


def write_slice(
    connection: Connection,
    run: int,
    arrays: Sequence[ToSubmit],
    ids: Mapping[str, int],
    made: tuple[str, float, str],
) -> tuple[Slice, list[Row]]:
    """Write a slice with its attempts; returns it, and what becomes of their jobs.

    ids: job -> its row. made: the path of its manifest, where `{}` is its number, when, and
    what tells the cluster from others.
    """
    slice_ = _begin(connection, run, *made[1:])
    manifest = made[0].format(slice_)
    submissions = _submissions(connection, arrays)
    _write_submissions(connection, (run, slice_, manifest, made[1]), arrays, submissions)
    rows = _insert(connection, run, arrays, submissions, ids)
    return Slice(slice_, manifest, tuple(submissions)), rows


def _waiting(connection: Connection, run: int, names: Sequence[str]) -> dict[str, int] | None:
    """Job -> its row; None when one of them does not wait for `run`."""
    select = "SELECT name, id, state FROM job WHERE claim = ?"
    if len(names) > MANY:
        rows = connection.execute(select, (run,)).fetchall()
    else:
        rows = [
            row
            for marks, part in chunks(names)
            for row in connection.execute(f"{select} AND name IN ({marks})", (run, *part))
        ]
    ids = {name: id_ for name, id_, state in rows if state not in UNDER_WAY}
    return ids if ids.keys() >= set(names) else None


def _begin(connection: Connection, run: int, now_s: float, site: str) -> int:
    owner = this_process()
    cursor = connection.execute(
        "INSERT INTO slice (run, host, pid, process_start, boot, beat_s, state, site)"
        " VALUES (?, ?, ?, ?, ?, ?, 'making', ?)",
        (run, owner.host, owner.pid, owner.process_start, owner.boot, now_s, site),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def _submissions(connection: Connection, arrays: Sequence[ToSubmit]) -> list[Submission]:
    last = connection.execute("SELECT coalesce(max(id), 0) FROM submission").fetchone()[0]
    # Numbers may come again when runs are forgotten; names at a scheduler never may.
    drawn = os.urandom(4).hex()
    firsts = accumulate((max(1, array.elements) for array in arrays), initial=0)
    return [
        Submission(last + place, f"{label(array.label)}.{drawn}-{place}", first)
        for place, (array, first) in enumerate(zip(arrays, firsts, strict=False), 1)
    ]


def label(text: str) -> str:
    """What a name at a scheduler begins with, so that people know what it is."""
    known = _ODD.sub("_", text)
    return known if known[:1].isalpha() else f"x{known}"


def _write_submissions(
    connection: Connection,
    common: tuple[int, int, str, float],
    arrays: Sequence[ToSubmit],
    made: Sequence[Submission],
) -> None:
    run, slice_, manifest, now_s = common
    for array, each in zip(arrays, made, strict=True):
        edges = [
            (made[link.array].id if link.array is not None else link.submission, *link[2:])
            for link in array.links
        ]
        connection.execute(
            "INSERT INTO submission VALUES (?, ?, ?, ?, ?, NULL, 'making', ?, ?, ?, ?, ?)",
            (
                *(each.id, run, slice_, array.cluster, each.name, now_s, array.elements),
                *(manifest, each.first, json.dumps(edges)),
            ),
        )


def _insert(
    connection: Connection,
    run: int,
    arrays: Sequence[ToSubmit],
    made: Sequence[Submission],
    ids: Mapping[str, int],
) -> list[Row]:
    """Write the attempts; returns what becomes of their jobs."""
    first = connection.execute(LAST_ATTEMPT).fetchone()[0] + 1
    queued = Change("queued", keep=run)
    attempts: list[tuple[Any, ...]] = []
    rows = []
    for array, submission in zip(arrays, made, strict=True):
        for number, spec, element in array.jobs:
            id_, name, needs = first + len(attempts), spec["name"], spec["needs"]
            tried = spec["attempt"]
            attempts.append(
                (
                    *(id_, ids[name], run, tried),
                    *(needs["cores"], needs["mem_mib"], needs["time_s"], _order(spec["inputs"])),
                    f".hpcmake/run-{run}/logs/{number}-{tried}.log",
                    0 if spec.get("split") else None,
                    *(clean(spec["recipe"]["text"]), submission.id, element),
                )
            )
            rows.append(Row(name, ids[name], queued, id_))
    connection.executemany(_ATTEMPT, attempts)
    return rows


def _order(inputs: Sequence[str]) -> str | None:
    """The inputs of a job where a receipt, which has each once, cannot tell them all."""
    return None if len(set(inputs)) == len(inputs) else json.dumps({"inputs": list(inputs)})


def named(
    state: State, submission: int, scheduler_id: str, elements: Sequence[str], *, held: bool
) -> None:
    """Record that a submission was made.

    elements: the ids of its elements at the scheduler; of a plain job its own alone.
    """
    with state.transaction() as connection:
        connection.execute(
            "UPDATE submission SET scheduler_id = ?, state = ? WHERE id = ?",
            (scheduler_id, "held" if held else "submitted", submission),
        )
        connection.executemany(
            "UPDATE attempt SET scheduler_id = ? WHERE submission = ? AND element = ?",
            [(id_, submission, element) for element, id_ in enumerate(elements)],
        )
        connection.execute(
            "UPDATE slice SET beat_s = ? WHERE id = (SELECT slice FROM submission WHERE id = ?)",
            (state.now_s(), submission),
        )


def released(state: State, slice_: int) -> None:
    """Record that all submissions of a slice are made and released: it is over."""
    with state.transaction() as connection:
        connection.execute(
            "UPDATE submission SET state = 'submitted' WHERE slice = ? AND state = 'held'",
            (slice_,),
        )
        connection.execute("UPDATE slice SET state = 'done' WHERE id = ?", (slice_,))


def revert(state: State, submissions: Iterable[int]) -> list[str]:
    """Take back submissions that were not made: their jobs wait again. Returns those jobs."""
    with state.transaction() as connection:
        back = [
            flight
            for submission in submissions
            for flight in flights_of(connection, "attempt.submission = ?", submission)
            if flight.state == "queued"
        ]
        return _wait_again(connection, state, back)


def take_back(state: State, attempts: Iterable[int]) -> list[str]:
    """Take back attempts that never began and never will: their jobs wait again.

    Returns the jobs; an attempt that has begun meanwhile is left alone.
    """
    with state.transaction() as connection:
        back = [
            flight
            for attempt in attempts
            for flight in flights_of(connection, "attempt.id = ?", attempt)
            if flight.state == "queued"
        ]
        return _wait_again(connection, state, back)


def _wait_again(connection: Connection, state: State, back: Sequence[InFlight]) -> list[str]:
    rows = [Row(each.job, each.row, Change("waiting", keep=each.run)) for each in back]
    recorded = change_counter(state.found)
    for run in {each.run for each in back}:
        mine = [row for row, each in zip(rows, back, strict=True) if each.run == run]
        write_changes(connection, run, recorded, mine)
    withdraw(connection, back)
    close_spent(connection)
    return [each.job for each in back]


def any_making(state: State) -> bool:
    """Whether a slice is being submitted, or was left half submitted."""
    query = "SELECT 1 FROM slice WHERE state != 'done' LIMIT 1"
    return state.read(lambda connection: connection.execute(query).fetchone() is not None)


def doubtful(state: State) -> list[Doubt]:
    """The submissions that a process left half made; from now on this one has to see to them.

    It died, or it has given the slice up; or it is this one. What was made and released is not
    among them; a slice without any other submission is over.
    """
    with state.transaction() as connection:
        now_s = state.now_s()
        rows = connection.execute(
            "SELECT id, host, pid, process_start, boot, beat_s, state FROM slice"
            " WHERE state != 'done'"
        ).fetchall()
        mine = this_process()
        beats = {row[0]: row[5] for row in rows}
        dead = [
            row[0]
            for row in rows
            if row[6] == "left"
            or Owner(*row[1:5]) == mine
            or not alive(Owner(*row[1:5]), row[5], now_s)
        ]
        connection.executemany(
            "UPDATE slice SET host = ?, pid = ?, process_start = ?, boot = ?, beat_s = ?,"
            " state = 'making' WHERE id = ?",
            [(mine.host, mine.pid, mine.process_start, mine.boot, now_s, id_) for id_ in dead],
        )
        found = [
            Doubt(*row)
            for id_ in dead
            for row in connection.execute(
                "SELECT slice, submission.run, submission.id, cluster, name, scheduler_id,"
                " submission.state, ?, site FROM submission"
                " JOIN slice ON slice.id = submission.slice WHERE slice = ?"
                " AND submission.state IN ('making', 'held') ORDER BY submission.id",
                (now_s - beats[id_], id_),
            )
        ]
        over = [(id_,) for id_ in dead if id_ not in {doubt.slice for doubt in found}]
        connection.executemany("UPDATE slice SET state = 'done' WHERE id = ?", over)
        return found


def leave(state: State, slices: Iterable[int]) -> None:
    """Leave slices that are not over to whoever can see to them.

    This process cannot: it may not even reach the scheduler, which another one does.
    """
    with state.transaction() as connection:
        query = "UPDATE slice SET state = 'left' WHERE id = ? AND state = 'making'"
        connection.executemany(query, [(slice_,) for slice_ in slices])


def in_flight(state: State, run: int | None = None) -> list[InFlight]:
    """The attempts that schedulers have, of one run or of all, in the order of submitting."""
    return read_flights(state, run)


def verdict(state: State, ends: Sequence[End]) -> list[InFlight]:
    """Record the ends of attempts that left no receipt; returns those that had not ended yet."""
    return end_attempts(state, ends)
