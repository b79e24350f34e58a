"""Commands on this machine that make files are written down, as jobs are: caches ask for them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from buildhpc import disk
from buildhpc.diagnostics import HpcmakeError
from buildhpc.hamilton.plans import Order
from buildhpc.plan.recipe import digest_of
from buildhpc.plan.stamps import Record
from buildhpc.run.spec import JobSpec, Outcome, OutputFile, Recipe
from buildhpc.state.claims import JobToClaim
from buildhpc.state.database import open_state
from buildhpc.state.recorder import Recorder, RunInfo


@contextmanager
def recorded(order: Order) -> Iterator[None]:
    """Write down that a command runs, and how it ended. Raises: HpcmakeError"""
    name = order.name
    with closing(open_state(Path.cwd())) as state:
        recorder = Recorder(state, RunInfo("data flow", (order.rule,)))
        claimed = recorder.claim([JobToClaim(name, order.rule, order.wildcards(name))])
        if name not in claimed.mine:
            recorder.end("done")  # nothing of it is this one's
            yield  # another one runs the same, and writes that down
            return
        spec = _spec(order, name)
        inputs = tuple(map(disk.look, spec.inputs))
        started_s = time.time()
        recorder.started(spec, os.getpid())
        recorder.flush()
        try:
            yield
        except BaseException as error:
            failed = Outcome("failed", "exit", message=_words(error), started_s=started_s)
            recorder.ended(spec, _ended(failed))
            recorder.end("failed")
            raise
        text = spec.recipe.text
        outputs = tuple(map(disk.look, order.outputs))
        record = Record(
            "done", "", digest_of(text), spec.inputs, inputs, order.outputs, outputs, {}
        )
        done = Outcome("done", exit_code=0, started_s=started_s)
        recorder.ended(spec, _ended(done), record, text)
        recorder.end("done")


def _spec(order: Order, name: str) -> JobSpec:
    outputs = tuple(map(OutputFile, order.outputs))
    recipe = Recipe("shell", order.text)
    return JobSpec(name, order.rule, 1, order.inputs_files, outputs, recipe)


def _words(error: BaseException) -> str:
    return error.problems[0].text if isinstance(error, HpcmakeError) else type(error).__name__


def _ended(outcome: Outcome) -> Outcome:
    return replace(outcome, ended_s=time.time())
