"""Groups of one priority: a lower one begins when nothing of a higher one is to come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

# From here on a job goes ahead of every job of every run of the working folder.
URGENT = 100


def inherited(priorities: Sequence[int], after: Callable[[int], Iterable[int]]) -> list[int]:
    """The priorities, each at least that of all that need the job.

    after: the jobs that a job needs, mostly of lower numbers. So what a job needs never waits for
    the job itself, and goes ahead with it.
    """
    found = list(priorities)
    more = len(set(found)) > 1
    while more:
        more = False
        for number in range(len(found) - 1, -1, -1):
            for each in after(number):
                if found[each] < found[number]:
                    found[each] = found[number]
                    more = more or each > number
    return found


class Groups:
    """Which group may run now; each job is of the group of its priority.

    priorities: as `inherited`. open_: the jobs that are yet to end.
    """

    def __init__(self, priorities: Sequence[int], open_: Iterable[int]) -> None:
        self._priorities = priorities
        self._open: dict[int, int] = {}
        for number in open_:
            self._open[priorities[number]] = self._open.get(priorities[number], 0) + 1
        self.front = max(self._open, default=0)

    def may_run(self, number: int) -> bool:
        """Whether nothing of a higher group is to come."""
        return self._priorities[number] >= self.front

    def end(self, number: int) -> bool:
        """Take note that a job ended; whether the next group may run now."""
        priority = self._priorities[number]
        self._open[priority] -= 1
        if self._open[priority]:
            return False
        del self._open[priority]
        before, self.front = self.front, max(self._open, default=self.front)
        return self.front < before
