"""How the records of jobs are kept as bytes, checked, and found again."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, cast
from zlib import crc32

from buildhpc.plan.stamps import Record, Stamp
from buildhpc.state.schema import UNDER_WAY, DamageError

if TYPE_CHECKING:
    from sqlite3 import Connection

NO_HASHES: Mapping[str, str] = MappingProxyType({})

# SQLite takes 32,766 parameters in a statement since 3.32, 999 before.
CHUNK = 500

# Above so many, reading the whole table is quicker than asking for each row.
MANY = 2000

_COUNTS = struct.Struct("<III")
_STAMPS = struct.Struct("<qq")
_MISSING = (0, -1)
_DONE = ("done", "")

# With a body, what a row's check sum is made from; put together by SQLite in half the time.
_SELECT = "SELECT name || x'00' || state || x'00' || failure, crc, body, claim FROM job"

# A quarter of the time of `Stamp(...)`, three times in each of 200,000 records.
_stamp = cast("Callable[[tuple[int, ...]], Stamp]", partial(tuple.__new__, Stamp))


def pack(record: Record) -> bytes:
    """What a record remembers of a success, as bytes: three counts, stamps, then all texts."""
    pairs = [text for pair in record.hashes.items() for text in pair]
    stamps = (*record.input_stamps, *record.output_stamps)
    numbers = [number for stamp in stamps for number in stamp or _MISSING]
    texts = "\0".join((record.recipe, *record.inputs, *record.outputs, *pairs))
    counts = (len(record.inputs), len(record.outputs), len(record.hashes))
    return b"".join(
        (
            _COUNTS.pack(*counts),
            struct.pack(f"<{len(numbers)}q", *numbers),
            texts.encode("utf-8", "surrogatepass"),
        )
    )


def unpack(state: str, failure: str, body: bytes) -> Record:
    """The record of a job from its row."""
    if not body:
        return Record(state, failure, "", (), (), (), (), NO_HASHES)
    inputs, outputs, hashes = _COUNTS.unpack_from(body)
    end = 12 + 16 * (inputs + outputs)
    stamps: tuple[Stamp | None, ...] = tuple(map(_stamp, _STAMPS.iter_unpack(body[12:end])))
    if _MISSING in stamps:
        stamps = tuple(None if stamp == _MISSING else stamp for stamp in stamps)
    recipe, *texts = body[end:].decode("utf-8", "surrogatepass").split("\0")
    pairs = texts[inputs + outputs :]
    return Record(
        state,
        failure,
        recipe,
        tuple(texts[:inputs]),
        stamps[:inputs],
        tuple(texts[inputs : inputs + outputs]),
        stamps[inputs:],
        dict(zip(pairs[::2], pairs[1::2], strict=True)) if hashes else NO_HASHES,
    )


def job_crc(name: str, state: str, failure: str, body_crc: int) -> int:
    """The check sum of a job's row; `body_crc` is that of its body, 0 for an empty one."""
    return crc32(f"{name}\0{state}\0{failure}".encode(), body_crc)


def output_crc(path: bytes, job: str) -> int:
    """The check sum of an output's row; the path as it is stored."""
    return crc32(b"%b\0%b" % (path, job.encode()))


def path_bytes(path: str) -> bytes:
    """A path as it is stored; also one whose name is no UTF-8."""
    return path.encode("utf-8", "surrogatepass")


