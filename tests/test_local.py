"""The local executor, with real bash, real processes, real signals.

Run as a program, this file is a small build of its own, for the tests that signal or kill it:
`python test_local.py PLAN.json` in the working folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from buildhpc.diagnostics import HpcmakeError, Problem
from buildhpc.run import orphans, outputs
from buildhpc.run.attempts import Timing
from buildhpc.run.events import Ended, Event, Skipped, Started, Tick, Unneeded
from buildhpc.run.local import LocalExecutor
from buildhpc.run.machine import Limits
from buildhpc.run.recipes import Place
from buildhpc.run.spec import JobSpec, Needs, Outcome, OutputFile, Recipe


@dataclass
class Jobs:
    """A plan of shell jobs; the executor's `Work`."""

    specs: list[JobSpec] = field(default_factory=list)
    afters: list[tuple[int, ...]] = field(default_factory=list)
    priorities: dict[int, int] = field(default_factory=dict)
    retried: dict[str, int] = field(default_factory=dict)
    foreigners: set[int] = field(default_factory=set)
    fresh: set[int] = field(default_factory=set)

    def add(
        self,
        name: str,
        text: str = "",
        made: Iterable[str] = (),
        after: Iterable[int] = (),
        **more: Any,
    ) -> int:
        words = [each.split("|") for each in made]
        files = tuple(OutputFile(path, tuple(flags)) for path, *flags in words)
        recipe = Recipe("shell" if text else "none", text)
        self.specs.append(JobSpec(name, name, 1, (), files, recipe, **more))
        self.afters.append(tuple(after))
        return len(self.specs) - 1

    @property
    def count(self) -> int:
        return len(self.specs)

    def after(self, task: int) -> Iterable[int]:
        return self.afters[task]

    def name(self, task: int) -> str:
        return self.specs[task].name

    def priority(self, task: int) -> int:
        return self.priorities.get(task, 0)

    def needs(self, task: int, attempt: int) -> Needs:
        del attempt
        return self.specs[task].needs

    def foreign(self, task: int) -> bool:
        return task in self.foreigners

    def still_needed(self, task: int) -> bool:
        return task not in self.fresh

    def spec(self, task: int, attempt: int) -> JobSpec:
        spec = self.specs[task]
        if spec.name == "impossible":
            raise HpcmakeError(Problem("no-such-thing", "no table `samples.tsv`"))
        changes = {"attempt": attempt, "token": f"r1.{task}.{attempt}"}
        return JobSpec(**{name: getattr(spec, name) for name in spec.__slots__} | changes)

    def before_start(self, task: int, spec: JobSpec) -> None:
        pass

    def retries(self, task: int, failure: str, attempts: int) -> bool:
        del task
        return attempts <= self.retried.get(failure, 0)


def executor(work: Jobs, cores: int = 4, **more: Any) -> LocalExecutor:
    Path(".scratch").mkdir(exist_ok=True)
    marker = f"test{os.getpid()}:{time.monotonic_ns()}"
    limits = more.pop("limits", Limits(cores))
    return LocalExecutor(work, limits, Place(".scratch", marker), **more)


def run(work: Jobs, cores: int = 4, **more: Any) -> list[Event]:
    """Run a plan; all events besides ticks."""
    events = executor(work, cores, **more).run()
    return [event for event in events if not isinstance(event, Tick)]


def ends(events: Iterable[Event]) -> dict[str, Outcome]:
    """Job -> its last outcome."""
    return {event.job: event.outcome for event in events if isinstance(event, Ended)}


_USUAL = Timing()


def only(text: str, made: Iterable[str] = (), timing: Timing = _USUAL, **more: Any) -> Outcome:
    """The outcome of a single job."""
    work = Jobs()
    work.add("job", text, made, **more)
    return ends(run(work, timing=timing))["job"]


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Poll for a condition; its value once it holds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError("what was waited for did not happen")


def alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text[text.rindex(")") + 2] not in "ZX"


def pids_in(*names: str) -> list[int]:
    return [int(Path(name).read_text()) for name in names]


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# What runs, in which order.


def test_jobs_run_in_the_order_of_what_they_need() -> None:
    work = Jobs()
    a = work.add("a", "echo a > out/deep/a", ["out/deep/a"])
    b = work.add("b", "cat out/deep/a > b; echo b >> b", ["b"], [a])
    work.add("c", "cat b out/deep/a > c", ["c"], [a, b])
    events = run(work)
    told = [(type(event).__name__, event.job) for event in events if not isinstance(event, Tick)]
    assert told == [(kind, job) for job in "abc" for kind in ("Started", "Ended")]
    assert Path("c").read_text() == "a\nb\na\n"
    assert [outcome.state for outcome in ends(events).values()] == ["done"] * 3
    assert list(Path(".scratch").iterdir()) == []


