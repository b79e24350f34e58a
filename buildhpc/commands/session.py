"""One run: jobs claimed, run, recorded; temp files removed; the end told."""

from __future__ import annotations

import argparse
import os
import socket
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from buildhpc.commands.build import edited_lines
from buildhpc.commands.checks import (
    check_files,
    check_needs,
    check_protected,
    check_values,
    limits_of,
)
from buildhpc.commands.common import LATENCY_S, command_line, fold_receipts, note, warn
from buildhpc.commands.describing import spec_maker
from buildhpc.commands.growth import Growth
from buildhpc.commands.leftovers import (
    remove_tree,
    remove_used,
    run_folder,
    run_marker,
    take_over,
)
from buildhpc.commands.lists import list_file
from buildhpc.commands.precedence import Precedence
from buildhpc.commands.retention import prune
from buildhpc.commands.work import PlanWork, TempKeeper, to_claims, write_benchmark
from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import plan as messages
from buildhpc.plan.choice import Choice
from buildhpc.plan.model import Job, JobGraph, Plan
from buildhpc.plan.plan import counted
from buildhpc.plan.stale import Evidence
from buildhpc.plan.stamps import Record, Stamp, digests
from buildhpc.project import Project, Recipes
from buildhpc.run.attempts import Timing
from buildhpc.run.describe import Describer
from buildhpc.run.events import Ended, Event, Skipped, Started, Unneeded
from buildhpc.run.handlers import run_handlers
from buildhpc.run.local import LocalExecutor
from buildhpc.run.machine import Limits
from buildhpc.run.recipes import Place
from buildhpc.run.spec import JobSpec, Recipe
from buildhpc.show.report import FailedJob, Reporter, Summary, failure_text, reporter_for, tail
from buildhpc.show.text import nothing_to_do
from buildhpc.state import notes
from buildhpc.state.claims import Claimed, Foreign, has_others
from buildhpc.state.database import State, open_state
from buildhpc.state.recorder import Recorder, RunInfo
from buildhpc.state.snapshot import change_counter

# What happened is written down so often, and where that takes long, so rarely that no more than
# this part of the time goes into it: no job is started meanwhile.
_FLUSH_S, _FLUSH_MOST_S, _FLUSH_SHARE = 0.2, 2.0, 0.04
_POLL_S = 0.5
# After a kill, what was not written down is done again.
_UNWRITTEN_LIMIT_S = 20.0
_HASTY_CLAIMS = 3


class Settled(NamedTuple):
    """What the state says of the files of a run.

    recorded: path -> its stamp, for what the jobs used and made. hashes: of inputs whose stamp
    alone proves nothing. removed: temp files that went.
    """

    recorded: Mapping[str, Stamp | None]
    hashes: Mapping[str, str]
    removed: Collection[str]


