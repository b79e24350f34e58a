"""The one lock under which the state is written."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from buildhpc.diagnostics import HpcmakeError, Problem
from buildhpc.messages import state as messages

if TYPE_CHECKING:
    from filelock import BaseFileLock

# What flock answers where a file system has no locks. Source: flock(2), nfs(5).
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})

POLL_S = 0.02

# So long nothing is said of waiting.
QUIET_S = 5.0

# Nobody takes a lease over that was renewed within this time, but for one of a dead process.
LEASE_S = 30.0


class Lock:
    """A lock on a folder that several processes, also on several hosts, may contend for.

    leased: there are no real locks here, and a lease with a heartbeat serves.
    ahead_s: how far the clock of the file system is ahead of this host's, as last seen.
    """

    def __init__(self, path: Path, timeout_s: float, notice: Callable[[Problem], None]) -> None:
        self.path = path
        self.leased = False
        self.ahead_s = 0.0
        self._timeout_s = timeout_s
        self._notice = notice
        self._lock: BaseFileLock | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock.

        Raises: messages.locked with exit code 3, and OSError.
        """
        lock = self._acquire()
        try:
            self._sign()
            yield
        finally:
            lock.release()

    def check(self) -> None:
        """Make sure that the lock is still held; a lease may be lost.

        Raises: messages.lease_lost with exit code 3.
        """
        if not self.leased:
            return
        # The heartbeat notices late where the whole process was stopped. For the moment in which
        # another looks closely at a lease its file is not there.
        for _ in range(3):
            if getattr(self._lock, "compromise", None) is not None:
                break
            if getattr(self._lock, "is_lock_held_by_us", False):
                return
            time.sleep(POLL_S)
        raise HpcmakeError(messages.lease_lost(self.path), exit_code=3)

    def _acquire(self) -> BaseFileLock:
        from filelock import FileLock

        if self._lock is None:
            # Its own fallback, a lock file without a heartbeat, would outlive a lost host.
            self._lock = FileLock(self.path, fallback_to_soft=False)
        try:
            self._wait_for(self._lock)
        except OSError as error:
            if self.leased or error.errno not in NO_LOCKS:
                raise
            self._lock = self._lease(error)
            self._wait_for(self._lock)
        return self._lock

    def _wait_for(self, lock: BaseFileLock) -> None:
        """Wait, and say so where it takes long. Raises: messages.locked, OSError."""
        from filelock import Timeout

        quiet_s = min(QUIET_S, self._timeout_s)
        try:
            try:
                lock.acquire(timeout=quiet_s, poll_interval=POLL_S)
            except Timeout:
                if quiet_s == self._timeout_s:
                    raise
                self._notice(messages.waiting(self.path, self._holder()))
                lock.acquire(timeout=self._timeout_s - quiet_s, poll_interval=POLL_S)
        except Timeout as error:
            problem = messages.locked(self.path, self._timeout_s, self._holder())
            raise HpcmakeError(problem, exit_code=3) from error

    def _lease(self, error: OSError) -> BaseFileLock:
        from filelock import SoftFileLease

        self.leased = True
        self._notice(messages.lease(self.path, error.strerror or str(error)))
        return SoftFileLease(self.path.with_suffix(".lease"), lease_duration=LEASE_S)

    def _sign(self) -> None:
        """Leave a name for those who wait, and look at the clock of the file system."""
        with suppress(OSError):
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            try:
                now_s = time.time()
                os.write(fd, f"process {os.getpid()} on {os.uname().nodename}\n".encode())
                self.ahead_s = os.fstat(fd).st_mtime - now_s
            finally:
                os.close(fd)

    def _holder(self) -> str | None:
        with suppress(OSError, UnicodeError):
            return self.path.read_text(encoding="utf-8").strip() or None
        return None
