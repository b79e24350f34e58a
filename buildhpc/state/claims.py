"""Which run may run a job: claims, and taking over those of runs that died."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as quoted
from typing import TYPE_CHECKING, NamedTuple

from buildhpc.state.logs import fold_log
from buildhpc.state.priorities import plan_priorities
from buildhpc.state.records import MANY, chunks, job_crc
from buildhpc.state.rows import NOW, Change, Row, let_go, write_changes
from buildhpc.state.runs import OpenRun, finish, open_runs
from buildhpc.state.schema import UNDER_WAY
from buildhpc.state.snapshot import change_counter

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.state.database import State


class JobToClaim(NamedTuple):
    """A planned job. wildcards: name -> value. priority: by its Pipefile."""

    name: str
    rule: str
    wildcards: Mapping[str, str]
    priority: int = 0


@dataclass(frozen=True, slots=True)
class DeadRun:
    """A run whose process is gone though it never said that it ended."""

    id: int
    host: str
    pid: int
    started_s: float


@dataclass(frozen=True, slots=True)
class Orphan:
    """An attempt that was running when its run died; its process may live on.

    attempt: of the state. pid: leads its process group; process_start: as `owners` tells it;
    None where it is not known. log: path of the file that holds what it printed, if one does;
    err_at: not None: what went to stderr is in the one beside it.
    """

    attempt: int
    job: str
    host: str
    pid: int | None
    process_start: int | None
    log: str | None
    err_at: int | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """What came of claiming the jobs of a plan.

    changed: jobs of the plan were recorded since it was made, so it is out of date; nothing
        was claimed.
    mine: the jobs that this run may run. foreign: job -> the live run that has it.
    dead: runs found dead, whose claims are free now. orphans: what they left running.
    """

    changed: bool = False
    mine: tuple[str, ...] = ()
    foreign: Mapping[str, int] = field(default_factory=dict)
    dead: tuple[DeadRun, ...] = ()
    orphans: tuple[Orphan, ...] = ()


class Held(NamedTuple):
    """A job that may be claimed, or is: its row, and its state before."""

    id: int
    before: str


class Sorted(NamedTuple):
    """The jobs of a plan: free to be claimed, in the hands of other runs, never seen before.

    priorities: those by the Pipefile, where it says any.
    """

    free: dict[str, Held]
    foreign: dict[str, int]
    new: list[JobToClaim]
    priorities: dict[str, int]


def bury(
    connection: Connection, now_s: float, run: int | None, recorded: int
) -> tuple[DeadRun, ...]:
    """Mark the dead runs as abandoned and release their claims.

    A run on a cluster goes on without its process until all its jobs ended, and then it is over,
    not dead. run: the one that asks. recorded: the change counter that the transaction began with.
    """
    dead = []
    for each in open_runs(connection):
        if each.id == run or each.lives(now_s):
            continue
        if each.cluster is not None and finish(connection, each.id, now_s) != "abandoned":
            continue
        dead.append(DeadRun(each.id, each.owner.host, each.owner.pid, each.started_s))
        connection.execute(
            "UPDATE run SET status = 'abandoned', ended_s = beat_s WHERE id = ?", (each.id,)
        )
        let_go(connection, each.id, recorded)
    return tuple(dead)


def has_others(connection: Connection, run: int) -> bool:
    """Whether another run than `run` has jobs in this folder, as far as the state knows."""
    runs = "SELECT 1 FROM run WHERE status IN ('running', 'exported') AND id != ?"
    if connection.execute(runs, (run,)).fetchone() is None:
        return False
    jobs = "SELECT 1 FROM job WHERE claim IS NOT NULL AND claim != ? LIMIT 1"
    return connection.execute(jobs, (run,)).fetchone() is not None


def runs_over(connection: Connection) -> dict[int, str | None]:
    """Run -> its host, of the runs that are over, however they ended.

    None: its jobs ran on a cluster, and what is left of it is nobody's.
    """
    rows = connection.execute("SELECT id, host, cluster FROM run WHERE status != 'running'")
    return {int(run): None if cluster else str(host) for run, host, cluster in rows}


def orphans(connection: Connection) -> tuple[Orphan, ...]:
    """The attempts that never ended though their run did."""
    rows = connection.execute(
        "SELECT attempt.id, job.name, attempt.host, attempt.pid, attempt.process_start,"
        " attempt.log_path, attempt.err_at FROM attempt JOIN job ON job.id = attempt.job"
        " JOIN run ON run.id = attempt.run"
        " WHERE attempt.state IN ('running', 'queued')"
        " AND run.status NOT IN ('running', 'exported')"
        " ORDER BY attempt.id"
    )
    return tuple(Orphan(*row) for row in rows)


_KEEP = "UPDATE attempt SET log_path = ?, log = ?, err_at = ? WHERE id = ?"


def keep_logs(state: State, host: str) -> None:
    """Keep what the orphans of this host printed, before the folders of their runs are removed.

    To be called once their processes are gone.
    """
    folder, home = str(state.folder), os.path.normpath(state.home)
    found = {
        orphan.attempt: fold_log(folder, home, orphan.log, f"lost-{orphan.attempt}", orphan.err_at)
        for orphan in state.read(orphans)
        if orphan.host == host and orphan.log
    }
    rows = [
        (log.path, log.text, log.err_at, attempt)
        for attempt, log in found.items()
        if log.path or log.text
    ]
    if rows:
        with state.transaction() as connection:
            connection.executemany(_KEEP, rows)
    for log in found.values():
        log.discard()


def sort_out(
    connection: Connection, run: int | None, jobs: Sequence[JobToClaim], seen: bytes | None
) -> Sorted | None:
    """What may be claimed for `run`; the caller freed the claims of the dead.

    None when one of the jobs was recorded since the generation `seen`; with None for that
    nothing counts as changed.
    """
    rows = _rows(connection, [job.name for job in jobs])
    counter = None if seen is None else change_counter(seen)
    free: dict[str, Held] = {}
    foreign: dict[str, int] = {}
    new: list[JobToClaim] = []
    for job in jobs:
        row = rows.get(job.name)
        if row is None:
            new.append(job)
            continue
        id_, before, claim, recorded = row
        if claim is not None and claim != run:
            foreign[job.name] = claim
        elif counter is not None and recorded >= counter:
            return None
        else:
            # What this very run has in a queue already, by whom ever, is not to wait again.
            going = claim == run and before in UNDER_WAY
            free[job.name] = Held(id_, "" if going else before)
    return Sorted(free, foreign, new, {job.name: job.priority for job in jobs if job.priority})


def mark(connection: Connection, run: int | None, jobs: Sorted) -> dict[str, Held]:
    """Claim for `run` the jobs that are free, and those that are new.

    A claimed job counts as `waiting` whatever its row says, so its row can stay as it is:
    writing 200,001 of them anew takes 3 s CPU, this takes 1.2 s.
    """
    connection.executemany(
        "UPDATE job SET claim = ? WHERE id = ?", ((run, held.id) for held in jobs.free.values())
    )
    return jobs.free | insert(connection, run, jobs.new)


def take(connection: Connection, run: int, recorded: int, jobs: Sorted) -> dict[str, Held]:
    """As `mark`; what an earlier run left running or queued waits as well.

    recorded: the change counter that the transaction began with.
    """
    mine = mark(connection, run, jobs)
    rows = {name: held.id for name, held in mine.items()}
    plan_priorities(connection, rows, jobs.priorities)
    waiting = Change("waiting", keep=run)
    left = [
        Row(name, held.id, waiting) for name, held in jobs.free.items() if held.before in UNDER_WAY
    ]
    write_changes(connection, run, recorded, left)
    return mine


def _rows(
    connection: Connection, names: Sequence[str]
) -> dict[str, tuple[int, str, int | None, int]]:
    columns = "SELECT name, id, state, claim, recorded FROM job"
    if len(names) > MANY:
        return {row[0]: row[1:] for row in connection.execute(columns)}
    return {
        row[0]: row[1:]
        for marks, part in chunks(names)
        for row in connection.execute(f"{columns} WHERE name IN ({marks})", part)
    }


def insert(connection: Connection, run: int | None, jobs: Sequence[JobToClaim]) -> dict[str, Held]:
    """Write rows of jobs that have none yet, claimed for `run`."""
    if not jobs:
        return {}
    first = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM job").fetchone()[0]
    crcs = [job_crc(job.name, "waiting", "", 0) for job in jobs]
    connection.executemany(
        "INSERT INTO job VALUES (?, ?, ?, ?, 'waiting', '', ?, NULL, 0, ?, x'')",
        (
            (id_, job.name, job.rule, _json(job.wildcards), run, crc)
            for id_, (job, crc) in enumerate(zip(jobs, crcs, strict=True), first)
        ),
    )
    # Once for all; a trigger would make this take twice as long.
    connection.execute(
        "UPDATE guard SET rows = rows + ?, total = total + ? WHERE id = 1", (len(jobs), sum(crcs))
    )
    return {job.name: Held(id_, "") for id_, job in enumerate(jobs, first)}


def _json(wildcards: Mapping[str, str]) -> str:
    """As `json.dumps`, in a quarter of the time."""
    pairs = [f"{quoted(name)}: {quoted(value)}" for name, value in wildcards.items()]
    return f"{{{', '.join(pairs)}}}"


class Foreign:
    """Jobs that other runs have, looked at again and again while they are waited for."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._seen: bytes | None = None
        self._names: frozenset[str] = frozenset()
        self._rows: list[tuple[str, str, int | None]] = []
        self._running: list[OpenRun] = []

    def poll(self, names: Iterable[str]) -> dict[str, tuple[str, bool]]:
        """Job -> its state, and whether a live run has it; no entry for a job that is gone.

        Cheap while nothing was written: the database is only read when it changed.
        """
        wanted = frozenset(names)
        seen = self._state.generation()
        if seen != self._seen or wanted != self._names:
            self._rows, self._running = self._state.read(
                lambda connection: _held(connection, wanted)
            )
            self._seen, self._names = seen, wanted
        now_s = self._state.now_s()
        living = {run.id for run in self._running if run.lives(now_s)}
        return {name: (state, claim in living) for name, state, claim in self._rows}


def _held(
    connection: Connection, names: Iterable[str]
) -> tuple[list[tuple[str, str, int | None]], list[OpenRun]]:
    rows = [
        row
        for marks, part in chunks(sorted(names))
        for row in connection.execute(
            f"SELECT name, {NOW}, claim FROM job WHERE name IN ({marks})", part
        )
    ]
    return rows, open_runs(connection)
