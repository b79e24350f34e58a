"""How a plan grows: what hangs on a checkpoint becomes known once its job has run.

Only what is below the checkpoint is looked at: its followers get all their inputs, and the jobs
that these need and that nobody needed before are found and judged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import NamedTuple

from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import plan as messages
from buildhpc.plan.graph import GraphBuilder
from buildhpc.plan.judge import Judge
from buildhpc.plan.model import Job, Reason, Step
from buildhpc.plan.stale import edited_by_hand, to_put_back
from buildhpc.plan.stamps import Stamp


class Grown(NamedTuple):
    """What became known of a job that waited for checkpoints.

    step: what it is in the plan now; None: it need not run. more: further steps, each after
    all it needs; their predecessors are those that have not run yet. fresh: further jobs that
    need not run. replaced: outputs of further steps that people changed.
    error: why it cannot run; then there is nothing else.
    """

    job: Job
    step: Step | None = None
    more: tuple[Step, ...] = ()
    fresh: tuple[Job, ...] = ()
    replaced: tuple[str, ...] = ()
    error: HpcmakeError | None = None


class Growing:
    """The part of a plan that is not known yet.

    maker: path -> its job, of the graph of the plan: grows with it.
    look: what the files are by now. omit: rules that are left out.
    """

    def __init__(
        self,
        builder: GraphBuilder,
        judge: Judge,
        maker: dict[str, Job],
        look: Callable[[], Mapping[str, Stamp]],
        omit: Collection[str] = (),
    ) -> None:
        self._builder = builder
        self._judge = judge
        self._maker = maker
        self._look = look
        self._omit = frozenset(omit)
        self._folders = _folders(dict.fromkeys(maker.values()))
        # Checkpoint -> the jobs that wait for it; job -> how many it still waits for.
        self._followers: dict[Job, list[Job]] = {}
        self._waits: dict[Job, int] = {}

    @property
    def open(self) -> bool:
        """Whether jobs wait for checkpoints."""
        return bool(self._waits)

    def begin(self, steps: Iterable[Step], jobs: Iterable[Job]) -> None:
        """Go on from a plan. jobs: of its graph."""
        self._judge.catch_up()
        self._judge.reasons.clear()
        self._judge.reasons.update((step.job, step.reason) for step in steps)
        for job in jobs:
            if job.awaits:
                self._judge.reasons.setdefault(job, Reason("checkpoint"))
                self._wait(job)

    def _wait(self, job: Job) -> None:
        makers = {self._builder.maker(path) for path in job.awaits}
        coming = [each for each in makers if each is not None and each in self._judge.reasons]
        self._waits[job] = len(coming)
        for each in coming:
            self._followers.setdefault(each, []).append(job)

    def has_run(self, job: Job) -> list[Grown]:
        """What becomes known now that a job of the plan has run, or need not."""
        self._judge.reasons.pop(job, None)
        ready = []
        for each in self._followers.pop(job, ()):
            if each in self._waits:
                self._waits[each] -= 1
                ready += [] if self._waits[each] else [each]
        return self.grow(ready) if ready else []

    def give_up(self, job: Job) -> None:
        """A job will not run."""
        self._waits.pop(job, None)

    def grow(self, jobs: Sequence[Job]) -> list[Grown]:
        """What becomes known of jobs whose checkpoints have all run."""
        self._judge.look_again(self._look())
        return [self._grow(job) for job in jobs]

    def _grow(self, job: Job) -> Grown:
        self._waits.pop(job, None)
        begin, after = len(self._builder.order), job.awaits
        try:
            found = self._builder.grow(job)
            new = dict.fromkeys(each for each in found if each.name not in self._judge.planned)
            self._judge.catch_up()
            self._check(job, new)
        except HpcmakeError as error:
            self._judge.forget(self._builder.forget(begin))
            job.awaits = after
            return Grown(job, error=error)
        self._adopt(job, new)
        reasons = self._judge.reasons
        reason = self._judge.judge(job)
        restored = self._restored([each for each in (*new, job) if each in reasons])
        further = dict.fromkeys((*(each for each in restored if each not in new), *new))
        steps = [self._step(each) for each in further if each in reasons]
        for each in new:
            if each.awaits:
                self._wait(each)
        fresh = tuple(each for each in new if each not in reasons)
        step = self._step(job) if reason else None
        return Grown(job, step, tuple(steps), fresh, self._edited(steps))

    def _edited(self, steps: Iterable[Step]) -> tuple[str, ...]:
        """Outputs that people changed since the job of a step made them."""
        evidence = self._judge.evidence
        return tuple(path for step in steps for path in edited_by_hand(step.job, evidence))

    def _step(self, job: Job) -> Step:
        return Step(job, self._judge.reasons[job], self._judge.after(job))

    def _adopt(self, job: Job, new: Collection[Job]) -> None:
        for each in (*new, job):
            self._maker.update(dict.fromkeys(each.outputs, each))
            self._maker.update((p, m) for p in each.inputs if (m := self._builder.maker(p)))
        self._folders.update(_folders(new))

    def _check(self, job: Job, new: Collection[Job]) -> None:
        """Whether the further jobs fit to what there is. Raises: HpcmakeError."""
        for each in new:
            if each.rule.name in self._omit:
                raise messages.omitted_later(job.name, each.rule.name, job.rule.span)
            for path in each.outputs:
                other = self._maker.get(path) or self._folder_above(path)
                if other is not None and other is not each:
                    first, second = (other.name, other.rule.span), (each.name, each.rule.span)
                    raise messages.two_makers(path, first, second)
        for path in () if job.acts else job.inputs:
            maker = self._builder.maker(path)
            if maker is not None and maker not in self._judge.reasons:
                there = self._judge.evidence.disk.get(path) is not None
                if path not in maker.outputs and not there:
                    raise messages.not_inside(path, maker.name)
        self._check_circle(job, new)

    def _folder_above(self, path: str) -> Job | None:
        """The job that makes a folder that this path is in."""
        above = path.rpartition("/")[0]
        while above:
            if above in self._folders:
                return self._folders[above]
            above = above.rpartition("/")[0]
        return None

    def _check_circle(self, job: Job, new: Collection[Job]) -> None:
        """Whether what a job needs needs the job itself. Raises: messages.cycle."""
        users: dict[Job, tuple[str, Job]] = {}
        open_ = {*self._judge.reasons, *new}
        todo = [job]
        while todo:
            user = todo.pop()
            for path in user.inputs:
                maker = self._builder.maker(path)
                if maker is job:
                    raise messages.cycle(_circle(path, user, job, users), job.rule.span)
                if maker is not None and maker in open_ and maker not in users:
                    users[maker] = (path, user)
                    todo.append(maker)

    def _restored(self, jobs: Sequence[Job]) -> list[Job]:
        """Jobs that must make a `temp` file again for one of these, each after all it needs."""
        judge, found = self._judge, dict[Job, None]()
        todo = list(jobs)
        while todo:
            job = todo.pop()
            for path in job.inputs:
                maker = self._builder.maker(path)
                if maker is None or maker in judge.reasons or path not in maker.temp:
                    continue
                if judge.evidence.disk.get(path) is None:
                    judge.reasons[maker] = to_put_back(path, job)
                    found[maker] = None
                    todo.append(maker)
        if len(found) < 2:
            return list(found)
        before = {
            job: [m for p in job.inputs if (m := self._builder.maker(p)) in found] for job in found
        }
        return [job for job in TopologicalSorter(before).static_order() if job is not None]


def _folders(jobs: Iterable[Job]) -> dict[str, Job]:
    """The folders that jobs make as a whole."""
    return {
        path: job
        for job in jobs
        for path, pattern in zip(job.outputs, job.rule.patterns(), strict=True)
        if "directory" in pattern.flags
    }


def _circle(
    path: str, user: Job, job: Job, users: Mapping[Job, tuple[str, Job]]
) -> tuple[tuple[str, str], ...]:
    """From `path`, which `job` makes, to where it is needed for that: (path, rule) in order."""
    chain = [(path, job.rule.name)]
    back = []
    while user is not job:
        needed, above = users[user]
        back.append((needed, user.rule.name))
        user = above
    return (*chain, *reversed(back))
