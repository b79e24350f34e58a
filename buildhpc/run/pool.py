"""Which of the ready jobs starts next: pure bookkeeping of cores, memory, GPUs, resources."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, replace

from buildhpc.messages import run as messages
from buildhpc.quantities import human_size
from buildhpc.run.spec import Needs

# Ready jobs of similar needs share a bucket. Where each job computes its own `mem`, memory is
# told apart in this many steps only, so that the buckets stay few.
_MEMORY_STEPS = 64
_SLACK = 1e-9  # of sums of user resources such as 0.1


@dataclass(frozen=True, slots=True)
class Grant:
    """A task that may start.

    needs: with no more cores than there are. devices: the GPUs that are its own until release.
    """

    task: int
    needs: Needs
    devices: tuple[str, ...] = ()
    rank: tuple[int, int] = (0, 0)


class _Bucket:
    """Ready tasks of similar needs, best first.

    passed: how often a task of lower rank was started while the first one did not fit.
    """

    __slots__ = ("heap", "passed")

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, int, Needs]] = []
        self.passed = 0


class Pool:
    """The ready tasks, and what is free.

    mem_mib: None: not limited. gpus: the devices. limits: of user resources; one that has no
        entry is not limited.
    """

    def __init__(
        self,
        cores: int,
        mem_mib: int | None = None,
        gpus: tuple[str, ...] = (),
        limits: Mapping[str, float] | None = None,
    ) -> None:
        self.cores = cores
        self._total: dict[str, float] = {"cores": cores, "gpus": len(gpus), **(limits or {})}
        if mem_mib is not None:
            self._total["mem"] = mem_mib
        self._free = dict(self._total)
        self._devices = list(reversed(gpus))
        self._step_mib = max(1, (mem_mib or 2**20) // _MEMORY_STEPS)
        self._buckets: dict[tuple[object, ...], _Bucket] = {}
        self._order = 0
        # Long enough to keep the cores busy with small jobs, short enough to be lived with.
        self._patience = max(8, 2 * cores)

    def __len__(self) -> int:
        return sum(len(bucket.heap) for bucket in self._buckets.values())

    def add(self, task: int, needs: Needs, priority: int = 0) -> None:
        """Let a task take part; those of one priority start in the order they came."""
        self._order += 1
        self._push(task, scaled(needs, self.cores), (-priority, self._order))

    @property
    def top(self) -> int | None:
        """The highest priority of a task; None: there is none."""
        heads = (bucket.heap[0][0] for bucket in self._buckets.values())
        return -min(heads) if self._buckets else None

    def take_all(self) -> list[int]:
        """Remove all tasks; returns them in the order in which they would start."""
        tasks = sorted(item[:3] for bucket in self._buckets.values() for item in bucket.heap)
        self._buckets.clear()
        return [task for _, _, task in tasks]

    def put_back(self, grant: Grant) -> None:
        """Undo `next`: the task could not be started now, and keeps its rank."""
        self.release(grant)
        self._push(grant.task, grant.needs, grant.rank)

    def next(self, least: int | None = None) -> Grant | None:
        """The best task that fits what is free, which is then its own; None: none may start.

        least: only tasks of this priority and above.
        """
        free = self._free
        if free["cores"] < 1 and not self._has_coreless():
            return None
        heads = self._buckets.items()
        if len(self._buckets) > 1:
            heads = sorted(heads, key=lambda item: item[1].heap[0][:2])  # type: ignore[assignment]  # a list serves as well
        passed: list[_Bucket] = []
        reserved: set[str] = set()
        for key, bucket in heads:
            priority, order, task, needs = bucket.heap[0]
            if least is not None and -priority < least:
                continue
            asked = self._asked(needs)
            short = [name for name, amount in asked if amount > free[name] + _SLACK]
            if short:
                passed.append(bucket)
                if bucket.passed >= self._patience:
                    reserved.update(short)
            elif not (reserved and any(name in reserved for name, _ in asked)):
                self._take(key, bucket, passed)
                for name, amount in asked:
                    free[name] -= amount
                devices = tuple(self._devices.pop() for _ in range(needs.gpus))
                return Grant(task, needs, devices, (priority, order))
        return None

    def release(self, grant: Grant) -> None:
        """Give back what a task had."""
        for name, amount in self._asked(grant.needs):
            self._free[name] += amount
        self._devices.extend(reversed(grant.devices))

    def fits_ever(self, needs: Needs) -> str | None:
        """Why a task with these needs could never start; None: it could."""
        for name, amount in self._asked(scaled(needs, self.cores)):
            total = self._total[name]
            if amount <= total + _SLACK:
                continue
            if name == "mem":
                return messages.never_fits("memory", human_size(amount), human_size(total))
            what = "GPUs" if name == "gpus" else f"of `{name}`"
            return messages.never_fits(what, f"{amount:g}", f"{total:g}")
        return None

    def _push(self, task: int, needs: Needs, rank: tuple[int, int]) -> None:
        mem = -1 if needs.mem_mib is None else -(-needs.mem_mib // self._step_mib)
        key = (needs.cores, mem, needs.gpus, needs.resources)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket()
        heapq.heappush(bucket.heap, (*rank, task, needs))

    def _take(self, key: tuple[object, ...], bucket: _Bucket, passed: list[_Bucket]) -> None:
        """Remove the first task of a bucket; those of better rank were passed over."""
        heapq.heappop(bucket.heap)
        bucket.passed = 0
        if not bucket.heap:
            del self._buckets[key]
        for each in passed:
            each.passed += 1

    def _asked(self, needs: Needs) -> list[tuple[str, float]]:
        """What needs take of what is limited."""
        asked: list[tuple[str, float]] = [("cores", needs.cores)] if needs.cores else []
        if needs.mem_mib and "mem" in self._total:
            asked.append(("mem", needs.mem_mib))
        if needs.gpus:
            asked.append(("gpus", needs.gpus))
        for name, amount in needs.resources:
            if amount and name in self._total:
                asked.append((name, amount))
        return asked

    def _has_coreless(self) -> bool:
        return any(key[0] == 0 for key in self._buckets)


def scaled(needs: Needs, cores: int) -> Needs:
    """The same needs with no more than `cores` cores."""
    return needs if needs.cores <= cores else replace(needs, cores=cores)
