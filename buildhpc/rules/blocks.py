"""Raw blocks of a rule: their text, their places in the file, the names in their braces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from buildhpc.diagnostics import Collecting, Problem, Span
from buildhpc.language import syntax
from buildhpc.language.braces import unescape
from buildhpc.language.expressions import Names, field_value
from buildhpc.language.shell import Slot
from buildhpc.messages import language as language_messages
from buildhpc.messages import rules as messages


def block_text(directive: syntax.Directive) -> tuple[str, Any]:
    """The text of a `shell` or `python` directive, and what maps its offsets to spans."""
    if directive.block is not None:
        block = directive.block
        return block.text, lambda start, end: block_span(block, start, end)
    value = directive.items[0].value
    if not isinstance(value, syntax.Text):
        raise messages.block_needed(directive.name, value.span)
    text = unescape(value.raw) + "\n"
    inside = value.inside

    def locate(start: int, end: int) -> Span:
        if "\\" in value.raw:
            return value.span
        return Span(inside.source, inside.start + start, inside.start + end)

    return text, locate


def block_span(block: syntax.Block, start: int, end: int) -> Span:
    """The place in the file of a part of a block's text."""
    number = block.text.count("\n", 0, start)
    column = start - (block.text.rfind("\n", 0, start) + 1)
    line = block.lines[min(number, len(block.lines) - 1)]
    return Span(line.source, line.start + column, line.start + column + end - start)


def check_slots(parts: Sequence[str | Slot], names: Names, found: list[Problem]) -> None:
    """Whether every slot of a block has a name that something defines."""
    for part in parts:
        if not isinstance(part, Slot):
            continue
        field = part.field
        if field.name not in names.late and field.name not in names.constants:
            known = {*names.late, *names.constants}
            written = field.written[1:-1]
            error = language_messages.unknown_in_block(field.name, written, field.span, known)
            found.extend(error.problems)
        elif field.conversion not in (None, "raw") and not (
            field.conversion == "file" and field.name == "input"
        ):
            found.extend(language_messages.bad_conversion(field.written, field.span).problems)
        else:
            with Collecting(found):
                field_value(field, names)