def test_what_a_job_prints_is_in_its_log_and_silent_jobs_leave_none() -> None:
    loud = only("echo out; echo err >&2")
    assert loud.log
    assert Path(loud.log).read_text() == "out\nerr\n"
    assert only("true").log is None


def test_each_loud_job_has_a_log_of_its_own() -> None:
    work = Jobs()
    for number in range(20):
        work.add(f"j{number}", f"echo {number}" if number % 3 else "true")
    logs = {job: outcome.log for job, outcome in ends(run(work, 2)).items()}
    for job, log in logs.items():
        number = int(job[1:])
        assert (Path(log).read_text() if log else "") == (f"{number}\n" if number % 3 else "")


def test_the_log_of_the_user_is_started_anew_by_each_attempt() -> None:
    Path("logs").mkdir()
    Path("logs/a.txt").write_text("old\n")
    outcome = only("echo new", log="logs/a.txt")
    assert outcome.log == "logs/a.txt"
    assert Path("logs/a.txt").read_text() == "new\n"


def test_a_log_the_recipe_writes_itself_is_left_to_it() -> None:
    outcome = only("echo mine > logs/own.txt; echo rest", log="logs/own.txt", own_log=True)
    assert Path("logs/own.txt").read_text() == "mine\n"
    assert outcome.log
    assert Path(outcome.log).read_text() == "rest\n"


def test_priority_decides_among_ready_jobs() -> None:
    work = Jobs()
    for number in range(4):
        work.add(f"j{number}", f"echo {number} >> order")
    work.priorities = {2: 10, 3: 5}
    run(work, 1)
    assert Path("order").read_text().split() == ["2", "3", "0", "1"]


def test_cores_and_user_resources_are_never_exceeded() -> None:
    work = Jobs()
    for number in range(30):
        needs = Needs(1 + number % 2, resources=(("licence", 1 + number % 3),))
        work.add(
            f"j{number}",
            f"echo begin {number} >> times; sleep 0.0$((RANDOM % 5)); echo end {number} >> times",
            needs=needs,
        )
    run(work, limits=Limits(4, resources={"licence": 4}))
    cores = licences = most = 0
    for line in Path("times").read_text().splitlines():
        kind, job = line.split()
        sign = 1 if kind == "begin" else -1
        cores += sign * (1 + int(job) % 2)
        licences += sign * (1 + int(job) % 3)
        most = max(most, cores)
        assert cores <= 4
        assert licences <= 4
    assert cores == 0
    assert most > 1


def test_gpus_are_given_out_one_by_one() -> None:
    work = Jobs()
    for number in range(3):
        work.add(f"g{number}", "echo $CUDA_VISIBLE_DEVICES; sleep 0.2", needs=Needs(gpus=1))
    work.add("none", "echo ${CUDA_VISIBLE_DEVICES-unset}")
    outcomes = ends(run(work, limits=Limits(8, gpus=("4", "7", "9"))))
    seen = {job: Path(outcome.log or "").read_text().strip() for job, outcome in outcomes.items()}
    assert sorted(seen[f"g{number}"] for number in range(3)) == ["4", "7", "9"]
    assert seen["none"] == os.environ.get("CUDA_VISIBLE_DEVICES", "unset")


def test_a_job_that_wants_more_cores_than_there_are_sees_what_it_got() -> None:
    outcome = only("echo $HPCMAKE_CORES", needs=Needs(cores=64))
    assert Path(outcome.log or "").read_text() == "4\n"


def test_needs_that_can_never_be_met_fail_the_job() -> None:
    outcome = only("true", needs=Needs(gpus=1))
    assert (outcome.state, outcome.failure) == ("failed", "launch")
    assert outcome.message == "it needs more GPUs (1) than there is (0)"


def test_a_long_chain_and_a_wide_gather_take_seconds() -> None:
    chain = Jobs()
    for number in range(10_000):
        chain.add(f"c{number}", after=[number - 1] if number else [])
    gather = Jobs()
    for number in range(50_000):
        gather.add(f"g{number}")
    gather.add("all", after=range(50_000))
    start = time.process_time()
    assert len(ends(run(chain))) == 10_000
    assert list(ends(run(gather)))[-1] == "all"
    assert time.process_time() - start < 10


# Failing.


def test_the_first_failure_starts_nothing_new_and_lets_what_runs_finish() -> None:
    work = Jobs()
    work.add("bad", "while [ ! -e started ]; do sleep 0.01; done; exit 3")
    work.add("slow", ": > started; sleep 0.3; echo x > slow", ["slow"])
    work.add("next", ": > next", ["next"])
    work.add("needs bad", ": > never", ["never"], [0])
    make = executor(work, 2)
    events = list(make.run())
    assert make.failed
    outcomes = ends(events)
    assert outcomes["bad"].message == "exit code 3"
    assert outcomes["slow"].state == "done"
    assert set(outcomes) == {"bad", "slow"}
    assert [event for event in events if isinstance(event, Skipped)] == [
        Skipped("needs bad", "bad")
    ]


