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


class Lock:
    """A lock on a folder that several processes, also on several hosts, may contend for.

    leased: there are no real locks here, and a lease with a heartbeat serves; told once.
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
        if getattr(self._lock, "compromise", None) is not None:
            raise HpcmakeError(messages.lease_lost(self.path), exit_code=3)

    def _acquire(self) -> BaseFileLock:
        from filelock import FileLock, Timeout

        if self._lock is None:
            # Its own fallback, a lock file without a heartbeat, would outlive a lost host.
            self._lock = FileLock(self.path, fallback_to_soft=False)
        try:
            try:
                self._lock.acquire(timeout=self._timeout_s, poll_interval=POLL_S)
            except OSError as error:
                if self.leased or error.errno not in NO_LOCKS:
                    raise
                self._lock = self._lease(error)
                self._lock.acquire(timeout=self._timeout_s, poll_interval=POLL_S)
        except Timeout as error:
            problem = messages.locked(self.path, self._timeout_s, self._holder())
            raise HpcmakeError(problem, exit_code=3) from error
        return self._lock

    def _lease(self, error: OSError) -> BaseFileLock:
        from filelock import SoftFileLease

        self.leased = True
        self._notice(messages.lease(self.path, error.strerror or str(error)))
        return SoftFileLease(self.path.with_suffix(".lease"), lease_duration=30.0)

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
