"""What is checked before anything runs: protected outputs, needs, limits."""

from __future__ import annotations

import argparse
import os
import stat
from collections.abc import Iterable
from dataclasses import replace

from buildhpc.commands.common import warn
from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import call, clusters
from buildhpc.messages import plan as messages
from buildhpc.plan.model import Job, JobGraph, Plan
from buildhpc.plan.recipe import compared_text
from buildhpc.quantities import Size, quantity
from buildhpc.rules.model import Pipeline, Rule
from buildhpc.run.describe import Describer
from buildhpc.run.machine import Limits, detect_limits
from buildhpc.run.pool import Pool
from buildhpc.run.spec import Needs

_NEEDS = ("cores", "mem", "time", "gpus", "resources")


def limits_of(args: argparse.Namespace, rules: Iterable[Rule]) -> Limits:
    """What jobs of these rules may use here: the machine's own, `-j`, what `--limit` says.

    Warns of a limit of what no rule asks for. Raises: messages.call.bad_limit
    """
    found = detect_limits()
    cores = args.jobs if args.jobs > 0 else found.cores
    limits = replace(found, cores=cores)
    for text in args.limit:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise call.bad_limit(text)
        limits = _limited(limits, name.strip(), value.strip(), text)
    if unknown := limits.resources.keys() - found.resources.keys():
        asked = {each.label for rule in rules for each in rule.directives.get("resources", ())}
        for name in sorted(unknown - asked):
            warn(call.unused_limit(name, {"mem", "cores", "gpus", *filter(None, asked)}))
    return limits


def _limited(limits: Limits, name: str, value: str, text: str) -> Limits:
    if name == "mem":
        size = quantity(value)
        if not isinstance(size, Size):
            raise call.bad_limit(text)
        return replace(limits, mem_mib=size.mb)
    try:
        number = float(value)
    except ValueError:
        raise call.bad_limit(text) from None
    if number < 0 or number != number:
        raise call.bad_limit(text)
    if name == "cores":
        return replace(limits, cores=max(1, int(number)))
    if name == "gpus":
        named = [*limits.gpus, *map(str, range(len(limits.gpus), int(number)))]
        return replace(limits, gpus=tuple(named[: int(number)]))
    return replace(limits, resources={**limits.resources, name: number})


def check_needs(plan: Plan, describer: Describer, limits: Limits) -> None:
    """Whether every job of the plan could run here at all. Raises: messages.never_fits."""
    pool = Pool(limits.cores, limits.mem_mib, limits.gpus, limits.resources)
    known: set[Needs] = set()
    constant: set[int] = set()
    for step in plan.steps:
        rule = step.job.rule
        if rule.order in constant:
            continue
        values = [value for name in _NEEDS for value in rule.directives.get(name, ())]
        if all(value.constant for value in values):
            constant.add(rule.order)
        needs = _needs(describer, step.job)
        if needs is None or needs in known:
            continue
        known.add(needs)
        why = pool.fits_ever(needs)
        if why is not None:
            raise messages.never_fits(step.job.name, why, rule.span)


def _needs(describer: Describer, job: Job) -> Needs | None:
    """What a job needs, None where that hangs on a file that is not there yet."""
    try:
        return describer.needs(job, 1)
    except HpcmakeError as error:
        if all(problem.slug == "missing-file" for problem in error.problems):
            return None
        raise


def check_files(plan: Plan, graph: JobGraph, describer: Describer) -> None:
    """Whether every `log` and `benchmark` is a file of its own.

    Raises: messages.log_is_file, log_shared
    """
    writers: dict[str, str] = {}
    named = [
        step.job for step in plan.steps if {"log", "benchmark"} & step.job.rule.directives.keys()
    ]
    used = {path for job in graph.jobs for path in job.inputs} if named else set()
    for job in named:
        for directive in ("log", "benchmark"):
            path = describer.file_of(job, directive)
            if path is None:
                continue
            span = job.rule.directives[directive][0].span
            if path in graph.maker or path in used:
                raise messages.log_is_file(directive, path, job.name, span)
            other = writers.setdefault(path, job.name)
            if other != job.name:
                raise messages.log_shared(directive, path, (other, job.name), span)


def check_values(plan: Plan, pipeline: Pipeline, describer: Describer) -> None:
    """Whether what one job of each rule says can be computed. Raises: HpcmakeError."""
    seen: set[int] = set()
    for step in plan.steps:
        if step.job.rule.order in seen:
            continue
        seen.add(step.job.rule.order)
        try:
            compared_text(pipeline, step.job)
            describer.priority(step.job)
            describer.message(step.job)
        except HpcmakeError as error:
            if any(problem.slug != "missing-file" for problem in error.problems):
                raise


def check_protected(plan: Plan, *, unprotect: bool) -> None:
    """Whether a stale output is protected. Raises: messages.protected."""
    found = []
    for step in plan.steps:
        patterns = step.job.rule.patterns()
        for path, pattern in zip(step.job.outputs, patterns, strict=True):
            if "protected" in pattern.flags and _is_protected(path):
                found.append(path)
    if found and not unprotect:
        raise messages.protected(found)
    for path in found:
        unlock(path)


def _is_protected(path: str) -> bool:
    try:
        return not os.stat(path).st_mode & stat.S_IWUSR
    except OSError:
        return False


def unlock(path: str) -> None:
    """Make a protected output, a file or a folder, writable for its owner again."""
    os.chmod(path, os.stat(path).st_mode | stat.S_IWUSR)
    for folder, _, names in os.walk(path):
        for name in [".", *names]:
            inner = os.path.join(folder, name)
            if not os.path.islink(inner):
                os.chmod(inner, os.stat(inner).st_mode | stat.S_IWUSR)


def check_known(graph: JobGraph) -> None:
    """Whether all jobs are known before anything runs. Raises: clusters.cannot_wait."""
    for job in graph.jobs:
        if job.awaits:
            path, span = job.awaits[0], job.rule.awaits[0].span
            raise clusters.cannot_wait(job.name, graph.maker[path].name, path, span)
