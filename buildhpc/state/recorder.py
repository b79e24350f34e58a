"""What a build writes into the state: its run, its claims, and how its jobs went."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from buildhpc.state import claims
from buildhpc.state.attempts import Attempts, Key
from buildhpc.state.claims import Claimed, Held, JobToClaim, Orphan
from buildhpc.state.owners import this_process
from buildhpc.state.records import pack
from buildhpc.state.rows import Change, Row, clean, let_go, write_changes, write_texts
from buildhpc.state.runs import begin
from buildhpc.state.snapshot import change_counter

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.plan.stamps import Record
    from buildhpc.run.spec import JobSpec, Outcome
    from buildhpc.state.database import State

# A run that has nothing else to write gives a sign of life so often.
BEAT_S = 30.0


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What is kept of one hpcmake that had something to do.

    command: the command line as typed. options: ready for JSON.
    """

    command: str
    targets: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


class Recorder:
    """One run: what it has claimed, and what is yet to be written of it.

    Nothing but `claim`, `flush`, `beat` and `end` writes, each in one transaction, so a job
    costs 45 to 60 us CPU all told where 100 end between two flushes, and 25 more to fold its
    log (4,000 jobs, Python 3.11). Not for several threads at once.

    id: of the run; 0 until its first claim.
    """

    def __init__(self, state: State, info: RunInfo) -> None:
        self.id = 0
        self._state = state
        self._info = info
        self._owner = this_process()
        self._held: dict[str, Held] = {}
        self._beaten = time.monotonic()
        # Yet to be written; kept until a transaction succeeds.
        self._attempts = Attempts(state, self._owner, self._held)
        self._changes: dict[str, Change] = {}
        self._texts: dict[str, str] = {}

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
            found = claims.sort_out(connection, self.id, jobs, seen)
            if found is None:
                return Claimed(changed=True, dead=dead, orphans=orphans)
            run = self.id or begin(connection, self._info, now_s)
            mine = claims.take(connection, run, recorded, found)
        self.id = run
        self._held.update(mine)
        return Claimed(False, tuple(mine), found.foreign, dead, orphans)

    def started(self, spec: JobSpec, pid: int | None = None, log: str | None = None) -> None:
        """An attempt began. `pid` leads its process group, `log` holds what it prints."""
        self._attempts.started(spec, pid, log)
        self._changes[spec.name] = Change("running", keep=self.id)

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
        self._attempts.ended(spec, outcome)
        if outcome.state == "done":
            body = pack(record) if record else b""
            outputs = tuple(file.path for file in spec.outputs)
            self._changes[spec.name] = Change("done", "", body, outputs)
            if record:
                self._texts[record.recipe] = recipe_text
        elif retry:
            self._changes[spec.name] = Change("waiting", keep=self.id)
        else:
            failure = f"{outcome.failure}: {outcome.message}" if outcome.failure else ""
            self._changes[spec.name] = Change(outcome.state, clean(failure))

    def skipped(self, job: str, because: str) -> None:
        """A job will not run, because the job `because` that it needs failed."""
        if job in self._held:
            self._changes[job] = Change("skipped", clean(f"needs: {because}"))

    def unneeded(self, job: str) -> None:
        """A job was not touched by this run: it is again what it was before it was claimed.

        Only for jobs that certainly never began.
        """
        if job in self._held:
            self._changes[job] = Change(self._held[job].before or "waiting")

    def lost(self, orphan: Orphan) -> None:
        """An orphan is dealt with: its process is gone, and what it left is removed."""
        self._attempts.lost(orphan)

    def beat(self) -> None:
        """Give a sign of life now; `flush` does it often enough by itself."""
        if self.id:
            self._write(None)

    def flush(self) -> None:
        """Write down what happened since the last time, in one transaction.

        When that fails, nothing is lost: the next call tries it all again.
        Raises: as `State.transaction`.
        """
        due = time.monotonic() - self._beaten >= BEAT_S
        if self.id and (due or self._attempts or self._changes):
            self._write(None)

    def end(self, status: str) -> None:
        """Write what is left and end the run: `done`, `failed` or `interrupted`.

        Claims are released; a job that never began stays `waiting`, which never is fresh.
        """
        if self.id:
            self._write(status)

    def _write(self, status: str | None) -> None:
        """One transaction with all that is pending; a status ends the run."""
        self._attempts.fold_logs(self.id)
        commits = self._state.commits
        numbers: dict[Key, int] = {}
        try:
            with self._state.transaction() as connection:
                numbers = self._attempts.write(connection, self.id)
                self._write_rows(connection, numbers, status)
        finally:
            # What is committed is not written a second time, whatever went wrong after that.
            if self._state.commits > commits:
                self._attempts.settle(numbers)
                self._changes.clear()
                self._texts.clear()
                self._beaten = time.monotonic()

    def _write_rows(
        self, connection: Connection, numbers: Mapping[Key, int], status: str | None
    ) -> None:
        last = {name: number for (name, _), number in numbers.items()}
        rows = [
            Row(name, self._held[name].id, change, last.get(name))
            for name, change in self._changes.items()
        ]
        recorded = change_counter(self._state.found)
        write_texts(connection, self._texts)
        write_changes(connection, self.id, recorded, rows)
        now_s = self._state.now_s()
        connection.execute("UPDATE run SET beat_s = ? WHERE id = ?", (now_s, self.id))
        if status is not None:
            connection.execute(
                "UPDATE run SET status = ?, ended_s = ? WHERE id = ?", (status, now_s, self.id)
            )
            let_go(connection, self.id, recorded)