def test_keep_going_does_all_that_does_not_depend_on_the_failed_job() -> None:
    work = Jobs()
    bad = work.add("bad", "exit 1")
    good = work.add("good", "true")
    after_bad = work.add("after bad", "true", after=[bad, good])
    work.add("after that", "true", after=[after_bad, bad])
    work.add("after good", "true", after=[good])
    events = run(work, keep_going=True)
    assert {job: outcome.state for job, outcome in ends(events).items()} == {
        "bad": "failed",
        "good": "done",
        "after good": "done",
    }
    skipped = [event for event in events if isinstance(event, Skipped)]
    assert sorted(event.job for event in skipped) == ["after bad", "after that"]
    assert {event.because for event in skipped} == {"bad"}


def test_a_chain_of_10_000_is_skipped_without_recursion() -> None:
    work = Jobs()
    work.add("bad", "exit 1")
    for number in range(10_000):
        work.add(f"c{number}", after=[number])
    events = run(work)
    assert sum(isinstance(event, Skipped) for event in events) == 10_000


def test_a_job_is_tried_again_as_often_as_its_failure_allows() -> None:
    work = Jobs(retried={"exit": 2})
    work.add("job", "echo $HPCMAKE_ATTEMPT >> tries; [ $HPCMAKE_ATTEMPT = 3 ] && : > x", ["x"])
    events = run(work)
    told = [(e.retry, e.outcome.state) for e in events if isinstance(e, Ended)]
    assert told == [(True, "failed"), (True, "failed"), (False, "done")]
    assert Path("tries").read_text().split() == ["1", "2", "3"]


def test_a_failure_that_is_not_retried_counts() -> None:
    work = Jobs(retried={"timeout": 5})
    work.add("job", "exit 1")
    make = executor(work)
    assert [event.retry for event in make.run() if isinstance(event, Ended)] == [False]
    assert make.failed


def test_needs_that_cannot_be_computed_fail_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    def needs(*_: object) -> Needs:
        raise HpcmakeError(Problem("no-file", "no file `x` to take the size of"))

    monkeypatch.setattr(Jobs, "needs", needs)
    outcome = only("true")
    assert (outcome.failure, outcome.message) == ("launch", "no file `x` to take the size of")


def test_a_job_whose_spec_cannot_be_made_fails_by_its_message() -> None:
    work = Jobs()
    work.add("impossible", "true")
    work.add("other", "true")
    outcomes = ends(run(work, keep_going=True))
    assert outcomes["impossible"].failure == "launch"
    assert outcomes["impossible"].message == "no table `samples.tsv`"
    assert outcomes["other"].state == "done"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("false | true", "exit code 1"),
        ("echo $unset_name", "exit code 1"),
        ("no-such-command", "exit code 127: a command was not found"),
        (
            "(kill -SEGV $BASHPID); exit $?",
            "exit code 139: a process of the job was ended by SIGSEGV",
        ),
        ("exit 200", "exit code 200"),
        ("echo a\0b", "cannot start `/usr/bin/bash`: embedded null byte"),
    ],
)
def test_how_a_recipe_fails_is_told(text: str, message: str) -> None:
    outcome = only(text)
    assert outcome.message.replace("`/bin/", "`/usr/bin/") == message
    assert outcome.failure == ("launch" if "start" in message else "exit")


def test_a_job_killed_from_outside_fails_and_its_outputs_go() -> None:
    work = Jobs()
    work.add("killed", "echo half > x; echo $$ > pid; sleep 1000", ["x"])
    work.add("other", "while [ ! -e ended ]; do sleep 0.01; done; : > y", ["y"])
    outcomes: dict[str, Outcome] = {}
    for event in executor(work).run():
        if isinstance(event, Tick) and Path("pid").exists() and "killed" not in outcomes:
            os.kill(int(Path("pid").read_text()), signal.SIGKILL)
        if isinstance(event, Ended):
            outcomes[event.job] = event.outcome
            Path("ended").touch()
    killed = outcomes["killed"]
    assert (killed.failure, killed.signal) == ("signal", signal.SIGKILL)
    assert killed.message == "ended by SIGKILL from outside"
    assert not Path("x").exists()
    assert outcomes["other"].state == "done"


def test_a_killed_process_of_a_job_fails_the_job() -> None:
    outcome = only("sleep 1000 & kill -9 $!; wait $!")
    assert (outcome.failure, outcome.exit_code) == ("exit", 137)


