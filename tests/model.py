"""What is fresh: a small, slow model of the rules, to hold the planner against.

It knows no times and no databases. Every writing of a file gets a number of its own, its version;
a job is fresh when the versions it saw last are those that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count

# What a build writes is newer than all that was there.
_FUTURE_NS = 2**62

Make = Callable[[str, Mapping[str, bytes]], dict[str, bytes]]


@dataclass(frozen=True)
class File:
    """A file as it was written once. mtime_ns: only counts where nothing is remembered."""

    version: int
    data: bytes
    mtime_ns: int = 0


@dataclass(frozen=True)
class ModelJob:
    """A job: its files by path, and the text that it would run."""

    name: str
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    recipe: str
    temp: frozenset[str] = frozenset()
    ancient: frozenset[str] = frozenset()
    content: frozenset[str] = frozenset()


@dataclass
class Memory:
    """What is remembered of a job; `state` is `done` only after a success."""

    state: str
    recipe: str = ""
    inputs: dict[str, File] = field(default_factory=dict)
    outputs: dict[str, File] = field(default_factory=dict)


@dataclass(frozen=True)
class Ask:
    """A build that is asked for. targets: paths. forced: names of jobs."""

    targets: frozenset[str]
    forced: frozenset[str] = frozenset()
    content: bool = False


@dataclass
class Planned:
    """Jobs to run, in order; those of them that only put temp files back."""

    jobs: list[ModelJob]
    restored: set[str]


class Model:
    """The files of a folder and what a build tool remembers of them."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.memory: dict[str, Memory] = {}
        self._versions = count(1)

    def write(self, path: str, data: bytes, mtime_ns: int) -> None:
        """Somebody writes a file, or touches it."""
        self.files[path] = File(next(self._versions), data, mtime_ns)

    def plan(self, jobs: Collection[ModelJob], ask: Ask) -> Planned:
        """Which of `jobs`, each after those it needs, have to run."""
        maker = {path: job for job in jobs for path in job.outputs}
        needed = _needed(ask.targets, maker)
        here = [job for job in jobs if job.name in needed]
        stale = {job.name for job in here if job.name in ask.forced or self.changed(job, jobs, ask)}
        restored: set[str] = set()
        before = None
        while before != (len(stale), len(restored)):
            before = (len(stale), len(restored))
            for job in here:
                remade = {
                    path
                    for path in job.inputs
                    if path in maker
                    and (
                        maker[path].name in stale
                        # What is put back is as it was; what is still there is made anew.
                        or (maker[path].name in restored and path in self.files)
                        or self._may_differ(path, job, here, restored, ask)
                        # Whether it is as it was is not known.
                        or (
                            maker[path].name in restored - set(self.memory)
                            and job.name in self.memory
                        )
                    )
                }
                if remade - job.ancient:
                    stale.add(job.name)
                if job.name in stale | restored:
                    gone = {p for p in job.inputs if p in maker and p not in self.files}
                    restored |= {maker[path].name for path in gone} - stale
        restored -= stale
        return Planned([job for job in here if job.name in stale | restored], restored)

    def _may_differ(
        self,
        path: str,
        job: ModelJob,
        here: Collection[ModelJob],
        restored: Collection[str],
        ask: Ask,
    ) -> bool:
        """Whether a file that is compared by its bytes is put back from other ones."""
        other: set[str] = set()
        maker = {path: each for each in here for path in each.outputs}
        for each in here:
            memory = self.memory.get(each.name)
            if each.name not in restored or memory is None:
                continue
            ancient = any(
                _version(memory.inputs, p) != _version(self.files, p) for p in each.ancient
            )
            if ancient or any(p in maker and maker[p].name in other for p in each.inputs):
                other.add(each.name)
        return (ask.content or path in job.content) and maker[path].name in other

    def changed(self, job: ModelJob, jobs: Collection[ModelJob], ask: Ask) -> bool:
        """Whether something of the job itself is not as it was after its last success."""
        for path in job.outputs:
            if path not in self.files and (path not in job.temp or path in ask.targets):
                return True
        memory = self.memory.get(job.name)
        if memory is None:
            return self._older(job, jobs)
        if memory.state != "done" or memory.recipe != job.recipe:
            return True
        if tuple(memory.inputs) != job.inputs:
            return True
        return any(
            self._differs(path, memory.inputs[path], job, jobs, ask)
            for path in job.inputs
            if path not in job.ancient
        )

    def _differs(
        self, path: str, old: File, job: ModelJob, jobs: Collection[ModelJob], ask: Ask
    ) -> bool:
        new = self.files.get(path)
        if new is None:  # a temp file, as its job left it
            maker = next(each for each in jobs if path in each.outputs)
            memory = self.memory.get(maker.name)
            if memory is None or memory.state != "done" or path not in memory.outputs:
                return False
            new = memory.outputs[path]
        if ask.content or path in job.content:
            return new.data != old.data
        return new.version != old.version

    def _older(self, job: ModelJob, jobs: Collection[ModelJob]) -> bool:
        """The order of times, as in Make."""
        there = [self.files[path].mtime_ns for path in job.outputs if path in self.files]
        if not there:
            return False
        maker = {path: each for each in jobs for path in each.outputs}
        todo, seen = [path for path in job.inputs if path not in job.ancient], set()
        while todo:
            path = todo.pop()
            if path in seen:
                continue
            seen.add(path)
            if path not in self.files:
                todo += maker[path].inputs
            elif self.files[path].mtime_ns > min(there):
                return True
        return False

    def build(
        self, plan: Planned, jobs: Collection[ModelJob], ask: Ask, make: Make, ran: Runs
    ) -> set[str]:
        """Run a plan; the names of the jobs that ran, whether they failed or not."""
        stale = {
            job.name for job in plan.jobs if job.name in ask.forced or self.changed(job, jobs, ask)
        }
        by_hand = {path for job in jobs for path in job.temp if self._is_by_hand(path, job)}
        broken: set[str] = set()
        started: set[str] = set()
        for job in plan.jobs:
            if self._needs_one_of(job, broken, jobs):
                broken.add(job.name)
                self._spoil(job.name, "skipped")
            elif job.name not in stale | plan.restored and (
                self._is_as_it_was(job, plan, jobs, ask)
                and not self._is_unknown(job, started, jobs, ask)
            ):
                continue  # what it waited for made the same bytes, or was not needed
            elif not ran.starts(job):
                broken.add(job.name)
                self._spoil(job.name, "waiting")
            else:
                started.add(job.name)
                if ran.fails(job):
                    broken.add(job.name)
                    self._fail(job)
                else:
                    self._run(job, make, plan)
        by_hand -= {path for job in plan.jobs for path in job.outputs}
        self._remove_temps(plan, jobs, ask, broken, by_hand)
        return started

    def _needs_one_of(
        self, job: ModelJob, names: Collection[str], jobs: Collection[ModelJob]
    ) -> bool:
        paths = {path for each in jobs if each.name in names for path in each.outputs}
        return not paths.isdisjoint(job.inputs)

    def _is_as_it_was(
        self, job: ModelJob, plan: Planned, jobs: Collection[ModelJob], ask: Ask
    ) -> bool:
        """Whether a job that only waited for others is fresh now that they are done."""
        read = {path for each in plan.jobs for path in each.inputs}
        there = all(path in self.files for path in job.outputs if path in read)
        return there and not self.changed(job, jobs, ask)

    def _is_unknown(
        self, job: ModelJob, started: Collection[str], jobs: Collection[ModelJob], ask: Ask
    ) -> bool:
        """Whether nobody knows what a job had read of what has now been made anew."""
        read = replace(job, inputs=tuple(p for p in job.inputs if p not in job.ancient))
        compared = ask.content or job.content
        return not (
            compared or job.name in self.memory or not self._needs_one_of(read, started, jobs)
        )

    def _remove_temps(
        self,
        plan: Planned,
        jobs: Collection[ModelJob],
        ask: Ask,
        broken: Collection[str],
        by_hand: Collection[str],
    ) -> None:
        """Temp files go once nothing needs them, but for those that people wrote."""
        here = _needed(ask.targets, {path: job for job in jobs for path in job.outputs})
        finished = {job.name for job in plan.jobs}.difference(broken)
        for job in jobs:
            for path in job.temp - ask.targets - set(by_hand):
                users = {each.name for each in plan.jobs if path in each.inputs}
                used_up = users <= finished if users else job.name in finished
                if used_up or (not broken and not users and job.name in here):
                    self.files.pop(path, None)

    def _is_by_hand(self, path: str, job: ModelJob) -> bool:
        memory = self.memory.get(job.name)
        made = memory.outputs.get(path) if memory else None
        there = self.files.get(path)
        return there is not None and (made is None or there.version != made.version)

    def _spoil(self, name: str, state: str) -> None:
        self.memory.setdefault(name, Memory(state)).state = state

    def _fail(self, job: ModelJob) -> None:
        self._spoil(job.name, "failed")
        for path in job.outputs:
            self.files.pop(path, None)

    def _run(self, job: ModelJob, make: Make, plan: Planned) -> None:
        seen = {path: self.files[path] for path in job.inputs}
        memory = self.memory.get(job.name)
        before = memory.outputs if memory and job.name in plan.restored else {}
        made = {}
        for path, data in make(job.name, {p: file.data for p, file in seen.items()}).items():
            old = before.get(path) if path in job.temp and path not in self.files else None
            version = next(self._versions)
            made[path] = File(old.version if old else version, data, _FUTURE_NS + version)
        self.files.update(made)
        self.memory[job.name] = Memory("done", job.recipe, seen, made)


@dataclass(frozen=True)
class Runs:
    """Which jobs fail when they run; which start, where a failure stopped a build: None: all."""

    failing: Collection[str] = ()
    started: Collection[str] | None = None

    def starts(self, job: ModelJob) -> bool:
        return self.started is None or job.name in self.started

    def fails(self, job: ModelJob) -> bool:
        return job.name in self.failing


def _version(files: Mapping[str, File], path: str) -> int | None:
    return files[path].version if path in files else None


def _needed(targets: Iterable[str], maker: Mapping[str, ModelJob]) -> set[str]:
    found: set[str] = set()
    todo = list(targets)
    while todo:
        job = maker.get(todo.pop())
        if job is not None and job.name not in found:
            found.add(job.name)
            todo += job.inputs
    return found
