"""The values planning works on: jobs, the graph, reasons, the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from buildhpc.plan.paths import stand_in
from buildhpc.rules.model import Rule

# One for all jobs: an empty set takes 216 bytes.
_NONE: frozenset[str] = frozenset()


class Job:
    """A rule with its wildcards bound.

    name: unique in a working folder, e.g. `map_reads sample=s1`.
    values: of the rule's wildcards, in the order of `rule.wildcards`.
    inputs, outputs: paths relative to the working folder, in the order written.
    ancient, content: the inputs whose time does not count; that are compared by content.
    temp: the outputs that are removed once nothing needs them.
    after: names of jobs without outputs that must be done first.
    awaits: outputs of the checkpoints that have to run before all its inputs are known; empty
        as soon as they are.
    """

    __slots__ = (
        "after",
        "ancient",
        "awaits",
        "content",
        "inputs",
        "name",
        "outputs",
        "rule",
        "temp",
        "values",
    )

    def __init__(
        self,
        rule: Rule,
        values: tuple[str, ...],
        outputs: tuple[str, ...],
        inputs: tuple[str, ...],
    ) -> None:
        self.rule = rule
        self.values = values
        self.outputs = outputs
        self.inputs = inputs
        self.name = job_name(rule.name, rule.wildcards, values)
        self.ancient = self.content = self.temp = _NONE
        self.after: tuple[str, ...] = ()
        self.awaits: tuple[str, ...] = ()

    @property
    def acts(self) -> bool:
        """Whether it does something; a rule that only names its inputs does not."""
        return bool(self.outputs) or self.rule.recipe is not None

    def __repr__(self) -> str:
        return f"Job({self.name!r})"

    def needs(self) -> tuple[str, ...]:
        """The inputs, and what stands for the jobs that it comes after."""
        return (*self.inputs, *map(stand_in, self.after))


def job_name(rule: str, wildcards: tuple[str, ...], values: tuple[str, ...]) -> str:
    """The name of a job: its rule, then its wildcards; told apart whatever the values hold."""
    if len(values) == 1 and values[0].isalnum():
        return f"{rule} {wildcards[0]}={values[0]}"
    if not values:
        return rule
    pairs = [
        f"{name}={value if value.isalnum() or _plain(value) else repr(value)}"
        for name, value in zip(wildcards, values, strict=True)
    ]
    return f"{rule} {','.join(pairs)}"


def _plain(value: str) -> bool:
    return "," not in value and "'" not in value and '"' not in value and value.isprintable()


class Reason(NamedTuple):
    """Why a job is stale.

    kind: `missing-output`, `unfinished`, `failed`, `input-changed`, `recipe-changed`,
        `inputs-differ`, `other-rule`, `damaged-output`, `newer-input`, `upstream`, `forced`,
        `always`; `checkpoint`: whether it must is known once a checkpoint has run.
    said: for people; empty where kind and path say all.
    path: the file it hangs on, if one. old, new: what changed, for `why`.
    job: the other job, for `upstream` and for a `temp` file that has to be made again.
    """

    kind: str
    said: str = ""
    path: str | None = None
    old: str | None = None
    new: str | None = None
    job: str | None = None

    @property
    def text(self) -> str:
        """For people, true without the rest."""
        if self.said:
            return self.said
        words = "will be made anew" if self.kind == "upstream" else "does not exist"
        return f"`{self.path}` {words}"


class Step(NamedTuple):
    """A job that will run, why, and the names of the planned jobs it waits for."""

    job: Job
    reason: Reason
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """All that will run, in an order in which it could run one by one.

    total: the number of jobs looked at, fresh ones included.
    edited: outputs changed by hand since their job made them, that stay as they are.
    replaced: outputs changed by hand whose job will run: they are moved aside.
    """

    steps: tuple[Step, ...]
    total: int
    edited: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobGraph:
    """Every job that the targets need.

    jobs: each after all jobs whose outputs it needs.
    maker: path -> the job that makes it; a source has no entry.
    inside: path inside another job's folder -> that job; part of `maker`.
    targets: the paths asked for. roots: the jobs asked for.
    named: the jobs that others are `after`, by their names.
    """

    jobs: tuple[Job, ...]
    maker: Mapping[str, Job]
    inside: Mapping[str, Job]
    targets: tuple[str, ...]
    roots: tuple[Job, ...]
    named: Mapping[str, Job] = field(default_factory=dict)

    def before(self, job: Job) -> list[Job]:
        """The jobs that must be done before `job`, each once."""
        made = [other for path in job.inputs if (other := self.maker.get(path)) is not None]
        return list(dict.fromkeys([*made, *(self.named[name] for name in job.after)]))
