"""What surrounds a call: its folder, who hears of what happens, how it ended."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from typing import TYPE_CHECKING

from buildhpc.api.views import Submitted
from buildhpc.commands.common import LISTENER
from buildhpc.plan.plan import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildhpc.plan.model import Step
    from buildhpc.run.events import Event, Started
    from buildhpc.show.report import Reporter, Summary

LOG = logging.getLogger("buildhpc")
LOG_OF_JOBS = LOG.getChild("jobs")
LOG.addHandler(logging.NullHandler())  # a program that wants to hear of it says so


@contextmanager
def inside(folder: str) -> Iterator[None]:
    """Work in `folder`; warnings and notes go to the logger `buildhpc`, nothing is printed."""
    token = LISTENER.set(LOG.warning)
    try:
        with chdir(folder):
            yield
    finally:
        LISTENER.reset(token)


class Logged:
    """What functions of jobs log to the file at `path`, from now on, for the logger of ours."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._at = os.path.getsize(path) if os.path.exists(path) else 0

    def relay(self) -> None:
        """Log what is new in the file, whole lines of it."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._at)
                new = file.read()
        except OSError:
            return
        whole = new[: new.rfind(b"\n") + 1]
        self._at += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            words = line.split(" ", 3)  # day, time, level, and the rest, from `run/python_job.py`
            level = logging.getLevelNamesMapping().get(words[2]) if len(words) == 4 else None
            if level is None:
                LOG_OF_JOBS.info("%s", line)  # a further line of what came before
            else:
                LOG_OF_JOBS.log(level, "%s", words[3])


class Listener:
    """A `Reporter` that hands events on, and logs them.

    run: the number of the run once it has one. summary: how it ended; None: it has not.
    submitted: what a scheduler was given; None: nothing yet.
    """

    def __init__(self, on_event: Callable[[Event], object] | None) -> None:
        self._logged: Logged | None = None
        self.run: int | None = None
        self.summary: Summary | None = None
        self.submitted: Submitted | None = None
        self._on_event = on_event

    def follow(self, log_file: str | None) -> None:
        """Log what functions of jobs log to this file from now on; None: they log to none."""
        self._logged = Logged(log_file) if log_file else None

    def __call__(self, run: int) -> Reporter:
        """This listener, for the run of this number."""
        self.run = run
        return self

    def waiting_for(self, jobs: Mapping[str, int]) -> None:
        """See `Reporter.waiting_for`."""
        LOG.info("waiting for jobs that other runs have: %s", ", ".join(jobs))

    def theirs_done(self, job: str) -> None:
        """See `Reporter.theirs_done`."""
        LOG.info("%s: made by another run", job)

    def more(self, steps: Sequence[Step]) -> None:
        """See `Reporter.more`."""
        LOG.info("%d further jobs became known", counted([step.job for step in steps]))

    def stopping(self) -> None:
        """See `Reporter.stopping`."""
        LOG.warning("stopping: jobs are asked to end")

    def event(self, event: Event) -> None:
        """See `Reporter.event`."""
        from buildhpc.run.events import Tick

        if self._logged is not None:
            self._logged.relay()
        if isinstance(event, Tick):
            return
        _log(event)
        if self._on_event is not None:
            self._on_event(event)

    def end(self, summary: Summary) -> None:
        """See `Reporter.end`."""
        from buildhpc.show.report import summary_line

        self.summary = summary
        if self._logged is not None:
            self._logged.relay()
        LOG.info("run %d: %s", summary.run, summary_line(summary))

    def close(self) -> None:
        """See `Reporter.close`."""

    def detached(self, run: int, jobs: int, submitted: int, refused: Sequence[str]) -> None:
        """A run was handed to a scheduler, and is left to it."""
        self.run = run
        self.submitted = Submitted(run, jobs, submitted, tuple(refused))
        LOG.info("run %d: %d of %d jobs submitted", run, submitted, jobs)


def _log(event: Event) -> None:
    """Log what a person wants to read: what started, with its command and its log."""
    from buildhpc.run.events import Ended, Skipped, Started, Unneeded

    if isinstance(event, Started):
        LOG.info("%s: started: %s", event.job, _command(event))
    elif isinstance(event, Ended):
        outcome = event.outcome
        took_s = max(0.0, outcome.ended_s - outcome.started_s)
        if outcome.state == "done":
            LOG.info("%s: done in %.1f s", event.job, took_s)
        else:
            again = "; it is tried again" if event.retry else ""
            LOG.error("%s: %s: %s%s", event.job, outcome.state, outcome.message, again)
    elif isinstance(event, Skipped):
        LOG.warning("%s: skipped, since %s failed", event.job, event.because)
    elif isinstance(event, Unneeded):
        LOG.info("%s: not needed: its inputs are as they were", event.job)


def _command(event: Started) -> str:
    from buildhpc.show.text import command_text

    lines = command_text(event.spec.recipe).strip().split("\n")
    more = " ..." if len(lines) > 1 else ""
    log = f" (output: {event.log})" if event.spec.log and event.log else ""
    return f"{lines[0]}{more}{log}"
