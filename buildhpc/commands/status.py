"""Jobs by rule and state, what runs now, what failed last.

Looks at the state: no Pipefile is read; all that is written is what runners told of their jobs.
Where jobs are on clusters whose schedulers can be asked, what these confirm has a star.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildhpc.quantities import human_time
from buildhpc.show.text import COLOUR_OF_STATE, Paint, clock, columns, one_line, painter, said_text

if TYPE_CHECKING:
    from buildhpc.state.database import State
    from buildhpc.state.overview import Asked, JobNow, LiveRun, Overview, QueuedNow

# In the order of a job's life; a column of the table where any job is in it.
STATES = (
    *("done", "collected", "running", "spawned", "queued", "waiting"),
    *("failed", "lost", "skipped", "cancelled", "reset"),
)
_SHOWN = 10
_REFRESH_S = 0.5
_LOOK_S = 5.0

# Cluster and scheduler id of jobs, and of whole arrays.
Confirmed = frozenset[tuple[str | None, str | None]]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `status`."""
    from buildhpc.commands.common import where_argument

    add = parser.add_argument
    where_argument(parser)
    add("--state", metavar="STATE", help="only jobs in this state, and list them")
    add("--rule", metavar="RULE", help="only jobs of this rule")
    add("--run", type=int, metavar="N", help="only jobs that this run tried")
    add("--json", action="store_true", help="as one JSON document")
    add("--watch", action="store_true", help="keep looking until no run is left, or Ctrl-C")


def run(args: argparse.Namespace) -> int:
    """Tell how the jobs of this folder are. Raises: HpcmakeError."""
    from buildhpc.commands.common import condition_of, fold_receipts
    from buildhpc.messages import call
    from buildhpc.state.database import read_state
    from buildhpc.state.overview import Asked, overview

    if args.state is not None and args.state not in STATES:
        raise call.unknown_state(args.state, STATES)
    fold_receipts()
    state = read_state(Path.cwd())
    if state is None:
        raise call.no_state()
    asked = Asked(args.state, args.rule, args.run, condition_of(args, state))
    if args.watch and not args.json:
        return _watch(state, asked)
    found = overview(state, asked)
    _check_names(state, asked, found)
    confirmed = _confirmed(state, found)
    if args.json:
        import json

        print(json.dumps(_document(found, asked, confirmed), indent=2))
    else:
        for line in lines(found, asked, time.time(), painter(sys.stdout), confirmed):
            print(line)
    return 0


def _confirmed(state: State, found: Overview) -> Confirmed:
    """What schedulers that can be asked have in their queues now."""
    jobs: list[JobNow | QueuedNow] = [*found.running, *found.queued]
    wanted = {(each.run, each.cluster) for each in jobs if each.run and each.cluster}
    if not wanted:
        return frozenset()
    from buildhpc.commands.queues import confirmed

    return confirmed(state, wanted)


def _check_names(state: State, asked: Asked, found: Overview) -> None:
    """Raises: HpcmakeError when a rule or a run was asked for that nothing is known of."""
    from buildhpc.messages import call
    from buildhpc.state import overview, queries

    if found.counts:
        return
    if asked.rule is not None:
        rules = overview.overview(state, overview.Asked()).counts
        if asked.rule not in rules:
            raise call.unknown_rule(asked.rule, rules)
    if asked.run is not None:
        runs = [run.id for run in queries.runs(state)]
        if asked.run not in runs:
            raise call.unknown_run(asked.run, runs)


def _document(found: Overview, asked: Asked, confirmed: Confirmed) -> dict[str, Any]:
    document = asdict(found)
    for job in (*document["running"], *document["queued"]):
        if job["cluster"]:
            job["confirmed"] = (job["cluster"], job["scheduler_id"]) in confirmed
    jobs = document.pop("listed")
    return {**document, "jobs": jobs} if asked.lists else document


def lines(
    found: Overview,
    asked: Asked,
    now_s: float,
    paint: Paint,
    confirmed: Confirmed = frozenset(),
) -> Iterator[str]:
    """What there is to tell, line by line.

    confirmed: what schedulers say that they have now; it gets a star.
    """
    yield from _table(found, paint)
    if found.listed:
        yield ""
        for job in found.listed:
            yield from _listed(job, paint)
        return
    if found.running:
        yield ""
        yield paint("bold", "running")
        yield from _running(found.running, now_s, confirmed)
    if found.queued:
        yield ""
        yield paint("bold", "queued")
        yield from _queued(found.queued, confirmed)
    if confirmed and not found.listed:
        yield paint("dim", "  * its scheduler says so as well")
    if found.failed:
        yield ""
        yield paint("bold", "failed last")
        yield from _failed(found.failed, paint)
    if found.runs and not asked.lists:
        yield ""
        yield paint("bold", "runs")
        yield from _runs(found.runs)


def _runs(runs: list[LiveRun]) -> Iterator[str]:
    rows = [
        (
            f"  run {each.run}",
            f"since {clock(each.started_s)}",
            _whereabouts(each),
            one_line(each.command),
        )
        for each in runs
    ]
    yield from columns(rows)


