"""What surrounds a call: its folder, who hears of what happens, how it ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from typing import TYPE_CHECKING

from buildhpc.api.views import Submitted
from buildhpc.commands.common import LISTENER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from buildhpc.run.events import Event, Started
    from buildhpc.show.report import Summary

LOG = logging.getLogger("buildhpc")
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


class Listener:
    """A `Reporter` that hands events on, and logs them.

    run: the number of the run once it has one. summary: how it ended; None: it has not.
    submitted: what a scheduler was given; None: nothing yet.
    """

    def __init__(self, on_event: Callable[[Event], object] | None) -> None:
        self.run: int | None = None
        self.summary: Summary | None = None
        self.submitted: Submitted | None = None
        self._on_event = on_event

    def __call__(self, run: int) -> Listener:
        """This listener, for the run of this number."""
        self.run = run
        return self

    def waiting_for(self, jobs: Mapping[str, int]) -> None:
        """See `Reporter.waiting_for`."""
        LOG.info("waiting for jobs that other runs have: %s", ", ".join(jobs))

    def theirs_done(self, job: str) -> None:
        """See `Reporter.theirs_done`."""
        LOG.info("%s: made by another run", job)

    def stopping(self) -> None:
        """See `Reporter.stopping`."""
        LOG.warning("stopping: jobs are asked to end")

    def event(self, event: Event) -> None:
        """See `Reporter.event`."""
        from buildhpc.run.events import Tick

        if isinstance(event, Tick):
            return
        _log(event)
        if self._on_event is not None:
            self._on_event(event)

    def end(self, summary: Summary) -> None:
        """See `Reporter.end`."""
        from buildhpc.show.report import summary_line

        self.summary = summary
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
    lines = event.spec.recipe.text.strip().split("\n")
    more = " ..." if len(lines) > 1 else ""
    log = f" (output: {event.log})" if event.spec.log and event.log else ""
    return f"{lines[0]}{more}{log}"
