"""What jobs printed: folded into the state once they ended, large logs kept as files."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

# A log up to this size is folded into the database.
FOLD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Log:
    """Where what an attempt printed is kept: as text, or in the file at `path`.

    path: relative to the working folder where the file is in it. spent: the file whose text
    was folded; it can go once the text is safe.
    """

    text: str | None = None
    path: str | None = None
    spent: str | None = None


def fold_log(folder: str, home: str, path: str, name: str) -> Log:
    """The log file at `path`, folded or moved to `logs/NAME.log` in the folder of the state.

    folder: the working folder. home: the folder of the state, normalised; a file outside of it
    is the user's, and stays as it is. Strings, since this is done once for each job.
    """
    log = os.path.normpath(os.path.join(folder, path))
    if not log.startswith(home + os.sep):
        return Log(path=path)
    try:
        content = _head(log)
    except OSError:
        return Log()
    if len(content) > FOLD_BYTES:
        kept = os.path.join(home, "logs", f"{name}.log")
        with suppress(OSError):  # what cannot be moved is folded as far as that goes
            os.makedirs(os.path.dirname(kept), exist_ok=True)
            os.replace(log, kept)
            return Log(path=os.path.relpath(kept, folder))
    return Log(text=content[:FOLD_BYTES].decode("utf-8", "replace"), spent=log)


def _head(log: str) -> bytes:
    """A little more of a file than may be folded. Raises: OSError."""
    fd = os.open(log, os.O_RDONLY)
    try:
        return os.read(fd, FOLD_BYTES + 1)
    finally:
        with suppress(OSError):
            os.close(fd)


def remove_log(path: str) -> None:
    """Remove a log file; one that is gone, or cannot go, is no harm."""
    with suppress(OSError):
        os.unlink(path)  # once for each job
