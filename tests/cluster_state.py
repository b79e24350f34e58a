"""A run on a cluster as the state sees it, for tests: its plan, its slices, its receipts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from buildhpc.plan.arrays import Link
from buildhpc.run.spec import JobSpec, Needs, Outcome, OutputFile, Recipe
from buildhpc.state import receipts
from buildhpc.state.claims import JobToClaim
from buildhpc.state.cluster_runs import Standing, open_run, reserve_run, standings
from buildhpc.state.database import State
from buildhpc.state.plan_file import PlannedJob, read_plan, write_plan
from buildhpc.state.receipts import Ended, Key, Runner, Started
from buildhpc.state.recorder import RunInfo
from buildhpc.state.submissions import QueuedJob, Slice, ToSubmit, in_flight, named, open_slice

INFO = RunInfo("hpcmake --cluster gpu all", ("all",))
ONCE = (None,)


def name_of(number: int) -> str:
    return f"map sample=s{number}"


def spec_of(number: int, attempt: int = 1) -> JobSpec:
    return JobSpec(
        name_of(number),
        "map",
        attempt,
        (f"in{number}", "ref"),
        (OutputFile(f"out{number}"),),
        Recipe("shell", f"map in{number}"),
        Needs(cores=2, mem_mib=100, time_s=60),
    )


@dataclass
class ClusterRun:
    """A run of so many jobs. after: job -> those it needs. retries: of each."""

    state: State
    count: int
    after: Mapping[int, Sequence[int]] = field(default_factory=dict)
    retries: Mapping[str, int] = field(default_factory=dict)
    run: int = 0

    def begin(self) -> ClusterRun:
        self.run = self.run or reserve_run(self.state, INFO, "gpu")
        write_plan(self.state.home, self.run, map(self._line, range(self.count)))
        open_run(self.state, self.run, [job_of(number) for number in range(self.count)])
        return self

    def _line(self, number: int) -> dict[str, Any]:
        return {
            "job": name_of(number),
            "rule": "map",
            "after": list(self.after.get(number, ())),
            "cluster": "gpu",
            "retries": dict(self.retries),
            "attempts": [{"spec": asdict(spec_of(number)), "request": {"cores": 2}}],
            "recipe": f"digest{number}",
        }

    @property
    def plan(self) -> list[PlannedJob]:
        return read_plan(self.state.home, self.run)

    def submit(
        self, *numbers: int, attempt: int = 1, links: Sequence[Link] = (), name: bool = True
    ) -> Slice | None:
        """Open a slice with one array of these jobs, and name it as a scheduler would."""
        jobs = tuple(
            QueuedJob(number, asdict(spec_of(number, attempt)), element)
            for element, number in enumerate(numbers)
        )
        array = ToSubmit("gpu", len(jobs), jobs, tuple(links), "map")
        texts = {f"digest{number}": f"text {number}" for number in numbers}
        slice_ = open_slice(self.state, self.run, [array], texts)
        if slice_ is not None and name:
            ids = [f"9{slice_.id}_{element}" for element in range(len(jobs))]
            submission = slice_.submissions[0].id
            named(self.state, submission, f"9{slice_.id}", ids, held=not links)
        return slice_

    def states(self) -> list[str]:
        return [each.state for each in self.standings()]

    def standings(self) -> list[Standing]:
        return standings(self.state, self.run, [name_of(number) for number in range(self.count)])

    @property
    def inbox(self) -> Path:
        return self.state.home / "inbox"

    def runner(self, number: int, attempt: int = 1) -> Runner:
        """The runner of an attempt that is in flight."""
        found = [e for e in in_flight(self.state, self.run) if e.job == name_of(number)]
        place = found[-1].place if found else None
        submission, element = (place.submission, place.element) if place else (0, 0)
        return Runner(submission, element, "", "node7", 4711 + attempt, 5, "boot:1")

    def started(self, number: int, attempt: int = 1, restart: int = 0, **more: Any) -> Started:
        key = Key(self.run, number, attempt, restart)
        runner = more.pop("runner", None) or self.runner(number, attempt)
        receipt = Started(key, name_of(number), runner, 5.0, **more)
        assert receipts.write_started(str(self.inbox), receipt, ONCE)
        return receipt

    def ended(
        self, number: int, outcome: Outcome, attempt: int = 1, restart: int = 0, **more: Any
    ) -> Ended:
        key = Key(self.run, number, attempt, restart)
        runner = more.pop("runner", None) or self.runner(number, attempt)
        if outcome.state == "done":
            more = {
                "inputs": {f"in{number}": (10, 11), "ref": (12, 13)},
                "outputs": {f"out{number}": (14, 15)},
                "recipe": f"digest{number}",
                **more,
            }
        receipt = Ended(key, name_of(number), runner, outcome, **more)
        receipts.write_ended(str(self.inbox), receipt, ONCE)
        return receipt


def job_of(number: int) -> JobToClaim:
    return JobToClaim(name_of(number), "map", {"sample": f"s{number}"})


def chain(count: int) -> dict[int, Sequence[int]]:
    """Each job after the one before."""
    return {number: (number - 1,) for number in range(1, count)}


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
