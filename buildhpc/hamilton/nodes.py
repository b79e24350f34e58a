"""What Hamilton is told of a node: its tag, and a node before it that knows its files.

A cache remembers what a node returned, and knows nothing of the files that its jobs made. So
before each decorated node stands another one, `NODE.files`: it says how often the node was begun
anew since files of it were gone. What it says is an input of the node, and a part of its key in
the cache: where a file is gone or is not as its job left it, that is another key, and the node
runs again.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from hamilton import htypes, node
from hamilton.caching.fingerprinting import hash_value
from hamilton.function_modifiers import base, tag

from buildhpc import disk
from buildhpc.hamilton.calls import Call, calling
from buildhpc.plan.stamps import same_stamp
from buildhpc.state import flows
from buildhpc.state.database import State, read_state

_FILES = "files"


def is_parallel(annotation: Any) -> bool:
    """Whether a node's yields are the items of a parallel block."""
    return typing.get_origin(annotation) is htypes.Parallelizable


def tagged(function: Callable[..., Any], name: str, value: str) -> Callable[..., Any]:
    """The function, tagged, and with a node before it that knows its files."""
    found: Callable[..., Any] = tag(**{name: value})(function)
    key = base.NodeTransformer.get_lifecycle_name()
    # It comes before all others: what they make of the node has nothing to do with its jobs.
    setattr(found, key, [_KnowsFiles(), *getattr(found, key, [])])
    return found


class _KnowsFiles(base.NodeTransformer):  # type: ignore[misc]  # Hamilton has no types
    """Puts the node that knows its files before a node."""

    def __init__(self) -> None:
        super().__init__(target=None)

    def validate(self, fn: Callable[..., Any]) -> None:
        """Any node that is decorated will do."""

    def transform_node(
        self,
        node_: node.Node,
        config: dict[str, Any],  # noqa: ARG002
        fn: Callable[..., Any],
    ) -> Collection[node.Node]:
        """The two nodes."""
        name = f"{node_.name}.{_FILES}"
        key = f"{fn.__module__}:{node_.name}"
        files = node.Node(
            name=name,
            typ=str,
            doc_string=f"How often `{node_.name}` was begun anew since files of it were gone.",
            callabl=_Knowledge(fn, key),
            input_types=dict(node_.input_types),
            tags={"cache.behavior": "recompute", "hpc.files": node_.name, "module": fn.__module__},
            originating_functions=node_.originating_functions,
            optional_values=dict(node_.default_parameter_values or {}),
        )
        knowing = node_.copy_with(
            callabl=_Caller(fn, node_.callable, key, name),
            input_types={**node_.input_types, name: (str, node.DependencyType.REQUIRED)},
        )
        return [files, knowing]


class _Knowledge:
    """Tells the turn of a node, and a digest of what it is called with.

    Who asks for its source, as Hamilton's `CacheAdapter` does to tell nodes apart, gets that of
    the function.
    """

    def __init__(self, function: Callable[..., Any], key: str) -> None:
        self.__wrapped__ = function
        self._key = key

    def __call__(self, **kwargs: Any) -> str:
        inputs = hash_value(kwargs)
        return f"{turn_of(os.getcwd(), self._key, inputs)} {inputs}"


class _Caller:
    """Calls a node, and lets what it submits know where it comes from. Its source: as above."""

    def __init__(
        self, function: Callable[..., Any], inner: Callable[..., Any], key: str, files: str
    ) -> None:
        self.__wrapped__ = function
        self._inner = inner
        self._key = key
        self._files = files

    def __call__(self, **kwargs: Any) -> Any:
        turn, _, inputs = str(kwargs.pop(self._files)).partition(" ")
        name = self._key.partition(":")[2]
        with calling(Call(name, f"{self._key} {inputs}", int(turn))):
            return self._inner(**kwargs)


def turn_of(folder: str, key: str, inputs: str) -> int:
    """How often a node was begun anew; once more where its jobs are done and files are gone."""
    state = read_state(Path(folder))
    jobs = flows.jobs_of_call(state, f"{key} {inputs}") if state else []
    last = max((job.turn for job in jobs), default=0)
    mine = [job for job in jobs if job.turn == last]
    if state is None or not mine or any(job.claimed or job.state != "done" for job in mine):
        return last
    return last if _as_left(state, [job.name for job in mine]) else last + 1


def _as_left(state: State, names: list[str]) -> bool:
    """Whether the outputs of jobs are what they were when the jobs ended."""
    records: Mapping[str, Any] = state.record(names)
    for record in records.values():
        for path, then in zip(record.outputs, record.output_stamps, strict=True):
            now = disk.look(path)
            if now is None or (then is not None and not same_stamp(then, now)):
                return False
    return True
