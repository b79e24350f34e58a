"""A damaged, lost or foreign state: refused with words, or right; never a wrong `fresh`.

Clocks and edits that hide from time stamps are here as well.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable

import pytest
from conftest import Pipe
from faults import Scene

DAY_NS = 86_400_000_000_000
# A quick job, and one that is stale from here on: `edit` makes it so.
PIPEFILE = """\
rule all:
    input: "b"
rule a:
    output: "a"
    input: "source"
    shell: "cat {input} > {output}"
rule b:
    output: "b"
    input: "a"
    shell: "cat {input} > {output}"
"""


@pytest.fixture
def edited(pipe: Pipe) -> Pipe:
    """A project that was built, and whose source changed since to an older file."""
    pipe.write("Pipefile", PIPEFILE)
    pipe.write("source", "old")
    pipe.check("-q")
    pipe.check("-q")
    pipe.write("source", "new", mtime=1_000_000_000)
    return pipe


def _refused_or_right(pipe: Pipe) -> None:
    """A build in a folder whose state is damaged: it says so, or does all that is to be done.

    What it did before it noticed is whole.
    """
    result = pipe.run()
    assert "internal" not in result.err, result.err
    if result.code == 0:
        assert pipe.read("b") == "new"
    else:
        assert result.code == 2, result.err
        assert "error[state-" in result.err
        assert "state.db" in result.err
        assert pipe.read("b") in ("old", "new")


@pytest.mark.parametrize("name", ["state.db", "cache"])
def test_a_truncated_state_never_says_fresh(edited: Pipe, name: str) -> None:
    rng = random.Random(5)
    _damage(edited, name, 4, lambda data: data[: rng.randrange(len(data))])


@pytest.mark.parametrize("name", ["state.db", "cache"])
def test_a_flipped_byte_in_the_state_never_says_fresh(edited: Pipe, name: str) -> None:
    rng = random.Random(6)

    def flip(data: bytes) -> bytes:
        at = rng.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]

    _damage(edited, name, 6, flip)


@pytest.mark.parametrize("name", ["state.db", "cache"])
def test_a_block_of_zeros_in_the_state_never_says_fresh(edited: Pipe, name: str) -> None:
    rng = random.Random(7)

    def blank(data: bytes) -> bytes:
        at = rng.randrange(len(data))
        return data[:at] + bytes(len(data[at : at + 512])) + data[at + 512 :]

    _damage(edited, name, 4, blank)


def _damage(pipe: Pipe, name: str, rounds: int, harm: Callable[[bytes], bytes]) -> None:
    home = pipe.path(".hpcmake")
    whole = pipe.folder / "whole"
    shutil.copytree(home, whole)
    outputs = {path: pipe.path(path).stat() for path in ("a", "b")}
    for _ in range(rounds):
        shutil.rmtree(home)
        shutil.copytree(whole, home)
        for path, found in outputs.items():
            pipe.write(path, "old")
            os.utime(pipe.path(path), ns=(found.st_mtime_ns, found.st_mtime_ns))
        cached = [path for path in (home / "cache").iterdir() if path.name != "clock"]
        for file in cached if name == "cache" else [home / name]:
            file.write_bytes(harm(file.read_bytes()))
        _refused_or_right(pipe)


def test_without_its_state_a_project_goes_by_times(pipe: Pipe) -> None:
    scene = Scene(pipe)
    scene.recover()
    for harm in (_removed, _emptied, _all_removed):
        harm(pipe)
        assert scene.planned() == {}
        pipe.write("src/1", "later\n")
        assert scene.planned() == {"a n=1": "newer-input", "b n=1": "upstream", "c n=1": "upstream"}
        scene.recover()


def _removed(pipe: Pipe) -> None:
    pipe.path(".hpcmake/state.db").unlink()


def _emptied(pipe: Pipe) -> None:
    pipe.write(".hpcmake/state.db")


def _all_removed(pipe: Pipe) -> None:
    shutil.rmtree(pipe.path(".hpcmake"))


def test_a_state_of_a_newer_hpcmake_is_refused_and_kept(edited: Pipe) -> None:
    path = edited.path(".hpcmake/state.db")
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    for words in (["-n"], []):
        result = edited.run(*words)
        assert result.code == 2
        assert "error[state-newer]: " in result.err
    assert path.read_bytes() == before
    assert edited.read("b") == "old"


@pytest.mark.parametrize("place", [".hpcmake", ".hpcmake/state.db"])
def test_something_else_in_the_place_of_the_state_is_said(edited: Pipe, place: str) -> None:
    path = edited.path(place)
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text("")
    else:
        path.unlink()
        path.mkdir()
    result = edited.run()
    assert result.code == 2, result.out + result.err
    assert "error[state-" in result.err
    assert ".hpcmake" in result.err


@pytest.mark.parametrize(
    "mtime_ns",
    [
        time.time_ns() + DAY_NS,
        4_102_444_800_000_000_000,  # 2100
        2**31 * 1_000_000_000,  # one second too late for 32 bits
        0,
        1,
        -1_500_000_000,
        time.time_ns() - DAY_NS,
    ],
    ids=["tomorrow", "2100", "2038", "1970", "1970 and 1 ns", "before 1970", "yesterday"],
)
def test_times_of_any_kind_make_no_endless_builds(pipe: Pipe, mtime_ns: int) -> None:
    scene = Scene(pipe, count=2)
    os.utime(pipe.path("src/0"), ns=(mtime_ns, mtime_ns))
    scene.recover()
    # Two seconds apart: times may have been cut off to whole seconds.
    later_ns = mtime_ns + 2_000_000_000
    os.utime(pipe.path("src/0"), ns=(later_ns, later_ns))
    assert set(scene.planned()) == {"a n=0", "b n=0", "c n=0"}
    os.utime(pipe.path("src/0"), ns=(mtime_ns, mtime_ns))
    assert scene.planned() == {}
    for name in ("out/0.a", "src/0"):
        os.utime(pipe.path(name), ns=(mtime_ns, mtime_ns))
    scene.recover()


def test_an_older_file_moved_in_is_seen(pipe: Pipe) -> None:
    scene = Scene(pipe, count=2)
    scene.recover()
    pipe.write("older", "other\n", mtime=1_000_000_000)
    pipe.path("older").rename(pipe.path("src/0"))
    assert scene.planned()["a n=0"] == "input-changed"
    scene.recover()


def test_an_edit_in_the_same_tick_is_seen(pipe: Pipe) -> None:
    """The second job's input is written anew while it runs: as long, and with the same time,
    which is a whole second, so that there are two seconds to do it in."""
    pipe.write(
        "Pipefile",
        """\
