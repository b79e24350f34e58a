"""The text a job runs, and the text by which two of its runs are compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from buildhpc.language.braces import undouble
from buildhpc.language.follow import follow
from buildhpc.language.functions import plain_text
from buildhpc.language.operators import Unfit
from buildhpc.language.shell import Quoting, Slot, quote
from buildhpc.language.values import Files, Unfilled, plain
from buildhpc.messages import language as messages
from buildhpc.plan.model import Job
from buildhpc.rules.model import Pipeline
from buildhpc.rules.scope import JobScope

# Software is part of what is compared; needs and logs are not.
_COMPARED = ("params", "args", "env", "modules", "conda", "container", "within")


def fill(
    parts: Iterable[str | Slot],
    scope: Mapping[str, Any],
    constants: Mapping[str, Any],
    list_file: Callable[[Sequence[str]], str] | None = None,
) -> str:
    """A shell block with its names filled in, each quoted for the place where it stands.

    list_file: paths -> a file that lists them; None leaves `{input:file}` as it is.
    Raises: HpcmakeError
    """
    return "".join(
        [
            undouble(part) if isinstance(part, str) else _filled(part, scope, constants, list_file)
            for part in parts
        ]
    )


def _filled(
    slot: Slot,
    scope: Mapping[str, Any],
    constants: Mapping[str, Any],
    list_file: Callable[[Sequence[str]], str] | None,
) -> str:
    field = slot.field
    try:
        value = scope[field.name]
    except KeyError:
        value = constants[field.name]
    for step in field.steps:
        value = follow(value, step, field.span)
    if isinstance(value, Unfilled):
        return str(value)
    if field.conversion == "file":
        if list_file is None:
            return field.written
        return quote(list_file([str(path) for path in value]), slot.quoting, slot.backticks)
    raw = field.conversion == "raw"
    quoting = Quoting.LITERAL if raw else slot.quoting
    backticks = 0 if raw else slot.backticks
    try:
        if isinstance(value, (list, Files)):
            return " ".join(quote(plain_text(item), quoting, backticks) for item in value)
        return "" if value is None else quote(plain_text(value), quoting, backticks)
    except Unfit as error:
        raise messages.unfit(str(error), field.span) from None


def compared_text(pipeline: Pipeline, job: Job) -> str:
    """The text that says what a job does: equal texts, equal work.

    Needs, attempts and log paths are left open, so that changing one reruns nothing.
    """
    rule = job.rule
    if rule.recipe is None:
        return ""
    scope = JobScope(pipeline, rule, job.values, unfilled=True)
    if rule.recipe.kind == "shell":
        text = fill(rule.recipe.parts, scope, pipeline.constants)
    elif rule.recipe.kind == "python":
        text = rule.recipe.text
    else:
        assert rule.recipe.value is not None
        text = f"{rule.recipe.kind}: {rule.recipe.value(scope)}\n{rule.recipe.text}"
    lines = [text]
    for name in _COMPARED:
        if name not in rule.directives or (name == "args" and rule.recipe.kind == "shell"):
            continue
        values = scope.named(name) if name in ("params", "args", "env") else scope.many(name)
        lines.append(f"{name}: {json.dumps(plain_values(values), ensure_ascii=False)}\n")
    return "".join(lines)


def plain_values(values: Any) -> Any:
    """Values of a directive, as JSON can hold them."""
    if isinstance(values, dict):
        return {name: plain(value) for name, value in values.items()}
    return plain(values)


def digest_of(text: str) -> str:
    """The digest under which a compared text is remembered."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]
