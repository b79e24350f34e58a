"""The manifest of a slice: what each of its runners has to do, a line for an element.

The first line is the header; `offsets` in it tells where the line of each element begins,
counted from the end of the header's line, so that a runner reads no more than its own.
"""

# Paths are text here, and this runs once for every job.

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any


class BadManifestError(Exception):
    """A file is no manifest, or has no such element; the text says which."""


@dataclass(frozen=True, slots=True)
class Header:
    """What all elements of a slice have in common.

    folder: the working folder, absolute. home: the folder of the state, absolute.
    latency_s, over_s, keep_incomplete: as for `run.attempts`. marker: the value of HPCMAKE_RUN.
    warn_s: so long before the end of its time the scheduler tells a job. umask: of the user;
    None: as the node has it. logs: the folder that logs are kept in, of jobs that people submit;
    empty: where the logs of the run are.
    """

    run: int
    slice: int
    folder: str
    home: str
    marker: str
    latency_s: float = 0.0
    over_s: float = 10.0
    keep_incomplete: bool = False
    warn_s: int = 60
    umask: int | None = None
    logs: str = ""


@dataclass(frozen=True, slots=True)
class Need:
    """A planned job that has to be done first. paths: the inputs that it makes."""

    number: int
    job: str
    paths: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Planned:
    """One job of an element.

    number: in the plan file. spec: a JobSpec, as `JobSpec.from_values` takes it.
    content: the inputs, and own temp outputs, that are compared by content.
    replaced: outputs that were changed by hand, to be moved aside first.
    restore: outputs and inputs that are temp files put back -> the stamps they had.
    recipe: digest of the compared text. benchmark: the file for time and memory.
    retry: class of failure -> tries that are left; `""`: of every other class.
    wakes: when it is done somebody may be waiting for hpcmake itself.
    unless: what its files were, where it may turn out not to be needed; see `plan.unneeded`.
    part: which part of another job it is, and of that job what its end hangs on; see
        `state.parts`.
    """

    number: int
    attempt: int
    spec: Mapping[str, Any]
    needs: Sequence[Need] = ()
    content: Sequence[str] = ()
    replaced: Sequence[str] = ()
    restore: Mapping[str, Sequence[int]] = field(default_factory=dict)
    recipe: str = ""
    benchmark: str | None = None
    retry: Mapping[str, int] = field(default_factory=dict)
    wakes: bool = False
    unless: Mapping[str, Any] | None = None
    part: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Element:
    """What one runner does: its jobs, one after the other, in this order.

    submission: of the state. element: of its array, from 0.
    """

    submission: int
    element: int
    jobs: Sequence[Planned]


def write_manifest(path: str, header: Header, elements: Iterable[Element]) -> None:
    """Write a manifest; it is there whole or not at all. Raises: OSError"""
    lines = [_line(asdict(element)) for element in elements]
    offsets = [0, *accumulate(map(len, lines))][:-1]
    temporary = f"{path}.tmp"
    with open(temporary, "wb") as file:
        file.write(_line({"version": 1, **asdict(header), "offsets": offsets}))
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_element(path: str, line: int) -> tuple[Header, Element]:
    """The header, and the element that is number `line` of the manifest, from 0.

    Raises: OSError, BadManifestError
    """
    with open(path, "rb") as file:
        try:
            header = json.loads(file.readline())
            offsets = header.pop("offsets")
            header.pop("version")
            if not 0 <= line < len(offsets):
                raise BadManifestError(f"`{path}` has no element {line}")
            file.seek(offsets[line], os.SEEK_CUR)
            return Header(**header), _element(json.loads(file.readline()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadManifestError(f"`{path}` is no manifest") from error


def read_elements(path: str) -> Iterator[Element]:
    """All elements. Raises: OSError, BadManifestError"""
    with open(path, "rb") as file:
        file.readline()
        for line in file:
            try:
                yield _element(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BadManifestError(f"`{path}` is no manifest") from error


def _line(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def _element(values: Any) -> Element:
    jobs = []
    for job in values["jobs"]:
        needs = [Need(**need) for need in job.pop("needs", ())]
        jobs.append(Planned(needs=needs, **job))
    return Element(values["submission"], values["element"], jobs)
