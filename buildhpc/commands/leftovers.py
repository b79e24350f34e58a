"""What is left over: by runs that died jobs, files and claims; temp files that nothing needs."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from buildhpc.commands.common import warn
from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import plan as messages
from buildhpc.run import orphans
from buildhpc.state.changes import collect
from buildhpc.state.claims import DeadRun, bury, keep_logs, runs_over
from buildhpc.state.database import State
from buildhpc.state.snapshot import change_counter

_HOME = Path(".hpcmake")
_GRACE_S = 5.0


def run_folder(run: int) -> Path:
    """The folder of a run's files while it runs."""
    return _HOME / f"run-{run}"


def run_marker(run: int) -> str:
    """What the processes of a run of this folder are known by."""
    folder = hashlib.sha256(os.path.realpath(".").encode(errors="surrogateescape"))
    return f"{folder.hexdigest()[:12]}:{run}"


def clear(state: State) -> None:
    """Find runs that died, and deal with them; a state that cannot be written stays as it is."""
    if not any(_HOME.glob("run-*")):
        return
    with suppress(HpcmakeError):
        with state.transaction() as connection:
            dead = bury(connection, state.now_s(), None, change_counter(state.found))
        take_over(state, dead, 0)


def take_over(state: State, dead: Iterable[DeadRun], own: int) -> None:
    """Say which runs died, end what is left of the runs that are over, and remove their files.

    own: the run that asks; 0 where none does.
    """
    for run in dead:
        warn(messages.taken_over(run.id, run.host, run.pid))
    # Also what a run left that another one found dead a moment ago and still deals with: its
    # jobs are free by now, and must not start beside what is left of them.
    folders = [path for path in _HOME.glob("run-*") if path != run_folder(own)]
    over = state.read(runs_over) if folders else {}
    host = socket.gethostname()
    gone = []
    for folder in folders:
        number = folder.name.removeprefix("run-")
        if not number.isdecimal() or int(number) not in over:
            continue
        if over[int(number)] not in (None, host):
            continue
        gone.append(folder)
        if over[int(number)] and (left := orphans.find(run_marker(int(number)))):
            orphans.kill(left, _GRACE_S)
            warn(messages.orphans_ended(len(left)))
    if gone:
        keep_logs(state, host)
    for folder in gone:
        remove_tree(folder)


def remove_tree(path: Path) -> None:
    """Remove a folder of ours; one that is gone, or cannot go, is no harm."""
    shutil.rmtree(path, ignore_errors=True)


def remove_used(state: State, paths: Iterable[str]) -> None:
    """Remove temp outputs that were used; the jobs that made them are collected then."""
    gone = list(paths)
    remove_files(gone)
    with suppress(HpcmakeError):  # it is only told of; the jobs are done all the same
        collect(state, [path for path in gone if not os.path.lexists(path)])


def remove_files(paths: Iterable[str]) -> None:
    """Remove temp outputs, files or folders; say so where one cannot be removed."""
    for path in paths:
        try:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            warn(messages.cannot_remove(path, (error.strerror or str(error)).lower()))
