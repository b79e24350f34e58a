"""Names of schedulers, and the adapter of each. To add one: `docs/adding-a-scheduler.md`."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import cast

from buildhpc.messages import schedulers as messages
from buildhpc.schedulers.protocol import Abilities, Request, Scheduler, Switches

# Name -> where its adapter is. It is called with `Switches`; its `switches` are the names that it
# knows, or a mapping from them to the values that are allowed, none of them: any.
ADAPTERS = {
    "slurm": "buildhpc.schedulers.slurm:Slurm",
    "pbs": "buildhpc.schedulers.pbs:PBS",
    "sge": "buildhpc.schedulers.sge:SGE",
    "local": "buildhpc.schedulers.local:Local",
    "file": "buildhpc.schedulers.file:File",
}
ENTRY_POINTS = "buildhpc.schedulers"

_EVERYWHERE = ("cores", "options")


def scheduler(name: str, switches: Switches) -> Scheduler:
    """The adapter of a scheduler, as a site has it.

    Raises: messages.unknown_scheduler, messages.broken_scheduler, messages.unknown_switch,
    messages.bad_switch
    """
    if name in ADAPTERS:
        module, _, attribute = ADAPTERS[name].partition(":")
        found = getattr(import_module(module), attribute)
    elif ":" in name:
        found = _own(name)
    else:
        found = _installed(name)
    _check(name, switches, getattr(found, "switches", ()))
    return cast(Callable[[Switches], Scheduler], found)(switches)


def unsupported(abilities: Abilities, request: Request) -> list[str]:
    """The words of a request that a scheduler has nothing for, in order."""
    return [
        each.name
        for each in dataclasses.fields(request)
        if each.name not in abilities.words
        and each.name not in _EVERYWHERE
        and getattr(request, each.name) != each.default
    ]


def _installed(name: str) -> object:
    """The adapter that an installed package has under this name."""
    from importlib.metadata import entry_points  # 20 ms, only for those that are not ours

    points = {each.name: each for each in entry_points(group=ENTRY_POINTS)}
    if name not in points:
        raise messages.unknown_scheduler(name, [*ADAPTERS, *(points.keys() - ADAPTERS.keys())])
    try:
        return points[name].load()
    except (ImportError, AttributeError) as error:
        raise messages.broken_scheduler(name, points[name].value, str(error)) from error


def _own(name: str) -> object:
    """An adapter of the user's own: `module:Class` or `FILE.py:Class` from the working folder."""
    module, _, attribute = name.partition(":")
    try:
        if module.endswith(".py"):
            from runpy import run_path

            return run_path(module)[attribute]
        here = os.getcwd()
        if here not in sys.path:
            sys.path.insert(0, here)
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, KeyError, OSError) as error:
        raise messages.broken_scheduler(name, name, str(error)) from error


def _check(name: str, switches: Switches, known: Collection[str]) -> None:
    for switch, value in switches.values.items():
        if switch not in known:
            raise messages.unknown_switch(name, switch, known)
        allowed = known[switch] if isinstance(known, Mapping) else ()
        if allowed and value not in allowed:
            raise messages.bad_switch(name, switch, value, allowed)
