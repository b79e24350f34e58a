"""A Pipefile, or a job list, as Python programs work with it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from buildhpc.api.options import How, What, Which, build_args, pick_args
from buildhpc.api.running import Listener, inside
from buildhpc.api.views import Graph, Jobs, Plan, Result, Status, Submitted, result_of

if TYPE_CHECKING:
    from buildhpc.diagnostics import Problem
    from buildhpc.project import Project
    from buildhpc.run.events import Event
    from buildhpc.state.database import State
    from buildhpc.state.queries import AttemptRow, JobRow


def load(
    path: str | None = None, *, folder: str = ".", settings: Mapping[str, object] | None = None
) -> Pipeline:
    """A Pipefile, or a Python file that builds a job list.

    path: relative to `folder`; None: `Pipefile`, or `workflow/Pipefile`. folder: the working
    folder, which all paths are relative to. settings: name -> value, over what configuration
    files say, as `--set` does. Raises: HpcmakeError, with every problem of the file.
    """
    import json

    from buildhpc.commands.common import find_pipefile
    from buildhpc.project import open_project

    said = [
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in (settings or {}).items()
    ]
    with inside(folder):
        file = find_pipefile(path)
        project = open_project(file, said)
    return Pipeline(os.path.abspath(folder), file, said, tuple(project.pipeline.rules))


class Pipeline:
    """What can be planned, run and asked of; `load` gives one.

    folder: the working folder, absolute. file: the Pipefile, relative to it; None for a job list
    that no file builds. rules: their names. Each call reads the file anew, so that a change of it
    counts at once. A call works in `folder`: it is the current folder while the call lasts. No
    call prints: what is worth a word goes to the logger `buildhpc`.
    """

    def __init__(
        self,
        folder: str,
        file: str | None,
        settings: Sequence[str],
        rules: Sequence[str],
        opened: Callable[[bool], Project] | None = None,
    ) -> None:
        self.folder = folder
        self.file = file
        self.rules = tuple(rules)
        self._settings = list(settings)
        self._opened = opened

    def __repr__(self) -> str:
        return f"<Pipeline {self.file or 'of a job list'}: {len(self.rules):,} rules>"

    def plan(self, *targets: str, **what: Unpack[What]) -> Plan:
        """What a run would do, and why; nothing is run or written.

        targets: files, or names of rules; none: what `hpcmake` alone would build.
        what: see `What`. Raises: HpcmakeError
        """
        from buildhpc.commands.common import choice_of
        from buildhpc.state.database import read_state

        with inside(self.folder):
            args = build_args(targets, self.file, self._settings, what)
            project = self._project()
            _, _, plan = project.plan(choice_of(args), read_state(Path.cwd()))
        return Plan(plan.steps, plan.total, plan.edited, plan.replaced)

    def run(
        self,
        *targets: str,
        cluster: str | None = None,
        on_event: Callable[[Event], object] | None = None,
        **how: Unpack[How],
    ) -> Result:
        """Run what is stale, here or on a cluster, and wait for the end.

        targets: as for `plan`. cluster: its name; None: here. on_event: called with each event as
        it happens: `Started`, `Ended`, `Skipped`, `Unneeded`. how: see `How`. A job that fails is
        told by the result; Ctrl-C ends a run here, and leaves one on a cluster to go on.
        Raises: HpcmakeError where nothing could be run
        """
        from buildhpc.commands import build
        from buildhpc.joblist.load import check_not_importing

        check_not_importing()
        with inside(self.folder):
            listener = Listener(on_event)
            args = self._build_args(targets, how, cluster, listener)

            def opened(_: bool) -> Project:
                project = self._project()
                listener.follow(project.pipeline.logging.get("file"))
                return project

            code = build.run(args, opened if self._is_list() else None)
        return result_of(code, listener.run, listener.summary)

    def submit(
        self,
        *targets: str,
        cluster: str,
        every: str | None = None,
        times: int | None = None,
        **how: Unpack[How],
    ) -> Submitted:
        """Hand what is stale to a scheduler, and come back at once; or do so periodically.

        The jobs go on by themselves, and submit what there was no room for; `watch` looks again
        and again. every: e.g. `1h`: look so often, and submit once more when the run before is
        over and something is stale again, as new inputs make it; times: until so many submissions
        were made, None: for ever. The last of them comes back. Other arguments: as for `run`.
        Raises: HpcmakeError where nothing was submitted
        """
        from buildhpc.commands.common import seconds_of
        from buildhpc.joblist.load import check_not_importing

        check_not_importing()
        pause_s = seconds_of("every", every) if every else 0.0
        sent = self._send(targets, cluster, how)
        made = 1
        while every and (times is None or made < times):
            time.sleep(pause_s)
            if self._goes_on():
                continue
            more = self._send(targets, cluster, how)
            if more.run is not None:
                sent, made = more, made + 1
        return sent

    def _goes_on(self) -> bool:
        """Whether a run on a cluster is not over, once it was taken on."""
        from buildhpc.commands.pick import known_state
        from buildhpc.commands.watch import follow_runs
        from buildhpc.state import cluster_runs

        with inside(self.folder):
            follow_runs(None, 1, lambda _: None)
            return bool(cluster_runs.open_cluster_runs(known_state()))

    def _send(self, targets: Sequence[str], cluster: str, how: How) -> Submitted:
        from buildhpc.commands import build

        listener = Listener(None)
        with inside(self.folder):
            args = self._build_args(targets, how, cluster, listener)
            args.detach = True
            build.run(args, self._opened)
        return listener.submitted or Submitted(None, 0, 0)

    def submissions(self, *targets: str, cluster: str, **how: Unpack[How]) -> tuple[str, ...]:
        """The command lines that would submit the first jobs; nothing is submitted.

        An id that is not known before is `<id of NAME>`. Arguments: as for `run`.
        Raises: HpcmakeError
        """
        from buildhpc.commands.common import choice_of
        from buildhpc.commands.dry_cluster import submit_lines
        from buildhpc.state.database import read_state

        with inside(self.folder):
            args = self._build_args(targets, how, cluster, None)
            project = self._project()
            planned = project.plan(choice_of(args), read_state(Path.cwd()))
            return tuple(submit_lines(args, project, planned)) if planned[2].steps else ()

    def watch(
        self,
        *,
        every: str | None = None,
        times: int | None = None,
        on_look: Callable[[Status], object] | None = None,
    ) -> Status:
        """Follow the runs on clusters of this folder, and submit what becomes possible.

        every: how often, e.g. `10m`; None: as the site says. times: at most so many looks; None:
        until no run is left. on_look: called after each. Raises: HpcmakeError
        """
        from buildhpc.commands.watch import follow_runs
        from buildhpc.state.overview import Asked, overview

        def show(state: State) -> None:
            if on_look is not None:
                on_look(Status(overview(state, Asked())))

        with inside(self.folder):
            follow_runs(every, times, show)
        return self.status()

    def status(self, rule: str | None = None, **which: Unpack[Which]) -> Status:
        """How the jobs are, by rule and state. rule: only its jobs. which: see `Which`.

        Raises: HpcmakeError
        """
        from buildhpc.api.asking import overview_of

        with inside(self.folder):
            args = pick_args((), True, self.file, self._settings, which)
            return Status(overview_of(args, rule))

    def jobs(self, *words: str, **which: Unpack[Which]) -> Jobs:
        """The jobs that runs have had, by rule and name.

        words: names of jobs or rules, or files; none: all. which: see `Which`.
        Raises: HpcmakeError
        """
        with inside(self.folder):
            return Jobs(self._picked(words, which, "jobs")[1])

    def attempts(self, job: str) -> list[AttemptRow]:
        """The attempts of a job, oldest first: how each ended, what it used, where.

        Times in seconds, memory in MiB, moments in seconds since the epoch; None: not known.
        """
        from buildhpc.commands.pick import known_state
        from buildhpc.state.queries import attempts

        with inside(self.folder):
            return attempts(known_state(), job)

    def log(self, job: str, attempt: int = -1, *, out: bool = False, err: bool = False) -> str:
        """What an attempt of a job printed. attempt: 1 the first, -1 the last.

        out, err: that alone. Raises: HpcmakeError where the job has no such attempt, or that
        printed both into one log
        """
        from buildhpc.api.asking import log_of
        from buildhpc.commands.logs import stream_of

        with inside(self.folder):
            return log_of(job, attempt, stream_of(out, err))

    def logs(
        self, *words: str, out: bool = False, err: bool = False, **which: Unpack[Which]
    ) -> dict[str, str]:
        """Job -> what its last attempt printed. Other arguments: as for `jobs`.

        out, err: that alone, of the jobs that keep them apart. Raises: HpcmakeError if none does
        """
        from buildhpc.api.asking import logs_of
        from buildhpc.commands.logs import stream_of

        with inside(self.folder):
            state, rows = self._picked(words, which, "logs")
            return logs_of(state, [row.name for row in rows], stream_of(out, err))

    def cancel(self, *words: str, every: bool = False, **which: Unpack[Which]) -> tuple[str, ...]:
        """Stop jobs that runs have, here and on clusters; what needs them is skipped.

        every: all of them. Other arguments: as for `jobs`. The names of the jobs come back.
        Raises: HpcmakeError
        """
        from buildhpc.api.acting import cancelled

        with inside(self.folder):
            return cancelled(*self._picked(words, which, "cancel", every))

    def set(
        self, values: Mapping[str, Any], *words: str, every: bool = False, **which: Unpack[Which]
    ) -> tuple[str, ...]:
        """Tell something of jobs: `priority`, or what `where` has as `meta.NAME`. Else: `reset`."""
        from buildhpc.api.acting import were_told

        with inside(self.folder):
            return were_told(*self._picked(words, which, "set", every), values)

    def forget(self, *words: str, every: bool = False, **which: Unpack[Which]) -> tuple[str, ...]:
        """Remove all that is known of jobs: the times of their files decide. Else as `reset`."""
        from buildhpc.api.acting import forgotten

        with inside(self.folder):
            return forgotten(*self._picked(words, which, "forget", every))

    def retry(
        self,
        *words: str,
        where: str | None = None,
        on_event: Callable[[Event], object] | None = None,
        **how: Unpack[How],
    ) -> Result:
        """Run again what failed, was skipped, cancelled or lost, and wait for the end.

        words, where: as for `jobs`; none: all such jobs. on_event, how: as for `run`; the rest is
        as in the run that had the jobs. Raises: HpcmakeError
        """
        from buildhpc.api.acting import as_before
        from buildhpc.commands import retry

        with inside(self.folder):
            which: Which = {"where": where} if where is not None else {}
            state, rows = self._picked(words, which, "retry", True)
            taken, _, rest = retry.sorted_out(state, retry.again(rows))
            last = retry.last_run(state, rest) if rest else None
            targets = retry.targets_of(self._project(), state, last, rest) if rest else []
        if not targets:
            return Result(0, None, "submitted-again" if taken else "nothing-to-do")
        return self.run(*targets, cluster=as_before(last, how), on_event=on_event, **how)

    def reset(
        self, *words: str, every: bool = False, force: bool = False, **which: Unpack[Which]
    ) -> tuple[str, ...]:
        """Let the next run make jobs anew; no file is touched.

        force: jobs that are done as well, which are spared unless `state` or `where` speaks of
        states. Other arguments: as for `cancel`. The names of the jobs come back; those that a
        living run has are left alone. Raises: HpcmakeError
        """
        from buildhpc.api.acting import were_reset

        with inside(self.folder):
            args = pick_args(words, every, self.file, self._settings, which)
            args.force = force
            return were_reset(*self._picked(words, which, "reset", every), args)

    def why(self, *targets: str) -> str:
        """Why targets would or would not be made, as `hpcmake why` tells it.

        Raises: HpcmakeError
        """
        from buildhpc.commands.why import explain

        with inside(self.folder):
            return "\n".join(explain(self._project(), targets))

    def graph(self, *targets: str, jobs: bool = False) -> Graph:
        """What depends on what: rules, or with `jobs` the jobs, the stale ones marked.

        Raises: HpcmakeError
        """
        from buildhpc.api.asking import graph_of

        with inside(self.folder):
            return graph_of(self._project(), targets, jobs)

    def check(self, *targets: str) -> list[Problem]:
        """Everything that can be known to be wrong without running; empty: nothing."""
        from buildhpc.commands.findings import inspect

        with inside(self.folder):
            if self.file is None:
                self._project()
                return []
            return list(inspect(self.file, self._settings, targets).problems)

    def _project(self) -> Project:
        from buildhpc.project import open_project

        if self._opened is not None:
            return self._opened(False)
        assert self.file is not None
        return open_project(self.file, self._settings)

    def _is_list(self) -> bool:
        """Whether it is a job list. Raises: HpcmakeError where its file is gone."""
        from buildhpc.commands.common import find_pipefile
        from buildhpc.project import LIST_ENDING

        if self._opened is not None or self.file is None:
            return True
        return find_pipefile(self.file).endswith(LIST_ENDING)

    def _build_args(
        self, targets: Sequence[str], how: How, cluster: str | None, listener: Listener | None
    ) -> Any:
        args = build_args(targets, self.file, self._settings, how, cluster)
        args.reporter = listener
        args.command_line = f"buildhpc: {' '.join(targets) or self.file or 'job list'}"
        return args

    def _picked(
        self, words: Sequence[str], which: Which, verb: str, every: bool = False
    ) -> tuple[State, list[JobRow]]:
        """The state, and the jobs that are meant. Raises: HpcmakeError."""
        from buildhpc.commands.pick import known_state, picked

        looking = verb in ("jobs", "logs") and not (words or which)
        args = pick_args(words, every or looking, self.file, self._settings, which)
        state = known_state()
        return state, picked(state, args, verb)
