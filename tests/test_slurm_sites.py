"""Runs on Slurm as sites set it up: small arrays, short memories, limits of users; many jobs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import cluster_scenes as play
import pytest
from cluster_scenes import Scene
from conftest import Pipe
from real_schedulers import Slurm
from slurm_scenes import SlurmScene, slurm_scene
from ssh_host import disconnect, ssh_host

LONG = int(os.environ.get("HPCMAKE_ROUNDS", "30")) >= 1000


# It forgets jobs within seconds, and cancels by itself what waits for ever.
@pytest.fixture
def beta(pipe: Pipe, slurm_beta: Slurm) -> SlurmScene:
    return slurm_scene(pipe, slurm_beta)


@pytest.mark.parametrize("acted", [play.failing_middle, play.retries, play.pairs])
def test_runs_where_slurm_cancels_what_waits_for_ever(
    beta: SlurmScene, acted: Callable[[Scene], None]
) -> None:
    acted(beta)


CHUNKS = """\
rule all:
    input: "two/{n}" for n in range(120), "slow"
rule one:
    output: "one/{n}"
    shell: "echo one {n} >> ran; echo {n} > {output}"
rule two:
    input: "one/{n}"
    output: "two/{n}"
    shell: "echo two {n} >> ran; cp {input} {output}"
rule slow:
    output: "slow"
    shell:
        echo slow >> ran
        for i in $(seq 1200); do [ -e go ] && break; sleep 0.1; done
        echo > {output}
"""


def test_arrays_are_as_large_as_the_site_lets_them_be(beta: SlurmScene) -> None:
    pipe = beta.pipe
    pipe.write("Pipefile", CHUNKS)
    beta.site("max_array = 101\n")
    with beta.following() as front:
        beta.wait_for(lambda: len(beta.ran()) == 241, "all but one have run", 120)
        # Long after the queue forgot the others, nothing of the run is lost.
        if LONG:
            beta.wait_for(lambda: len(beta.squeue("%i", "-t", "all")) == 1, "the others are gone")
        pipe.write("go")
        said = beta.finish(front)
    assert "241 jobs done" in said.splitlines()[-1], said
    beta.ran_once(*(f"{rule} {n}" for rule in ("one", "two") for n in range(120)), "slow")
    arrays = [line.split("--array=")[1].split()[0] for line in beta.calls("sbatch")[:5]
              if "--array" in line]  # fmt: skip
    assert sorted(arrays) == ["0-100", "0-100", "0-18", "0-18"]
    assert sum("aftercorr" in line for line in beta.calls("sbatch")) == 2
    assert len(beta.calls("sbatch")) == 5
    beta.now_fresh(241)


def test_what_is_too_large_an_array_for_the_site_is_told(beta: SlurmScene) -> None:
    beta.pipe.write("Pipefile", CHUNKS)
    said = beta.build("two/1", *(f"one/{n}" for n in range(120)), code=1).err
    assert "Invalid job array specification" in said
    assert "max_array" in said, said
    assert beta.ran() == []
    beta.empty()


MANY = """\
rule all:
    input: "out/{{n}}" for n in range({count})
rule one:
    output: "out/{{n}}"
    shell: "echo {{n}} >> ran; echo > {{output}}"
"""


def test_many_jobs_each_run_once(pipe: Pipe, slurm: Slurm) -> None:
    count = 2000 if LONG else 120
    scene = slurm_scene(pipe, slurm)
    scene.site("max_submitted = 5000\n")
    pipe.write("Pipefile", MANY.format(count=count))
    assert f": {count:,} of {count:,} jobs submitted; " in scene.build("--detach").out
    assert len(scene.calls("sbatch")) == (count + 999) // 1000
    scene.wait_for(lambda: len(scene.ran()) == count, "all have run", 900)
    scene.ran_once(*map(str, range(count)))
    scene.empty()
    assert scene.run("watch", "-q").out == ""
    assert set(scene.states().values()) == {"done"}
    scene.now_fresh(count)


def test_a_limit_that_only_the_scheduler_knows_of_makes_the_window_smaller(
    beta: SlurmScene,
) -> None:
    """Under the QOS `few` a user may have three jobs; what asks for more is refused whole."""
    beta.pipe.write("Pipefile", CHUNKS.replace("range(120)", "range(4)"))
    beta.pipe.write("go")
    beta.site('qos = "few"\n')
    told = beta.build()
    assert told.code == 0, f"{told.out}{told.err}"
    assert "takes no more jobs for now; the rest waits" in told.err
    beta.ran_once(*(f"{rule} {n}" for rule in ("one", "two") for n in range(4)), "slow")
    beta.now_fresh(9)


def test_it_is_reached_over_ssh_where_it_is_not_reached_from_here(
    pipe: Pipe, slurm: Slurm, tmp_path: Path
) -> None:
    folder = tmp_path / "ssh"
    folder.mkdir()
    with ssh_host(folder, f"SLURM_CONF={slurm.env['SLURM_CONF']}") as host:
        words = json.dumps(list(host.options))
        over = f'scheduler = "slurm"\nhost = "{host.name}"\nssh = {words}\n'
        scene = Scene(pipe, "far", slurm.jobs, {"SLURM_CONF": "/dev/null"}, over)
        play.pairs(scene)
        assert host.logins() == 1
        disconnect(host)
