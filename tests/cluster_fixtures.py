"""Real schedulers for the tests: the fixtures `slurm`, `slurm_beta`, `sge` and `pbs`.

The scripts in `tests/clusters` boot them on this machine, once, when a first test asks for one;
all workers of a test run and all runs beside it share them. What cannot be booted fails the test.
A test that breaks daemons bears the mark `breaks`: it has its schedulers for itself, and all is
mended after it. What it breaks as `slurm` is a cluster of its own, so that others need not wait.
The database is one for all Slurm clusters: who breaks it says `breaks("database")`.

A test's jobs are those submitted in its `tmp_path` or below; what it leaves behind is cancelled.
"""

from __future__ import annotations

import fcntl
import functools
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from real_schedulers import Pbs, Sge, Slurm, script

FOLDER = Path(os.environ.get("HPCMAKE_CLUSTERS", "/tmp/hpcmake-clusters"))

# Fixture -> scheduler.
TO_USE = {"slurm": "alpha", "slurm_beta": "beta", "pbs": "pbs", "sge": "sge"}
TO_BREAK = {**TO_USE, "slurm": "gamma"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--end-clusters` leaves no scheduler running, unless another test run uses it."""
    parser.addoption("--end-clusters", action="store_true", help="take schedulers down at the end")


def pytest_configure(config: pytest.Config) -> None:
    """Say what the marks mean."""
    config.addinivalue_line("markers", "cluster: wants a real scheduler; set for all that do")
    config.addinivalue_line("markers", "breaks(more): breaks its schedulers, and these")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that want a scheduler, and have them run beside those that need the CPU."""
    waiting, busy = [], []
    for item in items:
        if TO_USE.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker("cluster")
            waiting.append(item)
        else:
            busy.append(item)
    places = [(k / len(waiting), 0, k) for k in range(len(waiting))]
    places += [(k / len(busy), 1, k) for k in range(len(busy))]
    items[:] = [(waiting, busy)[kind][k] for _, kind, k in sorted(places)]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Tell people what still runs."""
    running = FOLDER.exists() and any(path.is_dir() for path in FOLDER.glob("s[lg]*"))
    if running and not config.getoption("end_clusters"):
        terminalreporter.write_line("schedulers are left running; tests/clusters/down ends them")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take the schedulers down where that is asked for, when the last worker has ended."""
    if config.getoption("end_clusters") and FOLDER.exists() and not hasattr(config, "workerinput"):
        done = script("down")
        if done.returncode:
            print(done.stderr, end="")


@pytest.fixture(scope="session")
def clusters_in_use() -> Iterator[None]:
    """Nobody takes the schedulers down meanwhile."""
    with _held("in-use", fcntl.LOCK_SH):
        yield


@pytest.fixture
def clusters(
    request: pytest.FixtureRequest,
    clusters_in_use: None,  # noqa: ARG001 - held meanwhile
) -> Iterator[frozenset[str]]:
    """The right to use the schedulers of a test; those that it may break."""
    mark = request.node.get_closest_marker("breaks")
    scheduler = TO_BREAK if mark else TO_USE
    used = {scheduler[name] for name in request.fixturenames if name in scheduler}
    broken = {*used, *mark.args} if mark else set()
    if used - {"sge"}:
        used.add("database")
    with ExitStack() as stack:
        for name in sorted(used):
            # Who comes first goes in first: those who share would keep the others out for ever.
            with _held(f"{name}.door", fcntl.LOCK_EX):
                how = fcntl.LOCK_EX if name in broken else fcntl.LOCK_SH
                stack.enter_context(_held(name, how))
        yield frozenset(broken)


@pytest.fixture
def slurm(tmp_path: Path, clusters: frozenset[str]) -> Iterator[Slurm]:
    """A Slurm cluster as Slurm is by default; another one where it is to be broken."""
    name = (TO_BREAK if clusters else TO_USE)["slurm"]
    cluster = Slurm(_booted("slurm-up", name), tmp_path, clusters)
    yield cluster
    cluster.end()


@pytest.fixture
def slurm_beta(tmp_path: Path, clusters: frozenset[str]) -> Iterator[Slurm]:
    """A Slurm cluster that soon forgets jobs, and cancels what would wait for ever."""
    cluster = Slurm(_booted("slurm-up", "beta"), tmp_path, clusters)
    yield cluster
    cluster.end()


@pytest.fixture
def pbs(tmp_path: Path, clusters: frozenset[str]) -> Iterator[Pbs]:
    """The commands of Torque, over a Slurm cluster of their own."""
    cluster = Pbs(_booted("pbs-up"), tmp_path, clusters)
    yield cluster
    cluster.end()


@pytest.fixture
def sge(tmp_path: Path, clusters: frozenset[str]) -> Iterator[Sge]:
    """Grid Engine."""
    cluster = Sge(_booted("sge-up"), tmp_path, clusters)
    yield cluster
    cluster.end()


def _booted(*words: str) -> dict[str, str]:
    """The environment for a scheduler that a script boots if it does not run yet."""
    done = _boot(*words)
    if done.returncode:
        pytest.fail(f"{' '.join(words)} boots no scheduler:\n{done.stderr}", pytrace=False)
    exports = (line.removeprefix("export ") for line in done.stdout.splitlines())
    pairs = (line.split("=", 1) for line in exports)
    return {name: os.path.expandvars(value) for name, value in pairs}


@functools.cache
def _boot(*words: str) -> subprocess.CompletedProcess[str]:
    return script(*words)


@contextmanager
def _held(name: str, how: int) -> Iterator[None]:
    """Hold a lock in the folder of the schedulers, which belongs to root."""
    path = FOLDER / f"{name}.lock"
    if not path.exists():
        done = script("make-lock", name)
        assert done.returncode == 0, done.stderr
    with path.open() as file:
        fcntl.flock(file, how)
        yield
