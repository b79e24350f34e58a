"""What this machine, or the part of it that is ours, has: cores, memory, GPUs."""

# Paths are text here.

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Limits:
    """What jobs may use together.

    mem_mib: None: unknown, so not limited. gpus: the devices, as CUDA_VISIBLE_DEVICES names them.
    resources: the user's own countable things; one that has no entry is not limited.
    enforce_mem: a job that is seen to use more memory than its `mem` is ended.
    """

    cores: int
    mem_mib: int | None = None
    gpus: tuple[str, ...] = ()
    resources: dict[str, float] = field(default_factory=dict)
    enforce_mem: bool = False


def detect_limits() -> Limits:
    """The limits of this machine, or of the cgroup hpcmake runs in."""
    return Limits(_cores(), _mem_mib(), _gpus())


class OomWatch:
    """Tells whether the kernel has ended processes because memory ran out."""

    def __init__(self) -> None:
        # The kernel counts at the cgroup of the process it ended, which jobs share with us,
        # wherever above it the limit is. Only the root cgroup of version 2 has no such file.
        found = [*_own_files("memory.events"), *_own_files("memory.oom_control")]
        self._path = max(found, key=len, default="/proc/vmstat")
        self.seen = self.count()

    def count(self) -> int:
        """How many processes the kernel has ended so far, as far as can be seen."""
        self.seen = _number(self._path, r"^oom_kill (\d+)") or 0
        return self.seen


def _cores() -> int:
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    quotas = [_quota(path, r"^(\d+) (\d+)") for path in _own_files("cpu.max")]
    for path in _own_files("cpu.cfs_quota_us"):
        quota = _number(path, r"^(\d+)")
        period = _number(path.replace("quota", "period"), r"^(\d+)")
        quotas.append(quota / period if quota and period else None)
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas if quota)]))


def _mem_mib() -> int | None:
    sizes: list[int] = []
    total = _number("/proc/meminfo", r"^MemTotal:\s+(\d+) kB")
    if total:
        sizes.append(total // 1024)
    else:
        try:
            sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20)
        except (ValueError, OSError):
            return None
    # Without a limit the file of version 2 holds `max`, that of version 1 a number near 2**63.
    for path in [*_own_files("memory.max"), *_own_files("memory.limit_in_bytes")]:
        limit = _number(path, r"^(\d+)")
        if limit:
            sizes.append(limit // 2**20)
    return min(sizes)


def _gpus() -> tuple[str, ...]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(word.strip() for word in visible.split(",") if word.strip() not in ("", "-1"))
    names = _listed("/dev")
    devices = [name for name in names if re.fullmatch(r"nvidia\d+", name)]
    if not devices and "dxg" not in names:  # how Windows lends its GPUs to Linux
        return ()
    import subprocess  # 17 ms, which machines without GPUs do not pay

    try:
        answer = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return tuple(map(str, range(len(devices))))
    return tuple(re.findall(r"^GPU (\d+):", answer.stdout, re.MULTILINE))


def _own_files(name: str) -> list[str]:
    """The files of a name in the cgroups of this process and above, those that exist.

    Source: cgroups(7): a line is `0::/PATH` in version 2, `ID:CONTROLLERS:/PATH` in version 1.
    In a container /PATH may not exist below the mount point; the mount point is its own then.
    """
    roots: set[str] = set()
    for line in _text("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        if controllers:
            mounts = [f"/sys/fs/cgroup/{each}" for each in (controllers, controllers.split(",")[0])]
        for mount in mounts:
            roots.update(_upwards(mount, path))
    return [path for path in (f"{root}/{name}" for root in sorted(roots)) if os.path.exists(path)]


def _upwards(mount: str, path: str) -> Iterable[str]:
    while path not in ("", "/"):
        yield mount + path
        path = os.path.dirname(path)
    yield mount


def _quota(path: str, pattern: str) -> float | None:
    found = re.search(pattern, _text(path), re.MULTILINE)
    return int(found[1]) / int(found[2]) if found else None


def _number(path: str, pattern: str) -> int | None:
    found = re.search(pattern, _text(path), re.MULTILINE)
    return int(found[1]) if found else None


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
