"""A working folder with a state and a manifest made by hand, and runners started in it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from zlib import crc32

from buildhpc import disk
from buildhpc.plan.stamps import Record
from buildhpc.run import runner
from buildhpc.run.manifest import Element, Header, Need, Planned, write_manifest
from buildhpc.run.spec import JobSpec, Needs, Outcome, OutputFile, Recipe
from buildhpc.state import receipts, records, schema
from buildhpc.state.receipts import Ended, Key, Receipt, Runner, Started

RUN, SUBMISSION = 2, 7
SOMEBODY = Runner(SUBMISSION, 0, "", "elsewhere", 1, 1, "")
# What a scheduler that the tests run under would set.
_FOREIGN = ("SLURM_", "PBS_", "SGE_", "JOB_ID", "RESTARTED", "HPCMAKE_")


def until(what: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """What `what` returns, once that is true."""
    deadline = time.monotonic() + timeout_s
    while not (found := what()):
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.01)
    return found


@dataclass
class Bed:
    """The working folder and what is planned in it.

    latency_s, more: of the manifest's header.
    """

    folder: Path
    latency_s: float = 0.0
    jobs: list[Planned] = field(default_factory=list)
    elements: list[Element] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """The folder of the state."""
        return self.folder / ".hpcmake"

    @property
    def inbox(self) -> str:
        """The folder of the receipts."""
        return str(self.home / "inbox")

    @property
    def database(self) -> Path:
        """The file of the state."""
        return self.home / "state.db"

    def job(
        self,
        text: str = "",
        outputs: Iterable[str] = (),
        inputs: Iterable[str] = (),
        after: Mapping[int, Iterable[str]] | None = None,
        **more: Any,
    ) -> int:
        """Plan a job; its number. An output is `PATH|FLAG|FLAG`."""
        number = len(self.jobs)
        files = [each.split("|") for each in outputs]
        spec = JobSpec(
            f"job{number}",
            "rule",
            more.pop("attempt", 1),
            tuple(inputs),
            tuple(OutputFile(path, tuple(flags)) for path, *flags in files),
            Recipe("shell" if text else "none", text),
            Needs(time_s=more.pop("time_s", None)),
            log=more.pop("log", None),
            token=more.pop("token", "tok"),
        )
        needs = [Need(n, f"job{n}", list(paths)) for n, paths in (after or {}).items()]
        values = json.loads(json.dumps(asdict(spec)))
        self.jobs.append(Planned(number, spec.attempt, values, needs, **more))
        return number

    def plan(self, *elements: Iterable[int]) -> None:
        """Write manifest and state of a run that is followed; without elements each job is one."""
        self.home.mkdir(exist_ok=True)
        numbers = [list(each) for each in elements] or [[n] for n in range(len(self.jobs))]
        self.elements = [
            Element(SUBMISSION, n, [self.jobs[each] for each in part])
            for n, part in enumerate(numbers)
        ]
        header = Header(
            RUN, 1, str(self.folder), str(self.home), f"bed:{os.getpid()}:{RUN}", self.latency_s
        )
        folder = self.home / f"run-{RUN}"
        folder.mkdir(exist_ok=True)
        (folder / "watched").touch()  # runners move no run on that somebody follows
        write_manifest(str(folder / "slice-1.jsonl"), replace(header, **self.more), self.elements)
        with closing(sqlite3.connect(self.database)) as connection, connection:
            schema.create(connection)
            for job in self.jobs:
                self._insert(connection, job)

    def _insert(self, connection: sqlite3.Connection, job: Planned) -> None:
        name = job.spec["name"]
        crc = records.job_crc(name, "queued", "", 0)
        connection.execute(
            "INSERT INTO job VALUES (?, ?, 'rule', '{}', 'queued', '', ?, NULL, 0, ?, x'')",
            (job.number + 1, name, RUN, crc),
        )
        connection.execute(
            "UPDATE guard SET rows = rows + 1, total = total + ? WHERE id = 1", (crc,)
        )
        connection.execute(
            "INSERT INTO attempt (id, job, run, number, state, message, command, submission,"
            " element, restart) VALUES (?, ?, ?, ?, 'queued', '', '', ?, 0, NULL)",
            (job.number + 1, job.number + 1, RUN, job.attempt, SUBMISSION),
        )

    def write(self, path: str, text: str = "") -> Path:
        """Write a file of the working folder."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def sql(self, statement: str, *values: object) -> None:
        """Change the state."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(statement, values)

    def attempt(self, number: int, **columns: object) -> None:
        """Change the row of a job's attempt."""
        for name, value in columns.items():
            self.sql(f"UPDATE attempt SET {name} = ? WHERE job = ?", value, number + 1)

    def record(self, number: int) -> None:
        """Let the state say that a job is done, with its outputs as they are now."""
        name, outputs = self.jobs[number].spec["name"], self.jobs[number].spec["outputs"]
        paths = tuple(output["path"] for output in outputs)
        stamps = tuple(disk.look(str(self.folder / path)) for path in paths)
        body = records.pack(Record("done", "", "d", (), (), paths, stamps, {}))
        self.sql(
            "UPDATE job SET state = 'done', claim = NULL, body = ?, crc = ? WHERE id = ?",
            body, records.job_crc(name, "done", "", crc32(body)), number + 1,
        )  # fmt: skip

    def receipt(self, number: int, state: str = "done", attempt: int = 1, restart: int = 0) -> None:
        """Put the receipt of a job that ended into the inbox, its outputs as they are now."""
        job = self.jobs[number]
        paths = [output["path"] for output in job.spec["outputs"]]
        made = {path: disk.look(str(self.folder / path)) for path in paths}
        there = {path: tuple(stamp) for path, stamp in made.items() if stamp is not None}
        key = Key(RUN, number, attempt, restart)
        ended = Ended(key, job.spec["name"], SOMEBODY, Outcome(state), outputs=there)  # type: ignore[arg-type]  # stamps are pairs
        receipts.write_ended(self.inbox, ended, receipts.backoff(0))

    def started(self, number: int, restart: int = 0) -> None:
        """Put the receipt of a job that another runner has begun into the inbox."""
        key = Key(RUN, number, 1, restart)
        receipt = Started(key, self.jobs[number].spec["name"], SOMEBODY, 1.0)
        assert receipts.write_started(self.inbox, receipt, receipts.backoff(0))

    def command(self, line: int = 0) -> list[str]:
        """The command line of a runner."""
        manifest = self.home / f"run-{RUN}" / "slice-1.jsonl"
        return [sys.executable, "-I", "-S", str(runner.__file__), str(manifest), str(line)]

    def start(self, line: int = 0, prefix: Iterable[str] = (), **env: str) -> subprocess.Popen[str]:
        """Start a runner, somewhere else than in the working folder."""
        own = {n: v for n, v in os.environ.items() if not n.startswith(_FOREIGN)}
        return subprocess.Popen(
            [*prefix, *self.command(line)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**own, **env},
        )

    def run(self, line: int = 0, **env: str) -> tuple[int, str]:
        """Run a runner; exit code and what it printed."""
        process = self.start(line, **env)
        out, _ = process.communicate(timeout=60)
        return process.returncode, out

    def receipts(self) -> list[Receipt]:
        """What is in the inbox."""
        found, bad = receipts.read_all(self.inbox)
        assert not bad
        return found

    def names(self) -> list[str]:
        """The names in the inbox."""
        return sorted(os.listdir(self.inbox)) if Path(self.inbox).exists() else []

    def ended(self, number: int = 0, attempt: int = 1, restart: int = 0) -> Ended:
        """The receipt of a job's end."""
        found = receipts.read(self.inbox, Key(RUN, number, attempt, restart), "ended")
        assert isinstance(found, Ended)
        return found

    def begun(self, number: int = 0, restart: int = 0) -> Started:
        """The receipt of a job's beginning, once it is there."""
        key = Key(RUN, number, 1, restart)
        until(lambda: (Path(self.inbox) / key.name("started")).exists())
        found = receipts.read(self.inbox, key, "started")
        assert isinstance(found, Started)
        return found

    def files(self) -> list[str]:
        """The files of the working folder, sorted, but for those of hpcmake's own."""
        found = (p.relative_to(self.folder) for p in self.folder.rglob("*") if not p.is_dir())
        return sorted(str(path) for path in found if path.parts[0] != ".hpcmake")
