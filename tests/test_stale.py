"""Every rung of the ladder of reasons, from values alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from planning import graph_of, job_of

from buildhpc.plan.model import Job, Reason
from buildhpc.plan.stale import Evidence, edited_outputs, stale
from buildhpc.plan.stamps import SMALL, Record, Stamp, same_stamp

SECOND = 1_000_000_000
# Not at a whole second, nor at a whole microsecond.
OLD = Stamp(1_700_000_000_123_456_789, 10)
NEW = Stamp(1_700_000_100_123_456_789, 10)
MADE = Stamp(1_700_000_050_123_456_789, 20)
PIPEFILE = """\
rule map:
    output: "{s}.bam", "{s}.bai"
    input: "{s}.fq", ancient("ref.fa"), content("tiny.txt")
    shell: "make"
rule part:
    output: temp("{s}.tmp"), "{s}.log"
    input: "{s}.fq"
    shell: "make"
rule use:
    output: "{s}.sum"
    input: "{s}.tmp"
    shell: "make"
rule check:
    input: "{s}.bam" for s in ["a"]
    shell: "make"
rule all:
    input: "a.sum"
"""
DISK = {
    "a.fq": OLD,
    "ref.fa": OLD,
    "tiny.txt": OLD,
    "a.bam": MADE,
    "a.bai": MADE,
    "a.log": MADE,
    "a.sum": MADE,
}
RECORD = Record(
    "done",
    "",
    "recipe",
    ("a.fq", "ref.fa", "tiny.txt"),
    (OLD, OLD, OLD),
    ("a.bam", "a.bai"),
    (MADE, MADE),
    {"tiny.txt": "bytes"},
)
JOB = job_of(graph_of(PIPEFILE, "a.bam", there="a.fq ref.fa tiny.txt"), "map s=a")
GRAPH = graph_of(PIPEFILE, "a.sum", there="a.fq")
PART, USE = job_of(GRAPH, "part s=a"), job_of(GRAPH, "use s=a")


def evidence(
    disk: Mapping[str, Stamp | None] | None = None,
    record: Record | None = RECORD,
    job: Job = JOB,
    **more: Any,
) -> Evidence:
    """What a plan sees where nothing has changed, but for what is given."""
    now = {path: stamp for path, stamp in {**DISK, **(disk or {})}.items() if stamp is not None}
    found = Evidence(
        disk=now,
        records={job.name: record} if record else {},
        recipe=lambda _: "recipe",
        digest=lambda path: "bytes" if path in now else None,
        order_time=lambda path: now[path].mtime_ns,
        makers=GRAPH.maker,
    )
    return replace(found, **more)


def reason(found: Evidence, job: Job = JOB, remade: str | None = None) -> Reason | None:
    return stale(job, found, remade, "other" if remade else None)


def kind(found: Evidence, job: Job = JOB, remade: str | None = None) -> str | None:
    why = reason(found, job, remade)
    return why.kind if why else None


def test_what_is_as_it_was_is_fresh() -> None:
    assert reason(evidence()) is None


@pytest.mark.parametrize(
    ("disk", "text"),
    [
        ({"a.bai": None}, "`a.bai` does not exist"),
        ({"a.bam": None, "a.bai": None}, "`a.bam` does not exist"),
        ({"a.bai": None, "a.fq": NEW}, "`a.bai` does not exist"),
    ],
)
def test_a_missing_output_comes_first(disk: dict[str, Stamp | None], text: str) -> None:
    why = reason(evidence(disk))
    assert why is not None
    assert (why.kind, why.text) == ("missing-output", text)


@pytest.mark.parametrize(
    ("state", "kind_", "words"),
    [
        ("failed", "failed", "its last attempt failed: exit: exit code 3"),
        ("running", "unfinished", "never finished"),
        ("waiting", "unfinished", "about to run"),
        ("skipped", "unfinished", "something it needs failed"),
        ("cancelled", "unfinished", "was cancelled"),
        ("reset", "unfinished", "was reset"),
        ("lost", "unfinished", "never finished"),
    ],
)
def test_an_attempt_that_did_not_succeed_runs_again(state: str, kind_: str, words: str) -> None:
    why = reason(evidence(record=RECORD._replace(state=state, failure="exit: exit code 3")))
    assert why is not None
    assert why.kind == kind_
    assert words in why.text


@pytest.mark.parametrize(
    "stamp",
    [
        NEW,
        OLD._replace(mtime_ns=OLD.mtime_ns - 1),
        OLD._replace(mtime_ns=OLD.mtime_ns + 1),
        OLD._replace(mtime_ns=0, size=11),
        OLD._replace(mtime_ns=-OLD.mtime_ns),
        OLD._replace(size=11),
    ],
)
def test_an_input_with_any_other_stamp_has_changed(stamp: Stamp) -> None:
    why = reason(evidence({"a.fq": stamp}))
    assert why is not None
    assert (why.kind, why.path) == ("input-changed", "a.fq")
    assert why.old != why.new or stamp.size == OLD.size


def test_an_ancient_input_may_change() -> None:
    assert reason(evidence({"ref.fa": NEW})) is None


def test_an_input_compared_by_content_changes_with_its_bytes_only() -> None:
    touched = evidence({"tiny.txt": NEW})
    assert reason(touched) is None
    assert kind(replace(touched, digest=lambda _: "others")) == "input-changed"
    # Of an input whose bytes were never read, the stamp decides.
    assert kind(evidence({"tiny.txt": NEW}, RECORD._replace(hashes={}))) == "input-changed"


def test_all_inputs_may_be_compared_by_content() -> None:
    record = RECORD._replace(hashes={"a.fq": "bytes", "tiny.txt": "bytes"})
    assert kind(evidence({"a.fq": NEW}, record)) == "input-changed"
    assert kind(evidence({"a.fq": NEW}, record, content=True)) is None


def test_an_edit_within_the_tick_of_the_clock_shows_by_its_bytes() -> None:
    record = RECORD._replace(hashes={"a.fq": "other bytes", "tiny.txt": "bytes"})
    why = reason(evidence(record=record))
    assert why is not None
    assert (why.kind, why.path) == ("input-changed", "a.fq")
    assert "tick" in why.text


def test_a_large_file_with_the_stamp_it_had_is_not_read() -> None:
    large = Stamp(OLD.mtime_ns, SMALL + 1)
    record = RECORD._replace(input_stamps=(OLD, OLD, large))
    found = evidence({"tiny.txt": large}, record, digest=lambda path: pytest.fail(path))
    assert reason(found) is None


@pytest.mark.parametrize(
    ("old_ns", "new_ns", "same"),
    [
        (5, 5, True),
        (5, 6, False),
        (5 * SECOND + 123_456_789, 5 * SECOND, True),  # cut off to seconds
        (5 * SECOND, 5 * SECOND + 123_456_789, True),
        (5 * SECOND + 123_456_789, 5 * SECOND + 123_456_000, True),  # to microseconds
        (5 * SECOND + 123_456_789, 5 * SECOND + 123_457_000, False),
        (5 * SECOND + 123_456_789, 6 * SECOND, False),
        (-5 * SECOND, -5 * SECOND + 1, True),
    ],
)
def test_times_may_be_cut_off(old_ns: int, new_ns: int, same: bool) -> None:
    assert same_stamp(Stamp(old_ns, 1), Stamp(new_ns, 1)) is same
    assert not same_stamp(Stamp(old_ns, 1), Stamp(new_ns, 2))


def test_another_recipe_runs() -> None:
    assert kind(evidence(recipe=lambda _: "another")) == "recipe-changed"
    assert kind(evidence({"a.fq": NEW}, recipe=lambda _: "another")) == "input-changed"


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (("a.fq", "ref.fa"), "`tiny.txt` is new among its inputs"),
        (("a.fq", "ref.fa", "tiny.txt", "x"), "`x` is no longer among its inputs"),
        (("x", "y"), "`a.fq` and 2 more are new among its inputs"),
        (("ref.fa", "a.fq", "tiny.txt"), "its inputs stand in another order"),
    ],
)
def test_another_set_of_inputs_runs(inputs: tuple[str, ...], words: str) -> None:
    record = RECORD._replace(inputs=inputs, input_stamps=(OLD,) * len(inputs))
    why = reason(evidence(record=record))
    assert why is not None
    assert (why.kind, why.text) == ("inputs-differ", words)


def test_a_job_runs_after_one_that_makes_its_input_anew_and_when_forced() -> None:
    assert kind(evidence(), remade="a.fq") == "upstream"
    assert kind(evidence(forced={"map s=a"})) == "forced"
    assert kind(evidence(forced={"map s=a"}), remade="a.fq") == "upstream"


def test_an_output_changed_by_hand_is_no_reason() -> None:
    found = evidence({"a.bam": NEW})
    assert reason(found) is None
    assert edited_outputs(JOB, RECORD, found) == ["a.bam"]
    assert edited_outputs(JOB, RECORD, evidence()) == []
    assert edited_outputs(JOB, RECORD._replace(state="failed"), found) == []


def test_an_output_that_lost_bytes_is_made_anew_and_nobody_s_edit() -> None:
    found = evidence({"a.bam": MADE._replace(size=0)})
    assert kind(found) == "damaged-output"
    assert edited_outputs(JOB, RECORD, found) == []


@pytest.mark.parametrize(
    "new",
    [
        MADE._replace(size=21),  # somebody added to it within the clock's tick
        MADE._replace(size=0, mtime_ns=MADE.mtime_ns + 1),
        MADE._replace(size=0, mtime_ns=MADE.mtime_ns - 1),
    ],
)
def test_an_output_of_another_time_or_with_more_bytes_was_changed_by_hand(new: Stamp) -> None:
    found = evidence({"a.bam": new})
    assert reason(found) is None
    assert edited_outputs(JOB, RECORD, found) == ["a.bam"]


def test_where_times_are_whole_seconds_fewer_bytes_may_be_an_edit() -> None:
    coarse = Stamp(MADE.mtime_ns // SECOND * SECOND, 20)
    record = RECORD._replace(output_stamps=(coarse, MADE))
    found = evidence({"a.bam": coarse._replace(size=0)}, record=record)
    assert reason(found) is None
    assert edited_outputs(JOB, record, found) == ["a.bam"]


def test_an_output_that_another_rule_made_last_is_made_anew() -> None:
    found = evidence({"a.bam": NEW}, maker=lambda path: "call s=a" if path == "a.bam" else None)
    why = reason(found)
    assert why is not None
    assert (why.kind, why.old) == ("other-rule", "call s=a")


def test_a_renamed_rule_keeps_what_it_made() -> None:
    found = evidence(record=None, maker=lambda _: "old s=a")
    assert kind(replace(found, records={"old s=a": RECORD})) is None
    changed = replace(found, records={"old s=a": RECORD}, disk={**found.disk, "a.fq": NEW})
    assert kind(changed) == "input-changed"
    other = RECORD._replace(recipe="another")
    assert kind(replace(found, records={"old s=a": other})) == "other-rule"
    assert kind(found) == "other-rule"


@pytest.mark.parametrize(
    ("disk", "kind_"),
    [
        ({}, None),
        ({"a.fq": NEW}, "newer-input"),
        ({"a.fq": MADE}, None),  # as old as its output: fresh
        ({"a.fq": MADE._replace(mtime_ns=MADE.mtime_ns + 1)}, "newer-input"),
        ({"ref.fa": NEW}, None),  # ancient
        ({"a.bai": OLD._replace(mtime_ns=1)}, "newer-input"),  # the oldest output counts
    ],
)
def test_without_a_record_the_order_of_times_decides(
    disk: dict[str, Stamp | None], kind_: str | None
) -> None:
    assert kind(evidence(disk, None)) == kind_


def test_without_a_record_a_temp_file_that_is_gone_is_as_old_as_its_sources() -> None:
    assert kind(evidence(record=None, job=USE), USE) is None
    assert kind(evidence({"a.fq": NEW}, None, USE), USE) == "newer-input"


PART_RECORD = Record("done", "", "recipe", ("a.fq",), (OLD,), ("a.tmp", "a.log"), (MADE, MADE), {})
USE_RECORD = Record("done", "", "recipe", ("a.tmp",), (MADE,), ("a.sum",), (MADE,), {})


def test_a_temp_file_may_be_gone_unless_it_is_asked_for() -> None:
    found = evidence(record=PART_RECORD, job=PART)
    assert kind(found, PART) is None
    assert kind(replace(found, targets={"a.tmp"}), PART) == "missing-output"
    assert kind(evidence({"a.log": None}, PART_RECORD, PART), PART) == "missing-output"


def test_a_temp_file_that_is_gone_is_compared_as_its_job_left_it() -> None:
    found = evidence(job=USE)
    records = {"part s=a": PART_RECORD, "use s=a": USE_RECORD}
    assert kind(replace(found, records=records), USE) is None
    anew = PART_RECORD._replace(output_stamps=(NEW, MADE))
    why = reason(replace(found, records={**records, "part s=a": anew}), USE)
    assert why is not None
    assert (why.kind, why.path) == ("input-changed", "a.tmp")
    same_bytes = {
        "part s=a": anew._replace(hashes={"a.tmp": "bytes"}),
        "use s=a": USE_RECORD._replace(hashes={"a.tmp": "bytes"}),
    }
    assert kind(replace(found, records=same_bytes, content=True), USE) is None


def test_a_rule_without_outputs_runs_whenever_it_is_asked_for() -> None:
    job = job_of(graph_of(PIPEFILE, "check", there="a.fq ref.fa tiny.txt"), "check")
    assert kind(evidence(job=job), job) == "always"
    assert kind(evidence(job=job), job, remade="a.bam") == "upstream"


def test_a_rule_that_only_names_its_inputs_never_runs() -> None:
    job = graph_of(PIPEFILE, "all", there="a.fq").roots[0]
    assert kind(evidence(), job, remade="a.sum") is None
    assert kind(evidence(forced={"all"}), job) is None
