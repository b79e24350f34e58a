"""Runs the commands of schedulers, here or over ssh, and tells what came of them."""

from __future__ import annotations

import hashlib
import os
import re
import selectors
import shlex
import signal
import stat
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from buildhpc.messages import calls as messages
from buildhpc.schedulers.protocol import Answer

LONGEST_S = 120.0
MOST_BYTES = 64 << 20
# A command has ended, and something it left behind still holds its output.
_LEFT_BEHIND_S = 0.5

# What a scheduler gives its jobs; who submits from inside one is to do it as from a login node.
# Where to find a scheduler, and defaults that a user has set, are kept.
_OF_JOBS = re.compile(
    r"(?:SLURM|SLURMD|SBATCH|SQUEUE|SACCT|SCANCEL|PBS|LSB|PMI|PMIX|HPCMAKE)_\w+"
    r"|SGE_(?:TASK|O|STDIN|STDOUT|STDERR)_\w+"
)
_KEPT = re.compile(
    r"SLURM_(?:CONF|CONF_SERVER|JWT|CACHE_DIR|NO_CHANGE_IN_CONFIG)"
    r"|SBATCH_(?:ACCOUNT|PARTITION|QOS|RESERVATION|WCKEY|CONSTRAINT)"
    r"|PBS_(?:CONF_FILE|EXEC|HOME|DEFAULT|SERVER|AUTH_METHOD|CLIENTRETRY)"
)
# Names of Grid Engine's that others use as well: only where it runs this process.
_OF_SGE = re.compile(
    "ARC|ENVIRONMENT|JOB_ID|JOB_NAME|JOB_SCRIPT|NHOSTS|NQUEUES|NSLOTS|PE|PE_HOSTFILE|QUEUE|REQNAME"
    "|REQUEST|RESTARTED|SGE_ACCOUNT|SGE_BINARY_PATH|SGE_CKPT_DIR|SGE_CKPT_ENV|SGE_JOB_SPOOL_DIR"
)
_DEVICES = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES")
_JOB_IDS = ("SLURM_JOB_ID", "PBS_JOBID", "JOB_ID", "LSB_JOBID", "HPCMAKE_QUEUE_JOB")
_SCRATCH = ("TMPDIR", "TMP", "TEMP")

_MARK = "hpcmake-call"
# The login shell of the user may be any, so bash reads this from its standard input. What a
# profile prints comes before the mark. Some sites set PATH in login shells only.
_REMOTE = """\
if ! command -v {program} >/dev/null; then
    for profile in /etc/profile ~/.bash_profile ~/.profile; do
        [ -r "$profile" ] && . "$profile" </dev/null >/dev/null 2>&1
    done
fi
printf '%s\\n' {mark}; printf '%s\\n' {mark} >&2
if ! cd -- {folder} 2>/dev/null; then printf '%s folder\\n' {mark} >&2; exit; fi
if ! command -v {program} >/dev/null; then printf '%s program\\n' {mark} >&2; exit; fi
{variables}
{command} </dev/null
printf '\\n%s %s\\n' {mark} $? >&2
exit
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the commands of a cluster run.

    host: over ssh; empty: here. ssh: options for it. environment: as of the scheduler.
    """

    cluster: str
    host: str = ""
    ssh: tuple[str, ...] = ()
    environment: Mapping[str, str | None] = field(default_factory=dict)


def call(
    place: Place,
    command: Sequence[str],
    folder: str,
    *,
    longest_s: float = LONGEST_S,
    submits: bool = False,
) -> Answer:
    """Run a command in a folder; its answer, with code None where nobody knows what came of it.

    submits: the jobs get the environment of the command, so its locale is left alone; other
    commands speak English. Raises: HpcmakeError, exit code 3, where it certainly did not run.
    """
    if place.host:
        return _far(place, command, folder, longest_s, submits)
    env = environment(os.environ, place.environment, submits)
    try:
        return _run(command, folder, env, b"", longest_s)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and os.path.isdir(folder):
            raise messages.no_scheduler(place.cluster, command[0], "") from None
        cause = error.strerror or str(error)
        raise messages.not_started(place.cluster, command[0], cause) from None


def environment(
    ours: Mapping[str, str], scheduler: Mapping[str, str | None], submits: bool
) -> dict[str, str]:
    """The variables for a command: as on a login node, also inside of a job."""
    ids = [ours[name] for name in _JOB_IDS if name in ours]
    in_sge = "SGE_TASK_ID" in ours
    env = {name: value for name, value in ours.items() if not _of_job(name, in_sge)}
    if ids:
        for name in _SCRATCH:
            if any(each in env.get(name, "") for each in ids):
                del env[name]
        for name in _DEVICES:
            env.pop(name, None)
    if not submits:
        env["LC_ALL"] = "C"
    for name, value in scheduler.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env


def _of_job(name: str, in_sge: bool) -> bool:
    if in_sge and _OF_SGE.fullmatch(name):
        return True
    return bool(_OF_JOBS.fullmatch(name)) and not _KEPT.fullmatch(name)


