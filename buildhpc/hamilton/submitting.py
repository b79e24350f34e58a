"""Submits what nodes ask for, several orders as one run, and keeps what waits for others."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from buildhpc.commands.leftovers import take_over
from buildhpc.commands.moving import advance_of, clusters_of, watched
from buildhpc.diagnostics import HpcmakeError, Problem, render
from buildhpc.hamilton.answers import answer, fail
from buildhpc.hamilton.jobs import JobInfo
from buildhpc.hamilton.plans import Order, line_of, options_for, request_of, write_script
from buildhpc.hamilton.seeing import met, seen
from buildhpc.hamilton.systems import cluster_options, latency_s
from buildhpc.messages import hamilton as messages
from buildhpc.messages.clusters import words_of
from buildhpc.run.advance import Advance
from buildhpc.run.cancelling import stop
from buildhpc.run.clusters import Clusters
from buildhpc.run.looking import Step
from buildhpc.schedulers.protocol import Ask
from buildhpc.state import cluster_runs, flows
from buildhpc.state.claims import JobToClaim
from buildhpc.state.database import State
from buildhpc.state.plan_file import extend_plan, read_plan, write_plan
from buildhpc.state.recorder import RunInfo

LOG = logging.getLogger("buildhpc.hamilton")


@dataclass(slots=True)
class Asked:
    """An order that came in. after: the jobs it waits for, and on which condition.

    told: gets the job once it is submitted, or waits for others.
    """

    order: Order
    after: list[tuple[JobInfo, str]] = field(default_factory=list)
    told: Future[JobInfo] = field(default_factory=Future)
    name: str = ""
    run: int = 0

    def info(self, folder: str) -> JobInfo:
        """The job, as yet unseen."""
        order = self.order
        text = str(order.wish.get("cmd"))
        return JobInfo(folder, self.run, self.name, order.alias, text, order.outputs)


class Submitting:
    """Submits for one folder; used by one thread only.

    held: orders that wait for jobs in a way that no scheduler can be told of. mine: the runs that
    are seen to here, whoever began them.
    """

    def __init__(self, state: State, folder: str) -> None:
        self.held: list[Asked] = []
        self.mine: set[int] = set()
        self._state = state
        self._folder = folder
        self._options: list[str] = []
        self._moving: tuple[Clusters, Advance] | None = None
        self._warned: set[str] = set()

    def moving(self) -> tuple[Clusters, Advance]:
        """The clusters as they are described by now, and what takes runs on.

        Raises: HpcmakeError
        """
        if (now := os.getcwd()) != self._folder:
            raise messages.moved_folder(self._folder, now)
        options = cluster_options(self._folder)
        if self._moving is None or self._options != options:
            clusters = clusters_of(options_for("", options))
            self._moving = clusters, advance_of(self._state, clusters, self.mine)
            self._options = options
        return self._moving

    def step(self, *, look: bool) -> Step:
        """Take all runs of the folder on. Raises: HpcmakeError"""
        step = self.moving()[1].step(look=look)
        for problem in step.problems:
            warn(problem)
        for alias, words in step.unanswered.items():
            self.warn_once(f"cluster `{alias}` does not answer; its jobs go on: {words}")
        for alias in step.full:
            self.warn_once(f"cluster `{alias}` takes no more jobs for now; the rest waits")
        return step

    def warn_once(self, text: str) -> None:
        """Log a warning that was not logged before."""
        if text not in self._warned:
            self._warned.add(text)
            LOG.warning("%s", text)

    def take(self, asked: Sequence[Asked]) -> None:
        """Submit what can be, and keep what waits for others; each is answered."""
        ready = []
        for each in asked:
            if missing := _missing(each):
                fail(each.told, messages.input_missing(each.order.rule, missing))
                continue
            now = seen(self._state, [job for job, _ in each.after])
            pairs = zip(now, each.after, strict=True)
            each.after = [(job, how) for job, (_, how) in pairs if met(job, how) is not True]
            if each.after:
                answer(each.told, lambda each=each: self._wait(each))  # type: ignore[misc]
            else:
                ready.append(each)
        if ready:
            self._submit(ready)

    def release(self) -> bool:
        """Submit what waited for others, or give it up; whether there was any."""
        before = len(self.held)
        for asked in list(self.held):
            now = seen(self._state, [job for job, _ in asked.after])
            pairs = zip(now, asked.after, strict=True)
            verdicts = [met(job, how) for job, (_, how) in pairs]
            if False in verdicts:
                self.held.remove(asked)
                self._skip(asked, asked.after[verdicts.index(False)][0].job)
            elif None not in verdicts:
                self.held.remove(asked)
                self._open(asked.run, [asked])
        return len(self.held) < before

    def _wait(self, asked: Asked) -> JobInfo:
        """Have the scheduler hold a job until others are done; else keep it."""
        asked.name = self._free_name(asked.order, [])
        runs = {job.run for job, _ in asked.after}
        if len(runs) == 1 and all(how == "ok" for _, how in asked.after):
            asked.run = runs.pop()
            if self._extended(asked):
                self.step(look=False)
                return seen(self._state, [asked.info(self._folder)])[0]
        asked.run = self._reserve([asked])
        self.held.append(asked)
        return asked.info(self._folder)

    def _extended(self, asked: Asked) -> bool:
        """Add a job to a run that goes on, behind jobs of it; False: there is no such run."""
        write_script(asked.order)
        site = self.moving()[0].site(asked.order.alias)
        line = line_of(asked.order, asked.name, site)
        with self._state.locked():
            if cluster_runs.ended(self._state, asked.run) is not None:
                return False
            try:
                plan = read_plan(self._state.home, asked.run)
            except HpcmakeError:
                return False
            needed = {job.job for job, _ in asked.after}
            after = [each for each in plan if each.job in needed]
            if len(after) < len(needed):
                return False
            line["after"] = [each.number for each in after]
            line["needs"] = [[each.number, each.job, _shared(each, line)] for each in after]
            extend_plan(self._state.home, asked.run, [line])
            cluster_runs.open_run(self._state, asked.run, [_claim(line)])
        return True

    def _submit(self, asked: Sequence[Asked]) -> None:
        """Submit orders as one run."""
        taken: list[str] = []
        try:
            for each in asked:
                each.name = self._free_name(each.order, taken)
                taken.append(each.name)
            run = self._reserve(asked)
        except HpcmakeError as error:
            for each in asked:
                fail(each.told, error)
            return
        for each in asked:
            each.run = run
        self._open(run, asked)

    def _open(self, run: int, asked: Sequence[Asked]) -> None:
        """Plan, claim and submit orders of a run; each is answered."""
        good, lines = [], []
        try:
            clusters = self.moving()[0]
            for each in asked:
                try:
                    write_script(each.order)
                    lines.append(line_of(each.order, each.name, clusters.site(each.order.alias)))
                    good.append(each)
                except (HpcmakeError, OSError) as error:
                    fail(each.told, error)
            self._open_run(run, lines, good)
        except HpcmakeError as error:
            with suppress(HpcmakeError):
                cluster_runs.cancel(self._state, run)
                cluster_runs.end_run_if_over(self._state, run)
            for each in good:
                fail(each.told, error)

    def _open_run(self, run: int, lines: list[dict[str, Any]], asked: Sequence[Asked]) -> None:
        """Raises: HpcmakeError"""
        if not asked:
            cluster_runs.end_run_if_over(self._state, run)
            return
        write_plan(self._state.home, run, lines)
        watched(run)  # or another process of the data flow might see to it as well
        claimed = cluster_runs.open_run(self._state, run, list(map(_claim, lines)))
        take_over(self._state, claimed.dead, run)
        self.mine.add(run)
        step = self.step(look=False)
        if not cluster_runs.was_submitted(self._state, run):
            for error in step.away.values():
                raise error
        found = seen(self._state, [each.info(self._folder) for each in asked])
        for each, info in zip(asked, found, strict=True):
            LOG.info("%s: %s on %s %s", info.job, info.state, info.cluster, info.id)
            answer(each.told, lambda info=info: info)  # type: ignore[misc]

    def _reserve(self, asked: Sequence[Asked]) -> int:
        """A run for orders. Raises: HpcmakeError"""
        self.moving()
        alias = asked[0].order.alias
        targets = tuple(dict.fromkeys(each.order.rule for each in asked))
        options = options_for(alias, self._options, latency_s(alias, self._folder))
        info = RunInfo("data flow", targets, options)
        return cluster_runs.reserve_run(self._state, info, alias)

    def _free_name(self, order: Order, taken: Sequence[str]) -> str:
        """The name of a job; another one where somebody who lives waits for one like it.

        Where its submitter died it is the same job, and is not submitted twice.
        """
        first = name = order.name
        number = 1
        while name in taken or self._is_taken(name):
            number += 1
            name = f"{first}-{number}"
        return name

    def _is_taken(self, name: str) -> bool:
        if any(each.name == name for each in self.held):
            return True
        run = flows.holder(self._state, name)
        if run is None or flows.submitter_lives(self._state, run):
            return run is not None
        self.mine.add(run)  # nobody else sees to it any more
        return False

    def _skip(self, asked: Asked, because: str) -> None:
        order = asked.order
        claim = JobToClaim(asked.name, order.rule, order.wildcards(asked.name))
        cluster_runs.open_run(self._state, asked.run, [claim])
        cluster_runs.skip(self._state, asked.run, {asked.name: because})
        cluster_runs.end_run_if_over(self._state, asked.run)

    def cancel(self, job: JobInfo) -> None:
        """Stop a job. Raises: HpcmakeError"""
        held = [each for each in self.held if (each.run, each.name) == (job.run, job.job)]
        if held:
            self.held.remove(held[0])
            cluster_runs.end_run_if_over(self._state, job.run)
            return
        stop(self._state, self.moving()[0], job.run, [job.job])
        self.step(look=True)

    def validate(self, order: Order) -> JobInfo:
        """Whether its scheduler would take a job; nothing is submitted. Raises: HpcmakeError"""
        site = self.moving()[0].site(order.alias)
        ask = Ask("check", "true\n", request_of(order, site), self._folder, os.devnull)
        path = site.script_path("check")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_text(site.scheduler.script(ask), encoding="utf-8")
        try:
            found = site.validate(ask, site.there(path))
        finally:
            os.unlink(path)
        job = Asked(order, name=order.name).info(self._folder)
        if found is None:
            words = f"{site.settings.scheduler} cannot be asked without submitting"
            return replace(job, message=words)
        if found.code == 0:
            return replace(job, message=words_of(found))
        return replace(job, state="failed", failure="submit", message=words_of(found))


def _claim(line: dict[str, Any]) -> JobToClaim:
    return JobToClaim(line["job"], line["rule"], line["wildcards"], line["priority"])


def _missing(asked: Asked) -> list[str]:
    """The inputs of an order that are not there, and that nothing makes which it waits for."""
    coming = {path for job, _ in asked.after for path in job.outputs}
    paths = asked.order.inputs_files
    return [path for path in paths if path not in coming and not os.path.exists(path)]


def _shared(needed: Any, line: dict[str, Any]) -> list[str]:
    """The inputs of a line that a needed job makes."""
    inputs = line["attempts"][0]["spec"]["inputs"]
    return [path for path in needed.details()["outputs"] if path in inputs]


def warn(problem: Problem) -> None:
    """Log a warning."""
    LOG.warning("%s", render(problem))
