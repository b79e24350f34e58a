"""Receipts and manifests: what runners are told, and what they tell."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from buildhpc.run import manifest
from buildhpc.run.manifest import Element, Header, Need, Planned
from buildhpc.run.spec import JobSpec, Needs, Outcome, OutputFile, Recipe, Software
from buildhpc.state import receipts
from buildhpc.state.receipts import Ended, Key, Runner, Started, backoff

HERE = Runner(7, 3, "12_3", "node1", 4711, 99, "boot:pid")
STARTED = Started(Key(2, 0, 1), "map s=ä", HERE, 1.5, "/x/0-1.log")
OUTCOME = Outcome("failed", "exit", 3, None, "exit code 3", 1.5, 2.5, 0.25, 10.0, "/x/0-1.log")
ENDED = Ended(
    Key(2, 0, 1),
    "map s=ä",
    HERE,
    OUTCOME,
    log_text="a\nb\udcff\n",
    inputs={"in \udcff": (5, 6)},
    hashes={"in \udcff": "ab"},
    outputs={},
    changed=["in \udcff"],
    recipe="digest",
    retry=True,
)


def once() -> Any:
    return backoff(0.0)


@pytest.fixture
def inbox(tmp_path: Path) -> str:
    return str(tmp_path / "inbox")


def test_what_was_written_is_read(inbox: str) -> None:
    assert receipts.read_all(inbox) == ([], [])
    assert receipts.write_started(inbox, STARTED, once())
    receipts.write_ended(inbox, ENDED, once())
    assert receipts.read_all(inbox) == ([ENDED, STARTED], [])
    assert receipts.read(inbox, ENDED.key, "ended") == ENDED
    assert sorted(os.listdir(inbox)) == ["2.0.1.0.ended", "2.0.1.0.started"]
    receipts.remove(inbox, STARTED.key, "started")
    receipts.remove(inbox, STARTED.key, "started")
    assert receipts.read_all(inbox) == ([ENDED], [])


@pytest.mark.parametrize("no_links", [False, True])
def test_one_of_many_may_start(inbox: str, no_links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    if no_links:
        monkeypatch.setattr(os, "link", refuse)
    won: list[int] = []

    def start(pid: int) -> None:
        mine = replace(STARTED, runner=HERE._replace(pid=pid))
        if receipts.write_started(inbox, mine, once()):
            won.append(pid)

    threads = [threading.Thread(target=start, args=(pid,)) for pid in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found, bad = receipts.read_all(inbox)
    assert [each.runner.pid for each in found] == won
    assert len(won) == 1
    assert not bad
    receipts.remove(inbox, STARTED.key, "started")
    assert os.listdir(inbox) == []


def test_who_asks_twice_has_started_all_the_same(inbox: str) -> None:
    assert receipts.write_started(inbox, STARTED, once())
    assert receipts.write_started(inbox, STARTED, once())
    other = replace(STARTED, runner=HERE._replace(host="node2"))
    assert not receipts.write_started(inbox, other, once())


def test_what_was_taken_back_does_not_keep_its_next_submission_from_starting(inbox: str) -> None:
    again = replace(STARTED, runner=HERE._replace(submission=HERE.submission + 1))
    assert receipts.write_started(inbox, STARTED, once())
    assert receipts.write_started(inbox, again, once())
    assert not receipts.write_started(inbox, STARTED, once())
    assert receipts.read(inbox, STARTED.key, "started") == again


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:-20],
        lambda _: b"",
        lambda content: content.replace(b'"done"', b'"dome"').replace(b"exit", b"exut"),
        lambda content: content + b"x",
        lambda _: b"hello\n%08x\n" % crc32(b"hello"),
        lambda _: b"[]\n%08x\n" % crc32(b"[]"),
    ],
)
def test_what_is_torn_or_foreign_is_noticed(inbox: str, spoil: Callable[[bytes], bytes]) -> None:
    receipts.write_ended(inbox, ENDED, once())
    file = Path(inbox) / "2.0.1.0.ended"
    file.write_bytes(spoil(file.read_bytes()))
    assert receipts.read_all(inbox) == ([], ["2.0.1.0.ended"])


def test_a_receipt_under_a_name_not_its_own_is_noticed(inbox: str) -> None:
    receipts.write_ended(inbox, ENDED, once())
    (Path(inbox) / "2.0.1.0.ended").rename(Path(inbox) / "2.1.1.0.ended")
    assert receipts.read_all(inbox) == ([], ["2.1.1.0.ended"])


def test_other_files_are_left_alone(inbox: str) -> None:
    receipts.write_ended(inbox, ENDED, once())
    for name in ("note", "2.0.1.0.ended.bad", ".tmp-1-2", "2.0.1.ended"):
        (Path(inbox) / name).write_text("x")
    os.utime(Path(inbox) / ".tmp-1-2", (0, 0))
    assert receipts.names(inbox) == [(ENDED.key, "ended")]
    receipts.sweep(inbox)
    assert sorted(os.listdir(inbox)) == [
        "2.0.1.0.ended",
        "2.0.1.0.ended.bad",
        "2.0.1.ended",
        "note",
    ]


def test_a_full_disk_is_waited_for(inbox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    failures = iter([True, True, False])

    def full(fd: int, content: bytes) -> int:
        if next(failures, False):
            raise OSError(errno.ENOSPC, "no space left on device")
        return write(fd, content)

    monkeypatch.setattr(os, "write", full)
    paused: list[float] = []
    receipts.write_ended(inbox, ENDED, backoff(60.0, paused.append))
    assert paused == [0.05, 0.1]
    assert os.listdir(inbox) == ["2.0.1.0.ended"]


def test_a_disk_that_stays_full_is_told(inbox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="no space"):
        receipts.write_ended(inbox, ENDED, once())
    with pytest.raises(OSError, match="no space"):
        receipts.write_started(inbox, STARTED, once())
    assert os.listdir(inbox) == []
    assert receipts.as_line(ENDED).startswith('2.0.1.0.ended {"run": 2, "number": 0,')


SPEC = JobSpec(
    "map s=1",
    "map",
    2,
    ("in \udcff",),
    (OutputFile("out", ("atomic", "temp")),),
    Recipe("call", "a:b", {"x": [1]}, "sub"),
    Needs(2, 100, 60, 1, (("tool", 1.5),)),
    Software(("gcc",), "env", None, "nice"),
    {"A": "1"},
    "log",
    True,
    {"wildcards": {"s": "1"}},
    "ab-2",
)


@pytest.mark.parametrize("spec", [SPEC, JobSpec("a", "a", 1, (), (), Recipe("none"))])
def test_a_spec_survives_json(spec: JobSpec) -> None:
    assert JobSpec.from_json(spec.to_json()) == spec


def test_each_runner_reads_its_own_line(tmp_path: Path) -> None:
    path = str(tmp_path / "slice-1.jsonl")
    header = Header(2, 1, "/w", "/w/.hpcmake", "ab:2", latency_s=1.5, umask=0o77)
    spec: dict[str, Any] = {"name": "ä", "text": "x" * 1000}
    jobs = [
        Planned(n, 1, spec, [Need(9, "b", ["in"])], ["in"], ["out"], {"t": [1, 2]}, "d", None)
        for n in range(3)
    ]
    elements = [Element(7, n, [jobs[n]] if n else jobs[:2]) for n in range(3)]
    manifest.write_manifest(path, header, elements)
    assert [manifest.read_element(path, n) for n in range(3)] == [(header, e) for e in elements]
    assert list(manifest.read_elements(path)) == elements
    assert os.listdir(tmp_path) == ["slice-1.jsonl"]
    with pytest.raises(manifest.BadManifestError, match="no element 3"):
        manifest.read_element(path, 3)
    Path(path).write_text("hello\n")
    with pytest.raises(manifest.BadManifestError, match="no manifest"):
        manifest.read_element(path, 0)
