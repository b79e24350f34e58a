"""The plan of a cluster run as a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildhpc.diagnostics import HpcmakeError, render
from buildhpc.state.plan_file import PlannedJob, plan_path, read_plan, read_planned, write_plan


def planned(number: int, **more: Any) -> dict[str, Any]:
    spec = {"name": f"map sample=s{number}", "rule": "map", "attempt": 1, "inputs": ["a", "b"]}
    return {
        "job": spec["name"],
        "rule": "map",
        "after": [],
        "cluster": "gpu",
        "attempts": [{"spec": spec, "request": {"cores": 2}}],
        "recipe": "d" * 32,
        **more,
    }


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    second = planned(1, after=[0], priority=7, retries={"": 2, "oom": 1}, batch=4)
    third = planned(2, group="call", temp=["t"], uses_temp=[[0, "x"], [None, "y"]], attempts=None)
    write_plan(tmp_path, 5, [planned(0), second, third])
    jobs = read_plan(tmp_path, 5)
    assert [job.job for job in jobs] == [f"map sample=s{number}" for number in range(3)]
    assert jobs[0] == PlannedJob(
        0, "map sample=s0", "map", (), "gpu", 0, {}, (None, None), False, (), (), jobs[0].rest
    )
    assert jobs[1].after == (0,)
    assert (jobs[1].priority, jobs[1].batch, jobs[1].group) == (7, 4, None)
    assert jobs[2].deferred
    assert jobs[2].attempt(1) is None
    assert (jobs[2].batch, jobs[2].group) == (None, "call")
    assert (jobs[2].temp, jobs[2].uses_temp) == (("t",), ((0, "x"), (None, "y")))
    assert jobs[0].details()["recipe"] == "d" * 32
    assert [path.name for path in (tmp_path / "run-5").iterdir()] == ["plan.jsonl"]


def test_one_line_is_read_without_the_others(tmp_path: Path) -> None:
    write_plan(tmp_path, 5, [planned(number) for number in range(4)])
    whole = read_plan(tmp_path, 5)
    assert [read_planned(tmp_path, 5, number) for number in range(4)] == whole
    path = plan_path(tmp_path, 5)
    content = path.read_bytes().replace(b"s1", b"\xff\xff")
    path.write_bytes(content)
    assert read_planned(tmp_path, 5, 3) == whole[3]


def test_the_last_attempt_that_is_written_serves_all_later_ones(tmp_path: Path) -> None:
    attempts = [{"spec": {"mem": n, "attempt": n}, "request": {"mem": n}} for n in (1, 2)]
    write_plan(tmp_path, 5, [planned(0, attempts=attempts)])
    (job,) = read_plan(tmp_path, 5)
    assert job.attempt(1) == {"spec": {"mem": 1, "attempt": 1}, "request": {"mem": 1}}
    assert job.attempt(4) == {"spec": {"mem": 2, "attempt": 4}, "request": {"mem": 2}}


@pytest.mark.parametrize(
    ("retries", "failure", "attempts", "again"),
    [
        ({}, "exit", 1, False),
        ({"": 2}, "exit", 2, True),
        ({"": 2}, "exit", 3, False),
        ({"": 2, "oom": 1}, "oom", 2, False),
        ({"oom": 1}, "exit", 1, False),
        ({"oom": 1}, "oom", 1, True),
    ],
)
def test_the_class_of_a_failure_decides_whether_it_is_tried_again(
    retries: dict[str, int], failure: str, attempts: int, again: bool, tmp_path: Path
) -> None:
    write_plan(tmp_path, 5, [planned(0, retries=retries)])
    assert read_plan(tmp_path, 5)[0].may_retry(failure, attempts) is again


names = st.text(min_size=1, max_size=30) | st.sampled_from(
    [', "rest": ', ',"rest":', "\n", "\udcff.bam", '{"rest": 1}']
)


@given(st.lists(names, min_size=1, max_size=4), names)
@settings(max_examples=100, deadline=None)
def test_any_name_and_any_text_is_kept(jobs: list[str], text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        written = [planned(0, job=job, temp=[job], text=text, retries={text: 1}) for job in jobs]
        write_plan(Path(folder), 2, written)
        found = read_plan(Path(folder), 2)
    assert [(job.job, job.temp) for job in found] == [(job, (job,)) for job in jobs]
    assert {job.details()["text"] for job in found} == {text}
    assert all(job.retries == {text: 1} for job in found)


def test_a_plan_that_is_gone_is_told_with_the_way_out(tmp_path: Path) -> None:
    for read in (lambda: read_plan(tmp_path, 5), lambda: read_planned(tmp_path, 5, 0)):
        with pytest.raises(HpcmakeError) as error:
            read()
        assert render(error.value.problems[0]) == (
            f"error[run-plan-missing]: cannot read the plan `{tmp_path}/run-5/plan.jsonl` of run 5:"
            " no such file or directory\n"
            " = note: nothing more of that run can be submitted without it\n"
            " = help: `hpcmake cancel --run 5` gives the run up; what is done stays done,"
            " and the next build makes the rest"
        )


def test_a_damaged_plan_is_never_half_believed(tmp_path: Path) -> None:
    write_plan(tmp_path, 5, [planned(number) for number in range(3)])
    path = plan_path(tmp_path, 5)
    good = path.read_bytes()
    for at in range(0, len(good), 7):
        path.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        with pytest.raises(HpcmakeError, match="is damaged"):
            read_plan(tmp_path, 5)
    for length in range(0, len(good), 50):
        path.write_bytes(good[:length])
        with pytest.raises(HpcmakeError):
            read_plan(tmp_path, 5)
    path.write_bytes(good)
    os.rename(tmp_path / "run-5", tmp_path / "run-6")
    with pytest.raises(HpcmakeError) as error:
        read_plan(tmp_path, 6)
    assert "= note: it is of run 5" in render(error.value.problems[0])
