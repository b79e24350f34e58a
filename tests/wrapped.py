"""Commands of a scheduler behind scripts on PATH, so that a test can bend what they answer."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Pipe, Result
from real_schedulers import Cluster

SLURM = ("sbatch", "squeue", "sacct", "scancel", "scontrol")
SGE = ("qsub", "qstat", "qacct", "qdel", "qrls")

# `$real` is the command itself, `$n` says the how manieth call of it this is.
_SCRIPT = """\
#!/bin/bash
name={name} real={real} bent={folder}/{name}.bent calls={folder}/{name}.calls
echo "$PPID $*" >>"$calls"
if [ -e "$bent" ]; then
    n=$(wc -l <"$calls")
    . "$bent"
    exit
fi
exec "$real" "$@"
"""

# hpcmake with less patience: a command may take 4 s, and a scheduler is asked again for 6 s.
_HASTY = """\
import sys
import buildhpc.run.calls as calls
import buildhpc.commands.moving as moving
calls.call.__kwdefaults__["longest_s"] = 4.0
moving.PATIENCE_S = 6.0
moving.clusters_of.__defaults__ = (6.0,)
from buildhpc.cli import main
sys.exit(main(sys.argv[1:]))
"""

SETTINGS = """\
[cluster.{alias}]
scheduler = "{scheduler}"
poll = "1s"
grace = "{grace}"
latency = "5s"
{more}
"""


class Bent:
    """A project whose hpcmake reaches a scheduler through scripts.

    alias: the name of the cluster in its settings.
    """

    def __init__(self, pipe: Pipe, cluster: Cluster, commands: tuple[str, ...] = SLURM) -> None:
        self.pipe = pipe
        self.cluster = cluster
        self.scheduler = "sge" if commands is SGE else "slurm"
        self.alias = cluster.name
        self.folder = pipe.path("wrapped")
        self.folder.mkdir()
        path = {**os.environ, **cluster.env}["PATH"]
        self.env = {**cluster.env, "PATH": f"{self.folder}:{path}"}
        for name in commands:
            real = shutil.which(name, path=path)
            assert real, name
            text = _SCRIPT.format(name=name, real=real, folder=shlex.quote(str(self.folder)))
            script = pipe.write(f"wrapped/{name}", text)
            script.chmod(0o755)
        self.settings()

    def settings(self, more: str = "", grace: str = "2s") -> None:
        """Write the settings of the cluster. more: other lines."""
        text = SETTINGS.format(alias=self.alias, scheduler=self.scheduler, grace=grace, more=more)
        self.pipe.write("hpcmake.toml", text)

    def bend(self, command: str, script: str) -> None:
        """From now on calls of a command run these lines of bash."""
        new = self.pipe.write(f"wrapped/{command}.new", script)
        new.rename(self.folder / f"{command}.bent")

    def mend(self, *commands: str) -> None:
        """Let calls of commands go through as they are."""
        for command in commands:
            (self.folder / f"{command}.bent").unlink(missing_ok=True)

    def calls(self, command: str) -> int:
        """How often a command was called."""
        path = self.folder / f"{command}.calls"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def command(self, *words: str, hasty: bool = False) -> list[str]:
        """The command line of an hpcmake that builds on the cluster."""
        words = ("--cluster", self.alias, *words)
        return [sys.executable, "-c", _HASTY, *words] if hasty else self.pipe.command(*words)

    def run(self, *words: str, hasty: bool = False, limit_s: float = 100.0) -> Result:
        """Build on the cluster, to the end."""
        return self.end(self.start(*words, hasty=hasty), limit_s)

    def start(self, *words: str, hasty: bool = False) -> subprocess.Popen[str]:
        """Begin to build on the cluster."""
        return subprocess.Popen(
            self.command(*words, hasty=hasty),
            cwd=self.pipe.folder,
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self, process: subprocess.Popen[str], limit_s: float = 100.0) -> Result:
        """What a build came to, once it ends."""
        try:
            out, err = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
            pytest.fail(f"no end within {limit_s:.0f} s\n{out}{err}\n{self.cluster.queue()}")
        assert "Traceback" not in out + err, out + err
        return Result(process.returncode, out, err)

    def ran(self) -> list[str]:
        """The lines that recipes have added to the file `ran`, sorted."""
        return sorted(self.pipe.read("ran").split()) if self.pipe.exists("ran") else []

    def wait(self, what: Callable[[], object], limit_s: float = 90.0) -> None:
        """Return as soon as `what` holds."""
        self.cluster.wait_for(what, limit_s=limit_s)

    def left(self) -> list[str]:
        """Jobs of this project in the queue, once there are none or after 30 s."""
        deadline = time.monotonic() + 30
        while (jobs := self.cluster.jobs()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return jobs

    def went_well(self, jobs: list[str], result: Result) -> None:
        """A build ended well, each recipe ran once, and nothing is left in the queue."""
        assert result.code == 0, f"{result.out}{result.err}\n{self.cluster.queue()}"
        assert self.ran() == sorted(jobs)
        assert self.left() == []
        assert self.pipe.run("-n").out.startswith("nothing to do"), self.pipe.run("-n").out
        assert list(self.pipe.path(".hpcmake/inbox").iterdir()) == []


def kill(process: subprocess.Popen[str]) -> None:
    """End a process as a power loss does."""
    process.send_signal(signal.SIGKILL)
    process.communicate()


def path_of(bent: Bent, name: str) -> Path:
    """A file of the project."""
    return bent.pipe.path(name)
