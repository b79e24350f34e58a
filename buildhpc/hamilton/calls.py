"""The call of a node that goes on in this thread, and commands that run on this machine for it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Thread

from buildhpc.hamilton.answers import answer
from buildhpc.hamilton.keywords import Wish
from buildhpc.messages import hamilton as messages

_BASH = ("bash", "-euo", "pipefail", "-c")


@dataclass(frozen=True, slots=True)
class Call:
    """What a node is called with. inputs: a digest of it; turn: as of `plans.Order`."""

    node: str
    inputs: str = ""
    turn: int = 0


_CALL: ContextVar[Call | None] = ContextVar("call", default=None)


def current_call(function: str = "") -> Call:
    """The call that goes on; of a function that nobody calls as a node, its own name."""
    return _CALL.get() or Call(function)


@contextmanager
def calling(call: Call) -> Iterator[None]:
    """Let `current_call` be this one meanwhile."""
    token = _CALL.set(call)
    try:
        yield
    finally:
        _CALL.reset(token)


def run_command(
    wish: Wish,
    around: AbstractContextManager[None],
) -> subprocess.CompletedProcess[bytes] | Future[subprocess.CompletedProcess[bytes]]:
    """What a command came to; with `block=False` a future of that.

    around: what is entered while it runs.
    Raises: messages.command_failed, output_missing
    """

    def run() -> subprocess.CompletedProcess[bytes]:
        with around:
            return _run(wish)

    if wish.get("block", True):
        return run()
    told: Future[subprocess.CompletedProcess[bytes]] = Future()
    Thread(target=answer, args=(told, run), name="hpcmake-cmdline").start()
    return told


def _run(wish: Wish) -> subprocess.CompletedProcess[bytes]:
    text = str(wish.get("cmd"))
    folder = wish.get("work_dir", ".")
    os.makedirs(folder, exist_ok=True)
    outputs = [os.path.normpath(f"{folder}/{path}") for path in wish.get("outputs", ())]
    for path in outputs:
        _make_room(path)
    done = subprocess.run(
        [*_BASH, text],
        cwd=folder,
        env={**os.environ, **wish.get("env", {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    done.args = text
    if not wish.get("check", True):
        return done
    if done.returncode:
        raise messages.command_failed(text, done.returncode, done.stderr.decode(errors="replace"))
    if missing := [path for path in outputs if not os.path.lexists(path)]:
        raise messages.output_missing(text, missing)
    return done


def _make_room(path: str) -> None:
    """Remove what is there of an output, and make its folder."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with suppress(FileNotFoundError):
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
