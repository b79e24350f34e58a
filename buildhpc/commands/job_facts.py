"""What is known of a job, ready for JSON: by its Pipefile and the state, or by the state alone."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from buildhpc.diagnostics import HpcmakeError

if TYPE_CHECKING:
    from buildhpc.commands.lookup import Finder, Meant
    from buildhpc.plan.model import Job
    from buildhpc.plan.stamps import Record, Stamp
    from buildhpc.run.spec import JobSpec
    from buildhpc.state.database import State
    from buildhpc.state.queries import AttemptRow, JobRow


def facts_of(finder: Finder, meant: Meant) -> dict[str, Any]:
    """What is known of the job, ready for JSON. Raises: HpcmakeError."""
    from buildhpc.state.queries import Where, jobs

    job = one_of(meant)
    state = finder.state
    step = next((step for step in meant.plan.steps if step.job is job), None)
    rows = jobs(state, Where(name=job.name)) if state else []
    return {
        "job": job.name,
        "rule": job.rule.task,
        "place": job.rule.span.place,
        "wildcards": dict(zip(job.rule.wildcards, job.values, strict=True)),
        "state": rows[0].state if rows else None,
        "fresh": step is None,
        "reason": step.reason.text if step else None,
        "scheduler": _at_scheduler(state, job.name) if state else None,
        **_files(job, meant, meant.evidence.records.get(job.name)),
        **_work(finder, job),
        "attempts": _attempts(state, job.name) if state else [],
    }


def known_facts(state: State, job: JobRow) -> dict[str, Any]:
    """The same of a job that no Pipefile tells of; what only that could say is None."""
    from buildhpc.state.flows import is_of_flow

    flow = is_of_flow(job.wildcards)
    record: Record | None = state.record([job.name]).get(job.name)
    return {
        "job": job.name,
        "rule": None if flow else job.rule,
        "place": None,
        "node": job.wildcards["node"] if flow else None,
        "wildcards": {} if flow else dict(job.wildcards),
        "state": job.state,
        "fresh": None,
        "reason": None,
        "scheduler": _at_scheduler(state, job.name),
        **_known_files(record),
        **_known_work(state, job.name, record),
        "attempts": _attempts(state, job.name),
    }


def _known_files(record: Record | None) -> dict[str, Any]:
    """Inputs and outputs as they are now, and as they were when the job ended well."""
    from buildhpc import disk

    if record is None:
        return {"inputs": [], "outputs": []}
    then = {
        "inputs": dict(zip(record.inputs, record.input_stamps, strict=False)),
        "outputs": dict(zip(record.outputs, record.output_stamps, strict=False)),
    }
    now = {path: disk.look(path) for those in then.values() for path in those}
    return {
        name: [{**_file(path, now[path], now[path], those), "flags": []} for path in those]
        for name, those in then.items()
    }


def _known_work(state: State, name: str, record: Record | None) -> dict[str, Any]:
    """What the job asked for, and ran, when it was tried last."""
    from buildhpc.state import queries

    tried = queries.attempts(state, name)
    if not tried:
        return {"unknown": "it has not begun"}
    used = tried[-1].used
    text = state.recipe_text(record.recipe) if record is not None and record.recipe else None
    needs = {"cores": used.cores or 1, "mem_mib": used.mem_mib, "time_s": used.time_s}
    return {
        "needs": {**needs, "gpus": 0, "resources": []},
        "software": {},
        "env": {},
        "log": tried[-1].log_path,
        "recipe": {"kind": "command", "text": text or tried[-1].command, "arguments": {}},
    }


def _at_scheduler(state: State, job: str) -> dict[str, Any] | None:
    """Where a scheduler has or had the job, and what it says of it now."""
    from dataclasses import asdict

    from buildhpc.state.overview import submitted

    found = submitted(state, job)
    if found is None:
        return None
    shown = None
    if found.state in ("queued", "running") and found.scheduler_id is not None:
        from buildhpc.commands.queues import queue_of

        shown = (queue_of(state, found.run, found.cluster) or {}).get(found.scheduler_id)
    said = {"queue": shown.state, "reason": shown.reason} if shown else {}
    return {**asdict(found), "queue": None, "reason": None, **said}


def _files(job: Job, meant: Meant, record: Record | None) -> dict[str, Any]:
    """Inputs and outputs with what they are now and what they were when the job last ran."""
    from buildhpc.plan.stale import identity

    now = meant.evidence.disk
    then_in: Mapping[str, Stamp | None] = {}
    then_out: Mapping[str, Stamp | None] = {}
    if record is not None:
        then_in = dict(zip(record.inputs, record.input_stamps, strict=False))
        then_out = dict(zip(record.outputs, record.output_stamps, strict=False))
    flags = [pattern.flags for pattern in job.rule.patterns()]
    inputs = []
    for path in dict.fromkeys(job.inputs):
        maker = meant.graph.maker.get(path)
        named = [
            name
            for name, those in (("ancient", job.ancient), ("content", job.content))
            if path in those
        ]
        there = now.get(path)
        known = identity(path, there, meant.evidence) if there else None
        facts = {"flags": named, "made_by": maker.name if maker else None}
        inputs.append({**_file(path, there, known, then_in), **facts})
    outputs = [
        {**_file(path, now.get(path), now.get(path), then_out), "flags": list(flag)}
        for path, flag in zip(job.outputs, flags, strict=True)
    ]
    return {"inputs": inputs, "outputs": outputs}


def _file(
    path: str, now: Stamp | None, known: Stamp | None, then: Mapping[str, Stamp | None]
) -> dict[str, Any]:
    """A file as it is now and was recorded. known: what it is known by, see `stale.identity`."""
    return {
        "path": str(path),
        "now": _stamp(now),
        "recorded": _stamp(then.get(path)),
        "changed": path in then and known != then[path],
    }


def _stamp(stamp: Stamp | None) -> dict[str, Any] | None:
    from buildhpc.plan.stale import shown

    if stamp is None:
        return None
    return {"size": stamp.size, "mtime_ns": stamp.mtime_ns, "text": shown(stamp)}


def _work(finder: Finder, job: Job) -> dict[str, Any]:
    """What the job would run now, and what it needs; what cannot be told yet says why."""
    from dataclasses import asdict

    from buildhpc.run.describe import Describer

    describer = Describer(finder.project.pipeline, "show", lambda _: "LIST-OF-INPUTS")
    try:
        needs = describer.needs(job, 1)
        spec: JobSpec = describer.spec(job, 1, {"cores": needs.cores})
    except HpcmakeError as error:
        return {"unknown": error.problems[0].text}
    return {
        "needs": asdict(needs),
        "software": {name: value for name, value in asdict(spec.software).items() if value},
        "env": dict(spec.env),
        "log": spec.log,
        "recipe": {
            "kind": spec.recipe.kind,
            "text": spec.recipe.text,
            "arguments": dict(spec.recipe.arguments),
        },
    }


def _log_bytes(state: State, row: AttemptRow) -> int:
    """How much an attempt printed."""
    from buildhpc.state import queries

    if row.log_path is None:
        return len(queries.log_text(state, row.id).encode())
    size = 0
    for path in filter(None, (row.log_path, row.err_path)):
        with suppress(OSError):
            size += (state.folder / path).stat().st_size
    return size


def _attempts(state: State, name: str) -> list[dict[str, Any]]:
    """How each attempt of a job went, oldest first."""
    from buildhpc.state import notes, queries

    rows = queries.attempts(state, name)
    said = notes.said(state, [row.id for row in rows])
    return [_attempt(state, row, said.get(row.id, {})) for row in rows]


def _attempt(state: State, row: AttemptRow, said: Mapping[str, Any]) -> dict[str, Any]:
    used = row.used
    wall_s = None
    if used.started_s is not None and used.ended_s is not None:
        wall_s = max(0.0, used.ended_s - used.started_s)
    return {
        "run": row.run,
        "number": row.number,
        "state": row.state,
        "failure": row.failure,
        "message": row.message,
        "exit_code": row.exit_code,
        "signal": row.signal,
        "started_s": used.started_s,
        "ended_s": used.ended_s,
        "wall_s": wall_s,
        "cpu_s": used.cpu_s,
        "peak_mib": used.peak_mib,
        "cores": used.cores,
        "mem_mib": used.mem_mib,
        "time_s": used.time_s,
        "host": used.host,
        "pid": used.pid,
        "scheduler_id": used.scheduler_id,
        "log_bytes": _log_bytes(state, row),
        "log_path": row.log_path,
        "err_path": row.err_path,
        "values": said,
    }


def one_of(meant: Meant) -> Job:
    """The job that is meant. Raises: HpcmakeError where it is not one."""
    from buildhpc.messages import call

    if not meant.jobs:
        raise call.no_job(meant.path or "")
    job = meant.jobs[0]
    if len(meant.jobs) > 1:
        raise call.many_jobs(job.rule.name, len(meant.jobs), job.outputs[0])
    return job