def test_the_time_limit_ends_the_whole_group() -> None:
    start = time.monotonic()
    outcome = only(
        "echo x > x; sleep 1000 &\ntrap '' TERM; echo $$ > stubborn; while :; do sleep 0.1; done",
        ["x"],
        Timing(over_s=0.5),
        needs=Needs(time_s=1),
    )
    assert outcome.failure == "timeout"
    assert outcome.message == "it ran longer than its `time` of 1.0 s"
    assert 1 <= time.monotonic() - start < 5
    assert not alive(*pids_in("stubborn"))
    assert not Path("x").exists()


def test_a_command_under_timeout_does_not_outlive_the_job() -> None:
    # GNU timeout makes a process group of its own.
    outcome = only("timeout 900 bash -c 'echo $$ > pid; sleep 900; :'; true", needs=Needs(time_s=1))
    assert outcome.failure == "timeout"
    assert not alive(*pids_in("pid"))


def test_a_job_may_end_well_within_its_time() -> None:
    assert only("sleep 0.3", needs=Needs(time_s=5)).state == "done"


def test_a_job_that_reads_from_the_terminal_is_told_that_there_is_none() -> None:
    work = Jobs()
    work.add("asks", "read answer < /dev/tty; echo $answer")
    pid, master = pty.fork()
    if not pid:
        outcome = ends(run(work))["asks"]
        Path("message").write_text(f"{outcome.failure}: {outcome.message}")
        os._exit(0)
    wait_for(Path("message").exists)
    with contextlib.suppress(OSError):
        os.close(master)
    os.waitpid(pid, 0)
    assert Path("message").read_text().startswith("signal: it waits for the terminal")


# Outputs.


def test_an_output_that_is_not_made_fails_with_what_is_there() -> None:
    Path("out").mkdir()
    for name in ("zebra.tsv", "notes.md", "b.csv"):
        Path("out", name).touch()
    outcome = only(": > out/A.txt", ["out/a.txt"])
    assert outcome.failure == "missing-output"
    assert outcome.message == (
        "the recipe ended well, but `out/a.txt` was not made; "
        "`out` holds `A.txt`, `b.csv`, `notes.md`, `zebra.tsv`"
    )


def test_a_link_to_nothing_is_no_output() -> None:
    outcome = only("ln -s gone x", ["x"])
    assert outcome.message == "`x` is a link to `gone`, which is not there"
    assert not Path("x").is_symlink()


@pytest.mark.parametrize(
    ("text", "made", "message"),
    [
        ("mkdir x", "x", "`x` is a folder; an output that is one is declared `directory`"),
        (": > x", "x|directory", "`x` is declared `directory`, but the recipe made a file"),
        (": > x", "x|nonempty", "`x` is empty"),
        ("rm -r d", "d/x", "`d/x` was not made, and the folder `d` is gone"),
        (
            ": > x",
            "x|atomic",
            "`x` is `atomic`, but the recipe wrote it by that name, not by that of `output`",
        ),
    ],
)
def test_outputs_that_are_not_as_declared(text: str, made: str, message: str) -> None:
    outcome = only(text, [made])
    assert (outcome.failure, outcome.message) == ("missing-output", message)


def test_a_late_output_is_waited_for_while_others_go_on() -> None:
    work = Jobs()
    work.add(
        "late",
        "setsid sh -c ': > up; sleep 0.6; echo x > x' & until [ -e up ]; do sleep 0.01; done",
        ["x"],
    )
    work.add("quick", "true", after=[])
    work.add("never", "true", ["y"])
    start = time.monotonic()
    outcomes = ends(run(work, timing=Timing(latency_s=2), keep_going=True))
    assert list(outcomes) == ["quick", "late", "never"]
    assert [each.state for each in outcomes.values()] == ["done", "done", "failed"]
    assert 2 <= time.monotonic() - start < 4


def test_verify_waits_for_a_late_output_and_no_longer() -> None:
    spec = JobSpec("j", "j", 1, (), (OutputFile("x"),), Recipe("shell", "true"))
    writer = subprocess.Popen(["sh", "-c", "sleep 0.3; : > x"])
    assert outputs.verify(spec, 10.0) is None
    writer.wait()
    Path("x").unlink()
    start = time.monotonic()
    failure = outputs.verify(spec, 0.3)
    assert failure is not None
    assert failure.kind == "missing-output"
    assert 0.3 <= time.monotonic() - start < 2


def test_old_outputs_are_removed_before_the_recipe_runs() -> None:
    Path("x").write_text("old")
    Path("d").mkdir()
    Path("d/old").touch()
    outcome = only("[ ! -e x ]; [ ! -e d ]; mkdir d; : > x", ["x", "d|directory"])
    assert outcome.state == "done"
    assert list(Path("d").iterdir()) == []


