"""Disks that are full or read-only, small ones mounted for the purpose.

HPCMAKE_ROUNDS says how many steps there are between a full disk and one with room for all.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults import Scene, wait_for
from small_disk import SmallDisk, small_disk

STEPS = max(1, int(os.environ.get("HPCMAKE_ROUNDS", "30")) // 15)
NO_SPACE = "No space left on device"
# What the state says of it in the words of SQLite.
FULL = (NO_SPACE, "database or disk is full")


@pytest.fixture(params=[".", ".hpcmake"], ids=["project", "state"])
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallDisk]:
    """A disk of 1 MiB: with the whole project, or with the state alone."""
    with small_disk(tmp_path, request.param) as found:
        yield found


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 1 MiB with the whole project."""
    with small_disk(tmp_path) as found:
        yield found


def _broken_off(scene: Scene, code: int, err: str) -> None:
    """What must hold while the disk is still full."""
    assert "internal" not in err, err
    assert code == 0 or any(text in err for text in FULL), err
    assert code in (0, 1, 2), err
    assert not scene.processes()
    for path in scene.pipe.files():
        if path.startswith("out/"):
            parts = "abc".index(path[-1]) + 1
            assert re.fullmatch(f"(half){{{parts}}}[a-z]+[0-9]\n", scene.pipe.read(path)), path
    look = scene.pipe.run("-n", "-q")
    assert (look.code, look.err) == (0, "")


def _free_kib(step: int, enough_kib: int) -> int:
    """The room of a step, in whole blocks, the middle of its share of what is enough."""
    return enough_kib * (2 * step + 1) // (2 * STEPS) // 4 * 4


@pytest.mark.parametrize("step", range(STEPS))
def test_with_any_room_on_the_disk_nothing_half_made_counts(disk: SmallDisk, step: int) -> None:
    scene = Scene(disk.pipe, count=2)
    disk.fill(_free_kib(step, 160))
    result = disk.pipe.run("-j4", "-k")
    _broken_off(scene, result.code, result.err)
    disk.empty()
    scene.recover()


@pytest.mark.parametrize("step", range(STEPS))
def test_a_known_project_on_a_full_disk_stays_known(small: SmallDisk, step: int) -> None:
    disk = small
    scene = Scene(disk.pipe, count=2)
    scene.recover()
    disk.pipe.write("src/1", "other1\n")
    disk.fill(_free_kib(step, 60))
    result = disk.pipe.run("-j4", "-k")
    _broken_off(scene, result.code, result.err)
    assert {name[-1] for name in scene.planned()} <= {"1"}
    disk.empty()
    scene.recover()


@pytest.mark.parametrize("begun", [1, 3, 5] if STEPS > 2 else [3])
def test_a_disk_that_becomes_full_while_jobs_run(disk: SmallDisk, begun: int) -> None:
    scene = Scene(disk.pipe, count=2, pause=0.1)
    build = scene.start("-j4", "-k")
    wait_for(lambda: scene.begun() >= begun, "jobs start")
    disk.fill()
    _, err = build.communicate(timeout=60)
    assert build.returncode in (1, 2)
    _broken_off(scene, build.returncode, err)
    disk.empty()
    scene.recover()


def test_outputs_that_fill_the_disk_fail_their_jobs_by_that(small: SmallDisk) -> None:
    """Where their logs are on the same disk, not even what the programs say is kept."""
    pipe = small.pipe
    pipe.write(
        "Pipefile",
        """\
rule all:
    input: "out/1", "out/2", "out/3", "other"
rule fill:
    output: "out/{n}"
    shell: "head -c 600000 /dev/zero > {output}"
rule other:
    output: "other"
    input: "out/1"
    shell: "wc -c < {input} > {output}"
""",
    )
    result = pipe.check("-k", code=1)
    for number in (2, 3):
        says = f"fill n={number}: exit code 1; nothing more can be written in `out`: {NO_SPACE}\n"
        assert f"error[job-failed]: {says}" in result.err
    assert pipe.files() == ["Pipefile", "other", "out/1"]
    assert f"nothing more can be written in `out`: {NO_SPACE}" in pipe.check("status").out
    pipe.path("out/1").unlink()
    pipe.check("-q out/3")
    pipe.check("-q out/3", says="")
    assert pipe.path("out/3").stat().st_size == 600_000


