"""What a node gets back: a job as it is now, that can be asked again, waited for and cancelled."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import hamilton as messages
from buildhpc.show.text import columns
from buildhpc.state import flows
from buildhpc.state.database import State, open_state
from buildhpc.state.queries import Used, log_text

_NOTHING = Used(*[None] * 10)


@dataclass(frozen=True, slots=True)
class JobInfo:
    """A job that a node asked for, as it was when it was looked at last.

    folder: whose state has it. run, job: what it is called there. cluster: the alias.
    command: what it runs. outputs: the files that it makes, relative to `folder`.
    state: `waiting`, `queued`, `running`; `done`, `failed`, `cancelled`, `skipped` or `lost`.
    failure: the class of a failure. message: why it is as it is, for people.
    used: what it asked for and used, host and scheduler id as well.
    """

    folder: str
    run: int
    job: str
    cluster: str
    command: str
    outputs: tuple[str, ...] = ()
    state: str = "waiting"
    failure: str = ""
    message: str = ""
    exit_code: int | None = None
    used: Used = field(default=_NOTHING)
    attempt: int | None = None

    @property
    def name(self) -> str:
        """What the node called it; several jobs may have the same name."""
        return _called(self.job)

    @property
    def id(self) -> str:
        """The scheduler id; empty while it has none."""
        return self.used.scheduler_id or ""

    @property
    def ok(self) -> bool:
        """Whether it ended well."""
        return self.state == "done"

    @property
    def log(self) -> str:
        """What it printed, as far as that is known."""
        return log_text(self._state(), self.attempt) if self.attempt is not None else ""

    def done(self) -> bool:
        """Whether it is over, well or not."""
        return self.state in flows.ENDED

    def refresh(self) -> JobInfo:
        """The same job as it is by now."""
        from buildhpc.hamilton.desk import desk

        return desk(self.folder).look(self)

    def wait(self, timeout_s: float | None = None) -> JobInfo:
        """The same job once it is over. Raises: TimeoutError"""
        from buildhpc.hamilton.desk import desk

        return self if self.done() else desk(self.folder).wait(self, timeout_s)

    def result(self, timeout_s: float | None = None) -> JobInfo:
        """As `wait`. Raises: JobFailedError where it did not end well; TimeoutError"""
        found = self.wait(timeout_s)
        if not found.ok:
            raise JobFailedError(found)
        return found

    def cancel(self) -> JobInfo:
        """Stop it, and all that needs it."""
        from buildhpc.hamilton.desk import desk

        return desk(self.folder).cancel(self)

    def completed(self) -> subprocess.CompletedProcess[bytes]:
        """The job as a process that ended; what it printed is one text, as schedulers have it."""
        code = self.exit_code if self.exit_code is not None else int(not self.ok)
        return subprocess.CompletedProcess(self.command, code, self.log.encode(), b"")

    def _state(self) -> State:
        return open_state(Path(self.folder))


class JobFailedError(HpcmakeError):
    """A job that a node waited for did not end well. job: how it ended."""

    def __init__(self, job: JobInfo) -> None:
        self.job = job
        words = (job.failure, job.message)
        super().__init__(messages.ended_badly(job.job, job.state, words, job.log), exit_code=1)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.job,)


def jobs(name: str | None = None, folder: str = ".") -> list[JobInfo]:
    """The jobs that nodes asked for in a folder, oldest first. name: of those alone."""
    from buildhpc.hamilton.desk import desk

    here = desk(str(Path(folder).resolve()))
    found = flows.all_jobs(here.state)
    return here.known([each for each in found if name in (None, each[1], _called(each[1]))])


def job(name: str, folder: str = ".") -> JobInfo:
    """The newest job of that name. Raises: messages.unknown_job"""
    from buildhpc.hamilton.desk import desk

    found = jobs(name, folder)
    if not found:
        state = desk(str(Path(folder).resolve())).state
        known = {_called(each) for _, each in flows.all_jobs(state)}
        raise messages.unknown_job(name, "buildhpc.hamilton.job", known)
    return found[-1]


def wait_for(some: Sequence[JobInfo]) -> list[JobInfo]:
    """Jobs once all of them are over."""
    return [each.wait() for each in some]


def status(folder: str = ".") -> str:
    """How the jobs of nodes are, a line each."""
    rows = [
        (each.state, each.id or "-", each.cluster, each.job, each.message)
        for each in jobs(None, folder)
    ]
    return "\n".join(columns(rows))


def _called(job: str) -> str:
    """What a node called a job."""
    return job.partition(" ")[0]
