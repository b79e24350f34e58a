"""Runs on Grid Engine, which starts what waits for a job however that one ended."""

from __future__ import annotations

import cluster_scenes as scenes
import pytest
from cluster_scenes import Scene
from conftest import Pipe
from real_schedulers import Sge


@pytest.fixture
def scene(pipe: Pipe, sge: Sge) -> Scene:
    return Scene(pipe, "sge", sge.jobs, sge.env)


def elements(sge: Sge) -> int:
    """How many jobs of the folder are in the queue, each element for itself."""
    count = 0
    for job in sge.jobs():
        for name in sge.states(job):
            _, _, tasks = name.partition(".")
            first, _, last = tasks.partition(":")[0].partition("-")
            count += int(last) - int(first) + 1 if last else 1 + tasks.count(",")
    return count


def test_a_chain(scene: Scene) -> None:
    scenes.chain(scene)


def test_a_diamond(scene: Scene) -> None:
    scenes.diamond(scene)


def test_what_needs_a_failed_job_never_runs(scene: Scene) -> None:
    scenes.failing_middle(scene)


def test_many_jobs_are_one_array(scene: Scene) -> None:
    scenes.fan(scene)


def test_elements_wait_for_their_own(scene: Scene) -> None:
    scenes.pairs(scene)


def test_no_more_are_in_the_queue_than_may_be(scene: Scene, sge: Sge) -> None:
    scenes.window(scene, lambda: elements(sge))


def test_what_is_cancelled_is_gone(scene: Scene) -> None:
    scenes.cancelled(scene)


def test_what_is_deleted_by_hand_is_told(scene: Scene, sge: Sge) -> None:
    scenes.deleted_by_hand(scene, lambda: sge.cancel(min(sge.jobs(), key=int)))


def test_what_fails_is_tried_again(scene: Scene) -> None:
    scenes.retries(scene)


def test_batches_and_groups(scene: Scene) -> None:
    scenes.batch_and_group(scene)


def test_a_need_that_it_has_nothing_for_is_refused(scene: Scene) -> None:
    scenes.refused(scene, 'qos: "high"', "cluster `sge` has nothing for `qos`")