rule b:
    output: "b"
    input: "a"
    shell:
        cat a > b
        if test ! -e edited; then
            cp -p a edited; printf new > a; touch -r edited a
        fi
rule a:
    output: "a"
    input: "source"
    shell:
        printf old > a; touch -d @$(date +%s) a
""",
    )
    for number in range(5):
        pipe.write("source", str(number))
        pipe.path("edited").unlink(missing_ok=True)
        pipe.check("-q b")
        assert pipe.read("a") == "new"
        assert pipe.read("b") == "old"
        pipe.check("-q b")
        assert pipe.read("b") == "new"


def test_an_edit_in_the_same_second_is_seen_where_times_are_whole_seconds(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    for _ in range(3):
        now = int(time.time())
        pipe.write("source", "one", mtime=now)
        pipe.check("-q")
        pipe.write("source", "two", mtime=now)
        pipe.check("-q")
        # Where the first build took longer than the tick of the clock, git would not see it either.
        assert pipe.read("b") == "two" or time.time() - now > 2


def test_a_copy_with_its_times_cut_off_is_fresh(pipe: Pipe) -> None:
    scene = Scene(pipe, count=2)
    scene.recover()
    for path in pipe.files():
        found = pipe.path(path).stat().st_mtime_ns // 1_000_000_000 * 1_000_000_000
        os.utime(pipe.path(path), ns=(found, found))
    assert scene.planned() == {}
