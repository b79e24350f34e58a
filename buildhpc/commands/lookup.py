"""What a word on the command line means: a job by its name, a file, a rule."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from buildhpc.diagnostics import HpcmakeError

if TYPE_CHECKING:
    from buildhpc.plan.model import Job, JobGraph, Plan
    from buildhpc.plan.stale import Evidence
    from buildhpc.project import Project
    from buildhpc.state.database import State


def recorded_jobs(args: argparse.Namespace, state: State, words: Sequence[str]) -> list[str]:
    """The names of the jobs that `words` mean, each once. Raises: HpcmakeError.

    The state is asked first; the Pipefile only for a file that no job made yet.
    """
    whole = _named(state, " ".join(words))
    if whole:
        return whole
    found: dict[str, None] = {}
    for word in words:
        jobs = _named(state, word) or _made_by_rule(args, state, word)
        if not jobs:
            from buildhpc.messages import call
            from buildhpc.state.overview import known_names

            raise call.unknown_job(word, known_names(state, word))
        found.update(dict.fromkeys(jobs))
    return list(found)


def _named(state: State, word: str) -> list[str]:
    from buildhpc.language.patterns import normal
    from buildhpc.state.queries import Where, jobs

    for where in (Where(name=word), Where(rule=word), Where(target=normal(word))):
        if found := jobs(state, where):
            return [job.name for job in found]
    return []


def _made_by_rule(args: argparse.Namespace, state: State, word: str) -> list[str]:
    """The job that would make the file `word`, as far as the Pipefile can tell."""
    from buildhpc.commands.common import find_pipefile
    from buildhpc.language.patterns import normal
    from buildhpc.plan.choice import Choice
    from buildhpc.project import open_project

    try:
        project = open_project(find_pipefile(args.file), args.set)
        job = project.graph(Choice((word,)), state).maker.get(normal(word))
    except HpcmakeError:
        return []
    return [job.name] if job else []


@dataclass(frozen=True, slots=True)
class Meant:
    """What a word means to the Pipefile, and the plan that tells of it.

    jobs: those that are meant; none for a source. path: the file, where one was named.
    """

    graph: JobGraph
    evidence: Evidence
    plan: Plan
    jobs: tuple[Job, ...]
    path: str | None = None


class Finder:
    """Finds jobs in the plans that builds of them would make; writes nothing."""

    def __init__(self, project: Project) -> None:
        from buildhpc.state.database import read_state

        self.state: State | None = read_state(Path.cwd())
        self.project = project

    @classmethod
    def of(cls, args: argparse.Namespace) -> Finder:
        """The one for the Pipefile that options mean. Raises: HpcmakeError."""
        from buildhpc.commands.common import find_pipefile
        from buildhpc.project import open_project

        return cls(open_project(find_pipefile(args.file), args.set))

    def all(self, words: Sequence[str]) -> list[Meant]:
        """What each word means; the words of one job's name are one. Raises: HpcmakeError."""
        if len(words) > 1 and words[0] in self.project.pipeline.rules and "=" in words[1]:
            words = [" ".join(words)]
        return [self.one(word) for word in words]

    def one(self, word: str) -> Meant:
        """What `word` means. Raises: HpcmakeError.

        A rule with wildcards, and a job by its name, are looked for among all that a build
        without a target is about.
        """
        from buildhpc.language.patterns import normal
        from buildhpc.plan.choice import Choice

        rules = self.project.pipeline.rules
        rule = rules.get(word)
        if rule is not None and rule.wildcards:
            meant = self._every(lambda job: job.rule is rule)
            if not meant.jobs:
                from buildhpc.messages import call

                raise call.rule_not_needed(rule.name, str(rule.patterns()[0]))
            return meant
        if rule is None and word.partition(" ")[0] in rules and " " in word:
            return self._job(word)
        graph, evidence, plan = self.project.plan(Choice((word,)), self.state)
        if rule is not None:
            return Meant(graph, evidence, plan, graph.roots)
        path = normal(word)
        maker = graph.maker.get(path)
        return Meant(graph, evidence, plan, (maker,) if maker else (), path)

    def named(self, names: Sequence[str]) -> list[Meant]:
        """Each of the jobs of these names, in their order. Raises: HpcmakeError."""
        wanted = set(names)
        every = self._every(lambda job: job.name in wanted)
        found = {job.name: replace(every, jobs=(job,)) for job in every.jobs}
        return [found.get(name) or self._job(name) for name in names]

    def users(self, path: str) -> list[Job]:
        """The jobs that need the file `path` directly. Raises: HpcmakeError."""
        from buildhpc.plan.choice import Choice

        graph = self.project.graph(Choice(), self.state)
        return [job for job in graph.jobs if path in job.inputs]

    def _job(self, name: str) -> Meant:
        meant = self._every(lambda job: job.name == name)
        if meant.jobs:
            return meant
        record = self.state.record([name]).get(name) if self.state else None
        if record is not None and record.outputs:
            return self.one(record.outputs[0])
        from buildhpc.messages import call

        raise call.unknown_job(name, [job.name for job in meant.graph.jobs[:5000]])

    def _every(self, wanted: Callable[[Job], bool]) -> Meant:
        from buildhpc.plan.choice import Choice

        graph, evidence, plan = self.project.plan(Choice(), self.state)
        return Meant(graph, evidence, plan, tuple(job for job in graph.jobs if wanted(job)))
