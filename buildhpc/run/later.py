"""The jobs of a run on clusters that hang on checkpoints: when they can be planned."""

# Paths are text here.

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

from buildhpc.state import cluster_runs
from buildhpc.state.cluster_runs import Standing
from buildhpc.state.database import State
from buildhpc.state.plan_file import Later, PlannedJob

_OPEN = ("waiting", "foreign", "free")


def as_waiting(plan: Sequence[PlannedJob], later: Sequence[Later]) -> list[PlannedJob]:
    """The later jobs as if they were planned behind the others, for who gives them up."""
    numbers = {planned.job: planned.number for planned in plan}
    found: list[PlannedJob] = []
    for each in later:
        number = len(plan) + len(found)
        after = tuple(numbers[name] for name in (*each.runs, *each.known) if name in numbers)
        numbers[each.job] = number
        nothing = (None, None)
        found.append(
            PlannedJob(number, each.job, each.rule, after, "", 0, {}, nothing, True, (), (), b"{}")
        )
    return found


def look(
    state: State, run: int, plan: Sequence[PlannedJob], later: Sequence[Later]
) -> tuple[list[PlannedJob], list[str]]:
    """The later jobs that nobody gave up, and the names of those that can be planned now."""
    waiting = as_waiting(plan, later)
    names = [each.job for each in (*plan, *waiting)]
    standings = dict(zip(names, cluster_runs.standings(state, run, names), strict=True))
    left = still_open(later, standings)
    here = {each.job for each in left}
    return [each for each in waiting if each.job in here], ripe(left, standings)


def mark_more(state: State, run: int, *, more: bool) -> None:
    """Tell the runners whether somebody waits for hpcmake itself."""
    path = os.path.join(state.home, f"run-{run}", "more")
    with suppress(OSError):
        if more:
            with open(path, "a", encoding="ascii"):
                return
        elif os.path.exists(path):
            os.unlink(path)


def still_open(later: Sequence[Later], standings: Mapping[str, Standing]) -> list[Later]:
    """The later jobs that nobody gave up."""
    return [each for each in later if standings[each.job].state in _OPEN]


def ripe(later: Sequence[Later], standings: Mapping[str, Standing]) -> list[str]:
    """The later jobs that can be planned now, since their checkpoints have run.

    later: those that nobody gave up. standings: also of the jobs of the plan.
    """
    waiting = {each.job for each in later}
    found = []
    for each in later:
        done = all(
            name not in waiting and standings[name].state == "done"
            for name in each.runs
            if name in standings
        )
        if done and waiting.isdisjoint(each.known):
            found.append(each.job)
            waiting.discard(each.job)
    return found
