"""Random projects, random edits: the planner agrees with a model of what is fresh.

HPCMAKE_CASES says how many projects are tried: 20,000 before a release, never the same ones; by
default 500, always the same ones.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, seed, settings
from hypothesis import strategies as st
from model import Ask, Runs
from random_project import Input, Project, RuleSpec, choices

from buildhpc import cli
from buildhpc.plan.choice import Choice
from buildhpc.project import open_project
from buildhpc.state.database import read_state

CASES = os.environ.get("HPCMAKE_CASES")
PARTS = 8
EDITS = (
    *("touch", "rewrite", "older", "undo", "delete", "by hand", "recipe", "params", "needs"),
    *("add input", "drop input", "forget"),
)
FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
NUMBER = st.integers(0, 50)


@dataclass(frozen=True)
class Build:
    """A build and the edits before it. target: which file is asked for; None: `all`."""

    edits: list[tuple[str, int, int]]
    target: int | None
    force: bool
    force_rule: int | None
    failing: frozenset[int]
    keep_going: bool


@st.composite
def rules(draw: st.DrawFn) -> list[RuleSpec]:
    found: list[RuleSpec] = []
    for number in range(draw(st.integers(2, 5))):
        wild = draw(st.booleans())
        free = choices(found, wild)
        picked = draw(st.lists(st.integers(0, len(free) - 1), max_size=3, unique=True))
        flags = [draw(st.sampled_from(["", "", "", "ancient", "content"])) for _ in picked]
        found.append(
            RuleSpec(
                name=f"r{number}",
                wild=wild,
                temp=tuple(draw(st.lists(st.booleans(), min_size=1, max_size=2))),
                # The later ones first: deep graphs are the interesting ones.
                inputs=tuple(Input(free[-1 - p], f) for p, f in zip(picked, flags, strict=True)),
                constant=draw(st.integers(0, 4)) == 4,
            )
        )
    return found


BUILDS = st.lists(
    st.builds(
        Build,
        edits=st.lists(st.tuples(st.sampled_from(EDITS), NUMBER, NUMBER), max_size=3),
        target=st.none() | NUMBER,
        force=st.integers(0, 7).map(lambda number: number == 7),
        force_rule=st.sampled_from([None] * 5 + [0, 1, 2, 3]),
        failing=st.sampled_from([()] * 3 + [(0,), (1,), (2,), (0, 3)]).map(frozenset),
        keep_going=st.booleans(),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("part", range(PARTS))
def test_the_planner_agrees_with_the_model(part: int) -> None:
    seed(part if CASES is None else random.randrange(1 << 32))(_agrees)()


@settings(
    max_examples=-(-int(CASES or 500) // PARTS),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(specs=rules(), builds=BUILDS, by_content=st.integers(0, 3).map(lambda n: n == 3))
def _agrees(specs: list[RuleSpec], builds: list[Build], by_content: bool) -> None:
    with _folder():
        project = Project(specs)
        for build in builds:
            for edit in build.edits:
                note(f"edit {edit}")
                project.edit(*edit)
            _step(project, build, by_content)
        _step(project, Build([], None, False, None, frozenset(), False), by_content)
        _at_rest(project, by_content)


def _step(project: Project, build: Build, by_content: bool) -> None:
    """One build: its plan, what it runs and what it leaves are those of the model."""
    if by_content or any(each.flag == "content" for rule in project.rules for each in rule.inputs):
        # Where a failure stops a build, nobody sees which jobs it had found not to be needed.
        build = replace(build, keep_going=True)
    words, choice, ask = _request(project, build, by_content)
    model, jobs = project.model, project.jobs()
    failing = _set_failing(project, build.failing)
    plan = model.plan(jobs, ask)
    names = [job.name for job in plan.jobs]
    note(f"hpcmake {words}; fails: {sorted(failing)}; planned: {names}")
    assert _planned(choice) == set(names)
    ran, code = _build(words)
    assert len(ran) == len(set(ran)), "a job ran twice"
    runs = Runs(failing, None if build.keep_going else ran)
    assert model.build(plan, jobs, ask, project.make, runs) == set(ran)
    assert code == (1 if failing & set(ran) else 0)
    _same_files(project)


def _request(project: Project, build: Build, by_content: bool) -> tuple[list[str], Choice, Ask]:
    """The same request as words for hpcmake, for the planner and for the model."""
    project.write_pipefile()
    paths = [path for rule in project.rules for path in rule.paths()]
    target = paths[build.target % len(paths)] if build.target is not None else None
    targets = frozenset([target] if target else project.tops())
    jobs = project.jobs()
    forced = {j.name for j in jobs if build.force and targets & set(j.outputs)}
    words = ["-q", *(["--force"] if build.force else []), *(["-k"] if build.keep_going else [])]
    words += ["--check", "content"] if by_content else []
    force_rules: tuple[str, ...] = ()
    if build.force_rule is not None and build.force_rule < len(project.rules):
        rule = project.rules[build.force_rule]
        force_rules = (rule.name,)
        words += ["--force-rule", rule.name]
        forced |= {job.name for job in rule.jobs()}
    words += [target] if target else []
    choice = Choice(
        targets=(target,) if target else (),
        force=build.force,
        force_rules=force_rules,
        content=by_content,
    )
    return words, choice, Ask(targets, frozenset(forced), by_content)


def _set_failing(project: Project, numbers: frozenset[int]) -> set[str]:
    """Have rules fail by a file that they look for; the names of their jobs."""
    failing = set()
    for number, rule in enumerate(project.rules):
        path = Path(f"fail-{rule.name}")
        if number in numbers:
            path.touch()
            failing |= {job.name for job in rule.jobs()}
        else:
            path.unlink(missing_ok=True)
    return failing


def _planned(choice: Choice) -> set[str]:
    """The first outputs of the jobs that hpcmake would run."""
    _, _, plan = open_project("Pipefile").plan(choice, read_state(Path.cwd()))
    return {step.job.outputs[0] for step in plan.steps}


def _build(words: list[str]) -> tuple[list[str], int]:
    """Run hpcmake; the first outputs of the jobs that ran, and its exit code."""
    log = Path("ran.log")
    log.unlink(missing_ok=True)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = cli.main(words)
    note(said.getvalue())
    return (log.read_text().split() if log.exists() else []), code


def _same_files(project: Project) -> None:
    """The files are those of the model; their times are taken over from the disk."""
    files = project.model.files
    there = {str(path) for path in Path("out").iterdir() if ".edited" not in path.name}
    assert there == {path for path in files if path.startswith("out/")}
    for path, file in files.items():
        assert Path(path).read_bytes() == file.data, path
        files[path] = replace(file, mtime_ns=Path(path).stat().st_mtime_ns)


def _at_rest(project: Project, by_content: bool) -> None:
    """After a build of everything nothing is left to do, and all is as a clean build makes it."""
    assert _planned(Choice(content=by_content)) == set()
    ran, code = _build(["--check", "content"] if by_content else [])
    assert (ran, code) == ([], 0)
    flags = {each.flag for rule in project.rules for each in rule.inputs}
    if project.pure and "ancient" not in flags:
        for path in project.tops():
            assert Path(path).read_bytes() == project.clean(path), path


@contextlib.contextmanager
def _folder() -> Iterator[None]:
    """A folder of its own, in memory where that is possible."""
    before = Path.cwd()
    folder = tempfile.mkdtemp(prefix="hpcmake-test-", dir=FAST)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        shutil.rmtree(folder)
