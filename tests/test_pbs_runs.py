"""Runs with the commands of Torque, whose queue tells nothing of how jobs ended."""

from __future__ import annotations

from collections.abc import Callable

import cluster_scenes as scenes
import pytest
from cluster_scenes import Scene
from conftest import Pipe
from real_schedulers import Pbs

TORQUE = 'dialect = "torque"\n'


@pytest.fixture
def scene(pipe: Pipe, pbs: Pbs) -> Scene:
    return Scene(pipe, "pbs", pbs.jobs, pbs.env, TORQUE)


@pytest.mark.parametrize("acted", [scenes.chain, scenes.failing_middle, scenes.cancelled])
def test_it_goes_as_on_any_cluster(scene: Scene, acted: Callable[[Scene], None]) -> None:
    acted(scene)


def test_a_diamond_without_arrays(scene: Scene) -> None:
    scenes.diamond(scene, sides=(0, 0))


def test_no_more_are_in_the_queue_than_may_be(scene: Scene, pbs: Pbs) -> None:
    def count() -> int:
        told = pbs.run("squeue", "-h", "-t", "PD,R", "-o", "%Z").out
        return sum(line.startswith(str(pbs.folder)) for line in told.splitlines())

    scenes.window(scene, count)


def test_a_need_that_it_has_nothing_for_is_refused(scene: Scene) -> None:
    scenes.refused(scene, 'qos: "high"', "cluster `pbs` has nothing for `qos`")
