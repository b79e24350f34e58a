"""What people do: permissions of many kinds, edits while a build runs, other branches."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from conftest import Pipe
from faults import Scene, unprivileged, wait_for

from buildhpc.state.database import read_state

# `made` waits for `go`, so that there is a time for edits in which `first` is done.
PIPEFILE = """\
rule all:
    input: "last"
rule first:
    output: "first"
    input: "source"
    shell: "cat {input} > {output}"
rule made:
    output: "made"
    input: "source"
    shell: "touch waits; until test -e go; do sleep 0.02; done; cat {input} > {output}"
rule last:
    output: "last"
    input: "first", "made"
    shell: "cat {input} > {output}"
"""


@pytest.fixture
def waiting(pipe: Pipe) -> tuple[Pipe, subprocess.Popen[str]]:
    """A build of which `first` is done, and whose next job waits for `go`."""
    scene = Scene(pipe, count=0)
    pipe.write("Pipefile", PIPEFILE)
    pipe.write("source", "data\n")
    build = scene.start("-j2")

    def known() -> bool:
        state = read_state(pipe.folder)
        return bool(state and pipe.exists("waits") and state.record(["first"])["first"].outputs)

    wait_for(known, "the first job is recorded")
    return pipe, build


def _ended(pipe: Pipe, build: subprocess.Popen[str]) -> tuple[int, str]:
    pipe.write("go")
    out, err = build.communicate(timeout=60)
    assert "internal" not in err, err
    return build.returncode, out + err


def test_an_output_edited_during_the_build_is_used_and_kept(
    waiting: tuple[Pipe, subprocess.Popen[str]],
) -> None:
    pipe, build = waiting
    pipe.write("first", "edited\n")
    code, said = _ended(pipe, build)
    assert code == 0, said
    assert pipe.read("last") == "edited\ndata\n"
    result = pipe.check("")
    assert result.out == "nothing to do: all 3 jobs are fresh\n"
    assert "kept: `first` was changed by hand since it was made\n" in result.err
    pipe.check("-q --force-rule first")
    pipe.check("", says="nothing to do: all 3 jobs are fresh\n")
    assert pipe.read("last") == "data\ndata\n"


def test_an_output_removed_during_the_build_fails_who_needs_it(
    waiting: tuple[Pipe, subprocess.Popen[str]],
) -> None:
    pipe, build = waiting
    pipe.path("first").unlink()
    code, said = _ended(pipe, build)
    assert code == 1, said
    assert "error[job-failed]: last: " in said
    assert "`first`" in said
    pipe.check("-q")
    assert pipe.read("last") == "data\ndata\n"
    pipe.check("", says="nothing to do: all 3 jobs are fresh\n")


def test_an_output_replaced_by_a_folder_during_the_build_is_said(
    waiting: tuple[Pipe, subprocess.Popen[str]],
) -> None:
    pipe, build = waiting
    pipe.path("first").unlink()
    pipe.write("first/inside", "text")
    code, said = _ended(pipe, build)
    assert code == 1, said
    assert "error[job-failed]: last: " in said
    assert "kept: `first` was changed by hand since it was made\n" in pipe.check("", code=1).err
    assert pipe.read("first/inside") == "text"


def _git(pipe: Pipe, *words: str) -> str:
    own = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    done = subprocess.run(
        ["git", *own, *words], cwd=pipe.folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_each_branch_gets_its_own_outputs(pipe: Pipe) -> None:
    scene = Scene(pipe, count=2, pause=0)
    first = pipe.read("Pipefile")
    _git(pipe, "init", "-q", "-b", "main")
    pipe.write(".gitignore", "out\nlog\nlocks\n")
    _git(pipe, "add", ".")
    _git(pipe, "commit", "-q", "-m", "first")
    scene.recover()
    assert _git(pipe, "status", "--porcelain") == ""
    _git(pipe, "switch", "-q", "-c", "other")
    pipe.write("src/1", "other\n")
    at = first.index("rule c:")
    pipe.write("Pipefile", first[:at] + first[at:].replace("printf half", "printf HALF"))
    _git(pipe, "commit", "-q", "-a", "-m", "other")
    for branch, start in [("other", "HALF"), ("main", "half")]:
        _git(pipe, "switch", "-q", branch)
        pipe.check("-q -j4")
        for number in range(2):
            whole = f"{start}halfhalf{pipe.read(f'src/{number}')}"
            assert pipe.read(f"out/{number}.c") == whole
        assert pipe.check("").out.startswith("nothing to do: ")
        assert _git(pipe, "status", "--porcelain") == ""


# Permissions.


def test_a_state_that_cannot_be_written_is_told_before_anything_runs(pipe: Pipe) -> None:
    scene = Scene(pipe, count=2, pause=0)
    scene.recover()
    begun = scene.begun()
    home = pipe.path(".hpcmake")
    paths = [home, *home.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        idle = scene.start(preexec_fn=unprivileged)
        out, err = idle.communicate(timeout=60)
        assert (idle.returncode, err) == (0, "")
        assert out == "nothing to do: all 6 jobs are fresh\n"
        pipe.write("src/0", "other\n")
        look = scene.start("-n", preexec_fn=unprivileged)
        out, err = look.communicate(timeout=60)
        assert (look.returncode, err) == (0, "")
        assert "3 of 6 jobs would run" in out
        build = scene.start("-j4", preexec_fn=unprivileged)
        out, err = build.communicate(timeout=60)
        assert build.returncode == 2, out + err
        assert f"error[state-unwritable]: cannot write the state in `{home}/" in err
        assert scene.begun() == begun
    finally:
        for path in paths:
            path.chmod(modes[path])
    scene.recover()


def test_files_are_made_as_umask_and_setgid_say(pipe: Pipe) -> None:
    scene = Scene(pipe, count=2, pause=0)
    group = 12_345 if os.getuid() == 0 else [os.getgid(), *os.getgroups()][-1]
    for folder in (pipe.folder, pipe.path("src")):
        os.chown(folder, -1, group)
        folder.chmod(0o2750)
    before = set(pipe.folder.rglob("*"))
    build = scene.start("-j4", umask=0o077)
    out, err = build.communicate(timeout=60)
    assert build.returncode == 0, out + err
    made: set[Path] = set(pipe.folder.rglob("*")) - before
    assert pipe.path(".hpcmake/state.db") in made
    assert pipe.path("out/0.c") in made
    for path in made:
        found = path.stat()
        assert found.st_gid == group, path
        assert not found.st_mode & 0o077, path
        assert not stat.S_ISDIR(found.st_mode) or found.st_mode & stat.S_ISGID, path
    scene.settled()
