"""What jobs ask for and where they run, on real Slurm; recipes of all kinds on its nodes."""

from __future__ import annotations

import pytest
from conftest import Pipe
from real_schedulers import Slurm
from slurm_scenes import SlurmScene, slurm_scene


@pytest.fixture
def scene(pipe: Pipe, slurm: Slurm) -> SlurmScene:
    return slurm_scene(pipe, slurm)


# What Slurm says of the job that a recipe runs in.
GIVEN = "echo {rule} $SLURM_JOB_PARTITION $SLURM_CPUS_PER_TASK $SLURM_MEM_PER_NODE $(limit) >> ran"
LIMIT = "limit() { squeue -h -j $SLURM_JOB_ID -o %l | sort -u; }"

PLACES = """\
rule all:
    input: "small", "long", "wide", "named", "site", "here"
rule small:
    output: "small"
    time: 3m
    mem: 50M
    shell:
        LIMIT
        GIVEN
        echo > {output}
rule long:
    output: "long"
    time: 50m
    mem: 50M
    shell:
        LIMIT
        GIVEN
        echo > {output}
rule wide:
    output: "wide"
    time: 3m
    cores: 2
    mem: 300M
    shell:
        LIMIT
        GIVEN
        echo > {output}
rule named:
    output: "named"
    time: 3m
    mem: 50M
    partition: "long"
    shell:
        LIMIT
        GIVEN
        echo > {output}
rule site:
    output: "site"
    time: 3m
    mem: 50M
    shell:
        LIMIT
        GIVEN
        echo > {output}
rule here:
    output: "here"
    local
    shell: "echo here ${SLURM_JOB_ID:-none} >> ran; echo > {output}"
"""

SITE = """
[cluster.slurm.rule.site]
mem = "120M"
time = "7m"
cores = 3
[[cluster.slurm.partition]]
name = "short"
max_time = "5m"
max_mem = "200M"
[[cluster.slurm.partition]]
name = "debug"
max_time = "1h"
[cluster.local]
poll = "1s"
"""


def test_jobs_get_what_they_ask_for_in_a_partition_that_has_it(scene: SlurmScene) -> None:
    text = PLACES
    for rule in ("small", "long", "wide", "named", "site"):
        text = text.replace("GIVEN", GIVEN.replace("{rule}", rule), 1).replace("LIMIT", LIMIT, 1)
    scene.pipe.write("Pipefile", text)
    scene.site(SITE)
    scene.build()
    scene.ran_once(
        "small short 1 50 3:00",
        "long debug 1 50 50:00",
        "wide debug 2 300 3:00",
        "named long 1 50 3:00",
        "site debug 3 120 7:00",
        "here none",
    )
    scene.now_fresh(6)
    scene.pipe.write("Pipefile", PLACES.replace("50m", "2h"))
    refused = scene.build("--force", code=2)
    assert "long" in refused.err, refused.err
    assert len(scene.calls("sbatch")) == 5


TOGETHER = """\
rule all:
    input: "of{n}" for n in range(6), "third"
rule many:
    output: "of{n}"
    cores: 2
    mem: 60M
    time: 2m
    batch: 3
    shell:
        LIMIT
        echo {n} $SLURM_CPUS_PER_TASK $SLURM_MEM_PER_NODE $(limit) >> ran
        echo said by {n}
        echo $SLURM_JOB_ID > {output}
rule first:
    output: "first"
    group: "g"
    shell: "echo first >> ran; echo $SLURM_JOB_ID > {output}"
rule second:
    input: "first"
    output: "second"
    group: "g"
    shell: "echo second >> ran; echo $SLURM_JOB_ID > {output}"
rule third:
    input: "second"
    output: "third"
    group: "g"
    shell: "echo third >> ran; echo $SLURM_JOB_ID > {output}"
"""


def test_jobs_share_a_scheduler_job_and_are_jobs_all_the_same(scene: SlurmScene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", TOGETHER.replace("LIMIT", LIMIT))
    scene.build()
    # Each has all of it in its turn: cores and memory are not summed, time is.
    scene.ran_once(*(f"{n} 2 60 6:00" for n in range(6)), "first", "second", "third")
    assert len({pipe.read(f"of{n}") for n in range(6)}) == 2
    assert len({pipe.read(path) for path in ("first", "second", "third")}) == 1
    assert len(scene.calls("sbatch")) == 2
    for n in range(6):
        assert scene.run("logs", f"of{n}").out.endswith(f"said by {n}\n")
    assert [scene.states()[f"many n={n}"] for n in range(6)] == ["done"] * 6
    scene.now_fresh(9)
    pipe.path("of4").unlink()
    scene.build()
    assert scene.ran()[9:] == ["4 2 60 2:00"], "one that is alone in its batch asks for itself"


KITCHEN = """\
rule all:
    input: "asked", "scripted", "python", "called", "shown", "log.txt"
rule make:
    output: temp("big"), "kept"
    shell: "echo make >> ran; truncate -s 70M {output[0]}; echo > {output[1]}"
rule asked:
    input: x = "big"
    output: "asked"
    mem: max(50M, 2 * size(input.x))
    shell: "echo asked $SLURM_MEM_PER_NODE >> ran; echo {mem} > {output}"
rule scripted:
    input: "kept"
    output: "scripted"
    params: times = 2
    script: "scripts/write.py"
rule python:
    input: "kept"
    output: "python"
    cores: 2
    python:
        with open("ran", "a") as file:
            print("python", cores, file=file)
        open(output[0], "w").close()
rule called:
    input: "kept"
    output: "called"
    args:
        path = output[0]
    call: "tools:write"
rule shown:
    input: "kept"
    output: "shown"
    env: WORD = "a b"
    shell: "echo shown $WORD $HPCMAKE_CORES >> ran; echo > {output}"
rule logged:
    output: "log.txt"
    log: "logs/logged.txt"
    shell: "echo logged >> ran; echo told; echo > {output}"
"""

WRITE = """\
with open("ran", "a") as file:
    print("scripted", job.params.times, file=file)
open(job.output[0], "w").close()
"""

TOOLS = """\
def write(path):
    with open("ran", "a") as file:
        print("called", file=file)
    open(path, "w").close()
"""


def test_recipes_of_all_kinds_run_on_nodes_and_needs_may_hang_on_files(scene: SlurmScene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", KITCHEN)
    pipe.write("scripts/write.py", WRITE)
    pipe.write("tools.py", TOOLS)
    scene.build("--detach")
    scene.over()  # nobody watches: what hangs on a file is submitted by a job that ends
    scene.run("advance")
    scene.ran_once("make", "asked 140", "scripted 2", "python 2", "called", "shown a b 1", "logged")
    assert pipe.read("asked") == "140M\n"
    assert not pipe.exists("big"), "nothing needs the temp file any more"
    assert pipe.read("logs/logged.txt") == "told\n"
    assert scene.run("logs", "log.txt").out.endswith("told\n")
    scene.now_fresh(7)


PRIORITIES = """\
rule all:
    input: "out{n}" for n in range(5)
rule one:
    output: "out{n}"
    priority: [0, 7, 3, 0, 9][int(n)]
    shell: "echo {n} >> ran; echo > {output}"
"""


def test_what_has_priority_is_submitted_first(scene: SlurmScene) -> None:
    scene.pipe.write("Pipefile", PRIORITIES)
    scene.site("max_submitted = 2\n")
    scene.build()
    assert scene.ran() == ["4", "1", "2", "0", "3"]
    scene.now_fresh(5)
