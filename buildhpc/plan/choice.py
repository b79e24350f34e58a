"""Which jobs are meant, and which of them have to run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Choice:
    """What was asked for.

    targets: paths and names of rules; empty: the rule `all`, else the first rule.
    force: the asked targets have to run; force_all: everything; force_rules: these rules.
    until: rules to stop at; omit: rules left out with what depends on them.
    content: all inputs are compared by content. min_priority: jobs of this priority and above
        and what they need; None: all. only: not what the asked targets need, or, with `until`, not
        what its rules need.
    """

    targets: tuple[str, ...] = ()
    force: bool = False
    force_all: bool = False
    force_rules: tuple[str, ...] = ()
    until: tuple[str, ...] = ()
    omit: tuple[str, ...] = ()
    content: bool = False
    min_priority: int | None = None
    only: bool = False
