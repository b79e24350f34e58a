"""Whether a runner may run its job: nobody else has it, and what it needs is as it was left."""

# Paths are text here, and this runs once for every job.

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from buildhpc import disk
from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import runner as messages
from buildhpc.plan.stamps import Stamp
from buildhpc.run.manifest import Need, Planned
from buildhpc.state import for_runner, receipts
from buildhpc.state.for_runner import AttemptNow, Known
from buildhpc.state.receipts import Ended, Key, Runner

_OPEN = ("queued", "running")
# After these nothing is left to do, whatever the scheduler starts anew.
_GIVEN_UP = ("failed", "cancelled", "lost")
_DONE = ("done", "unneeded")
_FINAL = (*_DONE, "failed", "spawned")
_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0

# Job -> path -> what was there when the job ended.
Made = dict[str, Mapping[str, Stamp | None]]


class Unready(NamedTuple):
    """Why a job cannot run. because: the job that is not done, or did not leave its outputs.

    lasting: that one is done, so that nothing of it is to come.
    """

    because: str
    text: str
    lasting: bool = False


class Told(NamedTuple):
    """What the inbox and the state say, looked at in this order.

    own: the receipts of this attempt, of whatever restart. made: of the needed jobs that are
    done.
    """

    own: Sequence[tuple[Key, str]]
    attempt: AttemptNow | None
    made: Made


def look(home: str, run: int, job: Planned) -> Told:
    """What is said of a job and of what it needs. Raises: HpcmakeError, OSError"""
    inbox = os.path.join(home, "inbox")
    own = f"{run}.{job.number}.{job.attempt}."
    needed = {f"{run}.{need.number}.": need.job for need in job.needs}
    # The inbox first: who folds it commits to the state, and only then removes the receipt.
    listed = receipts.names(inbox, (own, *needed))
    made: Made = {}
    for key, kind in listed:
        name = needed.get(f"{run}.{key.number}.")
        if name is not None and kind == "ended":
            made.update(_made(inbox, key, name))
    name = str(job.spec["name"])
    missing = [need.job for need in job.needs if need.job not in made]
    known: Known = for_runner.look(home, name, (run, job.attempt), missing)
    mine = [each for each in listed if each[0].number == job.number]
    return Told(
        [each for each in mine if each[0].attempt == job.attempt],
        known.attempt,
        {**made, **known.made},
    )


def _made(inbox: str, key: Key, name: str) -> Made:
    try:
        receipt = receipts.read(inbox, key, "ended")
    except (FileNotFoundError, receipts.BadReceiptError):
        return {}  # folded meanwhile, or it says nothing: the state will tell
    assert isinstance(receipt, Ended)
    if receipt.outcome.state not in ("done", "unneeded") or receipt.outputs is None:
        return {}
    return {name: {path: Stamp(*facts) for path, facts in receipt.outputs.items()}}


def is_done(told: Told) -> bool:
    """Whether this attempt succeeded already."""
    return told.attempt is not None and told.attempt.state == "done"


def is_ours(told: Told, key: Key, runner: Runner) -> bool:
    """Whether this runner is the one that is to run the attempt of `key`.

    It is not where the state says that the attempt is over or is another submission's, or
    where the scheduler has started it anew since, or before, and that start has it.
    """
    for other, kind in told.own:
        if kind == "started" and other.restart > key.restart:
            return False
    now = told.attempt
    if now is None or now.submission != runner.submission:
        return False
    here = (runner.host, runner.pid, runner.process_start)
    mine = (now.host, now.pid, now.process_start) == here
    if now.state == "exported":
        return bool(now.newest) and now.claim is None
    if now.state == "spawned":
        return False
    if now.state not in _OPEN:
        return _goes_on(now, key, mine=mine)
    if now.state == "queued" or now.pid is None:
        return True
    if (now.restart or 0) == key.restart:
        return mine
    return (now.restart or 0) < key.restart


def _goes_on(now: AttemptNow, key: Key, *, mine: bool) -> bool:
    """Whether an attempt that was ended from outside is gone on with by being started anew.

    That is what becomes of a job that its scheduler ends for a more urgent one, or whose node
    is lost. One that was only taken for lost goes on as it is.
    """
    by_itself = now.state == "failed" and now.told == "receipt" and not now.exported
    ended_itself = now.state == "done" or by_itself
    free = now.newest and now.claim in (None, key.run)
    if now.state == "lost" and mine and (now.restart or 0) == key.restart:
        return free
    return free and not ended_itself and (now.restart or 0) < key.restart


def next_start(told: Told) -> int:
    """The number of one more start of an attempt by people; the last one's while that goes on."""
    now = told.attempt
    last = max([(now and now.restart) or 0, *(key.restart for key, _ in told.own)])
    ended = any(kind == "ended" and key.restart == last for key, kind in told.own)
    return last + (ended or (now is not None and now.state in _GIVEN_UP))


def is_over(inbox: str, told: Told, key: Key) -> str:
    """How an earlier start of this attempt ended, where nothing is left to do; else empty."""
    final = _DONE if told.attempt is not None and told.attempt.exported else _FINAL
    for other, kind in told.own:
        if kind != "ended" or other.restart >= key.restart:
            continue
        try:
            receipt = receipts.read(inbox, other, kind)
        except (OSError, receipts.BadReceiptError):
            continue
        if isinstance(receipt, Ended) and receipt.outcome.state in final:
            return receipt.outcome.state
    return ""


def unready(
    job: Planned, made: Made, latency_s: float, sleep: Callable[[float], bool]
) -> Unready | None:
    """What is missing of what a job needs, once `latency_s` was waited for files to show.

    sleep: False when waiting is to end at once.
    """
    for each in job.needs:
        if each.job not in made:
            return Unready(each.job, messages.not_done(each.job))
    deadline = time.monotonic() + latency_s
    pause_s = _FIRST_PAUSE_S
    while found := _missing(job, made):
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not sleep(min(pause_s, left_s)):
            need, path = found[0]
            if need is None:
                return None  # it is looked at again, and told of, when stamps are taken
            return Unready(need.job, messages.not_as_left(path, need.job), lasting=True)
        _refresh(path for _, path in found)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    return None


def _missing(job: Planned, made: Made) -> list[tuple[Need | None, str]]:
    """The inputs that are not there, or not as the job that makes them left them."""
    found: list[tuple[Need | None, str]] = []
    theirs = set()
    for need in job.needs:
        for path in need.paths:
            theirs.add(path)
            owner = _output_of(path, made[need.job])
            try:
                now = disk.look(owner)
                there = now is not None and (owner == path or os.path.lexists(path))
                if not there or now != made[need.job].get(owner, now):
                    found.append((need, path))
            except (HpcmakeError, OSError):
                found.append((need, path))
    others = (path for path in job.spec["inputs"] if path not in theirs)
    found += [(None, path) for path in others if not os.path.exists(path)]
    return found


def _output_of(path: str, outputs: Mapping[str, Stamp | None]) -> str:
    """The output that a path is, or is in where it is a folder."""
    owner = path
    while owner and owner not in outputs:
        owner = os.path.dirname(owner) if owner != os.path.dirname(owner) else ""
    return owner or path


def _refresh(paths: Iterable[str]) -> None:
    """Have a network file system ask its server again: folders by listing, files by opening."""
    for path in paths:
        try:
            os.listdir(os.path.dirname(path) or ".")
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        except OSError:
            continue  # the look that follows tells
