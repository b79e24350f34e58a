"""A job list that can be run: commands and functions, without a Pipefile."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Unpack

from buildhpc.api.options import How, What
from buildhpc.api.pipeline import Pipeline
from buildhpc.api.views import Plan, Result, Submitted
from buildhpc.joblist.entries import Entries

if TYPE_CHECKING:
    from buildhpc.project import Project
    from buildhpc.run.events import Event


class JobList(Entries):
    """Jobs in an order, each a command or a function; see `add`.

    The list is planned, run and asked of as a Pipefile is: `run(jobs=1)` does one job after the
    other, `run(jobs=4)` in a pool of processes, `run(cluster="slurm")` on a cluster, `plan()`
    nothing. All paths are relative to the current folder. What fails stops the list, and cancels
    what follows; a job whose outputs are there, and whose command, arguments and inputs are as
    they were, is skipped.

    logs: a folder for what each attempt prints: `LOGS/NAME.ATTEMPT.out` and `.err`; None: the
    state keeps it. log_file: a file that what functions log through `logging` is added to, from
    `log_level` up. defaults: what every job needs; see `Entry.needs`.
    """

    @property
    def pipeline(self) -> Pipeline:
        """The list as a pipeline, for `status`, `jobs`, `logs`, `cancel`, `retry`, `graph`, ...

        Raises: HpcmakeError, with every problem of the list.
        """
        self._compiled()
        names = [entry.name for entry in self]
        return Pipeline(os.getcwd(), _main_file(), (), names, self._project)

    def plan(self, *targets: str, **what: Unpack[What]) -> Plan:
        """What a run would do, and why; see `Pipeline.plan`. targets: names, tasks or files."""
        return self.pipeline.plan(*targets, **what)

    def run(
        self,
        *targets: str,
        cluster: str | None = None,
        on_event: Callable[[Event], object] | None = None,
        **how: Unpack[How],
    ) -> Result:
        """Run the jobs, and wait for the end; see `Pipeline.run`. targets: as for `plan`."""
        return self.pipeline.run(*targets, cluster=cluster, on_event=on_event, **how)

    def submit(
        self,
        *targets: str,
        cluster: str,
        every: str | None = None,
        times: int | None = None,
        **how: Unpack[How],
    ) -> Submitted:
        """Hand the jobs to a scheduler, once or periodically; see `Pipeline.submit`."""
        send = self.pipeline.submit
        return send(*targets, cluster=cluster, every=every, times=times, **how)

    def submissions(self, *targets: str, cluster: str, **how: Unpack[How]) -> tuple[str, ...]:
        """The command lines that would submit the jobs; see `Pipeline.submissions`."""
        return self.pipeline.submissions(*targets, cluster=cluster, **how)

    def main(self, words: Sequence[str] | None = None) -> int:
        """Do what the command line says, as `hpcmake -f FILE` does; the exit code.

        words: instead of those that the program was called with. For the end of a file:
        `if __name__ == "__main__": sys.exit(jobs.main())`. Of all calls only this one prints.
        """
        from buildhpc.cli import main
        from buildhpc.joblist.load import check_not_importing

        check_not_importing()
        file = _main_file()
        given = list(sys.argv[1:] if words is None else words)
        return main([*(["-f", file] if file else []), *given])

    def _compiled(self) -> Project:
        from buildhpc.disk import World
        from buildhpc.joblist.compile import compile_entries
        from buildhpc.project import Project

        world = World()
        world.opaque = True
        file = _main_file() or ""
        return Project(compile_entries(self, file), world, file)

    def _project(self, _keep: bool) -> Project:
        return self._compiled()


def _main_file() -> str | None:
    """The file of the program, as the current folder has it; None: there is none."""
    main = sys.modules.get("__main__")
    file: str | None = getattr(main, "__file__", None)
    if file is None or not file.endswith(".py") or getattr(main, "__spec__", None) is not None:
        return None
    path = os.path.relpath(file)
    return os.path.abspath(file) if path.startswith("..") else path
