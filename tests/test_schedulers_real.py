"""Adapters speak with real schedulers: what they write is taken, what comes back is understood."""

from __future__ import annotations

import getpass
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from real_schedulers import Cluster, Pbs, Sge, Slurm

from buildhpc.run import calls
from buildhpc.schedulers.protocol import (
    Answer,
    Ask,
    Edge,
    Queued,
    Request,
    Scheduler,
    Switches,
    Verdict,
)
from buildhpc.schedulers.registry import scheduler

ODD = 'it\'s 50%j, "a:b" #1 $HOME \\é'
SMALL = Request(mem_mib=100, time_s=600)


class Site:
    """A real scheduler and its adapter; jobs work in a folder with an odd name."""

    def __init__(self, cluster: Cluster, adapter: Scheduler) -> None:
        self.adapter = adapter
        self.folder = cluster.folder / ODD
        self.folder.mkdir()
        self.count = 0

    def run(self, command: Sequence[str], submits: bool = False) -> Answer:
        place = calls.Place("test", environment=self.adapter.environment)
        return calls.call(place, command, str(self.folder), submits=submits)

    def ask(self, body: str, request: Request, elements: int, after: tuple[Edge, ...]) -> Ask:
        self.count += 1
        folder = str(self.folder)
        name = f"hpcmake.t-{time.time_ns()}_{self.count}"
        return Ask(name, body, request, folder, f"{folder}/out", elements, after, not after, 0)

    def submit(
        self,
        body: str,
        *after: Edge,
        elements: int = 0,
        request: Request = SMALL,
    ) -> str:
        """Submit a job, held if it waits for nothing; its id."""
        answer = self.answer(body, *after, elements=elements, request=request)
        found = self.adapter.scheduler_id(answer)
        assert found, answer
        return found

    def answer(
        self, body: str, *after: Edge, elements: int = 0, request: Request = SMALL
    ) -> Answer:
        """What comes back when a job is submitted."""
        ask = self.ask(body, request, elements, after)
        script = self.folder.parent / f"job-{self.count}.sh"
        script.write_text(self.adapter.script(ask))
        return self.run(self.adapter.submit(ask, str(script)), submits=True)

    def queue(self) -> Mapping[str, Queued]:
        answer = self.run(self.adapter.queue(getpass.getuser()))
        return {each.id: each for each in self.adapter.in_queue(answer)}

    def verdicts(self, ids: Sequence[str]) -> Mapping[str, Verdict]:
        found: dict[str, Verdict] = {}
        for command in self.adapter.finished(ids):
            told = self.adapter.verdicts(self.run(command))
            found.update((id_, each) for id_, each in told.items() if each.failure != "alive")
        return found

    def all(self, commands: Sequence[Sequence[str]]) -> None:
        for command in commands:
            self.run(command)

    def failures(self, ids: Sequence[str]) -> list[str]:
        """How each ended, once the scheduler tells that of all."""
        deadline = time.monotonic() + 60
        while not (found := self.verdicts(ids)).keys() >= set(ids):
            assert time.monotonic() < deadline, (found, self.queue())
            time.sleep(0.2)
        return [found[each].failure for each in ids]

    def ended(self, ids: Sequence[str]) -> None:
        """Wait until the queue shows none of these as one that has not ended."""
        deadline = time.monotonic() + 60
        while any(each.state != "ended" for job, each in self.queue().items() if job in ids):
            assert time.monotonic() < deadline, self.queue()
            time.sleep(0.2)

    def out(self) -> list[str]:
        return sorted(Path(self.folder / "out").read_text().splitlines())


def site(cluster: Cluster, patch: pytest.MonkeyPatch, name: str, **switches: str) -> Site:
    for variable, value in cluster.env.items():
        patch.setenv(variable, value)
    # What a person may have set, or what a job has that submits another one.
    for variable in ("SBATCH_TIMELIMIT", "SBATCH_ARRAY_INX", "SLURM_ARRAY_TASK_ID"):
        patch.setenv(variable, "7")
    patch.setenv("SQUEUE_PARTITION", "nope")
    return Site(cluster, scheduler(name, Switches(switches)))


