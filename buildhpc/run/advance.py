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
from dataclasses import dataclass
from functools import partial
from typing import Any

from buildhpc.diagnostics import HpcmakeError
from buildhpc.plan.window import Waiting, choose, stranded
from buildhpc.run.asks import Try
from buildhpc.run.cancelling import cancel
from buildhpc.run.clusters import Clusters, Patience
from buildhpc.run.later import as_waiting, look, mark_more
from buildhpc.run.looking import Looking, Step, go_on_mark
from buildhpc.run.places import free_places, go_on_prefix
from buildhpc.run.slices import drafts, shape_of
from buildhpc.run.submitter import Conduct, Report, Submitter
from buildhpc.run.tidying import spent_files
from buildhpc.run.turns import Turns
from buildhpc.state import cluster_runs, parts, submissions
from buildhpc.state.claims import JobToClaim, has_others
from buildhpc.state.cluster_runs import Standing
from buildhpc.state.database import State
from buildhpc.state.flights import InFlight
from buildhpc.state.part_plan import Grown
from buildhpc.state.plan_file import PlannedJob, plan_stamp, read_later, read_plan

# A cluster that took no more jobs is asked again after so long.
_FULL_S = 30.0
# What is about to leave a queue is looked at again after so long.
_LEAVING_S = 5.0
_POLL_S = 15.0

# Run, job and the number of its attempt -> `spec` and `request`, for needs that hang on files.
Late = Callable[[int, PlannedJob, int], Mapping[str, Any]]


@dataclass(slots=True)
class _Run:
    """A run that goes on, as it stands at this moment.

    standings: of the jobs, in the order of the plan. flights: number of a job -> its attempt.
    later: the jobs that hang on checkpoints.
    """

    id: int
    plan: Sequence[PlannedJob]
    standings: list[Standing]
    flights: dict[int, InFlight]
    later: Sequence[PlannedJob] = ()

    def numbers(self, *states: str) -> list[int]:
        """The jobs in one of the states."""
        return [number for number, each in enumerate(self.standings) if each.state in states]


