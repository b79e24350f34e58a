"""What runners told becomes part of the state: once, in any order, whatever is killed when."""

from __future__ import annotations

import itertools
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from cluster_state import INFO, ClusterRun, job_of, left, name_of

from buildhpc.diagnostics import render
from buildhpc.plan.stamps import Record, Stamp
from buildhpc.run.spec import Outcome
from buildhpc.state import inbox, logs, queries, receipts
from buildhpc.state.cluster_runs import cancel, end_run_if_over, settle
from buildhpc.state.database import State, open_state, read_state
from buildhpc.state.flights import End
from buildhpc.state.inbox import Folding, fold, glance
from buildhpc.state.recorder import Recorder
from buildhpc.state.submissions import in_flight, take_back, verdict

DONE = Outcome("done", None, 0, None, "", 5.0, 9.0, 3.5, 40.0)
FAILED = Outcome("failed", "exit", 3, None, "exit code 3", 5.0, 6.0, 0.5, 4.0)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return open_state(tmp_path)


def record_of(number: int) -> Record:
    return Record(
        "done",
        "",
        f"digest{number}",
        (f"in{number}", "ref"),
        (Stamp(10, 11), Stamp(12, 13)),
        (f"out{number}",),
        (Stamp(14, 15),),
        {},
    )


def told(folding: Folding) -> list[tuple[str, str]]:
    return [(each.receipt.job, each.state) for each in folding.happened]


def test_a_job_runs_and_is_done(state: State) -> None:
    run = ClusterRun(state, 2).begin()
    run.submit(0, 1)
    run.started(0, log=f".hpcmake/run-{run.run}/logs/0-1.log")
    assert told(fold(state)) == [(name_of(0), "running")]
    assert run.states() == ["running", "queued"]
    (attempt, _) = in_flight(state)
    assert (attempt.state, attempt.host, attempt.started_s) == ("running", "node7", 5.0)
    run.ended(0, DONE)
    folding = fold(state)
    assert told(folding) == [(name_of(0), "done")]
    assert folding.problems == ()
    assert run.states() == ["done", "queued"]
    assert dict(state.records())[name_of(0)] == record_of(0)
    assert state.maker(["out0"]) == {"out0": name_of(0)}
    (row,) = queries.attempts(state, name_of(0))
    assert (row.state, row.exit_code, row.used.cpu_s, row.used.peak_mib) == ("done", 0, 3.5, 40.0)
    assert (row.used.host, row.used.pid, row.used.scheduler_id) == ("node7", 4712, "91_0")
    assert (row.used.started_s, row.used.ended_s) == (5.0, 9.0)
    assert left(run.inbox) == []


def test_nothing_is_done_where_nobody_told_anything(state: State) -> None:
    ClusterRun(state, 1).begin()
    before = state.generation()
    assert fold(state) == Folding()
    assert glance(state.folder) == Folding()
    assert state.generation() == before


def test_the_order_of_receipts_does_not_matter(state: State) -> None:
    run = ClusterRun(state, 1).begin()
    run.submit(0)
    started = run.started(0)
    run.ended(0, DONE)
    assert told(fold(state)) == [(name_of(0), "done")]
    assert receipts.write_started(str(run.inbox), started, (None,))
    assert told(fold(state)) == []
    assert run.states() == ["done"]
    assert left(run.inbox) == []


