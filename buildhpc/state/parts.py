"""The parts of jobs that spawned: rows of their own, which no list of jobs shows.

An attempt that spawned is `spawned` until its last part has told of its end, or until all parts
are over and some are not done. A part is a row of `job` with an empty rule; `part` says which part
of which attempt it is. So parts are claimed, submitted, told of and lost as jobs are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from buildhpc.state.claims import JobToClaim, insert
from buildhpc.state.logs import beside
from buildhpc.state.plan_file import PlannedJob
from buildhpc.state.rows import Change, Row, write_changes
from buildhpc.state.runs import count_undone
from buildhpc.state.schema import LAST_ATTEMPT, UNDER_WAY_SQL
from buildhpc.state.snapshot import change_counter

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.state.database import State
    from buildhpc.state.receipts import Ended

# What the last part told may be on its way for so long.
_GRACE_S = 30.0
_OVER = ("done", "failed", "cancelled", "lost", "skipped")
# The setting of a job whose next attempt goes on with parts of the last one.
RESUME = "parts"
# What is resumed: parts in these states begin anew.
AGAIN: Mapping[str, tuple[str, ...]] = {
    "lost": ("lost",),
    "failed": ("failed",),
    "all": ("lost", "failed", "cancelled", "skipped", "waiting"),
}
_KINDS = tuple(AGAIN)
# In the place of wildcards: it was over before this attempt, and is no part of the plan.
_STAYS = {"stays": "1"}


class Part(NamedTuple):
    """One part of an attempt, and its own last attempt; what is not known is None.

    number: from 0. tried: how often it was begun or submitted. failure: class and words.
    id: of its last attempt.
    """

    number: int
    job: str
    state: str
    tried: int | None
    failure: str
    host: str | None
    scheduler_id: str | None
    started_s: float | None
    ended_s: float | None
    exit_code: int | None
    id: int | None


@dataclass(frozen=True, slots=True)
class Spawned:
    """A job that waits for its parts. counts: state -> how many of them. ids: of what runs."""

    job: str
    run: int
    cluster: str
    counts: Mapping[str, int]
    ids: Sequence[str]


_PART = """SELECT part.number, job.name, job.state, attempt.number, job.failure, attempt.host,
    attempt.scheduler_id, attempt.started_s, attempt.ended_s, attempt.exit_code, attempt.id
    FROM part JOIN job ON job.id = part.job LEFT JOIN attempt ON attempt.id = job.attempt
    WHERE part.attempt = ? ORDER BY part.number"""


def parts_of(state: State, attempt: int) -> list[Part]:
    """The parts of an attempt, in their order; none where it did not spawn."""
    return state.read(lambda connection: _parts(connection, attempt))


def _parts(connection: Connection, attempt: int) -> list[Part]:
    return [Part(*row) for row in connection.execute(_PART, (attempt,))]


def spawned_now(connection: Connection, where: str, values: Sequence[Any]) -> list[Spawned]:
    """The jobs that wait for their parts, oldest first. where: a condition on jobs."""
    query = f"""SELECT attempt.id, job.name, attempt.run, submission.cluster FROM job
        JOIN attempt ON attempt.id = job.attempt
        LEFT JOIN submission ON submission.id = attempt.submission
        WHERE job.state = 'spawned' AND job.claim = attempt.run AND {where} ORDER BY attempt.id"""
    found = []
    for attempt, job, run, cluster in connection.execute(query, values).fetchall():
        parts = _parts(connection, attempt)
        counts: dict[str, int] = {}
        for part in parts:
            counts[part.state] = counts.get(part.state, 0) + 1
        ids = [part.scheduler_id or "" for part in parts if part.state == "running"]
        found.append(Spawned(job, run, cluster, counts, ids))
    return found


def spawn(connection: Connection, attempt: int, receipt: Ended) -> None:
    """Write the parts that an attempt asked for: they wait for its run."""
    assert receipt.spawned is not None
    count = int(receipt.spawned["parts"])
    _write(connection, attempt, receipt.job, count, receipt.key.run, range(count))


def _write(
    connection: Connection,
    attempt: int,
    job: str,
    count: int,
    run: int | None,
    which: Sequence[int],
) -> dict[int, int]:
    """Insert parts that `run` has, or that stay as they are; returns part -> its row."""
    names = {f"{job} part {number} of {count} (attempt {attempt})": number for number in which}
    mark = {} if run is not None else _STAYS
    made = insert(connection, run, [JobToClaim(name, "", mark) for name in names])
    rows = {number: made[name].id for name, number in names.items()}
    connection.executemany(
        "INSERT INTO part VALUES (?, ?, ?)", [(row, attempt, n) for n, row in rows.items()]
    )
    return rows


def meta_of(meta: str | None, receipt: Ended) -> str:
    """What is kept of an attempt that spawned, beside what was kept of it before."""
    kept = json.loads(meta) if meta else {}
    told: dict[str, Any] = {"inputs": receipt.inputs, "hashes": receipt.hashes}
    told |= {"recipe": receipt.recipe, "started_s": receipt.outcome.started_s}
    return json.dumps({**kept, "spawned": {**(receipt.spawned or {}), **told}})


def end_spawned(state: State, run: int) -> bool:
    """Let the jobs of a run fail whose parts are all over, and not all done.

    Returns whether the end of another one is yet to be told.
    """
    query = """SELECT attempt.id, job.name, job.id FROM job JOIN attempt ON attempt.id = job.attempt
        WHERE job.state = 'spawned' AND job.claim = ? AND attempt.run = ?"""

    def read(connection: Connection) -> list[tuple[int, str, int, list[Part]]]:
        rows = connection.execute(query, (run, run)).fetchall()
        return [(*row, _parts(connection, row[0])) for row in rows]

    found = state.read(read)
    over = [each for each in found if all(part.state in _OVER for part in each[3])]
    now_s = state.now_s()
    ripe = [each for each in over if now_s - _last_s(each[3]) > _GRACE_S or not _done(each[3])]
    for attempt, job, row, parts in ripe:
        _fail(state, run, (attempt, job, row), _why(parts), _log(state, parts))
    return len(over) > len(ripe)


def _done(parts: Sequence[Part]) -> bool:
    return all(part.state == "done" for part in parts)


def _last_s(parts: Sequence[Part]) -> float:
    return max((part.ended_s or 0.0 for part in parts), default=0.0)


def _why(parts: Sequence[Part]) -> tuple[str, str, int]:
    """State or class, and words, of why a job fails whose parts are over; and how many did."""
    bad = [part for part in parts if part.state != "done"]
    if not bad:
        return "lost", "all its parts are done, and none of them told of its end", 0
    order = ("failed", "lost", "cancelled")
    worst = min(bad, key=lambda part: order.index(part.state) if part.state in order else 9)
    more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
    kind, _, words = worst.failure.partition(": ")
    said = words or worst.failure or worst.state
    text = f"part {worst.number} of {len(parts)}: {said}{more}"
    return (kind if worst.state == "failed" else worst.state), text, len(bad)


def _log(state: State, parts: Sequence[Part]) -> str:
    """What the first bad part printed."""
    from buildhpc.state.queries import log_text

    bad = [part for part in parts if part.state == "failed" and part.id is not None]
    if not bad or bad[0].id is None:
        return ""
    text = log_text(state, bad[0].id, "err") or log_text(state, bad[0].id)
    return f"part {bad[0].number} of {len(parts)}:\n{text}" if text else ""


def _fail(
    state: State, run: int, which: tuple[int, str, int], why: tuple[str, str, int], log: str
) -> None:
    attempt, job, row = which
    failure, text, bad = why
    ended = failure if failure in ("lost", "cancelled") else "failed"
    kind = None if ended != "failed" else failure
    with state.transaction() as connection:
        now = connection.execute(
            "SELECT state, log_path, err_at FROM attempt WHERE id = ?", (attempt,)
        ).fetchone()
        if now is None or now[0] != "spawned":
            return
        connection.execute(
            "UPDATE attempt SET state = ?, failure = ?, message = ?, ended_s = ?,"
            " log = CASE WHEN log_path IS NULL THEN ifnull(log, '') || ? ELSE log END WHERE id = ?",
            (ended, kind, text, state.now_s(), log, attempt),
        )
        change = Change(ended, f"{kind}: {text}" if kind else text)
        write_changes(connection, run, change_counter(state.found), [Row(job, row, change)])
        count_undone(connection, run, 1 - bad)
    if now[1] is not None:
        own = now[1] if now[2] is None else beside(now[1])
        with suppress(OSError), (state.folder / own).open("a", errors="replace") as file:
            file.write(log)


def names_of(connection: Connection, jobs: Sequence[str]) -> list[str]:
    """The parts that the last attempts of jobs have spawned."""
    query = """SELECT own.name FROM job JOIN part ON part.attempt = job.attempt
        JOIN job AS own ON own.id = part.job WHERE job.name = ?"""
    return [row[0] for job in jobs for row in connection.execute(query, (job,))]


def wish(state: State, jobs: Sequence[int], kind: str) -> None:
    """Let the next attempts of jobs go on with the parts of the last one. kind: of `AGAIN`."""
    rows = [(job, RESUME, _KINDS.index(kind)) for job in jobs]
    with state.transaction() as connection:
        connection.executemany("INSERT OR REPLACE INTO setting VALUES (?, ?, ?)", rows)


def resume(state: State, run: int, plan: Sequence[PlannedJob]) -> bool:
    """Let waiting jobs of a run go on with the parts of their last attempts, where people wish so.

    With another recipe than that of the plan a job begins anew. Returns whether there was such a
    wish.
    """
    query = f"""SELECT job.id, job.name, job.attempt, setting.value FROM setting
        JOIN job ON job.id = setting.job
        WHERE setting.key = ? AND job.claim = ?
        AND job.state NOT IN {UNDER_WAY_SQL}"""
    if not state.read(lambda connection: connection.execute(query, (RESUME, run)).fetchone()):
        return False
    with state.transaction() as connection:
        rows = connection.execute(query, (RESUME, run)).fetchall()
        for row, job, attempt, kind in rows:
            connection.execute("DELETE FROM setting WHERE job = ? AND key = ?", (row, RESUME))
            again = AGAIN[_KINDS[kind]]
            recipe = next(str(each.details()["recipe"]) for each in plan if each.job == job)
            made = _go_on(connection, (run, job, attempt), again, recipe)
            if made is not None:
                change = Row(job, row, Change("spawned", keep=run), made)
                write_changes(connection, run, change_counter(state.found), [change])
    return True


def _go_on(
    connection: Connection,
    which: tuple[int, str, int],
    again: Sequence[str],
    recipe: str,
) -> int | None:
    """A new attempt in which some of the parts of an earlier one begin anew; None: not possible."""
    run, job, attempt = which
    parts = _parts(connection, attempt)
    meta = connection.execute("SELECT meta FROM attempt WHERE id = ?", (attempt,)).fetchone()[0]
    kept = json.loads(meta) if meta else {}
    if not parts or kept["spawned"]["recipe"] != recipe:
        return None
    done = {part.number for part in parts if part.state == "done"}
    anew = [part.number for part in parts if part.state in again]
    made = int(connection.execute(LAST_ATTEMPT).fetchone()[0]) + 1
    kept["spawned"]["done"] = sorted(done)
    connection.execute(
        "INSERT INTO attempt (id, job, run, number, state, message, started_s, cores, mem_mib,"
        " time_s, meta, command, submission, element, host)"
        " SELECT ?, job, ?, CASE WHEN run = ? THEN number + 1 ELSE 1 END, 'spawned', '',"
        " started_s, cores, mem_mib, time_s, ?, command, submission, element, host"
        " FROM attempt WHERE id = ?",
        (made, run, run, json.dumps(kept), attempt),
    )
    count = len(parts)
    _write(connection, made, job, count, run, anew)
    left = [number for number in range(count) if number not in anew]
    rows = _write(connection, made, job, count, None, left)
    states = {part.number: part for part in parts}
    changes = []
    for number, row in rows.items():
        was = states[number]
        name = f"{job} part {number} of {count} (attempt {made})"
        changes.append(Row(name, row, Change(was.state, was.failure), was.id))
    write_changes(connection, None, 0, changes)
    return made
