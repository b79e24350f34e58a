"""`buildhpc.hamilton`: nodes that submit, under all that Hamilton does to nodes."""

from __future__ import annotations

import inspect
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import hamilton_flows as flows
import pytest
from cluster_scenes import wait_until
from hamilton import driver, htypes, node
from hamilton.execution import executors
from hamilton_flows import flow
from real_schedulers import Sge, Slurm

from buildhpc import hamilton, load
from buildhpc.diagnostics import HpcmakeError
from buildhpc.hamilton import (
    HpcExecutionManager,
    JobFailedError,
    JobInfo,
    WaitingExecutor,
    cmdline,
    submit,
)
from buildhpc.hamilton.desk import desk
from buildhpc.run import calls
from buildhpc.run.calls import Place, call
from buildhpc.schedulers.local import Local
from buildhpc.schedulers.protocol import Switches
from buildhpc.state import queries
from buildhpc.state.database import read_state

EXAMPLE = Path(__file__).parent.parent / "examples" / "hamilton"
QUICK = """
scheduler = "local"
spool = "{spool}"
cores = "8"
poll = "1s"
grace = "2s"
latency = "1s"
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder with a queue of its own."""
    monkeypatch.chdir(tmp_path)
    spool = tmp_path / "spool"
    settings = QUICK.format(spool=spool)
    Path("hpcmake.toml").write_text(f"[cluster.box]\n{settings}[cluster.crate]\n{settings}")
    flows.told.heard.clear()
    yield tmp_path
    local = Local(Switches({"spool": str(spool), "cores": "8"}))
    answer = call(Place("test"), local.queue("me"), "/")
    left = [local.whole(each.id) for each in local.in_queue(answer) if each.state != "ended"]
    for command in local.cancel(left) if left else ():
        call(Place("test"), command, "/")


def executed(
    module: Any, *wanted: str, build: Callable[..., Any] = lambda b: b, **given: Any
) -> Any:
    made = build(driver.Builder().with_modules(module)).build()
    found = made.execute(list(wanted), inputs=given)
    return found[wanted[0]] if len(wanted) == 1 else found


def asked(system: str = "box", **config: Any) -> JobInfo:
    """What a node gets for a config."""

    @submit(system)
    def probe() -> Generator[Any, Any, JobInfo]:
        found: JobInfo = yield config
        return found

    made: JobInfo = probe()
    return made


def submissions() -> int:
    query = "SELECT count(*) FROM attempt"
    return int(desk().state.read(lambda c: c.execute(query).fetchone()[0]))


# ---------------------------------------------------------------- the protocol, without any job


def test_yields_are_answered_under_all_decorators_in_both_orders() -> None:
    module = flow("protocol", *flows.PROTOCOL)
    assert executed(module, "everything", n=3) == [6, 7, 15, 25, 35, 10, 25]
    assert flows.told.heard[:2] == [{"is": 3}, {"is": 2}]


def dynamic(remote: executors.TaskExecutor) -> Callable[[Any], Any]:
    return lambda builder: builder.enable_dynamic_execution(
        allow_experimental_mode=True
    ).with_execution_manager(HpcExecutionManager(here=remote))


def test_yields_are_answered_in_threads_and_processes() -> None:
    module = flow("protocol_threads", *flows.PROTOCOL)
    threads = executors.MultiThreadingExecutor(max_tasks=2)
    assert executed(module, "everything", build=dynamic(threads), n=3) == [6, 7, 15, 25, 35, 10, 25]
    # What `parameterize` and `inject` make is of no use to processes, with or without us.
    module = flow("protocol_processes", flows.plain, flows.tagged_outside, flows.tagged_inside)
    processes = executors.MultiProcessingExecutor(max_tasks=2)
    wanted = ("tagged_outside", "tagged_inside")
    found = executed(module, *wanted, build=dynamic(processes), n=3)
    assert found == {"tagged_outside": 6, "tagged_inside": 7}


