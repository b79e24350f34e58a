"""A Pipefile in its working folder: loaded, its jobs found, the stale ones planned."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from buildhpc import disk
from buildhpc.disk import Disk, World
from buildhpc.language.values import plain
from buildhpc.messages import plan as messages
from buildhpc.plan.choice import Choice
from buildhpc.plan.graph import GraphBuilder
from buildhpc.plan.jobs import priority_of
from buildhpc.plan.known import unpack
from buildhpc.plan.model import Job, JobGraph, Plan
from buildhpc.plan.narrow import asked_for, narrowed
from buildhpc.plan.plan import make_plan
from buildhpc.plan.recipe import compared_text, digest_of
from buildhpc.plan.stale import Evidence
from buildhpc.plan.stamps import Record
from buildhpc.rules.config import read_settings
from buildhpc.rules.load import load
from buildhpc.rules.model import Pipeline
from buildhpc.state import priorities
from buildhpc.state.syntax_cache import SyntaxCache

if TYPE_CHECKING:
    from buildhpc.plan.growing import Growing
    from buildhpc.state.database import State
    from buildhpc.state.fresh import Known
    from buildhpc.state.priorities import Said


# Of a Python file that builds a job list.
LIST_ENDING = ".py"


@dataclass(slots=True)
class Project:
    """What a Pipefile says, and what of it was looked at so far.

    world: what loading read. disk: the stamps that planning saw. digests: of the files whose
    content it looked at. lenient: a file that cannot be looked at is no error of the plan; its
    jobs are in it, to fail by themselves. growing: what of the last plan hangs on checkpoints.
    state: that the last jobs were looked for with.
    """

    pipeline: Pipeline
    world: World
    pipefile: str
    disk: Disk = field(default_factory=Disk)
    digests: dict[str, str] = field(default_factory=dict)
    lenient: bool = False
    growing: Growing | None = None
    state: State | None = None

    def log_to(self, folder: str | None) -> None:
        """Let what attempts print go to a folder, unless their rules say where; None: nothing."""
        if folder:
            self.pipeline = replace(self.pipeline, logs=folder)

    def graph(self, choice: Choice, state: State | None) -> JobGraph:
        """The jobs that the chosen targets need. Raises: HpcmakeError."""
        if self.pipeline.awaits:
            return self.plan(choice, state)[0]
        return self.found(self.builder(state), choice)

    def builder(self, state: State | None) -> GraphBuilder:
        """What finds jobs, by the files as they are now: `disk` sees them anew."""
        self.disk = Disk(lenient=self.lenient)
        self.digests = {}
        self.state = state
        return GraphBuilder(
            self.pipeline,
            self.disk,
            lambda path: bool(state and state.maker([path])),
            self.world.names,
        )

    def found(self, builder: GraphBuilder, choice: Choice) -> JobGraph:
        """The jobs that a builder finds for the chosen targets. Raises: HpcmakeError."""
        graph = builder.build(choice.targets or default_targets(self.pipeline, self.pipefile))
        self.disk.expect(graph.maker)
        return narrowed(graph, choice, self.pipeline, self._priority(choice))

    def _priority(self, choice: Choice) -> Callable[[Job], int]:
        """What tells the priority of a job, where that is asked for."""
        said: Mapping[str, Said] = {}
        if self.state is not None and choice.min_priority is not None:
            said = priorities.said(self.state)

        def priority(job: Job) -> int:
            planned = priority_of(self.pipeline, job)
            return said[job.name].of(planned) if job.name in said else planned

        return priority

    def evidence(
        self, graph: JobGraph, choice: Choice, state: State | None, *, part: bool = False
    ) -> Evidence:
        """What freshness of the jobs of `graph` is decided by.

        part: they are a few of many: read only their records.
        """
        records: Mapping[str, Record] = {}
        if state is not None:
            names = [job.name for job in graph.jobs]
            records = state.record(names) if part else state.records()
        return replace(
            self.basis(records, _Makers(state, graph).get, choice),
            targets=frozenset(graph.targets),
            forced=forced(graph, choice),
            makers=graph.maker,
        )

    def basis(
        self, records: Mapping[str, Record], maker: Callable[[str], str | None], choice: Choice
    ) -> Evidence:
        """What freshness of any job is decided by. records, maker: as `Evidence` has them."""
        return Evidence(
            disk=self.disk,
            records=records,
            recipe=Recipes(self.pipeline).digest,
            maker=maker,
            digest=self._digest,
            order_time=self._order_time,
            content=choice.content,
        )

    def _order_time(self, path: str) -> int:
        """The time of a path; of one that cannot be looked at, later than any other."""
        return 2**63 if path in self.disk.unreadable else disk.tree_mtime(path)

    def _digest(self, path: str) -> str | None:
        """The digest of a file, taken once."""
        if path not in self.digests:
            found = disk.digest(path)
            if found is None:
                return None
            self.digests[path] = found
        return self.digests[path]

    def plan(self, choice: Choice, state: State | None) -> tuple[JobGraph, Evidence, Plan]:
        """The graph, what was looked at, and the plan. Raises: HpcmakeError."""
        self.growing = None
        if self.pipeline.awaits:
            from buildhpc.later import plan_until_checkpoints

            return plan_until_checkpoints(self, choice, state)
        graph = self.graph(choice, state)
        evidence = self.evidence(graph, choice, state)
        return graph, evidence, make_plan(graph, evidence)

    def plan_part(
        self, found: Known, choice: Choice, state: State
    ) -> tuple[JobGraph, Evidence, Plan] | None:
        """The same where only files changed since everything was fresh; None: look at it all.

        The plan has the stale jobs, as that of the whole graph would.
        """
        try:
            graph = unpack(found.packed, found.names)
            if not set(found.gone) <= {
                *graph.outputs,
                *range(_first_missing(found), len(found.names)),
            }:
                return None  # a source is gone
            jobs = graph.touched(found.changed, found.gone)
            part = graph.part(jobs, self.pipeline, self.disk)
        except ValueError:
            return None
        evidence = self.evidence(part, choice, state, part=True)
        plan = make_plan(part, evidence)
        return part, evidence, Plan(plan.steps, found.jobs, plan.edited, plan.replaced)


def _first_missing(found: Known) -> int:
    """The number of the first path that was missing before."""
    return found.files + len(found.folders)


class Recipes:
    """The compared texts of jobs' recipes and their digests."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._digests: dict[Job, str] = {}
        self._scripts: dict[str, str] = {}

    def text(self, job: Job) -> str:
        """The compared text of `job`; a script that reads `config` hangs on all of it."""
        text = compared_text(self._pipeline, job)
        recipe = job.rule.recipe
        if recipe is None or recipe.kind not in ("script", "python"):
            return text
        source = recipe.text
        if recipe.kind == "script":
            source = self._script(str(job.inputs[-1]))
        if "config" in source:
            text += f"config: {json.dumps(plain(self._pipeline.constants['config']))}\n"
        return text

    def _script(self, path: str) -> str:
        if path not in self._scripts:
            try:
                self._scripts[path] = Path(path).read_text(errors="replace")
            except OSError:
                self._scripts[path] = ""
        return self._scripts[path]

    def digest(self, job: Job) -> str:
        """The digest of the compared text of `job`."""
        found = self._digests.get(job)
        if found is None:
            found = self._digests[job] = digest_of(self.text(job))
        return found


