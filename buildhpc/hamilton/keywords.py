"""What a node asks for, in the words that are the same for every scheduler."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, NamedTuple

from buildhpc.messages import hamilton as messages
from buildhpc.quantities import Duration, Size, quantity
from buildhpc.sites.kinds import Kind, split, text, whole

# Conditions on the end of a job that another one waits for.
CONDITIONS = ("ok", "any", "notok", "start")


class Awaited(NamedTuple):
    """A job that is waited for: a `JobInfo`, or the name of a job. condition: of `CONDITIONS`."""

    job: Any
    condition: str = "ok"


def _words(value: Any) -> tuple[str, ...] | None:
    return split(value) if isinstance(value, str) else _texts(value)


def _texts(value: Any) -> tuple[str, ...] | None:
    """Texts, paths too; a single one stands for itself."""
    if isinstance(value, str) or hasattr(value, "__fspath__"):
        value = [value]
    if not isinstance(value, Sequence):
        return None
    found = tuple(
        str(each) for each in value if isinstance(each, str) or hasattr(each, "__fspath__")
    )
    return found if len(found) == len(value) else None


def _command(value: Any) -> str | None:
    """A text for bash."""
    if isinstance(value, str):
        return value.strip("\n") or None
    words = [str(each) for each in value] if isinstance(value, Sequence) else []
    return shlex.join(words) or None


def _count(value: Any, least: int = 1) -> int | None:
    return whole(value, least)


def _some(value: Any) -> int | None:
    return _count(value, 0)


def _size(value: Any) -> Size | None:
    """A bare number is GiB, as pysqa has it."""
    if isinstance(value, int | float) and not isinstance(value, bool | Size):
        return Size(value * 2**30) if value > 0 else None
    found = (
        value if isinstance(value, Size) else quantity(value) if isinstance(value, str) else None
    )
    return found if isinstance(found, Size) else None


def _time(value: Any) -> Duration | None:
    """A bare number is seconds, as pysqa has it."""
    if isinstance(value, timedelta):
        return Duration(value.total_seconds())
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Duration(value) if value > 0 else None
    found = quantity(value) if isinstance(value, str) else None
    return found if isinstance(found, Duration) else None


def _gpus(value: Any) -> tuple[str, int] | None:
    kind, _, number = value.rpartition(":") if isinstance(value, str) else ("", "", value)
    if isinstance(number, str) and number.isdecimal():
        number = int(number)
    found = _some(number)
    return None if found is None else (kind, found)


def _env(value: Any) -> dict[str, str] | None:
    fine = isinstance(value, Mapping) and all(isinstance(name, str) for name in value)
    return {name: str(each) for name, each in value.items()} if fine else None


def _retries(value: Any) -> dict[str, int] | None:
    """Class of failure -> tries; `""`: every other class."""
    said = value if isinstance(value, Mapping) else {"": value}
    found = {str(name).replace("_", "-"): _some(number) for name, number in said.items()}
    return None if None in found.values() else {n: t for n, t in found.items() if t}


def _bool(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _path(value: Any) -> str | None:
    found = _texts(value)
    return found[0] if found and len(found) == 1 and found[0] else None


def _after(value: Any) -> tuple[Awaited, ...] | None:
    """A job, a list of them, or condition -> such."""
    if isinstance(value, Mapping):
        parts = {each: _after(jobs) for each, jobs in value.items() if each in CONDITIONS}
        if len(parts) < len(value) or None in parts.values():
            return None
        return tuple(
            each._replace(condition=name) for name, some in parts.items() for each in some or ()
        )
    one = isinstance(value, str) or hasattr(value, "job")
    if not one and not isinstance(value, list | tuple | set | frozenset):
        return None
    jobs = [value] if one else list(value)
    fine = all((isinstance(job, str) and job) or hasattr(job, "job") for job in jobs)
    return tuple(Awaited(job) for job in jobs) if fine else None


_TEXT = Kind("a text", text)
_COUNT = Kind("a whole number above 0", _count)
_SOME = Kind("a whole number", _some)
_SIZE = Kind('a size such as `"4G"`, or a number of GiB', _size)
_FLAG = Kind("True or False", _bool)
_LIST = Kind("a text, or a list of them", _texts)
_PATHS = Kind("a path, or a list of them", _texts)

KINDS = {
    "cmd": Kind("a text for bash, or a list of words", _command),
    "name": _TEXT,
    "cores": _COUNT,
    "mem": _SIZE,
    "time": Kind('a time such as `"1h30m"`, or a number of seconds', _time),
    "gpus": Kind("a number, or kind and number such as `a100:2`", _gpus),
    "nodes": _COUNT,
    "tasks": _COUNT,
    "disk": _SIZE,
    "partition": _TEXT,
    "account": _TEXT,
    "qos": _TEXT,
    "constraint": _TEXT,
    "options": Kind("words for the scheduler, as a list or as one text", _words),
    "work_dir": Kind("a path", _path),
    "env": Kind("names and values", _env),
    "inputs": _PATHS,
    "outputs": _PATHS,
    "log": Kind("a path", _path),
    "script_name": Kind("a path", _path),
    "modules": _LIST,
    "conda": _TEXT,
    "container": _TEXT,
    "within": _TEXT,
    "priority": Kind("a whole number", lambda value: value if type(value) is int else None),
    "retries": Kind("a whole number, or class of failure -> number", _retries),
    "dependency": Kind(
        "a job, the name of one, or a list; or `ok`, `any`, `notok`, `start` -> such", _after
    ),
    "block": _FLAG,
    "check": _FLAG,
    "test_only": _FLAG,
}
# What users of pysqa and of other tools call the same.
ALIASES = {
    "command": "cmd",
    "job_name": "name",
    "n_cores": "cores",
    "max_cores": "cores",
    "threads": "cores",
    "cpus": "cores",
    "memory": "mem",
    "memory_max": "mem",
    "run_time_max": "time",
    "walltime": "time",
    "runtime": "time",
    "queue": "partition",
    "working_directory": "work_dir",
    "cwd": "work_dir",
    "monitor": "block",
    "dependency_list": "dependency",
    "job_deps": "dependency",
    "after": "dependency",
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a node asks for, checked. values: keyword -> what it means; those that were said.

    where: of which node, for messages.
    """

    where: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def get(self, word: str, default: Any = None) -> Any:
        """What a keyword says."""
        return self.values.get(word, default)


def wish_of(config: Mapping[str, Any], where: str) -> Wish:
    """What a config means; a value None is as if it was not said.

    Raises: messages.unknown_keyword, said_twice, bad_keyword
    """
    found: dict[str, Any] = {}
    said: dict[str, str] = {}
    for word, value in config.items():
        keyword = ALIASES.get(word, word)
        if keyword not in KINDS:
            raise messages.unknown_keyword(str(word), where, [*KINDS, *ALIASES])
        if value is None:
            continue
        if keyword in said:
            raise messages.said_twice(said[keyword], word, where)
        said[keyword] = word
        found[keyword] = KINDS[keyword].read(value)
        if found[keyword] is None:
            raise messages.bad_keyword(word, value, where, KINDS[keyword].wanted)
    return Wish(where, found)


def over(below: Wish, wish: Wish) -> Wish:
    """A wish on top of the defaults of its system."""
    return Wish(wish.where, {**below.values, **wish.values})
