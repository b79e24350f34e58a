"""A scene on a real Slurm whose commands are counted."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cluster_scenes import Scene
from conftest import Pipe
from real_schedulers import Slurm
from wrapped import Bent


@dataclass
class SlurmScene(Scene):
    """A scene on Slurm. slurm: the cluster. bent: its commands as hpcmake meets them."""

    slurm: Slurm | None = None
    bent: Bent | None = None

    def calls(self, command: str) -> list[str]:
        """The command lines of a command of Slurm so far, those of jobs as well."""
        assert self.bent is not None
        path = self.bent.folder / f"{command}.calls"
        if not path.exists():
            return []
        # Words may hold line breaks: a call begins with the number of its process.
        return re.findall(r"^\d+ (.*)$", path.read_text(), re.MULTILINE)

    def squeue(self, shown: str, *words: str) -> list[str]:
        """What the queue shows of the jobs of this folder, each element for itself."""
        assert self.slurm is not None
        told = self.slurm.run("squeue", "-h", "-r", *words, "-o", f"{shown}|%Z").out
        rows = [line.rsplit("|", 1) for line in told.splitlines()]
        return [row[0] for row in rows if row[1].startswith(str(self.pipe.folder))]

    def ran(self) -> list[str]:
        """What recipes have written to the file `ran`."""
        return self.pipe.read("ran").splitlines() if self.pipe.exists("ran") else []

    def ran_once(self, *jobs: str) -> None:
        """Each of the jobs has run exactly once, and nothing else has."""
        ran = sorted(self.ran())
        assert ran == sorted(jobs), f"what ran:\n{chr(10).join(ran)}"

    def now_fresh(self, jobs: int) -> None:
        """Nothing is left to do, or in the queue, or of the run."""
        assert self.build().out == f"nothing to do: all {jobs:,} jobs are fresh\n"
        self.empty()
        home = self.pipe.path(".hpcmake")
        assert [path.name for path in home.glob("run-*")] == []
        assert [path.name for path in (home / "inbox").iterdir()] == []

    @contextmanager
    def meanwhile(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Another hpcmake meanwhile."""
        with subprocess.Popen(
            self.pipe.command(*words),
            cwd=self.pipe.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **self.env},
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()


def slurm_scene(pipe: Pipe, slurm: Slurm, settings: str = "") -> SlurmScene:
    """A scene in a working folder."""
    bent = Bent(pipe, slurm)
    return SlurmScene(pipe, "slurm", slurm.jobs, bent.env, settings, slurm, bent)
