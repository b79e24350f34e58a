"""`hpcmake [TARGET...]`: plan what is stale and run it here."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from buildhpc.diagnostics import HpcmakeError
from buildhpc.state import fresh
from buildhpc.state.snapshot import generation

if TYPE_CHECKING:
    from buildhpc.plan.choice import Choice
    from buildhpc.plan.model import JobGraph, Plan
    from buildhpc.plan.stale import Evidence
    from buildhpc.project import Project

HOME = Path(".hpcmake")
CACHE = HOME / "cache"


def run(args: argparse.Namespace, opened: Callable[[bool], Project] | None = None) -> int:
    """Build, or show what a build would do. Returns the exit code.

    opened: gives the project, where that comes from no file; told whether to keep notes.
    """
    from buildhpc.commands.common import choice_of, find_pipefile, fold_receipts

    _check_options(args)
    _hear_sigint()
    if not args.dry_run:
        fold_receipts(wait_s=10.0)
    pipefile = "" if opened else find_pipefile(args.file)
    choice = choice_of(args)
    key = fresh.request_key(pipefile, args.set, choice, os.environ.get("PYTHONPATH"))
    found = None
    if not (opened or args.touch or args.force or args.force_all or args.force_rule or args.only):
        with suppress(HpcmakeError) if args.keep_going else nullcontext():
            found = fresh.known(CACHE, key, generation(HOME / "state.db"))
        if found is not None and not found.changed:
            _say_nothing_to_do(args, found.jobs)
            return 0
    return _Build(args, opened or partial(_opened, pipefile, args.set), choice, key).run(found)


def _opened(pipefile: str, settings: Sequence[str], keep: bool) -> Project:
    from buildhpc.project import open_project

    return open_project(pipefile, settings, keep=keep)


def _check_options(args: argparse.Namespace) -> None:
    """What is asked for is never left out in silence. Raises: HpcmakeError."""
    here = {"-j": args.jobs is not None, "--limit": bool(args.limit)}
    far = {"--detach": args.detach, "--cluster-option": bool(args.cluster_option)}
    for option in [name for name, said in (here if args.cluster else far).items() if said]:
        from buildhpc.messages import call

        raise call.only_here(option) if args.cluster else call.only_on_clusters(option)
    if args.jobs is None:
        args.jobs = 1


def _hear_sigint() -> None:
    """Let SIGINT end a build also where `&` in a script has it ignored."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        with suppress(ValueError):  # outside the main thread, which no signal interrupts
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _say_nothing_to_do(args: argparse.Namespace, jobs: int) -> None:
    if args.json:
        import json

        print(json.dumps({"event": "nothing-to-do", "jobs": jobs}))
    elif not args.quiet:
        from buildhpc.show.text import nothing_to_do

        print(nothing_to_do(jobs))


