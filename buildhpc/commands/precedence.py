"""Who goes first: what people say of priorities meanwhile, and jobs that go ahead of all runs."""

from __future__ import annotations

import time
from contextlib import suppress

from buildhpc.commands.work import PlanWork
from buildhpc.diagnostics import HpcmakeError
from buildhpc.plan.groups import URGENT
from buildhpc.run.local import LocalExecutor
from buildhpc.state import priorities
from buildhpc.state.database import State

# What a run says of a job that goes ahead of all is said again so often.
_AGAIN_S = 20.0
_PAUSE_S = 0.5


class Precedence:
    """Looks now and then at what others say of priorities, and says what they have to know."""

    def __init__(self, state: State, run: int, work: PlanWork, executor: LocalExecutor) -> None:
        self._state = state
        self._run = run
        self._work = work
        self._executor = executor
        self._in_groups = False
        self._announced: int | None = None
        self._announced_s = self._looked_s = 0.0
        self._generation = b""

    def begin(self, *, in_groups: bool) -> None:
        """See to it that the first job that starts is the right one."""
        self._in_groups = in_groups
        self._work.hear(priorities.said(self._state))
        self._executor.rank_anew(in_groups=in_groups)
        self._executor.floor = priorities.floor(self._state, self._run)

    def look(self) -> None:
        """Take in what changed, and say which job of this run waits though it goes ahead."""
        now = time.monotonic()
        if now - self._looked_s < _PAUSE_S:
            return
        self._looked_s = now
        # One that holds others back may die or fall silent, and nobody writes that down.
        if self._state.generation() != self._generation or self._executor.floor is not None:
            self._generation = self._state.generation()
            said = priorities.said(self._state)
            if said != self._work.said:
                self._work.hear(said)
                self._executor.rank_anew(in_groups=self._in_groups)
            self._executor.floor = priorities.floor(self._state, self._run)
        self._announce(now)

    def _announce(self, now: float) -> None:
        top = self._executor.top
        waits = top if top is not None and top >= URGENT else None
        late = waits is not None and now - self._announced_s > _AGAIN_S
        if waits != self._announced or late:
            with suppress(HpcmakeError):  # the next look tries again
                priorities.announce(self._state, self._run, waits)
                self._announced, self._announced_s = waits, now

    def end(self) -> None:
        """Hold nobody back any more."""
        if self._announced is not None:
            with suppress(HpcmakeError):  # what is said by a run that ended counts no more
                priorities.announce(self._state, self._run, None)
            self._announced = None