def test_a_folder_that_was_not_declared_is_never_removed() -> None:
    Path("x").mkdir()
    Path("x/precious").touch()
    outcome = only("true", ["x"])
    assert (outcome.failure, Path("x/precious").exists()) == ("launch", True)


def test_flags_do_what_they_say() -> None:
    work = Jobs()
    work.add("touch", "true", ["t|touch", "deep/t|touch"])
    work.add(
        "protect",
        "echo x > p; mkdir -p pd/sub; : > pd/sub/f",
        ["p|protected", "pd|protected|directory"],
    )
    name = outputs.private_name("a.tar.gz", "r1.2.1")
    assert name.endswith("a.tar.gz")
    work.add("atomic", f"echo x > {name}; [ ! -e a.tar.gz ]", ["a.tar.gz|atomic"])
    assert {outcome.message for outcome in ends(run(work)).values()} == {""}
    assert Path("deep/t").stat().st_size == 0
    for path in ("p", "pd", "pd/sub", "pd/sub/f"):
        assert not stat.S_IMODE(Path(path).stat().st_mode) & 0o222
    assert Path("a.tar.gz").read_text() == "x\n"
    assert not Path(name).exists()


def test_a_protected_output_is_not_replaced() -> None:
    Path("p").write_text("precious")
    Path("p").chmod(0o444)
    outcome = only("echo new > p", ["p|protected"])
    assert outcome.failure == "launch"
    assert "`p` is protected" in outcome.message
    assert Path("p").read_text() == "precious"


def test_a_failed_job_leaves_nothing_of_its_own_and_touches_nothing_else() -> None:
    work = Jobs()
    name = outputs.private_name("a", "r1.0.1")
    text = f"echo x > x; echo a > {name}; mkdir d; : > d/f; mkdir other; : > mine; exit 1"
    work.add("job", text, ["x", "a|atomic", "d|directory", "other", "never"])
    run(work)
    assert sorted(path.name for path in Path().iterdir()) == [".scratch", "mine", "other"]


def test_what_a_failed_job_made_can_be_kept() -> None:
    work = Jobs()
    work.add("job", "echo half > x; exit 1", ["x"])
    run(work, keep_incomplete=True)
    assert Path("x").read_text() == "half\n"


def test_an_output_that_cannot_be_looked_at_is_not_called_missing() -> None:
    outcome = only("ln -s loop x", ["x"])
    assert "loop" in outcome.message
    long = "n" * 300
    outcome = only("true", [long])
    assert outcome.message == f"cannot look at `{long}`: File name too long"


def test_a_folder_that_cannot_be_made_is_told_with_its_cause() -> None:
    Path("file").touch()
    outcome = only("true", ["file/x"])
    assert outcome.failure == "launch"
    assert outcome.message == "cannot make `file`: File exists"


def test_a_folder_without_permission_to_write_is_told() -> None:
    Path("locked").mkdir(mode=0o555)
    work = Jobs()
    work.add("job", ": > locked/x", ["locked/x"])
    pid = os.fork()
    if not pid:
        Path().chmod(0o777)
        Path(".scratch").mkdir()
        Path(".scratch").chmod(0o777)
        if os.getuid() == 0:
            os.setuid(65534)
        Path(".scratch/message").write_text(ends(run(work))["job"].message)
        os._exit(0)
    os.waitpid(pid, 0)
    assert Path(".scratch/message").read_text() == "cannot write in `locked`: permission denied"


# Early cut-off, other runs.


def test_a_job_that_is_no_longer_needed_lets_those_after_it_go_on() -> None:
    work = Jobs(fresh={0})
    a = work.add("a", "exit 1")
    work.add("b", "true", after=[a])
    events = run(work)
    assert events[0] == Unneeded("a")
    assert ends(events)["b"].state == "done"


@pytest.mark.parametrize("state", ["done", "failed", "released"])
def test_a_job_of_another_run_is_waited_for(state: Any) -> None:
    work = Jobs(foreigners={0})
    a = work.add("theirs", "true")
    work.add("ours", "true", after=[a])
    make = executor(work)
    told = []
    ticks = 0
    for event in make.run():
        if isinstance(event, Tick):
            ticks += 1
            if ticks == 2:
                work.foreigners.clear()
                make.settle(0, state)
        else:
            told.append((type(event).__name__, event.job))
    ran = [("Started", "ours"), ("Ended", "ours")]
    assert (
        told
        == {
            "done": ran,
            "failed": [("Skipped", "ours")],
            "released": [("Started", "theirs"), ("Ended", "theirs"), *ran],
        }[state]
    )


# Processes.


def test_what_a_job_leaves_in_the_background_ends_with_it() -> None:
    start = time.monotonic()
    outcome = only("sleep 1000 & echo $! > pid; echo done")
    assert outcome.state == "done"
    assert time.monotonic() - start < 5
    assert not alive(*pids_in("pid"))


