"""What is known of files and of a job's last attempt; what freshness is decided by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# Files up to this size, in bytes, are read where their stamp alone proves nothing.
SMALL = 2**20

# No path begins so.
_PUT_BACK = "//put back: "


class Stamp(NamedTuple):
    """What tells that a file changed.

    mtime_ns: modification time of the file, links followed; of a directory a digest of the
        names, sizes and times of the tree below it.
    size: bytes; of a directory the number of entries below it.
    """

    mtime_ns: int
    size: int


class Record(NamedTuple):
    """What the state remembers of a job's last attempt.

    state: `done`; or what became of an attempt that did not succeed: `failed`, `cancelled`,
        `running` (it never ended), `waiting` (it was about to run).
    failure: class and words of the failure, e.g. `exit: exit code 3`; empty when there is none.
    recipe: digest of the text that ran.
    inputs, input_stamps: in the order of the job, taken just before it started; None: missing.
    outputs, output_stamps: taken just after it ended.
    hashes: path -> SHA-256 in hex, of the inputs that are compared by content or that changed
        so shortly before the job started that their stamp alone proves nothing; and of the temp
        outputs that are compared by content, since they will be gone. Also, of temp files
        that were put back, what others know them by: see `put_back`.

    With a state other than `done` the rest is that of the last success, or empty.
    """

    state: str
    failure: str
    recipe: str
    inputs: tuple[str, ...]
    input_stamps: tuple[Stamp | None, ...]
    outputs: tuple[str, ...]
    output_stamps: tuple[Stamp | None, ...]
    hashes: Mapping[str, str]


def same_stamp(old: Stamp, new: Stamp) -> bool:
    """Whether two stamps say the same; a time cut to whole seconds or microseconds counts."""
    if old == new:
        return True
    if old.size != new.size:
        return False
    for unit in (1_000_000_000, 1_000):
        if old.mtime_ns % unit == 0 or new.mtime_ns % unit == 0:
            return old.mtime_ns // unit == new.mtime_ns // unit
    return False


def put_back(path: str, at: Stamp) -> dict[str, str]:
    """What `Record.hashes` has of a temp output that was put back and is known by this stamp."""
    return {_PUT_BACK + path: f"{at.mtime_ns} {at.size}"}


def known_as(record: Record, path: str) -> Stamp | None:
    """What those who read an output know it by, where its job put it back; None: it did not."""
    was = record.hashes.get(_PUT_BACK + path)
    if was is None:
        return None
    mtime_ns, size = was.split()
    return Stamp(int(mtime_ns), int(size))


def digests(record: Record) -> dict[str, str]:
    """Path -> SHA-256: the hashes of a record without what it has put back."""
    return {path: each for path, each in record.hashes.items() if not path.startswith(_PUT_BACK)}