def chunks(names: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Parts of `names`, each with the list of question marks it needs in a statement."""
    for start in range(0, len(names), CHUNK):
        part = names[start : start + CHUNK]
        yield ",".join("?" * len(part)), part


class Records(Mapping[str, Record]):
    """Job name -> record; kept as bytes, each record made when it is asked for.

    200,001 records with two inputs and one output, with Python 3.11: 0.45 s CPU to load and
    check all, 0.6 s more to make each once; 55 MiB.
    """

    __slots__ = ("_bodies", "_others")

    def __init__(self) -> None:
        self._bodies: dict[str, bytes] = {}
        # State and failure of the jobs that are not simply done.
        self._others: dict[str, tuple[str, str]] = {}

    def __getitem__(self, name: str) -> Record:
        state, failure = self._others.get(name, _DONE)
        return unpack(state, failure, self._bodies[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._bodies)

    def __len__(self) -> int:
        return len(self._bodies)

    def __contains__(self, name: object) -> bool:
        return name in self._bodies

    def add(self, rows: Iterable[tuple[bytes, int, bytes, int | None]]) -> int:
        """Add rows as `SELECT` makes them.

        Returns the sum of their check sums. Raises: DamageError.
        """
        total = 0
        bodies, others = self._bodies, self._others
        for head, crc, body, claim in rows:
            if crc32(head, crc32(body)) != crc:
                raise DamageError("the check sum of a job's record is wrong")
            total += crc
            if claim is None and head.endswith(b"\0done\0"):
                bodies[head[:-6].decode()] = body
                continue
            name, state, failure = head.decode().split("\0", 2)
            bodies[name] = body
            waits = claim is not None and state not in UNDER_WAY
            others[name] = ("waiting", "") if waits else (state, failure)
        return total


def load(connection: Connection) -> Records:
    """All records. Raises: DamageError."""
    records = Records()
    with _as_bytes(connection), sound():
        total = records.add(connection.execute(f"{_SELECT} NOT INDEXED"))
    _compare(connection, 1, len(records), total)
    return records


def load_some(connection: Connection, names: Sequence[str]) -> Records:
    """The records of the jobs of these names that have one. Raises: DamageError."""
    if len(names) <= MANY:
        found = Records()
        with _as_bytes(connection):
            for marks, part in chunks(names):
                found.add(connection.execute(f"{_SELECT} WHERE name IN ({marks})", part))
        if len(found) == len(set(names)):
            return found
    # A damaged index may hide a row, and a job without a record may count as fresh.
    wanted = set(names)
    everything = load(connection)
    some = Records()
    some._bodies = {name: everything._bodies[name] for name in wanted & everything.keys()}
    some._others = {name: everything._others[name] for name in wanted & everything._others.keys()}
    return some


def load_makers(connection: Connection, paths: Sequence[str]) -> dict[str, str]:
    """Path -> the job that made it last, where one did. Raises: DamageError."""
    stored = [path_bytes(path) for path in paths]
    makers: dict[bytes, bytes] = {}
    total = 0
    with _as_bytes(connection):
        if len(stored) <= MANY:
            one = "SELECT path, job, crc FROM output WHERE path = CAST(? AS TEXT)"
            for path in stored:
                makers.update(_makers(connection.execute(one, (path,)))[0])
        complete = len(makers) == len(set(stored))
        if not complete:
            makers, total = _makers(connection.execute("SELECT path, job, crc FROM output"))
    if not complete:
        _compare(connection, 2, len(makers), total)
    return {
        path: makers[key].decode() for path, key in zip(paths, stored, strict=True) if key in makers
    }


@contextmanager
def sound() -> Iterator[None]:
    """Reading rows of which a damaged one may hold values of any kind. Raises: DamageError."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise DamageError("a row holds what hpcmake did not write") from error


@contextmanager
def _as_bytes(connection: Connection) -> Iterator[None]:
    """Texts come as bytes, which is what check sums are made from, and quicker."""
    before = connection.text_factory
    connection.text_factory = bytes
    try:
        yield
    finally:
        connection.text_factory = before


def _makers(rows: Iterable[tuple[bytes, bytes, int]]) -> tuple[dict[bytes, bytes], int]:
    makers: dict[bytes, bytes] = {}
    total = 0
    for path, job, crc in rows:
        if crc32(b"%b\0%b" % (path, job)) != crc:
            raise DamageError("the check sum of an output is wrong")
        makers[path] = job
        total += crc
    return makers, total


def _compare(connection: Connection, guard: int, rows: int, total: int) -> None:
    expected = connection.execute("SELECT rows, total FROM guard WHERE id = ?", (guard,)).fetchone()
    if expected != (rows, total):
        raise DamageError("rows are missing, or there are some that hpcmake did not write")