def test_hamilton_sees_a_function_with_the_type_of_its_result() -> None:
    for made in (flows.plain, flows.tagged_inside):
        assert inspect.isfunction(made)
        assert not inspect.isgeneratorfunction(made)
        assert inspect.isgeneratorfunction(inspect.unwrap(made))
        assert inspect.signature(made).return_annotation is int
    assert flows.plain.__doc__ == "A node."
    assert inspect.signature(flows.plain).parameters["n"].annotation is int
    # As it is without us: the node has the type of the generator, and nobody can use it.
    bare = inspect.unwrap(flows.plain)
    assert bare.__annotations__["return"] is not int

    def use(plain: int) -> int:
        return plain

    with pytest.raises(Exception, match="Generator"):
        driver.Builder().with_modules(flow("bare", bare, use)).build()


def test_what_cannot_be_decorated_is_told() -> None:
    def items() -> htypes.Parallelizable[int]:
        yield 1

    def value_of() -> int:
        return 1

    def bare(n: int):  # type: ignore[no-untyped-def]  # that is what is told
        yield n

    for function, slug in (
        (items, "is-parallelizable"),
        (value_of, "not-a-generator"),
        (bare, "no-result-type"),
    ):
        with pytest.raises(HpcmakeError) as error:
            flows.told()(function)
        assert error.value.problems[0].slug == slug


def test_an_error_can_be_caught_where_it_was_asked_for() -> None:
    @cmdline()
    def careful() -> Generator[Any, Any, str]:
        try:
            yield {"cmd": "echo oh >&2; exit 3"}
        except HpcmakeError as error:
            done = yield {"cmd": ["echo", error.problems[0].slug]}
        return str(done.stdout.decode())

    assert careful() == "command-failed\n"


