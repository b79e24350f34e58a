"""Why a target would or would not be made: the first reason, and what led to it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from buildhpc.show.text import Paint, clock, painter

if TYPE_CHECKING:
    from buildhpc.commands.lookup import Finder, Meant
    from buildhpc.plan.model import Job, Reason
    from buildhpc.project import Project
    from buildhpc.state.overview import JobNow

_USERS = 10
_IN_FULL = 10
_LINKS = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `why`."""
    parser.add_argument(
        "targets", nargs="+", metavar="TARGET", help="a file, the name of a job, or a rule"
    )


def run(args: argparse.Namespace) -> int:
    """Explain each target. Raises: HpcmakeError."""
    from buildhpc.commands.asked import finder_of, not_told

    finder = finder_of(args)
    if finder is None:
        raise not_told(args, args.targets)
    for line in explain(finder.project, args.targets, painter(sys.stdout)):
        print(line)
    return 0


def explain(
    project: Project, targets: Sequence[str], paint: Paint = lambda _, text: text
) -> Iterator[str]:
    """Why targets would or would not be made, line by line. Raises: HpcmakeError."""
    from buildhpc.commands.asked import check_told
    from buildhpc.commands.lookup import Finder

    finder = Finder(project)
    check_told(finder, targets)
    teller = _Teller(finder, paint)
    for number, meant in enumerate(finder.all(targets)):
        if number:
            yield ""
        yield from teller.lines(meant)


