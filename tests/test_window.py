"""What is submitted next, what has to come back, what will never run."""

from __future__ import annotations

from buildhpc.plan.window import Waiting, choose, hopeless, stranded

CHAIN = [Waiting(0, "a"), Waiting(1, "a", (0,)), Waiting(2, "a", (1,))]


def test_a_whole_chain_goes_at_once_where_there_is_room() -> None:
    assert choose(CHAIN, set(), {}, {"a": 10}) == [0, 1, 2]
    assert choose(CHAIN, set(), {}, {"a": 2}) == [0, 1]
    assert choose(CHAIN, set(), {}, {"a": 0}) == []


def test_what_is_done_or_in_the_queue_is_no_hindrance() -> None:
    assert choose(CHAIN[1:], {0}, {}, {"a": 10}) == [1, 2]
    assert choose(CHAIN[1:], set(), {0: "a"}, {"a": 10}) == [1, 2]


def test_a_job_waits_for_hpcmake_where_it_needs_one_of_another_cluster() -> None:
    jobs = [Waiting(0, "a"), Waiting(1, "b", (0,)), Waiting(2, "b", (1,))]
    assert choose(jobs, set(), {}, {"a": 10, "b": 10}) == [0]
    assert choose(jobs[1:], set(), {0: "a"}, {"a": 10, "b": 10}) == []
    assert choose(jobs[1:], {0}, {}, {"a": 10, "b": 10}) == [1, 2]


def test_a_job_whose_needs_hang_on_a_file_waits_until_it_is_there() -> None:
    jobs = [Waiting(0, "a"), Waiting(1, "a", (0,), deferred=True), Waiting(2, "a", (1,))]
    assert choose(jobs, set(), {}, {"a": 10}) == [0]
    assert choose(jobs[1:], {0}, {}, {"a": 10}) == [1, 2]


def test_priority_decides_who_gets_the_room() -> None:
    jobs = [Waiting(0, "a"), Waiting(1, "a", priority=5), Waiting(2, "a", (1,), priority=5)]
    assert choose(jobs, set(), {}, {"a": 2}) == [1, 2]


def test_each_cluster_has_room_of_its_own() -> None:
    jobs = [Waiting(0, "a"), Waiting(1, "a"), Waiting(2, "b")]
    assert choose(jobs, set(), {}, {"a": 1, "b": 1}) == [0, 2]


def test_what_waits_in_a_queue_for_a_job_that_left_it_comes_back_with_all_that_follows() -> None:
    queued = [(1, (0,)), (2, (1,)), (3, (9,))]
    assert stranded(queued, {9}, {1, 2, 3}) == [1, 2]
    assert stranded(queued, {0, 9}, {1, 2, 3}) == []


def test_what_needs_a_job_that_failed_will_never_run() -> None:
    jobs = [(1, (0,)), (2, (1,)), (3, (9,))]
    assert hopeless(jobs, {0: "map n=1"}) == {1: "map n=1", 2: "map n=1"}


def test_a_chain_of_twenty_thousand_is_no_deeper_than_one() -> None:
    jobs = [Waiting(n, "a", (n - 1,) if n else ()) for n in range(20_000)]
    assert len(choose(jobs, set(), {}, {"a": 100_000})) == 20_000
    assert len(hopeless(((n, (n - 1,)) for n in range(1, 20_000)), {0: "x"})) == 19_999
