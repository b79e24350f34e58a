"""From what is said of a cluster to its values, each setting checked where it stands."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from buildhpc.messages import sites as messages
from buildhpc.quantities import Duration, Size, quantity
from buildhpc.schedulers.protocol import Switches
from buildhpc.schedulers.registry import ADAPTERS, ENTRY_POINTS, scheduler
from buildhpc.sites.kinds import Kind, split, text, whole
from buildhpc.sites.model import Cluster, Logs, Partition
from buildhpc.sites.places import Layer, Path


def _words(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return split(value)
    listed = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return tuple(value) if listed else None


def _rate(value: Any) -> float | None:
    fine = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return float(value) if fine else None


def _quantity(value: Any, kind: type[Size] | type[Duration]) -> Any:
    found = quantity(value) if isinstance(value, str) else None
    return found if isinstance(found, kind) else None


def _gpus(value: Any) -> int | str | None:
    if isinstance(value, str):
        kind, colon, number = value.rpartition(":")
        return value if kind and colon and number.isdecimal() else None
    return whole(value, 0)


_TEXT = Kind("a text in quotes", text)
_WORDS = Kind("words, as a list of texts or as one text", _words)
_COUNT = Kind("a whole number above 0", lambda value: whole(value, 1))
_SOME = Kind("a whole number", lambda value: whole(value, 0))
_RATE = Kind("a number above 0", _rate)
_SIZE = Kind('a size such as `"64G"`', lambda value: _quantity(value, Size))
_TIME = Kind('a time such as `"15s"` or `"1h30m"`', lambda value: _quantity(value, Duration))
_YES_NO = Kind("`true` or `false`", lambda value: value if isinstance(value, bool) else None)
_MANY = Kind('a number, or kind and number such as `"a100:2"`', _gpus)

_PLACING = {"account": _TEXT, "qos": _TEXT, "constraint": _TEXT, "options": _WORDS}
_CLUSTER = {
    **_PLACING,
    "scheduler": _TEXT,
    "host": _TEXT,
    "ssh": _WORDS,
    "user": _TEXT,
    "python": _TEXT,
    "folder": _TEXT,
    "partition": _TEXT,
    "max_submitted": _COUNT,
    "max_array": _COUNT,
    "poll": _TIME,
    "latency": _TIME,
    "grace": _TIME,
    "submit_rate": _RATE,
}
_PARTITION = {
    **_PLACING,
    "name": _TEXT,
    "max_time": _TIME,
    "max_mem": _SIZE,
    "max_cores": _COUNT,
    "max_gpus": _SOME,
    "max_nodes": _COUNT,
    "gpu_kinds": _WORDS,
}
_RULE = {
    **_PLACING,
    "partition": _TEXT,
    "cores": _COUNT,
    "mem": _SIZE,
    "time": _TIME,
    "gpus": _MANY,
    "nodes": _COUNT,
    "tasks": _COUNT,
    "disk": _SIZE,
}
_LOGS = {"keep": _TIME, "attempts": _COUNT, "split": _YES_NO}

# What is other where asking costs little and word of an end is never late.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "local": {"poll_s": 2.0, "grace_s": 5.0, "max_submitted": 10_000}
}


def is_number(name: str) -> bool:
    """Whether a setting of a cluster is a number."""
    return _CLUSTER.get(name) in (_COUNT, _RATE)


def cluster_of(layer: Layer, alias: str) -> Cluster:
    """The cluster that a layer describes under a name. Raises: HpcmakeError."""
    return _Reader(layer, alias).cluster()


def logs_of(layer: Layer) -> Logs:
    """How logs are kept. Raises: HpcmakeError."""
    said = layer.values.get("logs", {})
    if not isinstance(said, dict):
        wanted = "a table, `[logs]`"
        raise messages.wrong_setting("logs", wanted, layer.places[("logs",)].value)
    return Logs(**_fields(_read(layer, ("logs",), said, (_LOGS, "`[logs]`"))))


def _read(
    layer: Layer, path: Path, said: Mapping[str, Any], kinds: tuple[Mapping[str, Kind], str]
) -> dict[str, Any]:
    """The values at a path; kinds: those that there are, and of what they are."""
    known, where = kinds
    values = {}
    for key, value in said.items():
        place = layer.places[(*path, key)]
        if key not in known:
            raise messages.unknown_key(key, where, known, place.key)
        values[key] = known[key].read(value)
        if values[key] is None:
            raise messages.wrong_setting(key, known[key].wanted, place.value)
    return values


class _Reader:
    """Reads one cluster, and tells what is wrong with it at its place."""

    def __init__(self, layer: Layer, alias: str) -> None:
        self._layer = layer
        self._alias = alias
        self._path: Path = ("cluster", alias)
        self._said: dict[str, Any] = dict(layer.values.get("cluster", {}).get(alias, {}))

    def cluster(self) -> Cluster:
        """The cluster. Raises: HpcmakeError."""
        said = self._said
        name = self._scheduler()
        rules = said.pop("rule", {})
        partitions = said.pop("partition") if isinstance(said.get("partition"), list) else []
        switches = {key: said.pop(key) for key in list(said) if key not in _CLUSTER}
        values = self._read(self._path, said, _CLUSTER, f"cluster `{self._alias}`")
        if name == "local" and "python" in values:
            switches.setdefault("python", values["python"])
        return Cluster(
            alias=self._alias,
            **{**_DEFAULTS.get(name, {}), **_fields({**values, "scheduler": name})},
            switches=self._switches(name, switches),
            partitions=tuple(
                self._partition(number, each) for number, each in enumerate(partitions)
            ),
            rules=self._rules(rules),
        )

    def _scheduler(self) -> str:
        name = self._said.get("scheduler")
        if name is None:
            if self._alias in ADAPTERS or installed(self._alias):
                return self._alias
            span = self._layer.places[self._path].key
            raise messages.missing_scheduler(self._alias, list(ADAPTERS), span)
        if isinstance(name, str) and name not in ADAPTERS and not installed(name):
            span = self._layer.places[(*self._path, "scheduler")].value
            raise messages.wrong_setting("scheduler", f"one of {', '.join(ADAPTERS)}", span)
        return str(name)

    def _read(
        self, path: Path, said: Mapping[str, Any], kinds: Mapping[str, Kind], where: str
    ) -> dict[str, Any]:
        return _read(self._layer, path, said, (kinds, where))

    def _switches(self, name: str, said: Mapping[str, Any]) -> Switches:
        """What is said of the scheduler alone, checked with what its adapter knows."""
        known: Collection[str] = getattr(scheduler(name, Switches()), "switches", ())
        values = {}
        for key, value in said.items():
            place = self._layer.places[(*self._path, key)]
            if key not in known:
                names = {*_CLUSTER, *known, "rule"}
                raise messages.unknown_key(key, f"cluster `{self._alias}`", names, place.key)
            allowed = known[key] if isinstance(known, Mapping) else ()
            written = str(value) if isinstance(value, int | float | str) else ""
            if isinstance(value, bool):
                written = "yes" if value else "no"
            if not written or (allowed and written not in allowed):
                wanted = " or ".join(f'`"{each}"`' for each in allowed) or _TEXT.wanted
                raise messages.wrong_setting(key, wanted, place.value)
            values[key] = written
        return Switches(values)

    def _partition(self, number: int, said: Any) -> Partition:
        path: Path = (*self._path, "partition", number)
        place = self._layer.places[path]
        if not isinstance(said, dict):
            wanted = f"tables, each as `[[cluster.{self._alias}.partition]]`"
            raise messages.wrong_setting("partition", wanted, place.value)
        if "name" not in said:
            raise messages.missing_name(place.value)
        return Partition(**_fields(self._read(path, said, _PARTITION, "a partition")))

    def _rules(self, said: Any) -> dict[str, dict[str, Any]]:
        rules = {}
        for rule, words in said.items() if isinstance(said, dict) else [("rule", said)]:
            path: Path = (*self._path, "rule", rule)
            if not isinstance(words, dict):
                found = path if isinstance(said, dict) else path[:-1]
                wanted = f"a table, `[cluster.{self._alias}.rule.NAME]`"
                raise messages.wrong_setting(rule, wanted, self._layer.places[found].value)
            rules[rule] = self._read(path, words, _RULE, f"rule `{rule}`")
        return rules


def _fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as fields of a dataclass: with their unit in the name."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Duration):
            whole = name.startswith("max_")
            found[f"{name}_s"] = value.seconds if whole else float(value)
        elif isinstance(value, Size):
            found[f"{name}_mib"] = value.mb
        else:
            found[name] = value
    return found


def installed(name: str) -> bool:
    """Whether a package that is installed brings a scheduler of this name.

    One of the user's own, `module:Class`, is looked for when it is needed.
    """
    if ":" in name:
        return True
    from importlib.metadata import entry_points

    return any(each.name == name for each in entry_points(group=ENTRY_POINTS))
