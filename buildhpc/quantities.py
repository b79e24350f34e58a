"""Sizes and times: `4G`, `1h30m`, and what can be computed with them."""

from __future__ import annotations

import re

_SIZE_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
_TIME_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGTP])(?:i?B)?")
_TIME = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_TIME_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")
_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)")


class Size(float):
    """An amount of memory or disk, in bytes; units are binary, `1G` is 1024 MiB.

    As text it is `4G` or `500M`, or its bytes where it is no whole number of MiB.
    """

    __slots__ = ()

    @property
    def bytes(self) -> int:
        """Whole bytes, rounded up."""
        return -int(-float(self) // 1)

    @property
    def mb(self) -> int:
        """Whole MiB, rounded up, as schedulers count."""
        return -int(-float(self) // 2**20)

    @property
    def gb(self) -> int:
        """Whole GiB, rounded up."""
        return -int(-float(self) // 2**30)

    def __str__(self) -> str:
        if float(self) % 2**20:
            return str(self.bytes)
        mib = self.mb
        return f"{mib // 1024}G" if mib % 1024 == 0 and mib else f"{mib}M"

    __repr__ = __str__


class Duration(float):
    """A length of time, in seconds."""

    __slots__ = ()

    @property
    def seconds(self) -> int:
        """Whole seconds, rounded up."""
        return -int(-float(self) // 1)

    @property
    def minutes(self) -> int:
        """Whole minutes, rounded up, as schedulers count."""
        return -int(-float(self) // 60)

    @property
    def hours(self) -> int:
        """Whole hours, rounded up."""
        return -int(-float(self) // 3600)

    @property
    def hms(self) -> str:
        """`H:MM:SS`, hours unbounded."""
        seconds = self.seconds
        return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"

    def __str__(self) -> str:
        return self.hms

    __repr__ = __str__


def quantity(text: str) -> Size | Duration | None:
    """The size or time that `text` spells, None when it spells neither."""
    if match := _SIZE.fullmatch(text):
        return Size(float(match[1]) * _SIZE_UNITS[match[2]])
    if match := _CLOCK.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        if minutes > 59 or seconds > 59:
            return None
        return Duration(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    if _TIME.fullmatch(text):
        parts = _TIME_PART.findall(text)
        units = [unit for _, unit in parts]
        if units == sorted(set(units), key="dhms".index):
            return Duration(sum(float(number) * _TIME_UNITS[unit] for number, unit in parts))
    return None


def human_time(seconds: float) -> str:
    """A length of time as people say it: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02} s"
    return f"{int(seconds // 3600)} h {int(seconds // 60 % 60):02} min"


def human_size(mib: float) -> str:
    """An amount of memory as people say it: `12 MiB`, `3.4 GiB`."""
    return f"{mib:.0f} MiB" if mib < 1000 else f"{mib / 1024:.1f} GiB"
