"""What a queue and accounting say of jobs that left no word of their end."""

from __future__ import annotations

import pytest

from buildhpc.run.follow import Finding, Flight, Missing, stranger
from buildhpc.schedulers.protocol import Queued, Verdict

FLIGHT = Flight(7, "12_3", "map n=3", began=True)


def judge(
    missing: Missing,
    flight: Flight,
    now_s: float,
    queue: Queued | None = None,
    verdict: Verdict | None = None,
) -> list[Finding]:
    shown = {queue.id: queue} if queue else {}
    return missing.judge([flight], shown, {flight.id: verdict} if verdict else {}, now_s)


def test_a_scheduler_that_has_other_jobs_under_our_ids_is_another_one() -> None:
    mine = FLIGHT._replace(name="map.1f-1")
    ours, others = Queued("12_3", "map.1f-1", "running"), Queued("12_3", "their job", "ended")
    assert stranger([mine], {"12_3": ours}, {}) == ""
    assert stranger([mine], {"12_3": others}, {}) == "12_3"
    assert stranger([FLIGHT], {"12_3": others}, {}) == ""
    accounted = Verdict("exit", "FAILED", name="their job")
    assert stranger([mine], {}, {"12_3": accounted}) == "12_3"
    assert stranger([mine], {}, {"12_3": Verdict("exit", "FAILED")}) == ""


@pytest.mark.parametrize("state", ["held", "queued", "running", "suspended", "unknown"])
def test_what_the_queue_shows_is_in_flight(state: str) -> None:
    missing = Missing(0.0)
    queued = Queued("12_3", "x", state)  # type: ignore[arg-type]  # one of the states
    for now_s in (0.0, 100.0):
        assert judge(missing, FLIGHT, now_s, queued) == []


def test_what_is_nowhere_is_lost_only_after_two_looks_some_time_apart() -> None:
    missing = Missing(15.0)
    assert judge(missing, FLIGHT, 0.0) == []
    assert missing.waiting
    assert judge(missing, FLIGHT, 44.0) == []
    assert judge(missing, FLIGHT, 45.0) == [Finding(7, "map n=3", "lost")]


def test_what_accounting_calls_alive_or_says_nothing_of_is_not_lost_soon() -> None:
    missing = Missing(15.0)
    alive = Verdict("alive", "RUNNING")
    for now_s in (0.0, 60.0, 600.0):
        assert judge(missing, FLIGHT, now_s, verdict=alive) == []
    assert missing.judge([FLIGHT], {}, {}, 800.0, {FLIGHT.id}) == []
    (finding,) = judge(missing, FLIGHT, 900.0, verdict=alive)
    assert (finding.kind, finding.said) == ("lost", "")


def test_what_is_held_for_ever_has_failed() -> None:
    verdict = Verdict("launch", "state Eqw")
    held = Queued("12_3", "x", "held", "Eqw", verdict=verdict)
    (finding,) = judge(Missing(0.0), FLIGHT._replace(began=False), 0.0, held)
    assert (finding.kind, finding.failure) == ("failed", "launch")


def test_what_comes_back_was_never_lost() -> None:
    missing = Missing(15.0)
    assert judge(missing, FLIGHT, 0.0) == []
    assert judge(missing, FLIGHT, 10.0, Queued("12_3", "x", "running")) == []
    assert judge(missing, FLIGHT, 20.0) == []
    assert judge(missing, FLIGHT, 34.0) == []


@pytest.mark.parametrize("failure", ["oom", "timeout", "node", "preempted", "signal", "exit"])
def test_a_failure_is_of_the_class_that_accounting_tells(failure: str) -> None:
    missing = Missing(5.0)
    verdict = Verdict(failure, "SAID", began=True)
    assert judge(missing, FLIGHT, 0.0, verdict=verdict) == []  # its receipt may be on its way
    (finding,) = judge(missing, FLIGHT, 5.0, verdict=verdict)
    assert finding == Finding(7, "map n=3", "failed", failure, "SAID", verdict)


def test_a_runner_that_never_said_that_it_began_was_not_launched() -> None:
    missing = Missing(0.0)
    verdict = Verdict("exit", "FAILED 127:0", began=True, exit_code=127)
    (finding,) = judge(missing, FLIGHT._replace(began=False), 0.0, verdict=verdict)
    assert (finding.kind, finding.failure) == ("failed", "launch")


def test_what_can_never_run_waits_for_hpcmake_again() -> None:
    verdict = Verdict("unmet", "DependencyNeverSatisfied", began=False)
    (finding,) = judge(Missing(15.0), FLIGHT._replace(began=False), 0.0, verdict=verdict)
    assert finding.kind == "released"


def test_a_dependent_that_a_scheduler_deleted_without_a_trace_waits_for_hpcmake_again() -> None:
    missing = Missing(15.0)
    flight = FLIGHT._replace(began=False, edges=True)
    assert judge(missing, flight, 0.0) == []
    (finding,) = judge(missing, flight, 45.0)
    assert finding.kind == "released"


def test_success_by_accounting_alone_is_no_success() -> None:
    (finding,) = judge(Missing(0.0), FLIGHT, 0.0, verdict=Verdict("", "COMPLETED", began=True))
    assert finding.kind == "lost"


@pytest.mark.parametrize(
    ("failure", "kind"),
    [("", "cancelled"), ("exit", "cancelled"), ("preempted", "failed"), ("node", "failed")],
)
def test_why_a_runner_was_told_to_end_accounting_knows(failure: str, kind: str) -> None:
    flight = FLIGHT._replace(stopped="ended by SIGTERM")
    verdict = Verdict(failure, "SAID", began=True)
    (finding,) = judge(Missing(15.0), flight, 0.0, verdict=verdict)
    assert finding.kind == kind
    missing = Missing(15.0)
    assert judge(missing, flight, 0.0) == []
    (finding,) = judge(missing, flight, 15.0)
    assert (finding.kind, finding.said) == ("cancelled", "ended by SIGTERM")


def test_somebody_cancelled_it() -> None:
    verdict = Verdict("cancelled", "CANCELLED by 1000", began=True)
    (finding,) = judge(Missing(0.0), FLIGHT, 0.0, verdict=verdict)
    assert finding.kind == "cancelled"


def test_accounting_is_asked_only_for_what_left_the_queue() -> None:
    flights = [FLIGHT, FLIGHT._replace(id="12_4"), FLIGHT._replace(id="")]
    assert Missing(0.0).ids(flights, {"12_3": Queued("12_3", "x", "running")}) == ["12_4"]


def test_accounting_is_asked_where_the_queue_shows_an_end_and_not_which() -> None:
    ended = Queued("12_3", "x", "ended")
    assert Missing(0.0).ids([FLIGHT], {"12_3": ended}) == ["12_3"]
    missing = Missing(15.0)
    assert judge(missing, FLIGHT, 0.0, ended) == []
    (finding,) = judge(missing, FLIGHT, 20.0, ended)
    assert finding.kind == "lost"


def test_what_somebody_else_has_settled_is_waited_for_no_longer() -> None:
    missing = Missing(15.0)
    assert judge(missing, FLIGHT, 0.0) == []
    assert missing.judge([], {}, {}, 5.0) == []
    assert not missing.waiting
