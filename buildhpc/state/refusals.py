"""What SQLite and the file system refuse, told in our words."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import state as messages
from buildhpc.state.schema import VERSION, NewerError

# Primary result codes. Source: sqlite.org/rescode.html.
_IN_USE = frozenset({5, 6, 15})
_OUTSIDE = frozenset({3, 8, 10, 13, 14, 22, 23})


def refusal(path: Path, error: Exception, writing: bool) -> HpcmakeError:
    """The error to raise for what went wrong with the database at `path`."""
    if isinstance(error, NewerError):
        return HpcmakeError(messages.newer(path, error.args[0], VERSION))
    if isinstance(error, OSError):
        return _outside(path, error.strerror or str(error), writing)
    # Errors of the sqlite3 module itself bear no code.
    code = getattr(error, "sqlite_errorcode", 1) & 0xFF
    if isinstance(error, sqlite3.Error) and code in _IN_USE:
        return HpcmakeError(messages.busy(path), exit_code=3)
    if isinstance(error, sqlite3.Error) and code in _OUTSIDE and not path.is_dir():
        return _outside(path, str(error), writing)
    detail = "it is a folder" if path.is_dir() else str(error)
    journal = path.with_name(path.name + "-journal").exists()
    return HpcmakeError(messages.damaged(path, detail, journal))


def _outside(path: Path, cause: str, writing: bool) -> HpcmakeError:
    say = messages.unwritable if writing else messages.unreadable
    return HpcmakeError(say(path, cause))