def private_folder(*names: str) -> str:
    """A folder of this machine that is nobody else's. Raises: OSError where there can be none."""
    folder = f"/tmp/hpcmake-{os.getuid()}"
    for name in ("", *names):
        folder = os.path.join(folder, name) if name else folder
        os.makedirs(folder, mode=0o700, exist_ok=True)
        found = os.lstat(folder)
        wrong = not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077
        if wrong or found.st_uid != os.getuid():
            raise PermissionError(1, "it belongs to somebody else", folder)
    return folder


def _far(
    place: Place, command: Sequence[str], folder: str, longest_s: float, submits: bool
) -> Answer:
    """The answer to a command that runs on another host."""
    mark = f"{_MARK}-{os.urandom(8).hex()}"
    script = _script(place, command, folder, mark, submits)
    env = environment(os.environ, {}, submits=False)
    try:
        answer = _run([*_ssh(place), place.host, "exec bash"], "/", env, script, longest_s)
    except OSError as error:
        cause = error.strerror or str(error)
        raise messages.not_started(place.cluster, "ssh", cause) from None
    _, begun, out = answer.out.partition(f"{mark}\n")
    said, _, err = answer.err.partition(f"{mark}\n")
    if answer.code is None:
        _disconnect(place, env)  # it may hang as well, and the next call would use it
        return Answer(None, out, err)
    if not begun:
        raise messages.unreachable(place.cluster, place.host, said.strip())
    err, _, end = err.rpartition(f"{mark} ")
    end = end.strip()
    if end == "folder":
        raise messages.no_folder(place.cluster, place.host, folder)
    if end == "program":
        raise messages.no_scheduler(place.cluster, command[0], place.host)
    code = int(end) if end.isdecimal() else None  # None: the connection was lost meanwhile
    return Answer(code, out, err.removesuffix("\n"))


def _script(place: Place, command: Sequence[str], folder: str, mark: str, submits: bool) -> bytes:
    names = [name for name, value in place.environment.items() if value is None]
    values = {name: value for name, value in place.environment.items() if value is not None}
    if not submits:
        values["LC_ALL"] = "C"
    variables = [f"unset {' '.join(names)}"] if names else []
    variables += [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    text = _REMOTE.format(
        program=shlex.quote(command[0]),
        mark=mark,
        folder=shlex.quote(folder),
        variables="\n".join(variables),
        command=shlex.join(command),
    )
    return text.encode(errors="surrogateescape")


def _ssh(place: Place) -> list[str]:
    """The command of ssh; of an option given twice the first counts, so the site's come first."""
    options = ["BatchMode=yes", "ConnectTimeout=20", "ServerAliveInterval=15", "LogLevel=ERROR"]
    try:
        folder = private_folder("ssh")
        options += ["ControlMaster=auto", "ControlPersist=120"]
        options.append(f"ControlPath={os.path.join(folder, _connection(place))}")
    except OSError:
        options.append("ControlMaster=no")
    return ["ssh", "-T", *place.ssh, *(word for each in options for word in ("-o", each))]


def _connection(place: Place) -> str:
    """The name of the shared connection to a host."""
    words = "\0".join((place.host, *place.ssh))
    return hashlib.sha256(words.encode(errors="surrogateescape")).hexdigest()[:24]


def _disconnect(place: Place, env: Mapping[str, str]) -> None:
    """End the shared connection, or at least let nobody use it."""
    try:
        answer = _run([*_ssh(place), "-O", "exit", place.host], "/", env, b"", 5.0)
        if answer.code is None:
            os.unlink(os.path.join(private_folder("ssh"), _connection(place)))
    except OSError:
        return


def _run(
    command: Sequence[str], folder: str, env: Mapping[str, str], given: bytes, longest_s: float
) -> Answer:
    """Run a command with its own process group; the group ends when the time is over.

    Raises: OSError where it cannot be started.
    """
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.PIPE if given else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    whole = False
    try:
        output = _Output(process)
        if process.stdin:
            try:
                process.stdin.write(given)
                process.stdin.close()
            except BrokenPipeError:
                pass  # it has ended, and will have said why
        whole = output.read(time.monotonic() + longest_s)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    return Answer(code if whole else None, *output.texts())


class _Output:
    """What a process prints, up to a limit."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._files = (process.stdout, process.stderr)
        self._data: dict[int, list[bytes]] = {file.fileno(): [] for file in self._files}
        self._size = 0

    def read(self, deadline_s: float) -> bool:
        """Read until the process has ended; False: it printed too much, or the time is over."""
        with selectors.DefaultSelector() as selector:
            for file in self._files:
                os.set_blocking(file.fileno(), False)
                selector.register(file.fileno(), selectors.EVENT_READ)
            while selector.get_map():
                left_s = deadline_s - time.monotonic()
                if left_s <= 0 or self._size > MOST_BYTES:
                    return self._process.poll() is not None and self._size <= MOST_BYTES
                # Somebody else may hold the pipes open when the process has ended.
                events = selector.select(min(left_s, _LEFT_BEHIND_S))
                if not events and self._process.poll() is not None:
                    return True
                for key, _ in events:
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        selector.unregister(key.fd)
                    self._data[key.fd].append(data)
                    self._size += len(data)
        try:
            self._process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def texts(self) -> list[str]:
        """What it printed to stdout and to stderr."""
        found = []
        for file in self._files:
            found.append(b"".join(self._data[file.fileno()]).decode(errors="surrogateescape"))
            file.close()
        return found
