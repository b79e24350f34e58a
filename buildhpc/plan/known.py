"""A graph in which every job was fresh, kept as arrays, and the part of it that changes touch.

Where nothing but files changed since, only the jobs that use or make a changed file, and those
that follow from them, can be stale: they are found without making the other jobs.
"""

from __future__ import annotations

import marshal
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from buildhpc.plan.index import PatternIndex
from buildhpc.plan.jobs import JobMaker
from buildhpc.plan.model import Job, JobGraph
from buildhpc.rules.model import Pipeline, Rule

_FORM = 1


@dataclass(frozen=True, slots=True)
class KnownGraph:
    """The jobs of a graph in its order, by numbers.

    names: the paths; a path's number is its place there. rules: names of rules.
    rule_of: job -> number of its rule. inputs, outputs: numbers of paths, job after job;
    those of job J are at `starts[J]` to `starts[J + 1]`.
    temp: numbers of the paths that are temporary outputs. targets: the paths asked for.
    """

    names: Sequence[str]
    rules: Sequence[str]
    rule_of: array[int]
    input_starts: array[int]
    inputs: array[int]
    output_starts: array[int]
    outputs: array[int]
    temp: Collection[int]
    targets: tuple[str, ...]

    def touched(self, changed: Collection[int], missing: Collection[int]) -> list[int]:
        """The jobs that may be stale when these paths changed, in the order of the graph.

        missing: paths that are not there. Jobs that make a temp file again are among them.
        """
        dirty = set(changed)
        gone = set(missing) & set(self.temp)
        found = self._followers(dirty)
        while found and gone:
            makers = self._makers(found, gone)
            if not makers:
                break
            # What else they make will be new as well.
            for job in makers:
                made = self.outputs[self.output_starts[job] : self.output_starts[job + 1]]
                dirty.update(path for path in made if path not in gone)
            found = sorted({*makers, *found, *self._followers(dirty)})
        return found

    def _followers(self, dirty: set[int]) -> list[int]:
        """The jobs that use or make one of these paths, and all that follow from them."""
        found: list[int] = []
        ins, outs = self.inputs, self.outputs
        # 200,000 jobs: 0.12 s.
        for job in range(len(self.rule_of)):
            made = outs[self.output_starts[job] : self.output_starts[job + 1]]
            used = ins[self.input_starts[job] : self.input_starts[job + 1]]
            if not dirty.isdisjoint(used) or not dirty.isdisjoint(made):
                found.append(job)
                dirty.update(made)
        return found

    def _makers(self, found: Collection[int], gone: set[int]) -> set[int]:
        """Further jobs whose temp files the found ones need again, and theirs in turn."""
        makers = {
            path: job
            for job in range(len(self.rule_of))
            for path in self.outputs[self.output_starts[job] : self.output_starts[job + 1]]
            if path in gone
        }
        here = set(found)
        todo = list(found)
        while todo:
            job = todo.pop()
            for path in self.inputs[self.input_starts[job] : self.input_starts[job + 1]]:
                maker = makers.get(path)
                if maker is not None and maker not in here:
                    here.add(maker)
                    todo.append(maker)
        return here.difference(found)

    def part(self, jobs: Sequence[int], pipeline: Pipeline, exists: Collection[str]) -> JobGraph:
        """The graph of these jobs alone. Raises: ValueError when the rules say otherwise now."""
        index = PatternIndex(pipeline.rules.values())
        maker = JobMaker(pipeline, exists)
        made = [self._job(job, pipeline, index, maker) for job in jobs]
        makers = {path: job for job in made for path in job.outputs}
        roots = tuple(dict.fromkeys(makers[path] for path in self.targets if path in makers))
        return JobGraph(tuple(made), makers, {}, self.targets, roots)

    def _job(self, number: int, pipeline: Pipeline, index: PatternIndex, maker: JobMaker) -> Job:
        rule = pipeline.rules.get(self.rules[self.rule_of[number]])
        outputs = self._paths(self.outputs, self.output_starts, number)
        if rule is None:
            raise ValueError("a rule is gone")
        job = maker.make(rule, _values(rule, outputs, index))
        inputs = self._paths(self.inputs, self.input_starts, number)
        if tuple(job.outputs) != outputs or tuple(map(str, job.inputs)) != inputs:
            raise ValueError("a job is another one now")
        return job

    def _paths(self, numbers: array[int], starts: array[int], job: int) -> tuple[str, ...]:
        return tuple(self.names[each] for each in numbers[starts[job] : starts[job + 1]])


def _values(rule: Rule, outputs: tuple[str, ...], index: PatternIndex) -> tuple[str, ...]:
    """The values of the wildcards that make these outputs."""
    if not rule.wildcards:
        return ()
    for candidate in index.candidates(outputs[0]):
        if candidate.rule is rule:
            return candidate.values
    raise ValueError("no rule makes an output any more")


def pack(graph: JobGraph, numbers: Mapping[str, int]) -> bytes | None:
    """A graph as bytes; None where it uses what this form does not know.

    numbers: path -> its number, for every path of the graph.
    """
    if graph.inside or graph.named or any(job.rule.awaits for job in graph.jobs):
        return None
    rules: dict[str, int] = {}
    rule_of, inputs, outputs = array("i"), array("i"), array("i")
    input_starts, output_starts = array("i", [0]), array("i", [0])
    temp = []
    for job in graph.jobs:
        rule_of.append(rules.setdefault(job.rule.name, len(rules)))
        inputs.extend([numbers[path] for path in job.inputs])
        outputs.extend([numbers[path] for path in job.outputs])
        input_starts.append(len(inputs))
        output_starts.append(len(outputs))
        temp += [numbers[path] for path in job.temp]
    arrays = (rule_of, input_starts, inputs, output_starts, outputs)
    packed = tuple(each.tobytes() for each in arrays)
    return marshal.dumps((_FORM, tuple(rules), packed, temp, graph.targets))


def unpack(data: bytes, names: Sequence[str]) -> KnownGraph:
    """The graph behind `pack`. Raises: ValueError for anything else."""
    try:
        form, rules, packed, temp, targets = marshal.loads(data)
        if form != _FORM:
            raise ValueError("another form")
        arrays = []
        for part in packed:
            numbers = array("i")
            numbers.frombytes(part)
            arrays.append(numbers)
        rule_of, input_starts, inputs, output_starts, outputs = arrays
    except (EOFError, TypeError) as error:
        raise ValueError("damaged") from error
    return KnownGraph(
        names, rules, rule_of, input_starts, inputs, output_starts, outputs, temp, targets
    )


def renumber(data: bytes, numbers: Sequence[int]) -> bytes:
    """A packed graph whose paths have other numbers: path N is now `numbers[N]`."""
    graph = unpack(data, ())
    arrays = (
        graph.rule_of,
        graph.input_starts,
        array("i", [numbers[each] for each in graph.inputs]),
        graph.output_starts,
        array("i", [numbers[each] for each in graph.outputs]),
    )
    packed = tuple(each.tobytes() for each in arrays)
    temp = [numbers[each] for each in graph.temp]
    return marshal.dumps((_FORM, tuple(graph.rules), packed, temp, graph.targets))
