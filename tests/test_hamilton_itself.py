"""What Hamilton 1.90 does by itself: the facts that the ways of `buildhpc.hamilton` rest on."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any

import hamilton_flows as flows
import pytest
from hamilton import driver, lifecycle, node
from hamilton.execution import executors
from hamilton.execution.executors import DefaultExecutionManager, ExecutionManager, TaskFuture
from hamilton.execution.grouping import NodeGroupPurpose
from hamilton.execution.state import TaskState
from hamilton.function_modifiers import cache, inject, source, value
from hamilton.lifecycle.default import CacheAdapter
from hamilton_flows import flow

from buildhpc.hamilton import WaitingExecutor, cmdline


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    flows.told.heard.clear()
    return tmp_path


def built(*functions: Callable[..., Any], build: Callable[[Any], Any] = lambda b: b) -> Any:
    return build(driver.Builder().with_modules(flow("itself", *functions))).build()


def cached(builder: Any, **how: Any) -> Any:
    return builder.with_cache(path="cache", **how)


def dynamic(manager: ExecutionManager) -> Callable[[Any], Any]:
    return lambda builder: builder.enable_dynamic_execution(
        allow_experimental_mode=True
    ).with_execution_manager(manager)


def test_a_generator_without_a_decorator_is_a_result_that_no_cache_can_keep() -> None:
    def undecorated(n: int) -> Generator[int, None, int]:
        yield n
        return n

    found = built(undecorated).execute(["undecorated"], inputs={"n": 1})["undecorated"]
    assert inspect.isgenerator(found)
    with pytest.raises(TypeError, match="cannot pickle 'generator' object"):
        built(undecorated, build=cached).execute(["undecorated"], inputs={"n": 1})


def test_only_functions_of_the_module_are_nodes() -> None:
    def one(n: int) -> int:
        return n

    class Three:
        __name__ = "three"

        def __call__(self, n: int) -> int:
            return n

    module = flow("discovered", one)
    module.two = partial(one)  # type: ignore[attr-defined]
    module.three = Three()  # type: ignore[attr-defined]
    names = {each.name for each in driver.Builder().with_modules(module).build().graph.get_nodes()}
    assert names == {"n", "one"}


def test_the_old_cache_takes_injected_nodes_for_each_other_but_not_those_that_ask() -> None:
    @inject(one=source("n"), other=value(5))
    def add(one: int, other: int) -> int:
        return one + other

    @inject(one=source("n"), other=value(5))
    def mul(one: int, other: int) -> int:
        return one * other

    made = built(add, mul)
    callable_ = made.graph.nodes["add"].callable
    assert isinstance(callable_, partial)
    says = "module, class, method, function, traceback, frame, or code object was expected"
    with pytest.raises(TypeError, match=says):
        inspect.getsource(callable_)
    versions = {each.version for each in made.list_available_variables() if each.name != "n"}
    assert len(versions) == 2, "by the functions they came from, nodes are told apart"

    def with_adapter(builder: Any) -> Any:
        return builder.with_adapters(CacheAdapter(cache_path="old"))

    wrong = built(add, mul, build=with_adapter).execute(["add", "mul"], inputs={"n": 3})
    assert wrong == {"add": 8, "mul": 8}, "8 is not 3 * 5"

    # The same two, and two that are called alike, under `@cmdline`.
    @cmdline()
    @inject(one=source("n"), other=value(5))
    def added(one: int, other: int) -> Generator[Any, Any, int]:
        done = yield {"cmd": f"echo $(({one} + {other}))"}
        return int(done.stdout)

    @inject(one=source("n"), other=value(5))
    @cmdline()
    def multiplied(one: int, other: int) -> Generator[Any, Any, int]:
        done = yield {"cmd": f"echo $(({one} * {other})); echo ran >> ran"}
        return int(done.stdout)

    @cmdline()
    def half(n: int) -> Generator[Any, Any, int]:
        done = yield {"cmd": f"echo $(({n} / 2))"}
        return int(done.stdout)

    @cmdline()
    def twice(n: int) -> Generator[Any, Any, int]:
        done = yield {"cmd": f"echo $(({n} * 2))"}
        return int(done.stdout)

    names = ["added", "multiplied", "half", "twice"]
    for _ in range(2):
        made = built(added, multiplied, half, twice, build=with_adapter)
        assert list(made.execute(names, inputs={"n": 4}).values()) == [9, 20, 2, 8]
    assert Path("ran").read_text() == "ran\n", "of the second run all was there"


def test_a_cache_knows_nothing_of_files() -> None:
    def written(path: str) -> str:
        Path(path).write_text("made")
        return path

    for _ in range(2):
        made = built(written, build=cached)
        assert made.execute(["written"], inputs={"path": "file"}) == {"written": "file"}
        left = Path("file").exists()
        Path("file").unlink(missing_ok=True)
    assert not left, "the second time it was a hit, though the file was gone"


@pytest.mark.parametrize("above", [True, False])
def test_what_is_said_of_the_cache_of_a_node_holds_for_nodes_that_ask(above: bool) -> None:
    def asking(n: int) -> Generator[Any, Any, int]:
        found: int = yield {"is": n}
        return found

    anew = cache(behavior="recompute")
    often = anew(flows.told()(asking)) if above else flows.told()(anew(asking))
    asked = []
    for node_, how in ((often, {}), (flows.plain, {}), (flows.plain, {"recompute": ["plain"]})):
        for _ in range(2):
            name = node_.__name__
            made = built(node_, build=partial(cached, **how))
            assert made.execute([name], inputs={"n": 1})[name] in (1, 3)
            asked.append(len(flows.told.heard))
    # Anew each time; once and then no more; anew each time as the call says. `plain` asks twice.
    assert asked == [1, 2, 4, 4, 6, 8]


def test_two_nodes_go_one_after_the_other_and_only_blocks_go_to_the_remote_executor() -> None:
    spans: dict[str, tuple[float, float]] = {}

    def timed(name: str) -> int:
        begun = time.monotonic()
        time.sleep(0.05)
        spans[name] = (begun, time.monotonic())
        return 1

    def one() -> int:
        return timed("one")

    def two() -> int:
        return timed("two")

    def both(one: int, two: int) -> int:
        return one + two

    threads = executors.MultiThreadingExecutor(max_tasks=2)
    manager = DefaultExecutionManager(executors.SynchronousLocalTaskExecutor(), threads)
    for build in (lambda b: b, dynamic(manager)):
        assert built(one, two, both, build=build).execute(["both"]) == {"both": 2}
        first, second = sorted(spans.values())
        assert first[1] <= second[0]
    chosen = {
        purpose: manager.get_executor_for_task(type("Task", (), {"purpose": purpose})())
        for purpose in NodeGroupPurpose
    }
    assert [purpose.name for purpose, to in chosen.items() if to is threads] == ["EXECUTE_BLOCK"]


def test_tasks_are_asked_in_a_busy_loop_and_for_results_that_are_not_there_yet() -> None:
    asked: list[TaskState] = []

    class Asked(TaskFuture):  # type: ignore[misc]  # Hamilton has no types
        def __init__(self, inner: TaskFuture) -> None:
            self.inner = inner

        def get_state(self) -> TaskState:
            asked.append(self.inner.get_state())
            return asked[-1]

        def get_result(self) -> Any:
            return self.inner.get_result()

    class Asking(WaitingExecutor):
        def submit_task(self, task: Any) -> TaskFuture:
            return Asked(super().submit_task(task))

        def _quiet(self, future: Any) -> None:
            """Nobody is held up."""

    class Manager(ExecutionManager):  # type: ignore[misc]
        def get_executor_for_task(self, task: Any) -> Any:  # noqa: ARG002
            return self.executors[0]

    made = built(flows.asleep_one, build=dynamic(Manager([Asking()])))
    assert made.execute(["asleep_one"]) == {"asleep_one": 1.0}
    # As often as it can; `WaitingExecutor` by itself is asked a few times only.
    assert asked.count(TaskState.RUNNING) > 200


def test_only_one_adapter_may_run_nodes_so_none_of_ours_does() -> None:
    class Runs(lifecycle.NodeExecutionMethod):  # type: ignore[misc]
        def run_to_execute_node(self, **how: Any) -> Any:
            return how["node_callable"](**how["node_kwargs"])

    def build(count: int) -> Callable[[Any], Any]:
        return lambda builder: builder.with_adapters(*(Runs() for _ in range(count)))

    made = built(flows.plain, flows.tagged_outside, build=build(1))
    assert made.execute(["tagged_outside"], inputs={"n": 3}) == {"tagged_outside": 6}
    with pytest.raises(Exception, match=r"(?i)multiple|layered|more than one"):
        built(flows.plain, build=build(2)).execute(["plain"], inputs={"n": 3})


def test_annotations_that_are_text_are_resolved_before_hamilton_sees_them() -> None:
    original = inspect.unwrap(flows.plain)
    assert original.__annotations__["n"] == "int", "the module has its annotations as text"
    assert flows.plain.__annotations__ == {"n": int, "return": int}
    made = node.Node.from_fn(flows.plain)
    assert (made.type, made.input_types["n"][0]) == (int, int)
