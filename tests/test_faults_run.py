"""Trouble around running jobs: late files, stale handles, no descriptors, no processes, no quiet.

HPCMAKE_ROUNDS: from 1000 on it is how many jobs there are beside the one in trouble, and what
takes a minute is waited for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from conftest import Pipe
from faults import Scene, wait_for
from injected import happened, injected

ROUNDS = int(os.environ.get("HPCMAKE_ROUNDS", "30"))
LONG = ROUNDS >= 1000
COUNT = ROUNDS if LONG else 8
MANY = """\
let ns = range({count})
rule all:
    input: "out/{{n}}" for n in ns
rule copy:
    output: "out/{{n}}"
    input: "src/{{n}}"
    shell: "cat {{input}} > {{output}}; echo begin {{n}} >> log"
"""


@pytest.fixture
def many(pipe: Pipe) -> Pipe:
    """A project of many independent jobs."""
    pipe.write("Pipefile", MANY.format(count=COUNT))
    for number in range(COUNT):
        pipe.write(f"src/{number}", f"{number}\n")
    return pipe


def _whole(pipe: Pipe) -> None:
    """The next build makes all right, and one more does nothing."""
    pipe.check("-q -j4")
    for number in range(COUNT):
        assert pipe.read(f"out/{number}") == pipe.read(f"src/{number}")
    assert pipe.check("").out.startswith("nothing to do: ")


def _begun(pipe: Pipe) -> list[int]:
    """The jobs that ran, each as often as it did."""
    lines = pipe.read("log").splitlines() if pipe.exists("log") else []
    return sorted(int(line.split()[1]) for line in lines)


# Files that cannot be looked at.


@pytest.mark.parametrize("first", [1, 2], ids=["planning", "running"])
def test_a_stale_handle_is_asked_for_again(many: Pipe, first: int) -> None:
    shaky = injected(many, f"%%stat:error=ESTALE:when={first}..{first + 1}", "src/3")
    shaky.check("-q -j4")
    assert len(happened(many)) == 2
    assert _begun(many) == list(range(COUNT))
    _whole(many)


@pytest.mark.parametrize(
    ("error", "words"),
    [("EIO", "input/output error"), ("ESTALE", "stale file handle")][: 2 if LONG else 1],
)
def test_an_input_that_cannot_be_looked_at_fails_its_job_alone(
    many: Pipe, error: str, words: str
) -> None:
    many.write("src/3", "changed\n")
    result = injected(many, f"%%stat:error={error}:when=2+", "src/3").run("-j4", "-k")
    assert result.code == 1
    text = f"copy n=3: `src/3` cannot be looked at: {words}"
    assert f"error[job-failed]: {text}\n" in result.err
    assert result.err.count("error[") == 1
    assert f"{COUNT - 1:,} jobs done, 1 failed in" in result.out
    assert _begun(many) == [number for number in range(COUNT) if number != 3]
    _whole(many)
    assert _begun(many) == list(range(COUNT))


@pytest.mark.parametrize("error", ["ESTALE", "EIO", "EACCES"] if LONG else ["ESTALE"])
def test_a_file_that_cannot_be_looked_at_is_not_taken_for_a_missing_one(
    many: Pipe, error: str
) -> None:
    for path in ("src/3", "out/3"):
        result = injected(many, f"%%stat:error={error}", path).run("-j4")
        assert result.code == 2
        assert result.err.startswith(f"error[unreadable]: `{path}` cannot be looked at: ")
        assert not [number for number in _begun(many) if path == "src/3"]
        _whole(many)
    assert _begun(many) == list(range(COUNT))


@pytest.mark.parametrize("path", ["src/3", "out/3"])
def test_what_can_be_done_without_an_unreadable_file_is_done(many: Pipe, path: str) -> None:
    broken = injected(many, "%%stat:error=EIO", path)
    for done in (COUNT - 1, 0):
        result = broken.run("-j4", "-k")
        assert result.code == 1
        assert f"failed: {done:,} jobs done, 1 failed in" in result.out
        assert "error[job-failed]: copy n=3: " in result.err
        assert "cannot" in result.err
        assert f"`{path}`" in result.err
        assert "kept" not in result.err
    _whole(many)
    assert _begun(many) == list(range(COUNT))
    # Without what the state knows, times decide, of which this file has none.
    many.path(".hpcmake/state.db").unlink()
    assert "failed: 0 jobs done, 1 failed in" in broken.check("-j4 -k", code=1).out
    _whole(many)


# Files that come late, as on a network.


LATE = """\
rule all:
    input: "made", "other"
rule late:
    output: nonempty("late")
    shell: "touch asked; echo begin late >> log"
rule made:
    output: "made"
    input: "late"
    shell: "cat {input} > {output}; echo begin made >> log"
rule other:
    output: "other"
    shell: "until test -e asked; do sleep 0.02; done; echo begin other >> log; touch other"
