"""Which jobs share a scheduler job, which of those share an array, and what waits for what."""

from __future__ import annotations

import random

import pytest

from buildhpc.plan.arrays import Array, Link, Place, Shape, arrange
from buildhpc.plan.elements import Element, Ready, elements

SLURM = Shape(max_array=1000, ok_edges=True, element_edges=True, one_element=True)
SGE = Shape(max_array=1000, ok_edges=False, element_edges=True, one_element=False)
PBS = Shape(max_array=1000, ok_edges=True, element_edges=False, one_element=False)


def arrays(jobs: list[Ready], shape: Shape = SLURM) -> list[Array]:
    return arrange(elements(jobs), {}, shape)


def numbers(array: Array) -> list[tuple[int, ...]]:
    return [element.jobs for element in array.elements]


def test_ten_thousand_jobs_of_a_rule_are_ten_arrays() -> None:
    found = arrays([Ready(n, "a") for n in range(10_000)])
    assert [len(array.elements) for array in found] == [1000] * 10
    assert all(array.links == () for array in found)


def test_element_follows_element_where_the_shapes_fit() -> None:
    jobs = [Ready(n, "a") for n in range(5)] + [Ready(5 + n, "b", (4 - n,)) for n in range(5)]
    first, second = arrays(jobs)
    assert numbers(second) == [(9,), (8,), (7,), (6,), (5,)]
    assert second.links == (Link(0, None, None, "element"),)
    assert first.links == ()


def test_an_array_that_was_submitted_before_is_followed_element_by_element_as_well() -> None:
    flights = {n: Place(77, n, 3) for n in range(3)}
    jobs = [Ready(10 + n, "b", (2 - n,)) for n in range(3)]
    (array,) = arrange(elements(jobs), flights, SLURM)
    assert numbers(array) == [(12,), (11,), (10,)]
    assert array.links == (Link(None, 77, None, "element"),)


def test_without_element_edges_the_whole_array_is_waited_for_and_success_is_not_asked() -> None:
    jobs = [Ready(n, "a") for n in range(5)] + [Ready(5 + n, "b", (n,)) for n in range(5)]
    assert arrays(jobs, PBS)[1].links == (Link(0, None, None, "any"),)


def test_a_gather_waits_for_the_success_of_the_whole_array() -> None:
    jobs = [*(Ready(n, "a") for n in range(5)), Ready(5, "b", (0, 1, 2, 3, 4))]
    assert arrays(jobs)[1].links == (Link(0, None, None, "ok"),)
    assert arrays(jobs, SGE)[1].links == (Link(0, None, None, "any"),)


def test_one_that_needs_a_part_of_an_array_waits_for_those_elements() -> None:
    jobs = [*(Ready(n, "a") for n in range(5)), Ready(5, "b", (1, 3))]
    assert arrays(jobs)[1].links == (Link(0, None, 1, "ok"), Link(0, None, 3, "ok"))
    assert arrays(jobs, PBS)[1].links == (Link(0, None, None, "any"),)


def test_an_array_that_needs_one_job_waits_for_its_success() -> None:
    jobs = [Ready(0, "split"), *(Ready(1 + n, "a", (0,)) for n in range(4))]
    assert arrays(jobs)[1].links == (Link(0, None, None, "ok"),)


def test_an_array_of_which_a_part_needs_a_job_does_not_ask_for_its_success() -> None:
    jobs = [Ready(0, "x"), Ready(1, "y"), Ready(2, "a", (0,)), Ready(3, "a", (1,))]
    assert arrays(jobs)[2].links == (Link(0, None, None, "any"), Link(1, None, None, "any"))


def test_jobs_of_one_rule_that_need_each_other_are_not_in_one_array() -> None:
    found = arrays([Ready(0, "a"), Ready(1, "a", (0,)), Ready(2, "a", (1,))])
    assert [numbers(array) for array in found] == [[(0,)], [(1,)], [(2,)]]
    assert found[2].links == (Link(1, None, None, "ok"),)


def test_a_batch_runs_several_jobs_of_a_rule() -> None:
    found = elements([Ready(n, "a", batch=4) for n in range(10)])
    assert [element.jobs for element in found] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]


def test_a_group_runs_jobs_that_need_each_other() -> None:
    jobs = [
        *(Ready(n, "a", group="g") for n in range(2)),
        *(Ready(2 + n, "b", (n,), group="g") for n in range(2)),
        Ready(4, "c", (2, 3)),
    ]
    found = elements(jobs)
    assert [element.jobs for element in found] == [(0, 2), (1, 3), (4,)]
    assert found[0].key == ("a", "b")
    assert set(found[2].after) == {2, 3}


def test_a_group_with_a_way_through_another_rule_is_two_scheduler_jobs() -> None:
    jobs = [Ready(0, "a", group="g"), Ready(1, "x", (0,)), Ready(2, "b", (0, 1), group="g")]
    assert [element.jobs for element in elements(jobs)] == [(0,), (1,), (2,)]


def test_groups_that_would_wait_for_each_other_go_apart() -> None:
    jobs = [
        Ready(0, "a", group="g"),
        Ready(1, "b", (0,), group="h"),
        Ready(2, "d", (), group="h"),
        Ready(3, "c", (0, 2), group="g"),
        Ready(4, "e", (1, 2), group="h"),
    ]
    check(jobs, elements(jobs))


def check(jobs: list[Ready], found: list[Element]) -> None:
    """Every job is in one element, and each element comes after all those it needs."""
    done: set[int] = set()
    for element in found:
        assert set(element.after) <= done
        own: set[int] = set()
        for number in element.jobs:
            assert set(jobs[number].after) <= done | own
            own.add(number)
        done |= own
    assert done == {job.number for job in jobs}
    assert sum(len(element.jobs) for element in found) == len(jobs)


@pytest.mark.parametrize("seed", range(100))
def test_whatever_the_graph_every_job_is_submitted_once_after_what_it_needs(seed: int) -> None:
    rng = random.Random(seed)
    jobs = []
    for number in range(rng.randrange(1, 40)):
        after = tuple(n for n in range(number) if rng.random() < 0.1)
        rule = rng.randrange(4)
        group = rng.choice(["", "g", "h"]) if rule < 2 else ""
        jobs.append(Ready(number, rule, after, 3 if rule == 2 else 1, group))
    found = elements(jobs)
    check(jobs, found)
    shape = rng.choice([SLURM, SGE, PBS])._replace(max_array=rng.choice([2, 5, 1000]))
    made = arrange(found, {}, shape)
    place = {n: at for at, array in enumerate(made) for e in array.elements for n in e.jobs}
    assert sorted(place) == [job.number for job in jobs]
    for at, array in enumerate(made):
        assert len(array.elements) <= shape.max_array
        needed = {place[n] for element in array.elements for n in element.after}
        assert {link.array for link in array.links} == needed
        assert all(before < at for before in needed)
