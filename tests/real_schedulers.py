"""Real schedulers, as tests use them; `cluster_fixtures` lends them out."""

from __future__ import annotations

import os
import re
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import Result

SCRIPTS = Path(__file__).parent / "clusters"
SETTINGS = ("HPCMAKE_CLUSTERS", "HPCMAKE_CLUSTERS_PORT")


def script(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script of `tests/clusters` as root."""
    settings = [f"{each}={os.environ[each]}" for each in SETTINGS if each in os.environ]
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n", "env", *settings]
    return subprocess.run(
        [*sudo, str(SCRIPTS / name), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


class Cluster(ABC):
    """A scheduler as one test meets it.

    env: what a process needs in its environment beside ours to find the scheduler.
    folder: where jobs are submitted; what is submitted there or below belongs to the test.
    broken: what the test may break, being alone with it: names of schedulers, or `database`.
    """

    name: str
    breaker: tuple[str, ...]  # the script that breaks and mends it

    def __init__(self, env: dict[str, str], folder: Path, broken: frozenset[str]) -> None:
        self.env = env
        self.folder = folder
        self.broken = broken

    def run(self, *words: str, code: int | None = 0) -> Result:
        """Run a command in the folder; code: what it has to end with, None: anything."""
        done = subprocess.run(
            words,
            cwd=self.folder,
            env={**os.environ, **self.env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        said = f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        assert code in (None, done.returncode), said
        return Result(done.returncode, done.stdout, done.stderr)

    def wait_for(
        self, condition: Callable[[], object], what: str = "", limit_s: float = 30.0
    ) -> None:
        """Return as soon as `condition` holds."""
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"{what or 'it'}: not within {limit_s:.0f} s\n{self.queue()}")
            time.sleep(0.05)

    def wait_for_state(self, job: str, *states: str, limit_s: float = 30.0) -> None:
        """Return as soon as the job, not an array, is in one of these states."""
        self.wait_for(lambda: self.state(job) in states, f"{job} {'/'.join(states)}", limit_s)

    def state(self, job: str) -> str:
        """The state of a job that is not an array; empty where the scheduler has forgotten it."""
        return self.states(job).get(job, "")

    def fault(self, action: str, *words: str) -> None:
        """Break or mend something; the heads of `slurm-fault` and `sge-fault` list what."""
        harmed = "database" if action.startswith("database") else self.name
        assert action == "expire" or harmed in self.broken, f"no mark says: breaks {harmed}"
        done = script(*self.breaker, action, *words)
        assert done.returncode == 0, done.stderr

    def end(self) -> None:
        """Mend what the test broke, cancel what it left."""
        if self.name in self.broken:
            self.fault("mend")
            self.fault("clear")
        jobs = self.jobs()
        if jobs:
            self.cancel(*jobs)
            self.wait_for(lambda: not self.jobs(), "the jobs of the test are cancelled")

    @abstractmethod
    def submit(self, *words: str) -> str:
        """Submit a job; its id."""

    @abstractmethod
    def cancel(self, *jobs: str) -> None:
        """Cancel jobs."""

    @abstractmethod
    def states(self, job: str) -> dict[str, str]:
        """What the queue says of a job, or of the tasks of an array; empty: it has forgotten it."""

    @abstractmethod
    def jobs(self) -> list[str]:
        """The jobs submitted in the folder that have not ended."""

    @abstractmethod
    def queue(self) -> str:
        """All jobs, for people."""

    def _ours(self, folder: str) -> bool:
        return Path(folder).is_relative_to(self.folder)


class Slurm(Cluster):
    """A Slurm cluster; states are those of squeue, as RUNNING."""

    def __init__(self, env: dict[str, str], folder: Path, broken: frozenset[str]) -> None:
        super().__init__(env, folder, broken)
        self.name = Path(env["SLURM_CONF"]).parent.name.removeprefix("slurm-")
        self.breaker = ("slurm-fault", self.name)

    def submit(self, *words: str) -> str:
        return self.run("sbatch", "--parsable", *words).out.strip()

    def cancel(self, *jobs: str) -> None:
        self.run("scancel", *jobs)

    def states(self, job: str) -> dict[str, str]:
        words = ("squeue", "-h", "-r", "-t", "all", "-o", "%i %T", "-j", job)
        told = self.run(*words, code=None)
        assert told.code == 0 or "Invalid job id" in told.err, told.err
        return dict(row.split() for row in told.out.splitlines())

    def accounted(self, job: str) -> dict[str, tuple[str, str]]:
        """What the accounting says of a job, or of the tasks of an array: state, exit code."""
        words = ("sacct", "-X", "-n", "-P", "-o", "JobID,State,ExitCode", "-j", job)
        rows = (row.split("|") for row in self.run(*words).out.splitlines())
        return {task: (state.split()[0], code) for task, state, code in rows}

    def jobs(self) -> list[str]:
        told = self.run("squeue", "-h", "-o", "%F %Z").out
        rows = (row.split(" ", 1) for row in told.splitlines())
        return sorted({job for job, folder in rows if self._ours(folder)})

    def queue(self) -> str:
        return self.run("squeue", "-t", "all", code=None).out


class Pbs(Slurm):
    """The commands of Torque over Slurm; states are those of qstat: Q, R, C, S."""

    def submit(self, *words: str) -> str:
        return self.run("qsub", *words).out.strip()

    def cancel(self, *jobs: str) -> None:
        self.run("qdel", *jobs, code=None)  # one may end meanwhile

    def states(self, job: str) -> dict[str, str]:
        told = self.run("qstat", "-f", job, code=None).out
        return dict(re.findall(r"^Job Id:\s+(\S+)$.*?job_state = (\S)", told, re.S | re.M))


class Sge(Cluster):
    """Grid Engine; states are those of qstat, as `r` or `hqw`. It forgets what ended at once."""

    name = "sge"
    breaker = ("sge-fault",)

    def submit(self, *words: str) -> str:
        return self.run("qsub", "-terse", *words).out.split(".")[0].strip()

    def cancel(self, *jobs: str) -> None:
        self.run("qdel", *jobs, code=None)  # one may end meanwhile

    def states(self, job: str) -> dict[str, str]:
        found = {}
        told = self.run("qstat", "-u", "*", "-xml").out
        for row in ElementTree.fromstring(told).iter("job_list"):
            if row.findtext("JB_job_number") == job:
                tasks = row.findtext("tasks")
                found[f"{job}.{tasks}" if tasks else job] = row.findtext("state") or ""
        return found

    def accounted(self, job: str) -> list[dict[str, str]]:
        """What the accounting says of a job: a table for each run of each task."""
        told = self.run("qacct", "-j", job, code=None)
        if told.code:  # it knows no such job, yet
            return []
        return [
            {name: value.strip() for name, value in re.findall(r"^(\w+) +(.*)$", block, re.M)}
            for block in re.split(r"^=+$", told.out, flags=re.M)[1:]
        ]

    def jobs(self) -> list[str]:
        told = self.run("qstat", "-j", "*", code=None)
        assert told.code == 0 or "do not exist" in told.out + told.err, told.err
        each = re.compile(r"^job_number: +(\d+)$.*?^sge_o_workdir: +(.*?)$", re.S | re.M)
        found = each.findall(told.out)
        return [job for job, folder in found if self._ours(folder)]

    def queue(self) -> str:
        return self.run("qstat", "-u", "*", code=None).out
