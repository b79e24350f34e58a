"""The attempts of a run that are yet to be written, with their logs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from buildhpc.state.logs import Log, fold_log
from buildhpc.state.owners import Owner, process_start
from buildhpc.state.rows import clean
from buildhpc.state.schema import LAST_ATTEMPT

if TYPE_CHECKING:
    from sqlite3 import Connection

    from buildhpc.run.spec import JobSpec, Outcome
    from buildhpc.state.claims import Held, Orphan
    from buildhpc.state.database import State

# Of an attempt: the job's name, and how often this run tried it.
Key: TypeAlias = tuple[str, int]

# What is not named here is of attempts on clusters.
_ATTEMPT = f"""INSERT OR REPLACE INTO attempt (id, job, run, number, state, failure, message,
    started_s, ended_s, cpu_s, peak_mib, cores, mem_mib, time_s, host, pid, process_start,
    scheduler_id, exit_code, signal, meta, log_path, command, log, err_at)
    VALUES ({",".join("?" * 25)})"""

_LOST = """UPDATE attempt SET state = 'lost', message = 'its run died before it ended',
    ended_s = ? WHERE id = ?"""


class _Attempt(NamedTuple):
    """An attempt as it will be written. outcome: None while it runs."""

    spec: JobSpec
    outcome: Outcome | None
    started_s: float
    pid: int | None
    log: str | None
    err_at: int | None


class Attempts:
    """What happened to attempts since the last transaction; the last word on each counts.

    It is kept until `settle` says that it is written.
    """

    def __init__(self, state: State, owner: Owner, held: Mapping[str, Held]) -> None:
        self._state = state
        self._owner = owner
        self._held = held
        self._noted: dict[Key, _Attempt] = {}
        self._orphans: dict[int, Orphan] = {}
        self._logs: dict[Key, Log] = {}
        # Attempts that are in the table as running -> their number there.
        self._open: dict[Key, int] = {}

    def __bool__(self) -> bool:
        return bool(self._noted or self._orphans)

    def started(self, spec: JobSpec, pid: int | None, log: str | None) -> None:
        """An attempt began."""
        err_at = 0 if spec.split else None
        self._noted[spec.name, spec.attempt] = _Attempt(spec, None, time.time(), pid, log, err_at)

    def ended(self, spec: JobSpec, outcome: Outcome) -> None:
        """An attempt ended."""
        key = spec.name, spec.attempt
        begun = self._noted.get(key)
        started_s = outcome.started_s or (begun.started_s if begun else time.time())
        self._noted[key] = _Attempt(spec, outcome, started_s, None, outcome.log, outcome.err_at)

    def lost(self, orphan: Orphan) -> None:
        """An orphan of another run is gone."""
        self._orphans[orphan.attempt] = orphan

    def fold_logs(self, run: int) -> None:
        """Read the logs of what ended; large ones are moved. Needs no lock."""
        folder, home = str(self._state.folder), os.path.normpath(self._state.home)
        for key, each in self._noted.items():
            if each.outcome is not None and each.log and key not in self._logs:
                name = f"{run}-{self._held[each.spec.name].id}-{each.spec.attempt}"
                self._logs[key] = fold_log(folder, home, each.log, name, each.err_at)

    def write(self, connection: Connection, run: int) -> dict[Key, int]:
        """Write all of it; returns the number in the table of each attempt."""
        numbers = self._numbers(connection)
        connection.executemany(_ATTEMPT, self._rows(run, numbers))
        connection.executemany(_LOST, self._lost_rows())
        return numbers

    def settle(self, numbers: Mapping[Key, int]) -> None:
        """Forget what is safely written, and remove the logs that are."""
        for key, each in self._noted.items():
            if each.outcome is None:
                self._open[key] = numbers[key]
            else:
                self._open.pop(key, None)
        for log in self._logs.values():
            log.discard()
        self._noted.clear()
        self._orphans.clear()
        self._logs.clear()

    def _numbers(self, connection: Connection) -> dict[Key, int]:
        last = connection.execute(LAST_ATTEMPT).fetchone()[0]
        numbers = {}
        for key in self._noted:
            number = self._open.get(key)
            if number is None:
                last += 1
                number = last
            numbers[key] = number
        return numbers

    def _rows(self, run: int, numbers: Mapping[Key, int]) -> Iterator[tuple[Any, ...]]:
        for key, each in self._noted.items():
            spec, needs = each.spec, each.spec.needs
            log = self._logs.get(key) or Log(path=each.log, err_at=each.err_at)
            state, failure, message, ended_s, cpu_s, peak_mib, code, number = _result(each.outcome)
            yield (
                *(numbers[key], self._held[spec.name].id, run, spec.attempt, state, failure),
                *(message, each.started_s, ended_s, cpu_s, peak_mib),
                *(needs.cores, needs.mem_mib, needs.time_s, self._owner.host),
                *(each.pid, process_start(each.pid) if each.pid else None, None),
                *(code, number, None, clean(log.path) if log.path else None),
                *(clean(spec.recipe.text), log.text, log.err_at),
            )

    def _lost_rows(self) -> Iterator[tuple[Any, ...]]:
        for number in self._orphans:
            yield (self._state.now_s(), number)


def _result(outcome: Outcome | None) -> tuple[Any, ...]:
    if outcome is None:
        return ("running", None, "", None, None, None, None, None)
    return (
        outcome.state,
        outcome.failure,
        clean(outcome.message),
        outcome.ended_s,
        outcome.cpu_s,
        outcome.peak_mib,
        outcome.exit_code,
        outcome.signal,
    )
