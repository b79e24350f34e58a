"""`-n`: what a build would do, and why."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from buildhpc.plan.model import Job, JobGraph, Plan, Step
from buildhpc.show.text import columns, nothing_to_do, painter

# What a kind of reason means where jobs have different ones.
_KINDS = {
    "missing-output": "no output yet",
    "unfinished": "never finished",
    "failed": "failed last time",
    "input-changed": "an input changed",
    "recipe-changed": "the recipe or its parameters changed",
    "inputs-differ": "other inputs than before",
    "other-rule": "made last by another job",
    "damaged-output": "an output lost bytes",
    "newer-input": "an input is newer",
    "upstream": "an input will be made anew",
    "forced": "forced",
    "always": "no outputs, so it always runs",
    "checkpoint": "known once a checkpoint has run",
}


def show_plan(args: argparse.Namespace, graph: JobGraph, plan: Plan) -> int:
    """Print the plan: a line a rule in the order of running, with `-v` a line a job."""
    awaited = checkpoints(graph.jobs)
    plan = replace(plan, steps=tuple(step for step in plan.steps if step.job.acts))
    if args.json:
        _as_json(plan, awaited)
    elif not args.quiet:
        for line in _lines(plan, awaited, verbose=args.verbose):
            print(line)
    return 0


def checkpoints(jobs: Iterable[Job]) -> list[str]:
    """The checkpoints that have to run before all that these jobs need is known."""
    names = [name.name for job in jobs if job.awaits for name in job.rule.awaits]
    return list(dict.fromkeys(names))


def and_more(awaited: Sequence[str]) -> str:
    """What is said behind a number of jobs that are not all."""
    names = " and ".join(f"`{name}`" for name in awaited)
    has = "has" if len(awaited) == 1 else "have"
    return f", and those that are known once {names} {has} run" if awaited else ""


def _as_json(plan: Plan, awaited: Sequence[str]) -> None:
    for step in plan.steps:
        fields = {
            "event": "planned",
            "job": step.job.name,
            "rule": step.job.rule.task,
            "outputs": step.job.outputs,
            "reason": step.reason.kind,
            "text": step.reason.text,
            "after": step.after,
        }
        print(json.dumps(fields))
    last = {
        "event": "plan",
        "jobs": len(plan.steps),
        "total": plan.total,
        "edited": plan.edited,
        "replaced": plan.replaced,
        **({"checkpoints": awaited} if awaited else {}),
    }
    print(json.dumps(last))


def _lines(plan: Plan, awaited: Sequence[str], *, verbose: bool) -> Iterator[str]:
    from buildhpc.commands.build import edited_lines

    paint = painter(sys.stdout)
    yield from edited_lines(plan.edited)
    for path in plan.replaced:
        yield f"edited: `{path}` was changed by hand; it would be moved to `{path}.edited`"
    if not plan.steps:
        yield nothing_to_do(plan.total)
        return
    if verbose:
        for step in plan.steps:
            yield f"{paint('bold', step.job.name)}: {step.reason.text}"
    else:
        yield from _by_rule(plan)
    yield f"{len(plan.steps):,} of {plan.total:,} jobs would run{and_more(awaited)}"


def _by_rule(plan: Plan) -> Iterator[str]:
    rules: dict[str, list[Step]] = {}
    for step in plan.steps:
        rules.setdefault(step.job.rule.task, []).append(step)
    rows = [
        (name, f"{len(steps):,}", "job" if len(steps) == 1 else "jobs", _why(steps))
        for name, steps in rules.items()
    ]
    yield from columns(rows, right=[1])


def _why(steps: Sequence[Step]) -> str:
    """The reason where all jobs have the same; else its kinds, the most frequent first."""
    first = steps[0].reason
    if len(steps) == 1 or all(step.reason.text == first.text for step in steps):
        return first.text
    kinds = Counter(step.reason.kind for step in steps).most_common()
    if len(kinds) == 1:
        return _KINDS.get(first.kind, first.kind)
    return ", ".join(f"{_KINDS.get(kind, kind)} ({number:,})" for kind, number in kinds)
