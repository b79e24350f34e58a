"""Runs on clusters as wholes: opened, moved on, given up, ended. See `submissions` for the rest.

Each function is one transaction. Whoever moves a run on decides by what is written here and in
the plan file alone, so that any process can.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from buildhpc.plan.stamps import Record
from buildhpc.plan.window import hopeless
from buildhpc.state import claims, parts
from buildhpc.state.claims import Claimed, JobToClaim
from buildhpc.state.flights import InFlight, close_spent, flights_of, withdraw
from buildhpc.state.records import MANY, chunks, pack
from buildhpc.state.rows import Change, Row, clean, write_changes
from buildhpc.state.runs import begin, count_undone, finish, open_runs
from buildhpc.state.schema import UNDER_WAY
from buildhpc.state.snapshot import change_counter

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.state.database import State
    from buildhpc.state.plan_file import PlannedJob
    from buildhpc.state.recorder import RunInfo

# How a job of a run may have ended otherwise than done.
GIVEN_UP = frozenset({"failed", "cancelled", "skipped", "lost"})


class Standing(NamedTuple):
    """How a planned job stands.

    state: `done`; `waiting`, `queued`, `running`, `spawned`: this run has it; one of
        `GIVEN_UP`: it ended so, and no more is to come of it; `foreign`: another run that lives
        has it; `free`: nobody has it though it is not done, so that this run may claim it.
    tried: the number of its last attempt in this run; 0: there was none.
    """

    state: str
    tried: int = 0


class Stopped(NamedTuple):
    """What will not run.

    jobs: job -> the one that it needs and that did not end well; empty where it was cancelled.
    spent: one attempt of each scheduler job that has nothing to do any more, to be cancelled
    there. running: attempts that have begun, and are left to their scheduler.
    """

    jobs: Mapping[str, str]
    spent: Sequence[InFlight] = ()
    running: Sequence[InFlight] = ()


def reserve_run(state: State, info: RunInfo, cluster: str) -> int:
    """Record a run that is about to write its plan file and then to claim its jobs."""
    with state.transaction() as connection:
        return begin(connection, info, state.now_s(), cluster)


def open_run(
    state: State, run: int, jobs: Sequence[JobToClaim], seen: bytes | None = None
) -> Claimed:
    """Claim the jobs of a plan, or some of them that others had, for a run on a cluster.

    seen: the generation that the plan was made from; None: whatever there is now. With jobs the
    run lives until the last of them ended, whatever becomes of this process.
    """
    with state.transaction() as connection:
        recorded = change_counter(state.found)
        dead = claims.bury(connection, state.now_s(), run, recorded)
        orphans = claims.orphans(connection)
        found = claims.sort_out(connection, run, jobs, seen)
        if found is None:
            return Claimed(changed=True, dead=dead, orphans=orphans)
        mine = claims.take(connection, run, recorded, found)
        connection.execute(
            "UPDATE run SET status = 'running', ended_s = NULL, beat_s = ? WHERE id = ?",
            (state.now_s(), run),
        )
    return Claimed(False, tuple(mine), found.foreign, dead, orphans)


def open_cluster_runs(state: State) -> list[int]:
    """The runs on clusters that did not end, oldest first."""
    runs = state.read(open_runs)
    return [run.id for run in runs if run.cluster is not None and not run.exported]


def exported_runs(state: State) -> list[int]:
    """The exports of which jobs are being run, oldest first."""
    return [run.id for run in state.read(open_runs) if run.exported and run.has_jobs]


def was_submitted(state: State, run: int) -> bool:
    """Whether a scheduler has, or may have, anything of a run; looks without the lock."""
    query = """SELECT 1 FROM submission WHERE run = ?
        AND (scheduler_id IS NOT NULL OR state = 'making') LIMIT 1"""
    return state.read(lambda connection: connection.execute(query, (run,)).fetchone() is not None)


def standings(state: State, run: int, names: Sequence[str]) -> list[Standing]:
    """How planned jobs stand, in their order; 10,000 jobs take 0.05 s CPU."""
    return state.read(lambda connection: _standings(connection, run, names, state.now_s()))


_JOBS = """SELECT job.name, job.id, job.state, job.claim, attempt.run, attempt.number
    FROM job LEFT JOIN attempt ON attempt.id = job.attempt"""


class _Row(NamedTuple):
    id: int
    state: str
    claim: int | None
    run: int | None
    number: int | None


def _rows(connection: Connection, names: Sequence[str]) -> dict[str, _Row]:
    if len(names) > MANY:
        return {row[0]: _Row(*row[1:]) for row in connection.execute(_JOBS)}
    return {
        row[0]: _Row(*row[1:])
        for marks, part in chunks(names)
        for row in connection.execute(f"{_JOBS} WHERE job.name IN ({marks})", part)
    }


def _standings(
    connection: Connection, run: int, names: Sequence[str], now_s: float
) -> list[Standing]:
    living = {each.id for each in open_runs(connection) if each.id == run or each.lives(now_s)}
    rows = _rows(connection, names)
    return [_standing(rows.get(name), run, living) for name in names]


def _standing(row: _Row | None, run: int, living: Collection[int]) -> Standing:
    if row is None:
        return Standing("free")
    tried = row.number if row.run == run and row.number is not None else 0
    if row.claim == run:
        return Standing(row.state if row.state in UNDER_WAY else "waiting", tried)
    if row.claim is not None:
        return Standing("foreign" if row.claim in living else "free", tried)
    if row.state in ("done", "cancelled", "skipped"):
        return Standing(row.state, tried)
    # What another run, or an earlier one, failed to do was never tried by this one.
    return Standing(row.state if row.state in GIVEN_UP and tried else "free", tried)


def settle(state: State, run: int, jobs: Sequence[PlannedJob]) -> Stopped:
    """Skip the jobs that need one that did not end well and is not tried again.

    jobs: the whole plan. What has begun is left alone.
    """
    found = standings(state, run, [job.job for job in jobs])
    given_up = {n: jobs[n].job for n, each in enumerate(found) if each.state in GIVEN_UP}
    if not given_up:
        return Stopped({})
    left = [
        (job.number, job.after)
        for job, each in zip(jobs, found, strict=True)
        if each.state in ("waiting", "queued")
    ]
    skipped = {jobs[number].job: because for number, because in hopeless(left, given_up).items()}
    if not skipped:
        return Stopped({})
    changes = {job: Change("skipped", clean(f"needs: {name}")) for job, name in skipped.items()}
    with state.transaction() as connection:
        stopped = _stop(connection, state, run, changes)
    return stopped._replace(jobs={job: skipped[job] for job in stopped.jobs})


def skip(state: State, run: int, because: Mapping[str, str]) -> None:
    """Give up jobs of a run that have not begun; because: job -> the one that it needed."""
    changes = {job: Change("skipped", clean(f"needs: {name}")) for job, name in because.items()}
    with state.transaction() as connection:
        _stop(connection, state, run, changes)


def cancel(state: State, run: int, names: Iterable[str] | None = None) -> Stopped:
    """Give up the jobs of a run that have not begun, or those of these names among them.

    What runs is told in the answer: its end comes by its own receipt, or by `verdict`.
    """
    with state.transaction() as connection:
        if names is None:
            rows = connection.execute("SELECT name FROM job WHERE claim = ?", (run,))
            names = [row[0] for row in rows.fetchall()]
        names = list(names)
        names += parts.names_of(connection, names)
        stopped = _stop(connection, state, run, dict.fromkeys(names, Change("cancelled")))
        # So that what a runner says of a signal is believed.
        connection.executemany(
            "UPDATE attempt SET told = 'user' WHERE id = ?",
            [(flight.attempt,) for flight in stopped.running],
        )
        return stopped


def _stop(connection: Connection, state: State, run: int, changes: Mapping[str, Change]) -> Stopped:
    """Change jobs of `run` that have not begun, and take back what was submitted of them."""
    rows = _rows(connection, list(changes))
    flights = {each.job: each for each in flights_of(connection, "attempt.run = ?", run)}
    mine = [name for name in changes if name in rows and rows[name].claim == run]
    going = [name for name in mine if rows[name].state != "running"]
    write_changes(
        connection,
        run,
        change_counter(state.found),
        [Row(name, rows[name].id, changes[name]) for name in going],
    )
    count_undone(connection, run, len(going))
    connection.executemany(
        "UPDATE attempt SET state = 'cancelled' WHERE state = 'spawned' AND job = ?",
        [(rows[name].id,) for name in going],
    )
    spent = withdraw(connection, [flights[name] for name in going if name in flights])
    close_spent(connection)
    left = set(mine).difference(going)
    running = [each for name, each in flights.items() if name in left]
    return Stopped(dict.fromkeys(going, ""), spent, running)


def refuse(state: State, run: int, texts: Mapping[str, str], failure: str = "submit") -> None:
    """Let waiting jobs fail, since no scheduler takes them; texts: job -> why."""
    with state.transaction() as connection:
        found = _rows(connection, list(texts))
        rows = {
            name: row
            for name, row in found.items()
            if row.claim == run and row.state not in UNDER_WAY
        }
        first = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM attempt").fetchone()[0]
        attempts, changes = [], []
        for id_, (name, row) in enumerate(rows.items(), first):
            text, tried = clean(texts[name]), row.number if row.run == run else 0
            attempts.append((id_, row.id, run, (tried or 0) + 1, failure, text, state.now_s()))
            changes.append(Row(name, row.id, Change("failed", f"{failure}: {text}"), id_))
        connection.executemany(
            "INSERT INTO attempt (id, job, run, number, state, failure, message, ended_s, told,"
            " command) VALUES (?, ?, ?, ?, 'failed', ?, ?, ?, 'submit', '')",
            attempts,
        )
        write_changes(connection, run, change_counter(state.found), changes)
        count_undone(connection, run, len(changes))


def let_be(state: State, run: int, names: Iterable[str]) -> None:
    """Give back jobs of a run that turned out to need nothing; those without a file are done."""
    nothing = Change("done", "", pack(Record("done", "", "", (), (), (), (), {})))
    with state.transaction() as connection:
        rows = _rows(connection, list(names))
        mine = {name: row for name, row in rows.items() if row.claim == run}
        changes = [Row(name, row.id, nothing) for name, row in mine.items() if row.state != "done"]
        write_changes(connection, run, change_counter(state.found), changes)
        connection.executemany(
            "UPDATE job SET claim = NULL WHERE id = ? AND claim = ?",
            [(row.id, run) for row in mine.values()],
        )


def retry(state: State, run: int, names: Iterable[str]) -> list[str]:
    """Let jobs of a run that ended otherwise than done wait again; returns those that do.

    Only while the run goes on, and where no other run has the job by now.
    """
    with state.transaction() as connection:
        living = {each.id for each in open_runs(connection)}
        if run not in living:
            return []
        rows = _rows(connection, list(names))
        again = {
            name: row
            for name, row in rows.items()
            if row.claim is None and _standing(row, run, living).state in GIVEN_UP
        }
        waiting = Change("waiting", keep=run)
        recorded = change_counter(state.found)
        changed = [Row(name, row.id, waiting) for name, row in again.items()]
        write_changes(connection, None, recorded, changed)
        count_undone(connection, run, -len(again))
        return list(again)


def has_jobs(state: State, run: int) -> bool:
    """Whether jobs are a run's; looks without the lock."""
    query = "SELECT 1 FROM job WHERE claim = ? LIMIT 1"
    return state.read(lambda connection: connection.execute(query, (run,)).fetchone()) is not None


