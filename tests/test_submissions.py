"""The state of runs on clusters: claimed, submitted, taken back, ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from cluster_state import INFO, ClusterRun, chain, job_of, name_of, spec_of

from buildhpc.plan.arrays import Link, Place
from buildhpc.plan.stamps import Record
from buildhpc.run.spec import Outcome
from buildhpc.state import changes, overview, queries
from buildhpc.state.claims import Foreign
from buildhpc.state.cluster_runs import (
    cancel,
    end_run_if_over,
    open_cluster_runs,
    open_run,
    refuse,
    reserve_run,
    retry,
    settle,
    standings,
)
from buildhpc.state.database import State, open_state
from buildhpc.state.flights import End, InFlight
from buildhpc.state.inbox import fold
from buildhpc.state.recorder import Recorder, RunInfo
from buildhpc.state.rows import Change, Row, write_changes
from buildhpc.state.snapshot import change_counter
from buildhpc.state.submissions import (
    QueuedJob,
    ToSubmit,
    any_making,
    doubtful,
    in_flight,
    leave,
    named,
    open_slice,
    released,
    revert,
    take_back,
    verdict,
)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return open_state(tmp_path)


def die(state: State, table: str) -> None:
    """Let the process that a row speaks of be one that ended."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with state.transaction() as connection:
        connection.execute(f"UPDATE {table} SET pid = ?, process_start = 1", (gone.pid,))


def run_status(state: State, run: int) -> str:
    return next(row.status for row in queries.runs(state) if row.id == run)


def begins(state: State, flight: InFlight) -> None:
    """Let the state have heard that an attempt began."""
    with state.transaction() as connection:
        connection.execute("UPDATE attempt SET state = 'running' WHERE id = ?", (flight.attempt,))
        row = Row(flight.job, flight.row, Change("running", keep=flight.run))
        write_changes(connection, flight.run, change_counter(state.found), [row])


def fails(attempt: int, again: bool = False) -> End:
    return End(
        attempt, "failed", "oom", "it took too much", "accounting", again, None, "node3", 7.5
    )


def intact(state: State) -> dict[str, Record]:
    """All records, whose check sums are looked at on the way."""
    return dict(state.records())


# Claims


def test_a_run_on_a_cluster_outlives_its_process(state: State) -> None:
    run = ClusterRun(state, 2).begin()
    die(state, "run")
    other = Recorder(open_state(state.folder), RunInfo("hpcmake"))
    claimed = other.claim([job_of(0), job_of(5)])
    assert claimed.foreign == {name_of(0): run.run}
    assert claimed.mine == (name_of(5),)
    assert claimed.dead == ()
    assert run_status(state, run.run) == "running"
    assert Foreign(state).poll([name_of(0)]) == {name_of(0): ("waiting", True)}
    living = overview.overview(state, overview.Asked()).runs
    assert [(each.run, each.cluster, each.followed) for each in living] == [
        (run.run, "gpu", False),
        (other.id, None, True),
    ]


def test_two_who_claim_for_one_run_submit_a_job_once(state: State) -> None:
    run = ClusterRun(state, 2).begin()
    run.submit(0)
    # Another one saw the job while nobody had it, and claims it for that run only now.
    other = ClusterRun(open_state(state.folder), 2, run=run.run)
    claimed = open_run(other.state, run.run, [job_of(0), job_of(1)])
    assert claimed.mine == (name_of(0), name_of(1))
    assert run.states() == ["queued", "waiting"]
    assert other.submit(0) is None
    intact(state)


def test_a_run_that_died_before_it_claimed_anything_is_dead(state: State) -> None:
    run = reserve_run(state, INFO, "gpu")
    assert Recorder(state, INFO).claim([job_of(8)]).dead == ()
    die(state, "run")
    claimed = Recorder(state, INFO).claim([job_of(9)])
    assert run in [dead.id for dead in claimed.dead]
    assert run_status(state, run) == "abandoned"


def test_what_a_dead_run_left_running_waits_for_the_next_one(state: State) -> None:
    first = Recorder(state, INFO)
    first.claim([job_of(0)])
    first.started(spec_of(0))
    first.flush()
    die(state, "run")
    run = ClusterRun(open_state(state.folder), 1).begin()
    assert run.states() == ["waiting"]
    assert intact(state)[name_of(0)].state == "waiting"
    assert run.submit(0) is not None


def test_claiming_notices_what_was_recorded_since_the_plan_was_made(state: State) -> None:
    Recorder(state, INFO).claim([job_of(0)])
    die(state, "run")
    seen = state.generation()
    changes.reset(open_state(state.folder), [job_of(0)])
    run = reserve_run(state, INFO, "gpu")
    assert open_run(state, run, [job_of(0)], seen).changed
    assert not open_run(state, run, [job_of(0)], state.generation()).changed