def test_slurm(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    here = site(slurm, monkeypatch, "slurm")
    body = 'echo "$element $PWD"; exit $((element == 1))'
    first = here.submit(body, elements=3)
    second = here.submit("echo second $element", Edge(first, "element"), elements=3)
    one = here.adapter.element_id(first, 1)
    unmet = here.submit("echo never", Edge(one, "ok"))
    last = here.submit("echo last", Edge(first), Edge(second))
    killed = here.submit("kill -9 $$", Edge(first))
    wide = here.submit(
        "echo $SLURM_NTASKS $SLURM_NNODES",
        Edge(first),
        request=Request(2, 400, 90, gpus=2, nodes=2, tasks=4, options=("--comment=a b\nc",)),
    )
    cancelled = here.submit("exec sleep 100", Edge(first))

    queued = here.queue()
    assert {queued[here.adapter.element_id(first, each)].state for each in range(3)} == {"held"}
    assert here.adapter.whole(one) == first

    here.all(here.adapter.release([first]))
    slurm.wait_for(lambda: here.queue()[cancelled].state == "running")
    here.all(here.adapter.cancel([cancelled, "999999"]))
    ids = [
        *(here.adapter.element_id(first, each) for each in range(3)),
        *(here.adapter.element_id(second, each) for each in range(3)),
        *(unmet, last, killed, wide, cancelled),
    ]
    found = ["", "exit", "", "", "unmet", "", "unmet", "", "signal", "", "cancelled"]
    assert here.failures(ids) == found
    queue = [here.queue()[each] for each in ids]
    assert [each.verdict.failure if each.verdict else "?" for each in queue] == [
        "?" if each == "signal" else each for each in found
    ]
    told = [line for line in here.out() if "CANCELLED AT" not in line]
    where = [f"{each} {here.folder}" for each in range(3)]
    assert told == sorted([*where, "4 2", "last", "second 0", "second 2"])


def test_slurm_refuses(slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    here = site(slurm, monkeypatch, "slurm")
    answer = here.answer("true", request=Request(partition="nope"))
    assert here.adapter.scheduler_id(answer) is None
    assert here.adapter.refusal(answer) == "wrong"
    for partition, code in (("nope", 1), ("debug", 0)):
        ask = here.ask("true", Request(partition=partition), 0, ())
        script = here.folder.parent / "job.sh"
        script.write_text(here.adapter.script(ask))
        command = here.adapter.validate(ask, str(script))
        assert command and here.run(command).code == code


def test_sge(sge: Sge, monkeypatch: pytest.MonkeyPatch) -> None:
    here = site(sge, monkeypatch, "sge", mpi_environment="mpi")
    request = Request(time_s=600)
    body = 'echo "$element $PWD"; exit $((element == 1))'
    first = here.submit(body, elements=3, request=request)
    second = here.submit("echo two $element", Edge(first, "element"), elements=3, request=request)
    last = here.submit("echo last", Edge(first), Edge(second), request=request)
    wide = here.submit("echo $NSLOTS", Edge(first), request=Request(2, None, 60, tasks=3))
    killed = here.submit("kill -9 $$", Edge(first), request=request)
    slow = here.submit("exec sleep 100", Edge(first), request=Request(time_s=1))

    assert here.queue()[here.adapter.element_id(first, 2)].state == "held"
    here.all(here.adapter.release([first, "999999"]))
    ids = [
        *(here.adapter.element_id(first, each) for each in range(3)),
        *(here.adapter.element_id(second, each) for each in range(3)),
        *(last, wide, killed, slow),
    ]
    # A dependency only says when: what waits for a failed job runs.
    failures = here.failures(ids)
    assert failures == ["", "exit", "", "", "", "", "", "", "signal", "timeout"]
    where = [f"{each} {here.folder}" for each in range(3)]
    assert here.out() == sorted([*where, "two 0", "two 1", "two 2", "last", "6"])
    assert here.verdicts(["999999"]) == {}


def test_sge_refuses_and_deletes(sge: Sge, monkeypatch: pytest.MonkeyPatch) -> None:
    here = site(sge, monkeypatch, "sge")
    answer = here.answer("true", request=Request(partition="nope.q"))
    assert here.adapter.scheduler_id(answer) is None
    assert here.adapter.refusal(answer) == "wrong"
    array = here.submit("sleep 100", elements=3)
    here.all(here.adapter.cancel([here.adapter.element_id(array, 1), "999999"]))
    left = [here.adapter.element_id(array, each) for each in (0, 2)]
    sge.wait_for(lambda: [each for each in here.queue() if each.startswith(array)] == left)
    here.all(here.adapter.cancel([array]))
    sge.wait_for(lambda: not here.queue().keys() & set(left))
    assert here.verdicts(left) == {}  # of what never ran there is no record


def test_torque(pbs: Pbs, monkeypatch: pytest.MonkeyPatch) -> None:
    here = site(pbs, monkeypatch, "pbs", dialect="torque")
    first = here.submit('echo "$element $PWD"; exit 1', request=Request(2, 200, 60))
    last = here.submit("echo last", Edge(first), request=Request(options=("-l", "nice=1")))
    slow = here.submit("exec sleep 100", Edge(first))
    assert here.queue()[first].state == "queued"
    here.all(here.adapter.release([first, "999999"]))
    pbs.wait_for(lambda: here.queue()[slow].state == "running")
    here.all(here.adapter.cancel([slow, "999999"]))
    here.ended([first, last, slow])
    assert here.out() == sorted([f"0 {here.folder}", "last"])
    # These commands do not tell how a job ended.
    assert here.verdicts([first, last, slow, "999999"]) == {}
    answer = here.answer("true", request=Request(partition="nope"))
    assert here.adapter.scheduler_id(answer) is None
    assert here.adapter.refusal(answer) == "wrong"