def _whereabouts(run: LiveRun) -> str:
    process = f"{run.host}, process {run.pid}"
    if run.cluster is None:
        return process
    return f"on {run.cluster}, followed by {process}" if run.followed else f"on {run.cluster}"


def _table(found: Overview, paint: Paint) -> Iterator[str]:
    counts = found.counts
    if not counts:
        yield "no jobs"
        return
    present = {state for of_rule in counts.values() for state in of_rule}
    states = [state for state in STATES if state in present]
    states += sorted(present - set(states))
    rows = [["rule", *states, "total"]]
    for rule, of_rule in counts.items():
        numbers = [of_rule.get(state, 0) for state in states]
        rows.append([rule, *(_number(n) for n in numbers), _number(sum(numbers))])
    if len(counts) > 1:
        sums = [sum(of_rule.get(state, 0) for of_rule in counts.values()) for state in states]
        rows.append(["total", *map(_number, sums), _number(sum(sums))])
    head, *body = columns(rows, right=range(1, len(states) + 2))
    yield _coloured(head, states, paint)
    yield from body


def _coloured(head: str, states: list[str], paint: Paint) -> str:
    for state in states:
        head = head.replace(f" {state}", " " + paint(COLOUR_OF_STATE.get(state, ""), state))
    return head


def _number(number: int) -> str:
    return f"{number:,}" if number else "."


def _running(jobs: list[JobNow], now_s: float, confirmed: Confirmed) -> Iterator[str]:
    rows = []
    for job in jobs[:_SHOWN]:
        began = "" if job.started_s is None else human_time(max(0.0, now_s - job.started_s))
        attempt = f", attempt {job.number}" if job.number and job.number > 1 else ""
        rows.append(
            (
                *(f"  {job.job}", f"for {began}"),
                f"run {job.run}{attempt}, {_place(job, confirmed)}" + _said(job),
            )
        )
    yield from columns(rows)
    if len(jobs) > _SHOWN:
        yield f"  and {len(jobs) - _SHOWN:,} more: `hpcmake status --state running`"


def _said(job: JobNow) -> str:
    """Its phase, and how far it is, where it says so."""
    part = "" if job.progress is None else said_text("progress", job.progress)
    said = ", ".join(filter(None, (one_line(job.phase or ""), part)))
    return f": {said}" if said else ""


def _place(job: JobNow, confirmed: Confirmed) -> str:
    """Host and process; on a cluster the id at the scheduler."""
    if job.cluster is not None:
        star = _star(job, confirmed)
        return f"{job.host}, {job.cluster} job {job.scheduler_id or 'of unknown id'}{star}"
    return f"{job.host}, process {job.pid}" if job.pid else f"{job.host}"


def _star(job: JobNow | QueuedNow, confirmed: Confirmed) -> str:
    return "*" if (job.cluster, job.scheduler_id) in confirmed else ""


def _queued(submissions: list[QueuedNow], confirmed: Confirmed) -> Iterator[str]:
    rows = [
        (
            f"  {each.rule}",
            "1 job" if each.jobs == 1 else f"{each.jobs:,} jobs",
            f"run {each.run}, {each.cluster} job {each.scheduler_id or 'about to be submitted'}"
            + _star(each, confirmed),
            f"since {clock(each.since_s)}",
        )
        for each in submissions[:_SHOWN]
    ]
    yield from columns(rows)
    if len(submissions) > _SHOWN:
        yield f"  and {len(submissions) - _SHOWN:,} more submissions"


def _failed(jobs: list[JobNow], paint: Paint) -> Iterator[str]:
    for job in jobs:
        when = f", run {job.run}, {clock(job.ended_s)}" if job.run is not None else ""
        yield f"  {paint('red', job.job)}: {_why(job)}{when}"
    yield f"  `hpcmake logs {_quoted(jobs[0].job)}` shows what it printed"


def _why(job: JobNow) -> str:
    if job.state == "lost" and job.cluster is None:
        return "lost: its run died before it ended"
    return one_line(job.failure.removeprefix("exit: ")) or job.state


def _listed(job: JobNow, paint: Paint) -> Iterator[str]:
    why = f": {_why(job)}" if job.failure or job.state == "lost" else ""
    yield f"{paint(COLOUR_OF_STATE.get(job.state, ''), job.job)}{why}"


def _quoted(name: str) -> str:
    import shlex

    return shlex.quote(name)


def _watch(state: State, asked: Asked) -> int:
    """Show the same again and again until no run is left."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from buildhpc.commands.common import fold_receipts
    from buildhpc.state.overview import overview

    console = Console()
    seen = b""
    confirmed: Confirmed = frozenset()
    look_s = 0.0
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            fold_receipts()
            if (now := state.generation()) != seen or not seen:
                found, seen = overview(state, asked), now
            if time.monotonic() >= look_s:
                confirmed, look_s = _confirmed(state, found), time.monotonic() + _LOOK_S
            text = "\n".join(lines(found, asked, time.time(), painter(sys.stdout), confirmed))
            live.update(Text.from_ansi(text), refresh=True)
            if not found.runs:
                return 0
            time.sleep(_REFRESH_S)