# Slices


def test_a_slice_is_known_before_it_is_submitted(state: State) -> None:
    run = ClusterRun(state, 3).begin()
    slice_ = run.submit(0, 1, name=False)
    assert slice_ is not None
    assert slice_.manifest == f".hpcmake/run-{run.run}/slice-{slice_.id}.jsonl"
    (submission,) = slice_.submissions
    assert submission.first == 0
    assert submission.name.startswith("map.")
    assert run.states() == ["queued", "queued", "waiting"]
    assert {record.state for record in intact(state).values()} == {"queued", "waiting"}
    first, second = in_flight(state, run.run)
    assert (first.job, first.number, first.state, first.id) == (name_of(0), 1, "queued", None)
    assert second.place == Place(submission.id, 1, 2)
    assert second.cluster == "gpu"
    assert not second.waits
    assert state.recipe_text("digest1") == "text 1"
    (attempt,) = queries.attempts(state, name_of(1))
    assert (attempt.state, attempt.command, attempt.used.cores) == ("queued", "map in1", 2)
    assert attempt.log_path == f".hpcmake/run-{run.run}/logs/1-1.log"
    named(state, submission.id, "71", ["71_0", "71_1"], held=True)
    assert [each.id for each in in_flight(state)] == ["71_0", "71_1"]


def test_a_job_is_submitted_once(state: State) -> None:
    run = ClusterRun(state, 3).begin()
    assert run.submit(0) is not None
    before = state.generation()
    assert run.submit(0, 1) is None, "one of them is queued already"
    other = ClusterRun(state, 3).begin()
    assert other.submit(1) is None, "another run has it"
    assert len(in_flight(state)) == 1
    assert run.states() == ["queued", "waiting", "waiting"]
    assert state.generation() != before


def test_names_and_links_tell_submissions_apart(state: State) -> None:
    run = ClusterRun(state, 2).begin()
    first = run.submit(0)
    assert first is not None
    link = Link(None, first.submissions[0].id, None, "any")
    second = run.submit(1, links=[link])
    assert second is not None
    names = {each.name for slice_ in (first, second) for each in slice_.submissions}
    assert len(names) == 2
    assert [each.waits for each in in_flight(state)] == [False, True]
    with state.transaction() as connection:
        edges = connection.execute("SELECT edges FROM submission ORDER BY id").fetchall()
    assert [json.loads(text) for (text,) in edges] == [
        [],
        [[first.submissions[0].id, None, "any"]],
    ]


def test_only_a_slice_whose_process_died_is_in_doubt(state: State) -> None:
    run = ClusterRun(state, 3).begin()
    made, named_only, over = run.submit(0, name=False), run.submit(1), run.submit(2)
    assert made and named_only and over
    released(state, over.id)
    with state.transaction() as connection:
        connection.execute("UPDATE slice SET pid = ? WHERE state = 'making'", (os.getppid(),))
        connection.execute("UPDATE slice SET process_start = NULL")
    assert doubtful(state) == []
    assert any_making(state)
    die(state, "slice")
    first, second = made.submissions[0], named_only.submissions[0]
    expected = [
        (made.id, run.run, first.id, "gpu", first.name, None, "making"),
        (named_only.id, run.run, second.id, "gpu", second.name, f"9{named_only.id}", "held"),
    ]
    assert [doubt[:7] for doubt in doubtful(state)] == expected
    with state.transaction() as connection:
        connection.execute("UPDATE slice SET pid = ? WHERE state = 'making'", (os.getppid(),))
        connection.execute("UPDATE slice SET process_start = NULL")
    assert doubtful(state) == [], "somebody else is at it"
    leave(state, [made.id, named_only.id, over.id])
    assert any_making(state)
    again = [doubt[:7] for doubt in doubtful(state)]
    assert again == expected, "who asked has to see to them, and may ask again"
    assert revert(state, [first.id]) == [name_of(0)]
    released(state, named_only.id)
    assert [doubt.slice for doubt in doubtful(state)] == []
    assert not any_making(state)
    assert run.states() == ["waiting", "queued", "queued"]
    assert run.submit(0) is not None


def test_what_was_taken_back_is_as_if_it_had_never_been_submitted(state: State) -> None:
    run = ClusterRun(state, 2).begin()
    run.submit(0, 1)
    first, second = in_flight(state)
    verdict(state, [fails(first.attempt, again=True)])
    run.submit(0, attempt=2)
    assert run.standings()[0] == ("queued", 2)
    (again,) = [each for each in in_flight(state) if each.job == name_of(0)]
    begins(state, second)
    assert take_back(state, [again.attempt, second.attempt]) == [name_of(0)]
    assert run.standings()[0] == ("waiting", 1), "the attempt that failed is its last again"
    assert [each.number for each in queries.attempts(state, name_of(0))] == [1]
    assert [each.attempt for each in in_flight(state)] == [second.attempt]
    intact(state)


