"""The parts of jobs that run on this machine: in the pool as jobs are, their job ended by the last.

Nothing of them is in the state: what is killed with its build is run again as a whole.
"""

# Paths are text here.

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import run as messages
from buildhpc.run import outputs, parts
from buildhpc.run.attempts import Running
from buildhpc.run.pool import Pool
from buildhpc.run.spec import Failure, JobSpec, Outcome, Recipe
from buildhpc.run.waiting import Work
from buildhpc.state.logs import beside


@dataclass(slots=True, eq=False)
class Group:
    """A job that spawned.

    spec: of its attempt. folder: where its parts say that they are done. left: parts that are
    not done. failure: of the first part that failed for good.
    """

    task: int
    spec: JobSpec
    outcome: Outcome
    folder: str
    count: int
    left: set[int]
    tried: dict[int, int] = field(default_factory=dict)
    running: int = 0
    failure: Outcome | None = None


class LocalParts:
    """The parts of all jobs that spawned and are not over.

    Where the pool has tasks they go by numbers below 0: a plan may grow.
    """

    def __init__(self, work: Work, pool: Pool, scratch: str, keep_incomplete: bool) -> None:
        self._work = work
        self._pool = pool
        self._scratch = scratch
        self._keep_incomplete = keep_incomplete
        self._next = -1
        self._parts: dict[int, tuple[Group, int]] = {}
        self._groups: list[Group] = []

    def __bool__(self) -> bool:
        return bool(self._groups)

    def __contains__(self, task: int) -> bool:
        return task in self._parts

    def spawn(self, running: Running, outcome: Outcome) -> None:
        """Let the parts that a job asked for take part."""
        asked: Mapping[str, Any] = running.spawned or {}
        spec, count = running.spec, int(asked["parts"])
        if asked.get("command"):
            spec = replace(spec, recipe=Recipe("shell", asked["command"]))
        folder = os.path.join(self._scratch, f"parts-{running.grant.task}-{spec.attempt}")
        shutil.rmtree(folder, ignore_errors=True)
        group = Group(running.grant.task, spec, outcome, folder, count, set(range(count)))
        self._groups.append(group)
        for number in range(count):
            self._offer(group, number)

    def _offer(self, group: Group, number: int) -> None:
        group.tried[number] = group.tried.get(number, 0) + 1
        self._parts[self._next] = (group, number)
        try:
            needs = self._work.needs(group.task, group.tried[number])
        except HpcmakeError:
            needs = group.spec.needs
        if self._pool.fits_ever(needs) is not None:
            needs = group.spec.needs
        self._pool.add(self._next, needs, self._work.priority(group.task))
        self._next -= 1

    def spec(self, task: int) -> JobSpec | None:
        """What a part is to run; None: its job has failed, and nothing more of it starts.

        Raises: OSError
        """
        group, number = self._parts[task]
        if group.failure is not None:
            del self._parts[task]
            return None
        parts.begin(group.folder, number)
        which = {"number": number, "count": group.count}
        own = {**which, "folder": os.path.abspath(group.folder), "done": []}
        spec = group.spec
        return replace(
            spec,
            attempt=group.tried[number],
            outputs=(),
            log=spec.log if spec.own_log else None,
            data={**spec.data, "part": own},
        )

    def started(self, task: int) -> None:
        """A part began."""
        self._parts[task][0].running += 1

    def ended(self, task: int, outcome: Outcome, *, may_retry: bool) -> None:
        """A part ended, or could not be started."""
        group, number = self._parts.pop(task)
        _keep_log(group, number, outcome)
        group.outcome = replace(
            group.outcome,
            cpu_s=group.outcome.cpu_s + outcome.cpu_s,
            peak_mib=max(group.outcome.peak_mib, outcome.peak_mib),
        )
        if outcome.state == "done":
            outcome = self._done(group, number, outcome)
        if outcome.state == "done":
            return
        tried = group.tried[number]
        kind = outcome.failure
        if may_retry and kind is not None and self._work.retries(group.task, kind, tried):
            self._offer(group, number)
        elif group.failure is None:
            text = messages.part_failed(number, group.count, outcome.message)
            group.failure = replace(outcome, message=text)

    def leave(self, task: int) -> None:
        """A part that runs no more; to be called before `ended`."""
        self._parts[task][0].running -= 1

    def _done(self, group: Group, number: int, outcome: Outcome) -> Outcome:
        """The outcome of a part whose recipe ended well: the last one finishes the job."""
        group.left.discard(number)
        try:
            if not parts.say_done(group.folder, number, group.count):
                return outcome
        except OSError as error:
            failure: Failure | None = Failure("launch", error.strerror or str(error))
        else:
            failure = outputs.look(group.spec) or outputs.finish(group.spec)
        if failure is None:
            return outcome
        return replace(outcome, state="failed", failure=failure.kind, message=failure.text)

    def over(self, *, stopping: bool) -> list[tuple[int, JobSpec, Outcome]]:
        """The jobs whose parts are all over: task, spec, outcome; each is told once.

        stopping: no part that waits will start.
        """
        found = []
        for group in list(self._groups):
            failed = group.failure is not None or stopping
            if group.running or (group.left and not failed):
                continue
            self._groups.remove(group)
            found.append((group.task, group.spec, self._outcome(group)))
            shutil.rmtree(group.folder, ignore_errors=True)
        return found

    def _outcome(self, group: Group) -> Outcome:
        outcome = replace(group.outcome, ended_s=time.time())
        if group.failure is None and not group.left:
            return replace(outcome, state="done")
        text = messages.parts_left(len(group.left), group.count)
        why = group.failure or Outcome("cancelled", message=text)
        message = why.message
        if not self._keep_incomplete:
            message += outputs.remove_leftovers(group.spec)
        return replace(
            outcome,
            state=why.state,
            failure=why.failure,
            exit_code=why.exit_code,
            signal=why.signal,
            message=message,
        )


def _keep_log(group: Group, number: int, outcome: Outcome) -> None:
    """Add what a part printed to what its job did."""
    if outcome.log is None:
        return
    if group.outcome.log is None:
        group.outcome = replace(group.outcome, log=f"{group.folder}.log")
    kept = str(group.outcome.log)
    _append(group, number, outcome.log, kept)
    if outcome.err_at is not None:
        _append(group, number, beside(outcome.log), beside(kept))


def _append(group: Group, number: int, log: str, kept: str) -> None:
    with contextlib.suppress(OSError), open(log, "rb") as file:
        with open(kept, "ab") as whole:
            if os.fstat(file.fileno()).st_size:
                whole.write(f"part {number} of {group.count}:\n".encode())
                shutil.copyfileobj(file, whole)
        os.unlink(log)
