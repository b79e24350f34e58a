"""The inbox: what runners told of their jobs becomes part of the state.

Its order does not matter, nor how often it is told: an attempt only moves forward. A receipt is
removed after what it says is committed, and before anybody else can write: so an attempt that is
submitted again never meets a receipt of the same name that is about to be removed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from buildhpc.diagnostics import HpcmakeError, Problem
from buildhpc.messages import state as messages
from buildhpc.plan.stamps import Record, Stamp
from buildhpc.state import notes, parts, receipts
from buildhpc.state.database import FOLDER, State, open_state
from buildhpc.state.flights import change_of, close_spent, inputs_of, unmake
from buildhpc.state.logs import Log, fold_log, remove_log
from buildhpc.state.news import GIVEN_UP, KNOWN, Known, is_guess, is_news
from buildhpc.state.receipts import BadReceiptError, Ended, Key, Receipt, Started
from buildhpc.state.records import pack
from buildhpc.state.rows import Change, Row, clean, write_changes
from buildhpc.state.runs import count_undone
from buildhpc.state.snapshot import change_counter

if TYPE_CHECKING:
    from sqlite3 import Connection

# So many attempts are folded in one transaction: the lock is held for a second, not for a minute.
_AT_ONCE = 1000
# Who only looks waits so long for the lock.
_GLANCE_S = 0.2


class Folded(NamedTuple):
    """What happened to an attempt. log: what it printed, once it ended."""

    receipt: Receipt
    log: Log = Log()

    @property
    def state(self) -> str:
        """`running`, or how it ended: as `Ended.outcome` says."""
        return self.receipt.outcome.state if isinstance(self.receipt, Ended) else "running"


class Folding(NamedTuple):
    """What happened, in the order of the plan; problems: receipts that could not be read."""

    happened: Sequence[Folded] = ()
    problems: Sequence[Problem] = ()


_BEGIN = """UPDATE attempt SET state = 'running', failure = NULL, message = '', started_s = ?,
    ended_s = NULL, host = ?, pid = ?, process_start = ?, restart = ?, told = NULL,
    scheduler_id = coalesce(scheduler_id, nullif(?, '')), log_path = coalesce(?, log_path)
    WHERE id = ?"""

# It waits for people again.
_AGAIN = """UPDATE attempt SET state = 'exported', started_s = NULL, host = NULL, pid = NULL,
    process_start = NULL WHERE id = ?"""

_SPAWN = """UPDATE attempt SET state = 'spawned', ended_s = NULL, meta = ? WHERE id = ?"""
# What its first phase printed stays; its last part tells the end.
_FINISH = """UPDATE attempt SET state = ?, failure = ?, message = ?, ended_s = ?,
    cpu_s = ifnull(cpu_s, 0) + ? + ifnull((SELECT sum(own.cpu_s) FROM part
        JOIN attempt AS own ON own.job = part.job WHERE part.attempt = attempt.id), 0),
    restart = ?, told = 'receipt' WHERE id = ?"""

_STOP = """UPDATE attempt SET told = 'receipt', message = ?, cpu_s = ?, peak_mib = ?
    WHERE id = ?"""

# People may have submitted it again, as another job.
_ANEW = "UPDATE attempt SET scheduler_id = NULL WHERE id = ?"

_END = """UPDATE attempt SET state = ?, failure = ?, message = ?, started_s = ?, ended_s = ?,
    cpu_s = ?, peak_mib = ?, host = ?, pid = ?, process_start = ?, exit_code = ?, signal = ?,
    restart = ?, told = 'receipt', scheduler_id = coalesce(scheduler_id, nullif(?, '')),
    log_path = ?, log = ?, err_at = ? WHERE id = ?"""


def fold(state: State) -> Folding:
    """Make what runners told part of the state; nothing is done where they told nothing.

    10,000 jobs that ended take 2 s CPU. Raises: as `State.transaction`; messages.unreadable.
    """
    inbox = str(state.home / "inbox")
    happened: list[Folded] = []
    bad: list[str] = []
    try:
        # Of what was listed each is read under the lock: it may have been folded meanwhile, and
        # even be another one, of an attempt that was submitted again.
        for part in _parts(receipts.names(inbox)):
            with state.locked():
                told, torn = _read(inbox, part)
                happened += _write(state, told)
                bad += torn
                for key, kind in part:
                    receipts.remove(inbox, key, kind)
        if happened:
            receipts.sweep(inbox)
        bad += notes.fold(state)
    except OSError as error:
        raise HpcmakeError(messages.unreadable(Path(inbox), error.strerror or "")) from error
    return Folding(tuple(happened), (messages.bad_receipts(Path(inbox), bad),) if bad else ())


def glance(folder: Path, wait_s: float = _GLANCE_S) -> Folding:
    """As `fold`, for who only looks: where the state cannot be written now, nothing is done.

    wait_s: so long it waits for the lock.
    """
    with suppress(HpcmakeError, OSError):
        if receipts.any_there(str(folder / FOLDER / "inbox")):
            return fold(open_state(folder, lock_timeout_s=wait_s))
    return Folding()


def _parts(names: Sequence[tuple[Key, str]]) -> Iterator[list[tuple[Key, str]]]:
    """The receipts of so many attempts as one transaction takes, and again, until all are had."""
    part: list[tuple[Key, str]] = []
    for number, (_, same) in enumerate(groupby(names, key=lambda name: name[0][:3]), 1):
        part += same
        if number % _AT_ONCE == 0:
            yield part
            part = []
    if part:
        yield part


def _read(inbox: str, names: Sequence[tuple[Key, str]]) -> tuple[list[Receipt], list[str]]:
    """The last word on each attempt; and the names of receipts that are torn, which stay."""
    told = []
    torn = []
    for _, same in groupby(names, key=lambda name: name[0][:3]):
        least = 0
        # Of the last start first, and there its end.
        for key, kind in sorted(same, key=lambda name: (-name[0].restart, name[1])):
            if key.restart < least:
                break
            try:
                receipt = receipts.read(inbox, key, kind)
            except FileNotFoundError:
                continue
            except BadReceiptError:
                torn.append(_keep(inbox, key.name(kind)))
                # What an earlier start came to is no news of the attempt.
                least = key.restart
                continue
            if not (isinstance(receipt, Ended) and receipt.outcome.state == "superseded"):
                told.append(receipt)
                break
    return told, torn


def _keep(inbox: str, name: str) -> str:
    os.replace(os.path.join(inbox, name), os.path.join(inbox, f"{name}.bad"))
    return f"{name}.bad"


def _write(state: State, told: Sequence[Receipt]) -> list[Folded]:
    """Write what was told, in one transaction; returns what is news."""
    if not told:
        return []
    with state.transaction() as connection:
        writer = _Writer(state, connection)
        for receipt in told:
            known = connection.execute(
                KNOWN, (receipt.job, receipt.key.run, receipt.key.attempt)
            ).fetchone()
            if known is not None:
                writer.take(receipt, Known(*known))
        writer.write()
    for each in writer.happened:
        each.log.discard()
    return writer.happened


class _Writer:
    """Gathers what becomes of attempts and jobs, to write it all at once.

    happened: what was news.
    """

    def __init__(self, state: State, connection: Connection) -> None:
        self.happened: list[Folded] = []
        self._state = state
        self._connection = connection
        self._folder, self._home = str(state.folder), os.path.normpath(state.home)
        self._begun: list[tuple[Any, ...]] = []
        self._ended: list[tuple[Any, ...]] = []
        self._stopped: list[tuple[Any, ...]] = []
        self._finished: list[tuple[Any, ...]] = []
        self._spawned: list[tuple[Ended, Known]] = []
        self._unmade: list[tuple[int, int]] = []
        self._again: list[tuple[int]] = []
        self._anew: list[tuple[int]] = []
        self._rows: dict[int | None, list[Row]] = {}
        self._undone: dict[int, int] = {}

    def take(self, receipt: Receipt, known: Known) -> None:
        """Take note of a receipt, if it is news."""
        if known.submission != receipt.runner.submission:
            return  # it was submitted anew since
        if not is_news(receipt, known):
            return
        if known.exported:
            self._anew.append((known.attempt,))
        if isinstance(receipt, Started):
            self._start(receipt, known)
        elif receipt.outcome.state in ("unready", "unneeded"):
            self._nothing_done(receipt, known)
        elif is_guess(receipt, known):
            self._stop(receipt, known)
        else:
            self._end(receipt, known)

    def write(self) -> None:
        """Write all of it."""
        connection = self._connection
        connection.executemany(_ANEW, self._anew)
        connection.executemany(_BEGIN, self._begun)
        connection.executemany(_STOP, self._stopped)
        connection.executemany(_FINISH, self._finished)  # before the last part itself counts
        connection.executemany(_END, self._ended)
        for receipt, known in self._spawned:
            meta = parts.meta_of(known.meta, receipt)
            connection.execute(_SPAWN, (meta, known.attempt))
            parts.spawn(connection, known.attempt, receipt)
        unmake(connection, self._unmade)
        connection.executemany(_AGAIN, self._again)
        recorded = change_counter(self._state.found)
        for claim, rows in self._rows.items():
            write_changes(connection, claim, recorded, rows)
        for run, number in self._undone.items():
            count_undone(connection, run, number)
        close_spent(connection)

    def _start(self, receipt: Started, known: Known) -> None:
        self._begin(receipt, known, receipt.started_s, receipt.log)
        self.happened.append(Folded(receipt))

    def _begin(self, receipt: Receipt, known: Known, started_s: float, log: str | None) -> None:
        runner = receipt.runner
        self._begun.append(
            (
                *(started_s, runner.host, runner.pid, runner.process_start),
                *(receipt.key.restart, runner.scheduler_id, clean(log) if log else None),
                known.attempt,
            )
        )
        self._change(receipt, known, Change("running", keep=receipt.key.run))

    def _stop(self, receipt: Ended, known: Known) -> None:
        """It was told to end; whether it is over, and why, is for its scheduler to say."""
        outcome = receipt.outcome
        self._begin(receipt, known, outcome.started_s, outcome.log)
        self._stopped.append(
            (clean(outcome.message), outcome.cpu_s, outcome.peak_mib, known.attempt)
        )

    def _nothing_done(self, receipt: Ended, known: Known) -> None:
        """The attempt has touched nothing: it is as if it had never been submitted."""
        if receipt.outcome.log:
            split = receipt.outcome.err_at is not None
            remove_log(os.path.join(self._folder, receipt.outcome.log), split=split)
        keep = None if known.exported else receipt.key.run
        if known.exported:
            self._again.append((known.attempt,))
        else:
            self._unmade.append((known.attempt, known.job))
        if receipt.outcome.state == "unneeded" and known.has_record:
            self._change(receipt, known, Change("done"))
        else:
            self._change(receipt, known, Change("waiting", keep=keep))
        self.happened.append(Folded(receipt))

    def _end(self, receipt: Ended, known: Known) -> None:
        outcome, runner = receipt.outcome, receipt.runner
        if known.state == "spawned":
            row = (outcome.state, outcome.failure, clean(outcome.message), outcome.ended_s)
            self._finished.append((*row, outcome.cpu_s, receipt.key.restart, known.attempt))
            self._conclude(receipt, known, Log())
            return
        log = self._log(receipt)
        self._ended.append(
            (
                *(outcome.state, outcome.failure, clean(outcome.message), outcome.started_s),
                *(outcome.ended_s, outcome.cpu_s, outcome.peak_mib, runner.host, runner.pid),
                *(runner.process_start, outcome.exit_code, outcome.signal, receipt.key.restart),
                *(runner.scheduler_id, clean(log.path) if log.path else None, log.text),
                *(log.err_at, known.attempt),
            )
        )
        self._conclude(receipt, known, log)

    def _conclude(self, receipt: Ended, known: Known, log: Log) -> None:
        """What becomes of the job."""
        outcome = receipt.outcome
        if outcome.state == "spawned":
            self._spawned.append((receipt, known))
            change = Change("spawned", keep=receipt.key.run)
        elif outcome.state == "done":
            record = _record(receipt, inputs_of(known.meta))
            change = Change("done", "", pack(record), record.outputs)
        else:
            change = change_of(
                receipt.key.run, outcome.state, outcome.failure, outcome.message, receipt.retry
            )
        self._change(receipt, known, change)
        self.happened.append(Folded(receipt, log))

    def _change(self, receipt: Receipt, known: Known, change: Change) -> None:
        run = receipt.key.run
        attempt = known.attempt if known.exported else None
        row = Row(receipt.job, known.job, change, attempt)
        self._rows.setdefault(known.claim, []).append(row)
        counted = known.claim is None and known.job_state in GIVEN_UP
        counts = change.keep is None and change.state != "done"
        self._undone[run] = self._undone.get(run, 0) + counts - counted

    def _log(self, receipt: Ended) -> Log:
        """Where what was printed is from now on; a file of the user's stays."""
        path, err_at, text = receipt.outcome.log, receipt.outcome.err_at, receipt.log_text
        if not path:
            return Log(text=clean(text) if text else None, err_at=err_at)
        if text is not None:
            log = os.path.normpath(os.path.join(self._folder, path))
            ours = log.startswith(self._home + os.sep)
            kept_text = Log(text=clean(text), spent=log, err_at=err_at)
            return kept_text if ours else Log(path=path, err_at=err_at)
        key = receipt.key
        name = f"{key.run}-{key.number}-{key.attempt}"
        kept = os.path.join(self._home, "logs", f"{name}.log")
        if os.path.exists(kept) and not os.path.exists(os.path.join(self._folder, path)):
            # It was moved by one that was killed before it could say so.
            return Log(path=os.path.relpath(kept, self._folder), err_at=err_at)
        return fold_log(self._folder, self._home, path, name, err_at)


def _record(receipt: Ended, order: Sequence[str] | None) -> Record:
    """What is remembered of a success. order: of the inputs, where some are there twice."""
    stamps = _stamps(receipt.inputs)
    made = _stamps(receipt.outputs)
    inputs = tuple(stamps) if order is None else tuple(order)
    return Record(
        "done",
        "",
        receipt.recipe,
        inputs,
        tuple(stamps.get(path) for path in inputs),
        tuple(made),
        tuple(made.values()),
        receipt.hashes or {},
    )


def _stamps(files: Mapping[str, receipts.Facts] | None) -> dict[str, Stamp]:
    return {path: Stamp(*facts) for path, facts in (files or {}).items()}
