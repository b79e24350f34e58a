"""A plan that grows, without a disk: the same jobs whatever ends first, at linear cost."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planning import Files

from buildhpc.language.parser import parse
from buildhpc.plan.graph import GraphBuilder
from buildhpc.plan.growing import Growing
from buildhpc.plan.jobs import JobMaker
from buildhpc.plan.judge import Judge
from buildhpc.plan.model import Job, Step
from buildhpc.plan.plan import make_plan
from buildhpc.plan.stale import Evidence
from buildhpc.plan.stamps import Record, Stamp
from buildhpc.rules.load import load
from buildhpc.rules.model import Pipeline


class Disk(dict[str, Stamp]):
    """Files; looks are counted."""

    looks = 0

    def get(self, path: str, default: Any = None) -> Any:
        self.looks += 1
        return super().get(path, default)


class World:
    """A build without processes. makes: path -> text, of what checkpoints write."""

    def __init__(self, text: str, there: Mapping[str, str], makes: Mapping[str, str]) -> None:
        self.texts: dict[str, str | bytes] = {"Pipefile": text, **there}
        self.files = Files(self.texts, {})
        self.makes = makes
        self.pipeline: Pipeline = load("Pipefile", self.files, parse)
        self.disk = Disk(dict.fromkeys(there, Stamp(1, 1)))
        self.ran: list[str] = []

    def builder(self) -> GraphBuilder:
        return GraphBuilder(self.pipeline, self.disk, names=self.files.names)

    def run(self, job: Job) -> None:
        """Let a job make its outputs."""
        for path in job.inputs:
            assert super(Disk, self.disk).get(path) is not None, f"{job.name} lacks {path}"
        self.ran.append(job.name)
        for path in job.outputs:
            self.disk[path] = Stamp(2, 1)
            self.texts[path] = self.makes.get(path, "")

    def build(self, target: str, order: random.Random) -> None:
        """Plan, and run what is ready in any order, growing as it goes."""
        records: dict[str, Record] = {}
        evidence = Evidence(self.disk, records, recipe=lambda job: job.name)
        builder = self.builder()
        judge = Judge(builder, evidence, lambda _: records)
        graph = builder.build([target])
        assert isinstance(graph.maker, dict)
        plan = make_plan(graph, Evidence(self.disk, records, lambda j: j.name, makers=graph.maker))
        growing = Growing(builder, judge, graph.maker, lambda: self.disk)
        growing.begin(plan.steps, graph.jobs)
        queue = Queue()
        for step in plan.steps:
            queue.add(step)
        while queue.ready:
            job = queue.ready.pop(order.randrange(len(queue.ready[-5:])) - len(queue.ready[-5:]))
            self.run(job)
            for grown in growing.has_run(job):
                assert grown.error is None, str(grown.error)
                for step in (*grown.more, *([grown.step] if grown.step else ())):
                    queue.add(step)
            queue.done(job)
        assert not growing.open


class Queue:
    """What is ready; each job knows for how many others it waits."""

    def __init__(self) -> None:
        self.ready: list[Job] = []
        self._waits: Counter[Job] = Counter()
        self._users: dict[str, list[Job]] = {}

    def add(self, step: Step) -> None:
        for name in step.after:
            self._users.setdefault(name, []).append(step.job)
        self._waits[step.job] += len(step.after)
        if not self._waits[step.job]:
            self.ready.append(step.job)

    def done(self, job: Job) -> None:
        for user in self._users.pop(job.name, ()):
            self._waits[user] -= 1
            if not self._waits[user]:
                self.ready.append(user)


FAN = """\
rule all:
    input: "sum/{n}" for n in range({COUNT})

checkpoint list:
    output: "list/{n}"
    input: "source"
    shell: "make"

rule item:
    output: "item/{n}/{k}"
    shell: "make"

rule sum:
    output: "sum/{n}"
    input: "item/{n}/{k}" for k in lines("list/" + n) after list
    shell: "make"
"""

CHAIN = """\
rule all:
    input: "sum/{COUNT}"

checkpoint list:
    output: "list/{n}"
    input: "source", "sum/{m}" for m in [int(n) - 1] if m > 0
    shell: "make"

rule item:
    output: "item/{n}/{k}"
    shell: "make"

rule sum:
    output: "sum/{n}"
    input: "item/{n}/{k}" for k in lines("list/" + n) after list
    shell: "make"
"""


def world_of(text: str, count: int, texts: Mapping[int, str]) -> World:
    pipefile = text.replace("{COUNT}", str(count))
    return World(pipefile, {"source": ""}, {f"list/{n}": t for n, t in texts.items()})


@pytest.mark.parametrize("text", [FAN, CHAIN])
@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.sets(st.sampled_from("abc")), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_a_grown_plan_has_the_jobs_of_one_made_when_all_is_known(
    text: str, items: list[set[str]], order: random.Random
) -> None:
    texts = {n: "\n".join(sorted(each)) for n, each in enumerate([*items, set[str]()])}
    world = world_of(text, len(items), texts)
    world.build("all", order)
    builder = world.builder()
    builder.ran = lambda _: True
    whole = builder.build(["all"])
    assert sorted(world.ran) == sorted(job.name for job in whole.jobs if job.acts)


@pytest.mark.parametrize("text", [FAN, CHAIN])
def test_each_of_2000_checkpoints_costs_what_hangs_below_it(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[str] = Counter()

    def counted(kind: type, name: str) -> None:
        plain = getattr(kind, name)

        def wrapped(*args: Any) -> Any:
            counts[f"{kind.__name__}.{name}"] += 1
            return plain(*args)

        monkeypatch.setattr(kind, name, wrapped)

    for kind, name in [
        (JobMaker, "make"),
        (JobMaker, "settle"),
        (Judge, "judge"),
        (GraphBuilder, "maker"),
    ]:
        counted(kind, name)

    def costs(count: int) -> dict[str, int]:
        counts.clear()
        world = world_of(text, count, dict.fromkeys(range(count + 1), "a\nb"))
        world.build("all", random.Random(1))
        assert len(world.ran) == 4 * count
        return {**counts, "looks": world.disk.looks}

    few, many = costs(200), costs(2000)
    assert many["JobMaker.settle"] == 2000
    for what, number in many.items():
        assert number <= 10 * few[what] + 100, (what, few[what], number)
