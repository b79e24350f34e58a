"""Follows a run on clusters: takes it on, tells what happens, until it is over or one leaves."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from buildhpc.commands.common import note, warn
from buildhpc.commands.dry import and_more, checkpoints
from buildhpc.commands.leftovers import run_folder
from buildhpc.commands.moving import describer_of, unwatched, watched
from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import plan as messages
from buildhpc.plan import model
from buildhpc.plan.model import Job, Plan, Reason
from buildhpc.plan.plan import counted
from buildhpc.rules.model import Pipeline
from buildhpc.run.advance import Advance
from buildhpc.run.events import Ended, Event, Skipped, Started, Tick, Unneeded
from buildhpc.run.handlers import run_handlers
from buildhpc.run.looking import Step
from buildhpc.run.signals import Signals
from buildhpc.run.spec import JobSpec, Outcome
from buildhpc.show.report import FailedJob, Reporter, Summary, failure_text, reporter_for
from buildhpc.state import cluster_runs, receipts
from buildhpc.state.cluster_runs import Standing
from buildhpc.state.database import State
from buildhpc.state.plan_file import PlannedJob, plan_stamp, read_plan
from buildhpc.state.queries import AttemptRow, last_attempts, log_text

_GLANCE_S = 1.0
_LOG_LINES = 20
_BAD = ("failed", "cancelled", "lost")
_RUNS = ("running", "spawned")


class Follower:
    """Follows one run.

    plan: the steps of it, in the order of the plan file.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        state: State,
        run: int,
        plan: Plan,
        advance: Advance,
        pipeline: Pipeline,
    ) -> None:
        self._args = args
        self._state = state
        self._run = run
        self._plan = plan
        self._advance = advance
        advance.patience.tell = self._warn_once
        self._pipeline = pipeline
        self._planned: dict[str, PlannedJob] = {}
        self._stamp = (0, 0)
        self._jobs: list[Job] = [step.job for step in plan.steps]
        self._seen: list[Standing] = [Standing("waiting")] * len(plan.steps)
        self._read_plan()
        self._failed: list[FailedJob] = []
        self._counts = dict.fromkeys(("done", "failed", "skipped", "unneeded", "theirs"), 0)
        self._left: int | None = None
        self._theirs: frozenset[str] = frozenset()
        self._warned: set[str] = set()
        self._look_s = self._generation_s = 0.0
        self._generation = b""

    def _read_plan(self) -> list[model.Step]:
        """Read the plan if it has grown; the steps that are new."""
        stamp = plan_stamp(self._state.home, self._run)
        if stamp == self._stamp or stamp == (0, 0):
            return []
        self._stamp = stamp
        known = {job.name for job in self._jobs}
        self._planned = {each.job: each for each in read_plan(self._state.home, self._run)}
        new = [
            _job_of(each, self._pipeline)
            for name, each in self._planned.items()
            if name not in known
        ]
        self._jobs += new
        self._seen += [Standing("waiting")] * len(new)
        text = "a checkpoint has run"
        return [model.Step(job, Reason("checkpoint", text), ()) for job in new]

    def detach(self) -> int:
        """Submit what can be, and leave. Returns the exit code."""
        step = self._first_step()
        refused = [text for (run, _), text in step.refused.items() if run == self._run]
        if not self._args.quiet:
            more = and_more(checkpoints(self._jobs))
            print(
                f"run {self._run}: {step.submitted:,} of {counted(self._jobs):,} jobs submitted"
                f"{more}; `hpcmake status` tells how they are"
            )
        if (program := getattr(self._args, "reporter", None)) is not None:
            program.detached(self._run, counted(self._jobs), step.submitted, refused)
        for text in refused[:3]:
            note(f"refused: {text}")
        return 1 if refused else 0

    def _first_step(self) -> Step:
        """Submit what can be. Raises: messages.cluster_away where nothing can."""
        step = self._advance.step(look=False)
        for error in step.away.values():
            if not cluster_runs.was_submitted(self._state, self._run):
                raise error
        self._warn(step)
        return step

    def follow(self, theirs: Mapping[str, int]) -> int:
        """Take the run on until it is over, or until the user leaves. Returns the exit code."""
        message = describer_of(self._run, self._pipeline).message
        reporter = reporter_for(self._args, self._plan, self._run, message)
        self._theirs = frozenset(theirs)
        if theirs:
            reporter.waiting_for(theirs)
        started_s = time.monotonic()
        watched(self._run)
        try:
            with Signals(self._leave) as signals:
                self._first_step()
                status = self._loop(signals, reporter)
        except BaseException:
            reporter.close()
            raise
        if status is None:
            reporter.close()
            unwatched(self._run)
            return self._say_left()
        return self._end(status, reporter, time.monotonic() - started_s)

    def _leave(self, number: int) -> None:
        self._left = self._left or number
        self._advance.patience.end()

    def _loop(self, signals: Signals, reporter: Reporter) -> str | None:
        """How the run ended; None: the user left it."""
        while self._left is None:
            status = self._turn(reporter)
            if status is not None:
                return status
            reporter.event(Tick())
            signals.wait(_GLANCE_S)
        return None

    def _turn(self, reporter: Reporter) -> str | None:
        """One look around; how the run ended, once it has."""
        self._state.check_there()
        now = time.monotonic()
        look = now >= self._look_s
        if look:
            self._look_s = now + self._advance.poll_s
            watched(self._run)
        if look or self._news():
            try:
                self._warn(self._advance.step(look=look))
            except HpcmakeError as error:
                if not self._generation:
                    raise  # nothing has begun yet
                self._warn_once(str(error))
            generation = self._state.generation()
            if generation != self._generation:
                self._tell(reporter)
                self._generation = generation
        return cluster_runs.ended(self._state, self._run)

    def _news(self) -> bool:
        """Whether somebody told or wrote something."""
        inbox = str(self._state.home / "inbox")
        return receipts.any_there(inbox) or self._state.generation() != self._generation

    def _warn(self, step: Step) -> None:
        for problem in step.problems:
            warn(problem)
        for folded in step.told:
            changed = getattr(folded.receipt, "changed", ())
            if changed:
                warn(messages.source_changed(list(changed), folded.receipt.job))
        for alias, words in sorted(step.unanswered.items()):
            why = f": {words}" if words else ""
            self._warn_once(f"cluster `{alias}` does not answer; its jobs go on{why}")
        for error in step.away.values():
            self._warn_once(f"{error.problems[0].text}; the rest waits")
        for alias in sorted(step.full - step.away.keys()):
            self._warn_once(f"cluster `{alias}` takes no more jobs for now; the rest waits")

    def _warn_once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            note(f"note: {text}")

    def _tell(self, reporter: Reporter) -> None:
        """Tell what became of jobs since the last time, whoever wrote it down."""
        if more := self._read_plan():
            reporter.more(more)
        every = [job.name for job in self._jobs]
        now = cluster_runs.standings(self._state, self._run, every)
        changed = [
            number
            for number, (old, new) in enumerate(zip(self._seen, now, strict=True))
            if old != new
        ]
        names = [every[number] for number in changed]
        attempts = last_attempts(self._state, self._run, names)
        for number in changed:
            name = every[number]
            if now[number].state == "done" and name in self._theirs and name not in attempts:
                self._counts["theirs"] += 1
                reporter.theirs_done(name)
                continue
            for event in self._events(number, self._seen[number], now[number], attempts):
                reporter.event(event)
        self._seen = now

    def _events(
        self, number: int, old: Standing, new: Standing, attempts: Mapping[str, AttemptRow]
    ) -> Iterator[Event]:
        """What happened to a job between two looks."""
        name, acts = self._jobs[number].name, self._jobs[number].acts
        attempt = attempts.get(name)
        if not acts and new.state in ("done", "skipped"):
            return  # it only names what others make
        if new.state == "skipped":
            self._counts["skipped"] += 1
            yield Skipped(name, self._because(name))
        elif new.state == "done" and (attempt is None or attempt.state != "done"):
            self._counts["unneeded"] += 1
            yield Unneeded(name)
        elif attempt is not None and new.state in _RUNS and old.state not in _RUNS:
            yield Started(name, self._spec(number, attempt), attempt.used.pid or 0)
        elif attempt is not None and attempt.state in ("done", *_BAD):
            told = old.state in _RUNS and old.tried == attempt.number
            if attempt.used.started_s is not None and not told:
                # It began and ended between two looks.
                yield Started(name, self._spec(number, attempt), attempt.used.pid or 0)
            yield self._ended(number, new, attempt)
        elif new.state in _BAD:
            yield self._ended(number, new, None)

    def _ended(self, number: int, new: Standing, attempt: AttemptRow | None) -> Event:
        name = self._jobs[number].name
        spec = self._spec(number, attempt)
        if attempt is None:
            outcome = Outcome(new.state, "submit", message=self._because(name))
        else:
            outcome = _outcome(attempt)
        retry = outcome.state != "done" and new.state in ("waiting", "queued", *_RUNS)
        if outcome.state == "done":
            self._counts["done"] += 1
        elif not retry:
            self._counts["failed"] += 1
            lines = self._last_lines(attempt)
            self._failed.append(FailedJob(self._jobs[number], spec, outcome, *lines))
        return Ended(name, spec, outcome, retry)

    def _last_lines(self, attempt: AttemptRow | None) -> tuple[tuple[str, ...], str]:
        """The end of what an attempt printed, and of what; see `FailedJob`."""
        for stream, of in (("err", "stderr"), ("", "log")) if attempt else ():
            if attempt and (text := log_text(self._state, attempt.id, stream).rstrip("\n")):
                return tuple(text.split("\n")[-_LOG_LINES:]), of
        return (), "log"

    def _because(self, name: str) -> str:
        return cluster_runs.failure(self._state, name).removeprefix("needs: ")

    def _spec(self, number: int, attempt: AttemptRow | None) -> JobSpec:
        planned = self._planned.get(self._jobs[number].name)
        values = planned.attempt(attempt.number if attempt else 1) if planned else None
        if values is not None:
            return JobSpec.from_values(values["spec"])
        from buildhpc.run.spec import Recipe

        job = self._jobs[number]
        return JobSpec(job.name, job.rule.task, 1, tuple(job.inputs), (), Recipe("none"))

    def _say_left(self) -> int:
        """What is said to who leaves; the exit code."""
        left = sum(standing.state in ("queued", *_RUNS) for standing in self._seen)
        note(
            f"\nleft run {self._run}: {left:,} jobs go on. `hpcmake status` tells how they are,"
            " `hpcmake watch` follows them, `hpcmake cancel` stops them"
        )
        return 128 + (self._left or 0)

    def _end(self, status: str, reporter: Reporter, wall_s: float) -> int:
        self._tell(reporter)
        # Of the run too much may be told: that jobs ended otherwise, which are done by now.
        failed = status == "failed" and any(each.state != "done" for each in self._seen)
        failed |= any(each.state in _BAD for each in self._seen)
        summary = Summary(
            run=self._run,
            status="failed" if failed else "done",
            counts=self._counts,
            total=counted(self._jobs),
            wall_s=wall_s,
            failed=tuple(self._failed),
            edited=self._plan.edited,
            signal=None,
        )
        reporter.end(summary)
        self._call_handlers("failure" if failed else "success")
        return 1 if failed else 0

    def _call_handlers(self, event: str) -> None:
        if not any(handler.event == event for handler in self._pipeline.handlers):
            return
        folder = Path(run_folder(self._run))
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "failed.txt"
        texts = [failure_text(failed, "hpcmake", lambda _, text: text) for failed in self._failed]
        log.write_text("\n\n".join([*texts, ""]), errors="surrogateescape")
        names = [failed.job.name for failed in self._failed]
        run_handlers(self._pipeline, event, {"run": self._run, "log": str(log), "failed": names})
        log.unlink()
        os.rmdir(folder)


def _job_of(planned: PlannedJob, pipeline: Pipeline) -> Job:
    """The job of a line that was written since the run began."""
    details = planned.details()
    rule, values = pipeline.rules[planned.rule], tuple(details["wildcards"].values())
    return Job(rule, values, tuple(details["outputs"]), ())


def _outcome(attempt: AttemptRow) -> Outcome:
    """How an attempt ended, as the state has it."""
    used = attempt.used
    return Outcome(
        attempt.state if attempt.state != "lost" else "failed",
        attempt.failure,
        attempt.exit_code,
        attempt.signal,
        attempt.message,
        used.started_s or used.ended_s or 0.0,
        used.ended_s or 0.0,
        used.cpu_s or 0.0,
        used.peak_mib or 0.0,
    )