@pytest.mark.parametrize(
    ("config", "slug", "says"),
    [
        ({"cmd": "true", "memory_mx": 3}, "unknown-keyword", "did you mean `memory_max`"),
        ({"cmd": "true", "cores": 0}, "bad-keyword", "`cores` is a whole number above 0, not 0"),
        ({"cmd": "true", "mem": "4"}, "bad-keyword", "`mem` is a size"),
        ({"cmd": "true", "cores": 1, "n_cores": 2}, "said-twice", "`cores` and `n_cores`"),
        ({"cores": 1}, "no-command", "does not say what is to run"),
        ("true", "not-a-config", "yields 'true'"),
        ({"cmd": "true", "qos": "best"}, "cannot-express", "nothing for `qos`"),
        ({"cmd": "true", "dependency": "fitt"}, "unknown-job", "no job is called `fitt`"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_is_submitted(config: Any, slug: str, says: str) -> None:
    @submit("box")
    def node() -> Generator[Any, Any, int]:
        yield config
        return 1

    with pytest.raises(HpcmakeError) as error:
        node()
    assert error.value.problems[0].slug == slug
    assert says in str(error.value)
    assert not submissions()


def test_an_alias_needs_a_type_once_and_has_one_for_good() -> None:
    with pytest.raises(HpcmakeError, match="nothing is known of the system `nowhere`"):
        asked("nowhere", cmd="true")

    def bare(n: int) -> Generator[Any, Any, int]:
        yield n
        return n

    for given in ((bare,), ()):
        with pytest.raises(HpcmakeError, match="does not say which system"):
            submit(*given)
    with pytest.raises(HpcmakeError, match="`cluster` is settings with their values"):
        submit("lab", cluster="partition=x")  # type: ignore[arg-type]  # that is what is told
    submit("lab", "slurm", cores=2)
    submit("lab")
    with pytest.raises(HpcmakeError, match="of type `slurm`, and now of type `pbs`"):
        submit("lab", "pbs")
    with pytest.raises(HpcmakeError, match=r"has no keyword `coers`"):
        submit("lab", "slurm", coers=2)


def test_errors_go_from_process_to_process() -> None:
    with pytest.raises(HpcmakeError) as error:
        submit("lab", coers=2)
    again = pickle.loads(pickle.dumps(error.value))
    assert str(again) == str(error.value)
    failed = JobFailedError(JobInfo(os.getcwd(), 2, "fit id=1", "box", "false", state="failed"))
    assert pickle.loads(pickle.dumps(failed)).job == failed.job


# ------------------------------------------------------------------------- jobs, on this machine


def test_a_job_has_what_it_asks_for_and_tells_how_it_went(here: Path) -> None:
    Path("a.in").write_text("a\n")
    needs = "$HPCMAKE_CORES $HPCMAKE_MEM_MB $HPCMAKE_TIME_S"
    job = asked(
        command=f'echo "$WORD {needs}"; pwd; cp ../a.in b/out',
        job_name="fit", n_cores=2, memory_max=0.25, run_time_max=60, env={"WORD": "hi"},
        working_directory="sub", inputs="../a.in", outputs=["b/out"], script_name="fit.sh",
        monitor=True,
    )  # fmt: skip
    assert (job.state, job.name, job.cluster, job.exit_code) == ("done", "fit", "box", 0)
    assert job.log == f"hi 2 256 60\n{here}/sub\n"
    assert (job.outputs, Path("sub/b/out").read_text()) == (("sub/b/out",), "a\n")
    assert Path("sub/fit.sh").read_text().startswith('#!/bin/bash\necho "$WORD')
    assert (job.used.cores, job.used.mem_mib, job.used.time_s) == (2, 256, 60)
    assert job.id and job.used.host and job.used.ended_s
    ended = job.completed()
    assert (ended.returncode, ended.stdout) == (0, job.log.encode())
    with pytest.raises(HpcmakeError, match="needs `gone`"):
        asked(cmd="true", inputs="gone")
    assert hamilton.job("fit").outputs == job.outputs
    # A program of its own sees the same.
    assert "fit" in hpcmake("status")
    assert "hi 2 256 60" in hpcmake("logs", job.job)
    shown = hpcmake("show", "fit")
    for words in (
        "probe, of a data flow",
        "2 cores, 256 MiB of memory, 0:01:00",
        "sub/b/out  2 byt",
    ):
        assert words in shown
    Path("Pipefile").write_text('rule all:\n    shell: "true"\n')
    assert "sub/b/out" not in hpcmake("clean", "--unknown", "-n")
    # Where there is a Pipefile as well, each tells of its own.
    assert hpcmake("show", "all", "fit").endswith("\n" + shown)
    assert hpcmake("show", "--where", "state = 'done'") == shown
    with pytest.raises(AssertionError, match="only-known"):
        hpcmake("why", "fit")


def test_a_failure_is_raised_where_it_was_asked_for_or_told() -> None:
    with pytest.raises(JobFailedError) as error:
        asked(cmd="echo half >out; echo so far; exit 3", outputs="out", name="fit")
    job = error.value.job
    assert (job.state, job.failure, job.exit_code) == ("failed", "exit", 3)
    assert error.value.exit_code == 1
    assert "= log: so far" in str(error.value)
    assert not Path("out").exists()
    assert hpcmake("retry").startswith("left to their data flow, which runs them again: fit id=")
    told = asked(cmd="true", outputs="never", check=False)
    assert (told.state, told.failure) == ("failed", "missing-output")
    tries = asked(cmd="echo x >>tries; test $(wc -l <tries) = 2", retries=2)
    assert (tries.state, Path("tries").read_text()) == ("done", "x\nx\n")


def test_jobs_wait_for_jobs_by_info_name_or_list_and_condition() -> None:
    until = "until test -e {}; do sleep 0.05; done; "
    first = asked(cmd=until.format("go") + "echo 1 >>ran", name="first", block=False)
    other = asked(cmd=until.format("go") + "echo 2 >>ran; exit 1", name="other", block=False)
    assert not first.done()
    common: dict[str, Any] = {"block": False}
    by_info = asked(cmd="echo info >>ran", dependency=first, **common)
    by_name = asked(cmd="echo name >>ran", dependency_list=["first", by_info], **common)
    skipped = asked(cmd="echo never >>ran", dependency=other, **common)
    after_all = asked(cmd="echo any >>ran", dependency={"any": [first, other]}, **common)
    if_not = asked(cmd="echo notok >>ran", dependency={"notok": "other"}, **common)
    not_if = asked(cmd="echo nor >>ran", dependency={"notok": first}, **common)
    at_start = asked(cmd="touch go", dependency={"start": [first, other]}, **common)
    # What a scheduler can be told of it was told: these two are in its queue already.
    assert by_info.id and by_name.id and skipped.id
    assert (after_all.state, after_all.id) == ("waiting", "")
    ended = hamilton.wait_for([by_info, by_name, after_all, if_not, at_start, skipped, not_if])
    assert [job.state for job in ended] == ["done"] * 5 + ["skipped"] * 2
    assert "needs: other" in ended[5].message
    lines = Path("ran").read_text().split()
    assert sorted(lines) == ["1", "2", "any", "info", "name", "notok"]
    assert lines.index("1") < lines.index("info") < lines.index("name")
    assert asked(cmd="echo late >>ran", dependency=[first, by_info]).ok
    with pytest.raises(JobFailedError, match="skipped"):
        asked(cmd="true", dependency="other")


def test_a_future_can_be_looked_at_waited_for_and_cancelled() -> None:
    job = asked(cmd="until test -e go; do sleep 0.05; done", name="long", block=False)
    assert job.refresh().state in ("queued", "running")
    with pytest.raises(TimeoutError):
        job.wait(0.1)
    assert [each.job for each in hamilton.jobs("long")] == [job.job]
    assert "long id=" in hamilton.status()
    assert hamilton.job("long").cancel().state in ("cancelled", "running")
    assert job.wait().state == "cancelled"
    with pytest.raises(JobFailedError, match="cancelled"):
        job.result()
    with pytest.raises(HpcmakeError, match="no job is called `lnog`"):
        hamilton.job("lnog")
    checked = asked(cmd="true", test_only=True)
    assert (checked.state, checked.id) == ("waiting", "")
    with pytest.raises(HpcmakeError, match="would not be taken"):
        asked(cmd="true", cores=99, test_only=True)


# ---------------------------------------------------------- files and caches, tasks, processes


def cached(builder: Any) -> Any:
    return builder.with_cache()


def test_a_cached_node_submits_nothing_until_its_file_is_gone() -> None:
    module = flow("caching", flows.written, flows.counted)
    assert executed(module, "counted", build=cached, word="hello") == 6
    assert submissions() == 1
    assert executed(module, "counted", build=cached, word="hello") == 6
    assert submissions() == 1
    Path("out/hello").unlink()
    assert executed(module, "counted", build=cached, word="hello") == 6
    assert submissions() == 2
    assert Path("out/hello").exists()
    assert executed(module, "counted", build=cached, word="hello") == 6
    assert executed(module, "counted", build=cached, word="you") == 4
    assert executed(module, "counted", build=cached, word="hello") == 6
    assert submissions() == 3
    # Another content than the job left: it is not what the cached result speaks of.
    Path("out/hello").write_text("others were here")
    assert executed(module, "counted", build=cached, word="hello") == 6
    assert submissions() == 4
    assert Path("out/hello").read_text() == "hello\n"


def test_a_cached_command_runs_again_when_its_file_is_gone() -> None:
    module = flow("commands", flows.sorted_words)
    for remove in (False, False, True, False):
        if remove:
            Path("sorted").unlink()
        assert executed(module, "sorted_words", build=cached, words="b a") == "a\nb\n"
        assert Path("sorted").read_text() == "a\nb\n"
    assert submissions() == 2
    assert [each.state for each in hamilton.jobs("sorted_words")] == ["done", "done"]
    with pytest.raises(HpcmakeError, match="did not make `never`"):
        list_of(cmdline, {"cmd": "true", "outputs": "never"})
    assert list_of(cmdline, {"cmd": "exit 3", "check": False})[0].returncode == 3
    assert list_of(cmdline, {"cmd": "echo a", "block": False})[0].result(9).stdout == b"a\n"
    assert [each.state for each in hamilton.jobs("probe")] == ["failed"]


def list_of(decorator: Any, *configs: Any) -> list[Any]:
    """What a node gets for its configs, one after the other."""

    @decorator()
    def probe() -> Generator[Any, Any, list[Any]]:
        found = []
        for config in configs:
            told = yield config
            found.append(told)
        return found

    made: list[Any] = probe()
    return made


def test_a_cache_tells_injected_nodes_and_edited_code_apart() -> None:
    module = flow("cached_protocol", *flows.PROTOCOL)
    for _ in range(2):
        assert executed(module, "everything", build=cached, n=3) == [6, 7, 15, 25, 35, 10, 25]
    heard = len(flows.told.heard)
    assert heard == 9

    def source_of(text: str) -> Any:
        Path("edited.py").write_text(text)
        sys.path.insert(0, os.getcwd())
        try:
            sys.modules.pop("edited", None)
            __import__("linecache").checkcache()
            __import__("importlib").invalidate_caches()
            return __import__("edited")
        finally:
            sys.path.pop(0)

    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    text = (
        "from hamilton_flows import told\n@told()\ndef one() -> int:\n    found = yield {'is': 1}\n"
    )
    assert executed(source_of(f"{text}    return found\n"), "one", build=cached) == 1
    assert executed(source_of(f"{text}    return found + 41\n"), "one", build=cached) == 42
    assert executed(source_of(f"{text}    return found + 41\n"), "one", build=cached) == 42
    assert len(flows.told.heard) == heard + 2
    sys.dont_write_bytecode = before


def test_nodes_wait_side_by_side_in_blocks_under_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    module = flow("blocks", flows.parts, flows.squared, flows.summed)
    manager = HpcExecutionManager()

    def build(builder: Any) -> Any:
        made = builder.enable_dynamic_execution(allow_experimental_mode=True)
        return made.with_execution_manager(manager).with_cache()

    assert executed(module, "summed", build=build, upto=5) == 30
    assert executed(module, "summed", build=build, upto=5) == 30
    assert sorted(Path("squares").read_text().split()) == ["0", "1", "2", "3", "4"]
    looks: list[float] = []
    real = calls.call

    def counting(place: Place, command: Any, *more: Any, **options: Any) -> Any:
        if "queue" in command:
            looks.append(time.monotonic())
        return real(place, command, *more, **options)

    monkeypatch.setattr(calls, "call", counting)
    begun_s = time.monotonic()
    assert executed(module, "summed", build=build, upto=10) == 285
    # One question for five that wait; and one by who submits, when the first may start.
    assert len(looks) <= 2 + 3 * (time.monotonic() - begun_s)
    assert submissions() == 10
    # One of them can only end once the other one has begun.
    apart = flow("apart", flows.slow_one, flows.slow_two, flows.both)
    assert executed(apart, "both", build=build, n=1) == 3


def test_tasks_are_routed_by_tags_and_asked_in_no_hurry() -> None:
    def task(purpose: Any, **tags: str) -> Any:
        made = node.Node("it", int, callabl=lambda: 1, tags=tags)
        return type("Task", (), {"nodes": [made], "purpose": purpose})()

    blocks, gpu = executors.MultiThreadingExecutor(1), executors.MultiThreadingExecutor(1)
    manager = HpcExecutionManager(blocks=blocks, routes={"gpu": gpu})
    purposes = executors.NodeGroupPurpose
    chosen = manager.get_executor_for_task
    assert chosen(task(purposes.EXECUTE_SINGLE, **{"hpc.cluster": "gpu"})) is gpu
    assert chosen(task(purposes.EXECUTE_BLOCK, **{"hpc.cluster": "box"})) is manager.waiting
    assert chosen(task(purposes.EXECUTE_SINGLE, cmdline="true")) is manager.waiting
    assert chosen(task(purposes.EXECUTE_BLOCK)) is blocks
    assert chosen(task(purposes.EXECUTE_SINGLE)) is manager.here

    asked_for: list[float] = []

    class Counting(WaitingExecutor):
        def _quiet(self, future: Any) -> None:
            asked_for.append(time.monotonic())
            super()._quiet(future)

    module = flow("asleep", flows.asleep_one)
    manager = HpcExecutionManager(here=Counting())
    found = executed(module, "asleep_one", build=dynamic_with(manager))
    assert found == 1.0
    assert len(asked_for) < 20


def dynamic_with(manager: HpcExecutionManager) -> Callable[[Any], Any]:
    return lambda builder: builder.enable_dynamic_execution(
        allow_experimental_mode=True
    ).with_execution_manager(manager)


def test_what_processes_submit_all_can_see() -> None:
    module = flow("in_processes", flows.parts, flows.squared, flows.summed)
    pool = executors.MultiProcessingExecutor(max_tasks=2)
    manager = HpcExecutionManager(waiting=pool)
    assert executed(module, "summed", build=dynamic_with(manager), upto=3) == 5
    found = hamilton.jobs("squared")
    assert [(each.state, each.cluster) for each in found] == [("done", "box")] * 3
    assert len({each.id for each in found}) == 3


def test_the_example_on_slurm_and_on_this_machine(
    slurm: Slurm, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in slurm.env.items():
        monkeypatch.setenv(name, text)
    made = shutil.ignore_patterns("results", ".*")
    shutil.copytree(EXAMPLE, here, ignore=made, dirs_exist_ok=True)
    queue = QUICK.format(spool=here / "spool")
    quick = 'poll = "1s"\ngrace = "2s"\n'
    Path("hpcmake.toml").write_text(f"[cluster.lab]\n{quick}[cluster.here]\n{queue}")
    said = ran("run.py")
    assert said.splitlines()[0].endswith(" words, see results/page.md")
    assert Path("results/page.md").read_text().splitlines()[2].startswith("| the | ")
    found = hamilton.jobs()
    clusters = [(each.name, each.cluster) for each in found]
    assert clusters == [("count", "lab")] * 4 + [("total", "here")]
    assert all(each.state == "done" and each.id for each in found)
    Path("results/total.tsv").unlink()
    assert ran("run.py").count("total id=") == 2
    assert len(hamilton.jobs("count")) == 4


def test_slurm_is_told_what_waits_for_what_and_tells_what_is_wrong(
    slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in slurm.env.items():
        monkeypatch.setenv(name, text)
    with Path("hpcmake.toml").open("a") as file:
        file.write('[cluster.lab]\nscheduler = "slurm"\npoll = "1s"\ngrace = "2s"\n')
    common: dict[str, Any] = {"block": False, "time": "1m"}
    first = asked("lab", cmd="until test -e go; do sleep 0.1; done; exit 3", name="a", **common)
    second = asked("lab", cmd="true", name="b", dependency=first, **common)
    told = slurm.run("squeue", "-h", "-j", second.id, "-o", "%E").out
    assert told.startswith(f"afterok:{first.id}")
    wrong = asked("lab", cmd="true", partition="nowhere", test_only=True, check=False)
    assert (wrong.state, wrong.failure) == ("failed", "submit")
    with pytest.raises(JobFailedError, match="partition"):
        asked("lab", cmd="true", partition="nowhere")
    Path("go").touch()
    ended = hamilton.wait_for([first, second])
    assert [(each.state, each.exit_code) for each in ended] == [("failed", 3), ("skipped", None)]


def test_one_flow_is_on_slurm_grid_engine_and_this_machine_at_once(
    slurm: Slurm, sge: Sge, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {**slurm.env, **sge.env}.items():
        monkeypatch.setenv(name, text)
    with Path("hpcmake.toml").open("a") as file:
        for alias, kind in (("lab", "slurm"), ("grid", "sge")):
            file.write(f'[cluster.{alias}]\nscheduler = "{kind}"\npoll = "1s"\ngrace = "2s"\n')
    module = flow("three", flows.on_slurm, flows.on_sge, flows.on_box)
    # Each of the first two ends only once the other one runs.
    assert executed(module, "on_box", build=dynamic_with(HpcExecutionManager()), n=2) == 22
    found = {each.name: (each.cluster, each.state) for each in hamilton.jobs()}
    assert found == {
        "on_slurm": ("lab", "done"), "on_sge": ("grid", "done"), "on_box": ("box", "done"),
    }  # fmt: skip
    # Grid Engine starts what waits for a failed job; and nothing of another cluster waits for it.
    common: dict[str, Any] = {"block": False, "time": "1m"}
    first = asked("grid", cmd="until test -e go; do sleep 0.1; done; exit 3", name="a", **common)
    second = asked("grid", cmd="touch never", name="b", dependency=first, **common)
    elsewhere = asked("lab", cmd="echo told", name="c", dependency={"notok": first}, **common)
    assert set(sge.jobs()) == {first.id.partition(".")[0], second.id.partition(".")[0]}
    assert (elsewhere.state, elsewhere.id) == ("waiting", "")
    Path("go").touch()
    ended = hamilton.wait_for([first, second, elsewhere])
    assert [(each.state, each.exit_code) for each in ended] == [
        ("failed", 3), ("skipped", None), ("done", 0),
    ]  # fmt: skip
    assert ended[2].log == "told\n"
    assert not Path("never").exists()


FLOW = """\
from collections.abc import Generator
from hamilton import driver
from buildhpc.hamilton import submit
import sys

@submit("crate")
def slow(n: int) -> Generator[dict, None, int]:
    job = yield {"cmd": "until test -e go; do sleep 0.05; done; echo ran >> ran; echo 42"}
    return int(job.log)

if __name__ == "__main__":
    import flow
    print(driver.Builder().with_modules(flow).build().execute(["slow"], inputs={"n": 1})["slow"])
"""


def test_a_flow_that_was_killed_and_is_begun_again_takes_up_its_job(here: Path) -> None:
    Path("flow.py").write_text(FLOW)
    first = subprocess.Popen([sys.executable, "flow.py"])
    deadline = time.monotonic() + 30
    while not hamilton.jobs("slow") and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    query = "SELECT count(*) FROM run"

    def let_go() -> None:
        while desk().state.read(lambda c: c.execute(query).fetchone()[0]) < 2:
            time.sleep(0.05)
        Path("go").touch()

    Thread(target=let_go).start()
    sys.path.insert(0, str(here))
    try:
        module = __import__("flow")
    finally:
        sys.path.pop(0)
    assert executed(module, "slow", n=1) == 42
    assert Path("ran").read_text() == "ran\n"
    assert submissions() == 1


def ran(*words: str) -> str:
    """What a program of Python prints in this folder."""
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def hpcmake(*words: str) -> str:
    """What hpcmake says in this folder."""
    return ran("-m", "buildhpc.cli", *words)


def test_what_another_one_runs_already_leaves_no_run_open(here: Path) -> None:
    @cmdline()
    def made() -> Generator[Any, Any, int]:
        with suppress(HpcmakeError):  # it makes no such file
            yield {"cmd": "echo >> begun; until [ -e go ]; do sleep 0.1; done", "outputs": "made"}
        return 1

    threads = []
    for count in (1, 2):
        threads.append(Thread(target=made))
        threads[-1].start()
        wait_until(lambda count=count: begun(here) == count, f"{count} run")  # type: ignore[misc]
    (here / "go").touch()
    for thread in threads:
        thread.join()
    state = read_state(here)
    assert state is not None
    assert sorted(run.status for run in queries.runs(state)) == ["done", "failed"]


def begun(here: Path) -> int:
    path = here / "begun"
    return len(path.read_text()) if path.exists() else 0


def test_a_node_that_failed_is_left_to_its_data_flow(here: Path) -> None:
    (here / "Pipefile").write_text('rule a:\n    output: "a"\n    shell: "touch a"\n')

    @submit("box")
    def broken() -> Generator[Any, Any, int]:
        yield {"cmd": "exit 3"}
        return 1

    with pytest.raises(JobFailedError):
        broken()
    assert load("Pipefile").retry().status == "nothing-to-do"