def test_what_has_begun_is_not_taken_back_with_its_submission(state: State) -> None:
    run = ClusterRun(state, 2).begin()
    slice_ = run.submit(0, 1)
    assert slice_ is not None
    first, _ = in_flight(state)
    begins(state, first)
    assert revert(state, [slice_.submissions[0].id]) == [name_of(1)]
    assert run.states() == ["running", "waiting"]


# Ends without a receipt


def test_an_end_that_others_tell_is_recorded_once(state: State) -> None:
    run = ClusterRun(state, 2).begin()
    run.submit(0, 1)
    log = state.home / f"run-{run.run}" / "logs" / "0-1.log"
    log.parent.mkdir()
    log.write_text("almost there\n")
    first, second = in_flight(state)
    assert verdict(state, [fails(first.attempt)]) == [first]
    assert verdict(state, [fails(first.attempt)]) == []
    (attempt,) = queries.attempts(state, name_of(0))
    assert (attempt.state, attempt.failure, attempt.message) == (
        "failed",
        "oom",
        "it took too much",
    )
    assert (attempt.used.host, attempt.used.peak_mib) == ("node3", 7.5)
    assert queries.log_text(state, first.attempt) == "almost there\n"
    assert not log.exists()
    assert intact(state)[name_of(0)].failure == "oom: it took too much"
    assert run.states() == ["failed", "queued"]
    verdict(state, [End(second.attempt, "lost", None, "nobody knows of it", "queue")])
    assert run.states() == ["failed", "lost"]
    assert end_run_if_over(state, run.run) == "failed"


def test_a_failure_with_tries_left_keeps_the_job(state: State) -> None:
    run = ClusterRun(state, 1).begin()
    run.submit(0)
    (flight,) = in_flight(state)
    verdict(state, [fails(flight.attempt, again=True)])
    assert run.standings() == [("waiting", 1)]
    assert end_run_if_over(state, run.run) is None
    assert Recorder(state, INFO).claim([job_of(0)]).foreign == {name_of(0): run.run}
    run.submit(0, attempt=2)
    assert [each.number for each in in_flight(state)] == [2]
    intact(state)


# Moving on


def test_what_needs_a_failed_job_is_skipped_and_the_rest_goes_on(state: State) -> None:
    run = ClusterRun(state, 5, {1: [0], 2: [1], 4: [3]}).begin()
    run.submit(0, 1, 3)
    flights = {each.job: each for each in in_flight(state)}
    assert settle(state, run.run, run.plan).jobs == {}
    verdict(state, [fails(flights[name_of(0)].attempt, again=True)])
    assert settle(state, run.run, run.plan).jobs == {}, "it is tried again"
    run.submit(0, attempt=2)
    (second,) = [each for each in in_flight(state) if each.number == 2]
    verdict(state, [fails(second.attempt)])
    stopped = settle(state, run.run, run.plan)
    assert stopped.jobs == {name_of(1): name_of(0), name_of(2): name_of(0)}
    assert [each.id for each in stopped.spent] == [flights[name_of(1)].id]
    assert run.states() == ["failed", "skipped", "skipped", "queued", "waiting"]
    assert intact(state)[name_of(2)].failure == f"needs: {name_of(0)}"
    assert settle(state, run.run, run.plan).jobs == {}


def test_a_chain_of_10_000_jobs_is_skipped(state: State) -> None:
    run = ClusterRun(state, 10_000, chain(10_000)).begin()
    run.submit(0)
    (flight,) = in_flight(state)
    verdict(state, [fails(flight.attempt)])
    assert len(settle(state, run.run, run.plan).jobs) == 9_999
    assert set(run.states()) == {"failed", "skipped"}
    assert end_run_if_over(state, run.run) == "failed"


def test_an_element_that_has_another_job_to_run_is_not_spent(state: State) -> None:
    run = ClusterRun(state, 3, {1: [0]}).begin()
    run.submit(0, 1, 2)
    with state.transaction() as connection:
        connection.execute("UPDATE attempt SET element = 1 WHERE element = 2")
    first = in_flight(state)[0]
    verdict(state, [fails(first.attempt)])
    stopped = settle(state, run.run, run.plan)
    assert list(stopped.jobs) == [name_of(1)]
    assert stopped.spent == []


def test_cancelling_gives_up_what_has_not_begun_and_tells_what_runs(state: State) -> None:
    run = ClusterRun(state, 3).begin()
    run.submit(0, 1)
    first, second = in_flight(state)
    begins(state, first)
    stopped = cancel(state, run.run, [name_of(0), name_of(1)])
    assert list(stopped.jobs) == [name_of(1)]
    assert [each.id for each in stopped.spent] == [second.id]
    assert [each.id for each in stopped.running] == [first.id]
    assert run.states() == ["running", "cancelled", "waiting"]
    assert list(cancel(state, run.run).jobs) == [name_of(2)]
    verdict(state, [End(first.attempt, "cancelled", None, "", "user")])
    assert end_run_if_over(state, run.run) == "failed"


