"""Receipts: small files by which a runner tells, without the lock, that a job began and ended.

A receipt is `RUN.NUMBER.ATTEMPT.RESTART.started` or `.ended` in the folder `inbox`: one line of
JSON, and a line with the check sum of it, so that a torn or a foreign file is noticed.
"""

# Paths are text here, and this runs once for every job.

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple
from zlib import crc32

from buildhpc.run.spec import Outcome

# mtime in ns and size of a file, as in `plan.stamps.Stamp`.
Facts = tuple[int, int]

# A log up to this size travels in the receipt.
SMALL_LOG = 64 * 1024

_NAME = re.compile(r"(\d+)\.(\d+)\.(\d+)\.(\d+)\.(started|ended)")
# Receipts, and what jobs say of themselves: see `notes`.
NEWS = re.compile(rf"{_NAME.pattern}|note-\d+-\d+-[0-9a-f]+")
_TEMPORARY = ".tmp-"
_CLAIM = ".claim-"
_OLD_S = 24 * 3600.0
_STALE_TRIES = 5
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 10.0
# What a file system without hard links answers. Source: link(2).
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


class BadReceiptError(Exception):
    """A file of the inbox is no receipt, or was torn; the text says how it shows."""


class Key(NamedTuple):
    """Which execution a receipt speaks of.

    number: of the job in the plan file. attempt: from 1. restart: how often the scheduler has
    started this attempt anew by itself.
    """

    run: int
    number: int
    attempt: int
    restart: int = 0

    def name(self, kind: str) -> str:
        """The name of its receipt; `kind` is `started` or `ended`."""
        return f"{self.run}.{self.number}.{self.attempt}.{self.restart}.{kind}"


class Runner(NamedTuple):
    """The process that writes a receipt, and where the scheduler has put it.

    submission: of the state. element: of its array, from 0. scheduler_id: as the scheduler told
    the runner; empty when it did not. process_start, boot: as `state.owners` tells them.
    """

    submission: int
    element: int
    scheduler_id: str
    host: str
    pid: int
    process_start: int | None
    boot: str


