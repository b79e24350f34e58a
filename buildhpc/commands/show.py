"""Everything known of a job: its rule, files, needs, command, state and attempts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from buildhpc.diagnostics import HpcmakeError
from buildhpc.show.text import (
    COLOUR_OF_STATE,
    Paint,
    clock,
    columns,
    one_line,
    painter,
    said_text,
)

if TYPE_CHECKING:
    from buildhpc.commands.lookup import Finder, Meant
    from buildhpc.plan.model import Job
    from buildhpc.plan.stamps import Record, Stamp
    from buildhpc.run.spec import JobSpec
    from buildhpc.state.database import State
    from buildhpc.state.queries import AttemptRow

_FILES = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `show`."""
    from buildhpc.commands.common import cluster_option, where_argument

    add = parser.add_argument
    add("job", nargs="*", metavar="JOB", help="the name of a job, a file, or a rule with one job")
    where_argument(parser)
    add("--script", action="store_true", help="print the job script that a cluster would get")
    add("--cluster", metavar="NAME", help="which one; default: where the job was, or its rule says")
    cluster_option(parser)
    add("--json", action="store_true", help="as one JSON document")
    add("--parts", action="store_true", help="how the parts are of a job that spawned")
    add("--self", action="store_true", help="the job that calls this; writes nothing")


def run(args: argparse.Namespace) -> int:
    """Tell all that is known of each job. Raises: HpcmakeError."""
    from buildhpc.commands import own_show, parts_show
    from buildhpc.commands.common import fold_receipts
    from buildhpc.commands.lookup import Finder

    if args.self or args.parts:
        return own_show.show_self(args) if args.self else parts_show.show_parts(args)
    fold_receipts()
    finder = Finder.of(args)
    paint = painter(sys.stdout)
    for number, meant in enumerate(_meant(args, finder)):
        if args.script:
            from buildhpc.commands.job_script import job_script

            print(job_script(args, finder, _one(meant)), end="")
            continue
        facts = _facts(finder, meant)
        if args.json:
            import json

            print(json.dumps(facts, indent=2, default=str))
            continue
        if number:
            print()
        for line in _lines(facts, paint):
            print(line)
    return 0


def _meant(args: argparse.Namespace, finder: Finder) -> list[Meant]:
    """The jobs that are to be told of, each by itself. Raises: HpcmakeError."""
    from buildhpc.commands.common import condition_of
    from buildhpc.messages import call
    from buildhpc.messages import commands as messages
    from buildhpc.state import queries

    if args.where is None:
        if not args.job:
            raise messages.no_jobs_named("show")
        return finder.all(args.job)
    if finder.state is None:
        raise call.no_state()
    where = queries.Where(condition=condition_of(args, finder.state))
    names = [job.name for job in queries.jobs(finder.state, where)]
    if args.job:
        named = {job.name for meant in finder.all(args.job) for job in meant.jobs}
        names = [name for name in names if name in named]
    return finder.named(names)


def _one(meant: Meant) -> Job:
    """The job that is meant. Raises: HpcmakeError where it is not one."""
    from buildhpc.messages import call

    if not meant.jobs:
        raise call.no_job(meant.path or "")
    job = meant.jobs[0]
    if len(meant.jobs) > 1:
        raise call.many_jobs(job.rule.name, len(meant.jobs), job.outputs[0])
    return job


def _facts(finder: Finder, meant: Meant) -> dict[str, Any]:
    """What is known of the job, ready for JSON. Raises: HpcmakeError."""
    from buildhpc.state import notes, queries

    job = _one(meant)
    step = next((step for step in meant.plan.steps if step.job is job), None)
    rows = queries.jobs(finder.state, queries.Where(name=job.name)) if finder.state else []
    attempts = queries.attempts(finder.state, job.name) if finder.state else []
    said = notes.said(finder.state, [each.id for each in attempts]) if finder.state else {}
    return {
        "job": job.name,
        "rule": job.rule.task,
        "place": job.rule.span.place,
        "wildcards": dict(zip(job.rule.wildcards, job.values, strict=True)),
        "state": rows[0].state if rows else None,
        "fresh": step is None,
        "reason": step.reason.text if step else None,
        "scheduler": _at_scheduler(finder, job),
        **_files(job, meant, meant.evidence.records.get(job.name)),
        **_work(finder, job),
        "attempts": [_attempt(finder, each, said.get(each.id, {})) for each in attempts],
    }