def test_a_run_of_which_something_was_cancelled_is_not_done(state: State) -> None:
    run = ClusterRun(state, 2).begin()
    run.submit(0)
    run.ended(0, Outcome("done"))
    fold(state)
    cancel(state, run.run)
    assert run.states() == ["done", "cancelled"]
    assert end_run_if_over(state, run.run) == "failed"


def test_a_job_that_no_scheduler_takes_has_failed(state: State) -> None:
    run = ClusterRun(state, 3, {1: [0]}).begin()
    run.submit(2)
    refuse(state, run.run, {name_of(0): "no partition has 900 cores", name_of(2): "too late"})
    assert run.standings() == [("failed", 1), ("waiting", 0), ("queued", 1)]
    assert list(settle(state, run.run, run.plan).jobs) == [name_of(1)]
    (row,) = queries.attempts(state, name_of(0))
    assert (row.failure, row.message) == ("submit", "no partition has 900 cores")
    assert intact(state)[name_of(0)].failure == "submit: no partition has 900 cores"


def test_a_job_that_was_given_up_can_be_tried_again_while_the_run_goes_on(state: State) -> None:
    run = ClusterRun(state, 2).begin()
    run.submit(0)
    (flight,) = in_flight(state)
    verdict(state, [fails(flight.attempt)])
    assert retry(state, run.run, [name_of(0), name_of(1)]) == [name_of(0)]
    assert run.standings() == [("waiting", 1), ("waiting", 0)]
    intact(state)
    run.submit(0, attempt=2)
    run.submit(1)
    for number in (0, 1):
        run.ended(number, Outcome("done"), attempt=2 - number)
    fold(state)
    assert end_run_if_over(state, run.run) == "done", "what failed at first is done now"
    assert retry(state, run.run, [name_of(0)]) == []


def test_how_a_planned_job_stands_that_others_have_or_had(state: State) -> None:
    other = Recorder(open_state(state.folder), INFO)
    other.claim([job_of(0), job_of(1)])
    run = ClusterRun(state, 3).begin()
    assert run.states() == ["foreign", "foreign", "waiting"]
    other.end("interrupted")
    assert run.states() == ["free", "free", "waiting"]
    claimed = open_run(state, run.run, [job_of(0), job_of(1)])
    assert len(claimed.mine) == 2
    assert run.states() == ["waiting"] * 3
    assert standings(state, run.run, ["unheard of"]) == [("free", 0)]


def test_a_job_that_failed_in_another_run_may_be_claimed(state: State) -> None:
    first = ClusterRun(state, 1).begin()
    first.submit(0)
    verdict(state, [fails(in_flight(state)[0].attempt)])
    assert first.states() == ["failed"]
    other = reserve_run(state, INFO, "gpu")
    assert standings(state, other, [name_of(0)]) == [("free", 0)]


# The end


def test_a_run_ends_when_none_of_its_jobs_is_to_come(state: State) -> None:
    run = ClusterRun(state, 1).begin()
    folder = state.home / f"run-{run.run}"
    assert end_run_if_over(state, run.run) is None
    run.submit(0)
    assert end_run_if_over(state, run.run) is None
    assert folder.exists()
    run.ended(0, Outcome("done"))
    fold(state)
    assert open_cluster_runs(state) == [run.run]
    assert end_run_if_over(state, run.run) == "done"
    assert end_run_if_over(state, run.run) == "done"
    assert open_cluster_runs(state) == []
    assert not folder.exists()


def test_a_run_whose_jobs_all_ended_is_over_and_not_dead(state: State) -> None:
    run = ClusterRun(state, 1).begin()
    run.submit(0)
    (flight,) = in_flight(state)
    verdict(state, [fails(flight.attempt)])
    die(state, "run")
    assert Recorder(state, INFO).claim([job_of(7)]).dead == ()
    assert run_status(state, run.run) == "failed"


def test_a_slice_is_not_opened_where_the_room_was_taken_meanwhile(state: State) -> None:
    run = ClusterRun(state, 3).begin()
    run.submit(0)
    (first,) = in_flight(state)

    def opened(number: int, cluster: str, *seen: int) -> bool:
        jobs = (QueuedJob(number, asdict(spec_of(number))),)
        array = ToSubmit(cluster, 0, jobs)
        return open_slice(state, run.run, [array], {}, frozenset(seen)) is not None

    assert not opened(1, "gpu")
    assert opened(1, "other")
    assert opened(2, "gpu", first.attempt)
