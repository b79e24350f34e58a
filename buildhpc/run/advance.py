"""Moves runs on clusters on: what was told is folded in, what becomes possible is submitted.

Whoever can takes a step: a front end that follows, `watch`, a runner that ends, any later
hpcmake. All of it is decided by the state and the plan file.
"""

# Paths are text here.

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from buildhpc.diagnostics import HpcmakeError, Problem
from buildhpc.messages import clusters as messages
from buildhpc.plan.arrays import Place, Shape
from buildhpc.plan.window import Waiting, choose, stranded
from buildhpc.run.cancelling import cancel
from buildhpc.run.clusters import Clusters, Site
from buildhpc.run.follow import Finding, Flight, Missing
from buildhpc.run.slices import Draft, drafts
from buildhpc.run.submitter import Conduct, Report, Submitter, Try, element_ids
from buildhpc.schedulers.protocol import Queued
from buildhpc.state import cluster_runs, inbox, submissions
from buildhpc.state.claims import JobToClaim, has_others
from buildhpc.state.cluster_runs import Standing
from buildhpc.state.database import State
from buildhpc.state.flights import End, InFlight
from buildhpc.state.inbox import Folded
from buildhpc.state.plan_file import PlannedJob, read_plan

# A cluster that took no more jobs is asked again after so long.
_FULL_S = 30.0
# A slice is only made for a window that has so much of its room free.
_WORTHWHILE = 4
_POLL_S = 15.0

# Run, job and the number of its attempt -> `spec` and `request`, for needs that hang on files.
Late = Callable[[int, PlannedJob, int], Mapping[str, Any]]


@dataclass(slots=True)
class _Run:
    """A run that goes on, as it stands at this moment.

    standings: of the jobs, in the order of the plan. flights: number of a job -> its attempt.
    """

    id: int
    plan: Sequence[PlannedJob]
    standings: list[Standing]
    flights: dict[int, InFlight]

    def numbers(self, *states: str) -> list[int]:
        """The jobs in one of the states."""
        return [number for number, each in enumerate(self.standings) if each.state in states]


