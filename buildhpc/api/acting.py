"""What is done to jobs of the past: the commands of these names without their printing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from buildhpc.api.options import How
    from buildhpc.state.database import State
    from buildhpc.state.queries import JobRow, RunRow


def cancelled(state: State, rows: Sequence[JobRow]) -> tuple[str, ...]:
    """Cancel those of the jobs that runs have; their names. Raises: HpcmakeError."""
    from buildhpc.commands.cancel import cancel_jobs

    held = [row for row in rows if row.claim is not None]
    cancel_jobs(state, held)
    return tuple(row.name for row in held)


def were_reset(state: State, rows: Sequence[JobRow], args: argparse.Namespace) -> tuple[str, ...]:
    """Reset those of the jobs that are not spared; their names. Raises: HpcmakeError."""
    from buildhpc.commands.reset import is_spared
    from buildhpc.state.changes import reset
    from buildhpc.state.claims import JobToClaim

    rows = [row for row in rows if not is_spared(row, args)]
    foreign = reset(state, [JobToClaim(row.name, row.rule, row.wildcards) for row in rows])
    return tuple(row.name for row in rows if row.name not in foreign)


def forgotten(state: State, rows: Sequence[JobRow]) -> tuple[str, ...]:
    """Forget jobs; the names of those that no living run has. Raises: HpcmakeError."""
    from buildhpc.state.changes import forget

    foreign = forget(state, [row.name for row in rows])
    return tuple(row.name for row in rows if row.name not in foreign)


def were_told(
    state: State, rows: Sequence[JobRow], values: Mapping[str, str | float | bool | None]
) -> tuple[str, ...]:
    """Say something of jobs; the names of those of which it could be said. Raises: HpcmakeError."""
    from buildhpc.commands.set import say_of

    texts = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()
    }
    never = set(say_of(state, rows, texts))
    return tuple(row.name for row in rows if row.name not in never)


def as_before(last: RunRow | None, how: How) -> str | None:
    """Let a run go as an earlier one did where `how` does not say; the cluster of that."""
    before = last.options if last else {}
    if "jobs" not in how and before.get("jobs") is not None:
        how["jobs"] = before["jobs"]
    if said := before.get("cluster_options"):
        how.setdefault("cluster_options", dict(each.split("=", 1) for each in said))
    if before.get("logs"):
        how.setdefault("logs", before["logs"])
    cluster: str | None = before.get("cluster")
    return cluster
