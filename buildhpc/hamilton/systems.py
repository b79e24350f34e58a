"""The systems that nodes submit to: an alias, said with a type once, and known from then on."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from buildhpc.hamilton.keywords import Wish, over
from buildhpc.messages import hamilton as messages
from buildhpc.schedulers.registry import ADAPTERS
from buildhpc.sites import read_sites

_LATENCY_S = 5.0


@dataclass(slots=True)
class System:
    """A cluster as decorators describe it.

    kind: name of its scheduler; empty: as `hpcmake.toml` says. settings: of the cluster, as in
    `hpcmake.toml`. defaults: what its jobs ask for unless a node says otherwise.
    """

    kind: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    defaults: Wish = field(default_factory=lambda: Wish(""))


@functools.cache
def _systems() -> dict[str, System]:
    """The systems of this process; a process that is started anew imports the same nodes."""
    return {}


def describe(alias: str, kind: str, settings: Mapping[str, Any], defaults: Wish) -> None:
    """Remember what is said of an alias. Raises: messages.other_type"""
    system = _systems().setdefault(alias, System())
    if kind and system.kind and kind != system.kind:
        raise messages.other_type(alias, system.kind, kind)
    system.kind = system.kind or kind
    system.settings.update(settings)
    system.defaults = over(system.defaults, defaults)


def defaults(alias: str) -> Wish:
    """What jobs of a system ask for unless a node says otherwise."""
    return _systems().get(alias, System()).defaults


def check_known(alias: str, folder: str) -> None:
    """Raises: messages.unknown_system"""
    known = [*read_sites(folder).names(), *(a for a, each in _systems().items() if each.kind)]
    if alias not in known:
        raise messages.unknown_system(alias, known)


def cluster_options(folder: str) -> list[str]:
    """What decorators say of clusters, as `--cluster-option` has it.

    What `hpcmake.toml` says of a cluster goes before what the code says: another site runs the
    same data flow on another scheduler, a test on the queue of this machine.
    """
    sites = read_sites(folder)
    found = []
    for alias, system in sorted(_systems().items()):
        said = sites.says(alias)
        if said & {"scheduler"}:
            continue
        kind = {"scheduler": system.kind} if system.kind not in ("", alias) else {}
        if not kind and alias not in ADAPTERS and not said:
            continue
        values = {**kind, **{k: v for k, v in system.settings.items() if k not in said}}
        found += [f"{alias}.{name}={_text(value)}" for name, value in values.items()]
    return found


def latency_s(alias: str, folder: str) -> float:
    """So long outputs are waited for that a file server may show late."""
    sites = read_sites(folder)
    return sites.cluster(alias).latency_s if "latency" in sites.says(alias) else _LATENCY_S


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return shlex.join(map(str, value))
    return os.fspath(value) if hasattr(value, "__fspath__") else str(value)
