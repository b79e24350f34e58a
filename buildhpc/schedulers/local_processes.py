"""The processes of this machine's queue: a group for each job, found again by a later server."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator

from buildhpc.run import processes
from buildhpc.schedulers.local_jobs import Element, Event
from buildhpc.schedulers.local_spool import Spool

# It runs the script only when told that its start is written down; where the server dies before
# that, it says so. The exit code goes to a file as well: the next server is not its parent.
_LAUNCHER = """\
trap : HUP INT QUIT TERM USR1 USR2 ALRM XCPU
end=$1 script=$2 folder=$3 output=$4
umask "$5"
if [ -n "${HPCMAKE_QUEUE_ENV+x}" ]; then
    export BASH_ENV=$HPCMAKE_QUEUE_ENV
    unset HPCMAKE_QUEUE_ENV
fi
say() { printf '%s\\n' "$1" >"$end"; }
read -r go || { say again; exit 0; }
cd -- "$folder" || { say "launch the folder $folder cannot be entered"; exit 1; }
: >>"$output" || { say "launch the file $output cannot be written"; exit 1; }
code=0
bash "$script" </dev/null >>"$output" 2>&1 || code=$?
say $code
exit $code
"""

_MARK = "HPCMAKE_QUEUE_JOB"


def end_of(failure: str, said: str, began: bool, code: int | None = None) -> Event:
    """The event of an end; the words are those of `Verdict`."""
    facts = {"failure": failure, "said": said, "began": began, "code": code}
    return {"event": "end", **facts, "host": os.uname().nodename, "at_s": time.time()}


class Processes:
    """Starts, watches and ends the processes of elements.

    boot: tells this boot of this machine, and the space of process numbers, from all others.
    """

    def __init__(self, spool: Spool) -> None:
        self.boot = _boot()
        self._spool = spool
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._others: dict[int, int] = {}

    def prepare(self, element: Element, gpus: list[str]) -> tuple[int, int]:
        """Start the launcher of an element, which waits for `go`: its pid and when it started.

        Raises: OSError.
        """
        job = element.job
        env = {
            name: value
            for name, value in job.context["env"].items()
            if not name.startswith("HPCMAKE_QUEUE_")
        }
        if "BASH_ENV" in env:  # for the script, not for the launcher
            env["HPCMAKE_QUEUE_ENV"] = env.pop("BASH_ENV")
        if job.wish.gpus:
            env["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
        env |= {_MARK: element.id, "HPCMAKE_QUEUE_ELEMENT": str(element.index)}
        end, script = self._spool.path("ends", element.id), self._spool.path("scripts", job.id)
        words = [end, script, job.wish.folder, job.wish.output, str(job.context["umask"])]
        child = subprocess.Popen(
            ["bash", "-c", _LAUNCHER, "launcher", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=env,
        )
        self._children[child.pid] = child
        found = processes.process(child.pid)
        return child.pid, found.begun if found else 0

    def go(self, pid: int) -> None:
        """Let a launcher run its script."""
        pipe = self._children[pid].stdin
        assert pipe is not None
        try:
            pipe.write(b"go\n")
            pipe.close()
        except OSError:
            return  # it was killed meanwhile

    def drop(self, pid: int) -> None:
        """Do without a launcher that waits."""
        child = self._children.pop(pid)
        child.kill()
        child.communicate()

    def watched(self) -> list[int]:
        """File descriptors that become readable when a process that is no child of ours ends."""
        return [fd for fd in self._others.values() if fd >= 0]

    @property
    def blind(self) -> bool:
        """Whether a process runs whose end will not be told."""
        return -1 in self._others.values()

    def ended(self, running: Iterable[Element]) -> Iterator[tuple[Element, Event]]:
        """Elements whose processes have ended, each with its end or that it is to run again."""
        by_pid = {each.start["pid"]: each for each in running}
        for pid, status in self._reaped():
            if pid in by_pid:
                yield by_pid[pid], self._end(by_pid[pid], status)
        for pid, element in by_pid.items():
            if pid in self._children or element.state != "running":
                continue
            if self._alive(element):
                self._watch(pid)
                continue
            self.kill(element)
            yield element, self._end(element, None)
            if (fd := self._others.pop(pid, -1)) >= 0:
                os.close(fd)

    def signal(self, element: Element, number: int) -> None:
        """Send a signal to the process group of an element."""
        if self._alive(element):
            _send(-element.start["pid"], number)

    def signal_script(self, element: Element, number: int) -> None:
        """Send a signal to the script of an element alone."""
        if self._alive(element):
            pid = element.start["pid"]
            for each in filter(None, map(processes.process, processes.pids())):
                if each.parent == pid:
                    _send(each.pid, number)

    def kill(self, element: Element) -> None:
        """Kill all processes of an element: its group, those below it, those with its mark."""
        pid, mark = element.start["pid"], f"{_MARK}={element.id}".encode()
        below = {each.pid for each in processes.tree(pid)} if self._alive(element) else set()
        self.signal(element, signal.SIGKILL)  # all at once, so that none tells of another's end
        for each in processes.pids():
            if each in below or mark in _environment(each):
                _send(each, signal.SIGKILL)

    def _reaped(self) -> Iterator[tuple[int, int]]:
        """Children that have ended: pid and wait status."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            # While it is a zombie its number is nobody else's: what is left of its group goes.
            _send(-found.si_pid, signal.SIGKILL)
            pid, status = os.waitpid(found.si_pid, 0)
            if child := self._children.pop(pid, None):
                child.returncode = status
                if child.stdin:
                    child.stdin.close()
            yield pid, status

    def _end(self, element: Element, status: int | None) -> Event:
        if element.stop:
            self.kill(element)
        text = self._spool.read("ends", element.id)
        if text == "again":
            return {"event": "again"}
        if text.startswith("launch "):
            return end_of("launch", text.removeprefix("launch "), False)
        code = int(text) if text.isdigit() else None
        if code is None and status is not None and os.WIFEXITED(status):
            code = os.WEXITSTATUS(status)
        if element.stop:
            said = f"{element.stop['why']} after {_age(element):.0f} s"
            return end_of(element.stop["why"], said, True, code)
        if code is not None:
            return end_of(_failure(code), f"exit code {code}", True, code)
        if element.start["boot"] != self.boot:
            return end_of("node", "the machine was started anew while it ran", True)
        if status is None:
            return end_of("signal", "it was killed while no server watched it", True)
        name = signal.Signals(os.WTERMSIG(status)).name
        return end_of("signal", f"killed by {name}", True)

    def _alive(self, element: Element) -> bool:
        start = element.start
        found = processes.process(start["pid"]) if start["boot"] == self.boot else None
        return found is not None and found.begun == start["begun"] and found.state not in "ZX"

    def _watch(self, pid: int) -> None:
        if pid not in self._others:
            try:
                self._others[pid] = os.pidfd_open(pid)
            except OSError:  # it has just ended, or this kernel is older than 5.3
                self._others[pid] = -1


def _failure(code: int) -> str:
    if code > 128 and code - 128 in set(signal.Signals):
        return "signal"
    return "exit" if code else ""


def _age(element: Element) -> float:
    return float(element.stop["at_s"] - element.start["at_s"])


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _environment(pid: int) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
