"""What others told since the last time: runners by receipts, schedulers by their queues."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from buildhpc.diagnostics import HpcmakeError, Problem
from buildhpc.messages import clusters as messages
from buildhpc.run.clusters import Clusters, InDoubtError, Site
from buildhpc.run.follow import Finding, Flight, Missing, stranger
from buildhpc.run.submitter import element_ids
from buildhpc.schedulers.protocol import Queued
from buildhpc.state import cluster_runs, inbox, submissions
from buildhpc.state.database import State
from buildhpc.state.flights import End, InFlight
from buildhpc.state.inbox import Folded
from buildhpc.state.names import Known, known_by, never_seen
from buildhpc.state.plan_file import PlannedJob
from buildhpc.state.submissions import Doubt

# So long the job that takes a run on may take to be shown in the queue.
_GO_ON_S = 60.0
# So long after its process died a command that submits may still reach its scheduler.
_LATE_S = 5.0


@dataclass(slots=True)
class Step:
    """What a step found and did.

    told: what runners told. ends: what schedulers told of jobs whose runners could not.
    skipped: job -> the one it needs, that did not end well. refused: run and number of a job ->
    why its scheduler does not take it. problems: receipts that could not be read. submitted:
    how many jobs were. over: run -> how it ended. unanswered: cluster whose queue nobody knows
    -> why, where that is known. full: those that take no more now. away: cluster that cannot be
    had -> what to tell of that. unsure: the end of some attempt is yet to be judged.
    """

    told: list[Folded] = field(default_factory=list)
    ends: list[tuple[InFlight, End]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    refused: dict[tuple[int, int], str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    submitted: int = 0
    over: dict[int, str] = field(default_factory=dict)
    unanswered: dict[str, str] = field(default_factory=dict)
    full: set[str] = field(default_factory=set)
    away: dict[str, HpcmakeError] = field(default_factory=dict)
    unsure: bool = False


class Looking:
    """Looks around, and writes down what it finds; remembers what it missed from look to look.

    plan: run -> the jobs of its plan. left: whether a run is somebody else's to look after.
    """

    def __init__(
        self,
        state: State,
        clusters: Clusters,
        plan: Callable[[int], Sequence[PlannedJob]],
        left: Callable[[int], bool],
    ) -> None:
        self._state = state
        self._clusters = clusters
        self._plan = plan
        self._left = left
        self._missing: dict[str, Missing] = {}
        # What was there at the last look, so that what stays as it is costs little.
        self._flights: tuple[bytes, list[InFlight]] = (b"", [])
        self._strayed = False
        self._seen: tuple[bytes, dict[str, dict[str, Queued] | None]] = (b"", {})

    @property
    def unsure(self) -> bool:
        """Whether the end of some attempt is yet to be judged, by another look."""
        return any(missing.waiting for missing in self._missing.values())

    def fold(self, step: Step) -> None:
        """Take in what runners told."""
        folding = inbox.fold(self._state)
        step.told += folding.happened
        step.problems += folding.problems

    def recover(self, step: Step) -> None:
        """See to what another process left half submitted."""
        if not submissions.any_making(self._state):
            return
        slices: dict[int, bool] = {}
        for doubt in submissions.doubtful(self._state):
            over = self._recovered(doubt, step)
            slices[doubt.slice] = over and slices.get(doubt.slice, True)
        for slice_, over in slices.items():
            if over:
                submissions.released(self._state, slice_)
        if left := [slice_ for slice_, over in slices.items() if not over]:
            submissions.leave(self._state, left)

    def _recovered(self, doubt: Doubt, step: Step) -> bool:
        """Find out whether something was submitted, and let it start; False: nobody knows yet."""
        site = self._clusters.site(doubt.cluster)
        if not site.answers_for([doubt.site]):
            step.unanswered[doubt.cluster] = messages.answered_by_another()
            return False
        try:
            if doubt.state == "held" and doubt.scheduler_id:
                return site.release([doubt.scheduler_id])
            id_ = self._sought(site, doubt)
            if id_ is None:
                submissions.revert(self._state, [doubt.submission])
                return True
            return not self._adopted_held(site, doubt.submission, id_) or site.release([id_])
        except InDoubtError:
            step.unanswered.setdefault(doubt.cluster, "")
        except HpcmakeError as error:
            step.unanswered[doubt.cluster] = error.problems[0].text
        return False

    def _sought(self, site: Site, doubt: Doubt) -> str | None:
        """The id of what may have been submitted. Raises: HpcmakeError, InDoubtError."""
        id_ = site.find(doubt.name)
        # The command outlives who called it, and may be about to reach its scheduler.
        if id_ is None and doubt.quiet_s < _LATE_S:
            time.sleep(_LATE_S - doubt.quiet_s)
            id_ = site.find(doubt.name)
        return id_

    def _adopted_held(self, site: Site, submission: int, id_: str) -> bool:
        """Take what was submitted, and whose id nobody wrote down, for what it is.

        Returns whether it is held until hpcmake releases it.
        """
        flights = [
            flight
            for flight in submissions.in_flight(self._state)
            if flight.place.submission == submission
        ]
        elements = max((flight.place.elements for flight in flights), default=0)
        held = not any(flight.waits for flight in flights)
        ids = element_ids(site, id_, elements)
        submissions.named(self._state, submission, id_, ids, held=held)
        return held

    def look(self, step: Step) -> bool:
        """Ask the schedulers for what left no word of its end.

        Returns whether a job that was to take a run on is gone. While 10,000 jobs stay as they
        are a look takes 0.1 s CPU.
        """
        before = self._in_flight()
        aliases = {flight.cluster for flight in before}
        queues = {alias: self._queue(alias, step) for alias in sorted(aliases)}
        self._missing = {alias: each for alias, each in self._missing.items() if alias in queues}
        self.fold(step)  # who told of its end meanwhile
        if self._is_news(queues):
            self._compare(queues, {flight.attempt for flight in before}, step)
        there = {alias: queue for alias, queue in queues.items() if queue is not None}
        forgotten = [self._forget_go_on(alias, queue) for alias, queue in there.items()]
        return any(forgotten)

    def _in_flight(self) -> list[InFlight]:
        """The attempts that schedulers have."""
        generation = self._state.generation()
        if generation != self._flights[0]:
            self._flights = generation, submissions.in_flight(self._state)
        return self._flights[1]

    def _is_news(self, queues: dict[str, dict[str, Queued] | None]) -> bool:
        """Whether anything is otherwise than at the last look, or is waited for."""
        generation = self._state.generation()
        before, seen = self._seen
        self._seen = generation, queues
        known = [queue is not None and queue is seen.get(alias) for alias, queue in queues.items()]
        return not all(known) or generation != before or self.unsure or self._strayed

    def _compare(
        self, queues: Mapping[str, dict[str, Queued] | None], known: Container[int], step: Step
    ) -> None:
        """Compare what queues show with the attempts that were known before they were asked."""
        flights = [each for each in self._in_flight() if each.attempt in known]
        left = {run for run in {each.run for each in flights} if self._left(run)}
        flights = [each for each in flights if each.run not in left]
        for alias, queue in queues.items():
            if queue is None:
                continue
            site = self._clusters.site(alias)
            there = [each for each in flights if each.cluster == alias]
            here = site.answers_for(each.site for each in there)
            mine = [_flight(each) for each in there if each.site in here]
            if len(mine) < len(there):
                step.unanswered[alias] = messages.answered_by_another()
            # What the queue held a while ago may be all that is known of it now.
            grace_s = max(site.settings.grace_s, 2 * site.settings.poll_s)
            missing = self._missing.setdefault(alias, Missing(grace_s))
            ends, unasked = site.ends(missing.ids(mine, queue))
            if strange := stranger(mine, queue, ends):
                step.unanswered[alias] = messages.other_scheduler(strange)
                continue
            findings = missing.judge(mine, queue, ends, time.monotonic(), unasked)
            self._found(findings, {each.attempt: each for each in flights}, step)
            self._cancel_strays(site, queue)

    def look_for_strays(self, run: int) -> None:
        """Cancel what has turned up of a run that is over; nobody else would release it."""
        for alias in never_seen(self._state, run):
            queue = self._queue(alias, Step())
            if queue is not None:
                self._cancel_strays(self._clusters.site(alias), queue)

    def _queue(self, alias: str, step: Step) -> dict[str, Queued] | None:
        """What the queue of a cluster holds; None: nobody knows."""
        words = ""
        try:
            queue = self._clusters.site(alias).look()
        except HpcmakeError as error:
            queue, words = None, error.problems[0].text
        if queue is None:
            step.unanswered[alias] = words
        return queue

    def _cancel_strays(self, site: Site, queue: Mapping[str, Queued]) -> None:
        """Cancel what waits in a queue and has nothing to do: nothing knows of it, or releases it.

        It turned up after it was taken back, came twice, or could not be cancelled before.
        """
        names = {each.name for each in queue.values() if each.state in ("held", "queued")}
        known = known_by(self._state, sorted(names))
        whole = site.scheduler.whole
        strays = {
            whole(each.id)
            for each in queue.values()
            if each.state in ("held", "queued")
            and each.name in known
            and _is_stray(each, whole(each.id), known[each.name])
        }
        self._strayed = bool(strays)
        with suppress(HpcmakeError):  # the next look finds them again
            site.cancel(sorted(strays))

    def _found(
        self, findings: Sequence[Finding], flights: Mapping[int, InFlight], step: Step
    ) -> None:
        released = [each.attempt for each in findings if each.kind == "released"]
        if released:
            submissions.take_back(self._state, released)
        ends = [
            self._end(each, flights[each.attempt]) for each in findings if each.kind != "released"
        ]
        if ends:
            ended = {flight.attempt: flight for flight in submissions.verdict(self._state, ends)}
            step.ends += [(ended[end.attempt], end) for end in ends if end.attempt in ended]

    def _end(self, finding: Finding, flight: InFlight) -> End:
        verdict = finding.verdict
        kind = finding.kind
        assert kind != "released"
        retry = kind == "failed" and self._may_retry(flight, finding.failure)
        return End(
            finding.attempt,
            kind,
            finding.failure or None,
            flight.stopped
            if flight.stopped and kind == "cancelled"
            else messages.ended_untold(kind, finding.failure, finding.said),
            "accounting" if verdict else "queue",
            retry,
            verdict.exit_code if verdict else None,
            verdict.host if verdict else "",
            verdict.peak_mib if verdict else 0.0,
        )

    def _may_retry(self, flight: InFlight, failure: str) -> bool:
        with suppress(HpcmakeError):
            for planned in self._plan(flight.run):
                if planned.job == flight.job:
                    return planned.may_retry(failure, flight.number)
        return False

    def _forget_go_on(self, cluster: str, queue: Mapping[str, Queued]) -> bool:
        """Forget jobs that were to take runs on and are no longer in the queue of a cluster."""
        forgotten = False
        for run in cluster_runs.open_cluster_runs(self._state):
            mark = go_on_mark(self._state.home, run)
            with suppress(OSError, ValueError):
                alias, name = mark.read_text(encoding="utf-8").split()
                age_s = self._state.now_s() - mark.stat().st_mtime
                # One that was submitted a moment ago may not be shown yet.
                if alias != cluster or age_s <= _GO_ON_S:
                    continue
                if all(each.name != name or each.state == "ended" for each in queue.values()):
                    mark.unlink()
                    forgotten = True
        return forgotten


def go_on_mark(home: Path, run: int) -> Path:
    """The file that says which scheduler job takes a run on once others are over."""
    return home / f"run-{run}" / "go-on"


def _is_stray(queued: Queued, id_: str, known: Known) -> bool:
    """Whether what waits in a queue is not what was submitted under its name, or is over."""
    if known.scheduler_id is not None and known.scheduler_id != id_:
        return True
    return known.state == "gone" and (queued.verdict is not None or not known.may_go_on)


def _flight(each: InFlight) -> Flight:
    began = each.state == "running"
    return Flight(
        each.attempt, each.id or "", each.job, began, each.waits, each.stopped or "", each.name
    )
