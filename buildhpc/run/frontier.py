"""Which tasks are ready: a count of unfinished predecessors for each, never a search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

_OPEN, _SETTLED = 0, 1


class Frontier:
    """The tasks 0 to `count` - 1 and what each waits for.

    after: the predecessors of a task.
    open: how many tasks are neither finished nor given up.
    """

    def __init__(self, count: int, after: Callable[[int], Iterable[int]]) -> None:
        self.open = count
        self._waits = [0] * count
        self._state = bytearray(count)
        self._successors: list[list[int]] = [[] for _ in range(count)]
        for task in range(count):
            for before in after(task):
                self._successors[before].append(task)
                self._waits[task] += 1

    def first(self) -> list[int]:
        """The tasks that wait for nothing."""
        return [task for task, waits in enumerate(self._waits) if not waits]

    def is_open(self, task: int) -> bool:
        """Whether the task is neither finished nor given up."""
        return self._state[task] == _OPEN

    def finish(self, task: int) -> list[int]:
        """The tasks that waited for this one last, which is finished now."""
        self._settle(task)
        ready = []
        waits = self._waits
        for each in self._successors[task]:
            waits[each] -= 1
            if not waits[each] and self._state[each] == _OPEN:
                ready.append(each)
        return ready

    def give_up(self, task: int) -> Iterator[int]:
        """Give up a task that failed: every task that needs it, directly or not, each once."""
        self._settle(task)
        todo = [task]
        while todo:
            for each in self._successors[todo.pop()]:
                if self._state[each] == _OPEN:
                    self._settle(each)
                    todo.append(each)
                    yield each

    def _settle(self, task: int) -> None:
        self._state[task] = _SETTLED
        self.open -= 1
