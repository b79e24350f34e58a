"""The files of one attempt: outputs made room for, looked for, finished, or removed."""

# Paths are text here, and this runs for every output.

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress
from dataclasses import replace

from buildhpc.diagnostics import nearest
from buildhpc.messages import run as messages
from buildhpc.run.spec import Failure, JobSpec, Outcome, OutputFile

# Of a file's name in bytes, so that a private name stays below the 255 of every file system.
_KEPT_NAME = 210

_LEAD = ".hpcmake-%s-"


def private_name(path: str, token: str) -> str:
    """The name under which an `atomic` output is made: in the same folder, with its ending."""
    folder, name = os.path.split(path)
    return os.path.join(folder, _LEAD % token + os.fsdecode(os.fsencode(name)[-_KEPT_NAME:]))


def own_private_names(spec: JobSpec, restart: int) -> JobSpec:
    """The same spec with private names that no other start of the job uses.

    restart: how often the scheduler has started this attempt anew; what ran before may run still.
    """
    if not any("atomic" in output.flags for output in spec.outputs):
        return spec
    token = f"{spec.token}.{spec.attempt}.{restart}"
    text = spec.to_json().replace(_LEAD % spec.token, _LEAD % token)
    return replace(JobSpec.from_json(text), token=token)


def prepare(spec: JobSpec) -> Failure | None:
    """Make the folders of outputs and log, and remove old outputs; None: all is ready."""
    for output in spec.outputs:
        failure = _make_folder(output.path) or _make_room(output)
        if failure:
            return failure
    return _make_folder(spec.log) if spec.log else None


def look(spec: JobSpec) -> Failure | None:
    """What is wrong with the outputs as they are now; None: nothing."""
    missing: list[str] = []
    for output in spec.outputs:
        if "touch" in output.flags:
            continue
        path = _made_as(output, spec.token)
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            missing.append(output.path)
            continue
        except OSError as error:
            return Failure("missing-output", messages.refused("look at", path, _cause(error)))
        text = _wrong_kind(output, found)
        if text:
            return Failure("missing-output", text)
    return _missing(spec, missing) if missing else None


def verify(spec: JobSpec, latency_s: float) -> Failure | None:
    """What is wrong with the outputs, once `latency_s` was waited for a file server to tell."""
    deadline = time.monotonic() + latency_s
    pause = 0.05
    while failure := look(spec):
        left = deadline - time.monotonic()
        if left <= 0:
            return failure
        time.sleep(min(pause, left))
        refresh(spec)
        pause = min(2 * pause, 2.0)
    return None


def refresh(spec: JobSpec) -> None:
    """Have the folders of the outputs listed anew, so that a network file system asks again."""
    for folder in {os.path.dirname(output.path) for output in spec.outputs}:
        try:
            os.listdir(folder or ".")
        except OSError:
            continue  # the look that follows tells what is wrong


def finish(spec: JobSpec) -> Failure | None:
    """Bring verified outputs to their final names and modes; None: done."""
    for output in spec.outputs:
        flags = output.flags
        if not flags:
            continue
        path = output.path
        act = "make"
        try:
            if "touch" in flags:
                _touch(path)
            elif "atomic" in flags:
                os.rename(private_name(path, spec.token), path)
            if "protected" in flags:
                act = "protect"
                _protect(path)
        except OSError as error:
            return Failure("missing-output", messages.refused(act, path, _cause(error)))
    return None


def set_aside(path: str) -> str | None:
    """Move an output that was changed by hand to `NAME.edited`, or to the next free name after it.

    Returns the new name, None when nothing is there.
    """
    moved, number = f"{path}.edited", 1
    while os.path.lexists(moved):
        number += 1
        moved = f"{path}.edited.{number}"
    try:
        os.rename(path, moved)
    except FileNotFoundError:
        return None
    return moved


def write_benchmark(path: str, outcome: Outcome) -> str:
    """Write time and memory of an attempt into a file; why that could not be, empty: it was."""
    seconds = outcome.ended_s - outcome.started_s
    text = (
        "wall_s\tcpu_s\tpeak_mib\tstarted\tended\n"
        f"{seconds:.3f}\t{outcome.cpu_s:.3f}\t{outcome.peak_mib:.1f}\t"
        f"{outcome.started_s:.3f}\t{outcome.ended_s:.3f}\n"
    )
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        with suppress(OSError):
            os.unlink(path)
        return _cause(error).lower()
    return ""


