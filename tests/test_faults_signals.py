"""Signals at every phase of a build: it is gone at once, and the next one carries on.

HPCMAKE_ROUNDS: from 1000 on each signal is tried at each phase.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from conftest import Pipe
from faults import Scene
from injected import injected, log_of

LONG = int(os.environ.get("HPCMAKE_ROUNDS", "30")) >= 1000
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
JOURNAL = ".hpcmake/state.db-journal"
# The phases of a build, by a call to the system that it makes there: which call, the how
# manieth, and on which file; none where it is on none.
PHASES = {
    "looking for the Pipefile": ("%%stat", 1, "Pipefile"),
    "parsing": ("openat", 1, "Pipefile"),
    "keeping what was parsed": ("mkdir", 2, ".hpcmake/cache"),
    "planning": ("%%stat", 1, "src/1"),
    "making the state": ("openat", 1, JOURNAL),
    "claiming": ("openat", 2, JOURNAL),
    "having claimed": ("unlink", 2, JOURNAL),
    "making room for the run": ("mkdir", 1, ".hpcmake/run-2"),
    "preparing a job": ("%%stat", 2, "src/1"),
    "opening a log": ("openat", 1, ".hpcmake/run-2/1.log"),
    "starting a job": ("clone,clone3,vfork", 2, ""),
    "having started jobs": ("unlink", 3, JOURNAL),
    "removing a temp file": ("unlink", 1, "out/1.b"),
    "recording": ("unlink", 4, JOURNAL),
    "removing the files of the run": ("rmdir", 1, ".hpcmake/run-2"),
    "remembering": ("openat", 3, ".hpcmake/cache/clock"),
}
# SIGINT is Python's own until jobs run; so it is tried where the others are the system's.
SOME = [
    ("parsing", signal.SIGINT),
    ("planning", signal.SIGTERM),
    ("claiming", signal.SIGINT),
    ("preparing a job", signal.SIGHUP),
    ("starting a job", signal.SIGQUIT),
    ("recording", signal.SIGTERM),
    ("removing the files of the run", signal.SIGINT),
]
CASES = [(phase, number) for phase in PHASES for number in SIGNALS] if LONG else SOME
IGNORED = ["parsing", "planning", "claiming", "preparing a job"] if LONG else ["planning"]


def _with_signal(
    scene: Scene, phase: str, number: signal.Signals, **options: object
) -> subprocess.Popen[str]:
    """A build that the signal reaches at the phase."""
    call, count, path = PHASES[phase]
    what = f"{call}:signal={number.name}:when={count}"
    scene.pipe.prefix = injected(scene.pipe, what, *([path] if path else [])).prefix
    build = scene.start("-j4", **options)
    scene.pipe.prefix = ()
    return build


def _gone(scene: Scene, build: subprocess.Popen[str], number: signal.Signals) -> float:
    """How long it takes a build to be gone, with all that it started, once the signal came."""
    out, err = build.communicate(timeout=60)
    ended_s = time.time()
    calls = log_of(scene.pipe).read_text().splitlines()
    (came,) = [line for line in calls if f" --- {number.name} " in line]
    # As long as Python is not asked to, it does not hear of anything but SIGINT.
    assert build.returncode in (128 + number, -number), out + err
    assert build.returncode > 0 or number != signal.SIGINT
    assert "Traceback" not in err
    assert "xception" not in err
    assert "internal" not in err
    assert not scene.processes()
    return ended_s - float(came.split()[0])


@pytest.mark.parametrize(("phase", "number"), CASES)
def test_a_signal_at_any_phase_ends_the_build(
    pipe: Pipe, phase: str, number: signal.Signals
) -> None:
    scene = Scene(pipe, count=3)
    # A traced process is several times slower, most of all where it looks at all processes.
    assert _gone(scene, _with_signal(scene, phase, number), number) < 15
    scene.recover()


@pytest.mark.parametrize("phase", IGNORED)
def test_a_build_that_a_script_started_with_ampersand_hears_sigint_at_any_phase(
    pipe: Pipe, phase: str
) -> None:
    scene = Scene(pipe, count=3)
    build = _with_signal(
        scene,
        phase,
        signal.SIGINT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert _gone(scene, build, signal.SIGINT) < 15
    scene.recover()


@pytest.mark.parametrize("phase", IGNORED)
def test_a_build_under_nohup_outlives_its_terminal_at_any_phase(pipe: Pipe, phase: str) -> None:
    scene = Scene(pipe, count=3)
    build = _with_signal(
        scene,
        phase,
        signal.SIGHUP,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    _, err = build.communicate(timeout=60)
    assert build.returncode == 0, err
    scene.settled()