def test_a_job_gets_no_descriptors_but_its_three() -> None:
    def descriptors(text: str) -> dict[str, str]:
        return dict(line.split()[-3::2] for line in text.splitlines() if " -> " in line)

    argv = ["ls", "-l", "/proc/self/fd"]
    own = subprocess.run(argv, close_fds=False, capture_output=True, text=True, check=True).stdout
    outcome = only("cat; ls -l /proc/self/fd")
    assert outcome.log
    seen = descriptors(Path(outcome.log).read_text())
    assert [seen[fd] for fd in "012"] == ["/dev/null"] + [str(Path(outcome.log).absolute())] * 2
    assert seen.keys() == descriptors(own).keys()


def test_a_hundred_megabytes_of_output_do_not_pass_through_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = only("head -c 100000000 /dev/zero; head -c 100000000 /dev/zero >&2")
    assert outcome.log
    assert Path(outcome.log).stat().st_size == 200_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
    Path(outcome.log).unlink()


def test_memory_and_cpu_of_the_whole_tree_are_seen() -> None:
    big = (
        "import time; x = bytearray(200_000_000); x[::4096] = b'1' * len(x[::4096]);"
        "end = time.process_time() + 0.5\nwhile time.process_time() < end: pass\ntime.sleep(1)"
    )
    Path("big.py").write_text(big)
    outcome = only(f"bash -c '{sys.executable} big.py; :'; :")
    assert 190 < outcome.peak_mib < 300
    assert 0.5 <= outcome.cpu_s < 1.5
    assert 1.4 < outcome.ended_s - outcome.started_s < 10


def test_the_memory_of_a_tiny_job_is_not_that_of_hpcmake() -> None:
    ballast = bytearray(100_000_000)
    ballast[::4096] = b"1" * len(ballast[::4096])
    assert only("sleep 0.4").peak_mib < 30


def test_out_of_memory_is_told_from_a_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("counter").write_text("low 0\noom_kill 3\n")
    monkeypatch.setattr(
        "buildhpc.run.machine._own_files", lambda _: [str(Path("counter").absolute())]
    )
    outcome = only("printf 'oom_kill 4\\n' > counter; kill -9 $$")
    assert (outcome.failure, outcome.signal) == ("oom", signal.SIGKILL)
    assert outcome.message.startswith("ended by the kernel because memory ran out")
    assert only("kill -9 $$").failure == "signal"
    assert only("printf 'oom_kill 5\\n' > counter; (kill -9 $BASHPID); exit $?").failure == "oom"


def test_memory_is_enforced_where_that_is_asked_for() -> None:
    work = Jobs()
    code = "x = b'1' * 200_000_000; import time; time.sleep(60)"
    work.add("big", f'bash -c "{sys.executable} -c \\"{code}\\"; :"', needs=Needs(mem_mib=50))
    outcome = ends(run(work, limits=Limits(4, enforce_mem=True)))["big"]
    assert outcome.failure == "oom"
    assert outcome.message.endswith(" of memory, and its `mem` is 50 MiB")


def test_signals_that_were_ignored_at_the_start_are_not_in_jobs() -> None:
    plan = [{"name": "a", "text": "grep SigIgn /proc/self/status"}]
    driver = Driver(plan, prefix=("sh", "-c", "trap '' INT QUIT HUP PIPE; exec \"$@\"", "sh"))
    assert driver.process.wait(20) == 0
    ignored = int(driver.log("a").split()[1], 16)
    assert ignored & 0x7FFFFFFF == 0


def test_a_build_works_with_standard_input_and_output_closed() -> None:
    plan: list[dict[str, Any]] = [
        {
            "name": "a",
            "text": "cat; echo a; echo b >&2; ls /proc/self/fd | wc -l",
            "made": ["t|touch"],
        },
        {"name": "b", "text": "echo b", "after": [0]},
    ]
    driver = Driver(plan, prefix=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"))
    assert driver.process.wait(20) == 0
    assert driver.log("a") == "a\nb\n4\n"


def test_few_file_descriptors_are_enough_for_many_jobs() -> None:
    plan = [{"name": f"j{n}", "text": "sleep 0.1; echo x"} for n in range(150)]
    driver = Driver(plan, cores=100, prefix=("sh", "-c", 'ulimit -n 32; exec "$@"', "sh"))
    assert driver.process.wait(60) == 0
    assert Counter(line["state"] for line in driver.ended()) == {"done": 150}


def test_a_shortage_of_processes_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = iter([False, True, True, False, True, True])
    spawn = os.posix_spawn

    def refuse(*args: Any, **more: Any) -> int:
        if next(refusals, False):
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return spawn(*args, **more)

    monkeypatch.setattr(os, "posix_spawn", refuse)
    work = Jobs()
    for number in range(4):
        work.add(f"j{number}", "sleep 0.2")
    outcomes = ends(run(work))
    assert [outcome.state for outcome in outcomes.values()] == ["done"] * 4


def test_a_full_disk_fails_the_job_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "ftruncate", full)
    outcome = only("true")
    assert outcome.failure == "launch"
    assert outcome.message.endswith("No space left on device")