@dataclass(frozen=True, slots=True)
class Started:
    """An attempt is about to begin; there is one such receipt of a key at most.

    log: path of the file that what it prints goes to; of no use where the job has its own.
    """

    key: Key
    job: str
    runner: Runner
    started_s: float
    log: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt is over.

    outcome: its `state` may be more than that of an attempt on this machine: `unready` (what
        it needs is not done or not as it was left; nothing was touched), `unneeded` (fresh
        after all; nothing was touched), `superseded` (a later start of it has taken over).
        `log` is the path of what it printed, also where `log_text` has it.
    log_text: what it printed, if that is little.
    inputs, outputs: stamps of the files; the inputs before it began. hashes: path -> SHA-256.
    changed: inputs that changed while it ran. recipe: digest of the compared text.
    retry: it failed, and tries of that class are left. because: the job that is not done.
    spawned: what parts it asked for, as `run.parts` has it, where its state is `spawned`.
    """

    key: Key
    job: str
    runner: Runner
    outcome: Outcome
    log_text: str | None = None
    inputs: Mapping[str, Facts] | None = None
    hashes: Mapping[str, str] | None = None
    outputs: Mapping[str, Facts] | None = None
    changed: Sequence[str] = ()
    recipe: str = ""
    retry: bool = False
    because: str | None = None
    spawned: Mapping[str, Any] | None = None


Receipt = Started | Ended


def backoff(patience_s: float, sleep: Callable[[float], object] = time.sleep) -> Iterator[None]:
    """Comes back at once, then after longer and longer pauses, until `patience_s` is over."""
    deadline = time.monotonic() + patience_s
    pause_s = _FIRST_PAUSE_S
    yield
    while (left_s := deadline - time.monotonic()) > 0:
        sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        yield


def write_started(inbox: str, receipt: Started, tries: Iterable[None]) -> bool:
    """Put a receipt into the inbox; False when there is one of this key already.

    One of an earlier submission is of something that was taken back, and makes way.
    tries: see `backoff`. Raises: OSError, of the last try.
    """
    content = _packed(receipt)
    if _persist(tries, lambda: _write_new(inbox, receipt.key, content)):
        return True
    try:
        there = read(inbox, receipt.key, "started").runner
    except (OSError, BadReceiptError):
        return False
    if there.submission < receipt.runner.submission:
        remove(inbox, receipt.key, "started")
        return _write_new(inbox, receipt.key, content)
    # It may be this very one: a file server that answers late is asked twice.
    return there == receipt.runner


def write_ended(inbox: str, receipt: Ended, tries: Iterable[None]) -> None:
    """Put a receipt into the inbox, in the place of one of the same key.

    tries: see `backoff`. Raises: OSError, of the last try.
    """
    content = _packed(receipt)
    target = os.path.join(inbox, receipt.key.name("ended"))
    _persist(tries, lambda: _write_over(inbox, target, content))


def put(inbox: str, name: str, text: str, tries: Iterable[None]) -> None:
    """Put a text with its check sum into the inbox, under a name that is its own.

    tries: see `backoff`. Raises: OSError, of the last try.
    """
    content = seal(text)
    _persist(tries, lambda: _write_over(inbox, os.path.join(inbox, name), content))


def as_line(receipt: Receipt) -> str:
    """A receipt as one line of text, for when it cannot be written."""
    kind = "started" if isinstance(receipt, Started) else "ended"
    return f"{receipt.key.name(kind)} {_json(receipt)}"


def names(inbox: str, begin: tuple[str, ...] = ("",)) -> list[tuple[Key, str]]:
    """Key and kind of every receipt that is there, as the folder is listed now, by key.

    begin: only those whose name begins with one of these, e.g. `RUN.NUMBER.`.
    Raises: OSError, if the folder cannot be read; one that is missing is empty.
    """
    try:
        listed = [name for name in os.listdir(inbox) if name.startswith(begin)]
    except FileNotFoundError:
        return []
    found = map(_NAME.fullmatch, listed)
    return sorted((Key(*map(int, each.groups()[:4])), each[5]) for each in found if each)


def any_there(inbox: str) -> bool:
    """Whether there may be news: also where the folder cannot be read at this moment."""
    try:
        return any(NEWS.fullmatch(name) for name in os.listdir(inbox))
    except FileNotFoundError:
        return False
    except OSError:
        return True


def read(inbox: str, key: Key, kind: str) -> Receipt:
    """One receipt. Raises: BadReceiptError; OSError, of which FileNotFoundError is usual."""
    path = os.path.join(inbox, key.name(kind))
    for last in (*[False] * _STALE_TRIES, True):
        try:
            with open(path, "rb") as file:
                return _unpacked(file.read(), key, kind)
        except OSError as error:
            # Replaced while it was read; the next look goes to the server again.
            if error.errno != errno.ESTALE or last:
                raise
            os.listdir(inbox)
    raise AssertionError


def read_all(inbox: str) -> tuple[list[Receipt], list[str]]:
    """All receipts, by key, `ended` before `started`; and the names of files that are torn.

    Raises: OSError
    """
    found: list[Receipt] = []
    bad = []
    for key, kind in names(inbox):
        try:
            found.append(read(inbox, key, kind))
        except FileNotFoundError:
            continue  # somebody else has dealt with it
        except BadReceiptError:
            bad.append(key.name(kind))
    return found, bad


def remove(inbox: str, key: Key, kind: str) -> None:
    """Remove a receipt; one that is gone is no harm. Raises: OSError"""
    _unlink(os.path.join(inbox, key.name(kind)))
    if kind == "started":
        _unlink(_claim(inbox, key))


def sweep(inbox: str) -> None:
    """Remove what runners left that were killed while they wrote."""
    for entry in os.scandir(inbox):
        if entry.name.startswith(_TEMPORARY):
            try:
                if time.time() - entry.stat().st_mtime > _OLD_S:
                    os.unlink(entry.path)
            except OSError:
                continue  # next time


def _persist(tries: Iterable[None], act: Callable[[], bool]) -> bool:
    failure: OSError | None = None
    for _ in tries:
        try:
            return act()
        except OSError as error:
            failure = error
    assert failure is not None, "there is at least one try"
    raise failure


def _write_new(inbox: str, key: Key, content: bytes) -> bool:
    """Make the receipt `started` of a key; False when it is there."""
    target = os.path.join(inbox, key.name("started"))
    temporary = _written(inbox, content)
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _renamed_new(_claim(inbox, key), temporary, target)
    else:
        return True
    finally:
        _unlink(temporary)


def _renamed_new(claim: str, temporary: str, target: str) -> bool:
    """As a link, where there are none: who makes the file `claim` may rename."""
    try:
        os.close(os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        return False
    try:
        os.rename(temporary, target)
    except OSError:
        _unlink(claim)
        raise
    return True


def _write_over(inbox: str, target: str, content: bytes) -> bool:
    temporary = _written(inbox, content)
    try:
        os.rename(temporary, target)
    except OSError:
        _unlink(temporary)
        raise
    return True


def _written(inbox: str, content: bytes) -> str:
    """A new file of the inbox with this content, safely on the disk."""
    try:
        return _write_file(inbox, content)
    except FileNotFoundError:
        os.makedirs(inbox, exist_ok=True)
        return _write_file(inbox, content)


def _write_file(inbox: str, content: bytes) -> str:
    path = os.path.join(inbox, f"{_TEMPORARY}{os.getpid()}-{os.urandom(8).hex()}")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)  # a file server may say only now that its disk is full
    except OSError:
        _unlink(path)
        raise
    return path


def _claim(inbox: str, key: Key) -> str:
    return os.path.join(inbox, f"{_CLAIM}{key.name('started')}")


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return


def _json(receipt: Receipt) -> str:
    values: dict[str, Any] = {**receipt.key._asdict(), **receipt.runner._asdict()}
    if isinstance(receipt, Ended):
        values |= asdict(receipt.outcome)
    for field in fields(receipt):
        if field.name not in ("key", "runner", "outcome"):
            values[field.name] = getattr(receipt, field.name)
    return json.dumps(values)


def seal(text: str) -> bytes:
    """A line of text, with a line that has the check sum of it."""
    line = text.encode()
    return b"%b\n%08x\n" % (line, crc32(line))


def unseal(content: bytes) -> bytes:
    """The line of text that `seal` was given. Raises: BadReceiptError"""
    text, _, rest = content.partition(b"\n")
    if rest != b"%08x\n" % crc32(text):
        raise BadReceiptError("its check sum is wrong")
    return text


def _packed(receipt: Receipt) -> bytes:
    return seal(_json(receipt))


def _unpacked(content: bytes, key: Key, kind: str) -> Receipt:
    text = unseal(content)
    try:
        values: dict[str, Any] = json.loads(text)
        said = Key(*(values.pop(name) for name in Key._fields))
        runner = Runner(*(values.pop(name) for name in Runner._fields))
        if said != key:
            raise BadReceiptError("its name is that of another one")
        if kind == "started":
            return Started(said, runner=runner, **values)
        outcome = Outcome(**{name: values.pop(name) for name in _OUTCOME & values.keys()})
        for name in ("inputs", "outputs"):
            if values[name] is not None:
                values[name] = {path: tuple(facts) for path, facts in values[name].items()}
        return Ended(said, runner=runner, outcome=outcome, **values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadReceiptError("it is none that this hpcmake writes") from error


# One that an older hpcmake wrote lacks what came later.
_OUTCOME = {field.name for field in fields(Outcome)}
