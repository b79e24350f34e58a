"""Parts as planned jobs: what a run is to submit of them, beside the jobs of its plan file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from buildhpc.state.plan_file import PlannedJob

if TYPE_CHECKING:
    from buildhpc.state.database import State

# Runners know parts by numbers beyond those of all planned jobs: plans may grow.
_FIRST = 1_000_000_000
_PLANNED = """SELECT job.id, job.name, part.number, parent.id, parent.number, parent.restart,
    parent.submission, parent.element, parent.meta, mother.name
    FROM part JOIN job ON job.id = part.job JOIN attempt AS parent ON parent.id = part.attempt
    JOIN job AS mother ON mother.id = parent.job WHERE parent.run = ?
    AND job.wildcards = '{}' ORDER BY job.id"""
_GROWN = """SELECT count(*), max(part.job) FROM part JOIN attempt ON attempt.id = part.attempt
    WHERE attempt.run = ?"""

Late = Callable[[PlannedJob, int], Mapping[str, Any]]


class Grown:
    """Plans of runs with the parts that their jobs have spawned, made anew when there are more."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._known: dict[int, tuple[tuple[object, ...], Sequence[PlannedJob]]] = {}

    def plan(self, run: int, plan: Sequence[PlannedJob], late: Late) -> Sequence[PlannedJob]:
        """The plan of a run with its parts.

        late: what an attempt runs and asks for, where that hangs on files.
        """
        row = self._state.read(lambda each: each.execute(_GROWN, (run,)).fetchone())
        if not row[0]:
            return plan
        known = self._known.get(run)
        if known is None or known[0] != (id(plan), len(plan), *row):
            known = (id(plan), len(plan), *row), _with_parts(self._state, run, plan, late)
            self._known[run] = known
        return known[1]


def _with_parts(
    state: State, run: int, plan: Sequence[PlannedJob], late: Late
) -> Sequence[PlannedJob]:
    rows = state.read(lambda connection: connection.execute(_PLANNED, (run,)).fetchall())
    numbers = {planned.job: planned for planned in plan}
    made: dict[int, list[Mapping[str, Any]]] = {}
    found = list(plan)
    for row in rows:
        mother = numbers[row[9]]
        if row[3] not in made:
            made[row[3]] = _attempts(mother, row[4], late)
        found.append(_planned(len(found), mother, row, made[row[3]], json.loads(row[8])["spawned"]))
    return found


def _attempts(mother: PlannedJob, number: int, late: Late) -> list[Mapping[str, Any]]:
    """`spec` and `request` of the tries of parts: as of those of the job itself."""
    most = len(mother.details()["attempts"] or ())
    tries = range(number, max(number, most) + 1)
    return [mother.attempt(each) or late(mother, each) for each in tries]


def _planned(
    number: int,
    mother: PlannedJob,
    row: Sequence[Any],
    attempts: Sequence[Mapping[str, Any]],
    told: Mapping[str, Any],
) -> PlannedJob:
    id_, name, which, attempt, tried, restart, submission, element, _, _ = row
    details = mother.details()
    part = {
        **{"number": which, "count": told["parts"], "job": mother.job, "attempt": tried},
        **{"of": mother.number, "restart": (restart or 0) + 1, "id": attempt},
        **{"submission": submission, "element": element},
        **{"inputs": told["inputs"], "hashes": told["hashes"], "recipe": told["recipe"]},
        **{key: details[key] for key in ("content", "restore", "benchmark")},
        **{"done": told.get("done", []), "started_s": told["started_s"]},
    }
    rest = {
        **{
            "number": _FIRST + id_,
            "attempts": [_own(each, name, part, told) for each in attempts],
            "recipe": "",
        },
        **{"text": "", "content": [], "replaced": [], "restore": {}, "benchmark": None},
        **{
            "needs": details["needs"],
            "wildcards": {},
            "unless": None,
            "outputs": details["outputs"],
            "part": part,
        },
    }
    return PlannedJob(
        *(number, name, mother.rule, (), mother.cluster, mother.priority, mother.retries),
        *((None, None), False, (), (), json.dumps(rest).encode()),
    )


def _own(
    values: Mapping[str, Any], name: str, part: Mapping[str, Any], told: Mapping[str, Any]
) -> dict[str, Any]:
    """What a try of a part runs and asks for."""
    spec = values["spec"]
    which = {"number": part["number"], "count": part["count"]}
    data = {**spec["data"], "part": which}
    if told.get("command"):
        recipe = {"kind": "shell", "text": told["command"], "arguments": {}, "folder": "."}
        spec = {**spec, "recipe": recipe}
    log = spec["log"] if spec["own_log"] else None
    return {**values, "spec": {**spec, "name": name, "data": data, "log": log}}
