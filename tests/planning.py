"""Pipefiles and the files around them as texts; the graph that planning makes of them."""

from __future__ import annotations

from collections.abc import Mapping

from expression import Texts

from buildhpc.language.parser import parse
from buildhpc.plan.graph import GraphBuilder
from buildhpc.plan.model import Job, JobGraph
from buildhpc.rules.load import load
from buildhpc.rules.model import Pipeline


class Files(Texts):
    """Files as a dict: all that loading sees of the disk."""

    def bytes(self, path: str) -> bytes:
        return self.text(path).encode()


def pipeline_of(text: str, files: Mapping[str, str] | None = None) -> Pipeline:
    """The rules of a Pipefile."""
    return load("Pipefile", Files({"Pipefile": text, **(files or {})}, {}), parse)


def graph_of(text: str, *targets: str, there: str = "", made: str = "") -> JobGraph:
    """The jobs that targets need; without any, those of the first rule.

    there, made: the files that exist; of them those that a job once made.
    """
    pipeline = pipeline_of(text)
    files = Files(dict.fromkeys(there.split(), ""), {})
    builder = GraphBuilder(
        pipeline, frozenset(there.split()), lambda path: path in made.split(), files.names
    )
    return builder.build(targets or (next(iter(pipeline.rules)),))


def names_of(graph: JobGraph) -> list[str]:
    """The names of a graph's jobs, in its order."""
    return [job.name for job in graph.jobs]


def job_of(graph: JobGraph, name: str) -> Job:
    """The job of that name."""
    return next(job for job in graph.jobs if job.name == name)
