"""One attempt of a job on this machine: a process group from its start to its last member."""

# Paths are text here, and this runs once for every job.

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import time
from typing import NamedTuple

from buildhpc.messages import run as messages
from buildhpc.run import processes
from buildhpc.run.recipes import Command
from buildhpc.run.spec import Failure

# Python ignores SIGPIPE and SIGXFSZ, `nohup` SIGHUP, and `&` in a script SIGINT and SIGQUIT;
# jobs inherit what is ignored unless it is reset.
_RESET = [
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGPIPE,
    signal.SIGXFSZ,
]
_WAIT = os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT
_TERMINAL_STOPS = (signal.SIGTTIN, signal.SIGTTOU)
_FIRST_SAMPLE_S = 0.2
_SAMPLE_S = 1.0
_FIRST_DRAIN_S = 0.005
_LOOK_CLOSER_S = 0.03
_DRAIN_LIMIT_S = 2.0
# The system can be short of processes, memory or file descriptors for a while.
SHORTAGES = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)


class Limit(NamedTuple):
    """What ends an attempt before its time.

    time_s: wall time; None: none. grace_s: between asking a job to end and killing it.
    mem_mib: None: memory is not enforced.
    """

    time_s: float | None = None
    grace_s: float = 10.0
    mem_mib: int | None = None


class NotStartedError(Exception):
    """The system refused to start a process; `shortage`: it may not do so a little later."""

    def __init__(self, text: str, shortage: bool) -> None:
        self.text = text
        self.shortage = shortage
        super().__init__(text)


def spawn(command: Command, stdin: int, log: int, err: int) -> int:
    """Start a command as the leader of a new process group; its pid.

    Raises: NotStartedError
    """
    argv = command.argv
    try:
        return os.posix_spawn(
            argv[0],
            argv,
            command.env,
            file_actions=(
                (os.POSIX_SPAWN_DUP2, stdin, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, err, 2),
            ),
            setpgroup=0,
            setsigmask=(),
            setsigdef=_RESET,
        )
    except ValueError as error:  # a null byte
        raise NotStartedError(messages.not_started(argv[0], str(error)), shortage=False) from error
    except OSError as error:
        if error.errno == errno.E2BIG:
            raise NotStartedError(messages.too_long(argv[0]), shortage=False) from error
        text = messages.not_started(argv[0], error.strerror or str(error))
        raise NotStartedError(text, error.errno in SHORTAGES) from error


def open_log(path: str) -> int:
    """Open the file that what a job prints goes to; what it held before is gone.

    Raises: NotStartedError
    """
    try:
        # Cut to nothing, ext4 would write the file out when it is closed: 1.7 ms.
        if stat.S_ISREG(os.lstat(path).st_mode) and os.lstat(path).st_size:
            os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise NotStartedError(
            messages.refused("remove", path, str(error.strerror)), False
        ) from error
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    except OSError as error:
        text = messages.refused("write", path, error.strerror or str(error))
        raise NotStartedError(text, error.errno in SHORTAGES) from error


