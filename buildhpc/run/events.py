"""What an executor tells while it runs a plan: one value for each thing that happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from buildhpc.run.spec import JobSpec, Outcome


@dataclass(frozen=True, slots=True)
class Started:
    """An attempt of a job began.

    pid: leads its process group; 0 when there is nothing to execute.
    log: path of the file that what it prints goes to; None when there is nothing to execute.
    """

    job: str
    spec: JobSpec
    pid: int
    log: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt ended; its outputs are verified, or what it left is removed.

    spec: None when it could not be made; the outcome says why.
    retry: the job failed and will be tried again.
    """

    job: str
    spec: JobSpec | None
    outcome: Outcome
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Skipped:
    """A job will not run: `because` names the job that failed and that it needs."""

    job: str
    because: str


@dataclass(frozen=True, slots=True)
class Unneeded:
    """A job whose turn came and whose inputs turned out as they were: it stays as it is."""

    job: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing happened for a while, or much did: time to write down, to draw, to look around."""


Event: TypeAlias = Started | Ended | Skipped | Unneeded | Tick
