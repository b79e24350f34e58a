"""The pool decides by needs and rank alone: tables, no processes."""

from __future__ import annotations

import os
import time

import pytest

from buildhpc.run import machine
from buildhpc.run.machine import detect_limits
from buildhpc.run.pool import Grant, Pool, scaled
from buildhpc.run.spec import Needs


def drained(pool: Pool) -> list[int]:
    """The tasks in the order they start when each ends before the next starts."""
    order = []
    while grant := pool.next():
        order.append(grant.task)
        pool.release(grant)
    return order


def started(pool: Pool) -> list[int]:
    """The tasks that start at once."""
    tasks = []
    while grant := pool.next():
        tasks.append(grant.task)
    return tasks


def test_higher_priority_first_then_the_order_of_coming() -> None:
    pool = Pool(1)
    for task, priority in enumerate((0, 5, 0, 5, -1)):
        pool.add(task, Needs(), priority)
    assert drained(pool) == [1, 3, 0, 2, 4]


def test_order_holds_across_different_needs() -> None:
    pool = Pool(4)
    for task, cores in enumerate((1, 2, 1, 2, 4, 1)):
        pool.add(task, Needs(cores))
    assert drained(pool) == [0, 1, 2, 3, 4, 5]


def test_a_task_that_does_not_fit_now_is_passed_over() -> None:
    pool = Pool(4)
    for task, cores in enumerate((3, 3, 1)):
        pool.add(task, Needs(cores))
    assert started(pool) == [0, 2]


def test_memory_gpus_and_resources_are_never_exceeded() -> None:
    pool = Pool(8, mem_mib=1000, gpus=("0", "1"), limits={"licence": 1.5})
    pool.add(0, Needs(mem_mib=600))
    pool.add(1, Needs(mem_mib=500))
    pool.add(2, Needs(gpus=1))
    pool.add(3, Needs(gpus=2))
    pool.add(4, Needs(resources=(("licence", 1),)))
    pool.add(5, Needs(resources=(("licence", 1),)))
    pool.add(6, Needs(resources=(("not limited", 99),)))
    assert started(pool) == [0, 2, 4, 6]


def test_gpus_that_run_together_are_distinct() -> None:
    pool = Pool(8, gpus=("a", "b", "c"))
    pool.add(0, Needs(gpus=2))
    pool.add(1, Needs(gpus=1))
    first, second = pool.next(), pool.next()
    assert first is not None
    assert second is not None
    assert sorted(first.devices + second.devices) == ["a", "b", "c"]
    pool.release(first)
    pool.add(2, Needs(gpus=2))
    third = pool.next()
    assert third is not None
    assert set(third.devices) == set(first.devices)


def test_cores_above_the_pool_are_scaled_down_and_said() -> None:
    pool = Pool(4)
    pool.add(0, Needs(cores=64))
    assert pool.next() == Grant(0, Needs(cores=4), (), (0, 1))
    assert scaled(Needs(cores=64, mem_mib=5), 4) == Needs(cores=4, mem_mib=5)


def test_a_big_task_is_not_starved_by_small_ones() -> None:
    pool = Pool(4)
    pool.add(-1, Needs(1))
    running = [pool.next()]
    pool.add(0, Needs(4))
    for task in range(1, 200):
        pool.add(task, Needs(1))
    order: list[int] = []
    while len(order) < 200:
        while grant := pool.next():
            running.append(grant)
            order.append(grant.task)
        done = running.pop(0)
        assert done is not None
        pool.release(done)
    assert 8 <= order.index(0) <= 12


def test_while_a_licence_is_waited_for_other_work_goes_on() -> None:
    pool = Pool(2, limits={"licence": 1})
    licence = Needs(resources=(("licence", 1),))
    pool.add(0, licence)
    assert started(pool) == [0]
    pool.add(1, licence)
    for task in range(2, 100):
        pool.add(task, Needs())
    for _ in range(98):
        grant = pool.next()
        assert grant is not None
        pool.release(grant)


def test_a_passed_over_task_may_still_be_overtaken_by_better_ones() -> None:
    pool = Pool(2)
    pool.add(0, Needs(1))
    assert started(pool) == [0]
    pool.add(1, Needs(2), priority=1)
    for task in range(2, 40):
        pool.add(task, Needs(1))
    for _ in range(8):
        grant = pool.next()
        assert grant is not None
        pool.release(grant)
    assert pool.next() is None
    pool.add(99, Needs(1), priority=2)
    assert started(pool) == [99]