def _at_scheduler(finder: Finder, job: Job) -> dict[str, Any] | None:
    """Where a scheduler has or had the job, and what it says of it now."""
    from dataclasses import asdict

    from buildhpc.state.overview import submitted

    found = submitted(finder.state, job.name) if finder.state else None
    if found is None or finder.state is None:
        return None
    shown = None
    if found.state in ("queued", "running") and found.scheduler_id is not None:
        from buildhpc.commands.queues import queue_of

        shown = (queue_of(finder.state, found.run, found.cluster) or {}).get(found.scheduler_id)
    said = {"queue": shown.state, "reason": shown.reason} if shown else {}
    return {**asdict(found), "queue": None, "reason": None, **said}


def _scheduler_line(told: Mapping[str, Any]) -> str:
    id_ = told["scheduler_id"] or "about to be submitted"
    parts = [f"{told['cluster']} job {id_}", f"named {told['name']}"]
    parts += [f"on {told['host']}"] if told["host"] else []
    parts += [f"{told['queue']} as it says"] if told["queue"] else []
    parts += [told["reason"]] if told["reason"] and told["queue"] != "running" else []
    return ", ".join(parts)


def _files(job: Job, meant: Meant, record: Record | None) -> dict[str, Any]:
    """Inputs and outputs with what they are now and what they were when the job last ran."""
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
        inputs.append(
            {
                **_file(path, now.get(path), path in then_in, then_in.get(path), named),
                "made_by": maker.name if maker else None,
            }
        )
    outputs = [
        _file(path, now.get(path), path in then_out, then_out.get(path), list(flag))
        for path, flag in zip(job.outputs, flags, strict=True)
    ]
    return {"inputs": inputs, "outputs": outputs}


def _file(
    path: str, now: Stamp | None, recorded: bool, then: Stamp | None, flags: Sequence[str]
) -> dict[str, Any]:
    return {
        "path": str(path),
        "flags": flags,
        "now": _stamp(now),
        "recorded": _stamp(then) if recorded else None,
        "changed": recorded and now != then,
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


def _log_bytes(state: State | None, row: AttemptRow) -> int:
    """How much an attempt printed."""
    from buildhpc.state import queries

    if state is None:
        return 0
    if row.log_path is None:
        return len(queries.log_text(state, row.id).encode())
    with suppress(OSError):
        return (state.folder / row.log_path).stat().st_size
    return 0


def _attempt(finder: Finder, row: AttemptRow, said: Mapping[str, Any]) -> dict[str, Any]:
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
        "log_bytes": _log_bytes(finder.state, row),
        "log_path": row.log_path,
        "values": said,
    }


