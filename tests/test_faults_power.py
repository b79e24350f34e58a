"""The power goes: whatever part of the unsynced writes is lost, the state is old or new, and whole.

The writes of a build are recorded with strace, and replayed up to each sync. HPCMAKE_ROUNDS says
in how many ways they are lost there: 30 stands for 2, 1000 for 66. Half as many builds follow.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Pipe
from faults import Scene
from lost_writes import STRACE, Disk, Operation, operations
from system_calls import put_back, traced

from buildhpc.diagnostics import Source
from buildhpc.disk import look
from buildhpc.language import store
from buildhpc.state import fresh
from buildhpc.state.database import generation, open_state, read_state
from buildhpc.state.records import load

ROUNDS = int(os.environ.get("HPCMAKE_ROUNDS", "30"))
# How likely a change of a name and one of a file is kept: first what file systems really do.
SHARES = [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0), (1.0, 1.0), (1.0, 0.5), (0.5, 1.0), (0.5, 0.5)]


@dataclass
class Recording:
    """A build that was recorded.

    copies: of the project, before it and after. steps: see `operations`.
    """

    scene: Scene
    copies: tuple[Path, Path]
    steps: Sequence[Operation]

    def disk(self) -> Disk:
        """The disk as it was, by the names of the project."""
        put_back(self.copies[0], self.scene.pipe.folder)
        return Disk(self.scene.pipe.folder)


@pytest.fixture(scope="module", params=["the first build", "a build of what changed"])
def recording(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Recording:
    folder = tmp_path_factory.mktemp("power")
    (folder / "project").mkdir()
    scene = Scene(Pipe(folder / "project"), count=2, pause=0)
    if request.param == "a build of what changed":
        scene.recover()
        scene.pipe.write("src/0", "other\n")
    shutil.copytree(scene.pipe.folder, folder / "before")
    result, lines, _ = traced(scene.pipe, STRACE, "-j4", folder / "strace")
    assert result.code == 0, result.err
    shutil.copytree(scene.pipe.folder, folder / "after")
    steps = operations(lines, str(scene.pipe.folder))
    return Recording(scene, (folder / "before", folder / "after"), steps)


def test_after_a_power_loss_the_state_is_one_that_was_promised(recording: Recording) -> None:
    disk = recording.disk()
    folder = recording.scene.pipe.folder
    contents = [_content(folder)]
    promised = count = 0
    rng = random.Random(10)
    for step in [*recording.steps, Operation("released")]:
        if step.kind in ("sync", "started", "released"):
            for names, data in _shares(rng):
                _put(disk.remains(rng, names, data), folder)
                found = _content(folder)
                assert found in contents[promised:], f"{step.kind} {step.path}"
                _check_cache(recording)
                count += 1
        if step.kind == "released":
            promised = len(contents) - 1
        disk.do(step)
        if step.kind == "unlink" and step.path.endswith("state.db-journal"):
            _put(disk.whole(), folder)
            contents.append(_content(folder))
    print(f"{count} states, {len(contents) - 1} transactions")


def test_after_a_power_loss_the_next_build_is_right(recording: Recording) -> None:
    cuts = [number for number, step in enumerate(recording.steps) if step.kind == "sync"]
    cuts = [cut for cut in cuts if Operation("started") in recording.steps[:cut]]
    rounds = max(1, ROUNDS // 30)
    rng = random.Random(11)
    for cut in [cuts[(2 * n + 1) * len(cuts) // (2 * rounds)] for n in range(rounds)]:
        disk = recording.disk()
        for step in recording.steps[:cut]:
            disk.do(step)
        _put(disk.remains(rng, rng.random(), rng.random()), recording.scene.pipe.folder)
        _put_outputs(recording, rng)
        recording.scene.recover()


def _put_outputs(recording: Recording, rng: random.Random) -> None:
    """The files of the jobs: half of them where their end is not recorded.

    Else they are as they were made, but for bytes that were not on the disk yet.
    """
    pipe = recording.scene.pipe
    state = read_state(pipe.folder)
    records = state.records() if state else {}
    made = {path: record for record in records.values() for path in record.outputs}
    chains = (0,) if recording.copies[0].joinpath("out").exists() else (0, 1)
    pipe.path("out").mkdir(exist_ok=True)
    for path in [f"out/{chain}.{letter}" for chain in chains for letter in "abc"]:
        record, file = made.get(path), recording.copies[1] / path
        done = record is not None and record.state == "done"
        if record and done and file.exists() and look(str(file)) in record.output_stamps:
            shutil.copy2(file, pipe.path(path))
            if rng.random() < 0.5:
                _cut_off(pipe.path(path))
        elif file.exists() or not done:
            pipe.write(path, "half")


def _cut_off(path: Path) -> None:
    """Leave a file as ext4 does: its time is on the disk before its last bytes are."""
    found = path.stat()
    os.truncate(path, found.st_size // 2)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def _shares(rng: random.Random) -> Iterator[tuple[float, float]]:
    """How likely a change of a name, and one of a file, is kept."""
    yield from SHARES[: max(2, ROUNDS // 15)]
    for _ in range(len(SHARES), ROUNDS // 15):
        yield rng.random(), rng.random()


def _put(files: Mapping[str, bytes | None], folder: Path) -> None:
    shutil.rmtree(folder / ".hpcmake", ignore_errors=True)
    for path, content in sorted(files.items()):
        if content is not None:
            Path(path).write_bytes(content)
        elif Path(path) != folder:
            Path(path).mkdir()


def _content(folder: Path) -> list[list[tuple[Any, ...]]]:
    """All that the next build finds in the state; none of it is damaged."""
    state = open_state(folder)
    with state.transaction() as connection:
        load(connection)
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        names = sorted(row[0] for row in tables)
        found = [connection.execute(f"SELECT * FROM {name}").fetchall() for name in names]
    state.close()
    return found


def _check_cache(recording: Recording) -> None:
    """What is in the cache is whole, or is not taken."""
    cache = recording.scene.pipe.path(".hpcmake/cache")
    for file in cache.glob("*-*"):
        content = file.read_bytes()
        copies = [folder / ".hpcmake/cache" / file.name for folder in recording.copies]
        if content in [path.read_bytes() for path in copies if path.exists()]:
            continue
        if file.name.startswith("fresh-"):
            key = file.name.removeprefix("fresh-")
            assert fresh.known(cache, key, generation(recording.copies[1])) is None
        else:
            with pytest.raises(ValueError, match="syntax tree"):
                store.load(content, Source("Pipefile", ""))
