"""What the commands that look at the state ask it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from buildhpc.state.logs import beside, files_of, text_of
from buildhpc.state.records import chunks, path_bytes
from buildhpc.state.rows import NOW, SHOWN
from buildhpc.state.runs import living, state_now

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.state.database import State
    from buildhpc.state.where import Condition

T = TypeVar("T")

# What a job can be in, in the order of its life.
STATES = (
    *("done", "collected", "running", "spawned", "queued", "waiting"),
    *("failed", "lost", "skipped", "cancelled", "reset"),
)


@dataclass(frozen=True, slots=True)
class RunRow:
    """One hpcmake. ended_s: None while it runs."""

    id: int
    status: str
    started_s: float
    ended_s: float | None
    command: str
    targets: tuple[str, ...]
    options: Mapping[str, Any]
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job. claim: the run that has it; None: no run.

    attempt, run, host, started_s, ended_s: of its last attempt; None if it never had one.
    """

    id: int
    name: str
    rule: str
    wildcards: Mapping[str, str]
    state: str
    failure: str
    claim: int | None
    attempt: int | None
    run: int | None
    host: str | None
    started_s: float | None
    ended_s: float | None


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt of a job; what is not known is None.

    number: counted from 1 within its run. used: what it used; see `Used`.
    failure: class of its failure. message: why it failed, for people.
    log_path: the file that holds what it printed, relative to the working folder; None when
        that is folded into the state. err_path: that of stderr, where it has one of its own.
    """

    id: int
    job: str
    run: int
    number: int
    state: str
    failure: str | None
    message: str
    exit_code: int | None
    signal: int | None
    command: str
    log_path: str | None
    err_path: str | None
    used: Used


@dataclass(frozen=True, slots=True)
class Used:
    """What an attempt asked for, used, and where; what is not known is None."""

    started_s: float | None
    ended_s: float | None
    cpu_s: float | None
    peak_mib: float | None
    cores: int | None
    mem_mib: int | None
    time_s: int | None
    host: str | None
    pid: int | None
    scheduler_id: str | None


@dataclass(frozen=True, slots=True)
class Where:
    """Which jobs are meant: those for which all that is given holds.

    states: jobs in one of these, of `STATES`; none: in any. run: jobs with an attempt in it.
    target: the path of a file that the job made last.
    condition: what `--where` says.
    """

    name: str | None = None
    rule: str | None = None
    states: tuple[str, ...] = ()
    run: int | None = None
    target: str | None = None
    condition: Condition | None = None


_CONDITIONS = {
    "name": "job.name = ?",
    "rule": "job.rule = ?",
    "run": "job.id IN (SELECT job FROM attempt WHERE run = ?)",
    "target": "job.name = (SELECT job FROM output WHERE path = CAST(? AS TEXT))",
}

_JOB = """SELECT job.id, job.name, job.rule, job.wildcards, {now}, job.failure, job.claim,
    job.attempt, attempt.run, attempt.host, attempt.started_s, attempt.ended_s
    FROM job LEFT JOIN attempt ON attempt.id = job.attempt"""

_ATTEMPT = """SELECT attempt.id, job.name, attempt.run, number, attempt.state, attempt.failure,
    message, exit_code, signal, command, log_path, err_at,
    started_s, ended_s, cpu_s, peak_mib, cores, mem_mib, time_s, host, pid, scheduler_id
    FROM attempt JOIN job ON job.id = attempt.job"""

_RUN = """SELECT id, status, started_s, ended_s, command, targets, options, host, pid
    FROM run ORDER BY id"""


def jobs(state: State, where: Where | None = None) -> list[JobRow]:
    """The jobs that are meant, by rule and name. Raises: as `Condition.choose`."""
    conditions, values = [SHOWN], []
    for column, condition in _CONDITIONS.items():
        value = getattr(where, column, None)
        if value is not None:
            conditions.append(condition)
            values.append(path_bytes(value) if column == "target" else value)
    said = where.condition if where else None
    states = where.states if where else ()

    def query(connection: Connection) -> list[JobRow]:
        now_s = state.now_s()
        now = state_now(living(connection, now_s))
        chosen = [said.choose(connection, now_s)] if said else []
        if states:
            chosen.append(f"{now} IN ({','.join('?' * len(states))})")
        filtered = " AND ".join([*chosen, *conditions])
        select = f"{_JOB.format(now=now)} WHERE {filtered} ORDER BY job.rule, job.name"
        return [_job(row) for row in connection.execute(select, [*states, *values])]

    return state.read(query)


def attempts(state: State, job: str) -> list[AttemptRow]:
    """The attempts of a job, oldest first."""
    return _all(state, _attempt, f"{_ATTEMPT} WHERE job.name = ? ORDER BY attempt.id", job)


def last_attempts(state: State, run: int, names: Sequence[str]) -> dict[str, AttemptRow]:
    """Job -> its last attempt, of these jobs where that was in `run`."""
    found: dict[str, AttemptRow] = {}
    for marks, part in chunks(names):
        condition = f"attempt.id = job.attempt AND attempt.run = ? AND job.name IN ({marks})"
        rows = _all(state, _attempt, f"{_ATTEMPT} WHERE {condition}", run, *part)
        found.update((row.job, row) for row in rows)
    return found


def attempts_in(state: State, run: int, names: Sequence[str]) -> dict[str, AttemptRow]:
    """Job -> the last attempt of it in `run`, whatever came later; no entry where none was."""
    found: dict[str, AttemptRow] = {}
    for marks, part in chunks(names):
        condition = f"attempt.run = ? AND job.name IN ({marks}) ORDER BY attempt.id"
        found.update(
            (row.job, row)
            for row in _all(state, _attempt, f"{_ATTEMPT} WHERE {condition}", run, *part)
        )
    return found


def log_text(state: State, attempt: int, stream: str = "") -> str:
    """What an attempt printed, undecodable bytes replaced; empty when nothing is known.

    stream: `out` or `err` alone, where they were kept apart; empty: both.
    """
    rows = _all(state, tuple, "SELECT log, log_path, err_at FROM attempt WHERE id = ?", attempt)
    text, path, err_at = rows[0] if rows else ("", None, None)
    if path is None:
        return text_of(str(text or ""), err_at, stream)
    found = []
    for file in files_of(str(path), err_at, stream):
        with suppress(OSError):
            found.append((state.folder / file).read_bytes().decode("utf-8", "replace"))
    lines = [f"{each}\n" if each and not each.endswith("\n") else each for each in found[:-1]]
    return "".join([*lines, *found[-1:]])


def runs(state: State) -> list[RunRow]:
    """All runs, oldest first."""
    return _all(state, _run, _RUN)


def runs_all_in(state: State, states: Sequence[str], before_s: float | None) -> list[int]:
    """The runs that ended, oldest first, and of whose jobs each is in one of `states` now.

    states: none: any. before_s: they ended before that; None: whenever.
    """

    def query(connection: Connection) -> list[int]:
        now_s = state.now_s()
        now = state_now(living(connection, now_s))
        marks = ",".join("?" * len(states))
        other = f"max({now} NOT IN ({marks}))" if states else "0"
        rows = connection.execute(
            "SELECT run.id FROM run LEFT JOIN attempt ON attempt.run = run.id"
            " LEFT JOIN job ON job.id = attempt.job"
            " WHERE run.ended_s IS NOT NULL AND run.ended_s < ?"
            f" GROUP BY run.id HAVING NOT ifnull({other}, 1) ORDER BY run.id",
            (now_s + 1.0 if before_s is None else before_s, *states),
        )
        return [row[0] for row in rows]

    return state.read(query)


def counts(state: State) -> dict[str, dict[str, int]]:
    """Rule -> state -> number of its jobs; rules by name."""
    found: dict[str, dict[str, int]] = {}
    for rule, now, number in _all(
        state,
        tuple,
        f"SELECT rule, {NOW} AS now, count(*) FROM job WHERE {SHOWN}"
        " GROUP BY rule, now ORDER BY rule, now",
    ):
        found.setdefault(rule, {})[now] = number
    return found


def _job(row: Sequence[Any]) -> JobRow:
    return JobRow(*(*row[:3], json.loads(row[3]), *row[4:]))


def _attempt(row: Sequence[Any]) -> AttemptRow:
    split = row[10] is not None and row[11] is not None
    return AttemptRow(*(*row[:11], beside(row[10]) if split else None, Used(*row[12:])))


def _run(row: Sequence[Any]) -> RunRow:
    return RunRow(*(*row[:5], tuple(json.loads(row[5])), json.loads(row[6]), *row[7:]))


def _all(
    state: State, make: Callable[[tuple[Any, ...]], T], select: str, *values: object
) -> list[T]:
    def query(connection: Connection) -> list[T]:
        return [make(row) for row in connection.execute(select, values)]

    return state.read(query)
