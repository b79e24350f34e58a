"""From what a node asks for to a line of a plan file, as a rule of a Pipefile has one."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from buildhpc import disk
from buildhpc.commands.moving import NO_OPTIONS
from buildhpc.hamilton.keywords import KINDS, Wish
from buildhpc.messages import hamilton as messages
from buildhpc.plan.recipe import digest_of
from buildhpc.run.clusters import Site
from buildhpc.run.spec import JobSpec, Needs, OutputFile, Recipe, Software
from buildhpc.schedulers.protocol import Request
from buildhpc.schedulers.registry import unsupported

_SITE_WORDS = ("partition", "account", "qos", "constraint")


@dataclass(frozen=True, slots=True)
class Order:
    """A job that a node asks for.

    node: of which node; inputs: a digest of what it was called with, where that is known.
    turn: how often the node was begun anew since files of it were gone.
    """

    alias: str
    wish: Wish
    node: str
    inputs: str = ""
    turn: int = 0

    @property
    def rule(self) -> str:
        """What stands for the rule: the name that was given, else that of the node."""
        name = re.sub(r"[^\w.-]+", "_", self.wish.get("name", self.node))
        return name if name[:1].isalpha() else f"job_{name}"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The files that it makes, relative to the working folder."""
        return self._paths("outputs")

    @property
    def inputs_files(self) -> tuple[str, ...]:
        """The files that it needs, relative to the working folder."""
        return self._paths("inputs")

    def _paths(self, word: str) -> tuple[str, ...]:
        folder = self.wish.get("work_dir", "")
        return tuple(
            os.path.normpath(os.path.join(folder, path)) for path in self.wish.get(word, ())
        )

    @property
    def text(self) -> str:
        """What bash is to run."""
        text = str(self.wish.get("cmd"))
        if name := self.wish.get("script_name"):
            text = f"bash -euo pipefail {shlex.quote(name)}"
        if folder := self.wish.get("work_dir"):
            quoted = shlex.quote(folder)
            text = f"mkdir -p -- {quoted}\ncd -- {quoted}\n{text}"
        return text

    @property
    def name(self) -> str:
        """The name of the job: the same as long as nothing that is asked for changes."""
        values = {
            word: repr(self.wish.values[word])
            for word in sorted(self.wish.values)
            if word not in _NOT_COUNTED
        }
        stamps = [disk.look(path) for path in self.inputs_files]
        told = json.dumps([self.alias, values, stamps, self.turn])
        return f"{self.rule} id={hashlib.sha256(told.encode()).hexdigest()[:8]}"

    def wildcards(self, name: str) -> dict[str, str]:
        """Where the job comes from; see `state.flows`."""
        id_ = name.partition("id=")[2]
        return {"id": id_, "node": self.node, "inputs": self.inputs, "turn": str(self.turn)}


_NOT_COUNTED = ("block", "check", "dependency", "priority", "retries")


def options_for(
    alias: str, cluster_options: Sequence[str], latency_s: float = 0.0
) -> dict[str, Any]:
    """What a run of a data flow keeps of its options, as `commands.moving.options_of`."""
    own = {"cluster": alias, "cluster_options": list(cluster_options), "latency_s": latency_s}
    return {**NO_OPTIONS, **own}


def request_of(order: Order, site: Site) -> Request:
    """What a job asks its scheduler for. Raises: messages.needs_more, no_partition"""
    said = {**order.wish.values, **_of_site(site.words(order.rule))}
    mem, time, disk_ = (said.get(word) for word in ("mem", "time", "disk"))
    kind, gpus = said.get("gpus", ("", 0))
    request = Request(
        cores=said.get("cores", 1),
        mem_mib=None if mem is None else mem.mb,
        time_s=None if time is None else time.seconds,
        gpus=gpus,
        gpu_kind=kind,
        nodes=said.get("nodes", 0),
        tasks=said.get("tasks", 0),
        disk_mib=None if disk_ is None else disk_.mb,
        options=tuple(said.get("options", ())),
        **{word: said.get(word, "") for word in _SITE_WORDS},
    )
    request = site.place(request, order.rule)
    lacking = unsupported(site.scheduler.abilities, request)
    if lacking:
        words = [word.removesuffix("_mib").removesuffix("_s") for word in lacking]
        raise messages.needs_more(site.alias, words, order.wish.where)
    return request


def _of_site(words: Mapping[str, Any]) -> dict[str, Any]:
    """What a site says for jobs of this name, in the form of a wish."""
    return {
        word: KINDS["gpus"].read(value) if word == "gpus" else value
        for word, value in words.items()
    }


def line_of(order: Order, name: str, site: Site) -> dict[str, Any]:
    """The line of a plan file. Raises: as `request_of`."""
    request = request_of(order, site)
    wish = order.wish
    needs = Needs(request.cores, request.mem_mib, request.time_s, request.gpus)
    software = Software(
        tuple(wish.get("modules", ())),
        *(wish.get(word) for word in ("conda", "container", "within")),
    )
    spec = JobSpec(
        name=name,
        rule=order.rule,
        attempt=1,
        inputs=order.inputs_files,
        outputs=tuple(map(OutputFile, order.outputs)),
        recipe=Recipe("shell", order.text),
        needs=needs,
        software=software,
        env=wish.get("env", {}),
        log=wish.get("log"),
    )
    return {
        "job": name,
        "rule": order.rule,
        "wildcards": order.wildcards(name),
        "cluster": site.alias,
        "priority": wish.get("priority", 0),
        "retries": wish.get("retries", {}),
        "attempts": [{"spec": asdict(spec), "request": asdict(request)}],
        "needs": [],
        "recipe": digest_of(order.text),
        "text": order.text,
        "content": [],
        "replaced": [],
        "restore": {},
        "unless": None,
        "outputs": list(order.outputs),
        "benchmark": None,
    }


def write_script(order: Order) -> None:
    """Write the script that the job runs, where it has a name of its own. Raises: OSError"""
    if name := order.wish.get("script_name"):
        path = os.path.join(order.wish.get("work_dir", ""), name)
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/bash\n{order.wish.get('cmd')}\n")
