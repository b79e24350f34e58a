"""File systems without locks, and processes that have the lock, or jobs, and do not go on."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Pipe
from faults import Scene, wait_for

from buildhpc.diagnostics import HpcmakeError, Problem, render
from buildhpc.state import lock
from buildhpc.state.database import open_state
from buildhpc.state.owners import SILENCE_S

SHORT_S, LONG_S = 0.5, 1000.0

# Holds the lock until it hears a line; then it changes the state and says what came of it.
HOLDER = """
import errno, fcntl, sys
from pathlib import Path
from buildhpc.diagnostics import HpcmakeError
from buildhpc.state import lock
from buildhpc.state.database import open_state

def refuse(fd, operation):
    raise OSError(errno.ENOLCK, "No locks available")

if sys.argv[2:]:
    fcntl.flock = refuse
    lock.LEASE_S = float(sys.argv[2])
try:
    with open_state(Path(sys.argv[1])).transaction() as connection:
        print("held", flush=True)
        sys.stdin.readline()
        connection.execute("INSERT INTO recipe_text VALUES (NULL, 0, 'late', 'late')")
    print("written", flush=True)
except HpcmakeError as error:
    print(error.exit_code, error.problems[0].slug, flush=True)
"""


class Holder:
    """A process that has the lock of the state in a folder."""

    def __init__(self, folder: Path, *lease_s: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder), *map(str, lease_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.hears() == "held"

    def hears(self) -> str:
        """The next line that it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip()

    def goes_on(self) -> str:
        """Wake it, let it write; what comes of that."""
        self.process.send_signal(signal.SIGCONT)
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.hears()

    def stops(self) -> None:
        """Stop it, as Ctrl-Z does."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[..., Holder]]:
    """Start a process that has the lock, or a lease for so long; it is killed at the end."""
    started: list[Holder] = []

    def start(*lease_s: float) -> Holder:
        started.append(Holder(tmp_path, *lease_s))
        return started[-1]

    yield start
    for holder in started:
        holder.process.kill()
        holder.process.communicate()


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let there be no locks, and leases that last so long."""

    def refuse(fd: int, operation: int) -> None:
        del fd, operation
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def lease(seconds: float) -> None:
        monkeypatch.setattr(fcntl, "flock", refuse)
        monkeypatch.setattr(lock, "LEASE_S", seconds)

    return lease


def write(folder: Path, timeout_s: float, notice: Callable[[Problem], None] | None = None) -> None:
    state = open_state(folder, notice, timeout_s)
    with state.transaction() as connection:
        connection.execute("INSERT INTO recipe_text VALUES (NULL, 0, 'mine', 'mine')")
    state.close()


def texts(folder: Path) -> list[str]:
    with open_state(folder).transaction() as connection:
        return [row[0] for row in connection.execute("SELECT text FROM recipe_text ORDER BY id")]


@pytest.mark.parametrize("error", ["ENOLCK", "ENOSYS"])
def test_without_locks_builds_share_a_lease_and_each_says_so_once(pipe: Pipe, error: str) -> None:
    """Neither flock nor the locks that SQLite asks for work."""
    home = f"{pipe.folder}/.hpcmake"
    files = [f"-P{home}/{name}" for name in ("lock", "state.db", "state.db-journal")]
    inject = f"inject=flock,fcntl:error={error}"
    strace = ["strace", "-D", "-o/dev/null", *files, "-etrace=flock,fcntl", f"-e{inject}"]
    scene = Scene(Pipe(pipe.folder, strace), count=2, pause=0.05)
    builds = [scene.start("-j2"), scene.start("-j2", "out/0.c")]
    for build in builds:
        out, err = build.communicate(timeout=60)
        assert build.returncode == 0, out + err
        assert err.count("warning[state-lease]") == 1, err
    begun = sorted(line for line in scene.log() if line.startswith("begin"))
    assert begun == sorted(f"begin out/{n}.{s}" for n in range(2) for s in "abc")
    scene.settled()


