"""Scenes of runs on clusters that play alike on every scheduler; each test module lends its own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from conftest import Pipe, Result

from buildhpc.state.database import State, read_state
from buildhpc.state.inbox import glance
from buildhpc.state.queries import AttemptRow, attempts, jobs
from buildhpc.state.snapshot import generation

# Asked often, and trusted soon: tests are not to wait for what a login node has to be spared.
QUICK = 'poll = "1s"\ngrace = "2s"\nlatency = "5s"\n'


def wait_until(condition: Callable[[], object], what: str, limit_s: float = 60.0) -> None:
    """Return as soon as `condition` holds. Raises: TimeoutError."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {limit_s:.0f} s")
        time.sleep(0.05)


@dataclass
class Scene:
    """A working folder, and a cluster for its jobs.

    queue: the scheduler's jobs of this folder. env: where the scheduler is found.
    settings: of the cluster, in TOML.
    """

    pipe: Pipe
    alias: str
    queue: Callable[[], Sequence[str]]
    env: Mapping[str, str] = field(default_factory=dict)
    settings: str = ""

    def __post_init__(self) -> None:
        self.site()

    def site(self, more: str = "") -> None:
        """Write `hpcmake.toml`; more: further settings of the cluster."""
        text = f"[cluster.{self.alias}]\n{QUICK}{self.settings}{more}"
        self.pipe.write("hpcmake.toml", text)

    def build(self, *words: str, code: int | None = 0) -> Result:
        """Build on the cluster, and stay until the run is over."""
        return self.run("--cluster", self.alias, *words, code=code)

    def run(self, *words: str, code: int | None = 0) -> Result:
        """Run hpcmake; code: what it has to end with, None: anything."""
        result = self.pipe.run(*words, env=dict(self.env))
        said = f"{' '.join(words)}: exit code {result.code}\n{result.out}{result.err}"
        assert code in (None, result.code), said
        return result

    @contextmanager
    def following(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A front end that builds on the cluster meanwhile."""
        with subprocess.Popen(
            self.pipe.command("--cluster", self.alias, *words),
            cwd=self.pipe.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **self.env},
        ) as front:
            try:
                yield front
            finally:
                if front.poll() is None:
                    front.kill()

    def finish(self, front: subprocess.Popen[str], code: int = 0) -> str:
        """Wait until a front end ends with this code; what it said."""
        said, _ = front.communicate(timeout=100)
        assert front.returncode == code, f"exit code {front.returncode}\n{said}"
        return said

    def wait_for(self, condition: Callable[[], object], what: str, limit_s: float = 60.0) -> None:
        """Return as soon as `condition` holds."""
        try:
            wait_until(condition, what, limit_s)
        except TimeoutError as error:
            told = f"{self.queue()}\n{self.run('status', code=None).out}"
            pytest.fail(f"{error}\n{told}")

    @property
    def state(self) -> State:
        """The state of the folder."""
        state = read_state(self.pipe.folder)
        assert state is not None
        return state

    def states(self) -> dict[str, str]:
        """How the jobs are by what runners told so far; empty where there is no state."""
        if not generation(self.pipe.folder / ".hpcmake" / "state.db"):
            return {}
        glance(self.pipe.folder)
        return {job.name: job.state for job in jobs(self.state)}

    def attempts(self, job: str) -> list[AttemptRow]:
        """The attempts of a job."""
        return attempts(self.state, job)

    def submissions(self) -> list[int]:
        """How many elements each submission had that a scheduler took; 0: a plain job."""
        query = "SELECT elements FROM submission WHERE scheduler_id IS NOT NULL ORDER BY id"
        return [row[0] for row in self.state.read(lambda c: c.execute(query).fetchall())]

    def empty(self) -> None:
        """Wait until the scheduler has nothing of this folder."""
        self.wait_for(lambda: not self.queue(), "the queue is empty")

    def over(self) -> None:
        """Wait until no job is under way and the queue is empty, while nobody looks."""
        going = {"waiting", "queued", "running"}
        self.wait_for(lambda: not going & set(self.states().values()), "the run is over")
        self.empty()


CHAIN = """\
rule all:
    input: "c"

rule one:
    input: "a"
    output: "b"
    shell: "cat {input} > {output}; echo b >> log; echo said by b"

rule two:
    input: "b"
    output: "c"
    shell: "cat {input} > {output}; echo c >> log"
"""


def chain(scene: Scene) -> None:
    """Two jobs, one after the other; what is fresh stays, what is touched is made anew."""
    pipe = scene.pipe
    pipe.write("Pipefile", CHAIN)
    pipe.write("a", "1\n")
    told = scene.build()
    assert pipe.read("log") == "b\nc\n"
    assert "2 jobs" in told.out or "2 of 2" in told.out, told.out
    assert scene.run("logs", "one").out.endswith("said by b\n")
    scene.empty()
    assert scene.build().out == "nothing to do: all 2 jobs are fresh\n"
    pipe.write("a", "22\n")
    scene.build()
    assert [pipe.read("c"), pipe.read("log")] == ["22\n", "b\nc\nb\nc\n"]
    assert not list(pipe.path(".hpcmake").glob("run-*")), "the folder of a run goes with it"


DIAMOND = """\
rule all:
    input: "out"

rule split:
    input: "in"
    output: "left", "right"
    shell: "cp in left; cp in right; echo split >> log"

rule side:
    input: "{side}"
    output: "{side}.done"
    where: side = "left|right"
    shell: "cp {input} {output}; echo side >> log"

rule join:
    input: "left.done", "right.done"
    output: "out"
    shell: "cat {input} > {output}; echo join >> log"
"""


def diamond(scene: Scene, *, sides: Sequence[int] = (2,)) -> None:
    """One job, two beside each other, one after both. sides: how those two are submitted."""
    pipe = scene.pipe
    pipe.write("Pipefile", DIAMOND)
    pipe.write("in", "x\n")
    scene.build()
    assert pipe.read("log").split() == ["split", "side", "side", "join"]
    assert pipe.read("out") == "x\nx\n"
    assert scene.submissions() == [0, *sides, 0]
    scene.empty()


MIDDLE = """\
rule all:
    input: "end", "aside"

rule first:
    input: "in"
    output: "first"
    shell: "cp {input} {output}; echo first >> log"

rule middle:
    input: "first"
    output: "middle"
    shell:
        echo half > {output}
        echo middle >> log
        test -e fine || { echo what went wrong; exit 3; }

rule end:
    input: "middle"
    output: "end"
    shell: "cp {input} {output}; echo end >> log"

rule aside:
    input: "first"
    output: "aside"
    shell: "cp {input} {output}; echo aside >> log"
"""


def failing_middle(scene: Scene) -> None:
    """What needs a job that failed never runs, nor stays in the queue; the rest goes on."""
    pipe = scene.pipe
    pipe.write("Pipefile", MIDDLE)
    pipe.write("in", "x\n")
    told = scene.build(code=1)
    said = told.out + told.err
    assert "exit code 3" in said
    assert "what went wrong" in said
    assert sorted(pipe.read("log").split()) == ["aside", "first", "middle"]
    assert scene.states() == {
        "first": "done", "middle": "failed", "end": "skipped", "aside": "done"
    }  # fmt: skip
    assert not pipe.exists("middle"), "what a failed job made is removed"
    scene.empty()
    assert [each.failure for each in scene.attempts("middle")] == ["exit"]
    pipe.write("fine")
    scene.run("retry")
    assert pipe.read("end") == "half\n"
    assert sorted(pipe.read("log").split()) == ["aside", "end", "first", "middle", "middle"]
    scene.empty()


FAN = """\
rule all:
    input: "sum"

rule part:
    input: "in"
    output: "part/{{n}}"
    where: n = "[0-9]+"
    shell: "echo {{n}} > {{output}}"

rule sum:
    input: "part/{{n}}" for n in range({count})
    output: "sum"
    shell: "cat {{input}} > {{output}}"
"""


def fan(scene: Scene, count: int = 60) -> None:
    """Many jobs of one rule are one array, and one job is after all of them."""
    pipe = scene.pipe
    pipe.write("Pipefile", FAN.format(count=count))
    pipe.write("in")
    scene.build()
    assert pipe.read("sum").split() == [str(n) for n in range(count)]
    assert scene.submissions() == [count, 0]
    scene.empty()


PAIRS = """\
rule all:
    input: "two/{n}" for n in range(6)

rule one:
    input: "in"
    output: "one/{n}"
    where: n = "[0-9]+"
    shell:
        if [ {n} = 3 ]; then
            for i in $(seq 600); do [ -e go ] && break; sleep 0.1; done
            echo failed here; exit 1
        fi
        echo {n} > {output}

rule two:
    input: "one/{n}"
    output: "two/{n}"
    where: n = "[0-9]+"
    shell: "cp {input} {output}"
"""


def pairs(scene: Scene) -> None:
    """Each element of an array starts when its own one has ended, not when all have."""
    pipe = scene.pipe
    pipe.write("Pipefile", PAIRS)
    pipe.write("in")
    others = [f"two/{n}" for n in range(6) if n != 3]
    with scene.following() as front:
        scene.wait_for(lambda: all(map(pipe.exists, others)), "the others do not wait")
        pipe.write("go")
        scene.finish(front, code=1)
    assert not pipe.exists("two/3")
    assert scene.states()["two n=3"] == "skipped"
    assert scene.submissions() == [6, 6]
    edges = "SELECT edges FROM submission ORDER BY id DESC LIMIT 1"
    assert "element" in scene.state.read(lambda c: str(c.execute(edges).fetchone()[0]))
    scene.empty()


WIDE = """\
rule all:
    input: "out/{n}" for n in range(20)

rule wide:
    input: "in"
    output: "out/{n}"
    where: n = "[0-9]+"
    shell: "echo {n} > {output}"
"""


def window(scene: Scene, count: Callable[[], int]) -> None:
    """No more than `max_submitted` are in the queue; runners submit the rest by themselves.

    count: how many jobs of this folder the scheduler has, each element for itself.
    """
    pipe = scene.pipe
    pipe.write("Pipefile", WIDE)
    pipe.write("in")
    scene.site("max_submitted = 5\n")
    told = scene.build("--detach")
    assert ": 4 of 20 jobs submitted" in told.out, told.out
    most = 0

    def complete() -> bool:
        nonlocal most
        most = max(most, count())
        return all(pipe.exists(f"out/{n}") for n in range(20))

    scene.wait_for(complete, "all are made though nobody watches", 100)
    assert 1 <= most <= 5, most
    scene.empty()
    scene.run("advance")
    scene.over()
    assert set(scene.states().values()) == {"done"}


WAITING = """\
rule all:
    input: "out{n}" for n in range(3)

rule wait:
    input: "in"
    output: "mid{n}"
    where: n = "[0-9]"
    shell:
        echo {n} >> begun
        for i in $(seq 1200); do [ -e go ] && break; sleep 0.1; done
        echo {n} > {output}

rule after:
    input: "mid{n}"
    output: "out{n}"
    where: n = "[0-9]"
    shell: "cp {input} {output}; echo {n} >> after"
"""


def begun(scene: Scene) -> bool:
    """Whether the three jobs that wait for `go` have begun."""
    return scene.pipe.exists("begun") and len(scene.pipe.read("begun").split()) == 3


def cancelled(scene: Scene) -> None:
    """What is cancelled leaves the queue and no file; it can be had again."""
    pipe = scene.pipe
    pipe.write("Pipefile", WAITING)
    pipe.write("in")
    scene.build("--detach")
    scene.wait_for(lambda: begun(scene), "three run")
    told = scene.run("cancel", "--all", "--yes")
    assert told.out == "6 jobs cancelled\n"
    scene.empty()
    scene.run("advance")
    assert set(scene.states().values()) == {"cancelled"}
    assert pipe.files() == ["Pipefile", "begun", "hpcmake.toml", "in"]
    pipe.write("go")
    scene.run("retry")
    assert [pipe.read(f"out{n}") for n in range(3)] == ["0\n", "1\n", "2\n"]
    scene.empty()


def deleted_by_hand(scene: Scene, delete: Callable[[], None]) -> None:
    """Jobs that somebody deletes at the scheduler are told as such, and what needs them stops.

    delete: deletes the array of three that run.
    """
    pipe = scene.pipe
    pipe.write("Pipefile", WAITING)
    pipe.write("in")
    with scene.following() as front:
        scene.wait_for(lambda: begun(scene), "three run")
        delete()
        scene.finish(front, code=1)
    states = scene.states()
    assert {states[f"wait n={n}"] for n in range(3)} == {"cancelled"}
    assert {states[f"after n={n}"] for n in range(3)} == {"skipped"}
    assert not pipe.exists("after")
    assert pipe.files() == ["Pipefile", "begun", "hpcmake.toml", "in"]
    scene.empty()


RETRIES = """\
rule all:
    input: "late", "never"

rule flaky:
    output: "flaky"
    retries: 2
    shell: "echo {attempt} >> tries; [ {attempt} = 3 ]; echo {attempt} > {output}"

rule late:
    input: "flaky"
    output: "late"
    shell: "cp {input} {output}"

rule never:
    output: "never"
    retries: 1
    shell: "echo >> nevers; exit 1"
"""


def retries(scene: Scene) -> None:
    """What fails is tried again, nobody being there; what needs it comes when it is done."""
    pipe = scene.pipe
    pipe.write("Pipefile", RETRIES)
    scene.build("--detach")
    scene.wait_for(lambda: pipe.exists("late"), "it is made in the end", 100)
    scene.wait_for(lambda: scene.run("advance") and not waits(scene), "all is over")
    assert [pipe.read("tries"), pipe.read("late")] == ["1\n2\n3\n", "3\n"]
    assert [each.state for each in scene.attempts("flaky")] == ["failed", "failed", "done"]
    assert pipe.read("nevers") == "\n\n"
    assert scene.states()["never"] == "failed"
    scene.empty()


def waits(scene: Scene) -> bool:
    """Whether a job is yet to come."""
    return bool({"waiting", "queued", "running"} & set(scene.states().values()))


SHARED = """\
rule all:
    input: "of_batch{n}" for n in range(6), "third"

rule many:
    input: "in"
    output: "of_batch{n}"
    where: n = "[0-9]"
    batch: 3
    shell: "echo $PPID > {output}"

rule first:
    input: "in"
    output: "first"
    group: "g"
    shell: "echo $PPID > {output}"

rule second:
    input: "first"
    output: "second"
    group: "g"
    shell: "echo $PPID > {output}"

rule third:
    input: "second"
    output: "third"
    group: "g"
    shell: "echo $PPID > {output}"
"""


def batch_and_group(scene: Scene, submissions: Sequence[int] = (2, 0)) -> None:
    """Jobs of a batch, and those of a group, run one after the other in one scheduler job."""
    pipe = scene.pipe
    pipe.write("Pipefile", SHARED)
    pipe.write("in")
    scene.build()
    groups = {pipe.read(path) for path in ("first", "second", "third")}
    assert len(groups) == 1
    assert len({pipe.read(f"of_batch{n}") for n in range(6)}) == 2
    assert sorted(scene.submissions()) == sorted(submissions)
    scene.empty()


def refused(scene: Scene, line: str, says: str) -> None:
    """A need that the scheduler has nothing for is refused before anything is submitted."""
    pipe = scene.pipe
    pipe.write("Pipefile", CHAIN.replace('output: "c"', f'output: "c"\n    {line}'))
    pipe.write("a")
    told = scene.build(code=2)
    assert says in told.err, told.err
    assert "--> Pipefile:12:" in told.err, told.err
    assert line in told.err, told.err
    assert scene.queue() == []
    assert not pipe.exists("b")
    assert not waits(scene)


BOTH = """\
rule one:
    input: "in"
    output: "one"
    shell: "while [ ! -e go ]; do sleep 0.05; done; echo x >> {output}.log; cp {input} {output}"

rule two:
    input: "one"
    output: "two"
    shell: "echo x >> {output}.log; cp {input} {output}"

rule three:
    input: "one"
    output: "three"
    shell: "echo x >> {output}.log; cp {input} {output}"
"""


def both_at_once(scene: Scene, other: Scene) -> None:
    """Two hpcmake on two clusters at once in one folder: what both need runs once."""
    pipe = scene.pipe
    pipe.write("Pipefile", BOTH)
    pipe.write("in", "1\n")
    with scene.following("two") as front:
        scene.wait_for(lambda: scene.states().get("one") == "running", "one runs")
        with other.following("three") as second:
            scene.wait_for(lambda: "three" in scene.states(), "the second has its plan")
            pipe.write("go")
            scene.finish(front)
            other.finish(second)
    assert [pipe.read(f"{name}.log") for name in ("one", "two", "three")] == ["x\n"] * 3
    assert set(scene.states().values()) == {"done"}
    scene.empty()
    other.empty()
