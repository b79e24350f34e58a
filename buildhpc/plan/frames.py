"""The paths that are being settled while a graph is built, each waiting for those above it."""

from __future__ import annotations

from collections.abc import Sequence

from buildhpc.plan.failures import Failure
from buildhpc.plan.index import Candidate
from buildhpc.plan.model import Job


class Frame:
    """A path that is being settled: its candidates, and how far the current one has come.

    simple: there is one candidate, and nothing else leads to its job.
    """

    __slots__ = ("at", "failure", "feasible", "job", "option", "options", "path", "simple")

    def __init__(self, path: str, options: Sequence[Candidate]) -> None:
        self.path = path
        self.options = options
        self.option = -1
        self.job: Job | None = None
        self.at = 0
        self.feasible: list[tuple[Candidate, Job]] | None = None
        self.failure: Failure | None = None
        self.simple = False


def circle(stack: Sequence[Frame], path: str) -> tuple[tuple[str, str], ...]:
    """From `path` down the stack to where it is needed again: (path, rule) in order."""
    # The nearest: a rule that is asked for by its name may stand below, with a job of its own.
    start = max(
        (
            number
            for number, frame in enumerate(stack)
            if frame.path == path or (frame.job is not None and path in frame.job.outputs)
        ),
        default=0,
    )
    return tuple(
        (path if number == 0 else frame.path, frame.job.rule.name)
        for number, frame in enumerate(stack[start:])
        if frame.job is not None
    )