def remove_leftovers(spec: JobSpec) -> str:
    """Remove what a failed attempt left of its own outputs; what could not be, as words."""
    trouble = ""
    for output in spec.outputs:
        paths = [output.path]
        if "atomic" in output.flags:
            paths.append(private_name(output.path, spec.token))
        for path in paths:
            try:
                _remove(path, "directory" in output.flags)
            except OSError as error:
                trouble += messages.left_behind(path, _cause(error))
    return trouble


def _cause(error: OSError) -> str:
    return error.strerror or str(error)


def _made_as(output: OutputFile, token: str) -> str:
    return private_name(output.path, token) if "atomic" in output.flags else output.path


def _make_folder(path: str) -> Failure | None:
    folder = os.path.dirname(path) or "."
    if os.access(folder, os.W_OK | os.X_OK):
        return None
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        return Failure("launch", messages.refused("make", folder, _cause(error)))
    if os.access(folder, os.W_OK | os.X_OK):
        return None
    return Failure("launch", messages.refused("write in", folder, "permission denied"))


def _make_room(output: OutputFile) -> Failure | None:
    path = output.path
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Failure("launch", messages.refused("look at", path, _cause(error)))
    if "protected" in output.flags and not (stat.S_ISLNK(found.st_mode) or _writable(found)):
        return Failure("launch", messages.protected_output(path))
    if stat.S_ISDIR(found.st_mode) and "directory" not in output.flags:
        return Failure("launch", messages.undeclared_directory(path))
    try:
        _remove(path, "directory" in output.flags)
    except OSError as error:
        return Failure("launch", messages.refused("remove", path, _cause(error)))
    return None


def _writable(found: os.stat_result) -> bool:
    # Mode bits, not os.access: root may write anything, and protected holds for root as well.
    return bool(found.st_mode & stat.S_IWUSR)


def _remove(path: str, directory: bool) -> None:
    """Remove a file or link; a folder only when it was declared one."""
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except (IsADirectoryError, PermissionError):
        # Linux says EISDIR for a folder, POSIX and macOS say EPERM.
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise
        if directory:
            from shutil import rmtree  # 4 ms, which is much for a runner

            rmtree(path)


def _wrong_kind(output: OutputFile, found: os.stat_result) -> str:
    is_directory = stat.S_ISDIR(found.st_mode)
    if is_directory != ("directory" in output.flags):
        if is_directory:
            return messages.undeclared_directory(output.path)
        return messages.not_a_directory(output.path)
    if found.st_size == 0 and not is_directory and "nonempty" in output.flags:
        return messages.empty_output(output.path)
    return ""


def _missing(spec: JobSpec, missing: list[str]) -> Failure:
    path = missing[0]
    flags = next(output.flags for output in spec.outputs if output.path == path)
    if "atomic" in flags and os.path.exists(path):
        return Failure("missing-output", messages.made_without_private_name(path))
    folder, name = os.path.split(path)
    try:
        held = os.listdir(folder or ".")
    except OSError:
        return Failure("missing-output", messages.missing_folder(missing, folder))
    dangling = ""
    if name in held and os.path.islink(path):
        dangling = os.readlink(path)
    names = sorted(entry for entry in held if not entry.startswith("."))
    close = nearest(name, names[:5000], limit=3)
    rest = [entry for entry in names if entry not in close]
    text = messages.missing_outputs(missing, dangling, folder, close + rest)
    return Failure("missing-output", text)


def _touch(path: str) -> None:
    if os.path.isdir(path):
        os.utime(path)
        return
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o666))
    os.utime(path)


def _protect(path: str) -> None:
    paths = [path]
    if os.path.isdir(path) and not os.path.islink(path):
        for folder, _, files in os.walk(path, topdown=False):
            paths[:0] = [os.path.join(folder, name) for name in files]
            if folder != path:
                paths.append(folder)
    for each in paths:
        if not os.path.islink(each):
            os.chmod(each, stat.S_IMODE(os.stat(each).st_mode) & ~0o222)
