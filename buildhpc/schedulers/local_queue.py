"""The command line of this machine's queue: `submit`, `check`, `queue`, `finished`, `release`,
`cancel`. A program of its own, in the standard library alone.

A command is answered by the server of the spool. Where none lives, the command itself does what is
asked, and leaves a server behind if there is something to run.

Exit codes: 0; 1 what is asked for is wrong; 2 the call is; 70 there was no answer, so it may have
been done or not; 75 it was not done, and may go well later.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from typing import Any

if __name__ == "__main__":  # run by its path, with nothing on the path of modules
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from buildhpc.schedulers.local_spool import QueueError, Spool

_DIRECTIVE = "#QUEUE "
_NUMBERS = {
    "elements": "elements",
    "cores": "cores",
    "mem": "mem_mib",
    "gpus": "gpus",
    "time": "time_s",
    "warn": "warn_s",
    "grace": "grace_s",
}
_KINDS = ("ok", "any", "element")
_LONGEST_S = 60.0
_POLL_S = 0.02


def main(words: list[str]) -> int:
    """Run a command; its exit code."""
    try:
        verb, options, rest = _call(words)
        spool = Spool(str(options.pop("spool", "")))
        if verb == "serve":
            return _serve(spool, int(rest[0]))
        request = {"do": verb, "ids": rest}
        if verb in ("submit", "check"):
            request |= _submission(rest, options)
        if verb in ("submit", "check") or spool.exists():
            answer = _ask(spool, json.dumps(request).encode())
        else:
            empty = '{"count":0}\n' if verb in ("queue", "finished") else ""
            answer = {"code": 0, "out": empty, "err": ""}
    except QueueError as error:
        answer = {"code": error.code, "out": "", "err": f"hpcmake queue: {error}\n"}
    sys.stdout.write(answer["out"])
    sys.stdout.flush()
    sys.stderr.write(answer["err"])
    return int(answer["code"])


def wish_of(text: str) -> dict[str, Any]:
    """What a job script asks for in its lines that begin with `#QUEUE`. Raises: QueueError."""
    wish: dict[str, Any] = {"after": []}
    for line in text.split("\n"):
        if line.startswith(_DIRECTIVE):
            _directive(wish, line.removeprefix(_DIRECTIVE).strip())
        elif line and not line.startswith("#"):
            break
    if "name" not in wish:
        raise QueueError("the script has no line `#QUEUE --name=NAME`")
    return wish


def _directive(wish: dict[str, Any], word: str) -> None:
    name, _, value = word.removeprefix("--").partition("=")
    kind, _, scheduler_id = value.partition(":")
    if word == "--held":
        wish["held"] = True
    elif name in _NUMBERS and value.isdecimal():
        wish[_NUMBERS[name]] = int(value)
    elif name == "after" and kind in _KINDS and scheduler_id:
        wish["after"].append((kind, scheduler_id))
    elif name in ("name", "folder", "output") and value:
        # With quotes it is JSON: a path may hold any character.
        wish[name] = json.loads(value) if value.startswith('"') else value
    else:
        raise QueueError(f"there is no option `{word}`")


def _call(words: list[str]) -> tuple[str, dict[str, str], list[str]]:
    verbs = ("submit", "check", "queue", "finished", "release", "cancel", "serve")
    if not words or words[0] not in verbs:
        raise QueueError(f"the first word is one of {', '.join(verbs[:-1])}", 2)
    options: dict[str, str] = {}
    rest = words[1:]
    while rest and rest[0] in ("--spool", "--cores", "--mem"):
        if len(rest) == 1:
            raise QueueError(f"`{rest[0]}` wants a value", 2)
        options[rest[0].removeprefix("--")] = rest[1]
        rest = rest[2:]
    return words[0], options, rest


def _submission(rest: list[str], options: dict[str, str]) -> dict[str, Any]:
    if len(rest) != 1:
        raise QueueError("`submit` wants one script", 2)
    try:
        with open(rest[0], encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
        limits = {_NUMBERS[name]: int(value) for name, value in options.items()}
    except OSError as error:
        raise QueueError(f"cannot read `{rest[0]}`: {error.strerror}") from None
    except ValueError:
        raise QueueError("`--cores` and `--mem` want a whole number", 2) from None
    umask = os.umask(0o022)
    os.umask(umask)
    # By its mark the queue knows a submission whose answer was lost.
    context = {"env": dict(os.environ), "umask": f"{umask:04o}", "mark": os.urandom(8).hex()}
    return {"script": text, "wish": wish_of(text), "limits": limits, "context": context}


def _ask(spool: Spool, request: bytes) -> dict[str, Any]:
    """The answer to a request, of the server or, where none lives, our own."""
    deadline_s = time.monotonic() + _LONGEST_S
    while time.monotonic() < deadline_s:
        answer = _asked(spool, request)
        if answer is None and spool.lock():
            answer = _answered(spool, request)
        if answer is not None:
            return answer
        time.sleep(_POLL_S)
    raise QueueError(f"the queue in `{spool.folder}` gave no answer in {_LONGEST_S:.0f} s", 70)


def _asked(spool: Spool, request: bytes) -> dict[str, Any] | None:
    """The answer of the server; None where none lives, or where it has just ended."""
    try:
        os.chdir(spool.folder)  # paths of sockets have at most 107 bytes
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
            server.settimeout(_LONGEST_S)
            server.connect("socket")
            server.sendall(request)
            server.shutdown(socket.SHUT_WR)
            data = b"".join(iter(lambda: server.recv(1 << 20), b""))
        answer: dict[str, Any] = json.loads(data)
    except (OSError, ValueError):
        return None
    return answer


def _answered(spool: Spool, request: bytes) -> dict[str, Any]:
    """Our own answer; a server is left behind where there is something to run."""
    from buildhpc.schedulers.local_server import Server

    server = Server(spool)
    answer = server.answer(request)
    if server.busy:
        _leave_server(spool)
    else:
        server.journal.tidy()
    return answer


def _leave_server(spool: Spool) -> None:
    """Start the server; it holds our lock, and nothing else of ours."""
    import subprocess

    words = [sys.executable, "-I", "-S", os.path.abspath(__file__), "serve"]
    kept = ("PATH", "HOME", "USER", "LOGNAME", "TZ", "CUDA_VISIBLE_DEVICES")
    with open(spool.path("server.log"), "ab") as log:
        subprocess.Popen(
            [*words, "--spool", spool.base, str(spool.locked)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=spool.folder,
            env={name: os.environ[name] for name in kept if name in os.environ},
            start_new_session=True,
            pass_fds=(spool.locked,),
        )


def _serve(spool: Spool, lock: int) -> int:
    from buildhpc.schedulers.local_server import Loop, Server

    spool.adopt(lock)
    os.umask(0o077)
    Loop(Server(spool)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
