"""`--only`: the jobs that make the targets, and not what they need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Pipe
from own_queue import Queue

PIPEFILE = """\
rule all:
    input: "c1", "c2"
rule a:
    output: "a{n}"
    input: "src"
    shell: "echo a{n} >> ran; cat {input} > {output}"
rule b:
    output: "b{n}"
    input: "a{n}"
    shell: "echo b{n} >> ran; cat {input} > {output}"
rule c:
    output: "c{n}"
    input: "b{n}"
    shell: "echo c{n} >> ran; cat {input} > {output}"
"""


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    made = Queue(tmp_path / "spool")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    settings = tmp_path / "config" / "hpcmake" / "hpcmake.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'[cluster.here]\npoll = "1s"\n{made.settings}')
    yield "--cluster here"
    made.end()


def ran(pipe: Pipe) -> list[str]:
    """What has run since the last look."""
    found = pipe.read("ran").split() if pipe.exists("ran") else []
    pipe.write("ran", "")
    return found


@pytest.mark.parametrize("where", ["", "cluster"])
def test_what_the_targets_need_is_left_as_it_is(
    pipe: Pipe, where: str, request: pytest.FixtureRequest
) -> None:
    where = request.getfixturevalue("queue") if where else ""
    pipe.write("Pipefile", PIPEFILE)
    pipe.write("src", "1")
    said = pipe.check(f"{where} --only c1", code=2).err
    assert said.startswith("error[only-missing]: `c n=1` needs `b1`, which is not there")
    pipe.check("-q b1 b2")
    assert sorted(ran(pipe)) == ["a1", "a2", "b1", "b2"]
    pipe.check(f"-q {where} --only c1")
    assert ran(pipe) == ["c1"]
    pipe.write("src", "other")
    said = pipe.check(f"{where} --only c1").err
    assert said == "note: `b1` is used as it is: `b n=1`, which makes it, is stale\n"
    pipe.check(f"-q {where} --only --force")  # `all` stands for what it names
    assert sorted(ran(pipe)) == ["c1", "c2"]
    if where:
        return
    pipe.check("-q --only --until b --force")
    assert sorted(ran(pipe)) == ["b1", "b2"]
    # What was left out is made by the next build, and what hangs on it with it.
    assert pipe.check("-n").out.endswith("6 of 6 jobs would run\n")
