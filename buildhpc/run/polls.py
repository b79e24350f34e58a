"""One question for all: what a queue answered, kept for every hpcmake of a user on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from buildhpc.run.calls import Place, private_folder
from buildhpc.schedulers.protocol import Answer

POLL_S = 15.0
LONGEST_POLL_S = 180.0
# What tells one scheduler from another where the same program speaks to both.
_CLUSTERS = ("SLURM_CONF", "SGE_ROOT", "SGE_CELL", "PBS_CONF_FILE", "PBS_DEFAULT", "PBS_SERVER")


@dataclass(frozen=True, slots=True)
class Look:
    """An answer of a queue. asked_s: when it was asked for, by this machine's clock.

    failures: so many times in a row the queue gave no answer that could be read; 0: it did now.
    """

    answer: Answer
    asked_s: float
    failures: int = 0

    def due_s(self, poll_s: float) -> float:
        """When the queue may be asked again."""
        most_s = max(poll_s, LONGEST_POLL_S)
        return self.asked_s + min(most_s, poll_s * float(2 ** min(self.failures, 20)))


class Poll:
    """The question about the queue of one cluster.

    A look that another hpcmake of this user had a moment ago serves as well. ask: asks the queue.
    good: whether its answer could be read.
    """

    def __init__(
        self,
        place: Place,
        command: Sequence[str],
        ask: Callable[[], Answer],
        good: Callable[[Answer], bool],
    ) -> None:
        self._ask = ask
        self._good = good
        self._name = _name(place, command)
        self._last: Look | None = None

    def look(self, poll_s: float = POLL_S, since_s: float = 0.0) -> Look:
        """What the queue answered, not more than `poll_s` ago, later after failures.

        since_s: an answer to what was asked before then does not serve.
        """
        try:
            path = os.path.join(private_folder("polls"), self._name)
            lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:  # nothing can be shared here
            return self._looked(self._last, poll_s, since_s)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # who waits for it gets the other's look
            before = _read(path)
            look = self._looked(before, poll_s, since_s)
            if look is not before:
                _write(path, look)
        finally:
            os.close(lock)
        return look

    def _looked(self, before: Look | None, poll_s: float, since_s: float) -> Look:
        now_s = time.time()
        if before and since_s <= before.asked_s <= now_s < before.due_s(poll_s):
            return before
        answer = self._ask()
        failures = 0 if self._good(answer) else (before.failures if before else 0) + 1
        self._last = Look(answer, now_s, failures)
        return self._last


def _name(place: Place, command: Sequence[str]) -> str:
    """The name of what is asked: the same question has the same one."""
    program = command[0] if place.host else shutil.which(command[0])
    clusters = [os.environ.get(name) for name in _CLUSTERS]
    facts = [program, *command[1:], place.host, *place.ssh, sorted(place.environment.items())]
    return hashlib.sha256(json.dumps([facts, clusters], default=str).encode()).hexdigest()[:32]


def _read(path: str) -> Look | None:
    """The look that is kept; None where there is none that can be read."""
    try:
        with open(path, encoding="utf-8") as file:
            whole: dict[str, Any] = json.load(file)
        look = Look(Answer(**whole.pop("answer")), **whole)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    kinds = (look.answer.out, str), (look.answer.err, str), (look.answer.code, int | None)
    sane = all(isinstance(value, kind) for value, kind in kinds)
    numbers = isinstance(look.asked_s, float) and isinstance(look.failures, int)
    return look if sane and numbers else None


def _write(path: str, look: Look) -> None:
    """Keep a look for others; where that fails they ask for themselves."""
    try:
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(asdict(look), file)
        os.replace(f"{path}.new", path)
    except OSError:
        return