class _Teller:
    """Says why jobs are stale or fresh."""

    def __init__(self, finder: Finder, paint: Paint) -> None:
        from buildhpc.project import Recipes

        self._finder = finder
        self._paint = paint
        self._recipes = Recipes(finder.project.pipeline)

    def lines(self, meant: Meant) -> Iterator[str]:
        """What there is to say of one target."""
        reasons = {step.job.name: step.reason for step in meant.plan.steps}
        if not meant.jobs:
            yield from self._source(meant.path or "")
        elif len(meant.jobs) > _IN_FULL:
            yield from self._short(meant, reasons)
        else:
            for number, job in enumerate(meant.jobs):
                if number:
                    yield ""
                yield from self._job(meant, job, reasons)

    def _source(self, path: str) -> Iterator[str]:
        yield f"`{path}` is a source: no rule makes it"
        users = self._finder.users(path)
        if not users:
            yield "nothing that is built without a target needs it"
            return
        yield "it is needed by"
        for job in users[:_USERS]:
            yield f"  {job.name}"
        if len(users) > _USERS:
            yield f"  and {len(users) - _USERS:,} more"

    def _short(self, meant: Meant, reasons: Mapping[str, Reason]) -> Iterator[str]:
        """A line a job."""
        for job in meant.jobs:
            reason = reasons.get(job.name)
            yield f"{job.name}: {reason.text if reason else 'fresh'}"

    def _job(self, meant: Meant, job: Job, reasons: Mapping[str, Reason]) -> Iterator[str]:
        reason = reasons.get(job.name)
        if reason is not None:
            yield from self._chain(meant, job, reasons)
        elif job.rule.recipe is None and not job.outputs:
            yield from self._name_only(meant, job, reasons)
        else:
            yield from self._fresh(meant, job)

    def _chain(self, meant: Meant, job: Job, reasons: Mapping[str, Reason]) -> Iterator[str]:
        """The reason of the job, then that of the job it hangs on, down to the first cause."""
        jobs = {each.job.name: each.job for each in meant.plan.steps}
        links: list[tuple[str, Reason]] = []
        name: str | None = job.name
        seen = set()
        while name is not None and name in reasons and name not in seen:
            seen.add(name)
            links.append((name, reasons[name]))
            name = reasons[name].job
        for number, (name, reason) in enumerate(links):
            if _LINKS <= number < len(links) - 2:
                if number == _LINKS:
                    yield f"  ... {len(links) - _LINKS - 2:,} jobs more ..."
                continue
            if number == 0:
                head = f"{self._paint('bold', name)} is {self._paint('yellow', 'stale')}"
            else:
                # A temporary file is made anew for the job that needs it, all others by one.
                how = {"upstream": "by", "checkpoint": "and"}.get(links[number - 1][1].kind, "for")
                head = f"  {how} {self._paint('bold', name)}"
            yield f"{head}: {reason.text}"
            yield from self._change(jobs[name], reason)
            yield from self._on_cluster(jobs[name])

    def _on_cluster(self, job: Job) -> Iterator[str]:
        """Where a scheduler has the job now."""
        from buildhpc.state.overview import on_clusters

        state = self._finder.state
        now = on_clusters(state, [job.name]).get(job.name) if state else None
        if now is not None:
            host = f" on {now.host}" if now.host else ""
            which = f" {now.scheduler_id}" if now.scheduler_id else ""
            yield f"    run {now.run} has it: {now.state}{host}, {now.cluster} job{which}"
            yield from self._why_queued(now)

    def _why_queued(self, now: JobNow) -> Iterator[str]:
        """Why a scheduler has not started a job, in its own words."""
        from buildhpc.commands.queues import queue_of

        if now.state != "queued" or now.run is None or now.cluster is None:
            return
        assert self._finder.state is not None
        shown = (queue_of(self._finder.state, now.run, now.cluster) or {}).get(
            now.scheduler_id or ""
        )
        if shown is not None and shown.state in ("held", "queued"):
            why = f": {shown.reason}" if shown.reason else ""
            yield f"    its scheduler says {shown.state}{why}"

    def _change(self, job: Job, reason: Reason) -> Iterator[str]:
        """The old value and the new one."""
        if reason.kind == "recipe-changed":
            yield from self._recipe_change(job, reason)
        elif reason.kind == "inputs-differ":
            yield from self._other_inputs(job)
        elif reason.old is not None and reason.new is not None:
            yield f"    then: {reason.old}"
            yield f"    now:  {reason.new}"
        elif reason.kind == "failed":
            yield from self._failure(job)

    def _recipe_change(self, job: Job, reason: Reason) -> Iterator[str]:
        import difflib

        state = self._finder.state
        old = state.recipe_text(reason.old) if state and reason.old else None
        if old is None:
            yield "    (the text it ran then is not known any more)"
            return
        new = self._recipes.text(job)
        changes = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=2)
        colours = {"-": "red", "+": "green", "@": "dim"}
        for number, line in enumerate(changes):
            if number >= 2:  # the first two lines name files
                yield "    " + self._paint(colours.get(line[:1], ""), line)

    def _other_inputs(self, job: Job) -> Iterator[str]:
        state = self._finder.state
        record = state.record([job.name]).get(job.name) if state else None
        if record is None:
            return
        then, now = dict.fromkeys(record.inputs), dict.fromkeys(job.inputs)
        changes = [f"- {path}" for path in then if path not in now]
        changes += [f"+ {path}" for path in now if path not in then]
        for line in changes[: 2 * _USERS]:
            yield "    " + self._paint("red" if line[0] == "-" else "green", line)
        if len(changes) > 2 * _USERS:
            yield f"    and {len(changes) - 2 * _USERS:,} more"

    def _failure(self, job: Job) -> Iterator[str]:
        import shlex

        yield f"    `hpcmake logs {shlex.quote(job.name)}` shows what it printed"

    def _name_only(self, meant: Meant, job: Job, reasons: Mapping[str, Reason]) -> Iterator[str]:
        """A rule that only names its inputs: what of them is stale."""
        makers = meant.graph.before(job)
        stale = [maker for maker in makers if maker.name in reasons]
        name = self._paint("bold", job.name)
        if not stale:
            yield f"{name} only names other files; all {len(makers):,} jobs of it are fresh"
            return
        yield f"{name} only names other files; {len(stale):,} of {len(makers):,} jobs are stale"
        for maker in stale[:_IN_FULL]:
            yield ""
            yield from self._job(meant, maker, reasons)
        if len(stale) > _IN_FULL:
            yield ""
            yield f"and {len(stale) - _IN_FULL:,} more: `hpcmake -n -v {job.name}`"

    def _fresh(self, meant: Meant, job: Job) -> Iterator[str]:
        head = f"{self._paint('bold', job.name)} is {self._paint('green', 'fresh')}"
        if self._finder.state is None or job.name not in meant.evidence.records:
            yield f"{head}: no input is newer than its outputs, and there is no record of a run"
        else:
            yield f"{head}: {self._when(job)}, and nothing it depends on changed since"
        for path in job.outputs:
            if path in meant.plan.edited:
                yield f"  `{path}` was changed by hand and is kept; `--force` makes it anew"
            elif path in job.temp and meant.evidence.disk.get(path) is None:
                yield f"  `{path}` is temporary and was removed; nothing stale needs it"

    def _when(self, job: Job) -> str:
        from buildhpc.state import queries

        assert self._finder.state is not None
        rows = queries.jobs(self._finder.state, queries.Where(name=job.name))
        if not rows or rows[0].run is None:
            return "it was accepted as it was"
        return f"it was made by run {rows[0].run}, at {clock(rows[0].ended_s)}"
