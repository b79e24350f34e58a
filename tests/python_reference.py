"""The reference of the Python API, made of docstrings: `python tests/python_reference.py`."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import buildhpc
from buildhpc.api.options import How, What, Which
from buildhpc.api.views import Failed, Planned
from buildhpc.diagnostics import HpcmakeError, Problem
from buildhpc.run.spec import Outcome
from buildhpc.state.queries import AttemptRow, JobRow, Used

PAGE = Path(__file__).parent.parent / "docs" / "python.md"
MARK = "<!-- from here on made of docstrings, by tests/python_reference.py -->\n"

# Heading -> what stands below it.
PARTS: dict[str, list[Any]] = {
    "Pipelines": [buildhpc.load, buildhpc.Pipeline, What, How, Which],
    "Job lists": [
        *(buildhpc.JobList, buildhpc.Entry, buildhpc.Task),
        *(buildhpc.flagged, buildhpc.settings),
    ],
    "What calls give back": [
        *(buildhpc.Plan, Planned, buildhpc.Result, Failed, buildhpc.Submitted),
        *(buildhpc.Jobs, JobRow, AttemptRow, Used, buildhpc.Status, buildhpc.Graph),
    ],
    "Events": [
        *(buildhpc.Started, buildhpc.Ended, Outcome, buildhpc.Skipped, buildhpc.Unneeded),
    ],
    "Errors": [HpcmakeError, Problem],
}


def reference() -> str:
    """The part of the page that is made."""
    lines: list[str] = []
    for heading, things in PARTS.items():
        lines += [f"## {heading}", ""]
        for thing in things:
            lines += _described(thing)
    return "\n".join(lines).rstrip("\n") + "\n"


def _described(thing: Any) -> Iterator[str]:
    name = thing.__name__
    public = name in buildhpc.__all__
    yield f"### `{'buildhpc.' if public else ''}{name}`"
    yield ""
    if not isinstance(thing, type):
        yield from _code(f"{name}{_signature(thing)}")
        yield from _text(thing)
        return
    yield from _text(thing)
    if thing is buildhpc.JobList:
        yield from _code(f"{name}{_signature(thing.__init__)}".partition(" -> ")[0])
    fields = getattr(thing, "__annotations__", {})
    if fields and not thing.__name__.startswith("_"):
        yield from _code("\n".join(f"{field}: {_kind(kind)}" for field, kind in fields.items()))
    for each, member in _members(thing):
        yield f"#### `{name}.{each}`"
        yield ""
        if isinstance(member, property):
            yield from _code(
                f"{each} -> {_kind(inspect.signature(_getter(member)).return_annotation)}"
            )
            yield from _text(member)
        else:
            yield from _code(f"{each}{_signature(member)}")
            yield from _text(member)


def _members(thing: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties, in the order of the source, those of bases first."""
    seen: dict[str, Any] = {}
    for kind in reversed(thing.__mro__):
        if kind.__module__.startswith("buildhpc"):
            for name, member in vars(kind).items():
                if not name.startswith("_") and (
                    inspect.isfunction(member) or isinstance(member, property)
                ):
                    seen[name] = member
    yield from seen.items()


class _Plain:
    """An annotation that is shown as it was written."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    kept = [each for each in signature.parameters.values() if each.name != "self"]
    kept = [each.replace(annotation=_Plain(_kind(each.annotation))) for each in kept]
    text = str(signature.replace(parameters=kept, return_annotation=inspect.Signature.empty))
    text = text.replace("'", '"')
    back = _kind(signature.return_annotation)
    if len(text) > 70:
        text = "(\n    " + ",\n    ".join(map(_parameter, _with_marks(kept))) + ",\n)"
    return f"{text} -> {back}"


def _with_marks(parameters: list[inspect.Parameter]) -> list[inspect.Parameter | str]:
    """The parameters with `/` and `*` where they stand."""
    found: list[inspect.Parameter | str] = []
    for number, each in enumerate(parameters):
        before = parameters[number - 1].kind if number else None
        if before is each.POSITIONAL_ONLY and each.kind is not each.POSITIONAL_ONLY:
            found.append("/")
        if each.kind is each.KEYWORD_ONLY and before not in (
            each.KEYWORD_ONLY,
            each.VAR_POSITIONAL,
        ):
            found.append("*")
        found.append(each)
    return found


def _getter(member: property) -> Any:
    return member.fget


def _parameter(each: inspect.Parameter | str) -> str:
    return str(each).replace("'", '"')


def _kind(annotation: Any) -> str:
    if annotation is inspect.Signature.empty:
        return "None"
    annotation = getattr(annotation, "__forward_arg__", annotation)
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return text.replace("'", '"')


def _code(text: str) -> Iterator[str]:
    yield from ("```python", text, "```", "")


def _text(thing: Any) -> Iterator[str]:
    """The docstring: the first sentence, then paragraphs."""
    doc = inspect.cleandoc(thing.__doc__ or "")
    for paragraph in doc.split("\n\n"):
        yield from textwrap.wrap(" ".join(paragraph.split()), 99, break_on_hyphens=False)
        yield ""


if __name__ == "__main__":
    PAGE.write_text(PAGE.read_text().partition(MARK)[0] + MARK + "\n" + reference())