"""


@contextmanager
def _somebody(pipe: Pipe, make: Callable[[], object]) -> Iterator[Scene]:
    """Has somebody else do something once the job `late` has ended and `other` as well."""
    scene = Scene(pipe, count=0)
    pipe.write("Pipefile", LATE)

    def act() -> None:
        wait_for(lambda: pipe.exists("asked") and pipe.exists("other"), "the jobs run")
        wait_for(lambda: not scene.processes(), "the jobs end")
        make()

    thread = threading.Thread(target=act)
    thread.start()
    yield scene
    thread.join()


def test_an_output_that_comes_late_is_waited_for_while_other_jobs_run(pipe: Pipe) -> None:
    with _somebody(pipe, lambda: pipe.write("late", "late\n")) as scene:
        pipe.check("-q -j2 --latency 60")
    assert pipe.read("made") == "late\n"
    pipe.check("", says="nothing to do: all 3 jobs are fresh\n")
    assert scene.begun() == 3


def test_an_output_whose_content_comes_late_is_known_by_its_last_form(pipe: Pipe) -> None:
    def make() -> None:
        old = pipe.write("late", mtime=1_000_000_000).stat()
        time.sleep(0.3)  # any time will do
        pipe.write("late", "late\n")
        assert pipe.path("late").stat().st_mtime_ns != old.st_mtime_ns

    with _somebody(pipe, make) as scene:
        pipe.check("-q -j2 --latency 60")
    assert pipe.read("made") == "late\n"
    pipe.check("", says="nothing to do: all 3 jobs are fresh\n")
    assert scene.begun() == 3


def test_an_output_that_comes_too_late_is_made_again(pipe: Pipe) -> None:
    with _somebody(pipe, lambda: None):
        result = pipe.check("-j2 --latency 0.3", code=1)
    says = "late: the recipe ended well, but `late` was not made; the working folder holds "
    assert f"error[job-failed]: {says}" in result.err
    pipe.write("late", "too late\n")
    pipe.path("asked").unlink()
    assert '"reason": "failed"' in pipe.check("-n --json").out
    with _somebody(pipe, lambda: pipe.write("late", "late\n")):
        pipe.path("other").unlink()
        pipe.check("-q -j2 --latency 60")
    assert pipe.read("made") == "late\n"
    pipe.check("", says="nothing to do: all 3 jobs are fresh\n")


def test_an_output_that_a_cache_hides_for_a_while_is_not_called_missing(many: Pipe) -> None:
    # Before the job it is looked at twice: by the plan, and to make room for it.
    hidden = injected(many, "%%stat:error=ENOENT:when=3..6", "out/3")
    hidden.check("-q -j4")
    assert len(happened(many)) == 4
    _whole(many)
    assert _begun(many) == list(range(COUNT))


def test_a_signal_ends_the_wait_for_a_late_output(pipe: Pipe) -> None:
    scene = Scene(pipe, count=0)
    pipe.write("Pipefile", LATE)
    build = scene.start("-j2", "--latency", "600")
    wait_for(lambda: pipe.exists("other"), "the jobs run")
    wait_for(lambda: not scene.processes(), "the jobs end")
    begun = time.monotonic()
    build.send_signal(signal.SIGTERM)
    _, err = build.communicate(timeout=60)
    assert time.monotonic() - begun < 5
    assert build.returncode == 143, err
    assert scene.planned().keys() >= {"late", "made"}


# What the system is short of.

QUICK = """let ns = range({count})
rule all:
    input: "out/{{n}}" for n in ns
rule one:
    output: "out/{{n}}"
    shell: "echo {{n}} > {{output}}; echo begin {{n}} >> log; exec sleep {pause}"
