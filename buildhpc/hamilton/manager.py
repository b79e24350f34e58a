"""An execution manager for Hamilton: nodes that wait for jobs wait side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from hamilton.execution.executors import (
    ExecutionManager,
    SynchronousLocalTaskExecutor,
    TaskExecutor,
    TaskFuture,
    base_execute_task,
)
from hamilton.execution.grouping import NodeGroupPurpose, TaskImplementation
from hamilton.execution.state import TaskState

_GLANCE_S = 0.1
_MOST = 256


class _Waiting(TaskFuture):  # type: ignore[misc]  # Hamilton has no types
    """A task in a thread. quiet: waits a moment, or until a task has ended."""

    def __init__(self, future: Future[Any], quiet: Callable[[Future[Any]], None]) -> None:
        self._future = future
        self._quiet = quiet

    def get_state(self) -> TaskState:
        """How the task is; who asks again and again is held up a little."""
        self._quiet(self._future)
        if not self._future.done():
            return TaskState.RUNNING
        return TaskState.FAILED if self._future.exception() else TaskState.SUCCESSFUL

    def get_result(self) -> Any:
        """What came of it; None while it runs. Raises: as the task"""
        return self._future.result() if self._future.done() else None


class WaitingExecutor(TaskExecutor):  # type: ignore[misc]  # Hamilton has no types
    """Runs tasks that mostly wait, each in a thread, without asking them in a busy loop.

    most: so many at a time.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._pool: ThreadPoolExecutor | None = None
        self._going: list[Future[Any]] = []

    def init(self) -> None:
        """Make the threads."""
        self._pool = ThreadPoolExecutor(self._most, "hpcmake-node")

    def finalize(self) -> None:
        """Wait for what runs; what has not begun never will."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        self._going.clear()

    def submit_task(self, task: TaskImplementation) -> TaskFuture:
        """Run a task in a thread."""
        assert self._pool is not None
        future = self._pool.submit(base_execute_task, task)
        self._going.append(future)
        return _Waiting(future, self._quiet)

    def can_submit_task(self) -> bool:
        """Whether there is a thread for one more."""
        self._going = [each for each in self._going if not each.done()]
        return len(self._going) < self._most

    def _quiet(self, future: Future[Any]) -> None:
        """Let who asks about the oldest task wait until any has ended, or for a moment."""
        self._going = [each for each in self._going if not each.done()]
        if self._going and self._going[0] is future:
            wait(self._going, _GLANCE_S, FIRST_COMPLETED)


class HpcExecutionManager(ExecutionManager):  # type: ignore[misc]  # Hamilton has no types
    """Routes tasks by the tags of their nodes.

    waiting: for nodes under `@submit`; by default threads. here: for all others. blocks: for the
    blocks of `Parallelizable` without such nodes; by default as `here`. routes: alias of a system
    -> the executor of its nodes. commands: for nodes under `@cmdline`; by default as `waiting`.
    """

    def __init__(
        self,
        waiting: TaskExecutor | None = None,
        here: TaskExecutor | None = None,
        blocks: TaskExecutor | None = None,
        routes: Mapping[str, TaskExecutor] | None = None,
        commands: TaskExecutor | None = None,
    ) -> None:
        self.waiting = waiting or WaitingExecutor()
        self.here = here or SynchronousLocalTaskExecutor()
        self.blocks = blocks or self.here
        self.routes = dict(routes or {})
        self.commands = commands or self.waiting
        everyone = [self.waiting, self.here, self.blocks, *self.routes.values(), self.commands]
        super().__init__(list({id(each): each for each in everyone}.values()))

    def get_executor_for_task(self, task: TaskImplementation) -> TaskExecutor:
        """The executor that a task is for."""
        tags = [each.tags for each in task.nodes]
        aliases = [each["hpc.cluster"] for each in tags if "hpc.cluster" in each]
        if aliases:
            return self.routes.get(aliases[0], self.waiting)
        if any("cmdline" in each for each in tags):
            return self.commands
        return self.blocks if task.purpose == NodeGroupPurpose.EXECUTE_BLOCK else self.here
