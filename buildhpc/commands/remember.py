"""What a build leaves for the next one, so that it need not look at everything again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from buildhpc import disk
from buildhpc.plan import known
from buildhpc.state import fresh

if TYPE_CHECKING:
    from buildhpc.plan.model import JobGraph
    from buildhpc.plan.stamps import Stamp
    from buildhpc.project import Project

# After so many jobs it is cheaper to let the next build look for itself.
_MOST_STEPS = 5_000


def remember_fresh(
    cache: Path, key: str, project: Project, graph: JobGraph, seen: bytes, looked_ns: int
) -> None:
    """Remember a plan without a stale job.

    seen: the generation of the state that it was made from. looked_ns: see `fresh.clock`.
    """
    if project.world.opaque:
        return
    stamps: dict[str, tuple[int, int]] = {}
    missing = []
    for path, stamp in project.disk.looked():
        if stamp is None:
            missing.append(str(path))
        else:
            stamps[str(path)] = stamp
    folders = [path for path in stamps if path in project.disk.folders]
    plan = fresh.FreshPlan(project.world.trace, seen, len(graph.jobs), stamps, folders, missing)
    _write(cache, key, plan, looked_ns, graph)


def _write(cache: Path, key: str, plan: fresh.FreshPlan, looked_ns: int, graph: JobGraph) -> None:
    numbers = {path: number for number, path in enumerate(plan.names())}
    try:
        packed = known.pack(graph, numbers) or b""
    except KeyError:  # a path was not looked at
        return
    fresh.remember(cache, key, plan, looked_ns, packed)


def remember_done(
    cache: Path,
    key: str,
    found: fresh.Known,
    recorded: Mapping[str, Stamp | None],
    seen: bytes,
) -> None:
    """Remember that after a build of what had changed everything is fresh again.

    found: what was known before it. recorded: path -> what the state says of it now, for
    every file that the jobs used or made. seen: the generation of the state now.
    """
    looked_ns = fresh.clock(cache)
    if not looked_ns or len(recorded) > _MOST_STEPS:
        return
    stamps: dict[str, tuple[int, int]] = {}
    missing: list[str] = []
    folders: list[str] = []
    changed = set(found.changed)
    for number, path in enumerate(found.names):
        stamp = found.stamp(number)
        if number in changed or path in recorded:
            seen_folders: set[str] = set()
            now = disk.look(path, seen_folders)
            if now is not None and recorded.get(path) != now:
                return  # it is as no job left it
            stamp = now
            if number < found.files and seen_folders:
                return
        if stamp is None:
            missing.append(path)
            continue
        stamps[path] = stamp
        if number >= found.files:
            folders.append(path)
    plan = fresh.FreshPlan(found.trace, seen, found.jobs, stamps, folders, missing)
    _renumbered(cache, key, plan, found, looked_ns)


def _renumbered(
    cache: Path, key: str, plan: fresh.FreshPlan, found: fresh.Known, looked_ns: int
) -> None:
    """Write the plan with the graph as it was; its paths may have other numbers now."""
    names = plan.names()
    packed = found.packed
    if packed and list(found.names) != names:
        numbers = {path: number for number, path in enumerate(names)}
        packed = known.renumber(packed, [numbers[path] for path in found.names])
    fresh.remember(cache, key, plan, looked_ns, packed)
