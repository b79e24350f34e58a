"""`check --cluster`: whether clusters would take the jobs, as far as can be told beforehand."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from buildhpc.commands.grow_run import parted
from buildhpc.commands.sketching import clusters_for, here, plan_lines
from buildhpc.diagnostics import Collecting, HpcmakeError, Problem, nearest
from buildhpc.messages import clusters as messages
from buildhpc.plan.choice import Choice
from buildhpc.project import Project
from buildhpc.run.asks import Files, ask_of
from buildhpc.run.clusters import Clusters, Site
from buildhpc.run.sketch import all_drafts
from buildhpc.run.slices import Draft
from buildhpc.schedulers.protocol import Ask, Request
from buildhpc.sites import read_sites
from buildhpc.state.plan_file import PlannedJob, as_planned
from buildhpc.state.submissions import Submission


@dataclass(slots=True)
class Checked:
    """What came of asking a cluster.

    jobs: of the plan, on it. deferred: those whose needs hang on files that are made first.
    requests: the different ones; asked: of which the scheduler said yes or no; silent: it says
    no more.
    """

    cluster: str
    scheduler: str
    jobs: int = 0
    deferred: int = 0
    requests: int = 0
    asked: int = 0
    refused: int = 0
    silent: bool = False

    def line(self) -> str:
        """The same for people."""
        jobs = "1 job" if self.jobs == 1 else f"{self.jobs:,} jobs"
        what = "1 request" if self.requests == 1 else f"{self.requests:,} different requests"
        parts = [jobs, what]
        if self.deferred:
            parts.append(f"{self.deferred:,} known only when other jobs have run")
        if self.refused:
            parts.append(f"{self.refused:,} refused")
        elif self.silent:
            parts.append(f"{self.scheduler} does not answer")
        elif self.asked:
            parts.append(f"{self.scheduler} would take {'it' if self.asked == 1 else 'all'}")
        elif self.requests:
            parts.append(f"{self.scheduler} cannot be asked without submitting")
        return f"cluster {self.cluster}: {', '.join(parts)}"


@dataclass(slots=True)
class Report:
    """What was found. away: the problems of schedulers that could not be had, among all."""

    problems: list[Problem] = field(default_factory=list)
    clusters: list[Checked] = field(default_factory=list)
    away: list[Problem] = field(default_factory=list)


def check_clusters(
    project: Project, targets: Sequence[str], cluster: str, options: Sequence[str]
) -> Report:
    """Ask the clusters about all jobs that the targets may need; nothing is submitted.

    cluster: of rules that name none. options: as `--cluster-option` gives them.
    """
    checker = _Checker(project)
    with Collecting(checker.report.problems):
        checker.sites(cluster, options)
        clusters = clusters_for(cluster, options)
        checker.ask_all(clusters, checker.jobs(clusters, targets))
    return checker.report


class _Checker:
    """Gathers what is found into `report`."""

    def __init__(self, project: Project) -> None:
        self.report = Report()
        self._project = project
        self._rules = project.pipeline.rules

    def sites(self, cluster: str, options: Sequence[str]) -> None:
        """Read all that is said of clusters, whichever are used. Raises: HpcmakeError."""
        sites = read_sites(os.getcwd(), options, cluster)
        problems = self.report.problems
        for alias in sites.names():
            if alias != cluster:
                with Collecting(problems):
                    sites.cluster(alias)
        for rule in sites.cluster(cluster).rules:
            if rule not in self._rules:
                near = nearest(rule, self._rules)
                problems.append(messages.unused_site_rule(rule, cluster, near))

    def jobs(self, clusters: Clusters, targets: Sequence[str]) -> list[PlannedJob]:
        """All jobs, fresh or not; none where something is wrong with one, which is told."""
        planned = self._project.plan(Choice(tuple(targets), force_all=True), None)
        maker = plan_lines(self._project, planned, clusters)
        told: set[tuple[str, str]] = set()
        lines: list[dict[str, Any]] = []
        known, _ = parted(planned[2].steps, planned[0])
        for step in known:
            try:
                lines.append(maker.line(step, None))
            except HpcmakeError as error:
                for problem in error.problems:
                    # Once for a rule: most likely its other jobs have the same.
                    if (key := (step.job.rule.name, problem.slug)) not in told:
                        told.add(key)
                        self.report.problems.append(problem)
        return [] if told else as_planned(lines)

    def ask_all(self, clusters: Clusters, jobs: Sequence[PlannedJob]) -> None:
        """Ask each cluster about each of the requests. Raises: HpcmakeError."""
        found: dict[tuple[str, Request], list[Draft]] = {}
        for draft in all_drafts(clusters, jobs):
            found.setdefault((draft.cluster, draft.request), []).append(draft)
        for alias in dict.fromkeys(each.cluster for each in jobs):
            site = clusters.site(alias)
            mine = [each for each in jobs if each.cluster == alias]
            requests = [some for (name, _), some in found.items() if name == alias]
            checked = Checked(alias, site.settings.scheduler, len(mine))
            checked.deferred = sum(each.deferred for each in mine)
            checked.requests = len(requests)
            self.report.clusters.append(checked)
            try:
                with _folder(site) as folder:
                    for drafts in requests:
                        self._ask(site, folder, drafts, jobs)
            except HpcmakeError as error:
                if error.exit_code == 3:
                    checked.silent = True
                    self.report.away += error.problems
                self.report.problems += error.problems

    def _ask(
        self, site: Site, folder: str, drafts: Sequence[Draft], jobs: Sequence[PlannedJob]
    ) -> None:
        """Ask about one request, as the longest array that makes it. Raises: HpcmakeError."""
        longest = max(drafts, key=lambda draft: len(draft.elements))
        files = Files(here(), here(".hpcmake", "manifest"), here(".hpcmake", "out"))
        ask = ask_of(site, longest, Submission(0, "check", 0), (), files)
        path = os.path.join(folder, "check.sh")
        text = site.scheduler.script(ask)
        Path(path).write_text(text, encoding="utf-8", errors="surrogateescape")
        command = site.scheduler.validate(ask, site.there(path))
        answer = site.validate(ask, site.there(path))
        if command is None or answer is None:
            return
        checked = self.report.clusters[-1]
        if answer.code is None or (answer.code and site.scheduler.refusal(answer) == "later"):
            said = messages.said(command, answer).replace(path, "SCRIPT")
            raise messages.cannot_check(site.alias, said)
        checked.asked += 1
        if answer.code == 0:
            return
        checked.refused += 1
        job = jobs[longest.elements[0][0]]
        others = sum(len(each) for draft in drafts for each in draft.elements) - 1
        asks = _asks(site, ask)
        span = self._rules[job.rule].span
        self.report.problems.append(
            messages.unfit_request(
                job.job, others, site.alias, asks, messages.words_of(answer), span
            )
        )


def _asks(site: Site, ask: Ask) -> list[str]:
    """The words that ask for something in particular: those that a bare job has not."""
    bare = replace(ask, request=Request(), elements=0)
    usual = set(_words(site, bare))
    return [word for word in dict.fromkeys(_words(site, ask)) if word not in usual]


def _words(site: Site, ask: Ask) -> list[str]:
    command = site.scheduler.validate(ask, "SCRIPT") or []
    said = re.findall(r"^#\S+ +(-.*)$", site.scheduler.script(ask), re.MULTILINE)
    return [*command, *said]


@contextmanager
def _folder(site: Site) -> Iterator[str]:
    """A folder for a script, that the scheduler's commands see as well."""
    near = os.getcwd() if site.settings.host else None
    with tempfile.TemporaryDirectory(prefix=".hpcmake-check-", dir=near) as folder:
        yield folder
