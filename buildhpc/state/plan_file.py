"""The plan of a cluster run as a file: what is to be done, for whoever moves the run on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import state as messages

VERSION = 1

# Between what is read of every job and what is read of a few. Texts in JSON have their quotation
# marks escaped and nothing else here has blanks, so it stands in a line once.
_REST = b', "rest": '


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """What decides when a job is submitted.

    number: its place in the plan; after: those of the planned jobs it waits for, all lower.
    retries: class of failure -> how often it is tried again; "": every other class.
    batch: so many jobs of the rule share a scheduler job. group: with jobs of these rules.
    deferred: what it asks for hangs on files that are not there yet.
    temp: its own temp outputs. uses_temp: number of the maker or None, path.
    rest: `details` as JSON.
    """

    number: int
    job: str
    rule: str
    after: tuple[int, ...]
    cluster: str
    priority: int
    retries: Mapping[str, int]
    shared: tuple[int | None, str | None]
    deferred: bool
    temp: tuple[str, ...]
    uses_temp: tuple[tuple[int | None, str], ...]
    rest: bytes

    @property
    def batch(self) -> int | None:
        """So many jobs of its rule share a scheduler job; None: it has one of its own."""
        return self.shared[0]

    @property
    def group(self) -> str | None:
        """The name of the jobs that it shares a scheduler job with."""
        return self.shared[1]

    def details(self) -> dict[str, Any]:
        """The rest of what the plan says: `attempts`, `recipe`, `text`, `content`, `replaced`."""
        found: dict[str, Any] = json.loads(self.rest)
        return found

    def attempt(self, number: int) -> dict[str, Any] | None:
        """`spec` and `request` of an attempt, counted from 1; None where that is deferred."""
        attempts = self.details()["attempts"]
        if attempts is None:
            return None
        found: dict[str, Any] = dict(attempts[min(number, len(attempts)) - 1])
        found["spec"] = {**found["spec"], "attempt": number}
        return found

    def may_retry(self, failure: str, attempts: int) -> bool:
        """Whether it is tried again after this class of failure and so many attempts."""
        return attempts <= self.retries.get(failure, self.retries.get("", 0))


class Later(NamedTuple):
    """A job whose line is written once more is known.

    runs: checkpoints that have to be done first. known: jobs whose lines have to be written.
    """

    job: str
    rule: str
    wildcards: Mapping[str, str]
    runs: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


class Open(NamedTuple):
    """What of a plan is known later. jobs: each after those it needs. targets: asked for."""

    jobs: Sequence[Later] = ()
    targets: Sequence[str] = ()


def plan_path(home: Path, run: int) -> Path:
    """Where the plan of a run is; `home`: the folder of the state."""
    return home / f"run-{run}" / "plan.jsonl"


def write_plan(
    home: Path, run: int, jobs: Iterable[Mapping[str, Any]], later: Open | None = None
) -> None:
    """Write the plan of a run, as a whole or not at all; it is safe when this returns.

    jobs: line by line, `attempts` and what else is there. Raises: OSError.
    """
    _write(home, run, [_line(job) for job in jobs], later)


def extend_plan(
    home: Path, run: int, jobs: Iterable[Mapping[str, Any]], later: Open | None = None
) -> None:
    """Add jobs to the plan of a run; the caller holds the lock of the state.

    later: what is known later from now on; None: what it was.
    Raises: OSError; messages.plan_missing, plan_damaged.
    """
    before = read_plan(home, run)
    later = later or read_later(home, run)
    lines = plan_path(home, run).read_bytes().splitlines(keepends=True)[1:]
    assert len(lines) == len(before)
    _write(home, run, [*lines, *map(_line, jobs)], later)


def read_later(home: Path, run: int) -> Open:
    """What of a plan is known later. Raises: as `read_plan`."""
    path = plan_path(home, run)
    try:
        with path.open("rb") as file:
            found = _head(file.readline(), run).get("later")
        if found is None:
            return Open()
        jobs = [Later(*each[:3], *map(tuple, each[3:])) for each in found["jobs"]]
        return Open(jobs, found["targets"])
    except OSError as error:
        raise _missing(path, run, error) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HpcmakeError(messages.plan_damaged(path, run, str(error))) from error


def plan_stamp(home: Path, run: int) -> tuple[int, int]:
    """What tells one plan of a run from the next; (0, 0): there is none."""
    try:
        status = plan_path(home, run).stat()
    except OSError:
        return 0, 0
    return status.st_ino, status.st_size


def _write(home: Path, run: int, lines: Sequence[bytes], later: Open | None) -> None:
    body = b"".join(lines)
    lengths = [*map(len, lines)]
    head: dict[str, Any] = {"version": VERSION, "run": run, "crc": crc32(body), "lengths": lengths}
    if later is not None and later.jobs:
        head["later"] = later._asdict()
    path = plan_path(home, run)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".plan-{os.getpid()}")
    with draft.open("wb") as file:
        file.write(_json(head) + b"\n" + body)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


# What is read of every job; all else is the rest.
_HEAD = ("job", "rule", "after", "cluster", "priority", "retries", "batch", "group")
_FILES = ("temp", "uses_temp")


def _line(job: Mapping[str, Any]) -> bytes:
    head = {key: job[key] for key in (*_HEAD, *_FILES) if job.get(key)}
    if job.get("attempts") is None:
        head["deferred"] = True
    rest = {key: value for key, value in job.items() if key not in (*_HEAD, *_FILES)}
    rest.setdefault("attempts", None)
    return _json(head)[:-1] + _REST + _json(rest) + b"}\n"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def read_plan(home: Path, run: int) -> list[PlannedJob]:
    """The jobs of a run; of 10,000 in 0.1 s CPU. Raises: messages.plan_missing, plan_damaged."""
    path = plan_path(home, run)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _missing(path, run, error) from error
    try:
        end = content.index(b"\n") + 1
        head = _head(content[:end], run)
        lines = content[end:].splitlines(keepends=True)
        _check(head, crc32(memoryview(content)[end:]), [*map(len, lines)])
        return [_planned(number, line) for number, line in enumerate(lines)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HpcmakeError(messages.plan_damaged(path, run, str(error))) from error


def read_planned(home: Path, run: int, number: int) -> PlannedJob:
    """One job of a run, without reading the others. Raises: as `read_plan`."""
    path = plan_path(home, run)
    try:
        with path.open("rb") as file:
            head = _head(file.readline(), run)
            begin = [0, *accumulate(head["lengths"])][number]
            file.seek(begin, os.SEEK_CUR)
            line = file.read(head["lengths"][number])
            return _planned(number, line)
    except OSError as error:
        raise _missing(path, run, error) from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise HpcmakeError(messages.plan_damaged(path, run, str(error))) from error


def as_planned(jobs: Iterable[Mapping[str, Any]]) -> list[PlannedJob]:
    """The jobs of a plan that is written nowhere. jobs: as for `write_plan`."""
    return [_planned(number, _line(job)) for number, job in enumerate(jobs)]


def _missing(path: Path, run: int, error: OSError) -> HpcmakeError:
    return HpcmakeError(messages.plan_missing(path, run, error.strerror or str(error)))


def _head(line: bytes, run: int) -> dict[str, Any]:
    head: dict[str, Any] = json.loads(line)
    if head["version"] != VERSION:
        raise ValueError(f"it is of version {head['version']}")
    if head["run"] != run:
        raise ValueError(f"it is of run {head['run']}")
    return head


def _check(head: Mapping[str, Any], crc: int, lengths: Sequence[int]) -> None:
    if crc != head["crc"]:
        raise ValueError("its check sum is wrong")
    if lengths != head["lengths"]:
        raise ValueError("its lines are not where they were")


def _planned(number: int, line: bytes) -> PlannedJob:
    cut = line.index(_REST)
    head = json.loads(line[:cut] + b"}")
    get = head.get
    return PlannedJob(
        number,
        head["job"],
        head["rule"],
        tuple(get("after", ())),
        get("cluster", ""),
        get("priority", 0),
        get("retries") or {},
        (get("batch"), get("group")),
        get("deferred", False),
        tuple(get("temp", ())),
        tuple([(maker, path) for maker, path in get("uses_temp", ())]),
        line[cut + len(_REST) : line.rindex(b"}")],
    )