"""


def _quick(pipe: Pipe, count: int, pause: float = 0.1) -> None:
    pipe.write("Pipefile", QUICK.format(count=count, pause=pause))


def _all_quick(pipe: Pipe, count: int) -> None:
    assert _begun(pipe) == list(range(count))
    for number in range(count):
        assert pipe.read(f"out/{number}") == f"{number}\n"
    assert pipe.check("").out.startswith("nothing to do: ")


def test_few_file_descriptors_are_enough(pipe: Pipe) -> None:
    _quick(pipe, 30)
    few = Pipe(pipe.folder, ["prlimit", "--nofile=20"])
    few.check("-q -j30")
    _all_quick(pipe, 30)


@pytest.mark.parametrize("limit", range(5, 12) if LONG else (7,))
def test_with_too_few_file_descriptors_all_is_done_or_an_error_told(pipe: Pipe, limit: int) -> None:
    _quick(pipe, 4)
    result = Pipe(pipe.folder, ["prlimit", f"--nofile={limit}"]).run("-q", "-j4")
    assert result.code in (0, 1, 2), result.err
    assert "internal" not in result.err
    assert "Traceback" not in result.err
    said = ("oo many open files", "unable to open database file")
    assert result.code == 0 or any(text in result.err for text in said), result.err
    pipe.check("-q")
    assert pipe.check("").out.startswith("nothing to do: ")


def test_a_process_that_cannot_be_made_is_made_a_little_later(pipe: Pipe) -> None:
    _quick(pipe, 12, pause=0)
    calls = "clone,clone3,vfork,fork"
    injected(pipe, f"{calls}:error=EAGAIN:when=2..5", calls=calls).check("-q -j4")
    assert len(happened(pipe)) == 4
    _all_quick(pipe, 12)


def test_few_processes_are_enough_for_many_jobs(pipe: Pipe) -> None:
    _quick(pipe, 12)
    pipe.folder.chmod(0o777)
    few = Pipe(pipe.folder, [*_as_somebody(), "prlimit", "--nproc=4"])
    _possible(few)
    few.check("-q -j12")
    _all_quick(few, 12)


def _as_somebody() -> list[str]:
    """What runs a program as a user whose processes are counted from 0.

    For root nothing is counted. What an ordinary user runs is, in each namespace.
    """
    if os.getuid() != 0:
        return ["unshare", "--user", "--map-root-user"]
    user = 100_000 + os.getpid()
    # Permissions as before: the Python at work may be in a folder of root's own.
    able = ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *able]


def _possible(pipe: Pipe) -> None:
    """Skip a test, and say so, where nobody else can be played."""
    tried = subprocess.run([*pipe.prefix, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        reason = f"a lack of processes is not tested: {tried.stderr.strip()}"
        warnings.warn(reason, stacklevel=2)
        pytest.skip(reason)


@pytest.mark.skipif(not LONG, reason="it is waited for 20 s until a system is given up")
def test_without_any_process_jobs_fail_after_one_wait(pipe: Pipe) -> None:
    _quick(pipe, 60)
    pipe.folder.chmod(0o777)
    none = Pipe(pipe.folder, [*_as_somebody(), "prlimit", "--nproc=1"])
    _possible(none)
    begun = time.monotonic()
    result = none.check("-k -j4", code=1)
    assert 20 < time.monotonic() - begun < 40
    assert "one n=0: cannot start `/" in result.err
    assert "bash`: Resource temporarily unavailable\n" in result.err
    assert "failed: 0 jobs done, 60 failed in" in result.out


# What jobs print, and what they leave running.


# What a process had of its parent before it executed its program counts as its own memory: so
# the parent is a small one.
_MEASURE = """\
import os, subprocess, sys
count = 0
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
while data := process.stdout.read(1 << 16):
    count += len(data)
_, status, used = os.wait4(process.pid, 0)
print(count, os.waitstatus_to_exitcode(status), used.ru_maxrss)
"""


def _used(pipe: Pipe, *words: str) -> tuple[int, float]:
    """The bytes that hpcmake prints with these words, and the memory it uses, in MiB."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _MEASURE, *pipe.command(*words)],
        cwd=pipe.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
    )
    count, code, used_kib = map(int, done.stdout.split())
    assert code == 0, done.stderr
    return count, used_kib / 1024


def test_a_hundred_megabytes_of_output_are_kept_in_a_file_not_in_memory(pipe: Pipe) -> None:
    size = 100_000_000
    pipe.write(
        "Pipefile",
        f"""\
rule loud:
    output: "made"
    shell: "head -c {size} <(yes '{{'x' * 70}}') || true; echo; echo end; touch {{output}}"
""".replace("{'x' * 70}", "x" * 70),
    )
    most_mib = 60
    _, mib = _used(pipe, "-q")
    assert mib < most_mib
    logs = list(pipe.path(".hpcmake/logs").iterdir())
    assert [log.stat().st_size for log in logs] == [size + 5]
    assert pipe.path(".hpcmake/state.db").stat().st_size < 200_000
    for words in (["logs", "made", "--tail", "1"], ["show", "made"]):
        count, mib = _used(pipe, *words)
        assert count < 10_000
        assert mib < most_mib, words
    pipe.check("logs made --tail 1", says="end\n")


def test_a_job_ends_with_its_process_whatever_it_leaves_running(pipe: Pipe) -> None:
    """What it leaves holds its standard output, and a pipe that reads the build's ends too."""
    pipe.write(
        "Pipefile",
        """\
rule leave:
    output: "made"
    shell: "sleep 300 & setsid sleep 301 & echo $! > stray; echo said; touch {output}"
""",
    )
    begun = time.monotonic()
    result = pipe.check("")
    assert time.monotonic() - begun < 30
    assert "1 job done in" in result.out
    stray = int(pipe.read("stray"))
    try:
        pipe.check("logs made", says="said\n")
        pipe.check("", says="nothing to do: the job is fresh\n")
    finally:
        os.kill(stray, signal.SIGKILL)
