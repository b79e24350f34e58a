"""Submits for all threads of a process, and looks for all of them: one question for each cluster.

A thread of its own does it, and ends when nothing is left to do. All that counts is in the state
of the folder; what dies with the process is only who waited.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from buildhpc.commands.moving import watched
from buildhpc.diagnostics import HpcmakeError
from buildhpc.hamilton.answers import answer, fail
from buildhpc.hamilton.jobs import JobInfo
from buildhpc.hamilton.keywords import Awaited
from buildhpc.hamilton.plans import Order
from buildhpc.hamilton.seeing import seen
from buildhpc.hamilton.submitting import LOG, Asked, Submitting, warn
from buildhpc.messages import hamilton as messages
from buildhpc.state import flows, receipts
from buildhpc.state.database import State, open_state

T = TypeVar("T")

_Act = tuple[Callable[[], Any], "Future[Any]"]
_GLANCE_S = 0.1
# So long the thread stays when nothing is left to do.
_IDLE_S = 2.0
# A call of the API works in a folder of its own while it lasts.
_AWAY_S = 600.0


class Desk:
    """The one place of a process where jobs of nodes of a folder are submitted and looked for."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.state: State = open_state(Path(folder), warn)
        self._lock = threading.Condition()
        self._thread: threading.Thread | None = None
        self._asked: list[Asked] = []
        self._acts: list[_Act] = []
        self._waits: dict[tuple[int, str], tuple[JobInfo, list[Future[JobInfo]]]] = {}
        # From here on only the thread uses them; `_generation` is set back by who wants a look.
        self._submitting = Submitting(self.state, folder)
        self._look_s = 0.0
        self._away_s = 0.0
        self._generation = b""

    def submit(self, order: Order) -> JobInfo:
        """A job, once it is submitted or waits for others. Raises: HpcmakeError"""
        after = [self._awaited(each, order) for each in order.wish.get("dependency", ())]
        asked = Asked(order, after)
        with self._lock:
            self._asked.append(asked)
            self._wake()
        return asked.told.result()

    def wait(self, job: JobInfo, timeout_s: float | None = None) -> JobInfo:
        """A job once it is over. Raises: HpcmakeError, TimeoutError"""
        told: Future[JobInfo] = Future()
        key = job.run, job.job
        with self._lock:
            self._waits.setdefault(key, (job, []))[1].append(told)
            self._generation = b""
            self._wake()
        try:
            return told.result(timeout_s)
        finally:
            with self._lock, suppress(KeyError, ValueError):
                self._waits[key][1].remove(told)
                if not self._waits[key][1]:
                    del self._waits[key]

    def look(self, job: JobInfo) -> JobInfo:
        """A job as it is now."""
        if os.getcwd() == self.folder and not job.done():
            self._do(lambda: self._submitting.step(look=True))
        return seen(self.state, [job])[0]

    def known(self, jobs: Sequence[tuple[int, str]]) -> list[JobInfo]:
        """Jobs that any process asked for, by what the state knows of them: run and name."""
        records = self.state.record([name for _, name in jobs])
        outputs = {name: records[name].outputs if name in records else () for _, name in jobs}
        return seen(
            self.state,
            [JobInfo(self.folder, run, name, "", "", outputs[name]) for run, name in jobs],
        )

    def cancel(self, job: JobInfo) -> JobInfo:
        """Stop a job. Raises: HpcmakeError"""
        self._do(lambda: self._submitting.cancel(job))
        return seen(self.state, [job])[0]

    def validate(self, order: Order) -> JobInfo:
        """Whether its scheduler would take a job; nothing is submitted. Raises: HpcmakeError"""
        return self._do(lambda: self._submitting.validate(order))

    def _awaited(self, awaited: Awaited, order: Order) -> tuple[JobInfo, str]:
        """A job that is waited for. Raises: messages.unknown_job"""
        if not isinstance(awaited.job, str):
            return awaited.job, awaited.condition
        found = flows.newest(self.state, awaited.job)
        if found is None:
            names = {name.partition(" ")[0] for _, name in flows.all_jobs(self.state)}
            raise messages.unknown_job(awaited.job, order.wish.where, names)
        return JobInfo(self.folder, *found, "", ""), awaited.condition

    def _do(self, act: Callable[[], T]) -> T:
        """What an act returns that is done by the thread."""
        told: Future[T] = Future()
        with self._lock:
            self._acts.append((act, told))
            self._generation = b""
            self._wake()
        return told.result()

    def _wake(self) -> None:
        """See to it that the thread runs; the lock is held."""
        if self._thread is None:
            # Not a daemon: what waits for others would never be submitted.
            self._thread = threading.Thread(target=self._serve, name="hpcmake", daemon=False)
            self._thread.start()
        self._lock.notify_all()

    def _serve(self) -> None:
        idle_s = time.monotonic() + _IDLE_S
        while True:
            with self._lock:
                if not (self._asked or self._acts):
                    self._lock.wait(_GLANCE_S)
                asked, self._asked = self._asked, []
                acts, self._acts = self._acts, []
                busy = bool(asked or acts or self._waits or self._submitting.held)
                leaving = not threading.main_thread().is_alive()
                if not busy and (leaving or time.monotonic() > idle_s):
                    self._thread = None
                    self.state.close()
                    return
            if not busy:
                continue
            idle_s = time.monotonic() + _IDLE_S
            if self._is_away():
                with self._lock:
                    self._asked, self._acts = asked + self._asked, acts + self._acts
                time.sleep(_GLANCE_S)
                continue
            self._turn(asked, acts)

    def _is_away(self) -> bool:
        """Whether the process is in another folder for a while; for long, it is an error."""
        if os.getcwd() == self.folder:
            self._away_s = 0.0
            return False
        now_s = time.monotonic()
        self._away_s = self._away_s or now_s
        return now_s - self._away_s < _AWAY_S

    def _turn(self, asked: Sequence[Asked], acts: Sequence[_Act]) -> None:
        """One look around; what goes wrong is told to those whom it concerns."""
        try:
            for act, told in acts:
                answer(told, act)
            self._submitting.take(asked)
            self._move_on()
        except BaseException as error:  # the last line of defence: threads wait for an answer
            self._submitting.held.clear()
            with self._lock:
                waits = [told for _, some in self._waits.values() for told in some]
            for told in (*(each.told for each in asked), *waits):
                fail(told, error)

    def _move_on(self) -> None:
        """Look for what is waited for, and tell who waits. Raises: HpcmakeError"""
        with self._lock:
            jobs = [job for job, _ in self._waits.values()]
        if not (jobs or self._submitting.held):
            return
        self._submitting.mine.update(job.run for job in jobs)
        now_s = time.monotonic()
        look = now_s >= self._look_s
        if look:
            self._look_s = now_s + self._submitting.moving()[1].poll_s
            for run in {job.run for job in jobs}:
                watched(run)
        inbox = str(self.state.home / "inbox")
        if look or receipts.any_there(inbox) or self.state.generation() != self._generation:
            try:
                self._submitting.step(look=look)
            except HpcmakeError as error:
                self._submitting.warn_once(str(error))
            self._generation = self.state.generation()
            self._tell(jobs)
            if self._submitting.release():
                self._generation = b""

    def _tell(self, jobs: Sequence[JobInfo]) -> None:
        """Tell those who wait of what is over."""
        for info in seen(self.state, jobs):
            key = info.run, info.job
            with self._lock:
                known, waiting = self._waits.get(key, (info, []))
                if known.state != info.state:
                    LOG.info("%s: %s %s", info.job, info.state, info.message)
                    self._waits[key] = info, waiting
                told = list(waiting) if info.done() else []
            for each in told:
                answer(each, lambda info=info: info)  # type: ignore[misc]


@functools.cache
def _desk(folder: str, pid: int) -> Desk:  # noqa: ARG001  # a forked process has no thread
    return Desk(folder)


def desk(folder: str = "") -> Desk:
    """The desk of this process for a folder, by default the current one."""
    return _desk(folder or os.getcwd(), os.getpid())
