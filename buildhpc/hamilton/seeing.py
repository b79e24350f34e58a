"""What the state knows of the jobs of nodes, as nodes are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from buildhpc.hamilton.jobs import JobInfo
from buildhpc.state import flows
from buildhpc.state.database import State
from buildhpc.state.flows import Seen


def seen(state: State, jobs: Sequence[JobInfo]) -> list[JobInfo]:
    """Jobs as they are now, in their order."""
    found: dict[tuple[int, str], Seen] = {}
    for run in {job.run for job in jobs}:
        names = [job.job for job in jobs if job.run == run]
        found.update(((run, name), each) for name, each in flows.seen(state, run, names).items())
    return [_as_seen(job, found[job.run, job.job]) for job in jobs]


def _as_seen(job: JobInfo, now: Seen) -> JobInfo:
    tried = now.attempt
    if tried is None:
        return replace(job, state=now.state, message=now.words)
    return replace(
        job,
        cluster=job.cluster or now.cluster,
        command=job.command or tried.command,
        state=now.state,
        failure=tried.failure or "",
        message=tried.message,
        exit_code=tried.exit_code,
        used=tried.used,
        attempt=tried.id,
    )


def met(job: JobInfo, how: str) -> bool | None:
    """Whether a condition on a job is met, one of `keywords.CONDITIONS`; None: that is open."""
    if how == "start":
        began = job.state == "running" or (job.used.started_s is not None and job.done())
        return True if began else False if job.done() else None
    if not job.done():
        return None
    return {"ok": job.ok, "any": True, "notok": not job.ok}[how]
