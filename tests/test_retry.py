"""`hpcmake retry`: what it takes over from the run that had the jobs."""

from __future__ import annotations

import pytest
from conftest import Pipe

from buildhpc.state import queries
from buildhpc.state.database import read_state

FAILING = """\
rule a:
    output: "a"
    shell: "test -e ok; touch a"
"""


@pytest.mark.parametrize(("words", "jobs"), [("-j", 0), ("-j 2", 2), ("", 1)])
def test_a_retry_uses_as_many_cores_as_the_run_before(pipe: Pipe, words: str, jobs: int) -> None:
    pipe.write("Pipefile", FAILING)
    pipe.check(f"-q {words}", code=1)
    pipe.write("ok")
    pipe.check("retry -q")
    state = read_state(pipe.folder)
    assert state is not None
    told = [(run.status, run.options["jobs"]) for run in queries.runs(state)]
    assert told == [("failed", jobs), ("done", jobs)]
