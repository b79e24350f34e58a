"""A build that is killed at any of its writes, or of which one call to the system fails.

HPCMAKE_ROUNDS says how many of these calls are tried: with 1000 or more all of them, each with
all errors, which takes hours; by default, 30, one in each kind of run.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle, islice

import pytest
from conftest import Pipe
from faults import Scene, wait_for
from system_calls import Call, Stage

ROUNDS = int(os.environ.get("HPCMAKE_ROUNDS", "30"))
FULL = ROUNDS >= 1000
ERRORS = ("EIO", "ENOSPC", "EINTR", "EDQUOT")


def _first(scene: Scene) -> str:
    del scene
    return "-j4"


def _changed(scene: Scene) -> str:
    scene.recover()
    scene.pipe.write("src/0", "other\n")
    return "-j4"


def _taken_over(scene: Scene) -> str:
    build = scene.start("-j4", "-q")
    wait_for(lambda: scene.begun() >= 2, "jobs start")
    build.kill()
    build.communicate()
    wait_for(lambda: not scene.processes(), "the jobs end")
    return "-j4"


def _touched(scene: Scene) -> str:
    scene.recover()
    scene.pipe.write("src/0", scene.pipe.read("src/0"))
    return "--touch"


def _reset(scene: Scene) -> str:
    scene.recover()
    return "reset --all --force --yes"


def _forgotten(scene: Scene) -> str:
    scene.recover()
    return "forget --all --yes"


KINDS: dict[str, Callable[[Scene], str]] = {
    "the first build": _first,
    "a build of what changed": _changed,
    "a build after one that was killed": _taken_over,
    "--touch": _touched,
    "reset": _reset,
    "forget": _forgotten,
}


@pytest.fixture(scope="module", params=list(KINDS) if FULL else list(KINDS)[:3])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A project and what is run in it."""
    folder = tmp_path_factory.mktemp("stage")
    (folder / "project").mkdir()
    scene = Scene(Pipe(folder / "project"), count=2, pause=0)
    text = scene.pipe.read("Pipefile")
    scene.pipe.write("Pipefile", text.replace("printf half", "echo said; printf half", 1))
    return Stage(scene, request.param, KINDS[request.param](scene), folder / "kept")


def test_a_kill_at_any_write_is_carried_on(stage: Stage) -> None:
    calls = [call for call in stage.calls if call.name not in ("openat", "close")]
    _all_right([partial(_killed, stage, call) for call in _some(stage, calls)])


def test_a_call_that_fails_is_told_or_does_no_harm(stage: Stage) -> None:
    errors = islice(cycle(ERRORS), list(KINDS).index(stage.name), None)
    calls = [
        partial(_failing, stage, call, error)
        for call in _some(stage, stage.calls)
        for error in (ERRORS if FULL else [next(errors)])
    ]
    _all_right(calls)


def _some(stage: Stage, calls: Sequence[Call]) -> Sequence[Call]:
    """All calls, or some of them, evenly spread, elsewhere in each kind of run."""
    if FULL:
        return calls
    count = max(1, ROUNDS // 30)
    first = (2 * list(KINDS).index(stage.name) + 1) / 6
    return [calls[int((number + first) * len(calls) / count)] for number in range(count)]


def _all_right(checks: Sequence[partial[str]]) -> None:
    """Do all checks, whatever comes of the first."""
    wrong = []
    told: Counter[str] = Counter()
    for check in checks:
        try:
            told[check()] += 1
        except AssertionError as error:
            wrong.append(f"{', '.join(map(str, check.args[1:]))}: {error}")
            print(wrong[-1])
    print(dict(told), f"{len(wrong)} wrong")
    assert not wrong, f"{len(wrong)} of {len(checks)}:\n" + "\n\n".join(wrong)


def _killed(stage: Stage, call: Call) -> str:
    stage.put_back()
    result, _ = stage.run(f"{call.name}:signal=KILL:when={call.number}")
    assert result.code in (-signal.SIGKILL, 0), result.err
    _recovers(stage)
    return "killed" if result.code else "not reached"


def _failing(stage: Stage, call: Call, error: str) -> str:
    stage.put_back()
    result, lines = stage.run(f"{call.name}:error={error}:when={call.number}")
    if not any("(INJECTED)" in line for line in lines):
        return "not reached"
    assert "internal" not in result.err, result.err
    assert "Traceback" not in result.err, result.err
    assert result.code in (0, 1, 2, 3), result.err
    if result.code:
        assert "error[" in result.err
        assert ".hpcmake" in result.err, result.err
    elif stage.words == "-j4":
        assert stage.scene.planned() == {}
    _recovers(stage)
    return f"exit code {result.code}"


def _recovers(stage: Stage) -> None:
    """The next build is right, repeats no job that was recorded, and leaves nothing about."""
    scene, pipe = stage.scene, stage.scene.pipe
    scene.recover()
    assert not [path.name for path in pipe.path(".hpcmake/cache").iterdir() if "." in path.name]
    assert pipe.read(".hpcmake/.gitignore") == "*\n"
    if stage.name == "a build of what changed":
        again = [line for line in scene.log() if line.startswith("begin out/1.")]
        assert len(again) == 3, again


def test_what_a_killed_build_left_of_the_cache_goes_and_what_is_being_written_stays(
    pipe: Pipe,
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    left, written = (f".hpcmake/cache/syntax-0.{pid}" for pid in (ended.pid, os.getpid()))
    pipe.write(left, "half")
    pipe.write(written, "half")
    pipe.write("Pipefile", 'rule a:\n    output: "a"\n    shell: "touch a"\n')
    pipe.check("-q")
    assert not pipe.exists(left)
    assert pipe.exists(written)
