"""What a look at a scheduler's queue says of jobs in flight: evidence in, findings out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Literal, NamedTuple

from buildhpc.schedulers.protocol import Queued, Verdict


class Flight(NamedTuple):
    """An attempt that a scheduler has, as far as the state knows; it left no word of its end.

    attempt: its number in the state. id: at the scheduler. job: its name.
    began: its runner said so. edges: it waits, or waited, for other scheduler jobs. stopped:
    what its runner said when it was told to end; its scheduler knows why. name: what its
    submission is called at the scheduler; empty: that is not known.
    """

    attempt: int
    id: str
    job: str
    began: bool = False
    edges: bool = False
    stopped: str = ""
    name: str = ""


class Finding(NamedTuple):
    """What became of an attempt without its runner telling.

    kind: `failed` with a class in `failure`; `cancelled`; `lost`: nobody knows of it any more;
        `released`: it never began and never will, since what it waited for did not end well:
        it waits for hpcmake again.
    said: in the scheduler's own words. verdict: what the scheduler told, if it did.
    """

    attempt: int
    job: str
    kind: Literal["failed", "cancelled", "lost", "released"]
    failure: str = ""
    said: str = ""
    verdict: Verdict | None = None


# What no scheduler knows anything of may turn up again: so much longer it is waited for.
_NOWHERE = 3
# So long it is waited for where accounting gives no answer, or says that it lives.
_UNSURE_S = 900.0


# What accounting may say of a job that ended since its runner was told to end.
_OF_SIGNALS = ("", "exit", "signal", "alive")


def stranger(
    flights: Iterable[Flight], queue: Mapping[str, Queued], verdicts: Mapping[str, Verdict]
) -> str:
    """An id of ours that belongs to somebody else's job: who answers is another scheduler."""
    for each in flights:
        names = [told.name for told in (queue.get(each.id), verdicts.get(each.id)) if told]
        if each.name and any(name and name != each.name for name in names):
            return each.id
    return ""


class Missing:
    """When attempts were first seen to have ended, or to be gone, without word of their end.

    grace_s: so long a receipt may be on its way, and so far two looks are apart at least.
    """

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._since: dict[int, float] = {}

    def ids(self, flights: Iterable[Flight], queue: Mapping[str, Queued]) -> list[str]:
        """The ids whose ends accounting has to be asked for: the queue tells nothing of them."""
        ids = [each.id for each in flights if each.id]
        return [id_ for id_ in ids if id_ not in queue or _ended_untold(queue[id_])]

    def judge(
        self,
        flights: Iterable[Flight],
        queue: Mapping[str, Queued],
        verdicts: Mapping[str, Verdict],
        now_s: float,
        unasked: Collection[str] = (),
    ) -> list[Finding]:
        """What became of the flights that ended or are gone, once the time of grace is over.

        queue: id -> what the queue shows; of a look that succeeded, made before the flights were
        read from the state, so that who told of its end is not among them. verdicts: id -> how it
        ended, by accounting. now_s: of a clock that never goes back. unasked: the ids of which
        accounting was asked, and gave no answer.
        """
        found = []
        flights = list(flights)
        known = {flight.attempt for flight in flights}
        self._since = {each: since_s for each, since_s in self._since.items() if each in known}
        for flight in flights:
            shown = queue.get(flight.id)
            verdict = verdicts.get(flight.id) or (shown.verdict if shown else None)
            if not flight.id or (shown is not None and shown.state != "ended" and verdict is None):
                self._since.pop(flight.attempt, None)
                continue
            unseen = shown is None and not flight.stopped
            wait_s = self._wait_s(verdict, unseen=unseen, unasked=flight.id in unasked)
            if flight.stopped and verdict is not None and verdict.failure != "alive":
                wait_s = 0.0  # no other word of it is to come
            finding = _finding(flight, verdict)
            since_s = self._since.setdefault(flight.attempt, now_s)
            if now_s - since_s >= wait_s:
                self._since.pop(flight.attempt, None)
                found.append(finding)
        return found

    def _wait_s(self, verdict: Verdict | None, *, unseen: bool, unasked: bool) -> float:
        """How long an attempt has to be missing before that is believed."""
        if verdict is None:
            sure_s = _NOWHERE * self._grace_s if unseen else self._grace_s
            return max(self._grace_s, _UNSURE_S) if unasked else sure_s
        if verdict.failure == "alive":
            return max(self._grace_s, _UNSURE_S)
        return 0.0 if verdict.failure == "unmet" else self._grace_s

    @property
    def waiting(self) -> bool:
        """Whether the end of some attempt is yet to be judged."""
        return bool(self._since)


def _ended_untold(shown: Queued) -> bool:
    return shown.state == "ended" and shown.verdict is None


def _finding(flight: Flight, verdict: Verdict | None) -> Finding:
    attempt, job = flight.attempt, flight.job
    if flight.stopped and (verdict is None or verdict.failure in _OF_SIGNALS):
        return Finding(attempt, job, "cancelled", "", flight.stopped, verdict)
    if verdict is None or verdict.failure == "alive":
        # A scheduler that deletes what can never run leaves no trace of it.
        gone = flight.edges and not flight.began
        return Finding(attempt, job, "released" if gone else "lost")
    failure, said = verdict.failure, verdict.said
    if failure == "unmet":
        return Finding(attempt, job, "released", "", said, verdict)
    if failure == "cancelled":
        return Finding(attempt, job, "cancelled", "", said, verdict)
    if failure in ("", "exit") and not flight.began:
        # Its runner could not even write that it began.
        return Finding(attempt, job, "failed", "launch", said, verdict)
    if failure == "":
        return Finding(attempt, job, "lost", "", said, verdict)
    return Finding(attempt, job, "failed", failure, said, verdict)
