"""What a build writes into the state: its run, its claims, and how its jobs went."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from buildhpc.state import claims
from buildhpc.state.claims import Claimed, Held, JobToClaim, Orphan
from buildhpc.state.logs import Log, fold_log, remove_log
from buildhpc.state.owners import process_start, this_process
from buildhpc.state.records import pack
from buildhpc.state.rows import Change, Row, clean, let_go, write_changes, write_texts
from buildhpc.state.snapshot import change_counter

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.plan.stamps import Record
    from buildhpc.run.spec import JobSpec, Outcome
    from buildhpc.state.database import State

# A run that has nothing else to write gives a sign of life so often.
BEAT_S = 30.0

_ATTEMPT = f"INSERT OR REPLACE INTO attempt VALUES ({','.join('?' * 24)})"

_LOST = """UPDATE attempt SET state = 'lost', message = 'its run died before it ended',
    ended_s = ?, log_path = ?, log = ? WHERE id = ?"""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What is kept of one hpcmake that had something to do.

    command: the command line as typed. options: ready for JSON.
    """

    command: str
    targets: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


class _Attempt(NamedTuple):
    """An attempt as it will be written, but for its number in the table and its log."""

    spec: JobSpec
    state: str
    outcome: Outcome | None
    started_s: float
    pid: int | None
    log: str | None


