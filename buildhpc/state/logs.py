"""What jobs printed: folded into the state once they ended, large logs kept as files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

# A log up to this size is folded into the database.
FOLD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Log:
    """Where what an attempt printed is kept: as text, or in the file at `path`.

    path: relative to the working folder where the file is in it. spent: the file whose text
    was folded; it can go once the text is safe. err_at: None: stdout and stderr are both in it.
    Else what went to stderr is in the file beside `path`, or begins at that character of `text`.
    """

    text: str | None = None
    path: str | None = None
    spent: str | None = None
    err_at: int | None = None

    def discard(self) -> None:
        """Remove the file whose text is safe by now, and the one beside it."""
        if self.spent:
            remove_log(self.spent, split=self.err_at is not None)


def beside(log: str) -> str:
    """The file of stderr that belongs to a file of stdout."""
    return f"{log[:-4] if log.endswith(('.out', '.log')) else log}.err"


def fold_log(folder: str, home: str, path: str, name: str, err_at: int | None) -> Log:
    """The log file at `path`, folded or moved to `logs/NAME.log` in the folder of the state.

    folder: the working folder. home: the folder of the state, normalised; a file outside of it
    is the user's, and stays as it is. Strings, since this is done once for each job. err_at: not
    None: what went to stderr is in the file beside it, which goes the same way.
    """
    log = os.path.normpath(os.path.join(folder, path))
    if not log.startswith(home + os.sep):
        return Log(path=path, err_at=err_at)
    split = err_at is not None
    try:
        parts = _heads(log, split)
    except OSError:
        return Log(err_at=err_at)
    if sum(map(len, parts)) > FOLD_BYTES:
        kept = os.path.join(home, "logs", f"{name}.log")
        with suppress(OSError):  # what cannot be moved is folded as far as that goes
            os.makedirs(os.path.dirname(kept), exist_ok=True)
            if split and os.path.exists(beside(log)):
                os.replace(beside(log), beside(kept))
            os.replace(log, kept)
            return Log(path=os.path.relpath(kept, folder), err_at=err_at)
    text, err_at = _joined([part[: FOLD_BYTES // len(parts)] for part in parts], split)
    return Log(text, None, log, err_at)


def files_of(path: str, err_at: int | None, stream: str) -> tuple[str, ...]:
    """The files that hold what an attempt printed, in the order in which they are shown.

    path: of its log. stream: `out` or `err` alone; empty: both.
    """
    if err_at is None:
        return (path,) if not stream else ()
    found = {"out": path, "err": beside(path)}
    return (found[stream],) if stream else tuple(found.values())


def text_of(text: str, err_at: int | None, stream: str) -> str:
    """That of a log which was folded. stream: as for `files_of`."""
    if not stream:
        return text
    if err_at is None:
        return ""
    return text[:err_at] if stream == "out" else text[err_at:]


def small_log(log: str, split: bool, most: int) -> Log:
    """The text of a log of no more than so many bytes; without a text where there is none."""
    try:
        parts = _heads(log, split)
    except OSError:
        return Log()
    if sum(map(len, parts)) > most:
        return Log()
    text, err_at = _joined(parts, split)
    return Log(text, err_at=err_at)


def _joined(parts: Sequence[bytes], split: bool) -> tuple[str, int | None]:
    """One text of stdout and stderr, and where in it stderr begins; None: they are one already."""
    out, *rest = (part.decode("utf-8", "replace") for part in parts)
    if not split:
        return out, None
    # As lines: the first one of stderr is none of stdout.
    out += "" if not out or out.endswith("\n") else "\n"
    return out + "".join(rest), len(out)


def _heads(log: str, split: bool) -> list[bytes]:
    """A little more of a file than may be folded, and of that beside it. Raises: OSError."""
    found = [_head(log)]
    if split:
        with suppress(FileNotFoundError):  # it may have gone while it was empty
            found.append(_head(beside(log)))
    return found


def _head(log: str) -> bytes:
    fd = os.open(log, os.O_RDONLY)
    try:
        return os.read(fd, FOLD_BYTES + 1)
    finally:
        with suppress(OSError):
            os.close(fd)


def remove_log(path: str, *, split: bool = False) -> None:
    """Remove a log file; one that is gone, or cannot go, is no harm.

    split: and what is beside it.
    """
    with suppress(OSError):
        os.unlink(path)  # once for each job
    if split:
        with suppress(OSError):
            os.unlink(beside(path))
