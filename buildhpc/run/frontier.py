"""Which tasks are ready: a count of unfinished predecessors for each, never a search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

_OPEN, _DONE, _GIVEN_UP = 0, 1, 2


class Frontier:
    """The tasks 0 to `count` - 1 and what each waits for.

    after: the predecessors of a task.
    open: how many tasks are neither finished nor given up.
    """

    def __init__(self, count: int, after: Callable[[int], Iterable[int]]) -> None:
        self.open = 0
        self._waits: list[int] = []
        self._state = bytearray()
        self._successors: list[list[int]] = []
        self.extend(count)
        for task in range(count):
            for before in after(task):
                self._successors[before].append(task)
                self._waits[task] += 1

    def extend(self, count: int) -> None:
        """Let there be `count` tasks; the new ones wait for nothing yet."""
        more = count - len(self._waits)
        self.open += more
        self._waits += [0] * more
        self._state.extend(bytes(more))
        self._successors += [[] for _ in range(more)]

    def wait(self, task: int, after: Iterable[int]) -> int | None:
        """Let an open task wait for more; returns one of these that was given up, if one was."""
        lost = None
        for before in after:
            if self._state[before] == _OPEN:
                self._successors[before].append(task)
                self._waits[task] += 1
            elif self._state[before] == _GIVEN_UP:
                lost = before
        return lost

    def is_ready(self, task: int) -> bool:
        """Whether an open task waits for nothing."""
        return self._state[task] == _OPEN and not self._waits[task]

    def first(self) -> list[int]:
        """The tasks that wait for nothing."""
        return [task for task, waits in enumerate(self._waits) if not waits]

    def is_open(self, task: int) -> bool:
        """Whether the task is neither finished nor given up."""
        return self._state[task] == _OPEN

    def finish(self, task: int) -> list[int]:
        """The tasks that waited for this one last, which is finished now."""
        self._settle(task, _DONE)
        ready = []
        waits = self._waits
        for each in self._successors[task]:
            waits[each] -= 1
            if not waits[each] and self._state[each] == _OPEN:
                ready.append(each)
        return ready

    def give_up(self, task: int) -> Iterator[int]:
        """Give up a task that failed: every task that needs it, directly or not, each once."""
        self._settle(task, _GIVEN_UP)
        todo = [task]
        while todo:
            for each in self._successors[todo.pop()]:
                if self._state[each] == _OPEN:
                    self._settle(each, _GIVEN_UP)
                    todo.append(each)
                    yield each

    def _settle(self, task: int, state: int) -> None:
        self._state[task] = state
        self.open -= 1
