"""The program of a scheduler job: `python -I -S runner.py MANIFEST LINE` runs one element.

It uses the standard library only, and needs no lock to run its jobs and to tell how they went.
"""

# Paths are text here, and this runs once for every job.

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildhpc.run.element import Jobs
    from buildhpc.run.manifest import Element, Header
    from buildhpc.state.receipts import Runner

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PATIENCE_S = 60.0
# So long a front end that follows the run counts as there after its last sign of life.
WATCHED_S = 60.0
_ADVANCE_S = 120.0
_FINE = ("done", "unneeded", "spawned")
# What a scheduler says of this job is not so of those that are submitted from it.
_OF_THIS_JOB = ("SLURM_RESTART_COUNT", "RESTARTED", "HPCMAKE_QUEUE_JOB")
_ADVANCE = """\
import sys
sys.path.append(sys.argv.pop(1))
from buildhpc.cli import main
sys.exit(main(sys.argv[1:]))
"""


def scheduler_id(environ: Mapping[str, str]) -> str:
    """The id of this job or element as its scheduler tells it; empty when it does not.

    Source: sbatch(1), submit(1) and qsub(1) manual pages: Grid Engine sets SGE_TASK_ID to
    `undefined` outside of arrays, PBS has the index in PBS_JOBID.
    """
    if own := environ.get("HPCMAKE_QUEUE_JOB"):
        return own
    if "SLURM_JOB_ID" in environ:
        array, index = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
        return f"{array}_{index}" if array and index else environ["SLURM_JOB_ID"]
    if "PBS_JOBID" in environ:
        return environ["PBS_JOBID"]
    job, task = environ.get("JOB_ID", ""), environ.get("SGE_TASK_ID", "undefined")
    return job if task == "undefined" or not job else f"{job}.{task}"


def restart_count(environ: Mapping[str, str]) -> int | None:
    """How often this job was started anew; None: it was, and nothing says how often."""
    if (count := environ.get("SLURM_RESTART_COUNT", "")).isdigit():
        return int(count)
    return None if environ.get("RESTARTED", "0") not in ("", "0") else 0


def main(words: list[str]) -> int:
    """Run an element; 0 when all its jobs are done."""
    from buildhpc.run.element import WARNINGS, Jobs

    path, line = words[0], int(words[1])
    header, element = _read(path, line)
    if header.umask is not None:
        os.umask(header.umask)
    jobs = Jobs(header, element, _runner(element), restart_count(os.environ), _say)
    states = jobs.run()
    for number in WARNINGS:
        signal.signal(number, signal.SIG_IGN)  # what is left takes a moment only
    if _may_go_on(header, element, states, jobs):
        _advance(header.run)
    return 0 if all(state in _FINE for state in states.values()) else 1


def _read(path: str, line: int) -> tuple[Header, Element]:
    """The element, and the working folder made the current one.

    Both may take a moment to be seen by a node. Raises: OSError, BadManifestError
    """
    from buildhpc.run.manifest import read_element
    from buildhpc.state.receipts import backoff

    for _ in backoff(_PATIENCE_S):
        try:
            header, element = read_element(path, line)
            os.chdir(header.folder)
        except OSError as error:
            failure = error
        else:
            return header, element
    raise failure


def _runner(element: Element) -> Runner:
    from buildhpc.state.owners import this_process
    from buildhpc.state.receipts import Runner

    owner = this_process()
    return Runner(
        element.submission,
        element.element,
        scheduler_id(os.environ),
        owner.host,
        owner.pid,
        owner.process_start,
        owner.boot,
    )


def _may_go_on(header: Header, element: Element, states: Mapping[int, str], jobs: Jobs) -> bool:
    """Whether the run can be moved on now, and nobody else is there to do it."""
    if header.logs or (jobs.stopped is not None and jobs.stopped.kind == "cancelled"):
        return False  # it is for people to submit more; or what comes next is SIGKILL
    folder = os.path.join(header.home, f"run-{header.run}")
    woken = jobs.urgent or any(job.wakes and states[job.number] in _FINE for job in element.jobs)
    bad = any(state not in _FINE for state in states.values())
    if not (woken or bad or os.path.exists(os.path.join(folder, "more"))):
        return False
    try:
        watched_s = os.stat(os.path.join(folder, "watched")).st_mtime
    except OSError:
        return True
    return jobs.now_s() - watched_s > WATCHED_S


def _advance(run: int) -> None:
    """Have hpcmake move the run on, which may take a moment."""
    words = [sys.executable, "-P", "-c", _ADVANCE, os.path.dirname(_PACKAGE)]
    words += ["advance", "--run", str(run), "--quietly"]
    environ = {name: value for name, value in os.environ.items() if name not in _OF_THIS_JOB}
    try:
        pid = os.posix_spawn(sys.executable, words, environ, setsigmask=())
    except OSError as error:
        _say(f"hpcmake: cannot start {sys.executable}: {error}")
        return
    deadline = time.monotonic() + _ADVANCE_S
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        time.sleep(0.02)


def _say(text: str) -> None:
    """Print a line where scheduler jobs print theirs, if that is possible."""
    try:
        print(text, flush=True)
    except (OSError, ValueError):
        return


if __name__ == "__main__":
    # What the scheduler or a script has blocked is to be heard.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    sys.path.append(os.path.dirname(_PACKAGE))
    sys.exit(main(sys.argv[1:]))