def test_a_build_can_run_outside_the_main_thread() -> None:
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(only("echo x > x", ["x"])))
    thread.start()
    thread.join(20)
    assert outcomes[0].state == "done"


def test_handlers_are_as_before_after_a_build() -> None:
    before = [signal.getsignal(number) for number in (2, 15, 1, 3, signal.SIGCHLD)]
    only("true")
    assert [signal.getsignal(number) for number in (2, 15, 1, 3, signal.SIGCHLD)] == before


def test_other_children_of_the_process_are_left_alone() -> None:
    other = subprocess.Popen(["sh", "-c", "exit 7"])
    only("sleep 0.3")
    assert other.wait() == 7


def test_when_the_reader_of_events_gives_up_jobs_end() -> None:
    work = Jobs()
    work.add("a", "echo $$ > pid; echo half > x; sleep 1000", ["x"])
    events = executor(work).run()
    assert isinstance(next(events), Started)
    wait_for(lambda: Path("x").exists() and Path("x").read_text())
    events.close()  # type: ignore[attr-defined]  # it is a generator
    assert not alive(*pids_in("pid"))
    assert not Path("x").exists()


def test_ticks_come_while_jobs_run_and_none_is_late() -> None:
    work = Jobs()
    work.add("a", "sleep 1.2")
    ticks = sum(isinstance(event, Tick) for event in executor(work).run())
    assert 3 <= ticks <= 8


# Signals.


class Driver:
    """A build in a process of its own."""

    def __init__(
        self, plan: list[dict[str, Any]], prefix: tuple[str, ...] = (), **options: Any
    ) -> None:
        Path("plan.json").write_text(json.dumps({"jobs": plan, "options": options}))
        argv = [*prefix, sys.executable, __file__, "plan.json"]
        root = str(Path(__file__).parent.parent)
        env = {**os.environ, "PYTHONPATH": root}
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=env)

    def ended(self) -> list[dict[str, Any]]:
        text = Path("events").read_text() if Path("events").exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def log(self, job: str) -> str:
        log = next(line["log"] for line in self.ended() if line["job"] == job)
        return Path(log).read_text() if log else ""


# Each job: a child and a grandchild, and an output that is half made.
FAMILY = """
echo half > {name}.out
echo $$ > {name}.pid1
bash -c 'echo $$ > {name}.pid2; bash -c "echo \\$\\$ > {name}.pid3; sleep 1000; :"; :'
echo whole > {name}.out
"""
NAMES = ("a", "b", "c")
PIDS = [f"{name}.pid{number}" for name in NAMES for number in (1, 2, 3)]


def family(extra: str = "") -> list[dict[str, Any]]:
    jobs = [
        {"name": name, "text": extra + FAMILY.format(name=name), "made": [f"{name}.out"]}
        for name in NAMES
    ]
    return [*jobs, {"name": "after", "text": ": > after", "made": ["after"], "after": [0, 1, 2]}]


def all_begun() -> bool:
    return all(Path(name).exists() and Path(name).read_text().strip() for name in PIDS)


def check_nothing_left(driver: Driver, number: int) -> None:
    assert driver.process.wait(20) == 128 + number
    assert [pid for pid in pids_in(*PIDS) if alive(pid)] == []
    assert not [name for name in NAMES if Path(f"{name}.out").exists()]
    assert not Path("after").exists()
    states = {line["job"]: line["state"] for line in driver.ended()}
    assert states == dict.fromkeys(NAMES, "cancelled")
    assert driver.ended()[0]["message"] == f"cancelled by {signal.Signals(number).name}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_all_jobs_and_leaves_nothing(number: int) -> None:
    driver = Driver(family())
    wait_for(all_begun)
    start = time.monotonic()
    driver.process.send_signal(number)
    check_nothing_left(driver, number)
    assert time.monotonic() - start < 5


def test_sigint_is_heard_in_a_build_that_a_script_started_with_ampersand() -> None:
    driver = Driver(family(), prefix=("sh", "-c", "trap '' INT QUIT; exec \"$@\"", "sh"))
    wait_for(all_begun)
    driver.process.send_signal(signal.SIGINT)
    check_nothing_left(driver, signal.SIGINT)


def test_nohup_keeps_a_build_from_hearing_hangups() -> None:
    driver = Driver([{"name": "a", "text": ": > b; sleep 0.5"}], prefix=("nohup",))
    wait_for(Path("b").exists)
    driver.process.send_signal(signal.SIGHUP)
    assert driver.process.wait(20) == 0


