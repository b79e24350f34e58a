"""The dashboard: jobs by rule and state, what runs where, what is lost, what failed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from buildhpc.quantities import human_time
from buildhpc.show.text import COLOUR_OF_STATE, Paint, clock, columns, one_line, said_text
from buildhpc.state.overview import Asked, JobNow, LiveRun, Overview, QueuedNow
from buildhpc.state.parts import Spawned
from buildhpc.state.queries import STATES, RunRow

_SHOWN = 10
_AGAIN = (
    "`hpcmake retry --state lost` runs them again, `hpcmake reset --lost` leaves them to the next"
    " build"
)

# Rule -> state -> number of jobs.
Counts: TypeAlias = Mapping[str, Mapping[str, int]]

# Cluster and scheduler id of jobs, and of whole arrays.
Confirmed = frozenset[tuple[str | None, str | None]]


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
    yield from _table(found.counts, paint)
    if found.listed:
        yield ""
        for job in found.listed:
            yield _listed(job, now_s, paint, confirmed)
    else:
        yield from _sections(found, now_s, paint, confirmed)
    if found.runs and not asked.lists:
        yield ""
        yield paint("bold", "runs")
        yield from _runs(found)
    if found.counts:
        yield ""
        yield _footer(found)


def by_run(found: Overview, runs: Mapping[int, RunRow], paint: Paint) -> Iterator[str]:
    """A table for each run, of the jobs that it has or was the last to try.

    runs: number -> run. 0 in the place of a run: jobs that none has, and none tried.
    """
    for number, counts in sorted(found.by_run.items(), key=lambda item: (not item[0], item[0])):
        row = runs.get(number)
        title = "not tried by any run"
        if row is not None:
            title = f"run {number}, {row.status}, since {clock(row.started_s)}: "
            title += one_line(row.command)
        yield paint("bold", title)
        for line in _table(counts, paint):
            yield f"  {line}"
        yield ""
    yield _footer(found)


def _footer(found: Overview) -> str:
    """What there is of all the jobs that are meant."""
    parts = [
        f"{number:,} {text}"
        for text, number in (
            ("waiting", found.number("waiting")),
            ("in queue", found.number("queued")),
            ("running", found.number("running", "spawned")),
            ("failed", found.number("failed")),
            ("lost", found.number("lost")),
        )
        if number or text in ("in queue", "running")
    ]
    done, total = found.number("done", "collected"), found.number()
    return f"{', '.join(parts)}, {done:,} of {total:,} done"


def _sections(found: Overview, now_s: float, paint: Paint, confirmed: Confirmed) -> Iterator[str]:
    """What runs, waits in queues, was lost, failed."""
    if found.running:
        yield ""
        yield paint("bold", "running")
        yield from _running(found.running, now_s, confirmed)
    if found.spawned:
        yield ""
        yield paint("bold", "spawned")
        yield from _spawned(found.spawned, confirmed)
    if found.queued:
        yield ""
        yield paint("bold", "queued")
        yield from _queued(found.queued, confirmed)
    if confirmed:
        yield paint("dim", "  * its scheduler says so as well")
    if found.lost:
        yield ""
        yield paint("bold", "lost")
        yield from _failed(found.lost, paint)
        yield f"  {_AGAIN}"
    if found.failed:
        yield ""
        yield paint("bold", "failed last")
        yield from _failed(found.failed, paint)
        yield f"  `hpcmake logs {shlex.quote(found.failed[0].job)}` shows what it printed"


def _runs(found: Overview) -> Iterator[str]:
    rows = [
        (
            f"  run {each.run}",
            _summary(found.by_run.get(each.run, {})),
            f"since {clock(each.started_s)}",
            _whereabouts(each),
            one_line(each.command),
        )
        for each in found.runs
    ]
    yield from columns(rows)


def _summary(counts: Counts) -> str:
    """`3 done, 1 running`"""
    sums = sums_of(counts)
    return ", ".join(f"{number:,} {state}" for state, number in sums.items() if number)


def sums_of(counts: Counts) -> dict[str, int]:
    """State -> number of jobs, in the order of a job's life."""
    present = {state for of_rule in counts.values() for state in of_rule}
    states = [state for state in STATES if state in present]
    states += sorted(present - set(states))
    return {state: sum(of_rule.get(state, 0) for of_rule in counts.values()) for state in states}


def _whereabouts(run: LiveRun) -> str:
    process = f"{run.host}, process {run.pid}"
    if run.cluster is None:
        return process
    return f"on {run.cluster}, followed by {process}" if run.followed else f"on {run.cluster}"


def _table(counts: Counts, paint: Paint) -> Iterator[str]:
    if not counts:
        yield "no jobs"
        return
    sums = sums_of(counts)
    states = list(sums)
    rows = [["rule", *states, "total"]]
    for rule, of_rule in counts.items():
        numbers = [of_rule.get(state, 0) for state in states]
        rows.append([rule, *(_number(n) for n in numbers), _number(sum(numbers))])
    if len(counts) > 1:
        rows.append(["total", *map(_number, sums.values()), _number(sum(sums.values()))])
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


def _spawned(jobs: list[Spawned], confirmed: Confirmed) -> Iterator[str]:
    """How the parts of jobs are, with a star for each that its scheduler has."""
    rows = []
    for job in jobs[:_SHOWN]:
        total = sum(job.counts.values())
        others = [f"{n:,} {state}" for state, n in job.counts.items() if state != "done"]
        done = f"{job.counts.get('done', 0):,} of {total:,} parts done"
        stars = sum((job.cluster, id_) in confirmed for id_ in job.ids)
        mark = " " + "*" * min(stars, _SHOWN) if stars else ""
        told = ", ".join([done, *others])
        rows.append((f"  {job.job}", told, f"run {job.run}, {job.cluster}{mark}"))
    yield from columns(rows)
    if len(jobs) > _SHOWN:
        yield f"  and {len(jobs) - _SHOWN:,} more: `hpcmake status --state spawned`"


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


def _why(job: JobNow) -> str:
    if job.state == "lost" and job.cluster is None:
        return "lost: its run died before it ended"
    return one_line(job.failure.removeprefix("exit: ")) or job.state


def _listed(job: JobNow, now_s: float, paint: Paint, confirmed: Confirmed) -> str:
    name = paint(COLOUR_OF_STATE.get(job.state, ""), job.job)
    if job.state in ("running", "spawned"):
        began = "" if job.started_s is None else human_time(max(0.0, now_s - job.started_s))
        return f"{name}: for {began}, run {job.run}, {_place(job, confirmed)}" + _said(job)
    if job.state == "queued":
        id_ = job.scheduler_id or "about to be submitted"
        return f"{name}: run {job.run}, {job.cluster} job {id_}{_star(job, confirmed)}"
    return f"{name}: {_why(job)}" if job.failure or job.state == "lost" else name
