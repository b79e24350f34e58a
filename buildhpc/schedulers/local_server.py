"""The server of this machine's queue: it runs what waits for nothing, and answers requests.

One process per spool, which ends when there is nothing to run. It waits in one place for children,
for requests and for deadlines, and does nothing in between.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from buildhpc.run.machine import detect_limits
from buildhpc.schedulers.local_jobs import Element, Event, Limits, Wish
from buildhpc.schedulers.local_processes import Processes, end_of
from buildhpc.schedulers.local_spool import Journal, QueueError, Spool

Answer = dict[str, Any]

# The server stays for a moment after its last job: who submits one job often submits more.
_LINGER_S = 0.5
# A job that has found no room for so long is not overtaken any more.
_PATIENCE_S = 60.0
_LOOK_BEHIND = 200
_AGAIN_S = 1.0


class Server:
    """The queue of a spool whose lock is held."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.journal = Journal(spool)
        self.book = self.journal.book
        self._machine = detect_limits()
        self.processes = Processes(spool)
        self._first: tuple[str, float] = ("", 0.0)
        self._not_before_s = 0.0

    @property
    def busy(self) -> bool:
        """Whether anything runs or could run."""
        book = self.book
        return bool(book.running or book.ready or book.unmet)

    def limits(self, more: Event | None = None) -> Limits:
        """What jobs may use: what this machine has, or what somebody said, or says now."""
        machine, said = self._machine, {**self.book.said, **(more or {})}
        mem_mib = said.get("mem_mib", machine.mem_mib)
        return Limits(said.get("cores", machine.cores), mem_mib, machine.gpus)

    def answer(self, request: bytes) -> Answer:
        """Do what a request says; its answer has exit code, stdout and stderr of the command."""
        try:
            words = json.loads(request)
            does: dict[str, Callable[[Any], str]] = {
                "submit": self._submit,
                "check": self._check,
                "queue": self._queue,
                "finished": self._finished,
                "release": self._release,
                "cancel": self._cancel,
            }
            return {"code": 0, "out": does[words["do"]](words), "err": ""}
        except QueueError as error:
            return {"code": error.code, "out": "", "err": f"hpcmake queue: {error}\n"}

    def step(self) -> float:
        """Do all that can be done now; in how many seconds there may be more."""
        for element, end in self.processes.ended(self.book.running.values()):
            self._ended(element, end)
        self._end_unmet()
        self.journal.tidy()
        if self.spool.intact() and time.monotonic() >= self._not_before_s:
            self._start()
        waits = [self._deadline(element) for element in list(self.book.running.values())]
        if self.processes.blind:
            waits.append(_AGAIN_S)
        if self.book.ready and self._not_before_s > time.monotonic():
            waits.append(self._not_before_s - time.monotonic())
        return min(waits, default=3600.0)

    def _check(self, words: Event) -> str:
        wish = Wish(**{**words["wish"], "after": tuple(map(tuple, words["wish"]["after"]))})
        if text := self.book.refusal(wish, self.limits(words["limits"])):
            raise QueueError(text)
        return ""

    def _submit(self, words: Event) -> str:
        mark = words["context"]["mark"]
        if mark in self.book.marks:  # the answer to it was lost
            return f"{self.book.marks[mark]}\n"
        self._check(words)
        scheduler_id = f"{self.book.prefix}-{self.book.last + 1}"
        script = self.spool.path("scripts", scheduler_id)
        try:
            with open(script, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(words["script"])
        except OSError as error:
            raise QueueError(f"cannot write `{script}`: {error.strerror}", 75) from None
        if self.book.said | words["limits"] != self.book.said:
            self.journal.write({"event": "limits", **words["limits"]})
        kept = {name: words[name] for name in ("wish", "context")}
        self.journal.write({"event": "job", "id": scheduler_id, **kept})
        return f"{scheduler_id}\n"

    def _queue(self, _words: Event) -> str:
        host = os.uname().nodename
        rows: list[list[Any]] = []
        for job in self.book.jobs.values():
            for each in job.elements if job.left else ():
                if each.state == "running":
                    rows.append([each.id, job.wish.name, "running", "", host])
                elif each.state != "ended":
                    state = "held" if job.held else "queued"
                    rows.append([each.id, job.wish.name, state, self.book.reason(each), ""])
        return _listed(rows)

    def _finished(self, words: Event) -> str:
        elements = [each for text in words["ids"] for each in self.book.find(text)]
        names = ("failure", "said", "began", "code", "host")
        rows = [[each.id, *(each.end[name] for name in names)] for each in elements if each.end]
        return _listed(rows)

    def _release(self, words: Event) -> str:
        for text in words["ids"]:
            for job in {each.job.id: each.job for each in self.book.find(text)}.values():
                if job.held:
                    self.journal.write({"event": "release", "id": job.id})
        return ""

    def _cancel(self, words: Event) -> str:
        for text in words["ids"]:
            for element in self.book.find(text):
                if element.state in ("pending", "ready"):
                    self._ended(element, end_of("cancelled", "cancelled before it ran", False))
                elif element.state == "running":
                    self._stop(element, "cancelled")
        self._end_unmet()
        return ""

    def _ended(self, element: Element, end: Event) -> None:
        what = {"id": element.job.id, "index": element.index}
        self.journal.write({**end, **what}, must=False)
        self.spool.remove("ends", element.id)
        if not element.job.left:
            self.spool.remove("scripts", element.job.id)

    def _end_unmet(self) -> None:
        while self.book.unmet:
            element = self.book.unmet.pop()
            if element.state == "pending":
                text = f"never: it {self.book.reason(element)}, which did not end well"
                self._ended(element, end_of("unmet", text, False))

    def _start(self) -> None:
        """Start what there is room for, in the order of submission."""
        limits, used = self.limits(), self.book.used()
        cores = limits.cores - used.cores
        mem_mib = None if limits.mem_mib is None else limits.mem_mib - (used.mem_mib or 0)
        gpus = [gpu for gpu in limits.gpus if gpu not in used.gpus]
        blocked = False
        for number in sorted(self.book.ready)[:_LOOK_BEHIND]:
            job = self.book.ready[number]
            wish = job.wish
            while job.ready:
                fits = wish.cores <= cores and wish.gpus <= len(gpus)
                fits = fits and (mem_mib is None or wish.mem_mib <= mem_mib)
                if not fits and self.book.running:
                    break
                if not self._start_one(job.elements[job.ready[0]], gpus[: wish.gpus]):
                    return
                self._first = ("", 0.0)
                cores, gpus = cores - wish.cores, gpus[wish.gpus :]
                mem_mib = None if mem_mib is None else mem_mib - wish.mem_mib
            if job.ready and not blocked:
                blocked = True
                if self._first[0] != job.id:
                    self._first = (job.id, time.monotonic())
                elif time.monotonic() - self._first[1] > _PATIENCE_S:
                    return
            if cores < 1:
                return

    def _start_one(self, element: Element, gpus: list[str]) -> bool:
        """Start an element; False: nothing can be started for now."""
        try:
            pid, begun = self.processes.prepare(element, gpus)
        except OSError as error:
            if isinstance(error, BlockingIOError):  # the system has no room for processes
                self._not_before_s = time.monotonic() + _AGAIN_S
                return False
            self._ended(element, end_of("launch", f"cannot start bash: {error.strerror}", False))
            return True
        place = {"boot": self.processes.boot, "pid": pid, "begun": begun, "gpus": gpus}
        what = {"event": "start", "id": element.job.id, "index": element.index}
        try:
            self.journal.write({**what, **place, "at_s": time.monotonic()})
        except QueueError:
            self.processes.drop(pid)
            self._not_before_s = time.monotonic() + _AGAIN_S
            return False
        self.processes.go(pid)
        return True

    def _stop(self, element: Element, why: str) -> None:
        if not element.stop:
            what = {"event": "stop", "id": element.job.id, "index": element.index, "why": why}
            self.journal.write({**what, "at_s": time.monotonic()}, must=False)
            self.processes.signal(element, signal.SIGTERM)
            self.processes.signal(element, signal.SIGCONT)

    def _deadline(self, element: Element) -> float:
        """Do what is due for an element that runs; in how many seconds more is due."""
        now_s, wish = time.monotonic(), element.job.wish
        if not element.stop and wish.time_s:
            end_s = element.start["at_s"] + wish.time_s
            if now_s < end_s:
                if element.warned or not 0 < wish.warn_s < wish.time_s:
                    return float(end_s - now_s)
                if now_s < end_s - wish.warn_s:
                    return float(end_s - wish.warn_s - now_s)
                what = {"event": "warn", "id": element.job.id, "index": element.index}
                self.journal.write(what, must=False)
                self.processes.signal_script(element, signal.SIGUSR1)
                return float(end_s - now_s)
            self._stop(element, "timeout")
        if not element.stop:
            return 3600.0
        kill_s = element.stop["at_s"] + wish.grace_s - now_s
        if kill_s > 0:
            return float(kill_s)
        self.processes.kill(element)
        return _AGAIN_S


def _listed(rows: list[list[Any]]) -> str:
    """A line that tells how many follow, so that a part of the answer is never taken for all."""
    lines = [{"count": len(rows)}, *rows]
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


class _Connection:
    """A client: its request is read, its answer written, whenever that is possible."""

    def __init__(self, client: socket.socket) -> None:
        client.setblocking(False)
        self.client = client
        self.request = b""
        self.answer: bytes | None = None


class Loop:
    """Waits for requests, for children and for deadlines, until there is nothing to run."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._poll = select.poll()
        self._connections: dict[int, _Connection] = {}
        self._told = False
        reader, writer = os.pipe()
        for fd in (reader, writer):
            os.set_blocking(fd, False)
        self._signals = reader
        self._poll.register(reader, select.POLLIN)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        self._listener = self._listen()

    def run(self) -> None:
        """Serve until nothing is left, then end; what runs goes on where somebody asked to end."""
        idle_s = time.monotonic()
        while not self._told:
            wait_s = self._server.step()
            if self._server.busy or self._connections:
                idle_s = time.monotonic()
            left_s = idle_s + _LINGER_S - time.monotonic()
            if left_s <= 0 and not self._last_request():
                break
            if not self._server.busy:
                wait_s = max(0.0, left_s)
            self._wait(wait_s)
        self._server.spool.remove("socket")
        self._server.journal.tidy(always=True)

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        # Paths of sockets have at most 107 bytes; the working folder is the spool.
        self._server.spool.remove("socket.new")
        listener.bind("socket.new")
        listener.listen(256)
        os.rename("socket.new", "socket")
        self._poll.register(listener, select.POLLIN)
        return listener

    def _last_request(self) -> bool:
        """Close the door; whether somebody stood in it."""
        self._server.spool.remove("socket")
        self._accept()
        if not self._connections:
            return False
        self._poll.unregister(self._listener)
        self._listener.close()
        self._listener = self._listen()
        return True

    def _wait(self, wait_s: float) -> None:
        watched = self._server.processes.watched()
        for fd in watched:
            self._poll.register(fd, select.POLLIN)
        for fd, _ in self._poll.poll(wait_s * 1000 + 1):
            if fd == self._signals:
                os.read(fd, 65536)
            elif fd == self._listener.fileno():
                self._accept()
            elif connection := self._connections.get(fd):
                self._talk(fd, connection)
        for fd in watched:
            self._poll.unregister(fd)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            self._connections[client.fileno()] = _Connection(client)
            self._poll.register(client, select.POLLIN)

    def _talk(self, fd: int, connection: _Connection) -> None:
        try:
            if connection.answer is None:
                data = connection.client.recv(1 << 20)
                connection.request += data
                if data:
                    return
                answer = self._server.answer(connection.request)
                connection.answer = json.dumps(answer).encode()
                self._poll.modify(fd, select.POLLOUT)
                return
            sent = connection.client.send(connection.answer)
            connection.answer = connection.answer[sent:]
            if connection.answer:
                return
        except BlockingIOError:
            return
        except (OSError, ValueError):
            pass  # the client has gone
        self._poll.unregister(fd)
        del self._connections[fd]
        connection.client.close()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._told = True


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Has Python write to the wake-up pipe, which it does only for signals with a handler."""