class _Makers:
    """Who made a file last; asked of the state once for all outputs of a graph."""

    def __init__(self, state: State | None, graph: JobGraph) -> None:
        self._state = state
        self._graph = graph
        self._found: dict[str, str] | None = None

    def get(self, path: str) -> str | None:
        """The job that made `path` last, None where the state knows of none."""
        if self._state is None:
            return None
        if self._found is None:
            paths = [path for job in self._graph.jobs for path in job.outputs]
            self._found = self._state.maker(paths)
        return self._found.get(path)


def open_project(pipefile: str, settings: Sequence[str] = (), *, keep: bool = False) -> Project:
    """Load the Pipefile at `pipefile`, relative to the current folder.

    settings: `NAME=VALUE`, over what configuration files say.
    keep: remember what was parsed, so that it need not be parsed next time.
    Raises: HpcmakeError
    """
    world = World()
    if pipefile.endswith(LIST_ENDING):
        from buildhpc.joblist.load import load_list

        return Project(load_list(pipefile, world, read_settings(settings)), world, pipefile)
    cache = SyntaxCache(Path(".hpcmake") / "cache", keep=keep)
    pipeline = load(pipefile, world, cache.parse, read_settings(settings))
    return Project(pipeline, world, pipefile)


def default_targets(pipeline: Pipeline, pipefile: str) -> tuple[str, ...]:
    """The rule `all`, else the first rule. Raises: HpcmakeError."""
    if not pipeline.rules:
        raise messages.no_rules(pipefile)
    if pipeline.default:
        return pipeline.default
    return ("all",) if "all" in pipeline.rules else (next(iter(pipeline.rules)),)


def forced(graph: JobGraph, choice: Choice) -> frozenset[str]:
    """The names of the jobs that have to run."""
    if choice.force_all:
        return frozenset(job.name for job in graph.jobs)
    names = set()
    if rules := frozenset(choice.force_rules):
        names = {job.name for job in graph.jobs if {job.rule.name, job.rule.task} & rules}
    if choice.force:
        names |= {job.name for job in asked_for(graph)}
    return frozenset(names)
