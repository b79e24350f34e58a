"""Data flows for `test_hamilton`: modules whose functions are nodes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Mapping
from types import ModuleType
from typing import Any

from hamilton.function_modifiers import inject, parameterize, source, tag, value
from hamilton.htypes import Collect, Parallelizable

from buildhpc.hamilton import JobInfo, YieldDecorator, cmdline, submit

Asks = Generator[Mapping[str, Any], Any, int]


def flow(name: str, *functions: Callable[..., Any]) -> ModuleType:
    """A module of these functions, as Hamilton takes it; one that processes can import."""
    module = ModuleType(name)
    for function in functions:
        function.__module__ = name
        setattr(module, function.__name__, function)
    sys.modules[name] = module
    return module


class told(YieldDecorator):  # noqa: N801
    """Sends back what is yielded, and keeps it."""

    heard: list[Any] = []  # noqa: RUF012

    def do(self, config: Any) -> Any:
        self.heard.append(config)
        return config["is"]


@told
def plain(n: int) -> Generator[dict[str, int], int, int]:
    """A node."""
    first = yield {"is": n}
    second = yield {"is": 2}
    return first + second


@tag(of="me")
@told()
def tagged_outside(plain: int) -> Asks:
    found: int = yield {"is": plain + 1}
    return found


@told()
@tag(of="me")
def tagged_inside(plain: int) -> Asks:
    found: int = yield {"is": plain + 2}
    return found


@told()
@parameterize(three={"by": value(3)}, five={"by": value(5)})
def times(plain: int, by: int) -> Asks:
    found: int = yield {"is": plain * by}
    return found


@parameterize(seven={"by": value(7)})
@told()
def more_times(plain: int, by: int) -> Asks:
    found: int = yield {"is": plain * by}
    return found


@told()
@inject(one=source("plain"), other=value(5))
def added(one: int, other: int) -> Asks:
    found: int = yield {"is": one + other}
    return found


@inject(one=source("plain"), other=value(5))
@told()
def multiplied(one: int, other: int) -> Asks:
    found: int = yield {"is": one * other}
    return found


def total(tagged_outside: int, tagged_inside: int, three: int, five: int, seven: int) -> list[int]:
    return [tagged_outside, tagged_inside, three, five, seven]


def injected(added: int, multiplied: int) -> list[int]:
    return [added, multiplied]


def everything(total: list[int], injected: list[int]) -> list[int]:
    return [*total, *injected]


@submit("box", "local", time="1m")
def written(word: str) -> Generator[dict[str, Any], JobInfo, int]:
    job = yield {"cmd": f"echo {word} | tee out/{word}; echo ran >> ran", "outputs": f"out/{word}"}
    return len(job.completed().stdout)


@cmdline()
def counted(written: int) -> Asks:
    done = yield {"cmd": ["echo", str(written)]}
    return int(done.stdout)


def parts(upto: int) -> Parallelizable[int]:
    yield from range(upto)


@submit("box", "local")
def squared(parts: int) -> Asks:
    job = yield {"cmd": f"echo $(({parts} * {parts})); echo {parts} >> squares", "cores": 1}
    return int(job.log)


def summed(squared: Collect[int]) -> int:
    return sum(squared)


@submit("box", "local")
def slow_one(n: int) -> Asks:
    yield {"cmd": f"until test -e go; do sleep 0.05; done; echo one >> ran{n}"}
    return 1


@submit("box", "local")
def slow_two(n: int) -> Asks:
    yield {"cmd": f"touch go; echo two >> ran{n}"}
    return 2


def both(slow_one: int, slow_two: int) -> int:
    return slow_one + slow_two


@submit("lab", "slurm", time="1m")
def on_slurm(n: int) -> Asks:
    job = yield {"cmd": f"touch slurm; until test -e sge; do sleep 0.1; done; echo {n}"}
    return int(job.log)


@submit("grid", "sge", time="1m")
def on_sge(n: int) -> Asks:
    job = yield {"cmd": f"touch sge; until test -e slurm; do sleep 0.1; done; echo {n}0"}
    return int(job.log)


@submit("box", "local")
def on_box(on_slurm: int, on_sge: int) -> Asks:
    job = yield {"cmd": f"echo $(({on_slurm} + {on_sge}))"}
    return int(job.log)


@cmdline
def sorted_words(words: str) -> Generator[dict[str, Any], Any, str]:
    done = yield {"cmd": f"echo {words} | tr ' ' '\\n' | sort | tee sorted", "outputs": "sorted"}
    return str(done.stdout.decode())


def asleep_one() -> float:
    time.sleep(0.3)
    return 1.0


PROTOCOL = (
    plain, tagged_outside, tagged_inside, times, more_times, added, multiplied, total, injected,
    everything,
)  # fmt: skip
