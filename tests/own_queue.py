"""Queues of this machine that are a test's own: the fixtures `queue` and `local_queue`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cluster_scenes as scenes
import pytest
from conftest import Pipe

from buildhpc.run import processes
from buildhpc.run.calls import Place, call
from buildhpc.schedulers.local import Local
from buildhpc.schedulers.protocol import Queued, Switches


def server_of(spool: Path) -> int | None:
    """The process that serves the queue in this folder; None where none lives."""
    for pid in processes.pids():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"serve" in words and str(spool).encode() in words:
            return pid
    return None


class Queue:
    """A queue of a test's own."""

    def __init__(self, spool: Path, cores: int = 4) -> None:
        self.spool = spool
        self.local = Local(Switches({"spool": str(spool), "cores": str(cores)}))
        self.settings = f'scheduler = "local"\nspool = "{spool}"\ncores = "{cores}"\n'

    def held(self) -> list[Queued]:
        """All jobs, each element for itself."""
        answer = call(Place("test"), self.local.queue("me"), "/")
        return [each for each in self.local.in_queue(answer) if each.state != "ended"]

    def jobs(self) -> list[str]:
        """The scheduler ids of what has not ended."""
        return sorted({self.local.whole(each.id) for each in self.held()})

    def cancel(self, *ids: str) -> None:
        """Cancel jobs, as people do by hand."""
        for command in self.local.cancel(ids):
            assert call(Place("test"), command, "/").code == 0

    def serves(self) -> bool:
        """Whether its server runs."""
        return server_of(self.spool) is not None

    def end(self) -> None:
        """Leave nothing behind."""
        self.cancel(*self.jobs())
        scenes.wait_until(lambda: not self.held(), "the queue is empty")
        scenes.wait_until(lambda: not self.serves(), "its server ends")


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    made = Queue(tmp_path / "spool")
    yield made
    made.end()


@pytest.fixture
def local_queue(pipe: Pipe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Queue]:
    """A queue of a test's own, which `--cluster local` means in the folder of `pipe`."""
    made = Queue(tmp_path_factory.mktemp("queue") / "spool")
    pipe.write("hpcmake.toml", f"[cluster.local]\n{made.settings}")
    yield made
    made.end()
