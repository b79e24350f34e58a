"""The state: what is recorded is found again, whatever happens in between."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildhpc.diagnostics import HpcmakeError, Problem, render
from buildhpc.plan.stamps import Record, Stamp
from buildhpc.run.spec import JobSpec, Needs, Outcome, OutputFile, Recipe
from buildhpc.state import changes, database, queries, schema, snapshot
from buildhpc.state.claims import Foreign, JobToClaim, Orphan, keep_logs
from buildhpc.state.database import State, generation, open_state, read_state
from buildhpc.state.logs import FOLD_BYTES
from buildhpc.state.owners import Owner, alive, process_start, this_process
from buildhpc.state.queries import Where
from buildhpc.state.recorder import Recorder, RunInfo
from buildhpc.state.records import pack, unpack

INFO = RunInfo("hpcmake -j 2 all", ("all",), {"jobs": 2})


def to_claim(number: int, rule: str = "map") -> JobToClaim:
    return JobToClaim(f"{rule} sample=s{number}", rule, {"sample": f"s{number}"})


def spec_of(number: int, attempt: int = 1) -> JobSpec:
    return JobSpec(
        f"map sample=s{number}",
        "map",
        attempt,
        (f"data/s{number}.fq", "ref.fa"),
        (OutputFile(f"out/s{number}.bam"),),
        Recipe("shell", f"bwa mem ref.fa data/s{number}.fq > out/s{number}.bam"),
        Needs(cores=4, mem_mib=4096, time_s=60),
    )


def record_of(number: int) -> Record:
    spec = spec_of(number)
    return Record(
        "done",
        "",
        f"{number:064x}",
        spec.inputs,
        (Stamp(1_700_000_000_000_000_000 + number, number), Stamp(-5, 0)),
        tuple(file.path for file in spec.outputs),
        (Stamp(1_800_000_000_000_000_000 + number, 77),),
        {"ref.fa": "ab" * 32} if number % 2 else {},
    )


def build(state: State, numbers: range, status: str | None = "done") -> Recorder:
    """Claim, run and record jobs; the run goes on if no status is given."""
    recorder = Recorder(state, INFO)
    mine = recorder.claim([to_claim(number) for number in numbers]).mine
    for number in numbers:
        spec = spec_of(number)
        if spec.name not in mine:
            continue
        recorder.started(spec)
        record = record_of(number)
        recorder.ended(spec, Outcome("done", started_s=1.0, ended_s=2.0), record, spec.recipe.text)
    recorder.flush()
    if status:
        recorder.end(status)
    return recorder


def records_in(folder: Path) -> dict[str, Record]:
    state = read_state(folder)
    return dict(state.records()) if state else {}


def look(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything below a folder, as precisely as can be."""
    return {
        str(path): (
            path.stat().st_mtime_ns,
            path.stat().st_ino,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in [folder, *sorted(folder.rglob("*"))]
    }


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.002)


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python with this module's names at hand; whatever is left is killed at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: object) -> subprocess.Popen[str]:
        script = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        script += f"from test_state import *\n{code}"
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", script, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def heard(process: subprocess.Popen[str]) -> str:
    """The next line that a child prints."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip()


def tell(process: subprocess.Popen[str]) -> None:
    """Let a child go on that waits for a line."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def problem_of(error: pytest.ExceptionInfo[HpcmakeError]) -> str:
    return "\n".join(render(problem) for problem in error.value.problems)


# What is recorded is found again


def test_what_a_build_recorded_is_found_by_the_next_process(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    build(open_state(tmp_path), range(5))
    expected = {to_claim(number).name: record_of(number) for number in range(5)}
    assert records_in(tmp_path) == expected
    state = read_state(tmp_path)
    assert state is not None
    assert dict(state.record(["map sample=s3", "unheard of"])) == {"map sample=s3": record_of(3)}
    assert state.maker(["out/s1.bam", "elsewhere"]) == {"out/s1.bam": "map sample=s1"}
    assert state.recipe_text(record_of(2).recipe) == spec_of(2).recipe.text
    assert state.recipe_text("unknown") is None
    assert sorted(path.name for path in state.home.iterdir()) == [".gitignore", "lock", "state.db"]
    assert (state.home / ".gitignore").read_text() == "*\n"


paths = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20)
stamps = st.none() | st.builds(Stamp, st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**63 - 1))
files = st.lists(st.tuples(paths, stamps), max_size=5)


@given(files, files, st.text("0123456789abcdef"), st.dictionaries(paths, paths, max_size=3))
@settings(max_examples=200, deadline=None)
def test_a_record_survives_packing(
    inputs: list[tuple[str, Stamp | None]],
    outputs: list[tuple[str, Stamp | None]],
    recipe: str,
    hashes: dict[str, str],
) -> None:
    record = Record(
        "done",
        "",
        recipe,
        tuple(path for path, _ in inputs),
        tuple(stamp for _, stamp in inputs),
        tuple(path for path, _ in outputs),
        tuple(stamp for _, stamp in outputs),
        hashes,
    )
    assert unpack("done", "", pack(record)) == record


