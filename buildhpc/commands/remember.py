"""What a build leaves for the next one, so that it need not look at everything again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from buildhpc import disk
from buildhpc.plan import known
from buildhpc.plan.plan import counted
from buildhpc.state import fresh

if TYPE_CHECKING:
    from buildhpc.commands.session import Settled
    from buildhpc.disk import Trace
    from buildhpc.plan.model import JobGraph, Plan
    from buildhpc.plan.stamps import Stamp
    from buildhpc.project import Project

# Looking at them costs 4 us each at the end of a build, looking at everything in the next one
# 60 us a job. A job with very many inputs is no reason to forget: of it one may change each time.
_MOST_FILES = 500_000


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
    plan = fresh.FreshPlan(
        project.world.trace,
        seen,
        counted(graph.jobs),
        stamps,
        folders,
        missing,
        project.digests,
    )
    fresh.remember(cache, key, plan, looked_ns, _packed(graph, plan.names()))


def _packed(graph: JobGraph, names: Sequence[str]) -> bytes:
    numbers = {path: number for number, path in enumerate(names)}
    try:
        return known.pack(graph, numbers) or b""
    except KeyError:  # a path was not looked at
        return b""


class Before(NamedTuple):
    """What was known of a request when its build began.

    stamps: path -> its stamp, None where nothing was; folders: those of them that are folders.
    changed: those that were not as the plan before had them.
    never_fresh: there are jobs that run whenever they are asked for.
    pack: the graph as bytes, for paths in this order.
    """

    stamps: Iterable[tuple[str, Stamp | tuple[int, int] | None]]
    folders: Collection[str]
    changed: Collection[str]
    trace: Trace
    jobs: int
    never_fresh: bool
    pack: Callable[[Sequence[str]], bytes]


def before_whole(project: Project, graph: JobGraph, plan: Plan) -> Before:
    """What a plan of everything saw."""
    stamps = [(str(path), stamp) for path, stamp in project.disk.looked()]
    return Before(
        stamps,
        project.disk.folders,
        (),
        project.world.trace,
        plan.total,
        any(job.rule.recipe is not None and not job.outputs for job in graph.jobs),
        lambda names: _packed(graph, names),
    )


def before_part(found: fresh.Known) -> Before:
    """What was remembered where only some files had changed since."""
    stamps = [(path, found.stamp(number)) for number, path in enumerate(found.names)]
    folders = found.names[found.files : found.files + len(found.folders)]
    changed = frozenset(found.names[number] for number in found.changed)

    def pack(names: Sequence[str]) -> bytes:
        numbers = {path: number for number, path in enumerate(names)}
        return known.renumber(found.packed, [numbers[path] for path in found.names])

    return Before(stamps, folders, changed, found.trace, found.jobs, False, pack)


def remember_done(cache: Path, key: str, before: Before, after: Settled, seen: bytes) -> None:
    """Remember that after a build everything is fresh, where every file is as it was recorded.

    seen: the generation of the state now.
    """
    looked_ns = fresh.clock(cache)
    if not looked_ns or before.never_fresh or len(after.recorded) > _MOST_FILES:
        return
    hashes = {path: each for path, each in after.hashes.items() if path not in after.removed}
    if any(disk.digest(path) != each for path, each in hashes.items()):
        return  # changed while its stamp stayed as it was
    stamps: dict[str, tuple[int, int]] = {}
    missing: list[str] = []
    folders = set(before.folders)
    for path, old in {**dict.fromkeys(after.recorded), **dict(before.stamps)}.items():
        now = old
        if path in after.recorded or path in before.changed:
            now = disk.look(path, folders)
            expected = None if path in after.removed else after.recorded.get(path)
            if now != expected:
                return  # it is not as a job left it
        if now is None:
            missing.append(path)
        else:
            stamps[path] = (now[0], now[1])
    there = [path for path in stamps if path in folders]
    plan = fresh.FreshPlan(before.trace, seen, before.jobs, stamps, there, missing, hashes)
    fresh.remember(cache, key, plan, looked_ns, before.pack(plan.names()))