class Advance:
    """Takes the runs of a folder on, step by step; remembers what it saw from step to step.

    conduct: of a run. late: what an attempt runs and asks for, where that hangs on files that
    were not there when its run began. remove: removes temp files. grow: plans jobs of a run whose
    checkpoints have run; those that cannot be, with the reason. left: whether a run is left to
    somebody else, who is there.
    """

    def __init__(
        self,
        state: State,
        clusters: Clusters,
        conduct: Callable[[int], Conduct],
        late: Late,
        remove: Callable[[Iterable[str]], None],
        left: Callable[[int], bool] = lambda _: False,
    ) -> None:
        self._state = state
        self._clusters = clusters
        self._conduct = conduct
        self._late = late
        self._remove = remove
        self._left = left
        # Plans by run, each with what tells it from the next: jobs may be added.
        self._plans: dict[int, tuple[tuple[int, int], Sequence[PlannedJob]]] = {}
        self._turns, self._whole = Turns(state), Grown(state)
        self._looking = Looking(state, clusters, self._plan, left)
        self._full_until_s: dict[str, float] = {}
        # Cluster -> how many jobs it seems to take, and until when that is believed.
        self._takes: dict[str, tuple[int, float]] = {}
        self._tidied: dict[int, int] = {}
        self._crowded = False
        self.grow: Callable[[int, Sequence[str]], Mapping[str, str]] = lambda _, __: {}
        # The generation of the state at which nothing was left to be done.
        self._rests_at = b""

    @property
    def unsure(self) -> bool:
        """Whether another look is needed.

        The end of some attempt is yet to be judged, or jobs wait for room and none that is in
        flight will make it.
        """
        return self._looking.unsure or self._crowded

    @property
    def poll_s(self) -> float:
        """How far apart looks at the queues are."""
        return min((site.settings.poll_s for site in self._clusters.known()), default=_POLL_S)

    @property
    def patience(self) -> Patience:
        """With schedulers that do not answer; who is told of it, and when it is to end."""
        return self._clusters.patience

    def step(self, *, look: bool) -> Step:
        """Take the runs on. look: ask the schedulers what they have. Raises: HpcmakeError."""
        step = Step()
        self._looking.fold(step)
        self._looking.recover(step)
        gone = look and self._looking.look(step)
        step.unsure = self._looking.unsure
        if self._state.generation() == self._rests_at and not gone:
            return step
        calm = True
        runs = cluster_runs.open_cluster_runs(self._state)
        for run in self._turns.order({run: self._plan_if_there(run) for run in runs}):
            calm = not self._left(run) and self._take_on(run, step) and calm
        self._rests_at = self._state.generation() if calm else b""
        return step

    def _plan(self, run: int) -> Sequence[PlannedJob]:
        """The jobs of the plan, and the parts that they spawned. Raises: HpcmakeError."""
        stamp = plan_stamp(self._state.home, run)
        if run not in self._plans or self._plans[run][0] != stamp:
            self._plans[run] = stamp, read_plan(self._state.home, run)
        return self._whole.plan(run, self._plans[run][1], partial(self._late, run))

    def _plan_if_there(self, run: int) -> Sequence[PlannedJob]:
        return self._plan(run) if plan_stamp(self._state.home, run) != (0, 0) else ()

    def _take_on(self, id_: int, step: Step) -> bool:
        """Take one run on, as far as that is possible now; whether only its jobs do now."""
        if not self._plan_if_there(id_) and not cluster_runs.has_jobs(self._state, id_):
            return True  # it is about to begin
        untold = parts.end_spawned(self._state, id_)
        plan, later = self._grown(id_, step)
        plan = self._plan(id_) if parts.resume(self._state, id_, plan) else plan
        run = self._standing(id_, plan)
        run.later = later
        self._claim_free(run)
        self._bring_back(run)
        while self._submit(run, step):
            run = self._standing(id_, plan)
            run.later = later
        self._tidy(run)
        if run.numbers("foreign", "free") or later:
            return False
        if (status := cluster_runs.end_run_if_over(self._state, id_)) is not None:
            step.over[id_] = status
            self._looking.look_for_strays(id_)
            self._plans.pop(id_, None)
        return not (untold or run.numbers("waiting"))

    def _grown(self, id_: int, step: Step) -> tuple[Sequence[PlannedJob], Sequence[PlannedJob]]:
        """The plan of a run, and what hangs on checkpoints that have yet to run."""
        tried: set[str] = set()
        while True:
            plan, later = self._plan(id_), read_later(self._state.home, id_).jobs
            self._settle(id_, [*plan, *as_waiting(plan, later)], step)
            left, ready = look(self._state, id_, plan, later) if later else ([], [])
            if tried.issuperset(ready):
                return plan, left
            tried.update(ready)
            failed = self.grow(id_, ready)
            if failed:
                cluster_runs.refuse(self._state, id_, failed, "launch")

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
            JobToClaim(each.job, each.rule, each.details()["wildcards"], each.priority)
            for each in (run.plan[number] for number in free)
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
            with suppress(HpcmakeError):  # what is still there is found by the next look
                cancel(self._clusters, spent, submissions.in_flight(self._state))

    def _submit(self, run: _Run, step: Step) -> bool:
        """Submit what can be, as far as there is room; whether less may be taken at once."""
        numbers = run.numbers("waiting")
        open_ = run.numbers("waiting", "queued", "running", "foreign", "free")
        turn = self._turns.turn(run.id, run.plan, numbers, open_, bool(run.flights))
        waiting = turn.allowed
        done = frozenset(run.numbers("done"))
        places = {number: flight.cluster for number, flight in run.flights.items()}
        flights = submissions.in_flight(self._state) if waiting else []
        room = self._room(run, waiting, flights)
        chosen = choose(waiting, done, places, room) if waiting else []
        if chosen:
            short = [a for a in room if room[a] < sum(each.cluster == a for each in waiting)]
            seen = {a: frozenset(f.attempt for f in flights if f.cluster == a) for a in short}
            tries = self._tries(run, chosen, step)
            left = set(numbers) - set(chosen)
            if self._submit_chosen(run, tries, left, seen, step):
                return True
        more = len(numbers) > len(chosen) or bool(run.numbers("foreign") or run.later)
        self._crowded = bool(numbers) and not chosen and not run.flights
        if not (step.away or step.unanswered):
            self._turns.tell(run.id, turn, chosen, done, places)
        mark_more(self._state, run.id, more=more)
        self._ensure_go_on(run, more)
        return False

    def _room(
        self, run: _Run, waiting: Sequence[Waiting], flights: Sequence[InFlight]
    ) -> dict[str, int]:
        """Cluster -> how many more jobs may be in its queue. flights: of all runs."""
        others = sum(each.run != run.id for each in flights)
        room = {}
        for alias in {each.cluster for each in waiting}:
            room[alias] = 0
            if time.monotonic() < self._full_until_s.get(alias, 0.0):
                continue
            mine = [each for each in flights if each.cluster == alias]
            wanted = sum(each.cluster == alias for each in waiting)
            ever = others + sum(
                1 + max(each.retries.values(), default=0)
                for each in run.plan
                if each.cluster == alias
            )
            site = self._clusters.site(alias)
            sites = {each.site for each in mine}
            if site.answers_for(sites) != sites:
                continue
            room[alias], crowded = free_places(self._state, site, flights, wanted, ever)
            most, until_s = self._takes.get(alias, (0, 0.0))
            if time.monotonic() < until_s:
                room[alias] = max(0, min(room[alias], most - len(mine)))
            if crowded:
                self._full_until_s[alias] = time.monotonic() + min(_LEAVING_S, self.poll_s)
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
        self,
        run: _Run,
        tries: Mapping[int, Try],
        left: Iterable[int],
        seen: Mapping[str, frozenset[int]],
        step: Step,
    ) -> bool:
        """Submit attempts, a slice for each cluster, since each may see other folders.

        left: the jobs that wait on. seen: cluster -> what was in flight when its room was
        counted, where that is short. Returns whether a cluster may take less than was asked.
        """
        again = False
        done = frozenset(run.numbers("done"))
        needed = self._turns.needed(run.id, run.plan, left)
        needed.update(each for job in run.later for each in job.after)
        submitter = Submitter(self._state, self._clusters, run.id, self._conduct(run.id))
        for alias in sorted({each.planned.cluster for each in tries.values()}):
            own = {n: each for n, each in tries.items() if each.planned.cluster == alias}
            flights = {n: each for n, each in run.flights.items() if each.cluster == alias}
            made = drafts(
                alias,
                [(each.planned, each.values["request"]) for each in own.values()],
                done,
                {number: flight.place for number, flight in flights.items()},
                shape_of(self._clusters.site(alias)),
            )
            wakers = frozenset(needed.intersection(own))
            report = submitter.submit(made, own, list(flights.values()), wakers, seen.get(alias))
            if report is not None:
                self._take_in(run, report, step)
                if report.full - report.away.keys():
                    again |= self._takes_less(alias, len(own), report.submitted)
        return again

    def _takes_less(self, alias: str, asked: int, submitted: int) -> bool:
        """A limit of the site is met, and nobody knows where it is: ask for half; whether to."""
        there = sum(each.cluster == alias for each in submissions.in_flight(self._state))
        refused = asked - submitted
        self._takes[alias] = there + refused // 2, time.monotonic() + _FULL_S
        if refused > 1:
            self._full_until_s.pop(alias, None)
        return refused > 1

    def _take_in(self, run: _Run, report: Report, step: Step) -> None:
        step.submitted += report.submitted
        step.full |= report.full
        step.away |= report.away
        step.unanswered |= dict.fromkeys(report.doubt, "")
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

    def _ensure_go_on(self, run: _Run, more: bool) -> None:
        """Have one small job in a queue that takes the run on, where that may be needed."""
        flights = submissions.in_flight(self._state, run.id)
        tried_again = {planned.job for planned in run.plan if planned.retries}
        if not flights or not (more or any(each.job in tried_again for each in flights)):
            return
        mark = go_on_mark(self._state.home, run.id)
        alias, name = flights[-1].cluster, f"{go_on_prefix(self._state)}{os.urandom(4).hex()}"
        with suppress(OSError):  # mostly: there is one already
            with mark.open("x", encoding="utf-8") as file:
                file.write(f"{alias} {name}\n")
            submitter = Submitter(self._state, self._clusters, run.id, self._conduct(run.id))
            if not submitter.go_on(alias, name, flights):
                mark.unlink()

    def _tidy(self, run: _Run) -> None:
        """Remove temp files that no job of the run needs any more, unless others are at work."""
        done = frozenset(run.numbers("done"))
        if run.later or self._tidied.get(run.id) == len(done):
            return
        free = spent_files(run.plan, done)
        if free:
            if self._state.read(partial(has_others, run=run.id)):
                return
            self._remove(free)
        self._tidied[run.id] = len(done)
