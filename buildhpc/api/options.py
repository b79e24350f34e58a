"""The options of calls, by the names that the command line has for them."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from buildhpc.schedulers.protocol import Scheduler, Switches


class What(TypedDict, total=False):
    """Which jobs are meant, and which of them have to run.

    force: make the targets anew, fresh or not; force_all: everything; force_rules: all jobs of
    these rules, or of this one. until: go no further than these rules; omit: leave these rules
    out, and what needs them. content: inputs are compared by content, not by time and size.
    unprotect: let protected outputs be made anew. min_priority: only jobs of this priority and
    above, and what they need. only: the jobs that make the targets, or those of the rules of
    `until`, without what they need.
    """

    force: bool
    force_all: bool
    force_rules: str | Sequence[str]
    until: str | Sequence[str]
    omit: str | Sequence[str]
    content: bool
    unprotect: bool
    min_priority: int
    only: bool


class How(What, total=False):
    """How a run goes, besides which jobs are meant; see `What`.

    jobs: cores to use here; 0: all of them (default: 1). limits: what of `mem`, `gpus` or a
    resource of your own all jobs together may take here, e.g. `{"mem": "8G"}`. keep_going: after
    a failure, go on with what does not need it. retries: try every failed job again so often.
    keep_incomplete: leave what a failed job made. latency_s: seconds to wait for a file server to
    show an output (default: 5). priority_groups: jobs of a lower priority wait until all of a
    higher one are done. logs: a folder for what each attempt prints, `NAME.ATTEMPT.out` and
    `.err`, unless its rule has a `log`. cluster_options: over what hpcmake.toml says of the
    cluster, e.g. `{"partition": "long"}`. scheduler: the adapter of the cluster, a class of your
    own.
    """

    jobs: int
    limits: Mapping[str, str | int]
    keep_going: bool
    retries: int
    keep_incomplete: bool
    latency_s: float
    priority_groups: bool
    logs: str
    cluster_options: Mapping[str, str | int]
    scheduler: Callable[[Switches], Scheduler]


class Which(TypedDict, total=False):
    """Which jobs of the past are meant: those for which all that is given holds.

    where: a condition as `--where` takes it, e.g. `"rule = 'map' and wall_s > 3600"`.
    state: e.g. `failed`. run: jobs that this run has or had.
    """

    where: str
    state: str
    run: int


def build_args(
    targets: Sequence[str],
    file: str | None,
    settings: Sequence[str],
    how: How | What,
    cluster: str | None = None,
) -> argparse.Namespace:
    """What the command line would make of these options. Raises: HpcmakeError."""
    from buildhpc.cli import build_parser
    from buildhpc.joblist.entries import caller
    from buildhpc.joblist.functions import reference

    args = build_parser().parse_args([])
    args.targets, args.file, args.set = list(targets), file, list(settings)
    args.quiet, args.cluster = True, cluster
    known = {
        **{"force_rules": "force_rule", "latency_s": "latency"},
        **{name: name for name in (*_SAME, "force", "force_all", "until", "omit", "unprotect")},
    }
    _refuse_unknown(how, {*How.__annotations__, *What.__annotations__})
    given = {name: _checked(name, value) for name, value in how.items() if value is not None}
    for name, value in given.items():
        if name in known:
            setattr(args, known[name], value)
    args.check = "content" if given.get("content") else "stamp"
    args.limit = [f"{name}={value}" for name, value in given.get("limits", {}).items()]
    options = dict(given.get("cluster_options", {}))
    if "scheduler" in given:
        found = reference("the scheduler", given["scheduler"], caller())
        options[f"{cluster}.scheduler"] = found.target
    args.cluster_option = [f"{name}={value}" for name, value in options.items()]
    return args


_SAME = (
    *("jobs", "keep_going", "retries", "keep_incomplete"),
    *("min_priority", "priority_groups", "logs", "only"),
)


def _is_number(kind: Any, least: float, value: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and value >= least


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple, set, frozenset)) and all(
        isinstance(each, str) for each in value
    )


def _is_a(kind: Any, value: Any) -> bool:
    return isinstance(value, kind)


# Option -> whether a value will do, and what it is to be. All others are true or false.
_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "jobs": (partial(_is_number, Integral, 0), "a whole number, 0 for all cores"),
    "retries": (partial(_is_number, Integral, 0), "a whole number, 0 or more"),
    "min_priority": (partial(_is_number, Integral, -math.inf), "a whole number"),
    "latency_s": (partial(_is_number, Real, 0), "a number of seconds, 0 or more"),
    **dict.fromkeys(("force_rules", "until", "omit"), (_are_texts, "the names of rules")),
    **dict.fromkeys(
        ("limits", "cluster_options"),
        (partial(_is_a, Mapping), 'names with values, as `{"mem": "8G"}`'),
    ),
    "logs": (partial(_is_a, str), "the path of a folder"),
    "scheduler": (callable, "a class"),
}


def _checked(name: str, value: object) -> Any:
    """The value of an option; what stands for itself is a list of one.

    Raises: messages.wrong_option
    """
    from buildhpc.messages import api as messages

    if name in ("force_rules", "until", "omit") and isinstance(value, str):
        value = [value]
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    good, wanted = _KINDS.get(name, (partial(_is_a, bool), "true or false"))
    if not good(value):
        raise messages.wrong_option(name, value, wanted)
    return value


def _refuse_unknown(given: Mapping[str, Any], known: set[str]) -> None:
    from buildhpc.messages import api as messages

    for name in given:
        if name not in known:
            raise messages.unknown_option(name, known)


def pick_args(
    words: Sequence[str], every: bool, file: str | None, settings: Sequence[str], which: Which
) -> argparse.Namespace:
    """What the command line would make of words and options that choose jobs.

    Raises: HpcmakeError
    """
    _refuse_unknown(which, set(Which.__annotations__))
    return argparse.Namespace(
        **{"words": list(words), "file": file, "set": list(settings), "all": every},
        **{name: which.get(name) for name in Which.__annotations__},
    )