@dataclass(slots=True)
class Step:
    """What a step found and did.

    told: what runners told. ends: what schedulers told of jobs whose runners could not.
    skipped: job -> the one it needs, that did not end well. refused: run and number of a job ->
    why its scheduler does not take it. problems: receipts that could not be read. submitted:
    how many jobs were. over: run -> how it ended. unanswered: clusters whose queues nobody
    knows. full: those that take no more now.
    """

    told: list[Folded] = field(default_factory=list)
    ends: list[tuple[InFlight, End]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    refused: dict[tuple[int, int], str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    submitted: int = 0
    over: dict[int, str] = field(default_factory=dict)
    unanswered: set[str] = field(default_factory=set)
    full: set[str] = field(default_factory=set)


class Advance:
    """Takes the runs of a folder on, step by step; remembers what it saw from step to step.

    conduct: of a run. late: what an attempt runs and asks for, where that hangs on files that
    were not there when its run began. remove: removes temp files.
    """

    def __init__(
        self,
        state: State,
        clusters: Clusters,
        conduct: Callable[[int], Conduct],
        late: Late,
        remove: Callable[[Iterable[str]], None],
    ) -> None:
        self._state = state
        self._clusters = clusters
        self._conduct = conduct
        self._late = late
        self._remove = remove
        self._plans: dict[int, Sequence[PlannedJob]] = {}
        self._missing: dict[str, Missing] = {}
        self._full_until_s: dict[str, float] = {}
        self._tidied: dict[int, int] = {}

    @property
    def unsure(self) -> bool:
        """Whether the end of some attempt is yet to be judged, by another look."""
        return any(missing.waiting for missing in self._missing.values())

    @property
    def poll_s(self) -> float:
        """How far apart looks at the queues are."""
        return min((site.settings.poll_s for site in self._clusters.known()), default=_POLL_S)

    def step(self, *, look: bool) -> Step:
        """Take all runs on. look: ask the schedulers what they have. Raises: HpcmakeError."""
        step = Step()
        self._fold(step)
        self._recover(step)
        if look:
            self._look(step)
        for run in cluster_runs.open_cluster_runs(self._state):
            self._take_on(run, step)
        return step

    def _fold(self, step: Step) -> None:
        folding = inbox.fold(self._state)
        step.told += folding.happened
        step.problems += folding.problems

    def _recover(self, step: Step) -> None:
        """See to what another process left half submitted."""
        if not submissions.any_making(self._state):
            return
        slices: dict[int, bool] = {}
        for doubt in submissions.doubtful(self._state):
            site = self._clusters.site(doubt.cluster)
            slices.setdefault(doubt.slice, True)
            if doubt.state == "held" and doubt.scheduler_id:
                slices[doubt.slice] &= site.release([doubt.scheduler_id])
                continue
            queue = site.look(fresh=True)
            if queue is None:
                step.unanswered.add(doubt.cluster)
                slices[doubt.slice] = False
                continue
            found = site.named(queue, doubt.name)
            if found is None:
                submissions.revert(self._state, [doubt.submission])
                continue
            self._adopt(site, doubt.submission, found)
            slices[doubt.slice] &= site.release([found])
        for slice_, over in slices.items():
            if over:
                submissions.released(self._state, slice_)

    def _adopt(self, site: Site, submission: int, id_: str) -> None:
        """Take a job that was submitted, and whose id nobody wrote down, for what it is."""
        flights = [
            flight
            for flight in submissions.in_flight(self._state)
            if flight.place.submission == submission
        ]
        elements = max((flight.place.elements for flight in flights), default=0)
        ids = element_ids(site, id_, elements)
        submissions.named(self._state, submission, id_, ids, held=True)

    def _look(self, step: Step) -> None:
        """Ask the schedulers for what left no word of its end."""
        known = {flight.attempt for flight in submissions.in_flight(self._state)}
        aliases = {flight.cluster for flight in submissions.in_flight(self._state)}
        queues = {alias: self._clusters.site(alias).look() for alias in sorted(aliases)}
        self._fold(step)  # who told of its end meanwhile
        flights = [each for each in submissions.in_flight(self._state) if each.attempt in known]
        for alias, queue in queues.items():
            if queue is None:
                step.unanswered.add(alias)
                continue
            site = self._clusters.site(alias)
            mine = [_flight(each) for each in flights if each.cluster == alias]
            missing = self._missing.setdefault(alias, Missing(site.settings.grace_s))
            ends = site.ends(missing.ids(mine, queue))
            self._cancel_strays(site, queue)
            findings = missing.judge(mine, queue, ends, time.monotonic())
            self._found(findings, {each.attempt: each for each in flights}, step)

    def _cancel_strays(self, site: Site, queue: Mapping[str, Queued]) -> None:
        """Cancel what turned up after it was taken back: nothing knows of it, nor releases it."""
        names = submissions.taken_back(self._state)
        strays = {site.scheduler.whole(q.id) for q in queue.values() if q.name in names}
        if strays:
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
            messages.ended_untold(kind, finding.failure, finding.said),
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

    def _plan(self, run: int) -> Sequence[PlannedJob]:
        """Raises: HpcmakeError."""
        if run not in self._plans:
            self._plans[run] = read_plan(self._state.home, run)
        return self._plans[run]

    def _take_on(self, id_: int, step: Step) -> None:
        """Take one run on, as far as that is possible now."""
        plan = self._plan(id_)
        self._settle(id_, plan, step)
        run = self._standing(id_, plan)
        self._claim_free(run)
        self._bring_back(run)
        self._submit(run, step)
        self._tidy(run)
        if run.numbers("foreign", "free"):
            return
        if (status := cluster_runs.end_run_if_over(self._state, id_)) is not None:
            step.over[id_] = status
            self._plans.pop(id_, None)

    def _settle(self, id_: int, plan: Sequence[PlannedJob], step: Step) -> None:
        """Give up what needs a job that did not end well."""
        stopped = cluster_runs.settle(self._state, id_, plan)
        step.skipped.update(stopped.jobs)
        self._cancel(stopped.spent)

    def _standing(self, id_: int, plan: Sequence[PlannedJob]) -> _Run:
        names = [planned.job for planned in plan]
        standings = cluster_runs.standings(self._state, id_, names)
        numbers = {name: number for number, name in enumerate(names)}
        flights = {
            numbers[flight.job]: flight
            for flight in submissions.in_flight(self._state, id_)
            if flight.job in numbers
        }
        return _Run(id_, plan, standings, flights)

    def _claim_free(self, run: _Run) -> None:
        """Claim what another run had and left undone."""
        free = run.numbers("free")
        if not free:
            return
        jobs = [
            JobToClaim(planned.job, planned.rule, planned.details()["wildcards"])
            for planned in (run.plan[number] for number in free)
        ]
        mine = cluster_runs.open_run(self._state, run.id, jobs).mine
        for number in free:
            if run.plan[number].job in mine:
                run.standings[number] = Standing("waiting")

    def _bring_back(self, run: _Run) -> None:
        """Take back what waits in a queue for a job that has to be submitted again."""
        queued = [
            (number, run.plan[number].after)
            for number, flight in sorted(run.flights.items())
            if flight.state == "queued"
        ]
        back = stranded(queued, set(run.numbers("done")), run.flights)
        if not back:
            return
        spent = [run.flights[number] for number in back]
        jobs = set(submissions.take_back(self._state, [each.attempt for each in spent]))
        self._cancel([each for each in spent if each.job in jobs])
        for number in back:
            if run.plan[number].job in jobs:
                tried = run.standings[number].tried
                run.standings[number] = Standing("waiting", max(0, tried - 1))
                del run.flights[number]

    def _cancel(self, spent: Sequence[InFlight]) -> None:
        """Cancel scheduler jobs that have nothing to do any more."""
        if spent:
            cancel(self._clusters, spent, submissions.in_flight(self._state))

    def _submit(self, run: _Run, step: Step) -> None:
        """Submit what can be, as far as there is room."""
        waiting = [
            Waiting(each.number, each.cluster, each.after, each.priority, each.deferred)
            for each in (run.plan[number] for number in run.numbers("waiting"))
        ]
        done = frozenset(run.numbers("done"))
        places = {number: flight.cluster for number, flight in run.flights.items()}
        chosen = choose(waiting, done, places, self._room(waiting)) if waiting else []
        if chosen:
            tries = self._tries(run, chosen, step)
            left = {each.number for each in waiting} - set(chosen)
            report = self._submit_chosen(run, tries, done, left)
            if report is not None:
                self._take_in(run, report, step)
        self._mark_more(run.id, len(waiting) > len(chosen) or bool(run.numbers("foreign")))

    def _room(self, waiting: Sequence[Waiting]) -> dict[str, int]:
        """Cluster -> how many more jobs may be in its queue; one place is for hpcmake itself."""
        flights = submissions.in_flight(self._state)
        room = {}
        for alias in {each.cluster for each in waiting}:
            if time.monotonic() < self._full_until_s.get(alias, 0.0):
                room[alias] = 0
                continue
            most = self._clusters.site(alias).settings.max_submitted
            there = len({each.place[:2] for each in flights if each.cluster == alias})
            free = max(0, most - 1 - there) if most > 1 else max(0, most - there)
            wanted = sum(each.cluster == alias for each in waiting)
            little = free < min(wanted, max(1, most // _WORTHWHILE))
            room[alias] = 0 if little and there else free
        return room

    def _tries(self, run: _Run, chosen: Sequence[int], step: Step) -> dict[int, Try]:
        tries = {}
        for number in sorted(chosen):
            planned = run.plan[number]
            attempt = run.standings[number].tried + 1
            values = planned.attempt(attempt)
            if values is None:
                try:
                    values = dict(self._late(run.id, planned, attempt))
                except HpcmakeError as error:
                    self._give_up(run, {number: error.problems[0].text}, step)
                    continue
            tries[number] = Try(planned, attempt, planned.details(), values)
        return tries

    def _submit_chosen(
        self, run: _Run, tries: Mapping[int, Try], done: frozenset[int], left: Iterable[int]
    ) -> Report | None:
        made: list[Draft] = []
        for alias in sorted({each.planned.cluster for each in tries.values()}):
            site = self._clusters.site(alias)
            jobs = [
                (each.planned, each.values["request"])
                for each in tries.values()
                if each.planned.cluster == alias
            ]
            places: dict[int, Place] = {
                number: flight.place
                for number, flight in run.flights.items()
                if flight.cluster == alias
            }
            made += drafts(alias, jobs, done, places, _shape(site))
        if not made:
            return None
        needed = {each for number in left for each in run.plan[number].after}
        retried = any(each.planned.retries for each in tries.values())
        submitter = Submitter(self._state, self._clusters, run.id, self._conduct(run.id))
        return submitter.submit(
            made,
            tries,
            list(run.flights.values()),
            frozenset(needed.intersection(tries)),
            made[0].cluster if left or retried else None,
        )

    def _take_in(self, run: _Run, report: Report, step: Step) -> None:
        step.submitted += report.submitted
        step.full |= report.full
        step.unanswered |= report.doubt
        for alias in report.full | report.doubt:
            self._full_until_s[alias] = time.monotonic() + _FULL_S
        self._give_up(run, report.wrong, step)

    def _give_up(self, run: _Run, why: Mapping[int, str], step: Step) -> None:
        """Jobs that no scheduler will have."""
        if why:
            texts = {run.plan[number].job: text for number, text in why.items()}
            cluster_runs.refuse(self._state, run.id, texts)
            step.refused.update({(run.id, number): text for number, text in why.items()})
            self._settle(run.id, run.plan, step)

    def _mark_more(self, run: int, more: bool) -> None:
        """Tell the runners whether somebody waits for hpcmake itself."""
        path = os.path.join(self._state.home, f"run-{run}", "more")
        with suppress(OSError):
            if more:
                with open(path, "a", encoding="ascii"):
                    return
            elif os.path.exists(path):
                os.unlink(path)

    def _tidy(self, run: _Run) -> None:
        """Remove temp files that no job of the run needs any more, unless others are at work."""
        done = frozenset(run.numbers("done"))
        if self._tidied.get(run.id) == len(done):
            return
        users: dict[str, set[int]] = {}
        makers: dict[str, int | None] = {}
        for planned in run.plan:
            makers.update(dict.fromkeys(planned.temp, planned.number))
            for maker, path in planned.uses_temp:
                users.setdefault(path, set()).add(planned.number)
                makers.setdefault(path, maker)
        free = [
            path
            for path, maker in makers.items()
            if (maker is None or maker in done) and users.get(path, set()) <= done
        ]
        free = [path for path in free if os.path.lexists(path)]
        if free:
            if self._state.read(partial(has_others, run=run.id)):
                return
            self._remove(free)
        self._tidied[run.id] = len(done)


def _flight(each: InFlight) -> Flight:
    return Flight(each.attempt, each.id or "", each.job, each.state == "running", each.waits)


def _shape(site: Site) -> Shape:
    able = site.scheduler.abilities
    return Shape(
        site.max_array if able.arrays else 1, able.ok_edges, able.element_edges, able.one_element
    )