def test_a_log_that_fills_the_disk_fails_its_job_by_that(disk: SmallDisk) -> None:
    pipe = disk.pipe
    pipe.write(
        "Pipefile",
        """\
rule loud:
    output: "a"
    shell: "seq 1000000; echo done > {output}"
""",
    )
    result = pipe.check("", code=1)
    assert ": exit code 1; nothing more can be written in " in result.err
    assert f": {NO_SPACE}\n" in result.err
    lines = pipe.check("logs a").out.splitlines()
    assert lines[0].startswith("hpcmake: the disk was full; of ")
    assert 1000 < len(lines) < 10_000
    assert not pipe.exists("a")
    pipe.write("Pipefile", pipe.read("Pipefile").replace("1000000", "10000"))
    pipe.check("-q")
    assert pipe.check("").out.startswith("nothing to do: ")
    assert len(pipe.check("logs a").out.splitlines()) == 10_000


def test_a_job_that_fills_the_disk_and_fails_leaves_room_for_its_record(small: SmallDisk) -> None:
    pipe = small.pipe
    pipe.write(
        "Pipefile",
        """\
rule greedy:
    output: "greedy"
    shell: "cat /dev/zero > {output} || sleep 1; exit 7"
rule other:
    shell: "sleep 0.4"
""",
    )
    result = pipe.check("-j2 -k greedy other", code=1)
    assert "error[job-failed]: greedy: exit code 7; nothing more can be written" in result.err
    assert "exit code 7" in pipe.check("status").out
    assert pipe.files() == ["Pipefile"]


def test_a_list_of_inputs_that_has_no_room_is_not_used_later(small: SmallDisk) -> None:
    pipe = small.pipe
    name = "long" * 40
    pipe.write(
        "Pipefile",
        f"""\
rule all:
    input: "first", "room", "second"
rule count:
    output: "{{which}}"
    input: "inputs/{name}{{i}}" for i in range(1000)
    priority: 3 if which == "first" else 1
    shell: "wc -l < {{input:file}} > {{output}}"
rule room:
    output: "room"
    priority: 2
    shell: "rm ballast; touch room"
""",
    )
    for number in range(1000):
        pipe.write(f"inputs/{name}{number}")
    small.fill(200)
    result = pipe.check("-k", code=1)
    assert "error[job-failed]: count which=first: cannot write `.hpcmake/run-" in result.err
    assert f".txt`: {NO_SPACE}\n" in result.err
    assert pipe.read("second") == "1000\n"
    pipe.check("-q")
    assert pipe.read("first") == "1000\n"


def test_a_benchmark_without_room_does_not_stop_the_build(small: SmallDisk) -> None:
    pipe = small.pipe
    pipe.write(
        "Pipefile",
        """\
rule all:
    input: "first", "second"
rule first:
    output: "first"
    benchmark: "times.tsv"
    shell: "cat /dev/zero > ballast || touch {output}"
rule second:
    output: "second"
    input: "first"
    shell: "rm ballast; wc -c < {input} > {output}"
""",
    )
    result = pipe.check("-q")
    assert (
        f"warning[not-written]: `times.tsv` cannot be written: {NO_SPACE.lower()}\n" in result.err
    )
    assert pipe.files() == ["Pipefile", "first", "second"]


def test_a_read_only_disk_is_told_before_the_first_job(small: SmallDisk) -> None:
    scene = Scene(small.pipe, count=2)
    scene.recover()
    begun = scene.begun()
    for cached in small.pipe.path(".hpcmake/cache").iterdir():
        cached.unlink()
    small.read_only()
    assert small.pipe.check("").out.startswith("nothing to do: ")
    small.pipe.check("status")
    result = small.pipe.check("-j4 --force-all", code=2)
    assert "error[state-unwritable]: cannot write the state in `" in result.err
    assert "/.hpcmake/state.db`: Read-only file system\n" in result.err
    assert "6 of 6 jobs would run" in small.pipe.check("-n --force-all").out
    assert scene.begun() == begun
