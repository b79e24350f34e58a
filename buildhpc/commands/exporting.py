"""A plan written down for people to submit: manifest, job scripts, and the script `submit`."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from buildhpc.commands.checks import check_files, check_known, check_protected, check_values
from buildhpc.commands.describing import spec_maker
from buildhpc.commands.leftovers import run_marker
from buildhpc.commands.lists import list_file
from buildhpc.commands.sketching import Planned, clusters_for, plan_lines
from buildhpc.commands.work import to_claims
from buildhpc.messages import clusters as messages
from buildhpc.project import Project
from buildhpc.run.asks import WARN_S, Files, Try, elements_of, to_submit, umask
from buildhpc.run.clusters import Clusters, Site
from buildhpc.run.manifest import Header, write_manifest
from buildhpc.run.sketch import Sketch, choose_first, drafts_of, sketches, tries_of
from buildhpc.run.slices import Draft
from buildhpc.schedulers.exported import job_scripts, submit_script
from buildhpc.state.changes import forget_runs
from buildhpc.state.database import State
from buildhpc.state.exports import Exported, record_export
from buildhpc.state.plan_file import PlannedJob, as_planned
from buildhpc.state.recorder import RunInfo
from buildhpc.state.submissions import Submission

_FOLDER = "hpcmake-export"


class Export:
    """One export."""

    def __init__(self, args: argparse.Namespace, project: Project, state: State) -> None:
        self._args = args
        self._project = project
        self._state = state
        self._clusters: Clusters = clusters_for(args.cluster, args.cluster_option)
        self._site: Site = self._clusters.site(args.cluster)
        self._folder = ""

    def write(self, planned: Planned) -> str:
        """Write it; what there is to say of it. Raises: HpcmakeError, OSError."""
        self._folder = _new_folder(getattr(self._args, "output", None))
        try:
            return self._write(planned)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def _write(self, planned: Planned) -> str:
        check_known(planned[0])
        jobs = self._jobs(planned)
        tries = tries_of(jobs, choose_first(jobs, lambda _: sys.maxsize))
        made = drafts_of(self._clusters, tries)
        exported = self._record(planned, made, tries)
        try:
            found = self._files(exported, made, tries)
        except BaseException:
            forget_runs(self._state, [exported.run])
            raise
        count = "1 job" if len(jobs) == 1 else f"{len(jobs):,} jobs"
        parts = "1 submission" if len(found) == 1 else f"{len(found):,} submissions"
        submit = shlex.quote(os.path.join(self._folder, "submit"))
        return f"{count} in {parts}: `{submit}` submits them"

    def _jobs(self, planned: Planned) -> list[PlannedJob]:
        """The jobs of the plan, all of them known. Raises: HpcmakeError."""
        graph, _, plan = planned
        lister = partial(list_file, Path(self._folder))
        describer = spec_maker(self._project.pipeline, "export", lister)
        check_protected(plan, unprotect=getattr(self._args, "unprotect", False))
        check_values(plan, self._project.pipeline, describer)
        check_files(plan, graph, describer)
        lines = plan_lines(self._project, planned, self._clusters, lister)
        jobs = as_planned(lines.lines(0))
        spans = {step.job.name: step.job.rule.span for step in plan.steps}
        for job in jobs:
            if job.cluster != self._site.alias:
                raise messages.other_cluster(job.job, job.cluster, self._site.alias, spans[job.job])
            if job.deferred:
                raise messages.known_too_late(job.job, spans[job.job])
        return jobs

    def _record(
        self, planned: Planned, made: Sequence[Draft], tries: Mapping[int, Try]
    ) -> Exported:
        """Raises: messages.jobs_taken."""
        args = self._args
        kept = {"cluster": args.cluster, "cluster_options": args.cluster_option}
        info = RunInfo(shlex.join(sys.argv), tuple(args.targets), kept)
        texts = {each.details["recipe"]: each.details["text"] for each in tries.values()}
        exported = record_export(
            self._state,
            info,
            to_claims(self._project.pipeline, [step.job for step in planned[2].steps]),
            [to_submit(draft, tries) for draft in made],
            (os.path.join(self._folder, "jobs.jsonl"), texts),
        )
        if exported.foreign:
            raise messages.jobs_taken(exported.foreign)
        return exported

    def _files(
        self, exported: Exported, made: Sequence[Draft], tries: Mapping[int, Try]
    ) -> list[Sketch]:
        """Write what runs the jobs, and the scripts. Raises: OSError."""
        assert exported.slice is not None
        here = os.getcwd()
        folder = os.path.join(here, self._folder)
        there = self._site.there
        opened = exported.slice
        said = getattr(self._args, "latency", None)
        header = Header(
            exported.run,
            opened.id,
            there(here),
            there(os.path.join(here, ".hpcmake")),
            run_marker(exported.run),
            self._site.settings.latency_s if said is None else said,
            keep_incomplete=getattr(self._args, "keep_incomplete", False),
            warn_s=WARN_S,
            umask=umask(),
            logs=there(os.path.join(folder, "logs")),
        )
        os.makedirs(os.path.join(folder, "logs"))
        os.makedirs(os.path.join(here, ".hpcmake", "inbox"), exist_ok=True)
        manifest = os.path.join(folder, "jobs.jsonl")
        write_manifest(manifest, header, elements_of(opened.submissions, made, tries, ()))
        files = Files(here, manifest, os.path.join(folder, "logs", "scripts.out"))
        found = sketches(self._clusters, made, opened.submissions, files, _edge_id)
        self._write_scripts(folder, [each.ask.name for each in found], found)
        return found

    def _write_scripts(self, folder: str, names: Sequence[str], found: Sequence[Sketch]) -> None:
        adapter = self._site.scheduler
        asks = [each.ask for each in found]
        pairs = [(ask, f"{name}.sh") for ask, name in zip(asks, names, strict=True)]
        texts = dict(zip(names, job_scripts(adapter, asks), strict=True))
        scripts = {f"{name}.sh": text for name, text in texts.items()}
        scripts["submit"] = submit_script(adapter, pairs)
        for name, text in scripts.items():
            path = Path(folder, name)
            path.write_text(text, encoding="utf-8", errors="surrogateescape")
            path.chmod(path.stat().st_mode | 0o111)


def _edge_id(site: Site, made: Submission, element: int | None) -> str:
    """As `submit_script` takes it."""
    del site
    return made.name if element is None else f"{made.name}:{element}"


def _new_folder(asked: str | None) -> str:
    """A new folder, from the working folder. Raises: messages.export_there, OSError."""
    number = 1
    while True:
        path = asked or (_FOLDER if number == 1 else f"{_FOLDER}-{number}")
        try:
            os.makedirs(path)
        except FileExistsError:
            if asked and os.path.isdir(path) and not os.listdir(path):
                return os.path.normpath(path)
            if asked:
                raise messages.export_there(path) from None
            number += 1
        else:
            return os.path.normpath(path)
