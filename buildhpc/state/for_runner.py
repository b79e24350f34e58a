"""What a runner on its node asks of the state, without the lock and with little loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from buildhpc.plan.stamps import Stamp
from buildhpc.state import records, snapshot

if TYPE_CHECKING:
    from sqlite3 import Connection

# A copy of a large database over a network is much where thousands of runners read: while
# others write, a runner rather waits, for some seconds in all.
_IN_PLACE = 100

_ATTEMPT = """SELECT attempt.state, attempt.submission, attempt.restart, attempt.host,
    attempt.pid, attempt.process_start, attempt.told, job.claim,
    CASE attempt.state WHEN 'exported' THEN ifnull(job.attempt, 0) <= attempt.id
        ELSE job.attempt = attempt.id END,
    ifnull((SELECT status = 'exported' FROM run WHERE run.id = attempt.run), 0)
    FROM attempt JOIN job ON job.id = attempt.job
    WHERE job.name = ? AND attempt.run = ? AND attempt.number = ? ORDER BY attempt.id DESC"""


class AttemptNow(NamedTuple):
    """An attempt as the state knows it.

    submission: that it belongs to. restart: how often it was started anew, as far as that was
    told. host, pid, process_start: of the runner that has begun it; None before. told: who
    told its end. claim: the run that has its job; newest: nothing was begun with the job since.
    exported: people submit it, and may do so again.
    """

    state: str
    submission: int | None
    restart: int | None
    host: str | None
    pid: int | None
    process_start: int | None
    told: str | None
    claim: int | None
    newest: bool
    exported: bool = False


class Known(NamedTuple):
    """What the state says at one moment.

    attempt: None: there is no such attempt. made: of the jobs asked for, those that are done,
    with the stamps of their outputs.
    """

    attempt: AttemptNow | None
    made: Mapping[str, Mapping[str, Stamp | None]]


_RAN = """SELECT 1 FROM attempt JOIN job ON job.id = attempt.job
    WHERE job.name IN ({}) AND attempt.state = 'done' AND (attempt.run = ?
    OR attempt.ended_s >= (SELECT started_s FROM run WHERE id = ?)) LIMIT 1"""


def any_ran(home: str, run: int, jobs: Sequence[str]) -> bool:
    """Whether one of the jobs has run, and well, since a run began. Raises: as `snapshot.read`."""

    def query(connection: Connection) -> bool:
        return any(
            connection.execute(_RAN.format(marks), (*part, run, run)).fetchone()
            for marks, part in records.chunks(jobs)
        )

    return snapshot.read(Path(home) / "state.db", query, _IN_PLACE)


def look(home: str, job: str, attempt: tuple[int, int], needs: Sequence[str] = ()) -> Known:
    """What the state in the folder `home` says of an attempt of `job`, and of the jobs `needs`.

    attempt: run and number. Raises: as `snapshot.read`.
    """

    def query(connection: Connection) -> Known:
        row = connection.execute(_ATTEMPT, (job, *attempt)).fetchone()
        made = {
            name: dict(zip(record.outputs, record.output_stamps, strict=True))
            for name, record in records.load_some(connection, needs).items()
            if record.state == "done"
        }
        return Known(row and AttemptNow(*row), made)

    return snapshot.read(Path(home) / "state.db", query, _IN_PLACE)
