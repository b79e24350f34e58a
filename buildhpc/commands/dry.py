"""`-n`: what a build would do, and why."""

from __future__ import annotations

import argparse
import json

from buildhpc.commands.build import edited_lines
from buildhpc.plan.model import JobGraph, Plan


def show_plan(args: argparse.Namespace, graph: JobGraph, plan: Plan) -> int:
    """Print the plan: with `-v` or up to twenty jobs a line each, else a line a rule."""
    del graph
    if args.json:
        for step in plan.steps:
            print(json.dumps({"job": step.job.name, "rule": step.job.rule.name,
                              "outputs": step.job.outputs, "reason": step.reason.kind,
                              "text": step.reason.text, "after": step.after}))
        return 0
    if args.quiet:
        return 0
    for line in edited_lines(plan.edited):
        print(line)
    for path in plan.replaced:
        print(f"edited: `{path}` was changed by hand; it would be moved to `{path}.edited`")
    if not plan.steps:
        what = "the job is" if plan.total == 1 else f"all {plan.total:,} jobs are"
        print(f"nothing to do: {what} fresh")
        return 0
    if args.verbose or len(plan.steps) <= 20:
        for step in plan.steps:
            print(f"{step.job.name}: {step.reason.text}")
    else:
        _by_rule(plan)
    print(f"{len(plan.steps):,} of {plan.total:,} jobs would run")
    return 0


def _by_rule(plan: Plan) -> None:
    rules: dict[str, dict[str, int]] = {}
    for step in plan.steps:
        reasons = rules.setdefault(step.job.rule.name, {})
        reasons[step.reason.kind] = reasons.get(step.reason.kind, 0) + 1
    width = max(len(name) for name in rules)
    for name, reasons in rules.items():
        why = ", ".join(f"{count:,} {kind}" for kind, count in reasons.items())
        print(f"{name:{width}}  {sum(reasons.values()):,} jobs: {why}")