def test_a_task_that_was_put_back_keeps_its_rank() -> None:
    pool = Pool(1)
    for task in range(3):
        pool.add(task, Needs())
    grant = pool.next()
    assert grant is not None
    pool.put_back(grant)
    assert drained(pool) == [0, 1, 2]


@pytest.mark.parametrize(
    ("needs", "text"),
    [
        (Needs(cores=99), None),
        (Needs(mem_mib=500), None),
        (Needs(mem_mib=64 * 1024), "it needs more memory (64.0 GiB) than there is (500 MiB)"),
        (Needs(gpus=1), "it needs more GPUs (1) than there is (0)"),
        (Needs(resources=(("disk", 3.5),)), "it needs more of `disk` (3.5) than there is (2)"),
        (Needs(resources=(("other", 3.5),)), None),
    ],
)
def test_needs_that_can_never_be_met_are_told(needs: Needs, text: str | None) -> None:
    assert Pool(2, 500, (), {"disk": 2}).fits_ever(needs) == text


def test_memory_is_not_limited_where_its_size_is_unknown() -> None:
    pool = Pool(2)
    assert pool.fits_ever(Needs(mem_mib=2**40)) is None
    pool.add(0, Needs(mem_mib=2**40))
    assert started(pool) == [0]


def test_sums_of_fractions_fit_exactly() -> None:
    pool = Pool(100, limits={"share": 1})
    for task in range(20):
        pool.add(task, Needs(resources=(("share", 0.1),)))
    assert len(started(pool)) == 10


def test_a_job_without_cores_starts_when_all_cores_are_taken() -> None:
    pool = Pool(1)
    pool.add(0, Needs(1))
    pool.add(1, Needs(0))
    assert started(pool) == [0, 1]


@pytest.mark.parametrize("kinds", [1, 5000])
def test_the_cost_of_a_start_does_not_grow_with_what_is_ready(kinds: int) -> None:
    def cost(count: int) -> float:
        pool = Pool(4, mem_mib=2**20)
        for task in range(count):
            pool.add(task, Needs(1, mem_mib=1000 + task % kinds))
        start = time.process_time()
        for _ in range(1000):
            grant = pool.next()
            assert grant is not None
            pool.release(grant)
        return time.process_time() - start

    few = min(cost(1000) for _ in range(3))
    many = min(cost(20_000) for _ in range(3))
    assert many < 3 * few + 0.01


@pytest.mark.parametrize(
    ("visible", "gpus"),
    [("2,5", ("2", "5")), ("GPU-1a, GPU-2b", ("GPU-1a", "GPU-2b")), ("", ()), ("-1", ())],
)
def test_gpus_are_those_that_are_visible(
    visible: str, gpus: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert detect_limits().gpus == gpus


@pytest.mark.parametrize(
    ("files", "cores", "mem_mib"),
    [
        ({"cpu.max": "150000 100000", "memory.max": "1073741824"}, 2, 1024),
        ({"cpu.max": "max 100000", "memory.max": "max"}, 64, 4096),
        ({"cpu.cfs_quota_us": "100000", "cpu.cfs_period_us": "50000"}, 2, 4096),
        ({"cpu.cfs_quota_us": "-1", "memory.limit_in_bytes": "9223372036854771712"}, 64, 4096),
        ({"memory.limit_in_bytes": "2147483648"}, 64, 2048),
    ],
)
def test_the_limits_of_a_cgroup_count(
    files: dict[str, str], cores: int, mem_mib: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def text(path: str) -> str:
        return files.get(path, "MemTotal:  4194304 kB\n" if path == "/proc/meminfo" else "")

    monkeypatch.setattr(machine, "_text", text)
    monkeypatch.setattr(machine, "_own_files", lambda name: [name] if name in files else [])
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64))
    limits = detect_limits()
    assert (limits.cores, limits.mem_mib) == (cores, mem_mib)


def test_this_machine_has_cores_and_memory() -> None:
    limits = detect_limits()
    assert limits.cores >= 1
    assert limits.mem_mib is None or limits.mem_mib > 100
