"""What a cluster is: how it is reached, what its parts take, what it has for each rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from buildhpc.messages import sites as messages
from buildhpc.quantities import human_size, human_time
from buildhpc.schedulers.protocol import Request, Switches


@dataclass(frozen=True, slots=True)
class Logs:
    """How logs are kept; None: all.

    keep_s: of attempts that ended no longer ago. attempts: of the last so many of each job.
    split: what jobs print to stderr is kept apart from what they print to stdout.
    """

    keep_s: float | None = None
    attempts: int | None = None
    split: bool = False


@dataclass(frozen=True, slots=True)
class Partition:
    """A part of a cluster, and what a job in it may ask for; None: as much as it likes.

    max_mem_mib: on one node. gpu_kinds: those that it has; empty: not said.
    """

    name: str
    max_time_s: int | None = None
    max_mem_mib: int | None = None
    max_cores: int | None = None
    max_gpus: int | None = None
    max_nodes: int | None = None
    gpu_kinds: tuple[str, ...] = ()
    account: str = ""
    qos: str = ""
    constraint: str = ""
    options: tuple[str, ...] = ()

    def takes(self, request: Request) -> bool:
        """Whether a job may ask for that here."""
        asked = _amounts(request)
        most = (self.max_cores, self.max_mem_mib, self.max_time_s, self.max_gpus, self.max_nodes)
        few = all(a is None or m is None or a <= m for a, m in zip(asked, most, strict=True))
        kind = request.gpu_kind
        return few and (not kind or not self.gpu_kinds or kind in self.gpu_kinds)

    def limits(self) -> str:
        """What it takes, in words."""
        most = (self.max_cores, self.max_mem_mib, self.max_time_s, self.max_gpus, self.max_nodes)
        kinds = [f"GPUs of kind {' or '.join(self.gpu_kinds)}"] if self.gpu_kinds else []
        said = [*_said(most), *kinds]
        return f"at most {', '.join(said)}" if said else "everything"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster as a site has it.

    host, ssh, user: where commands run, the options of ssh, whose queue it is; empty: here, and
    who runs hpcmake. python: the interpreter on nodes. folder: where nodes have the working
    folder; empty: where it is here. max_array 0: as the scheduler has it. submit_rate: a second.
    latency_s: how late files may be seen elsewhere. grace_s: how late word of an end may come.
    rules: rule -> directive -> value.
    """

    alias: str
    scheduler: str
    switches: Switches = field(default_factory=Switches)
    host: str = ""
    ssh: tuple[str, ...] = ()
    user: str = ""
    python: str = ""
    folder: str = ""
    account: str = ""
    partition: str = ""
    qos: str = ""
    constraint: str = ""
    options: tuple[str, ...] = ()
    max_submitted: int = 1000
    max_array: int = 0
    poll_s: float = 15.0
    latency_s: float = 30.0
    grace_s: float = 30.0
    submit_rate: float = 10.0
    partitions: tuple[Partition, ...] = ()
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def words(self, rule: str) -> Mapping[str, Any]:
        """Directive -> what the site says for a rule instead of the Pipefile."""
        return self.rules.get(rule, {})

    def placed(self, request: Request, job: str) -> Request:
        """A request with the site's words for what it leaves open, and with a partition.

        The first partition that takes it is chosen. Raises: messages.no_partition.
        """
        name = request.partition or self.partition
        among = [each for each in self.partitions if name in ("", each.name)]
        fits = [each for each in among if each.takes(request)]
        if among and not fits:
            limits = [(each.name, each.limits()) for each in among]
            raise messages.no_partition(job, self.alias, _asks(request), limits)
        chosen = fits[0] if fits else Partition(name)
        return replace(
            request,
            partition=chosen.name,
            account=request.account or chosen.account or self.account,
            qos=request.qos or chosen.qos or self.qos,
            constraint=request.constraint or chosen.constraint or self.constraint,
            options=(*self.options, *chosen.options, *request.options),
        )


def _amounts(request: Request) -> tuple[int | None, ...]:
    """Cores, memory of a node, time, GPUs and nodes that are asked for."""
    cores = request.cores * max(1, request.tasks)
    mem_mib = request.mem_mib
    if mem_mib is not None:
        mem_mib = -(-mem_mib // max(1, request.nodes))
    return cores, mem_mib, request.time_s, request.gpus, request.nodes


def _said(amounts: Sequence[int | None]) -> list[str]:
    """Amounts in words, those that are said."""
    cores, mem_mib, time_s, gpus, nodes = amounts
    counts = [(cores, "core"), (gpus, "GPU"), (nodes, "node")]
    words = [None if n is None else f"{n} {name}{'' if n == 1 else 's'}" for n, name in counts]
    mem = None if mem_mib is None else human_size(mem_mib)
    time = None if time_s is None else human_time(time_s)
    return [word for word in (words[0], mem, time, *words[1:]) if word is not None]


def _asks(request: Request) -> str:
    amounts = [amount or None for amount in _amounts(request)]
    kind = [f"GPUs of kind {request.gpu_kind}"] if request.gpu_kind else []
    return ", ".join([*_said(amounts), *kind])
