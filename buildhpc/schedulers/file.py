"""Scheduler `file`: scripts for another scheduler, which people submit by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from buildhpc.schedulers.pbs import PBS
from buildhpc.schedulers.protocol import (
    Answer,
    Ask,
    Queued,
    Refusal,
    Scheduler,
    Switches,
    Verdict,
)
from buildhpc.schedulers.sge import SGE
from buildhpc.schedulers.slurm import Slurm


class File:
    """A dialect, for commands that are written down: who edits a script means what it says.

    Its jobs are nobody's but those of who submits them: there is no queue to look at.
    """

    switches: ClassVar[Mapping[str, tuple[str, ...]]] = {
        **Slurm.switches,
        **SGE.switches,
        **PBS.switches,
        "accounting": (),  # nobody is asked
        "dialect": ("slurm", "sge", "openpbs", "torque"),
    }

    def __init__(self, switches: Switches) -> None:
        self._target = _target(switches.values.get("dialect", "slurm"), switches)
        self.abilities = self._target.abilities
        self.environment = self._target.environment

    def script(self, ask: Ask) -> str:
        """See `Scheduler.script`."""
        return self._target.script(ask)

    def submit(self, ask: Ask, script: str) -> list[str]:
        """See `Scheduler.submit`."""
        return self._target.submit(ask, script)

    def validate(self, ask: Ask, script: str) -> list[str] | None:
        """See `Scheduler.validate`."""
        return self._target.validate(ask, script)

    def scheduler_id(self, answer: Answer) -> str | None:
        """See `Scheduler.scheduler_id`."""
        return self._target.scheduler_id(answer)

    def refusal(self, answer: Answer) -> Refusal:
        """See `Scheduler.refusal`."""
        return self._target.refusal(answer)

    def element_id(self, scheduler_id: str, element: int) -> str:
        """See `Scheduler.element_id`."""
        return self._target.element_id(scheduler_id, element)

    def whole(self, job: str) -> str:
        """See `Scheduler.whole`."""
        return self._target.whole(job)

    def release(self, ids: Sequence[str]) -> list[list[str]]:
        """See `Scheduler.release`."""
        return self._target.release(ids)

    def cancel(self, ids: Sequence[str]) -> list[list[str]]:
        """See `Scheduler.cancel`."""
        return self._target.cancel(ids)

    def queue(self, user: str) -> list[str]:
        """See `Scheduler.queue`."""
        return self._target.queue(user)

    def in_queue(self, answer: Answer) -> list[Queued]:
        """See `Scheduler.in_queue`."""
        return self._target.in_queue(answer)

    def finished(self, ids: Sequence[str]) -> list[list[str]]:
        """See `Scheduler.finished`."""
        return self._target.finished(ids)

    def verdicts(self, answer: Answer) -> dict[str, Verdict]:
        """See `Scheduler.verdicts`."""
        return self._target.verdicts(answer)


def _target(dialect: str, switches: Switches) -> Scheduler:
    if dialect == "slurm":
        return Slurm(switches, insist=False)
    return SGE(switches) if dialect == "sge" else PBS(switches)