def test_a_lock_that_takes_long_is_told_of_and_waited_for(
    tmp_path: Path, hold: Callable[..., Holder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "QUIET_S", 0.1)
    holder = hold()
    holder.stops()
    told: list[str] = []

    def notice(problem: Problem) -> None:
        told.append(render(problem))
        assert holder.goes_on() == "written"

    write(tmp_path, 60, notice)
    assert told == [
        f"warning[state-waiting]: waiting for the lock `{tmp_path}/.hpcmake/lock`\n"
        f" = note: held by process {holder.process.pid} on {os.uname().nodename}\n"
        " = help: hpcmake holds it for moments only: see whether that process is stopped"
    ]
    assert texts(tmp_path) == ["late", "mine"]


def test_a_lease_of_a_killed_process_is_free_at_once(
    tmp_path: Path, hold: Callable[..., Holder], no_locks: Callable[[float], None]
) -> None:
    no_locks(LONG_S)
    holder = hold(LONG_S)
    holder.process.kill()
    holder.process.wait()
    write(tmp_path, 30)
    assert texts(tmp_path) == ["mine"]
    left = {path.name for path in (tmp_path / ".hpcmake").iterdir()}
    assert left == {".gitignore", "lock", "state.db"}


def test_a_lease_is_kept_as_long_as_it_is_renewed_and_lost_by_one_that_is_stopped(
    tmp_path: Path, hold: Callable[..., Holder], no_locks: Callable[[float], None]
) -> None:
    no_locks(SHORT_S)
    holder = hold(SHORT_S)
    with pytest.raises(HpcmakeError, match="could not be had within 1 s") as error:
        write(tmp_path, 1.0)
    assert error.value.exit_code == 3
    holder.stops()
    write(tmp_path, 30)
    assert holder.goes_on() == "3 state-lease-lost"
    assert texts(tmp_path) == ["mine"]


def test_a_lease_of_another_host_is_taken_over_only_when_its_time_is_over(
    tmp_path: Path, hold: Callable[..., Holder], no_locks: Callable[[float], None]
) -> None:
    no_locks(SHORT_S)
    holder = hold(SHORT_S)
    holder.stops()
    rewrite(tmp_path, "host=", "host=elsewhere")
    began_s = time.monotonic()
    write(tmp_path, 30)
    assert time.monotonic() - began_s >= lock.LEASE_S
    assert texts(tmp_path) == ["mine"]


def test_a_lease_is_not_taken_from_a_live_process_but_where_its_number_was_given_away(
    tmp_path: Path, hold: Callable[..., Holder], no_locks: Callable[[float], None]
) -> None:
    no_locks(LONG_S)
    holder = hold(LONG_S)
    holder.stops()
    with pytest.raises(HpcmakeError, match="could not be had within 1 s"):
        write(tmp_path, 1)
    rewrite(tmp_path, "start=", "start=1")
    write(tmp_path, 30)
    assert holder.goes_on() == "3 state-lease-lost"
    assert texts(tmp_path) == ["mine"]


def rewrite(folder: Path, start: str, line: str) -> None:
    """Put a line in the place of the one of the lease that starts like this."""
    path = folder / ".hpcmake/lock.lease"
    lines = [line if each.startswith(start) else each for each in path.read_text().splitlines()]
    path.write_text("\n".join([*lines, ""]))


def test_jobs_of_a_build_that_is_stopped_are_waited_for(pipe: Pipe) -> None:
    scene = Scene(pipe, count=2, pause=0.1)
    first = scene.start("-j2")
    wait_for(lambda: scene.begun() >= 2, "jobs start")
    stop_outside_of_the_lock(first, pipe)
    second = scene.start("-j2")
    wait_until_it_waits(second)
    first.send_signal(signal.SIGCONT)
    for build in (first, second):
        out, err = build.communicate(timeout=60)
        assert build.returncode == 0, out + err
    begun = sorted(line for line in scene.log() if line.startswith("begin"))
    assert begun == sorted(f"begin out/{n}.{s}" for n in range(2) for s in "abc")
    scene.settled()


def stop_outside_of_the_lock(build: subprocess.Popen[str], pipe: Pipe) -> None:
    def stopped() -> bool:
        build.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, build.pid, os.WSTOPPED | os.WNOWAIT)
        with pipe.path(".hpcmake/lock").open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                build.send_signal(signal.SIGCONT)
                return False
        return True

    wait_for(stopped, "it lets go of the lock")


def wait_until_it_waits(build: subprocess.Popen[str]) -> None:
    assert build.stdout is not None
    for line in build.stdout:
        if line.startswith("waiting for "):
            return
    pytest.fail("it did not wait")


def test_jobs_of_a_build_on_another_host_are_left_to_it_until_it_was_silent_for_long(
    pipe: Pipe,
) -> None:
    scene = Scene(pipe, count=2, pause=0.1)
    first = scene.start("-j2")
    wait_for(lambda: scene.begun() >= 2, "jobs start")
    first.kill()
    first.communicate()
    wait_for(lambda: not scene.processes(), "the jobs end")
    state = open_state(pipe.folder)
    with state.transaction() as connection:
        moved = "UPDATE run SET host = 'elsewhere', boot = 'elsewhere:1', beat_s = ?"
        connection.execute(moved, (state.now_s(),))
    begun = scene.begun()
    second = scene.start("-j2")
    wait_until_it_waits(second)
    assert scene.begun() == begun
    with state.transaction() as connection:
        connection.execute("UPDATE run SET beat_s = beat_s - ?", (SILENCE_S,))
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, out + err
    assert "elsewhere" in err
    assert pipe.check("").out.startswith("nothing to do: ")