class _Build:
    """A build that has to plan."""

    def __init__(
        self, args: argparse.Namespace, opened: Callable[[bool], Project], choice: Choice, key: str
    ) -> None:
        self._args = args
        self._opened = opened
        self._choice = choice
        self._key = key

    def run(self, found: fresh.Known | None) -> int:
        """Plan, then show or run the plan. Returns the exit code.

        found: what was known of the request though some files changed since.
        """
        args = self._args
        keep = not args.dry_run and _has_home()
        if keep:
            _clear_leftovers()
        looked_ns = fresh.clock(CACHE) if keep else 0
        seen = generation(HOME / "state.db")
        # Planning only builds up: the collector would walk all of it again and again, in vain.
        gc.disable()
        try:
            project, planned, part = self._plan(found, keep=keep)
            gc.freeze()
        finally:
            gc.enable()
        found = found if part else None
        try:
            if args.dry_run:
                from buildhpc.commands.dry import show_plan

                code = show_plan(args, planned[0], planned[2])
                if args.cluster and planned[2].steps:
                    from buildhpc.commands.dry_cluster import show_submissions

                    show_submissions(args, project, planned)
                return code
            if args.touch:
                from buildhpc.commands.touch import touch

                return touch(args, project, planned[0], planned[2])
            if planned[2].steps:
                return self._build(project, planned, seen, found)
            return self._nothing(project, planned, seen, looked_ns, found is None)
        finally:
            gc.unfreeze()

    def _plan(
        self, found: fresh.Known | None, *, keep: bool
    ) -> tuple[Project, tuple[JobGraph, Evidence, Plan], bool]:
        """The plan, and whether only what changed since `found` was looked at."""
        from buildhpc.state.database import read_state

        args = self._args
        project = self._opened(keep)
        project.log_to(args.logs)
        project.lenient = args.keep_going and not (args.dry_run or args.touch)
        state = read_state(Path.cwd())
        if found is not None and found.packed and state is not None:
            planned = project.plan_part(found, self._choice, state)
            if planned is not None:
                return project, planned, True
        planned = project.plan(self._choice, state)
        if self._choice.only:
            from buildhpc.commands.only import look_at_needs

            look_at_needs(project, self._choice, state, planned)
        return project, planned, False

    def _build(
        self,
        project: Project,
        planned: tuple[JobGraph, Evidence, Plan],
        seen: bytes,
        found: fresh.Known | None,
    ) -> int:
        if self._args.cluster:
            from buildhpc.commands.cluster import ClusterSession
            from buildhpc.commands.sketching import clusters_for

            site = clusters_for(self._args.cluster, self._args.cluster_option)
            if site.site(self._args.cluster).settings.scheduler == "file":
                from buildhpc.commands.export import export_plan

                return export_plan(self._args, project, planned)
            return ClusterSession(self._args, project, self._choice).build(*planned, seen)
        from buildhpc.commands.session import Session

        session = Session(self._args, project, self._choice)
        code = session.build(*planned, seen)
        settled = code == 0 and not planned[2].edited and project.growing is None
        after = session.settled(seen) if settled else None
        if after is not None and not project.world.opaque:
            from buildhpc.commands.remember import before_part, before_whole, remember_done

            whole = before_whole(project, planned[0], planned[2]) if found is None else None
            before = whole or before_part(found)  # type: ignore[arg-type]  # one of them is there
            remember_done(CACHE, self._key, before, after, generation(HOME / "state.db"))
        return code

    def _nothing(
        self,
        project: Project,
        planned: tuple[JobGraph, Evidence, Plan],
        seen: bytes,
        looked_ns: int,
        whole: bool,
    ) -> int:
        graph, evidence, plan = planned
        _tidy(graph, evidence)
        _tell_edited(self._args, plan)
        if looked_ns and whole and not plan.edited:
            from buildhpc.commands.remember import remember_fresh

            remember_fresh(CACHE, self._key, project, graph, seen, looked_ns)
        _say_nothing_to_do(self._args, plan.total)
        return 0


def _has_home() -> bool:
    """Whether there is a folder for notes; a folder that cannot be written gets none."""
    from buildhpc.state.database import make_home

    try:
        make_home(HOME)
    except OSError:
        return False
    return os.access(HOME, os.W_OK)


def _clear_leftovers() -> None:
    """Deal with runs that died; a look at the folder tells whether there may be any."""
    if any(name.startswith("run-") for name in os.listdir(HOME)):
        from buildhpc.commands import leftovers
        from buildhpc.state.database import open_state

        leftovers.clear(open_state(Path.cwd()))


def _tidy(graph: JobGraph, evidence: Evidence) -> None:
    """Remove temp files that an interrupted build left though nothing needs them.

    They stay as long as another run is at work here, which may need them.
    """
    if not any(job.temp for job in graph.jobs):
        return
    from buildhpc.commands.leftovers import remove_files
    from buildhpc.commands.work import TempKeeper
    from buildhpc.state.claims import has_others
    from buildhpc.state.database import read_state

    found = TempKeeper(graph, (), evidence).left_over(lambda path: path in evidence.disk)
    state = read_state(Path.cwd()) if found else None
    if state is None or not state.read(partial(has_others, run=0)):
        remove_files(found)


def _tell_edited(args: argparse.Namespace, plan: Plan) -> None:
    if plan.edited and not args.quiet:
        for line in edited_lines(plan.edited):
            print(line, file=sys.stderr)


def edited_lines(paths: Sequence[str]) -> list[str]:
    """What is said of outputs that were changed by hand and stay."""
    lines = [f"kept: `{path}` was changed by hand since it was made" for path in paths[:10]]
    if len(paths) > 10:
        lines.append(f"kept: and {len(paths) - 10} more")
    return lines