class Attempt:
    """A started process group.

    due_s: when `look` is to be called even if no signal said that a process ended, by
        `time.monotonic`.
    """

    def __init__(self, pid: int, limit: Limit) -> None:
        self.pid = pid
        self.started_s = time.time()
        self.cpu_s = 0.0
        self.peak_mib = 0.0
        self.status: int | None = None
        self.ended_early: Failure | None = None
        self._limit = limit
        now = time.monotonic()
        self._sample_s = now + _FIRST_SAMPLE_S
        self._over_s = now + limit.time_s if limit.time_s is not None else float("inf")
        self._kill_s = float("inf")
        self._drain_limit_s = float("inf")
        self._drain_pause_s = _FIRST_DRAIN_S
        self._strays: dict[int, int] = {}
        self.due_s = min(self._sample_s, self._over_s)

    def look(self, now: float) -> bool:
        """Whether the attempt is over: its process has ended, and with it its whole group."""
        if self.status is None and not self._reap(now):
            self._check_limits(now)
            return False
        return self._drained(now)

    def terminate(self, failure: Failure, grace_s: float) -> None:
        """Ask the job to end, and see to it that it has after `grace_s`."""
        if self.ended_early is None:
            self.ended_early = failure
        self._signal(signal.SIGTERM)
        # A stopped process hears of it only when it goes on.
        self._signal(signal.SIGCONT)
        self._kill_s = time.monotonic() + grace_s
        self.due_s = min(self.due_s, self._kill_s)

    def kill(self) -> None:
        """End the job at once."""
        self._signal(signal.SIGKILL)
        self._kill_s = time.monotonic() + 0.5  # once more, for what was started meanwhile
        self.due_s = self._kill_s

    def _reap(self, now: float) -> bool:
        """Whether the leader has ended; then its status, CPU time and memory are known."""
        info = os.waitid(os.P_PID, self.pid, _WAIT)
        if info is None:
            return False
        if info.si_code == os.CLD_STOPPED:
            if info.si_status in _TERMINAL_STOPS and self.ended_early is None:
                self.terminate(Failure("signal", messages.wants_terminal()), 0.0)
            return False
        if self.ended_early is None:
            # Before the leader is reaped: until then its number cannot be another group's.
            _killpg(self.pid, signal.SIGKILL)
            self._kill_s = now
        _, self.status, usage = os.wait4(self.pid, 0)
        self.cpu_s = max(self.cpu_s, usage.ru_utime + usage.ru_stime)
        # Until it executes its program a spawned process shares our memory, and Linux counts
        # that too: a figure no larger than our own says nothing about the job.
        own_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if usage.ru_maxrss > own_kib:
            self.peak_mib = max(self.peak_mib, usage.ru_maxrss / 1024)
        return True

    def _check_limits(self, now: float) -> None:
        if now >= self._over_s:
            self._over_s = float("inf")
            text = messages.over_time(self._limit.time_s or 0)
            self.terminate(Failure("timeout", text), self._limit.grace_s)
        if now >= self._kill_s:
            self.kill()
        if now >= self._sample_s:
            self._sample(now)
        self.due_s = min(self._over_s, self._kill_s, self._sample_s)

    def _sample(self, now: float) -> None:
        """Add up what the whole tree of processes uses at this moment."""
        tree = processes.tree(self.pid)
        rss_mib = sum(each.rss_mib for each in tree)
        self.peak_mib = max(self.peak_mib, rss_mib)
        self.cpu_s = max(self.cpu_s, sum(each.cpu_s for each in tree))
        # At whole seconds, so that one look at many jobs serves them all.
        self._sample_s = (now // _SAMPLE_S + 1) * _SAMPLE_S if tree else float("inf")
        mem_mib = self._limit.mem_mib
        if mem_mib is not None and rss_mib > mem_mib and self.ended_early is None:
            self.terminate(Failure("oom", messages.over_memory(rss_mib, mem_mib)), 0.0)

    def _drained(self, now: float) -> bool:
        """Whether nothing is left of the group; what is left is killed when its time is over."""
        if not self._strays_alive() and not _killpg(self.pid, 0):
            return True
        if now >= self._kill_s:
            self._signal(signal.SIGKILL)
            self._drain_limit_s = min(self._drain_limit_s, now + _DRAIN_LIMIT_S)
        # Where nobody reaps orphans, a group of zombies stays for ever.
        only_zombies = self._drain_pause_s > _LOOK_CLOSER_S and not processes.alive(self.pid)
        if now >= self._drain_limit_s or only_zombies:
            return True
        self.due_s = now + self._drain_pause_s
        self._drain_pause_s = min(2 * self._drain_pause_s, 0.2)
        return False

    def _signal(self, number: int) -> None:
        """Signal the group, and descendants that left it: `timeout` makes a group of its own."""
        for each in processes.tree(self.pid) if self.status is None else ():
            if each.group != self.pid:
                self._strays[each.pid] = each.begun
        _killpg(self.pid, number)
        for stray in self._strays_alive():
            try:
                os.kill(stray, number)
            except (ProcessLookupError, PermissionError):
                continue

    def _strays_alive(self) -> list[int]:
        """The known descendants outside the group that still run, and theirs."""
        if not self._strays:
            return []
        alive = {
            each.pid: each
            for pid, begun in self._strays.items()
            if (root := processes.process(pid)) and root.begun == begun
            for each in processes.tree(pid)
        }
        self._strays = {pid: each.begun for pid, each in alive.items()}
        return list(alive)


def _killpg(group: int, number: int) -> bool:
    """Signal a process group; False when it has ended or become another user's."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def failure_of(attempt: Attempt, oom: bool) -> Failure | None:
    """Why an attempt that is over failed, by its status alone; None: it did not.

    oom: the kernel ended processes for lack of memory while it ran.
    """
    if attempt.ended_early is not None:
        return attempt.ended_early
    code = os.waitstatus_to_exitcode(attempt.status or 0)
    if code == 0:
        return None
    if oom and code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return Failure("oom", messages.out_of_memory(attempt.peak_mib))
    if code < 0:
        return Failure("signal", messages.ended_by_signal(-code))
    return Failure("exit", messages.exited(code))