class Session:
    """A build from its plan to its exit code."""

    def __init__(self, args: argparse.Namespace, project: Project, choice: Choice) -> None:
        self._args = args
        self._project = project
        self._choice = choice
        self._state: State = open_state(Path.cwd(), warn)
        options = {"jobs": args.jobs, "pipefile": project.pipefile, "set": args.set}
        options["logs"] = args.logs
        info = RunInfo(command_line(args), tuple(args.targets), options)
        self._recorder = Recorder(self._state, info)
        self._limits: Limits = limits_of(args, project.pipeline.rules.values())
        self._failed: list[FailedJob] = []
        self._recorded: dict[str, Stamp | None] = {}
        self._hashes: dict[str, str] = {}
        self._removed: set[str] = set()
        self._clear = True
        self._free_temps: list[str] = []
        self._flush_at_s = self._polled_s = self._unwritten_since_s = 0.0
        self._total = 0
        self._counts = {"done": 0, "failed": 0, "skipped": 0, "unneeded": 0, "theirs": 0}

    def build(self, graph: JobGraph, evidence: Evidence, plan: Plan, seen: bytes) -> int:
        """Run the plan. Returns the exit code. Raises: HpcmakeError."""
        started_s = time.monotonic()
        while True:
            check_protected(plan, unprotect=self._args.unprotect)
            self._check(graph, plan)
            claimed = self._claim([step.job for step in plan.steps if step.job.acts], seen)
            if not claimed.changed:
                break
            seen = self._state.generation()
            graph, evidence, plan = self._project.plan(self._choice, self._state)
            if not plan.steps:
                if not (self._args.quiet or self._args.json):
                    print(nothing_to_do(plan.total))
                return 0
        if not self._args.quiet:
            for line in edited_lines(plan.edited):
                note(line)
        message = self._describer("plan").message
        reporter = reporter_for(self._args, plan, self._recorder.id, message)
        try:
            interrupted = self._run(graph, evidence, plan, claimed, reporter)
        except BaseException:
            reporter.close()
            self._recorder.end("failed")
            raise
        code = self._finish(plan, reporter, interrupted, time.monotonic() - started_s)
        for path in graph.targets if code == 0 else ():
            if path in graph.inside and not os.path.lexists(path):
                raise messages.not_inside(path, graph.inside[path].name)
        return code

    def _claim(self, jobs: Sequence[Job], seen: bytes | None = None) -> Claimed:
        claimed = self._recorder.claim(to_claims(self._project.pipeline, jobs), seen)
        self._take_over(claimed)
        return claimed

    def _check(self, graph: JobGraph, plan: Plan) -> None:
        """What would go wrong for sure is said before anything runs. Raises: HpcmakeError."""
        describer = self._describer("plan")
        check_needs(plan, describer, self._limits)
        check_values(plan, self._project.pipeline, describer)
        check_files(plan, graph, describer)

    def _describer(self, marker: str) -> Describer:
        return spec_maker(self._project.pipeline, marker, lambda p: list_file(self._scratch(), p))

    def _scratch(self) -> Path:
        path = run_folder(self._recorder.id)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def _take_over(self, claimed: Claimed) -> None:
        take_over(self._state, claimed.dead, self._recorder.id)
        for orphan in claimed.orphans:
            if orphan.host == socket.gethostname():
                self._recorder.lost(orphan)

    def _run(
        self,
        graph: JobGraph,
        evidence: Evidence,
        plan: Plan,
        claimed: Claimed,
        reporter: Reporter,
    ) -> int | None:
        """Run the jobs. Returns the signal that stopped the build, if one did."""
        recipes = Recipes(self._project.pipeline)
        marker = run_marker(self._recorder.id)
        describer = self._describer(marker[-8:].replace(":", "-"))
        work = PlanWork(plan, evidence, describer, recipes, _tell_aside)
        work.max_cores = self._limits.cores
        work.retries_override = self._args.retries
        work.theirs = {work.numbers[name]: name for name in claimed.foreign}
        if work.theirs:
            reporter.waiting_for(claimed.foreign)
        self._call_handlers("start")
        executor = self._executor(work, marker)
        keeper = TempKeeper(graph, [step.job for step in plan.steps], evidence)
        growing = self._project.growing
        self._growth = Growth(growing, work, executor, keeper, reporter, self._claim)
        self._growth.check_by(describer, self._limits, unprotect=self._args.unprotect)
        self._precedence = Precedence(self._state, self._recorder.id, work, executor)
        self._precedence.begin(in_groups=self._args.priority_groups)
        with closing(work):
            self._follow(work, executor, keeper, reporter)
        self._precedence.end()
        if executor.interrupted is None and not executor.failed:
            self._free_temps += keeper.left_over(os.path.lexists)
        self._total = counted([step.job for step in work.steps])
        self._flush()
        return executor.interrupted

    def _follow(
        self, work: PlanWork, executor: LocalExecutor, keeper: TempKeeper, reporter: Reporter
    ) -> None:
        """Handle what happens until the executor is at its end."""
        foreign = Foreign(self._state)
        stopping = False
        for event in executor.run():
            self._handle(event, work, keeper, reporter)
            self._now_and_then()
            self._precedence.look()
            if work.theirs:
                for name in self._look_at_theirs(work, executor, foreign, keeper):
                    reporter.theirs_done(name)
            if executor.interrupted and not stopping:
                stopping = True
                reporter.stopping()

    def _executor(self, work: PlanWork, marker: str) -> LocalExecutor:
        return LocalExecutor(
            work,
            self._limits,
            Place(str(self._scratch()), marker, own=self._own()),
            Timing(latency_s=LATENCY_S if self._args.latency is None else self._args.latency),
            self._args.keep_going,
            self._args.keep_incomplete,
        )

    def _own(self) -> dict[str, object]:
        """What hpcmake inside a job of this run knows it by."""
        return {"home": str(self._state.home.absolute()), "run": self._recorder.id}

    def _handle(self, event: Event, work: PlanWork, keeper: TempKeeper, reporter: Reporter) -> None:
        """Record what happened, then show it."""
        if isinstance(event, Started):
            self._recorder.started(event.spec, event.pid or None, event.log)
        elif isinstance(event, Ended):
            self._ended(event, work, keeper)
        elif isinstance(event, Skipped):
            self._counts["skipped"] += 1
            self._recorder.skipped(event.job, event.because)
        elif isinstance(event, Unneeded):
            job = work.job(event.job)
            self._clear = False
            self._recorder.unneeded(event.job)
            self._free_temps += keeper.done(job)
            if not job.acts:
                return  # it only names what others made
            self._counts["unneeded"] += 1
        reporter.event(event)
        self._growth.event(event)

    def _ended(self, event: Ended, work: PlanWork, keeper: TempKeeper) -> None:
        job = work.job(event.job)
        spec, outcome = event.spec, event.outcome
        if spec is None:
            spec = JobSpec(event.job, job.rule.task, 1, job.inputs, (), Recipe("none"))
        if outcome.state == "done":
            record, text, changed = work.record(job)
            self._settle(record, changed)
            # Others may compare it by content, and it is no longer there to be looked at.
            self._clear &= not work.put_back_other
            self._recorder.ended(spec, outcome, record, text)
            self._counts["done"] += 1
            self._free_temps += keeper.done(job)
            if changed:
                warn(messages.source_changed(changed, job.name))
            write_benchmark(work.benchmark(job), outcome)
            return
        if outcome.state == "failed" and not event.retry:
            self._counts["failed"] += 1
            self._failed.append(FailedJob(job, spec, outcome, *tail(outcome)))
        if job.acts:
            self._recorder.ended(spec, outcome, retry=event.retry)

    def _settle(self, record: Record, changed: Sequence[str]) -> None:
        """Keep what the state says of files now, as long as it says one thing of each."""
        self._clear &= not changed
        files = [*record.inputs, *record.outputs]
        stamps = [*record.input_stamps, *record.output_stamps]
        for path, stamp in zip(files, stamps, strict=True):
            self._clear &= self._recorded.setdefault(path, stamp) == stamp
        for path, digest in digests(record).items():
            self._clear &= self._hashes.setdefault(path, digest) == digest

    def settled(self, seen: bytes) -> Settled | None:
        """What the state says of every file of the run; None where that is not all there is to
        know: others wrote as well, or the next build has to remove what this one could not.

        seen: the generation that the plan was made from.
        """
        written = change_counter(self._state.generation()) - change_counter(seen)
        making = 0 if seen else 1  # the tables of a new state are a transaction of their own
        alone = written == self._state.commits + making
        if not (alone and self._clear) or run_folder(self._recorder.id).exists():
            return None
        return Settled(self._recorded, self._hashes, self._removed)

    def _now_and_then(self) -> None:
        now = time.monotonic()
        if now >= self._flush_at_s:
            self._flush_patiently(now)
            then = time.monotonic()
            pause_s = max(_FLUSH_S, (then - now) / _FLUSH_SHARE)
            self._flush_at_s = then + min(pause_s, _FLUSH_MOST_S)

    def _flush_patiently(self, now: float) -> None:
        """Write down what happened; a disk may have room again once a job has failed on it."""
        try:
            self._flush()
        except HpcmakeError as error:
            self._unwritten_since_s = self._unwritten_since_s or now
            too_long = now - self._unwritten_since_s > _UNWRITTEN_LIMIT_S
            if too_long or error.problems[0].slug != "state-unwritable":
                raise
        else:
            self._unwritten_since_s = 0.0

    def _flush(self) -> None:
        """Write down what happened; only then may temp files go that it no longer needs."""
        self._recorder.flush()
        with suppress(OSError):  # whoever looks next says so
            notes.fold(self._state)
        self._free()

    def _free(self) -> None:
        """Remove temp files, unless another run has jobs here, which may need them."""
        if self._free_temps and not self._state.read(partial(has_others, run=self._recorder.id)):
            remove_used(self._state, self._free_temps)
            self._removed.update(self._free_temps)
            self._free_temps = []

    def _look_at_theirs(
        self, work: PlanWork, executor: LocalExecutor, foreign: Foreign, keeper: TempKeeper
    ) -> list[str]:
        """Ask what became of the jobs that other runs have; returns those that are done."""
        now = time.monotonic()
        if now - self._polled_s < _POLL_S:
            return []
        self._polled_s = now
        fold_receipts()
        done = []
        found = foreign.poll(work.theirs.values())
        for task, name in list(work.theirs.items()):
            state, held = found.get(name, ("", False))
            if held:
                continue
            if state != "done":
                # Whoever had it left it undone: now it is ours, unless another run was faster.
                claimed = self._claim([work.steps[task].job])
                if name in claimed.foreign:
                    continue
            del work.theirs[task]
            if state == "done":
                done.append(name)
                self._counts["theirs"] += 1
                self._free_temps += keeper.done(work.steps[task].job)
                self._growth.has_run(name)
            executor.settle(task, "done" if state == "done" else "released")
        return done

    def _call_handlers(self, event: str) -> None:
        """Run the blocks of `on EVENT:`. `{log}` is a file that says what failed."""
        if not any(handler.event == event for handler in self._project.pipeline.handlers):
            return
        log = self._scratch() / "failed.txt"
        texts = [failure_text(failed, "hpcmake", lambda _, text: text) for failed in self._failed]
        log.write_text("\n\n".join([*texts, ""]), errors="surrogateescape")
        facts = {
            "run": self._recorder.id,
            "log": str(log),
            "failed": [failed.job.name for failed in self._failed],
        }
        run_handlers(self._project.pipeline, event, facts)

    def _finish(
        self, plan: Plan, reporter: Reporter, interrupted: int | None, wall_s: float
    ) -> int:
        failed = bool(self._failed) or self._counts["failed"] > 0
        status = "interrupted" if interrupted else "failed" if failed else "done"
        self._recorder.end(status)
        self._free()  # of two runs that end together the second one sees no other
        summary = Summary(
            run=self._recorder.id,
            status=status,
            counts=self._counts,
            total=self._total,
            wall_s=wall_s,
            failed=tuple(self._failed),
            edited=plan.edited,
            signal=interrupted,
        )
        reporter.end(summary)
        if not interrupted:
            self._call_handlers("failure" if failed else "success")
        remove_tree(self._scratch())
        prune(self._state)
        if interrupted:
            return 128 + interrupted
        return 1 if failed else 0


def _tell_aside(path: str, moved: str) -> None:
    note(f"kept: `{path}` was changed by hand; it is now `{moved}`")