class Recorder:
    """One run: what it has claimed, and what is yet to be written of it.

    Nothing but `claim`, `flush`, `beat` and `end` writes, each in one transaction, so that
    recording costs little: 40 us CPU a job, all told, where 100 jobs end between two flushes
    (4,000 jobs, Python 3.11). Not for several threads at once.

    id: of the run; 0 until its first claim.
    """

    def __init__(self, state: State, info: RunInfo) -> None:
        self.id = 0
        self._state = state
        self._info = info
        self._owner = this_process()
        self._held: dict[str, Held] = {}
        self._beaten = 0.0
        # Yet to be written, the last word on each counts; kept until a transaction succeeds.
        self._attempts: dict[tuple[str, int], _Attempt] = {}
        self._changes: dict[str, Change] = {}
        self._texts: dict[str, str] = {}
        self._orphans: dict[int, Orphan] = {}
        # Attempts that are in the table as running -> their number there.
        self._open: dict[tuple[str, int], int] = {}
        self._logs: dict[tuple[str, int] | int, Log] = {}

    def claim(self, jobs: Sequence[JobToClaim], seen: bytes | None = None) -> Claimed:
        """Claim the jobs of a plan: from now on none of them counts as fresh until it is done.

        seen: the generation that the plan was made from; None: whatever there is now.
        The run itself is recorded with its first claim.
        """
        with self._state.transaction() as connection:
            now_s = self._state.now_s()
            recorded = change_counter(self._state.found)
            dead = claims.bury(connection, now_s, self.id, recorded)
            orphans = claims.orphans(connection)
            jobs_sorted = claims.sort_out(connection, self.id, jobs, seen)
            if jobs_sorted is None:
                return Claimed(changed=True, dead=dead, orphans=orphans)
            run = self.id or self._begin(connection, now_s)
            mine = claims.mark(connection, run, jobs_sorted)
        self.id = run
        self._held |= mine
        return Claimed(False, tuple(mine), jobs_sorted.foreign, dead, orphans)

    def started(self, spec: JobSpec, pid: int | None = None, log: str | None = None) -> None:
        """An attempt began. `pid` leads its process group, `log` holds what it prints."""
        key = spec.name, spec.attempt
        self._attempts[key] = _Attempt(spec, "running", None, time.time(), pid, log)
        self._changes[spec.name] = Change("running", "", keep=self.id)

    def ended(
        self,
        spec: JobSpec,
        outcome: Outcome,
        record: Record | None = None,
        recipe_text: str = "",
        retry: bool = False,
    ) -> None:
        """An attempt ended.

        record: what is remembered of a success. recipe_text: what `record.recipe` is the digest
        of. retry: the job will be tried again, and stays this run's.
        """
        key = spec.name, spec.attempt
        begun = self._attempts.get(key)
        started_s = outcome.started_s or (begun.started_s if begun else time.time())
        self._attempts[key] = _Attempt(spec, outcome.state, outcome, started_s, None, outcome.log)
        if outcome.state == "done":
            body = pack(record) if record else b""
            outputs = tuple(file.path for file in spec.outputs)
            self._changes[spec.name] = Change("done", "", body, outputs)
            if record and recipe_text:
                self._texts[record.recipe] = recipe_text
        elif retry:
            self._changes[spec.name] = Change("waiting", "", keep=self.id)
        else:
            failure = f"{outcome.failure}: {outcome.message}" if outcome.failure else ""
            self._changes[spec.name] = Change(outcome.state, clean(failure))

    def skipped(self, job: str, because: str) -> None:
        """A job will not run, because the job `because` that it needs failed."""
        self._changes[job] = Change("skipped", clean(f"needs: {because}"))

    def unneeded(self, job: str) -> None:
        """A job was not touched by this run: it is again what it was before it was claimed.

        Only for jobs that certainly never began.
        """
        before = self._held[job].before or "waiting"
        self._changes[job] = Change(before, "")

    def lost(self, orphan: Orphan) -> None:
        """An orphan is dealt with: its process is gone, and what it left is removed."""
        self._orphans[orphan.attempt] = orphan

    def beat(self) -> None:
        """Give a sign of life now; `flush` does it often enough by itself."""
        self._beaten = -BEAT_S
        self.flush()

    def flush(self) -> None:
        """Write down what happened since the last time, in one transaction.

        When that fails, nothing is lost: the next call tries it all again.
        Raises: as `State.transaction`.
        """
        due = bool(self.id) and time.monotonic() - self._beaten >= BEAT_S
        if due or self._attempts or self._changes or self._orphans:
            self._write(None)

    def end(self, status: str) -> None:
        """Write what is left and end the run: `done`, `failed` or `interrupted`.

        Claims are released; a job that never began stays `waiting`, which never is fresh.
        """
        if self.id:
            self._write(status)

    def _begin(self, connection: Connection, now_s: float) -> int:
        owner = self._owner
        info = self._info
        cursor = connection.execute(
            "INSERT INTO run VALUES (?, 'running', ?, NULL, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                # Not 1: SQLite keeps a 1 in the head of a row, where one flipped byte could
                # make a claim vanish without a trace; any other number takes place of its own.
                connection.execute("SELECT coalesce(max(id), 1) + 1 FROM run").fetchone()[0],
                now_s,
                clean(info.command),
                json.dumps(info.targets),
                json.dumps(info.options),
                owner.host,
                owner.pid,
                owner.process_start,
                owner.boot,
                now_s,
            ),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _write(self, status: str | None) -> None:
        self._fold_logs()
        with self._state.transaction() as connection:
            ids = self._number(connection)
            connection.executemany(_ATTEMPT, self._attempt_rows(ids))
            connection.executemany(_LOST, self._lost_rows())
            write_texts(connection, self._texts)
            last = {name: id_ for (name, _), id_ in ids.items()}
            rows = [
                Row(name, self._held[name].id, change, last.get(name))
                for name, change in self._changes.items()
            ]
            recorded = change_counter(self._state.found)
            write_changes(connection, self.id, recorded, rows)
            connection.execute(
                "UPDATE run SET beat_s = ? WHERE id = ?", (self._state.now_s(), self.id)
            )
            if status is not None:
                self._close(connection, status, recorded)
        self._settle(ids)

    def _close(self, connection: Connection, status: str, recorded: int) -> None:
        connection.execute(
            "UPDATE run SET status = ?, ended_s = ? WHERE id = ?",
            (status, self._state.now_s(), self.id),
        )
        let_go(connection, self.id, recorded)

    def _number(self, connection: Connection) -> dict[tuple[str, int], int]:
        """Attempt -> its number in the table."""
        fresh = connection.execute("SELECT coalesce(max(id), 0) FROM attempt").fetchone()[0]
        ids = {}
        for key in self._attempts:
            known = self._open.get(key)
            if known is None:
                fresh += 1
                known = fresh
            ids[key] = known
        return ids

    def _attempt_rows(self, ids: Mapping[tuple[str, int], int]) -> Iterator[tuple[Any, ...]]:
        for key, each in self._attempts.items():
            spec = each.spec
            log = self._logs.get(key) or Log(path=each.log)
            failure, message, ended_s, cpu_s, peak_mib, exit_code, signal = _result(each.outcome)
            yield (
                *(ids[key], self._held[spec.name].id, self.id, spec.attempt),
                *(each.state, failure, message, each.started_s, ended_s, cpu_s, peak_mib),
                *(spec.needs.cores, spec.needs.mem_mib, spec.needs.time_s, self._owner.host),
                *(each.pid, process_start(each.pid) if each.pid else None, None),
                *(exit_code, signal, None, clean(log.path) if log.path else None),
                *(clean(spec.recipe.text), log.text),
            )

    def _lost_rows(self) -> Iterator[tuple[Any, ...]]:
        for id_ in self._orphans:
            log = self._logs.get(id_) or Log()
            yield (self._state.now_s(), log.path, log.text, id_)

    def _fold_logs(self) -> None:
        for key, each in self._attempts.items():
            if each.outcome is not None and each.log and key not in self._logs:
                name = f"{self.id}-{self._held[each.spec.name].id}-{each.spec.attempt}"
                self._logs[key] = self._fold(each.log, name)
        for id_, orphan in self._orphans.items():
            if orphan.log and id_ not in self._logs:
                self._logs[id_] = self._fold(orphan.log, f"lost-{id_}")

    def _fold(self, log: str, name: str) -> Log:
        return fold_log(self._state.folder, self._state.home, log, name)

    def _settle(self, ids: Mapping[tuple[str, int], int]) -> None:
        """Forget what is written, and remove the logs that are safe now."""
        for key, each in self._attempts.items():
            if each.outcome is None:
                self._open[key] = ids[key]
            else:
                self._open.pop(key, None)
        for log in self._logs.values():
            if log.spent:
                remove_log(log.spent)
        for buffer in (self._attempts, self._changes, self._texts, self._orphans, self._logs):
            buffer.clear()
        self._beaten = time.monotonic()


def _result(outcome: Outcome | None) -> tuple[Any, ...]:
    if outcome is None:
        return (None, "", None, None, None, None, None)
    return (
        outcome.failure,
        clean(outcome.message),
        outcome.ended_s,
        outcome.cpu_s,
        outcome.peak_mib,
        outcome.exit_code,
        outcome.signal,
    )
