"""The plan of a run on clusters, as the lines of its plan file: all that is known beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from buildhpc.diagnostics import HpcmakeError, Span
from buildhpc.messages import clusters as messages
from buildhpc.plan.model import Job, JobGraph, Plan, Step
from buildhpc.plan.recipe import digest_of
from buildhpc.plan.stale import Evidence, identity, puts_back
from buildhpc.plan.stamps import Stamp
from buildhpc.plan.unneeded import before
from buildhpc.project import Recipes
from buildhpc.run.clusters import Clusters, Site
from buildhpc.run.describe import Describer
from buildhpc.run.spec import JobSpec
from buildhpc.schedulers.protocol import Request
from buildhpc.schedulers.registry import unsupported

# The one cluster that `local` rules are submitted to.
HERE = "local"
# What changes from one attempt to the next without being asked for.
_OF_ATTEMPT = ("attempt", "token")


class PlanLines:
    """Makes the lines of a plan."""

    def __init__(
        self,
        plan: Plan,
        graph: JobGraph,
        evidence: Evidence,
        describer: Describer,
        recipes: Recipes,
        clusters: Clusters,
    ) -> None:
        self._plan = plan
        self._graph = graph
        self._evidence = evidence
        self._describer = describer
        self._recipes = recipes
        self._clusters = clusters
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self.behind({})
        self._targets = frozenset(graph.targets)
        self._replaced = frozenset(plan.replaced)
        self._read = frozenset(path for step in plan.steps for path in step.job.inputs)
        self._unneeded: set[str] = set()
        self._put_back: dict[str, Stamp] = {}
        self._planned = {step.job.name for step in plan.steps}

    def behind(self, before: Mapping[str, int]) -> None:
        """Let the lines come behind others. before: name of a job -> number of its line."""
        self._numbers = dict(before)
        for number, step in enumerate(self._plan.steps, len(before)):
            self._numbers[step.job.name] = number
        self._names = {number: name for name, number in self._numbers.items()}

    def lines(self, retries: int | None) -> Iterator[dict[str, Any]]:
        """A line for each job, as `state.plan_file.write_plan` takes them.

        retries: instead of what rules say; None: what they say.
        Raises: HpcmakeError where a cluster cannot give what a job asks for.
        """
        for step in self._plan.steps:
            yield self.line(step, retries)

    def line(self, step: Step, retries: int | None) -> dict[str, Any]:
        """The line of one job. Raises: as `lines`."""
        job, describer = step.job, self._describer
        tries = describer.tries(job) if retries is None else {"": retries}
        site = self._clusters.site(alias_of(describer, job) or self._clusters.default)
        if site.settings.scheduler == "file" and site.alias != self._clusters.default:
            raise messages.only_exports(job.name, site.alias, job.rule.span)
        text = self._recipes.text(job)
        makers = self._makers(job)
        return {
            "job": job.name,
            "rule": job.rule.task,
            "wildcards": dict(zip(job.rule.wildcards, job.values, strict=True)),
            "after": [self._numbers[name] for name in step.after],
            "cluster": site.alias,
            "priority": describer.priority(job),
            "retries": tries,
            "batch": describer.word(job, "batch"),
            "group": describer.word(job, "group"),
            "temp": sorted(job.temp - self._targets),
            "uses_temp": self._temps(job),
            "attempts": self._attempts(job, site, max(tries.values(), default=0)),
            "needs": [[number, self._names[number], paths] for number, paths in makers.items()],
            "recipe": digest_of(text),
            "text": text,
            "content": self._content(job),
            "replaced": sorted(self._replaced.intersection(job.outputs)),
            "restore": self._restored(step),
            "unless": self._unless(step),
            "outputs": list(job.outputs),
            "benchmark": describer.file_of(job, "benchmark"),
        }

    def _attempts(self, job: Job, site: Site, retries: int) -> list[dict[str, Any]] | None:
        """What each attempt runs and asks for; None: that hangs on files that are made first."""
        made: list[dict[str, Any]] = []
        try:
            for number in range(1, retries + 2):
                each = attempt(self._describer, job, number, site)
                if made and _same(made[-1], each):
                    break
                made.append(each)
        except HpcmakeError as error:
            if self._makers(job) and all(p.slug == "missing-file" for p in error.problems):
                return None
            raise
        return made

    def _makers(self, job: Job) -> dict[int, list[str]]:
        """Number of a planned job that must be done first -> what it makes of the inputs."""
        found: dict[int, list[str]] = {}
        for path in job.inputs:
            maker = self._graph.maker.get(path)
            number = self._numbers.get(maker.name) if maker else None
            if number is not None:
                found.setdefault(number, []).append(str(path))
        for name in job.after:
            if name in self._numbers:
                found.setdefault(self._numbers[name], [])
        return found

    def _temps(self, job: Job) -> list[tuple[int | None, str]]:
        """The temp files that the job uses, with the numbers of their makers."""
        found: dict[str, int | None] = {}
        for path in job.inputs:
            maker = self._graph.maker.get(path)
            for temp in maker.temp if maker else ():
                if temp not in self._targets and (path == temp or path.startswith(f"{temp}/")):
                    found[temp] = self._numbers.get(maker.name) if maker else None
        return [(number, path) for path, number in found.items()]

    def _content(self, job: Job) -> list[str]:
        if self._evidence.content:
            return [str(path) for path in (*job.inputs, *job.temp)]
        return sorted(map(str, job.content))

    def _unless(self, step: Step) -> dict[str, Any] | None:
        """What tells, once it could start, whether the job is needed; None: it will be."""
        found = before(step, self._evidence, self._read, self._unneeded)
        if found is not None:
            self._unneeded.add(step.job.name)
        return found

    def _restored(self, step: Step) -> dict[str, Sequence[int]]:
        """Temp files that are put back -> the stamps they had; outputs, and inputs as well."""
        found = puts_back(step, self._evidence)
        self._put_back |= found
        return {**found, **self._known_as(step.job)}

    def _known_as(self, job: Job) -> dict[str, Stamp]:
        """Inputs that are put back, or were, and that nothing makes anew -> their stamps."""
        disk, makers, found = self._evidence.disk, self._evidence.makers, {}
        for path in job.inputs:
            maker = makers.get(path)
            if path in self._put_back:
                found[path] = self._put_back[path]
            elif maker and maker.name not in self._planned and (at := disk.get(path)):
                known = identity(path, at, self._evidence)
                if known is not at:
                    found[path] = known
        return found


def alias_of(describer: Describer, job: Job) -> str | None:
    """The cluster that the rule of a job names; None: it names none."""
    if "local" in job.rule.directives:
        return HERE
    alias: str | None = describer.word(job, "cluster")
    return alias


def attempt(describer: Describer, job: Job, number: int, site: Site) -> dict[str, Any]:
    """What an attempt of a job runs and asks for, as the plan file has it. Raises: HpcmakeError."""
    words = site.words(job.rule.task)
    request = site.place(describer.request(job, number, words), job.name)
    lacking = unsupported(site.scheduler.abilities, request)
    if lacking:
        raise messages.cannot_express(job.name, site.alias, lacking, _said(job, lacking))
    spec = describer.spec(job, number, {**words, "cores": request.cores})
    return {"spec": _with(spec, request), "request": asdict(request)}


def _said(job: Job, fields: Sequence[str]) -> Span:
    """Where the rule of a job asks for a field of a request; else the rule itself."""
    for field in fields:
        name = "gpus" if field == "gpu_kind" else field.removesuffix("_mib").removesuffix("_s")
        if name in job.rule.directives:
            return job.rule.directives[name][0].span
    return job.rule.span


def _with(spec: JobSpec, request: Request) -> dict[str, Any]:
    needs = replace(spec.needs, time_s=request.time_s, mem_mib=request.mem_mib)
    return asdict(replace(spec, needs=needs))


def _same(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    """Whether two attempts differ in nothing but their numbers."""
    bare = [
        {key: value for key, value in each["spec"].items() if key not in _OF_ATTEMPT}
        for each in (one, two)
    ]
    return bare[0] == bare[1] and one["request"] == two["request"]
