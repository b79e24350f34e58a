"""Whose turn it is: priorities within a run on clusters, and among the runs of a folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from buildhpc.diagnostics import HpcmakeError
from buildhpc.plan.groups import URGENT, Groups, inherited
from buildhpc.plan.window import Waiting, choose
from buildhpc.state import cluster_runs, priorities
from buildhpc.state.database import State
from buildhpc.state.plan_file import PlannedJob
from buildhpc.state.priorities import Said


class Turn(NamedTuple):
    """The jobs of a run that wait, and those of them whose turn it is."""

    waiting: Sequence[Waiting]
    allowed: Sequence[Waiting]


class Turns:
    """Knows the priorities of the jobs of runs, as the Pipefile and people say them."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._said: Mapping[str, Said] = {}
        self._generation = b""
        self._known: dict[int, list[int]] = {}
        self._in_groups: dict[int, bool] = {}

    def order(self, plans: Mapping[int, Sequence[PlannedJob]]) -> list[int]:
        """The runs, that with the highest priority first."""
        self._hear()
        tops = {run: max(self._of(run, plan), default=0) for run, plan in plans.items()}
        return sorted(plans, key=lambda run: (-tops[run], run))

    def turn(
        self,
        run: int,
        plan: Sequence[PlannedJob],
        numbers: Iterable[int],
        open_: Collection[int],
        busy: bool,
    ) -> Turn:
        """Which of the waiting jobs of a run may be submitted.

        numbers: those that wait. open_: all that are yet to end. busy: jobs of the run are in
        flight, so that somebody comes back to it.
        """
        ranks = self._of(run, plan)
        waiting = [
            Waiting(each.number, each.cluster, each.after, ranks[each.number], each.deferred)
            for each in (plan[number] for number in numbers)
        ]
        allowed = waiting
        if allowed and self._has_groups(run):
            groups = Groups(ranks, open_)
            allowed = [each for each in allowed if groups.may_run(each.number)]
        if allowed:
            # What nobody would come back to is held back by runs alone that are moved on with it.
            least = priorities.floor(self._state, run, of_clusters=not busy)
            if least is not None:
                allowed = [each for each in allowed if each.priority >= least]
        return Turn(waiting, allowed)

    def needed(self, run: int, plan: Sequence[PlannedJob], left: Iterable[int]) -> set[int]:
        """The jobs that those which are left wait for; in groups, all of higher ones."""
        left = list(left)
        found = {each for number in left for each in plan[number].after}
        if left and self._has_groups(run):
            ranks = self._of(run, plan)
            least = min(ranks[number] for number in left)
            found.update(number for number, rank in enumerate(ranks) if rank > least)
        return found

    def tell(
        self,
        run: int,
        turn: Turn,
        chosen: Collection[int],
        done: Collection[int],
        places: Mapping[int, str],
    ) -> None:
        """Say whether a job that goes ahead of all has no room yet.

        chosen: those that were submitted now. places: job in flight -> its cluster.
        """
        top = None
        if any(each.priority >= URGENT for each in turn.allowed):
            room = {each.cluster: len(turn.allowed) for each in turn.allowed}
            ready = set(choose(turn.allowed, done, places, room)).difference(chosen)
            tops = [each.priority for each in turn.allowed if each.number in ready]
            top = max(tops, default=0)
        waits = top if top is not None and top >= URGENT else None
        with suppress(HpcmakeError):  # the next step tries again
            priorities.tell(self._state, run, waits)

    def _hear(self) -> None:
        generation = self._state.generation()
        if generation != self._generation:
            self._generation = generation
            said = priorities.said(self._state)
            if said != self._said:
                self._said = said
                self._known.clear()

    def _of(self, run: int, plan: Sequence[PlannedJob]) -> list[int]:
        """The priority of each job of a plan, that of what needs it counted in."""
        if run not in self._known or len(self._known[run]) != len(plan):  # jobs may have been added
            own = [self._said.get(each.job, Said()).of(each.priority) for each in plan]
            self._known[run] = inherited(own, lambda number: plan[number].after)
        return self._known[run]

    def _has_groups(self, run: int) -> bool:
        if run not in self._in_groups:
            options = cluster_runs.options(self._state, run)
            self._in_groups[run] = bool(options.get("priority_groups"))
        return self._in_groups[run]
