"""What jobs asked for and used, side by side, and what to ask for next time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from buildhpc.quantities import Duration, Size, human_size, human_time
from buildhpc.state.usage import Used

# Less than this part of what was asked for is a waste; more than the other is close to the edge.
_LITTLE, _CLOSE = 0.5, 0.9
_SPARE = 1.25
_NAMES = {"time": "time", "mem": "memory", "cores": "CPU"}
HEAD = ("rule", "jobs", "time used", "asked", "memory used", "asked", "cores used", "asked")


def row(each: Used) -> tuple[str, ...]:
    """The cells of one rule; of what was used the median and the most."""
    return (
        each.rule,
        f"{each.jobs:,}",
        _pair(each.wall_s, each.most_wall_s, human_time),
        human_time(each.time_s) if each.time_s else "-",
        _pair(each.peak_mib, each.most_peak_mib, human_size),
        human_size(each.mem_mib) if each.mem_mib else "-",
        "-" if each.busy_cores is None else f"{each.busy_cores:.1f}",
        "-" if each.cores is None else f"{each.cores:g}",
    )


def _pair(middle: float | None, most: float | None, text: Callable[[float], str]) -> str:
    if middle is None or most is None:
        return "-"
    one, two = text(middle), text(most)
    return one if one == two else f"{one}, at most {two}"


def advice(used: Sequence[Used]) -> Iterator[str]:
    """What to ask for instead, a line each."""
    for each in used:
        if each.time_s and each.most_wall_s:
            part = each.most_wall_s / each.time_s
            if part < _LITTLE or part > _CLOSE:
                yield _line(each, "time", _time(each.most_wall_s), part)
        if each.mem_mib and each.most_peak_mib:
            part = each.most_peak_mib / each.mem_mib
            if part < _LITTLE or part > _CLOSE:
                yield _line(each, "mem", _mem(each.most_peak_mib), part)
        if each.cores and each.cores > 1 and each.busy_cores is not None:
            part = each.busy_cores / each.cores
            if part < _LITTLE:
                cores = str(max(1, math.ceil(each.busy_cores)))
                yield _line(each, "cores", cores, part)


def _line(each: Used, what: str, instead: str, part: float) -> str:
    text = f"{each.rule}: at most {part:.0%} of the {_NAMES[what]} asked for was used; "
    verb = "is safer" if part > _CLOSE else "would do"
    return text + f"`{what}: {instead}` {verb}"


def _time(seconds: float) -> str:
    minutes = max(1, math.ceil(seconds * _SPARE / 60))
    return f"{minutes}m" if minutes < 120 else str(Duration(math.ceil(minutes / 60) * 3600))


def _mem(mib: float) -> str:
    wanted = max(100, math.ceil(mib * _SPARE / 100) * 100)
    return str(Size(wanted * 2**20)) if wanted < 4096 else f"{math.ceil(wanted / 1024)}G"
