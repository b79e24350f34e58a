"""A part on its node, and the job that it is a part of: the last part ends that job."""

# Paths are text here, and this runs once for every part.

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from buildhpc.messages import runner as messages
from buildhpc.plan.stamps import Stamp
from buildhpc.run import outputs, parts
from buildhpc.run.inputs import Seen
from buildhpc.run.manifest import Header, Planned
from buildhpc.run.spec import Failure, JobSpec, Outcome
from buildhpc.state.receipts import Ended, Key, Runner


class Whole:
    """The job of a part.

    part: as `Planned.part` has it. spec: of the part, as it is in the plan.
    """

    def __init__(self, header: Header, job: Planned, spec: JobSpec) -> None:
        assert job.part is not None
        self._header = header
        self._part: Mapping[str, Any] = job.part
        self._spec = spec
        which = f"{self._part['of']}-{self._part['attempt']}-{self._part['id']}"
        self.folder = os.path.join(header.home, f"run-{header.run}", f"parts-{which}")

    def _which(self) -> dict[str, int]:
        return {name: self._part[name] for name in ("number", "count")}

    def begin(self) -> Seen:
        """Let the part begin; what the inputs of the job were when it began. Raises: OSError"""
        parts.begin(self.folder, self._part["number"])
        seen = self._part["inputs"]
        stamps = [Stamp(*seen[path]) for path in self._spec.inputs]
        return Seen(tuple(stamps), dict(self._part["hashes"]))

    def bare(self) -> JobSpec:
        """The part as it runs: the outputs are the job's, and not touched before or after it."""
        folder = os.path.abspath(self.folder)
        own = {**self._which(), "folder": folder, "done": list(self._part["done"])}
        return replace(self._spec, outputs=(), data={**self._spec.data, "part": own})

    def job(self, planned: Planned) -> Planned:
        """The job itself, as far as the record of it hangs on the plan."""
        part = self._part
        return replace(planned, restore=part["restore"], content=part["content"])

    def spec(self) -> JobSpec:
        """The job itself as it is in the plan."""
        return replace(self._spec, name=self._part["job"])

    def is_last(self) -> bool:
        """Say that the part is done; whether it is the one that ends the job. Raises: OSError"""
        return parts.say_done(self.folder, **self._which(), known=self._part["done"])

    def finish(self) -> Failure | None:
        """What is wrong with the outputs of the job; None: they are finished."""
        return outputs.verify(self._spec, self._header.latency_s) or outputs.finish(self._spec)

    def ended(self, runner: Runner, last: Outcome, found: Mapping[str, Any]) -> Ended:
        """That the job is done. last: how its last part ended. found: what to remember of it."""
        part = self._part
        key = Key(self._header.run, part["of"], part["attempt"], part["restart"])
        runner = runner._replace(submission=part["submission"], element=part["element"])
        return Ended(key, part["job"], runner, self._over(last), recipe=part["recipe"], **found)

    def _over(self, last: Outcome) -> Outcome:
        if path := self._part["benchmark"]:
            outputs.write_benchmark(path, replace(last, started_s=self._part["started_s"]))
        return replace(last, message="", ended_s=time.time(), log=None)


def failed(last: Outcome, failure: Failure) -> Outcome:
    """The outcome of the last part where the outputs of the job are not as they should be."""
    return replace(last, state="failed", failure=failure.kind, message=failure.text)


def untold(last: Outcome, why: str) -> Outcome:
    """The outcome of the last part where nobody can be told that the job is done."""
    return failed(last, Failure("launch", messages.inbox_unwritable("inbox", why)))
