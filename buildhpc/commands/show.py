"""Everything known of a job: its rule, files, needs, command, state and attempts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

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
    from buildhpc.commands.asked import Asked

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
    from buildhpc.commands.asked import asked_of
    from buildhpc.commands.common import fold_receipts

    if args.self or args.parts:
        return own_show.show_self(args) if args.self else parts_show.show_parts(args)
    fold_receipts()
    asked = asked_of(args)
    if args.script:
        _show_scripts(args, asked)
        return 0
    paint = painter(sys.stdout)
    for number, facts in enumerate(_facts(asked)):
        if args.json:
            import json

            print(json.dumps(facts, indent=2, default=str))
            continue
        if number:
            print()
        for line in _lines(facts, paint):
            print(line)
    return 0


def _facts(asked: Asked) -> Iterator[dict[str, Any]]:
    """What is known of each job that is meant. Raises: HpcmakeError."""
    from buildhpc.commands.job_facts import facts_of, known_facts

    for meant in asked.meant:
        assert asked.finder is not None
        yield facts_of(asked.finder, meant)
    for job in asked.known:
        assert asked.state is not None
        yield known_facts(asked.state, job)


def _show_scripts(args: argparse.Namespace, asked: Asked) -> None:
    """Print the job scripts of the jobs that are meant. Raises: HpcmakeError."""
    from buildhpc.commands.job_facts import one_of
    from buildhpc.commands.job_script import job_script
    from buildhpc.messages import commands as messages
    from buildhpc.state.flows import is_of_flow

    for job in asked.known:
        raise messages.only_known(job.name, flow=is_of_flow(job.wildcards))
    for meant in asked.meant:
        assert asked.finder is not None
        print(job_script(args, asked.finder, one_of(meant)), end="")


def _scheduler_line(told: Mapping[str, Any]) -> str:
    id_ = told["scheduler_id"] or "about to be submitted"
    parts = [f"{told['cluster']} job {id_}", f"named {told['name']}"]
    parts += [f"on {told['host']}"] if told["host"] else []
    parts += [f"{told['queue']} as it says"] if told["queue"] else []
    parts += [told["reason"]] if told["reason"] and told["queue"] != "running" else []
    return ", ".join(parts)


def _lines(facts: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    """The same for people."""
    yield paint("bold", facts["job"])
    rows = [("  rule", ", ".join(filter(None, (facts["rule"], facts["place"]))))]
    if facts.get("node"):
        rows = [("  node", f"{facts['node']}, of a data flow")]
    rows += [("  wildcard", f"{name} = {value}") for name, value in facts["wildcards"].items()]
    rows.append(("  state", _state(facts, paint)))
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


def _state(facts: Mapping[str, Any], paint: Paint) -> str:
    """How the job is, and whether it would run; that only a Pipefile can tell."""
    last = paint(COLOUR_OF_STATE.get(facts["state"], ""), facts["state"] or "never ran")
    if facts["fresh"] is None:
        return last
    fresh = paint("green", "fresh") if facts["fresh"] else paint("yellow", "stale")
    return f"{last}, {fresh}" + (f": {facts['reason']}" if facts["reason"] else "")


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