def test_what_is_folded_twice_counts_once(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the commit and the removal: the receipts are there again."""
    run = ClusterRun(state, 3).begin()
    run.submit(0, 1, 2)
    run.ended(0, DONE)
    run.ended(1, FAILED, retry=True)
    run.ended(2, FAILED)
    with monkeypatch.context() as patch:
        patch.setattr(receipts, "remove", lambda *_: None)
        assert len(fold(state).happened) == 3
    assert len(left(run.inbox)) == 3
    run.submit(1, attempt=2)
    assert run.states() == ["done", "queued", "failed"]
    assert told(fold(state)) == []
    assert run.states() == ["done", "queued", "failed"]
    assert left(run.inbox) == []
    run.ended(1, DONE, attempt=2)
    fold(state)
    assert end_run_if_over(state, run.run) == "failed", "the failure is counted once, not undone"


def test_a_failure_keeps_the_job_while_tries_are_left(state: State) -> None:
    run = ClusterRun(state, 2, {1: [0]}).begin()
    run.submit(0, 1)
    run.ended(0, FAILED, retry=True, log_text="oh no\n", runner=run.runner(0))
    fold(state)
    assert run.standings()[0] == ("waiting", 1)
    (row,) = queries.attempts(state, name_of(0))
    assert (row.state, row.failure, row.exit_code) == ("failed", "exit", 3)
    assert queries.log_text(state, row.id) == "oh no\n"
    run.submit(0, attempt=2)
    run.ended(0, FAILED, attempt=2)
    fold(state)
    assert run.states() == ["failed", "queued"]
    assert list(settle(state, run.run, run.plan).jobs) == [name_of(1)]
    assert dict(state.records())[name_of(0)].failure == "exit: exit code 3"
    assert end_run_if_over(state, run.run) == "failed"


def test_a_job_that_was_not_ready_was_never_submitted(state: State) -> None:
    run = ClusterRun(state, 2, {1: [0]}).begin()
    run.submit(0, 1)
    run.started(1)
    fold(state)
    run.ended(1, Outcome("unready"), because=name_of(0))
    assert told(fold(state)) == [(name_of(1), "unready")]
    assert run.standings()[1] == ("waiting", 0)
    assert queries.attempts(state, name_of(1)) == []
    first = run.runner(0)
    run.submit(1)
    run.ended(1, DONE, runner=first._replace(element=1))
    assert told(fold(state)) == [], "of the submission before"
    assert run.states() == ["queued", "queued"]
    run.ended(1, DONE)
    fold(state)
    assert run.states() == ["queued", "done"]


def test_a_job_that_is_fresh_after_all_is_what_it_was(state: State) -> None:
    run = ClusterRun(state, 1).begin()
    run.submit(0)
    run.ended(0, DONE)
    fold(state)
    end_run_if_over(state, run.run)
    again = ClusterRun(state, 1).begin()
    again.submit(0)
    again.started(0)
    again.ended(0, Outcome("unneeded"))
    assert told(fold(state)) == [(name_of(0), "unneeded")]
    assert again.states() == ["done"]
    assert dict(state.records())[name_of(0)] == record_of(0)
    assert [row.run for row in queries.attempts(state, name_of(0))] == [run.run]
    assert end_run_if_over(state, again.run) == "done"


@pytest.mark.parametrize("known", [False, True])
def test_a_later_start_supersedes_the_one_before(state: State, known: bool) -> None:
    run = ClusterRun(state, 1).begin()
    run.submit(0)
    runner = run.runner(0)
    run.started(0)
    if known:
        fold(state)
    run.ended(0, Outcome("failed", "preempted", message="it was put back"), runner=runner)
    run.started(0, restart=1, runner=runner._replace(host="node8"))
    assert told(fold(state)) == [(name_of(0), "running")]
    assert [(each.state, each.host) for each in in_flight(state)] == [("running", "node8")]
    run.ended(0, FAILED, restart=0, runner=runner)
    assert told(fold(state)) == []
    run.ended(0, DONE, restart=1, runner=runner)
    fold(state)
    assert run.states() == ["done"]


def test_a_later_start_is_believed_after_an_end(state: State) -> None:
    run = ClusterRun(state, 1).begin()
    run.submit(0)
    runner = run.runner(0)
    run.ended(0, FAILED)
    fold(state)
    assert run.states() == ["failed"]
    run.ended(0, DONE, restart=1, runner=runner)
    assert told(fold(state)) == [(name_of(0), "done")]
    assert run.states() == ["done"]
    assert end_run_if_over(state, run.run) == "done"


def test_told_to_end_by_whom_nobody_knows_it_is_in_flight_until_its_scheduler_says(
    state: State,
) -> None:
    run = ClusterRun(state, 2).begin()
    run.submit(0, 1)
    stopped = Outcome("cancelled", message="ended by SIGTERM", started_s=5.0, ended_s=6.0)
    for number in (0, 1):
        run.ended(number, stopped)
    fold(state)
    assert run.states() == ["running", "running"]
    assert [flight.stopped for flight in in_flight(state)] == ["ended by SIGTERM"] * 2
    # Started anew it goes on, as if nothing had been.
    run.started(0, restart=1)
    fold(state)
    assert [flight.stopped for flight in in_flight(state)] == [None, "ended by SIGTERM"]
    # Asked for by a user it needs no other word.
    cancel(state, run.run, [name_of(0)])
    run.ended(0, stopped, restart=1)
    fold(state)
    assert run.states() == ["cancelled", "running"]


def test_who_was_superseded_tells_nothing(state: State) -> None:
    run = ClusterRun(state, 1).begin()
    run.submit(0)
    run.started(0)
    run.ended(0, Outcome("superseded"))
    assert told(fold(state)) == [(name_of(0), "running")]
    assert left(run.inbox) == []


def test_a_receipt_counts_more_than_what_a_scheduler_said(state: State) -> None:
    run = ClusterRun(state, 3).begin()
    run.submit(0, 1, 2)
    runners = [run.runner(number) for number in range(3)]
    ends = [
        End(each.attempt, "lost", None, "gone", "queue", retry)
        for each, retry in zip(in_flight(state), (False, True, True), strict=True)
    ]
    verdict(state, ends)
    assert run.states() == ["lost", "waiting", "waiting"]
    run.submit(2, attempt=2)
    for number in range(3):
        run.ended(number, DONE, runner=runners[number])
    assert told(fold(state)) == [(name_of(0), "done"), (name_of(1), "done")]
    assert run.states() == ["done", "done", "queued"], "what was begun anew goes on"
    run.ended(2, DONE, attempt=2)
    fold(state)
    assert end_run_if_over(state, run.run) == "done"


def test_what_another_run_took_over_stays_its_own(state: State) -> None:
    run = ClusterRun(state, 1).begin()
    run.submit(0)
    runner = run.runner(0)
    verdict(state, [End(in_flight(state)[0].attempt, "lost", None, "gone", "queue")])
    other = Recorder(open_state(state.folder), INFO)
    assert other.claim([job_of(0)]).mine
    run.ended(0, DONE, runner=runner)
    assert told(fold(state)) == []
    assert dict(state.records())[name_of(0)].state == "waiting"


def test_receipts_of_what_nobody_knows_are_dropped(state: State) -> None:
    run = ClusterRun(state, 1).begin()
    run.submit(0)
    runner = run.runner(0)
    (flight,) = in_flight(state)
    take_back(state, [flight.attempt])
    run.ended(0, DONE, runner=runner)
    run.run += 7
    run.ended(0, DONE, runner=runner)
    assert fold(state) == Folding()
    assert left(run.inbox) == []


def test_a_torn_receipt_is_kept_and_told_once(state: State) -> None:
    run = ClusterRun(state, 2).begin()
    run.submit(0, 1)
    run.ended(0, DONE)
    run.ended(1, DONE)
    torn = run.inbox / f"{run.run}.1.1.0.ended"
    torn.write_bytes(torn.read_bytes()[:-20])
    folding = fold(state)
    assert told(folding) == [(name_of(0), "done")]
    (problem,) = folding.problems
    assert render(problem) == (
        f"warning[bad-receipt]: what jobs told of themselves cannot be read: `{torn.name}.bad`"
        f" in `{run.inbox}`\n"
        " = note: a full disk or a lost node may have cut it off; it is kept as `.bad`\n"
        " = note: what became of these jobs is asked of the scheduler"
    )
    assert left(run.inbox) == [f"{torn.name}.bad"]
    assert fold(state) == Folding()
    assert run.states() == ["done", "queued"]


def test_a_torn_receipt_does_not_bring_back_what_came_before(state: State) -> None:
    run = ClusterRun(state, 1).begin()
    run.submit(0)
    runner = run.runner(0)
    run.ended(0, FAILED, runner=runner)
    run.ended(0, DONE, restart=1, runner=runner)
    (run.inbox / f"{run.run}.0.1.1.ended").write_bytes(b"")
    assert told(fold(state)) == []
    assert run.states() == ["queued"]


def test_inputs_that_are_there_twice_are_recorded_in_their_order(state: State) -> None:
    import cluster_state

    run = ClusterRun(state, 1).begin()
    spec = cluster_state.spec_of(0)
    object.__setattr__(spec, "inputs", ("ref", "in0", "ref"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster_state, "spec_of", lambda *_: spec)
        run.submit(0)
    run.ended(0, DONE)
    fold(state)
    record = dict(state.records())[name_of(0)]
    assert record.inputs == ("ref", "in0", "ref")
    assert record.input_stamps == (Stamp(12, 13), Stamp(10, 11), Stamp(12, 13))


# Logs


def test_small_logs_are_folded_and_large_ones_moved(state: State) -> None:
    run = ClusterRun(state, 3).begin()
    run.submit(0, 1, 2)
    folder = state.home / f"run-{run.run}" / "logs"
    folder.mkdir()
    paths = [folder / f"{number}-1.log" for number in range(2)]
    paths[0].write_text("small \udcff\n", errors="surrogateescape")
    paths[1].write_text("x" * (logs.FOLD_BYTES + 1))
    own = state.folder / "own.log"
    own.write_text("mine\n")
    text = "small \udcff\n"
    run.ended(0, Outcome("done", log=str(paths[0])), log_text=text)
    run.ended(1, Outcome("done", log=str(paths[1])))
    run.ended(2, Outcome("done", log="own.log"), log_text="mine\n")
    happened = fold(state).happened
    kept = f".hpcmake/logs/{run.run}-1-1.log"
    assert [each.log.path for each in happened] == [None, kept, "own.log"]
    printed = [
        queries.log_text(state, row.id)
        for number in range(3)
        for row in queries.attempts(state, name_of(number))
    ]
    assert printed == ["small \\udcff\n", "x" * (logs.FOLD_BYTES + 1), "mine\n"]
    assert left(folder) == []
    assert own.exists()


def test_a_log_that_was_moved_before_a_kill_is_found(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ClusterRun(state, 1).begin()
    run.submit(0)
    log = state.home / f"run-{run.run}" / "logs" / "0-1.log"
    log.parent.mkdir()
    log.write_text("x" * (logs.FOLD_BYTES + 1))
    run.ended(0, Outcome("done", log=str(log)))

    class KilledError(BaseException):
        pass

    def kill(*_: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(inbox, "write_changes", kill)
        with pytest.raises(KilledError):
            fold(state)
    assert not log.exists()
    fold(state)
    (row,) = queries.attempts(state, name_of(0))
    assert row.log_path == f".hpcmake/logs/{run.run}-0-1.log"


# Many at once


def test_many_fold_at_once_and_each_receipt_counts_once(tmp_path: Path) -> None:
    state = open_state(tmp_path)
    run = ClusterRun(state, 60).begin()
    run.submit(*range(60))
    for number in range(60):
        run.started(number)
        run.ended(number, DONE)
    found: list[tuple[str, str]] = []

    def work() -> None:
        found.extend(told(fold(open_state(tmp_path))))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted((name_of(number), "done") for number in range(60))
    assert left(run.inbox) == []


def test_many_receipts_are_folded_in_parts(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "_AT_ONCE", 4)
    run = ClusterRun(state, 10).begin()
    run.submit(*range(10))
    for number in range(10):
        run.started(number)
        run.ended(number, DONE)
    commits = state.commits
    assert len(fold(state).happened) == 10
    assert state.commits == commits + 3
    assert set(run.states()) == {"done"}
    assert left(run.inbox) == []


def test_who_only_looks_does_not_wait_for_the_lock(state: State) -> None:
    run = ClusterRun(state, 1).begin()
    run.submit(0)
    run.ended(0, DONE)
    with state.locked():
        assert glance(state.folder) == Folding()
    assert len(left(run.inbox)) == 1
    assert len(glance(state.folder).happened) == 1
    seen = read_state(state.folder)
    assert seen is not None
    assert dict(seen.records())[name_of(0)].state == "done"


def test_a_receipt_that_cannot_go_is_told_and_not_folded_for_ever(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ClusterRun(state, 1).begin()
    run.submit(0)
    run.ended(0, DONE)
    monkeypatch.setattr(receipts, "remove", lambda *_: None)
    assert len(fold(state).happened) == 1
    assert fold(state).happened == ()


def test_every_order_of_what_two_starts_tell_comes_to_the_same(tmp_path: Path) -> None:
    """Each receipt folded by itself, in every order that a slow file server could bring."""
    kinds = ("started0", "ended0", "started1", "ended1")
    for place, order in enumerate(itertools.permutations(kinds)):
        folder = tmp_path / str(place)
        folder.mkdir()
        state = open_state(folder)
        run = ClusterRun(state, 1).begin()
        run.submit(0)
        runner = run.runner(0)
        for kind in order:
            restart = int(kind[-1])
            if kind.startswith("started"):
                run.started(0, restart=restart, runner=runner)
            elif restart:
                run.ended(0, DONE, restart=1, runner=runner)
            else:
                run.ended(0, FAILED, restart=0, runner=runner)
            fold(state)
        assert run.states() == ["done"], order
        assert end_run_if_over(state, run.run) == "done", order
        assert os.listdir(run.inbox) == []
