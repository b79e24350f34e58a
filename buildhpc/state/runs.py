"""Runs: how they begin and end, and which of them live."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from buildhpc.state.owners import Owner, alive, this_process
from buildhpc.state.records import sound
from buildhpc.state.rows import clean
from buildhpc.state.schema import UNDER_WAY_SQL

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.state.recorder import RunInfo

# Whether a run on a cluster has jobs is asked of the jobs, and only for such a run.
_OPEN = """SELECT id, started_s, beat_s, host, pid, process_start, boot, command, cluster,
    CASE WHEN cluster IS NULL THEN 0
        ELSE EXISTS (SELECT 1 FROM job WHERE job.claim = run.id) END, status = 'exported'
    FROM run WHERE status IN ('running', 'exported') ORDER BY id"""


class OpenRun(NamedTuple):
    """A run that did not say that it ended.

    cluster: None: it runs its jobs itself, and they end with it. has_jobs: whether jobs of a
    run on a cluster are yet to end; then it lives, whatever became of the process.
    exported: people submit its jobs, which are its own from their start to their end.
    """

    id: int
    started_s: float
    beat_s: float
    owner: Owner
    command: str
    cluster: str | None
    has_jobs: bool
    exported: bool = False

    def lives(self, now_s: float) -> bool:
        """Whether something more will come of it, as far as can be told from here."""
        if self.has_jobs or self.exported:
            return self.has_jobs
        return alive(self.owner, self.beat_s, now_s)


def open_runs(connection: Connection) -> list[OpenRun]:
    """The runs that did not end, oldest first. Raises: DamageError."""
    with sound():
        return [_open(row) for row in connection.execute(_OPEN)]


def _open(row: Sequence[Any]) -> OpenRun:
    id_, started_s, beat_s, host, pid, start, boot, command, cluster, jobs, exported = row
    owner = Owner(str(host), int(pid), start, boot)
    times = (float(started_s), float(beat_s))
    return OpenRun(id_, *times, owner, str(command), cluster, bool(jobs), bool(exported))


def living(connection: Connection, now_s: float) -> list[int]:
    """The runs of which more will come. Raises: DamageError."""
    return [run.id for run in open_runs(connection) if run.lives(now_s)]


def state_now(living: Sequence[int]) -> str:
    """SQL for the state of a job now: what a run left running when it died is lost.

    living: the runs of which more will come.
    """
    runs = ",".join(map(str, living)) or "NULL"
    claimed = f"ifnull(job.claim IN ({runs}), 0)"
    return f"""CASE WHEN {claimed} THEN
        CASE WHEN job.state IN {UNDER_WAY_SQL} THEN job.state ELSE 'waiting' END
        WHEN job.state IN {UNDER_WAY_SQL} THEN 'lost'
        WHEN job.claim IS NOT NULL THEN 'waiting'
        WHEN job.state = 'done' AND EXISTS (SELECT 1 FROM main.collected AS collected
            WHERE collected.job = job.id AND collected.attempt = job.attempt) THEN 'collected'
        ELSE job.state END"""


def begin(connection: Connection, info: RunInfo, now_s: float, cluster: str | None = None) -> int:
    """Record a run of this process; its number is never 1."""
    # SQLite keeps a 1 in the head of a row, where one flipped byte could make a claim vanish
    # without a trace; any other number takes place of its own.
    row = connection.execute("SELECT coalesce(max(id), 1) + 1 FROM run").fetchone()
    run = int(row[0])
    owner = this_process()
    connection.execute(
        "INSERT INTO run VALUES (?, 'running', ?, NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
        (
            *(run, now_s),
            *(clean(info.command), json.dumps(info.targets), json.dumps(info.options)),
            *(owner.host, owner.pid, owner.process_start, owner.boot, now_s, cluster),
        ),
    )
    return run


def count_undone(connection: Connection, run: int, number: int) -> None:
    """So many more jobs of a run on a cluster ended otherwise than done."""
    if number:
        connection.execute("UPDATE run SET undone = undone + ? WHERE id = ?", (number, run))


def finish(connection: Connection, run: int, now_s: float) -> str | None:
    """End a run on a cluster when none of its jobs is to come; its status now, None: it goes on.

    A run that never submitted anything, and whose jobs are nobody's, was given up.
    """
    row = connection.execute("SELECT status, undone FROM run WHERE id = ?", (run,)).fetchone()
    if row is None or row[0] != "running":
        return str(row[0]) if row else "abandoned"
    if connection.execute("SELECT 1 FROM job WHERE claim = ? LIMIT 1", (run,)).fetchone():
        return None
    begun = connection.execute("SELECT 1 FROM slice WHERE run = ? LIMIT 1", (run,)).fetchone()
    status = "failed" if row[1] else "done" if begun else "abandoned"
    connection.execute("UPDATE run SET status = ?, ended_s = ? WHERE id = ?", (status, now_s, run))
    return status
