"""What `status` and `logs` ask the state: few columns of many jobs, in one look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildhpc.state.owners import alive
from buildhpc.state.parts import Spawned, spawned_now
from buildhpc.state.records import chunks
from buildhpc.state.rows import SHOWN
from buildhpc.state.runs import open_runs, state_now

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.state.database import State
    from buildhpc.state.where import Condition


@dataclass(frozen=True, slots=True)
class JobNow:
    """A job and its last attempt; what is not known is None.

    failure: class and words of a failure, or why it was skipped. number: of the attempt, counted
    from 1 within its run. cluster, scheduler_id: where a scheduler has or had it, and as what.
    phase, progress: what it says of itself.
    """

    job: str
    rule: str
    state: str
    failure: str
    run: int | None
    number: int | None
    started_s: float | None
    ended_s: float | None
    host: str | None
    pid: int | None
    cluster: str | None
    scheduler_id: str | None
    phase: str | None = None
    progress: float | None = None


@dataclass(frozen=True, slots=True)
class QueuedNow:
    """Jobs of one rule that wait in the queue of a scheduler, in one submission.

    scheduler_id: of the submission; None before that is known.
    """

    run: int
    rule: str
    jobs: int
    cluster: str
    scheduler_id: str | None
    since_s: float


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run that has not ended.

    cluster: where its jobs run; None: on its own host. followed: whether its process lives; the
    jobs on a cluster go on without.
    """

    run: int
    started_s: float
    host: str
    pid: int
    command: str
    cluster: str | None
    followed: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """The state of the jobs that are meant.

    counts: rule -> state -> number of jobs. by_run: run -> the same, of the jobs that it has or
    was the last to try; 0: no run. running: what runs, oldest first. queued: what schedulers
    have, oldest first. failed, lost: the last first, at most as many as asked for. listed: the
    jobs in the states that were asked for, by rule and name. runs: those that live.
    spawned: the jobs that wait for their parts.
    """

    counts: dict[str, dict[str, int]]
    by_run: dict[int, dict[str, dict[str, int]]]
    running: list[JobNow]
    queued: list[QueuedNow]
    failed: list[JobNow]
    lost: list[JobNow]
    listed: list[JobNow]
    runs: list[LiveRun]
    spawned: list[Spawned]

    def number(self, *states: str) -> int:
        """How many jobs are in one of these states; with none, in any."""
        return sum(
            number
            for of_rule in self.counts.values()
            for state, number in of_rule.items()
            if not states or state in states
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """Which jobs `status` is about: those for which all that is given holds.

    states: also lists the jobs in them. condition: what `--where` says; lists its jobs as well.
    failures: how many of them are told, and of the lost.
    """

    states: tuple[str, ...] = ()
    rule: str | None = None
    run: int | None = None
    condition: Condition | None = None
    failures: int = 5

    @property
    def lists(self) -> bool:
        """Whether each of the jobs is told."""
        return bool(self.states) or self.condition is not None


_COLUMNS = """job.name, job.rule, {now}, job.failure, attempt.run, attempt.number,
    attempt.started_s, attempt.ended_s, attempt.host, attempt.pid, submission.cluster,
    attempt.scheduler_id,
    (SELECT json_extract(value, '$') FROM note
        WHERE note.attempt = attempt.id AND key = 'phase'),
    (SELECT json_extract(value, '$') FROM note
        WHERE note.attempt = attempt.id AND key = 'progress')
    FROM job LEFT JOIN attempt ON attempt.id = job.attempt
    LEFT JOIN submission ON submission.id = attempt.submission"""

_QUEUED = """SELECT attempt.run, job.rule, count(*), submission.cluster,
    submission.scheduler_id, submission.made_s
    FROM attempt JOIN job ON job.id = attempt.job
    JOIN submission ON submission.id = attempt.submission
    WHERE attempt.state IN ('running', 'queued') AND attempt.state = 'queued' AND {where}
    GROUP BY submission.id, job.rule ORDER BY submission.id, job.rule"""


def overview(state: State, asked: Asked) -> Overview:
    """What there is to tell of the jobs that are meant. Raises: as `Condition.choose`."""
    return state.read(lambda connection: _overview(connection, asked, state.now_s()))


def _overview(connection: Connection, asked: Asked, now_s: float) -> Overview:
    runs = _living(connection, now_s)
    now = state_now([run.run for run in runs])
    where, values = _where(asked, now)
    if asked.condition is not None:
        where = f"{where} AND {asked.condition.choose(connection, now_s)}"
    counts: dict[str, dict[str, int]] = {}
    by_run: dict[int, dict[str, dict[str, int]]] = {}
    # 100,000 jobs take 0.1 s.
    for rule, run, is_now, number in connection.execute(
        f"SELECT job.rule, ifnull(job.claim, ifnull(attempt.run, 0)) AS has, {now} AS now,"
        " count(*) FROM job LEFT JOIN attempt ON attempt.id = job.attempt"
        f" WHERE {where} GROUP BY job.rule, has, now ORDER BY job.rule, now, has",
        values,
    ):
        of_rule = counts.setdefault(rule, {})
        of_rule[is_now] = of_rule.get(is_now, 0) + number
        by_run.setdefault(run, {}).setdefault(rule, {})[is_now] = number

    def jobs(condition: str) -> list[JobNow]:
        columns = _COLUMNS.format(now=now)
        rows = connection.execute(f"SELECT {columns} WHERE {where} AND {condition}", values)
        return [JobNow(*row) for row in rows]

    running = jobs("job.state = 'running' ORDER BY attempt.started_s, job.name")
    last = f"ORDER BY attempt.ended_s DESC, job.name LIMIT {asked.failures}"
    return Overview(
        counts,
        dict(sorted(by_run.items())),
        [job for job in running if job.state == "running"],
        [QueuedNow(*row) for row in connection.execute(_QUEUED.format(where=where), values)],
        jobs(f"{now} = 'failed' {last}"),
        jobs(f"{now} = 'lost' {last}"),
        jobs("1 ORDER BY job.rule, job.name") if asked.lists else [],
        runs,
        spawned_now(connection, where, values),
    )


def _where(asked: Asked, now: str) -> tuple[str, list[Any]]:
    conditions = {
        "job.rule = ?": asked.rule,
        "job.id IN (SELECT job FROM attempt WHERE run = ?)": asked.run,
    }
    given = {text: value for text, value in conditions.items() if value is not None}
    texts = [SHOWN, *given]
    if asked.states:
        texts.append(f"{now} IN ({','.join('?' * len(asked.states))})")
    return " AND ".join(texts), [*given.values(), *asked.states]


def _living(connection: Connection, now_s: float) -> list[LiveRun]:
    return [
        LiveRun(
            *(run.id, run.started_s, run.owner.host, run.owner.pid, run.command),
            *(run.cluster, alive(run.owner, run.beat_s, now_s)),
        )
        for run in open_runs(connection)
        if run.lives(now_s)
    ]


def known_names(state: State, like: str = "", most: int = 5000) -> list[str]:
    """Names of rules, then of jobs and of files that jobs made, about as long as `like`."""
    length = len(like)
    span = (length - 3, length + 3, most)

    def query(connection: Connection) -> list[str]:
        rules = connection.execute(f"SELECT DISTINCT rule FROM job WHERE {SHOWN}").fetchall()
        jobs = connection.execute(
            f"SELECT name FROM job WHERE {SHOWN} AND length(name) BETWEEN ? AND ? LIMIT ?", span
        ).fetchall()
        files = connection.execute(
            "SELECT path FROM output WHERE length(path) BETWEEN ? AND ? LIMIT ?", span
        ).fetchall()
        return [str(row[0]) for row in (*rules, *jobs, *files)]

    return state.read(query)


@dataclass(frozen=True, slots=True)
class Printed:
    """What an attempt printed: as text, or in the file at `path`, relative to the folder.

    live: the attempt runs, so that there may be more to come. queued: it is yet to begin.
    text is empty where the log was removed, or written over by a later attempt, and None where
    nothing was printed. err_at: as of `logs.Log`: None where stdout and stderr are in one.
    """

    job: str
    attempt: int
    text: str | None
    path: str | None
    live: bool
    queued: bool
    err_at: int | None = None


def printed(state: State, jobs: Sequence[str], place: int) -> list[Printed]:
    """What one attempt of each job printed, in the order of `jobs`; no entry where there is none.

    place: of the attempt among those of its job: 0 the first, 1 the second, -1 the last.
    """

    def query(connection: Connection) -> dict[str, Printed]:
        living = {run.run for run in _living(connection, state.now_s())}
        found = {}
        for marks, part in chunks(jobs):
            ids: dict[str, list[int]] = {}
            for name, number in connection.execute(
                "SELECT job.name, attempt.id FROM attempt JOIN job ON job.id = attempt.job"
                f" WHERE job.name IN ({marks}) ORDER BY attempt.id",
                part,
            ):
                ids.setdefault(name, []).append(number)
            for name, numbers in ids.items():
                if -len(numbers) <= place < len(numbers):
                    row = connection.execute(
                        "SELECT log, log_path, state, run, err_at FROM attempt WHERE id = ?",
                        (numbers[place],),
                    ).fetchone()
                    if row[1] is not None and _is_written_over(connection, numbers, place, row[1]):
                        row = ("", None, *row[2:])
                    live = row[2] in ("running", "queued") and row[3] in living
                    queued = live and row[2] == "queued"
                    found[name] = Printed(
                        *(name, numbers[place], row[0], row[1], live, queued, row[4])
                    )
        return found

    found = state.read(query)
    return [found[name] for name in jobs if name in found]


def _is_written_over(
    connection: Connection, attempts: Sequence[int], place: int, path: str
) -> bool:
    """Whether a later attempt of a job printed to the same file."""
    later = [str(each) for each in attempts[place:][1:]]
    return any(
        connection.execute(
            f"SELECT 1 FROM attempt WHERE id IN ({marks}) AND log_path = ?"
            " AND started_s IS NOT NULL",
            (*part, path),
        ).fetchone()
        for marks, part in chunks(later)
    )


def on_clusters(state: State, jobs: Sequence[str]) -> dict[str, JobNow]:
    """Job -> how it is, of those of the jobs that a scheduler has."""

    def query(connection: Connection) -> dict[str, JobNow]:
        now = state_now([run.run for run in _living(connection, state.now_s())])
        columns = _COLUMNS.format(now=now)
        return {
            row[0]: JobNow(*row)
            for marks, part in chunks(jobs)
            for row in connection.execute(
                f"SELECT {columns} WHERE job.state IN ('running', 'queued')"
                " AND attempt.state = job.state AND submission.id IS NOT NULL"
                f" AND job.claim = attempt.run AND job.name IN ({marks})",
                part,
            )
        }

    return state.read(query)


@dataclass(frozen=True, slots=True)
class Submitted:
    """The last attempt of a job as its scheduler has or had it; what is not known is None.

    name: of the scheduler job. state: of the attempt.
    """

    run: int
    cluster: str
    scheduler_id: str | None
    name: str
    state: str
    host: str | None


def submitted(state: State, job: str) -> Submitted | None:
    """Where the last attempt of a job was submitted; None: nowhere."""
    query = """SELECT attempt.run, cluster, attempt.scheduler_id, submission.name, attempt.state,
        attempt.host FROM job JOIN attempt ON attempt.id = job.attempt
        JOIN submission ON submission.id = attempt.submission WHERE job.name = ?"""
    row = state.read(lambda connection: connection.execute(query, (job,)).fetchone())
    return Submitted(*row) if row else None


def held(state: State, jobs: Sequence[str]) -> set[str]:
    """Those of the jobs that a living run runs or will run."""

    def query(connection: Connection) -> set[str]:
        living = {run.run for run in _living(connection, state.now_s())}
        return {
            name
            for marks, part in chunks(jobs)
            for name, claim in connection.execute(
                f"SELECT name, claim FROM job WHERE name IN ({marks})", part
            )
            if claim in living
        }

    return state.read(query)