def test_jobs_that_ignore_the_request_are_killed_after_the_grace() -> None:
    driver = Driver(family("trap '' TERM\n"), stop_s=1.0)
    wait_for(all_begun)
    start = time.monotonic()
    driver.process.send_signal(signal.SIGTERM)
    check_nothing_left(driver, signal.SIGTERM)
    assert 1 <= time.monotonic() - start < 5


def test_a_second_signal_kills_at_once() -> None:
    driver = Driver(family("trap '' TERM\n"), stop_s=60.0)
    wait_for(all_begun)
    driver.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    start = time.monotonic()
    driver.process.send_signal(signal.SIGINT)
    check_nothing_left(driver, signal.SIGINT)
    assert time.monotonic() - start < 2


def test_a_child_that_cleans_up_has_the_grace_for_it() -> None:
    trap = 'trap "sleep 0.7; : > cleaned; exit" TERM'
    clean = f"bash -c '{trap}; : > up; while :; do sleep 0.1; done'; :"
    driver = Driver([{"name": "a", "text": clean}])
    wait_for(Path("up").exists)
    driver.process.send_signal(signal.SIGTERM)
    assert driver.process.wait(20) == 128 + signal.SIGTERM
    assert Path("cleaned").exists()


def test_a_process_that_left_its_group_and_its_parent_ends_too() -> None:
    text = "setsid bash -c 'echo $$ > away; sleep 1000; :' & disown; sleep 1000"
    driver = Driver([{"name": "a", "text": text}])
    wait_for(lambda: Path("away").exists() and Path("away").read_text())
    driver.process.send_signal(signal.SIGTERM)
    assert driver.process.wait(20) == 128 + signal.SIGTERM
    assert not alive(*pids_in("away"))


def test_a_build_inside_a_job_ends_with_it() -> None:
    Path("inner").mkdir()
    inner = [{"name": "in", "text": "echo $$ > ../inner.pid; sleep 1000; :"}]
    Path("inner/plan.json").write_text(json.dumps({"jobs": inner, "options": {}}))
    text = f"cd inner; {sys.executable} {__file__} plan.json; :"
    driver = Driver([{"name": "out", "text": text}], marker="outer:1")
    wait_for(lambda: Path("inner.pid").exists() and Path("inner.pid").read_text())
    (pid,) = pids_in("inner.pid")
    assert pid in orphans.find("outer:1")
    driver.process.send_signal(signal.SIGTERM)
    assert driver.process.wait(20) == 128 + signal.SIGTERM
    assert not alive(pid)


def test_orphans_of_a_killed_build_are_found_and_ended() -> None:
    driver = Driver(family(), marker="project7:3")
    wait_for(all_begun)
    driver.process.kill()
    driver.process.wait()
    pids = pids_in(*PIDS)
    assert [pid for pid in pids if alive(pid)] == pids
    assert orphans.find("project") == []
    assert orphans.find("project7:31") == []
    found = orphans.find("project7")
    assert set(pids) <= set(found)
    assert sorted(orphans.find("project7:3")) == sorted(found)
    assert orphans.kill(found, 2.0) == []
    assert [pid for pid in found if alive(pid)] == []
    assert orphans.find("project7") == []


def test_orphans_that_ignore_the_request_are_killed() -> None:
    driver = Driver(family("trap '' TERM\n"), marker="project8:1")
    wait_for(all_begun)
    driver.process.kill()
    driver.process.wait()
    assert orphans.kill(orphans.find("project8"), 0.3) == []
    assert [pid for pid in pids_in(*PIDS) if alive(pid)] == []


# The program of the tests above.


def events_of(plan: Any) -> tuple[LocalExecutor, Iterator[Event]]:
    work = Jobs()
    for job in plan["jobs"]:
        work.add(**job)
    options = plan["options"]
    Path(".scratch").mkdir(exist_ok=True)
    place = Place(".scratch", options.get("marker", f"driver{os.getpid()}:1"))
    timing = Timing(stop_s=options.get("stop_s", 5.0))
    make = LocalExecutor(work, Limits(options.get("cores", 8)), place, timing)
    return make, make.run()


def main() -> int:
    make, events = events_of(json.loads(Path(sys.argv[1]).read_text()))
    with Path("events").open("w") as file:
        for event in events:
            if isinstance(event, Ended):
                outcome = event.outcome
                line = {"job": event.job, "state": outcome.state, "log": outcome.log}
                line["message"] = outcome.message
                print(json.dumps(line), file=file, flush=True)
    return 128 + make.interrupted if make.interrupted else int(make.failed)


if __name__ == "__main__":
    sys.exit(main())
