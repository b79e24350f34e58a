"""What is checked before anything runs: protected outputs, needs, limits."""

from __future__ import annotations

import argparse
import os
import stat
from dataclasses import replace

from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import call
from buildhpc.messages import plan as messages
from buildhpc.plan.model import Job, Plan
from buildhpc.quantities import Size, quantity
from buildhpc.run.describe import Describer
from buildhpc.run.machine import Limits, detect_limits
from buildhpc.run.pool import Pool
from buildhpc.run.spec import Needs

_NEEDS = ("cores", "mem", "time", "gpus", "resources")


def limits_of(args: argparse.Namespace) -> Limits:
    """What jobs may use here: the machine's own, `-j`, and what `--limit` says."""
    found = detect_limits()
    cores = args.jobs if args.jobs > 0 else found.cores
    limits = replace(found, cores=cores)
    for text in args.limit:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise call.bad_limit(text)
        limits = _limited(limits, name.strip(), value.strip(), text)
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
        return replace(limits, gpus=limits.gpus[: int(number)])
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


def set_aside(path: str) -> str | None:
    """Move an output that was changed by hand to `NAME.edited`, or to the next free name after it.

    Returns the new name, None when nothing is there.
    """
    moved, number = f"{path}.edited", 1
    while os.path.lexists(moved):
        number += 1
        moved = f"{path}.edited.{number}"
    try:
        os.rename(path, moved)
    except FileNotFoundError:
        return None
    return moved
