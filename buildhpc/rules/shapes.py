"""Whether a directive is written as its row in the table says."""

from __future__ import annotations

from buildhpc.diagnostics import Span
from buildhpc.language import syntax
from buildhpc.messages import rules as messages
from buildhpc.rules.directives import (
    DIRECTIVES,
    FAILURE_CLASSES,
    FOREIGN,
    NOT_IN_DEFAULTS,
    DirectiveRow,
    directive_for,
)


def check_directive(directive: syntax.Directive, *, default: bool = False) -> None:
    """Whether a directive exists and is written as it must be. Raises: HpcmakeError."""
    name, items = directive.name, directive.items
    row = DIRECTIVES.get(name)
    if row is None:
        raise messages.unknown_directive(name, directive.span, DIRECTIVES, FOREIGN.get(name))
    if default and name in NOT_IN_DEFAULTS:
        raise messages.not_in_defaults(name, directive.span)
    if row.shape == "flag":
        if items or directive.block:
            raise messages.wrong_shape(name, "no value", directive.span)
        return
    if directive.block is None and not items:
        raise messages.wrong_shape(name, "a value", directive.span)
    _check_items(directive, row)
    _check_labels(name, [item for item in items if item.label is not None])


def _check_items(directive: syntax.Directive, row: DirectiveRow) -> None:
    """Whether there are as many items as there may be, with or without names."""
    name, items = directive.name, directive.items
    labelled = [item for item in items if item.label is not None]
    bare = [item for item in items if item.label is None]
    membership = [item for item in items if item.relation == "in"]
    if row.shape in ("one", "recipe") and (len(items) > 1 or labelled):
        span = items[1].span if len(items) > 1 else items[0].span
        raise messages.wrong_shape(name, "one value, without a name", span)
    if row.shape == "many" and labelled:
        raise messages.wrong_shape(name, "values without names", labelled[0].span)
    if row.shape in ("named", "where") and bare:
        raise messages.wrong_shape(name, "names with values: `name = value`", bare[0].span)
    if row.shape != "where" and membership:
        raise messages.wrong_shape(name, "no `in`", membership[0].span)
    if row.shape == "retries" and (len(bare) > 1 or (labelled and bare)):
        raise messages.wrong_shape(name, "one number, or a number by class", directive.span)


def _check_labels(name: str, labelled: list[syntax.Item]) -> None:
    seen: set[str] = set()
    for item in labelled:
        assert item.label is not None
        if item.label.name in seen:
            raise messages.label_twice(item.label.name, item.label.span)
        seen.add(item.label.name)
        check_label(name, item.label.name, item.label.span)


def check_label(directive: str, label: str, span: Span) -> None:
    """Whether a directive with names may have this one. Raises: HpcmakeError."""
    if directive == "retries" and label.replace("_", "-") not in FAILURE_CLASSES:
        raise messages.bad_retry_class(label, span, FAILURE_CLASSES)
    if directive == "resources" and (instead := directive_for(label)):
        raise messages.no_resource(label, instead, span)