def _lines(facts: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    """The same for people."""
    yield paint("bold", facts["job"])
    rows = [("  rule", f"{facts['rule']}, {facts['place']}")]
    rows += [("  wildcard", f"{name} = {value}") for name, value in facts["wildcards"].items()]
    fresh = paint("green", "fresh") if facts["fresh"] else paint("yellow", "stale")
    last = facts["state"] or "never ran"
    why = f": {facts['reason']}" if facts["reason"] else ""
    rows.append(("  state", f"{paint(COLOUR_OF_STATE.get(last, ''), last)}, {fresh}{why}"))
    if facts["scheduler"]:
        rows.append(("  cluster", _scheduler_line(facts["scheduler"])))
    if "unknown" not in facts:
        rows.append(("  needs", _needs(facts["needs"])))
        rows += [(f"  {name}", _value(value)) for name, value in facts["software"].items()]
        rows += [("  env", f"{name}={value}") for name, value in facts["env"].items()]
        rows += [("  log", facts["log"])] if facts["log"] else []
    yield from columns(rows)
    for name in ("inputs", "outputs"):
        if facts[name]:
            yield f"  {name}"
            yield from _file_lines(facts[name], paint)
    yield from _recipe_lines(facts)
    yield from _attempt_lines(facts["attempts"])


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _needs(needs: Mapping[str, Any]) -> str:
    from buildhpc.quantities import Duration, human_size

    cores = needs["cores"]
    parts = [f"{cores} core{'s' if cores != 1 else ''}"]
    if needs["mem_mib"] is not None:
        parts.append(f"{human_size(needs['mem_mib'])} of memory")
    if needs["time_s"] is not None:
        parts.append(f"{Duration(needs['time_s'])} of time")
    if needs["gpus"]:
        parts.append(f"{needs['gpus']} GPU{'s' if needs['gpus'] != 1 else ''}")
    parts += [f"{name} = {number:g}" for name, number in needs["resources"]]
    return ", ".join(parts)


def _file_lines(files: Sequence[Mapping[str, Any]], paint: Paint) -> Iterator[str]:
    rows = []
    for file in files[:_FILES]:
        now = file["now"]["text"] if file["now"] else "missing"
        notes = list(file["flags"])
        if file.get("made_by"):
            notes.append(f"made by {file['made_by']}")
        if file["changed"]:
            was = file["recorded"]["text"] if file["recorded"] else "missing"
            notes.append(paint("yellow", f"was {was}"))
        rows.append((f"    {file['path']}", now, "; ".join(notes)))
    yield from columns(rows)
    if len(files) > _FILES:
        yield f"    and {len(files) - _FILES:,} more"


def _recipe_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    if "unknown" in facts:
        yield f"  command: cannot be told yet: {facts['unknown']}"
        return
    recipe = facts["recipe"]
    if recipe["kind"] == "none":
        return
    yield f"  {recipe['kind']}"
    for line in recipe["text"].rstrip("\n").split("\n"):
        yield f"    {line}".rstrip()
    for name, value in recipe["arguments"].items():
        yield f"    {name} = {value!r}"


def _attempt_lines(attempts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    from buildhpc.quantities import human_size, human_time

    if not attempts:
        return
    yield "  attempts"
    head = ("    ", "run", "state", "started", "wall", "cpu", "peak", "host", "exit", "log")
    rows = [head]
    for number, each in enumerate(attempts, 1):
        tried = f"{each['run']}" + (f" try {each['number']}" if each["number"] > 1 else "")
        code = each["exit_code"]
        ended = f"signal {each['signal']}" if each["signal"] else "-" if code is None else str(code)
        rows.append(
            (
                f"    {number}",
                tried,
                _how(each),
                clock(each["started_s"]),
                "-" if each["wall_s"] is None else human_time(each["wall_s"]),
                "-" if each["cpu_s"] is None else human_time(each["cpu_s"]),
                human_size(each["peak_mib"]) if each["peak_mib"] else "-",
                _where(each),
                ended,
                f"{each['log_bytes']:,} bytes",
            )
        )
    yield from columns(rows)
    last = attempts[-1]
    if last["message"]:
        yield f"    last: {one_line(last['message'])}"
    for name, value in last["values"].items():
        yield f"    {name}: {one_line(said_text(name, value))}"


def _where(attempt: Mapping[str, Any]) -> str:
    """The host, and the id at the scheduler."""
    id_ = attempt["scheduler_id"]
    return ", ".join(filter(None, (attempt["host"], id_ and f"job {id_}"))) or "-"


def _how(attempt: Mapping[str, Any]) -> str:
    """State and class of failure; `exit` is told by its code."""
    failure = attempt["failure"]
    return f"{attempt['state']}: {failure}" if failure not in (None, "exit") else attempt["state"]