def test_names_that_are_no_unicode_are_kept(tmp_path: Path) -> None:
    path = os.fsdecode(b"out/\xff\xfe.bam")
    recorder = Recorder(open_state(tmp_path), INFO)
    job = JobToClaim("odd", "odd", {"x": path})
    spec = JobSpec("odd", "odd", 1, (path,), (OutputFile(path),), Recipe("shell", f"touch {path}"))
    record = Record("done", "", "d", (path,), (None,), (path,), (Stamp(1, 2),), {})
    recorder.claim([job])
    recorder.ended(spec, Outcome("done", message=path), record, spec.recipe.text)
    recorder.end("done")
    state = read_state(tmp_path)
    assert state is not None
    assert state.records()["odd"] == record
    assert state.maker([path]) == {path: "odd"}
    assert queries.jobs(state, Where(target=path))[0].wildcards == {"x": path}


def test_a_claimed_job_never_counts_as_fresh_until_it_is_done(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    build(state, range(1))
    name = to_claim(0).name
    recorder = Recorder(state, INFO)
    recorder.claim([to_claim(0)])
    old = record_of(0)
    assert state.records()[name] == old._replace(state="waiting")
    recorder.started(spec_of(0))
    recorder.flush()
    assert state.records()[name] == old._replace(state="running")
    failed = Outcome("failed", "exit", exit_code=3, message="exit code 3")
    recorder.ended(spec_of(0), failed)
    recorder.flush()
    assert state.records()[name] == old._replace(state="failed", failure="exit: exit code 3")


def test_a_run_that_ends_early_leaves_its_jobs_waiting(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    build(state, range(3))
    recorder = Recorder(state, INFO)
    recorder.claim([to_claim(number) for number in range(4)])
    recorder.unneeded(to_claim(1).name)
    recorder.skipped(to_claim(2).name, to_claim(0).name)
    recorder.end("interrupted")
    found = records_in(tmp_path)
    assert [(found[to_claim(n).name].state, found[to_claim(n).name].failure) for n in range(4)] == [
        ("waiting", ""),
        ("done", ""),
        ("skipped", "needs: map sample=s0"),
        ("waiting", ""),
    ]
    assert [run.status for run in queries.runs(state)] == ["done", "interrupted"]
    assert {row.claim for row in queries.jobs(state)} == {None}


def test_a_job_that_is_tried_again_stays_claimed(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    recorder = Recorder(state, INFO)
    recorder.claim([to_claim(0)])
    recorder.started(spec_of(0))
    recorder.ended(spec_of(0), Outcome("failed", "oom", signal=9, message="x"), retry=True)
    recorder.flush()
    assert Foreign(state).poll([to_claim(0).name]) == {to_claim(0).name: ("waiting", True)}
    recorder.started(spec_of(0, attempt=2), pid=os.getpid())
    recorder.flush()
    recorder.ended(spec_of(0, attempt=2), Outcome("done"), record_of(0))
    recorder.end("done")
    assert [
        (each.number, each.state, each.failure, each.signal)
        for each in queries.attempts(state, to_claim(0).name)
    ] == [(1, "failed", "oom", 9), (2, "done", None, None)]
    assert state.records()[to_claim(0).name] == record_of(0)


def test_the_job_that_made_a_file_last_is_known(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    build(state, range(1))
    recorder = Recorder(state, INFO)
    recorder.claim([JobToClaim("other", "other", {})])
    spec = JobSpec("other", "other", 1, (), (OutputFile("out/s0.bam"),), Recipe("shell", "x"))
    recorder.ended(spec, Outcome("done"), record_of(0))
    recorder.end("done")
    assert state.maker(["out/s0.bam"]) == {"out/s0.bam": "other"}


# Looking leaves no trace


def test_looking_writes_nothing(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    build(open_state(tmp_path), range(3))
    before = look(tmp_path)
    state = read_state(tmp_path)
    assert state is not None
    assert len(state.records()) == 3
    assert queries.counts(state) == {"map": {"done": 3}}
    assert look(tmp_path) == before


def test_an_emptied_database_is_no_state_and_a_build_begins_anew(tmp_path: Path) -> None:
    build(open_state(tmp_path), range(3))
    (tmp_path / ".hpcmake/state.db").write_bytes(b"")
    assert generation(tmp_path) == b""
    assert read_state(tmp_path) is None
    build(open_state(tmp_path), range(1))
    assert list(records_in(tmp_path)) == [to_claim(0).name]


UNFINISHED = """
state = open_state(Path(sys.argv[1]))
with state.transaction() as connection:
    connection.execute("PRAGMA cache_size = 10")
    connection.execute("UPDATE job SET state = 'failed', claim = 5")
    connection.executemany("INSERT INTO recipe_text VALUES (NULL, 0, ?, ?)",
        [(str(n), "x" * 3000) for n in range(400)])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_transaction_cut_off_by_a_kill_never_happened(
    tmp_path: Path, child: Callable[..., subprocess.Popen[str]]
) -> None:
    build(open_state(tmp_path), range(200))
    expected = records_in(tmp_path)
    assert child(UNFINISHED, tmp_path).wait() == -signal.SIGKILL
    journal = tmp_path / ".hpcmake/state.db-journal"
    assert journal.stat().st_size > 0
    before = look(tmp_path)
    assert generation(tmp_path)[-1:] == b"\1"
    assert records_in(tmp_path) == expected
    assert look(tmp_path) == before
    build(open_state(tmp_path), range(200, 201))
    assert not journal.exists()
    assert records_in(tmp_path) == expected | {to_claim(200).name: record_of(200)}


def test_the_generation_changes_with_each_transaction_and_tells_databases_apart(
    tmp_path: Path,
) -> None:
    assert generation(tmp_path) == b""
    state = open_state(tmp_path)
    seen = {b""}
    recorder = Recorder(state, INFO)
    for number in range(20):
        recorder.claim([to_claim(number)])
        assert generation(tmp_path) not in seen
        seen.add(generation(tmp_path))
        recorder.flush()
        recorder.started(spec_of(number))
        recorder.flush()
        assert generation(tmp_path) not in seen
        seen.add(generation(tmp_path))
    state.records()
    assert generation(tmp_path) in seen
    assert generation(tmp_path) == state.generation()
    first = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        build(open_state(tmp_path / name), range(1))
        first.append(generation(tmp_path / name))
    assert first[0] != first[1]


WRITER = """
state = open_state(Path(sys.argv[1]))
for first in range(0, 100000, 20):
    build(state, range(first, first + 20))
    if not first:
        print("ready", flush=True)
"""


def test_a_reader_beside_a_writer_sees_whole_transactions(
    tmp_path: Path, child: Callable[..., subprocess.Popen[str]]
) -> None:
    writer = child(WRITER, tmp_path)
    assert heard(writer) == "ready"
    counts: list[int] = []
    while len(counts) < 40 or counts[-1] == counts[0]:
        found = records_in(tmp_path)
        counts.append(len(found))
        for name, record in found.items():
            if record.state == "done":
                assert record == record_of(int(name.rpartition("s")[2]))
    assert counts == sorted(counts)
    assert {count % 20 for count in counts} == {0}


# Kills and contention


ROUNDS = 20


def test_a_kill_at_any_moment_leaves_a_state_that_opens(
    tmp_path: Path, child: Callable[..., subprocess.Popen[str]]
) -> None:
    rng = random.Random(7)
    state = open_state(tmp_path)
    for _ in range(ROUNDS):
        before = generation(tmp_path)
        writer = child(WRITER, tmp_path)
        until(lambda before=before: generation(tmp_path) != before)  # type: ignore[misc]  # bound at once
        time.sleep(rng.random() * 0.1)  # the moment of the kill, not a wait for anything
        writer.kill()
        writer.wait()
        for name, record in records_in(tmp_path).items():
            number = int(name.rpartition("s")[2])
            assert record == record_of(number) or record.state in ("waiting", "running")
        recorder = Recorder(state, INFO)
        taken = recorder.claim([to_claim(0)])
        assert taken.mine == (to_claim(0).name,)
        assert taken.foreign == {}
        recorder.end("interrupted")
    assert {row.claim for row in queries.jobs(state)} == {None}
    assert {run.status for run in queries.runs(state)} <= {"done", "abandoned", "interrupted"}


CLAIMER = """
numbers = list(range(200))
random.Random(int(sys.argv[2])).shuffle(numbers)
recorder = Recorder(open_state(Path(sys.argv[1])), INFO)
mine = []
for first in range(0, 200, 20):
    print("ready", flush=True)
    sys.stdin.readline()
    mine += recorder.claim([to_claim(n) for n in numbers[first:first + 20]]).mine
print(json.dumps(mine), flush=True)
sys.stdin.read()
"""


def test_four_processes_get_each_job_exactly_once(
    tmp_path: Path, child: Callable[..., subprocess.Popen[str]]
) -> None:
    claimers = [child(CLAIMER, tmp_path, seed) for seed in range(4)]
    for _ in range(10):
        assert {heard(claimer) for claimer in claimers} == {"ready"}
        for claimer in claimers:
            tell(claimer)
    lists = [json.loads(heard(claimer)) for claimer in claimers]
    assert sorted(name for names in lists for name in names) == sorted(
        to_claim(number).name for number in range(200)
    )
    assert all(lists)


HOLDER = """
recorder = Recorder(open_state(Path(sys.argv[1])), INFO)
recorder.claim([to_claim(n) for n in range(3)])
recorder.started(spec_of(0), int(sys.argv[2]), ".hpcmake/s0.log")
recorder.flush()
print("ready", flush=True)
sys.stdin.readline()
spec = spec_of(1)
recorder.ended(spec, Outcome("done"), record_of(1))
recorder.flush()
print("done", flush=True)
sys.stdin.read()
"""


def test_jobs_of_a_live_run_are_waited_for_and_those_of_a_dead_one_taken_over(
    tmp_path: Path, child: Callable[..., subprocess.Popen[str]]
) -> None:
    state = open_state(tmp_path)
    holder = child(HOLDER, tmp_path, os.getpid())
    assert heard(holder) == "ready"
    recorder = Recorder(state, INFO)
    names = [to_claim(number).name for number in range(4)]
    claimed = recorder.claim([to_claim(number) for number in range(4)])
    assert claimed.mine == (names[3],)
    assert set(claimed.foreign) == set(names[:3])
    assert (claimed.dead, claimed.orphans) == ((), ())
    foreign = Foreign(state)
    assert foreign.poll(names[:3]) == {
        names[0]: ("running", True),
        names[1]: ("waiting", True),
        names[2]: ("waiting", True),
    }
    assert changes.forget(state, names) == {
        name: run.id for name in names[:3] for run in [queries.runs(state)[0]]
    } | {names[3]: recorder.id}
    tell(holder)
    assert heard(holder) == "done"
    assert foreign.poll(names[:3])[names[1]] == ("done", False)
    holder.kill()
    until(lambda: not foreign.poll(names[:3])[names[2]][1])
    assert foreign.poll(names[:3])[names[0]] == ("running", False)
    claimed = recorder.claim([to_claim(0), to_claim(2)])
    assert claimed.mine == (names[0], names[2])
    assert [(run.id, run.pid) for run in claimed.dead] == [(queries.runs(state)[0].id, holder.pid)]
    start = process_start(os.getpid())
    host = os.uname().nodename
    orphan = Orphan(1, names[0], host, os.getpid(), start, ".hpcmake/s0.log")
    assert claimed.orphans == (orphan,)
    # Until it is dealt with it is told of again, in case this process dies too.
    assert recorder.claim([]).orphans == (orphan,)
    (tmp_path / ".hpcmake/s0.log").write_text("half a line")
    keep_logs(state, host)
    recorder.lost(orphan)
    recorder.flush()
    assert recorder.claim([]).orphans == ()
    assert queries.attempts(state, names[0])[0].state == "lost"
    assert queries.log_text(state, 1) == "half a line"
    assert not (tmp_path / ".hpcmake/s0.log").exists()


def test_a_plan_that_is_out_of_date_claims_nothing(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    build(state, range(2))
    seen = generation(tmp_path)
    other = build(open_state(tmp_path), range(1, 2), status=None)
    recorder = Recorder(state, INFO)
    assert recorder.claim([to_claim(1)], seen).changed
    assert recorder.id == 0
    assert recorder.claim([to_claim(1)], generation(tmp_path)).mine == (to_claim(1).name,)
    # What others recorded of jobs that are not in the plan does not matter.
    assert recorder.claim([to_claim(0)], seen).mine == (to_claim(0).name,)
    assert recorder.claim([to_claim(9)], b"").mine == (to_claim(9).name,)
    other.end("done")


def test_a_run_whose_claim_was_taken_over_records_nothing_more(tmp_path: Path) -> None:
    first = Recorder(open_state(tmp_path), INFO)
    first.claim([to_claim(0)])
    with open_state(tmp_path).transaction() as connection:
        connection.execute("UPDATE run SET pid = 0, process_start = 1")
    second = Recorder(open_state(tmp_path), INFO)
    assert second.claim([to_claim(0)]).mine == (to_claim(0).name,)
    first.ended(spec_of(0), Outcome("done"), record_of(0))
    first.flush()
    assert records_in(tmp_path)[to_claim(0).name].state == "waiting"


ME = this_process()


@pytest.mark.parametrize(
    ("owner", "silent_s", "lives"),
    [
        (ME, 10_000, True),
        (Owner(ME.host, ME.pid, 1, ME.boot), 0, False),
        (Owner(ME.host, 2**22 + 1, 1, ME.boot), 0, False),
        (Owner(ME.host, ME.pid, ME.process_start, "earlier-boot:pid:[1]"), 0, False),
        (Owner("localhost", ME.pid, ME.process_start, "another-boot:pid:[1]"), 0, True),
        (Owner("elsewhere", ME.pid, ME.process_start, "another-boot:pid:[1]"), 100, True),
        (Owner("elsewhere", ME.pid, ME.process_start, "another-boot:pid:[1]"), 130, False),
        (Owner("elsewhere", ME.pid, ME.process_start, "another-boot:pid:[1]"), -500, True),
        (Owner("renamed", ME.pid, ME.process_start, ME.boot), 10_000, True),
        (Owner(ME.host, ME.pid, None, ""), 10_000, True),
    ],
)
def test_whether_an_owner_lives(owner: Owner, silent_s: float, lives: bool) -> None:
    assert alive(owner, 1e9 - silent_s, 1e9) == lives


def test_a_killed_process_that_nobody_has_waited_for_is_dead(
    child: Callable[..., subprocess.Popen[str]],
) -> None:
    process = child("print('ready', flush=True); sys.stdin.read()")
    assert heard(process) == "ready"
    owner = Owner(ME.host, process.pid, process_start(process.pid), ME.boot)
    assert alive(owner, 0, 0)
    process.kill()
    until(lambda: not alive(owner, 0, 0))


# The lock


LOCKER = """
state = open_state(Path(sys.argv[1]))
with state.transaction():
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_lock_that_cannot_be_had_names_its_holder_and_is_free_once_that_is_killed(
    tmp_path: Path, child: Callable[..., subprocess.Popen[str]]
) -> None:
    holder = child(LOCKER, tmp_path)
    assert heard(holder) == "ready"
    with pytest.raises(HpcmakeError) as error:
        build(open_state(tmp_path, lock_timeout_s=0.2), range(1))
    assert error.value.exit_code == 3
    assert problem_of(error) == (
        f"error[state-locked]: the lock `{tmp_path}/.hpcmake/lock` could not be had within 0.2 s\n"
        f" = note: held by process {holder.pid} on {os.uname().nodename}\n"
        " = help: hpcmake holds it for moments only: see whether that process is stopped"
    )
    holder.kill()
    build(open_state(tmp_path, lock_timeout_s=5), range(1))
    assert len(records_in(tmp_path)) == 1


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_locks_a_lease_serves_and_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(fd: int, operation: int) -> None:
        del fd, operation
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    told: list[Problem] = []
    state = open_state(tmp_path, told.append)
    build(state, range(3))
    assert [render(problem) for problem in told] == [
        f"warning[state-lease]: this file system gives no lock for `{tmp_path}/.hpcmake/lock`: "
        f"{os.strerror(number)}\n"
        " = note: a lease that is renewed while it is held serves instead\n"
        " = help: two hpcmake at once in this folder are safer on a file system with locks"
    ]
    assert len(records_in(tmp_path)) == 3
    assert not (tmp_path / ".hpcmake/lock.lease").exists()


def test_a_lease_that_was_lost_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, operation: int) -> None:
        del fd, operation
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    state = open_state(tmp_path)
    build(state, range(1))
    before = generation(tmp_path)
    with pytest.raises(HpcmakeError) as error, state.transaction() as connection:
        connection.execute("DELETE FROM job")
        monkeypatch.setattr(type(state._lock._lock), "compromise", "owner-changed")
    assert error.value.exit_code == 3
    assert "state-lease-lost" in problem_of(error)
    assert generation(tmp_path) == before
    assert len(records_in(tmp_path)) == 1


# Versions


def test_a_newer_state_is_refused_and_left_alone(tmp_path: Path) -> None:
    build(open_state(tmp_path), range(2))
    with open_state(tmp_path).transaction() as connection:
        connection.execute("PRAGMA user_version = 7")
    before = (tmp_path / ".hpcmake/state.db").read_bytes()
    for use in (lambda: records_in(tmp_path), lambda: build(open_state(tmp_path), range(1))):
        with pytest.raises(HpcmakeError) as error:
            use()
        assert error.value.exit_code == 2
        path = tmp_path / ".hpcmake/state.db"
        assert problem_of(error) == (
            f"error[state-newer]: the state `{path}` was written by a newer hpcmake\n"
            " = note: it is of version 7, this hpcmake knows version 4\n"
            " = help: upgrade it: pip install --upgrade hpcmake"
        )
    assert (tmp_path / ".hpcmake/state.db").read_bytes() == before


def test_an_older_state_is_brought_up_to_date_by_writing_never_by_looking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(open_state(tmp_path), range(2))
    monkeypatch.setattr(schema, "VERSION", 6)
    steps = {4: ("ALTER TABLE run ADD COLUMN note TEXT",), 5: ("CREATE TABLE extra (x)",)}
    monkeypatch.setattr(schema, "STEPS", steps)
    before = look(tmp_path)
    state = read_state(tmp_path)
    assert state is not None
    assert len(state.records()) == 2
    assert state.read(lambda it: it.execute("SELECT note FROM run").fetchall()) == [(None,)]
    assert look(tmp_path) == before
    with open_state(tmp_path).transaction() as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (6,)
        connection.execute("INSERT INTO extra VALUES (1)")
    assert len(records_in(tmp_path)) == 2


def test_an_unknown_version_is_refused(tmp_path: Path) -> None:
    build(open_state(tmp_path), range(2))
    with open_state(tmp_path).transaction() as connection:
        connection.execute("PRAGMA user_version = 0")
    for use in (lambda: records_in(tmp_path), lambda: build(open_state(tmp_path), range(1))):
        with pytest.raises(HpcmakeError, match="version 0 of the state is unknown"):
            use()


# Damage


def test_what_is_no_database_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / ".hpcmake/state.db"
    path.parent.mkdir()
    path.write_text("my notes, long enough to be one page of something\n" * 100)
    before = path.read_bytes()
    for use in (lambda: records_in(tmp_path), lambda: build(open_state(tmp_path), range(1))):
        with pytest.raises(HpcmakeError) as error:
            use()
        assert error.value.exit_code == 2
        assert problem_of(error) == (
            f"error[state-damaged]: the state `{path}` is damaged\n"
            " = note: file is not a database\n"
            " = note: nothing in it was changed or removed\n"
            " = help: move it away and run hpcmake again:\n"
            f"         mv {path} {path}.bad\n"
            "         without it the times of the files decide what is stale, as in Make"
        )
    assert path.read_bytes() == before


def test_a_folder_in_place_of_the_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".hpcmake/state.db").mkdir(parents=True)
    for use in (lambda: records_in(tmp_path), lambda: build(open_state(tmp_path), range(1))):
        with pytest.raises(HpcmakeError, match="it is a folder") as error:
            use()
        assert "state-damaged" in problem_of(error)


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    import sqlite3

    (tmp_path / ".hpcmake").mkdir()
    with sqlite3.connect(tmp_path / ".hpcmake/state.db") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    before = (tmp_path / ".hpcmake/state.db").read_bytes()
    for use in (lambda: records_in(tmp_path), lambda: build(open_state(tmp_path), range(1))):
        with pytest.raises(HpcmakeError, match="does not bear the mark"):
            use()
    assert (tmp_path / ".hpcmake/state.db").read_bytes() == before


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".hpcmake").write_text("")
    assert read_state(tmp_path) is None
    with pytest.raises(HpcmakeError, match="is not a folder"):
        build(open_state(tmp_path), range(1))


def _sound_or_refused(folder: Path, expected: dict[str, Record]) -> bool:
    """Whether the state was refused; otherwise all in it must be as it was."""
    outputs = [path for record in expected.values() for path in record.outputs]
    state = read_state(folder)
    try:
        found = dict(state.records()) if state else {}
        makers = state.maker(outputs) if state else {}
    except HpcmakeError as error:
        assert error.exit_code == 2
        assert error.problems[0].slug in ("state-damaged", "state-newer")
        return True
    assert found == expected
    assert makers == {path: name for name, record in expected.items() for path in record.outputs}
    return False


def test_a_truncated_database_is_refused(tmp_path: Path) -> None:
    build(open_state(tmp_path), range(40))
    expected = records_in(tmp_path)
    path = tmp_path / ".hpcmake/state.db"
    whole = path.read_bytes()
    lengths = [*range(1, 120), *range(120, len(whole), 1009), len(whole) - 1]
    for length in lengths:
        path.write_bytes(whole[:length])
        assert _sound_or_refused(tmp_path, expected), f"cut to {length} bytes"
        assert path.read_bytes() == whole[:length]


FLIPS = 300


def test_a_flipped_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    build(open_state(tmp_path), range(80))
    recorder = Recorder(open_state(tmp_path), INFO)
    recorder.claim([to_claim(number) for number in range(5)])
    expected = records_in(tmp_path)
    path = tmp_path / ".hpcmake/state.db"
    whole = path.read_bytes()
    rng = random.Random(11)
    refused = 0
    for _ in range(FLIPS):
        position = rng.randrange(len(whole))
        flipped = bytearray(whole)
        flipped[position] ^= rng.randrange(1, 256)
        path.write_bytes(flipped)
        refused += _sound_or_refused(tmp_path, expected)
        assert path.read_bytes() == flipped
    assert refused > FLIPS // 10


def test_no_command_stumbles_over_a_flipped_byte(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    build(state, range(3))
    Recorder(state, INFO).claim([to_claim(1), to_claim(5)])
    path = tmp_path / ".hpcmake/state.db"
    whole = path.read_bytes()
    rng = random.Random(5)
    refused = 0
    for _ in range(FLIPS // 3):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(whole))] ^= rng.randrange(1, 256)
        path.write_bytes(flipped)
        state = open_state(tmp_path)
        uses: list[Callable[[], object]] = [
            lambda state=state: queries.jobs(state),  # type: ignore[misc]  # bound at once
            lambda state=state: queries.counts(state),  # type: ignore[misc]
            lambda state=state: queries.runs(state),  # type: ignore[misc]
            lambda state=state: queries.attempts(state, to_claim(1).name),  # type: ignore[misc]
            lambda state=state: Foreign(state).poll([to_claim(1).name]),  # type: ignore[misc]
            lambda state=state: build(state, range(3)),  # type: ignore[misc]
        ]
        for use in uses:
            try:
                use()
            except HpcmakeError as error:
                assert error.exit_code == 2
                refused += 1
        state.close()
    assert refused


def test_a_row_that_vanished_is_noticed(tmp_path: Path) -> None:
    build(open_state(tmp_path), range(10))
    import sqlite3

    path = tmp_path / ".hpcmake/state.db"
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER job_removed")
        connection.execute("DELETE FROM job WHERE id = 4")
    connection.close()
    with pytest.raises(HpcmakeError, match="rows are missing"):
        records_in(tmp_path)
    state = read_state(tmp_path)
    assert state is not None
    with pytest.raises(HpcmakeError, match="rows are missing"):
        state.record([to_claim(3).name])


def test_a_damaged_record_is_not_given_a_new_check_sum(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    build(state, range(2))
    with state.transaction() as connection:
        connection.execute("UPDATE job SET body = x'00' WHERE id = 1")
    recorder = Recorder(state, INFO)
    recorder.claim([to_claim(0)])
    recorder.started(spec_of(0))
    with pytest.raises(HpcmakeError, match="check sum"):
        recorder.flush()
    with pytest.raises(HpcmakeError, match="check sum"):
        state.records()


# What the file system refuses


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    recorder = build(state, range(2), status=None)
    recorder.claim([to_claim(number) for number in range(2, 60)])
    expected = records_in(tmp_path)
    with state.transaction() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    log = tmp_path / ".hpcmake/5.log"
    log.write_text("x" * 20_000)
    for number in range(2, 60):
        outcome = Outcome("done", log=".hpcmake/5.log" if number == 5 else None)
        recorder.ended(spec_of(number), outcome, record_of(number), spec_of(number).recipe.text)
    for _ in range(2):
        with pytest.raises(HpcmakeError) as error:
            recorder.flush()
        assert error.value.exit_code == 2
        assert problem_of(error) == (
            f"error[state-unwritable]: cannot write the state in `{state.path}`: "
            "database or disk is full\n"
            " = note: what was recorded before is intact\n"
            " = help: make room or see to the permissions there, then run hpcmake again"
        )
        assert records_in(tmp_path) == expected
        assert log.exists()
    with state.transaction() as connection:
        connection.execute("PRAGMA max_page_count = 100000")
    recorder.end("done")
    assert records_in(tmp_path) == {to_claim(n).name: record_of(n) for n in range(60)}
    assert not log.exists()


def test_what_is_committed_is_not_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = open_state(tmp_path)
    recorder = Recorder(state, INFO)
    recorder.claim([to_claim(0)])
    recorder.ended(spec_of(0), Outcome("done"), record_of(0))

    def refuse(folder: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(folder))

    with monkeypatch.context() as patch:
        patch.setattr(database, "sync_names", refuse)
        with pytest.raises(HpcmakeError, match="cannot write the state"):
            recorder.flush()
    recorder.end("done")
    assert len(queries.attempts(state, to_claim(0).name)) == 1
    assert records_in(tmp_path) == {to_claim(0).name: record_of(0)}


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(HpcmakeError) as error:
        build(open_state(tmp_path), range(1))
    assert error.value.exit_code == 2
    assert "Read-only file system" in problem_of(error)
    assert str(tmp_path) in problem_of(error)


def test_a_state_that_is_removed_under_a_run_is_told(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    recorder = build(state, range(1), status=None)
    shutil.rmtree(tmp_path / ".hpcmake")
    with pytest.raises(HpcmakeError, match="was removed or replaced"):
        recorder.claim([to_claim(5)])


# Logs


def test_small_logs_are_folded_and_large_ones_kept_as_files(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    recorder = Recorder(state, INFO)
    recorder.claim([to_claim(number) for number in range(20)])
    running = tmp_path / ".hpcmake/running"
    running.mkdir()
    (tmp_path / "mine.log").write_text("the user's own")
    contents = [b"caf\xe9 \xff\n", b"y" * 70_000, b""]
    for number in range(20):
        log = f".hpcmake/running/{number}.log"
        (tmp_path / log).write_bytes(contents[number] if number < 3 else b"z" * 65_536)
        log = "mine.log" if number == 3 else ".hpcmake/running/gone" if number == 4 else log
        recorder.ended(spec_of(number), Outcome("done", log=log), record_of(number))
    recorder.end("done")
    attempts = [queries.attempts(state, to_claim(number).name)[0] for number in range(6)]
    texts = [queries.log_text(state, attempt.id) for attempt in attempts]
    assert texts == ["caf\ufffd \ufffd\n", "y" * 70_000, "", "the user's own", "", "z" * 65_536]
    kept = attempts[1].log_path
    assert kept == ".hpcmake/logs/2-2-1.log"
    assert [attempt.log_path for attempt in attempts] == [None, kept, None, "mine.log", None, None]
    assert sorted(path.name for path in running.iterdir()) == ["3.log", "4.log"]
    assert [path.name for path in (tmp_path / ".hpcmake/logs").iterdir()] == ["2-2-1.log"]
    changes.forget(state, [to_claim(1).name, to_claim(3).name])
    assert list((tmp_path / ".hpcmake/logs").iterdir()) == []
    assert (tmp_path / "mine.log").exists()
    assert queries.log_text(state, 999) == ""


# Commands


def test_a_large_log_that_cannot_be_moved_is_folded_as_far_as_that_goes(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    recorder = Recorder(state, INFO)
    recorder.claim([to_claim(0)])
    log = tmp_path / ".hpcmake/0.log"
    log.write_text("x" * 100_000)
    (tmp_path / ".hpcmake/logs").write_text("in the way")
    recorder.ended(spec_of(0), Outcome("done", log=str(log)), record_of(0))
    recorder.end("done")
    assert queries.log_text(state, 1) == "x" * FOLD_BYTES
    assert not log.exists()


def test_reset_takes_the_record_and_forget_takes_everything(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    build(state, range(4))
    assert changes.reset(state, [to_claim(0), to_claim(9)]) == {}
    found = state.records()
    assert found[to_claim(0).name] == Record("reset", "", "", (), (), (), (), {})
    assert found[to_claim(9).name].state == "reset"
    assert changes.forget(state, [to_claim(1).name, "unheard of"]) == {}
    assert to_claim(1).name not in state.records()
    assert state.maker(["out/s1.bam", "out/s2.bam"]) == {"out/s2.bam": to_claim(2).name}
    assert queries.attempts(state, to_claim(1).name) == []
    assert state.recipe_text(record_of(1).recipe) is None
    assert state.recipe_text(record_of(2).recipe) == spec_of(2).recipe.text
    (run,) = queries.runs(state)
    changes.forget_runs(state, [run.id])
    assert queries.runs(state) == []
    assert queries.attempts(state, to_claim(2).name) == []
    assert state.records()[to_claim(2).name] == record_of(2)
    build(state, range(4))
    assert records_in(tmp_path)[to_claim(1).name] == record_of(1)


def test_touch_accepts_what_is_there(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    recorder = Recorder(state, INFO)
    recorder.claim([to_claim(1)])
    jobs = [(to_claim(number), record_of(number), f"text {number}") for number in range(3)]
    assert changes.touch_records(state, jobs) == {to_claim(1).name: recorder.id}
    found = state.records()
    assert {name: found[name] for name in found if found[name].state == "done"} == {
        to_claim(number).name: record_of(number) for number in (0, 2)
    }
    assert state.maker(["out/s2.bam"]) == {"out/s2.bam": to_claim(2).name}
    assert state.recipe_text(record_of(2).recipe) == "text 2"
    changes.forget_runs(state, [recorder.id])
    assert [run.status for run in queries.runs(state)] == ["running"]


def test_what_is_asked_of_the_state(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    build(state, range(2))
    recorder = Recorder(state, RunInfo("hpcmake x"))
    recorder.claim([to_claim(2), JobToClaim("report", "report", {})])
    outcome = Outcome("failed", "exit", exit_code=3, message="exit code 3", cpu_s=1.5, ended_s=9.0)
    recorder.ended(spec_of(2), outcome)
    recorder.flush()
    assert queries.counts(state) == {"map": {"done": 2, "failed": 1}, "report": {"waiting": 1}}
    assert [row.name for row in queries.jobs(state)] == [
        *(to_claim(number).name for number in range(3)),
        "report",
    ]
    chosen = [
        Where(states=("waiting",)),
        Where(rule="map", states=("done",)),
        Where(run=recorder.id),
        Where(target="out/s1.bam"),
        Where(name="report", rule="map"),
    ]
    assert [[row.name for row in queries.jobs(state, where)] for where in chosen] == [
        ["report"],
        [to_claim(0).name, to_claim(1).name],
        [to_claim(2).name],
        [to_claim(1).name],
        [],
    ]
    (attempt,) = queries.attempts(state, to_claim(2).name)
    assert (attempt.failure, attempt.exit_code, attempt.message) == ("exit", 3, "exit code 3")
    assert (attempt.used.cpu_s, attempt.used.cores, attempt.used.mem_mib) == (1.5, 4, 4096)
    assert attempt.command == spec_of(2).recipe.text
    first, second = queries.runs(state)
    assert (first.status, first.targets, first.options) == ("done", ("all",), {"jobs": 2})
    assert (second.status, second.command, second.ended_s) == ("running", "hpcmake x", None)


def test_a_run_with_nothing_to_write_gives_signs_of_life(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    recorder = Recorder(state, INFO)
    recorder.claim([to_claim(0)])
    recorder.flush()
    before = generation(tmp_path)
    recorder.flush()
    assert generation(tmp_path) == before
    recorder.beat()
    assert generation(tmp_path) != before


def test_a_plan_larger_than_one_statement_is_claimed(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    jobs = [to_claim(number) for number in range(5000)]
    build(state, range(2500))
    recorder = Recorder(state, INFO)
    assert recorder.claim(jobs, generation(tmp_path)).mine == tuple(job.name for job in jobs)
    assert len(state.record([job.name for job in jobs[:3000]])) == 3000
    assert len(state.maker([f"out/s{number}.bam" for number in range(3000)])) == 2500
    assert {record.state for record in state.records().values()} == {"waiting"}


def test_neither_sqlite_nor_filelock_is_loaded_before_it_is_needed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from buildhpc.state.database import generation, open_state, read_state\n"
        "from buildhpc.state.recorder import Recorder, RunInfo\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "assert generation(folder) == b'' and read_state(folder) is None\n"
        "Recorder(open_state(folder), RunInfo('x')).flush()\n"
        "assert not {'sqlite3', 'filelock', 'tempfile', 'shutil'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_gives_up_on_a_state_that_never_holds_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(open_state(tmp_path), range(1))
    state = read_state(tmp_path)
    assert state is not None
    numbers = iter(range(10**6))
    monkeypatch.setattr(snapshot, "_files", lambda _: [(next(numbers), 0), None])
    monkeypatch.setattr(snapshot, "unfinished", lambda _: True)
    monkeypatch.setattr(snapshot, "TIMEOUT_S", 0.1)
    with pytest.raises(HpcmakeError, match="constant use") as error:
        state.records()
    assert error.value.exit_code == 3