def end_run_if_over(state: State, run: int) -> str | None:
    """End a run when none of its jobs is to come, and remove its folder; None: it goes on.

    Returns `done`; `failed`: jobs ended otherwise; `abandoned`: it never submitted anything.
    """
    if has_jobs(state, run):
        return None
    with state.locked():  # else jobs could be added to the plan before its folder is gone
        with state.transaction() as connection:
            status = finish(connection, run, state.now_s())
        if status is not None:
            shutil.rmtree(state.home / f"run-{run}", ignore_errors=True)
    return status


def options(state: State, run: int) -> dict[str, Any]:
    """What is kept of a run's options; looks without the lock."""
    query = "SELECT options FROM run WHERE id = ?"
    row = state.read(lambda connection: connection.execute(query, (run,)).fetchone())
    found: dict[str, Any] = json.loads(row[0])
    return found


def ended(state: State, run: int) -> str | None:
    """How a run ended; None: it goes on. Looks without the lock."""
    query = "SELECT status FROM run WHERE id = ?"
    row = state.read(lambda connection: connection.execute(query, (run,)).fetchone())
    return None if row is None or row[0] == "running" else str(row[0])


def failure(state: State, job: str) -> str:
    """Why a job is not done, in the words of its row; empty where nothing is known."""
    query = "SELECT failure FROM job WHERE name = ?"
    row = state.read(lambda connection: connection.execute(query, (job,)).fetchone())
    return str(row[0]) if row else ""
