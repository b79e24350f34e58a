"""Which jobs of a plan may turn out not to be needed once what they wait for is done.

So it is where that was not needed either, or where inputs are compared by content and have the
bytes they had.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from buildhpc.plan.model import Step
from buildhpc.plan.stale import Evidence


def before(
    step: Step, evidence: Evidence, read: Collection[str], unneeded: Collection[str]
) -> dict[str, Any] | None:
    """What a job's files were, for who looks once it could start; None: it will be needed for sure.

    read: the files that the jobs of the plan read. unneeded: the jobs of the plan that may turn
    out not to be needed.
    """
    job, record = step.job, evidence.records.get(step.job.name)
    by_content = evidence.content or bool(job.content)
    if step.reason.kind != "upstream" or record is None or not job.outputs:
        return None
    waits = remade(step, evidence)
    if not (by_content or all(name in unneeded for name in waits)):
        return None
    if any(path in read and path not in evidence.disk for path in job.temp):
        return None
    recorded = dict(zip(record.inputs, record.input_stamps, strict=True))
    inputs = {}
    for path in job.inputs:
        if path not in job.ancient:
            known = (recorded.get(path), evidence.disk.get(path))
            inputs[str(path)] = [list(stamp) for stamp in known if stamp is not None]
    return {
        "by_content": by_content,
        "waits": waits,
        "inputs": inputs,
        "hashes": {path: known for path, known in record.hashes.items() if path in inputs},
        "outputs": {path: evidence.disk.get(path) for path in job.outputs},
    }


def remade(step: Step, evidence: Evidence) -> list[str]:
    """The jobs that a step waits for, and that count: not those of its `ancient` inputs alone."""
    if not step.job.ancient:
        return list(step.after)
    read = [path for path in step.job.inputs if path not in step.job.ancient]
    counted = {evidence.makers[path].name for path in read if path in evidence.makers}
    return [name for name in step.after if name in counted]
