"""Which outputs `clean` may remove: those of the graph, and those the state has recorded."""

from __future__ import annotations

import argparse
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from buildhpc import disk
from buildhpc.commands.common import find_pipefile, warn
from buildhpc.diagnostics import HpcmakeError, nearest
from buildhpc.language.patterns import normal
from buildhpc.messages import commands as messages
from buildhpc.messages import plan as plan_messages
from buildhpc.plan.choice import Choice
from buildhpc.plan.index import PatternIndex
from buildhpc.plan.model import Job, JobGraph
from buildhpc.plan.stamps import Stamp, same_stamp
from buildhpc.project import Project, open_project
from buildhpc.state.claims import Foreign
from buildhpc.state.database import State, read_state
from buildhpc.state.flows import WILDCARDS
from buildhpc.state.queries import jobs as recorded_jobs


@dataclass(frozen=True, slots=True)
class Output:
    """A file or folder that a job makes or made.

    rule: of that job. flags: of its rule's output, empty where no rule makes it.
    made: whether a rule makes it still. stamp: what its job left; None: not known.
    run: the live run that has its job, or one that needs it, if there is one.
    """

    path: str
    rule: str
    flags: tuple[str, ...] = ()
    made: bool = True
    stamp: Stamp | None = None
    run: int | None = None


def keep_reason(output: Output, *, unprotect: bool, force: bool) -> str | None:
    """Why an output that is there has to stay, None when it may go."""
    path = output.path
    if output.run is not None:
        return f"is what run {output.run} works on, which is alive"
    if os.path.islink(path):
        return None
    found = os.stat(path)
    if stat.S_ISDIR(found.st_mode):
        if "directory" not in output.flags:
            return "is a folder, and no rule says `directory(...)` of it"
        if output.stamp is None and not force:
            return "is a folder that no job is known to have made; `--force` removes it"
    now = disk.look(path)
    if not force and output.stamp and now and not same_stamp(output.stamp, now):
        return "was changed by hand since it was made; `--force` removes it"
    locked = not found.st_mode & stat.S_IWUSR
    if locked and not unprotect and ("protected" in output.flags or not output.made):
        return "is protected; `--unprotect` removes it"
    return None


class Outputs:
    """The outputs of the working folder. Raises: HpcmakeError."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._state: State | None = read_state(Path.cwd())
        self._project: Project = open_project(find_pipefile(args.file), args.set)
        self._rules = self._project.pipeline.rules
        self._found: dict[str, Output] = {}
        self._sources: set[str] = set()
        self._held: dict[str, int] = {}
        self._recorded()
        if self._rules:
            self._graph()

    def chosen(self) -> list[Output]:
        """The outputs that the command line means, sources never. Raises: HpcmakeError."""
        args = self._args
        self._check_rules(args.rule)
        paths, rules = set(), set(args.rule)
        for word in args.targets:
            if word in self._rules and (self._rules[word].wildcards or self._rules[word].outputs):
                rules.add(word)
            else:
                paths |= self._paths(word)
        return [
            output
            for output in sorted(self._found.values(), key=lambda each: each.path)
            if output.path not in self._sources
            and output.made is not args.unknown
            and (not args.temp or "temp" in output.flags)
            and (not (paths or rules) or output.path in paths or output.rule in rules)
        ]

    def unknown_there(self) -> int:
        """How many recorded outputs that no rule makes any more are there."""
        return sum(
            not output.made and path not in self._sources and os.path.lexists(path)
            for path, output in self._found.items()
        )

    def _recorded(self) -> None:
        """What jobs are known to have made, and what they left."""
        if self._state is None:
            return
        records = self._state.records()
        paths = {path for record in records.values() for path in record.outputs}
        makers = self._state.maker(sorted(paths))
        rows = {row.name: row for row in recorded_jobs(self._state)}
        claims = {row.name: row.claim for row in rows.values() if row.claim is not None}
        polled = Foreign(self._state).poll(claims).items()
        self._held = {name: claims[name] for name, (_, live) in polled if live}
        index = PatternIndex(self._rules.values())
        for path, name in makers.items():
            record, row = records.get(name), rows.get(name)
            if row and row.wildcards.keys() == WILDCARDS:
                continue  # a node of a data flow made it
            stamps = dict(zip(record.outputs, record.output_stamps, strict=True)) if record else {}
            done = record is not None and record.state == "done"
            output = Output(
                path,
                row.rule if row else "",
                made=False,
                stamp=stamps.get(path) if done else None,
                run=self._held.get(name),
            )
            self._found[path] = _still_made(output, index)

    def _graph(self) -> None:
        """What the default targets, and those asked for, are made of."""
        try:
            self._declare(self._project.graph(Choice(), self._state))
        except HpcmakeError as error:
            # What is a source and what is not hangs on the graph.
            if self._args.unknown:
                raise
            for problem in error.problems:
                warn(replace(problem, severity="warning"))

    def _declare(self, graph: JobGraph) -> None:
        needed = {
            p: run for job in graph.jobs if (run := self._held.get(job.name)) for p in job.inputs
        }
        for job in graph.jobs:
            self._sources.update(str(p) for p in job.inputs if p not in graph.maker)
            for path, pattern in zip(job.outputs, job.rule.patterns(), strict=True):
                known = self._found.get(path) or Output(path, job.rule.name)
                self._found[path] = replace(
                    known,
                    rule=job.rule.name,
                    flags=pattern.flags,
                    made=True,
                    run=known.run or self._held.get(job.name) or needed.get(path),
                )

    def _paths(self, word: str) -> set[str]:
        """The outputs that a word means: a file, or what a rule without outputs stands for."""
        path = normal(word)
        if word not in self._rules and path in self._found and path not in self._sources:
            return {path}
        try:
            graph = self._project.graph(Choice((word,)), self._state)
        except HpcmakeError as error:
            if word in self._rules:
                raise
            raise messages.no_output(word, nearest(word, self._found)) from error
        self._declare(graph)
        if word in self._rules:
            return _made_for(graph.roots, graph)
        if path not in graph.maker:
            raise messages.no_output(word, nearest(word, self._found))
        return {path} & self._found.keys()

    def _check_rules(self, names: Iterable[str]) -> None:
        known = {*self._rules, *(output.rule for output in self._found.values())}
        for name in names:
            if name not in known:
                raise plan_messages.unknown_rule_option("--rule", name, known)


def _still_made(output: Output, index: PatternIndex) -> Output:
    """A recorded output with the flags of the rule that can make it still, if one can."""
    options = index.candidates(output.path)
    if not options:
        return output
    same = [option for option in options if option.rule.name == output.rule]
    best = (same or options)[0]
    flags = best.pattern.flags if best.pattern else ()
    return replace(output, rule=best.rule.name, flags=flags, made=True)


def _made_for(roots: Iterable[Job], graph: JobGraph) -> set[str]:
    """The outputs of jobs, and of those that make what they stand for."""
    found: set[str] = set()
    for job in roots:
        makers = [graph.maker[path] for path in job.inputs if path in graph.maker]
        for each in (job, *(makers if not job.outputs else ())):
            found.update(each.outputs)
    return found
