"""A plan as the executor sees it, and what a build does at each of its events."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from buildhpc import disk
from buildhpc.commands.common import warn
from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import plan as messages
from buildhpc.plan.groups import inherited
from buildhpc.plan.jobs import priority_of
from buildhpc.plan.model import Job, JobGraph, Plan, Step
from buildhpc.plan.recipe import digest_of
from buildhpc.plan.stale import Evidence, edited_outputs, identity, puts_back, stale
from buildhpc.plan.stamps import SMALL, Record, Stamp, put_back
from buildhpc.plan.unneeded import remade
from buildhpc.project import Recipes
from buildhpc.rules.model import Pipeline
from buildhpc.run import inputs, outputs
from buildhpc.run.describe import Describer
from buildhpc.run.spec import JobSpec, Needs, Outcome
from buildhpc.state.claims import JobToClaim
from buildhpc.state.priorities import Said


class PlanWork:
    """The `Work` of `run.local`: the steps of a plan, by number.

    notice: told of each output that was changed by hand, and where it is moved.
    put_back_other: a temp file was put back that may have other bytes than before.
    """

    def __init__(
        self,
        plan: Plan,
        evidence: Evidence,
        describer: Describer,
        recipes: Recipes,
        notice: Callable[[str, str], None],
    ) -> None:
        self.steps: list[Step] = list(plan.steps)
        self.numbers = {step.job.name: number for number, step in enumerate(plan.steps)}
        self.theirs: dict[int, str] = {}
        self.retries_override: int | None = None
        self.max_cores = 1
        self.put_back_other = False
        self.said: Mapping[str, Said] = {}
        self._priorities: list[int] | None = None
        self._evidence = evidence
        self._describer = describer
        self._notice = notice
        self._recipes = recipes
        self._replaced = set(plan.replaced)
        self._seen: dict[str, inputs.Seen] = {}
        self._unneeded: set[str] = set()
        self._refused: dict[int, HpcmakeError] = {}
        # Temp files that were put back, with the stamps they are known by.
        self._put_back: dict[str, Stamp] = {}
        self._clock = inputs.Clock(".hpcmake")

    def job(self, name: str) -> Job:
        """The job of that name."""
        return self.steps[self.numbers[name]].job

    def grow(self, steps: Sequence[Step], replaced: Iterable[str]) -> None:
        """Take in further steps. replaced: outputs of theirs that were changed by hand."""
        self._replaced.update(replaced)
        for step in steps:
            self._unneeded.discard(step.job.name)
            self.numbers[step.job.name] = len(self.steps)
            self.steps.append(step)
            for path in step.job.temp:
                self._evidence.disk.get(path)  # what was there before its job runs
        self._read.update(path for step in steps for path in step.job.inputs)
        self._by_content.update(path for step in steps for path in step.job.content)

    def settle(self, task: int, step: Step | None) -> None:
        """What a step is that waited for a checkpoint; None: its job need not run."""
        if step is None:
            self._unneeded.add(self.name(task))
            self.steps[task] = self.steps[task]._replace(after=())
        else:
            self.steps[task] = step
            self._read.update(step.job.inputs)
            self._by_content.update(step.job.content)

    def refuse(self, task: int, error: HpcmakeError) -> None:
        """A job cannot run, as turned out since the plan was made."""
        self._refused[task] = error

    def close(self) -> None:
        """Let go of what was opened; afterwards no job can start."""
        self._clock.close()

    @property
    def count(self) -> int:
        """How many steps there are."""
        return len(self.steps)

    def after(self, task: int, /) -> Iterable[int]:
        """The steps that must be done first."""
        return [self.numbers[name] for name in self.steps[task].after]

    def name(self, task: int, /) -> str:
        """The name of the job."""
        return self.steps[task].job.name

    def priority(self, task: int, /) -> int:
        """What its rule says, or people say, of it or of what needs it."""
        if self._priorities is None or len(self._priorities) != self.count:
            own = [self._own_priority(step.job) for step in self.steps]
            self._priorities = inherited(own, self.after)
        return self._priorities[task]

    def _own_priority(self, job: Job) -> int:
        planned = self._describer.priority(job)
        said = self.said.get(job.name)
        return planned if said is None else said.of(planned)

    def hear(self, said: Mapping[str, Said]) -> None:
        """Take in what people say of priorities; job -> what is said."""
        self.said = said
        self._priorities = None

    def needs(self, task: int, attempt: int, /) -> Needs:
        """What an attempt needs."""
        if task in self._refused:
            raise self._refused[task]
        return self._describer.needs(self.steps[task].job, attempt)

    def foreign(self, task: int, /) -> bool:
        """Whether another run has the job."""
        return task in self.theirs

    def still_needed(self, task: int, /) -> bool:
        """Whether the job is still stale, now that what it waits for is done.

        It is not where that turned out not to be needed, or where its inputs are compared by
        content and have the bytes they had.
        """
        step = self.steps[task]
        if step.job.name in self._unneeded:
            return False
        if step.reason.kind != "upstream":
            return True
        by_content = self._evidence.content or step.job.content
        if not (by_content or self._unneeded.issuperset(remade(step, self._evidence))):
            return True
        if any(path in self._read and path not in self._evidence.disk for path in step.job.temp):
            return True
        there = {path: self._evidence.disk.get(path) for path in step.job.outputs}
        there |= {path: self._identity(path, disk.look(path)) for path in step.job.inputs}
        now = {path: stamp for path, stamp in there.items() if stamp is not None}
        # Digests as well: those of the plan were taken before the inputs were made anew.
        evidence = replace(self._evidence, disk=now, digest=disk.digest)
        needed = stale(step.job, evidence, None, None) is not None
        if not needed:
            self._unneeded.add(step.job.name)
        return needed

    @cached_property
    def _read(self) -> set[str]:
        """The files that the jobs of the plan read."""
        return {path for step in self.steps for path in step.job.inputs}

    @cached_property
    def _by_content(self) -> set[str]:
        """The files that jobs of the plan compare by content."""
        return {path for step in self.steps for path in step.job.content}

    def _identity(self, path: str, stamp: Stamp | None) -> Stamp | None:
        """The stamp an input is known by: one that was put back is what it was."""
        if stamp is None or path in self._put_back:
            return self._put_back.get(path)
        return identity(path, stamp, self._evidence)

    def spec(self, task: int, attempt: int, /) -> JobSpec:
        """What to run."""
        job = self.steps[task].job
        if task in self._refused:
            raise self._refused[task]
        cores = min(self._describer.needs(job, attempt).cores, self.max_cores)
        return self._describer.spec(job, attempt, {"cores": cores})

    def before_start(self, task: int, spec: JobSpec, /) -> None:
        """Take the stamps of the inputs, move aside what people changed among the outputs.

        Raises: HpcmakeError when an input is missing.
        """
        job = self.steps[task].job
        by_content = None if self._evidence.content else job.content
        self._seen[spec.name] = inputs.see(job.inputs, job.name, by_content, self._clock.now_ns())
        for path in self._replaced.intersection(job.outputs):
            if (moved := outputs.set_aside(path)) is not None:
                self._notice(path, moved)

    def retries(self, task: int, failure: str, attempts: int, /) -> bool:
        """Whether to try again."""
        most = self._describer.retries(self.steps[task].job, failure)
        if self.retries_override is not None:
            most = self.retries_override
        return attempts <= most

    def benchmark(self, job: Job) -> str | None:
        """The file that keeps time and memory of `job`, where its rule names one."""
        return self._describer.file_of(job, "benchmark")

    def record(self, job: Job) -> tuple[Record, str, list[str]]:
        """What to remember of a success, its compared text, and inputs that changed meanwhile."""
        seen = self._seen.pop(job.name, None) or inputs.Seen((), {})
        changed = inputs.changed(job.inputs, seen.stamps)
        restored = self._restored(job)
        made = tuple(disk.look(path) for path in job.outputs)
        read = zip(job.inputs, seen.stamps, strict=False)
        whole = job.temp if self._evidence.content else job.temp & self._by_content
        for path, stamp in zip(job.outputs, made, strict=True):
            # Also of a small one that only jobs outside of this plan may compare by content.
            small = path in job.temp and stamp is not None and stamp.size <= SMALL
            if (small or path in whole) and (known := disk.digest(path)) is not None:
                seen.hashes[path] = known
        before = self._evidence.records.get(job.name)
        if before is not None and any(
            seen.hashes.get(path) != before.hashes.get(path) for path in restored
        ):
            self.put_back_other = True
        self._put_back.update(restored)
        for path, at in restored.items():
            seen.hashes.update(put_back(path, at))
        text = self._recipes.text(job)
        record = Record(
            "done",
            "",
            digest_of(text),
            tuple(map(str, job.inputs)),
            tuple(self._identity(path, stamp) for path, stamp in read),
            job.outputs,
            made,
            seen.hashes,
        )
        return record, text, changed

    def _restored(self, job: Job) -> dict[str, Stamp]:
        """The temp files that `job` has put back, with the stamps they had: its recipe and its
        inputs are the same, so what was made of them once is as good as new."""
        step = self.steps[self.numbers[job.name]]
        found = puts_back(step, self._evidence)
        for path in filter(os.path.isfile, found):
            os.utime(path, ns=(found[path].mtime_ns, found[path].mtime_ns))
        return found


def to_claim(job: Job) -> JobToClaim:
    """A job as the state is told of it."""
    wildcards = dict(zip(job.rule.wildcards, job.values, strict=True))
    return JobToClaim(job.name, job.rule.task, wildcards)


def to_claims(pipeline: Pipeline, jobs: Iterable[Job]) -> list[JobToClaim]:
    """The jobs as the state is told of them, with their priorities. Raises: HpcmakeError."""
    return [
        to_claim(job)._replace(priority=priority_of(pipeline, job))
        if "priority" in job.rule.directives
        else to_claim(job)
        for job in jobs
    ]


class TempKeeper:
    """Counts who still needs a `temp` file, and says when nobody does.

    Only files that a job made are spoken of; what people wrote in their place stays.
    """

    def __init__(self, graph: JobGraph, planned: Iterable[Job], evidence: Evidence) -> None:
        self._graph = graph
        self._evidence = evidence
        self._targets = frozenset(graph.targets)
        self._waiting: dict[str, int] = {}
        self._planned: dict[str, Job] = {}
        self._later: list[Job] = []
        # Of what waits for checkpoints it is not known what it needs: meanwhile all is kept.
        self._open: set[Job] = set()
        self._kept: list[str] = []
        self._need(planned)

    def _need(self, planned: Iterable[Job]) -> None:
        for job in planned:
            self._planned[job.name] = job
            if job.awaits:
                self._open.add(job)
                continue
            for path in self._temps(job):
                self._waiting[path] = self._waiting.get(path, 0) + 1

    def grow(self, job: Job, planned: Iterable[Job], fresh: Iterable[Job]) -> None:
        """What became known of a job that waited for checkpoints.

        planned: what will run by now, itself among it or not. fresh: what need not.
        """
        self._open.discard(job)
        self._need(planned)
        self._later += fresh
        if not job.acts:
            self._targets |= frozenset(job.inputs)

    def give_up(self, job: Job) -> None:
        """A job will not run."""
        self._open.discard(job)

    def done(self, job: Job) -> list[str]:
        """The temp files that nothing needs any more now that `job` is done."""
        free = []
        for path in self._temps(job):
            self._waiting[path] -= 1
            if self._waiting[path] == 0:
                free.append(path)
        free += [path for path in job.temp if path not in self._waiting]
        self._kept += [path for path in free if self._is_made(path)]
        if self._open:
            return []
        kept, self._kept = dict.fromkeys(self._kept), []
        return [path for path in kept if not self._waiting.get(path) and path not in self._targets]

    def left_over(self, exists: Callable[[str], bool]) -> list[str]:
        """Temp files of fresh jobs that no planned job needs and that are still there."""
        return [
            path
            for job in (*self._graph.jobs, *self._later)
            if job.temp and job.name not in self._planned
            for path in job.temp
            if path not in self._waiting and path not in self._targets
            if exists(path) and self._is_made(path)
        ]

    def _is_made(self, path: str) -> bool:
        """Whether what is at `path` is what its job made, or will make."""
        job = self._graph.maker[path]
        if job.name in self._planned:
            return True
        record = self._evidence.records.get(job.name)
        return record is not None and path not in edited_outputs(job, record, self._evidence)

    def _temps(self, job: Job) -> list[str]:
        """The temp files among what `job` needs, each once."""
        found: dict[str, None] = {}
        maker = self._graph.maker
        for path in job.inputs:
            other = maker.get(path)
            if other is not None and other.temp:
                for temp in other.temp:
                    if path == temp or path.startswith(temp + "/"):
                        found[temp] = None
        return list(found)


def write_benchmark(path: str | None, outcome: Outcome) -> None:
    """Write time and memory of an attempt into the file that its rule names, if it does."""
    if path is not None and (why := outputs.write_benchmark(path, outcome)):
        warn(messages.cannot_write(path, why))
