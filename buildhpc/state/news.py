"""Whether what a runner told of an attempt is news: an attempt only moves forward."""

from __future__ import annotations

from typing import NamedTuple

from buildhpc.state.receipts import Ended, Receipt, Started
from buildhpc.state.schema import UNDER_WAY

# What means something to the run that has the job alone.
_OF_RUN = ("unready", "unneeded", "spawned")
# Of a job that no run has: it was given up, and so counted.
GIVEN_UP = ("failed", "cancelled", "lost")


class Known(NamedTuple):
    """An attempt as the state knows it; `job_…` of its job. has_record: of a success.

    exported: people submit it.
    """

    attempt: int
    state: str
    submission: int | None
    restart: int | None
    told: str | None
    meta: str | None
    job: int
    claim: int | None
    job_state: str
    last: int | None
    has_record: bool
    exported: bool


KNOWN = """SELECT attempt.id, attempt.state, submission, restart, told, meta, job.id, claim,
    job.state, job.attempt, length(job.body) > 0,
    EXISTS (SELECT 1 FROM run WHERE run.id = attempt.run AND status = 'exported')
    FROM job JOIN attempt ON attempt.job = job.id
    WHERE job.name = ? AND attempt.run = ? AND attempt.number = ?"""


def is_guess(receipt: Ended, known: Known) -> bool:
    """Whether a runner only takes it for cancelled: it was sent a signal, as before a new start.

    Where a user asked for that, it is so.
    """
    open_ = known.state in UNDER_WAY and not known.exported
    return receipt.outcome.state == "cancelled" and open_ and known.told != "user"


def is_news(receipt: Receipt, known: Known) -> bool:
    """Whether a receipt says more than the state knows."""
    restart = known.restart or 0
    if receipt.key.restart < restart:
        return False
    if known.state == "spawned" and not _is_end(receipt, restart):
        return False
    if known.exported and known.state not in UNDER_WAY:
        # Nobody has it until it begins; then nobody else may have begun anything with its job.
        again = known.state == "exported" or receipt.key.restart > restart
        free = known.claim is None and (known.last or 0) <= known.attempt
        return again and free
    if known.state in UNDER_WAY:
        return True
    # It ended, as somebody said. What its runner says counts more, and a later start of it most,
    # as long as nobody has begun anything else with the job.
    later = receipt.key.restart > restart
    if not later and (known.told == "receipt" or isinstance(receipt, Started)):
        return False
    if known.last != known.attempt or known.job_state in UNDER_WAY:
        return False
    if isinstance(receipt, Started) or receipt.outcome.state in _OF_RUN:
        return known.claim == receipt.key.run
    return known.claim == receipt.key.run or (known.claim is None and known.job_state in GIVEN_UP)


def _is_end(receipt: Receipt, restart: int) -> bool:
    """Whether the last part of a job that spawned tells that it is done."""
    return isinstance(receipt, Ended) and receipt.key.restart > restart
