"""Which job makes which path; no path has two that do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from buildhpc.messages import plan as messages
from buildhpc.plan.model import Job


def makers_of(jobs: Sequence[Job], *, folders: bool) -> dict[str, Job]:
    """Path -> the job that makes it.

    folders: some outputs are folders. Raises: messages.two_makers
    """
    makers: dict[str, Job] = {}
    for job in jobs:
        for path in job.outputs:
            other = makers.setdefault(path, job)
            if other is not job:
                first, second = (other.name, other.rule.span), (job.name, job.rule.span)
                raise messages.two_makers(path, first, second)
    if folders:
        _check_folders(jobs, makers)
    return makers


def _check_folders(jobs: Sequence[Job], makers: Mapping[str, Job]) -> None:
    """Whether a job writes into the folder that another makes. Raises: messages.two_makers."""
    folders = {
        path: job
        for job in jobs
        for path, pattern in zip(job.outputs, job.rule.patterns(), strict=True)
        if "directory" in pattern.flags
    }
    for path, job in makers.items():
        above = path.rpartition("/")[0]
        while above:
            other = folders.get(above)
            if other is not None and other is not job:
                first, second = (job.name, job.rule.span), (other.name, other.rule.span)
                raise messages.two_makers(path, first, second)
            above = above.rpartition("/")[0]
