"""From one attempt of a job to what is executed: command line, environment, files."""

# Paths are text here, and this runs once for every job.

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from buildhpc.messages import run as messages
from buildhpc.run.spec import JobSpec, Needs, Software

# One argument may have 131,072 bytes on Linux; a longer block is run as a file.
_LONGEST_ARGUMENT = 100_000
_BASH = ("-euo", "pipefail")
_PYTHON_JOB = os.path.join(os.path.dirname(os.path.abspath(__file__)), "python_job.py")
_INTERPRETERS = {
    ".R": ("Rscript",),
    ".r": ("Rscript",),
    ".jl": ("julia",),
    ".sh": ("bash", *_BASH),
    ".bash": ("bash", *_BASH),
    ".pl": ("perl",),
}
_OWN_VARIABLES = ("CORES", "MEM_MB", "TIME_S", "ATTEMPT", "JOB")

# Loads modules, then becomes the recipe's process. Init files and `module` itself use unset
# variables and commands that fail, so `set -eu` holds only from the recipe on. A Python that
# a module brings takes the place of the one that runs hpcmake.
_LOAD_MODULES = """\
if ! declare -F module >/dev/null; then
    for init in "${MODULESHOME:-/usr/share/modules}/init/bash" /etc/profile.d/modules.sh \\
        /usr/share/modules/init/bash /etc/profile.d/lmod.sh; do
        if [ -r "$init" ]; then . "$init"; break; fi
    done
fi
if ! declare -F module >/dev/null; then
    echo "hpcmake: environment modules are not installed on $(uname -n)" >&2
    exit 127
fi
before=$(command -v python3)
if ! module load "${@:3:$2}"; then
    echo "hpcmake: cannot load the modules ${*:3:$2}" >&2
    exit 1
fi
after=$(command -v python3) python=$1
shift "$(($2 + 2))"
if [ "$python" = python ] && [ "$before" != "$after" ]; then shift; set -- "$after" "$@"; fi
exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where attempts run on this machine.

    scratch: an existing folder of this run alone, for small files of running jobs.
    marker: the value of HPCMAKE_RUN, by which processes of this run are found.
    base: the environment every job gets. stem: of the names of files there that are this
        process's own, where others use the folder as well. own: by what a job is known to
        hpcmake inside it: `self` of the document behind HPCMAKE_JOB.
    """

    scratch: str
    marker: str
    base: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    stem: str = ""
    own: Mapping[str, Any] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """What all jobs have in common; a build inside a job keeps the markers of both."""
        env = dict(self.base)
        for name in _OWN_VARIABLES:
            env.pop(f"HPCMAKE_{name}", None)
        env["HPCMAKE_RUN"] = f"{env.get('HPCMAKE_RUN', '')} {self.marker}".lstrip()
        env["PATH"] = _with_hpcmake(env.get("PATH", os.defpath))
        return env


def _with_hpcmake(path: str) -> str:
    """PATH, with this hpcmake at its end where it has none: recipes may call it."""
    folder = os.path.dirname(sys.executable)
    ours = os.path.join(folder, "hpcmake")
    return path if _which("hpcmake", path) or not os.access(ours, os.X_OK) else f"{path}:{folder}"


@dataclass(frozen=True, slots=True)
class Command:
    """What is executed.

    argv: the first is the path of a program.
    files: to be removed after the attempt.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    files: tuple[str, ...] = ()


class Commands:
    """Makes commands from recipes; the environment is computed once for all jobs."""

    def __init__(self, place: Place) -> None:
        self._scratch = os.path.abspath(place.scratch)
        self._env = place.environment()
        self._own = place.own
        self._path = self._env.get("PATH", os.defpath)

    def command(self, spec: JobSpec, stem: str) -> Command:
        """The command of one attempt.

        stem: of the names of its files in the scratch folder; `STEM.json` is written over if
            it is there, and is left for the next attempt with this stem.

        Raises: HpcmakeError `launch` when nothing can be executed.
        """
        base = os.path.join(self._scratch, stem)
        document = base + ".json"
        _write(document, _document(spec, self._own))
        env = {**self._env, **spec.env, **_variables(spec), "HPCMAKE_JOB": document}
        files: list[str] = []
        argv = self._bare(spec, base, files)
        if spec.software != _NO_SOFTWARE:
            argv = self._wrapped(spec, argv, env)
        program = _find(argv[0], env.get("PATH", self._path), _purpose(spec, argv[0]))
        return Command((program, *argv[1:]), env, tuple(files))

    def _bare(self, spec: JobSpec, base: str, files: list[str]) -> tuple[str, ...]:
        """The command without its software; what is written to files is added to `files`."""
        recipe = spec.recipe
        if recipe.kind == "shell":
            return _shell(spec, base, files)
        if recipe.kind == "script":
            return _script(spec)
        python = _python(spec.software)
        if recipe.kind == "python":
            source = base + ".py"
            _write(source, recipe.text.encode())
            files.append(source)
            return (*python, "block", source, recipe.folder, spec.rule)
        return (*python, "call", recipe.text, recipe.folder)

    def _wrapped(
        self, spec: JobSpec, argv: tuple[str, ...], env: Mapping[str, str]
    ) -> tuple[str, ...]:
        software = spec.software
        path = env.get("PATH", self._path)
        if software.modules:
            python = "python" if argv[0] == sys.executable else "other"
            count = str(len(software.modules))
            words = (python, count, *software.modules, *argv)
            argv = ("bash", "-c", _LOAD_MODULES, "hpcmake", *words)
        if software.conda:
            argv = (*_conda(software.conda, path), *argv)
        if software.container:
            argv = (*_container(spec, path, self._scratch), *argv)
        if software.within:
            argv = (*_within(software.within), *argv)
        return argv


_NO_SOFTWARE = Software()


def _variables(spec: JobSpec) -> dict[str, str]:
    needs, part = spec.needs, spec.data.get("part")
    # Set in every job, empty where nothing was said: a recipe runs under `set -u`.
    return {
        "HPCMAKE_CORES": str(needs.cores),
        "HPCMAKE_ATTEMPT": str(spec.attempt),
        "HPCMAKE_MEM_MB": "" if needs.mem_mib is None else str(needs.mem_mib),
        "HPCMAKE_TIME_S": "" if needs.time_s is None else str(needs.time_s),
        "HPCMAKE_PART": str(part["number"]) if part else "",
        "HPCMAKE_PARTS": str(part["count"]) if part else "",
    }


def _document(spec: JobSpec, own: Mapping[str, Any]) -> bytes:
    needs: Needs = spec.needs
    values = {
        "name": spec.name,
        "rule": spec.rule,
        "attempt": spec.attempt,
        "cores": needs.cores,
        "mem_mb": needs.mem_mib,
        "time_s": needs.time_s,
        "log": spec.log,
        "input": spec.inputs,
        "output": [output.path for output in spec.outputs],
        **spec.data,
    }
    if own:
        atomic = any("atomic" in output.flags for output in spec.outputs)
        part = {"part": spec.data["part"]} if "part" in spec.data else {}
        values["self"] = {**own, "atomic": atomic, **part}
    if spec.recipe.kind == "call":
        values["args"] = spec.recipe.arguments
    return json.dumps(values).encode()


def _write(path: str, content: bytes) -> None:
    """Write a file over.

    Cutting the file to nothing first would have ext4 write the new content to the disk at
    once, as a guard against power loss: 1.7 ms a job instead of 0.02.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.ftruncate(fd, len(content))
    finally:
        os.close(fd)


def _shell(spec: JobSpec, base: str, files: list[str]) -> tuple[str, ...]:
    text = spec.recipe.text
    software = spec.software
    # `conda run` and prefixes such as ssh put the words together to one line again.
    as_words = not (software.conda or software.within)
    if as_words and len(text) < _LONGEST_ARGUMENT // 4:
        return ("bash", *_BASH, "-c", text)
    content = os.fsencode(text)
    if as_words and len(content) <= _LONGEST_ARGUMENT:
        return ("bash", *_BASH, "-c", text)
    path = base + ".sh"
    _write(path, content)
    files.append(path)
    return ("bash", *_BASH, path)


def _script(spec: JobSpec) -> tuple[str, ...]:
    path = spec.recipe.text
    if not os.path.exists(path):
        raise messages.no_script(path)
    # A name that starts with a dash is no option, and one without a slash not looked for on PATH.
    path = path if "/" in path else f"./{path}"
    ending = os.path.splitext(path)[1]
    if ending == ".py":
        return (*_python(spec.software), "script", path)
    if ending in _INTERPRETERS:
        return (*_INTERPRETERS[ending], path)
    if os.access(path, os.X_OK):
        return (path,)
    return (*_shebang(path), path)


def _shebang(path: str) -> tuple[str, ...]:
    """The interpreter that the first line of a script names, and its one argument."""
    try:
        with open(path, "rb") as script:
            first = script.readline(1000)
    except OSError as error:
        raise messages.unreadable_script(path, error.strerror or str(error)) from error
    words = os.fsdecode(first[2:]).strip().split(None, 1) if first.startswith(b"#!") else []
    if not words:
        raise messages.unknown_script(path)
    return tuple(words)


def _python(software: Software) -> tuple[str, ...]:
    """The Python of a recipe: that of its own software if it brings one, else the one at work."""
    if software.container:
        return ("python3", _PYTHON_JOB)
    if software.conda:
        return ("python", _PYTHON_JOB)
    return (sys.executable, _PYTHON_JOB)


def _conda(environment: str, path: str) -> tuple[str, ...]:
    named = ("-p", environment) if "/" in environment else ("-n", environment)
    if program := _which("conda", path) or os.environ.get("CONDA_EXE"):
        return (program, "run", "--no-capture-output", *named)
    if program := _which("mamba", path) or _which("micromamba", path):
        return (program, "run", *named)
    raise messages.no_program("conda", "the environment of the rule needs")


def _container(spec: JobSpec, path: str, scratch: str) -> tuple[str, ...]:
    program = _which("apptainer", path) or _which("singularity", path)
    if program is None:
        raise messages.no_program("apptainer", "the container of the rule needs")
    here = os.getcwd()
    binds = [here]
    if not scratch.startswith(here + "/"):
        binds.append(scratch)
    if spec.recipe.kind in ("python", "call") or spec.recipe.text.endswith(".py"):
        binds.append(os.path.dirname(_PYTHON_JOB))
    options = [word for bind in binds for word in ("--bind", bind)]
    if spec.needs.gpus:
        options.append("--nv")
    return (program, "exec", *options, "--pwd", here, str(spec.software.container))


def _within(prefix: str) -> list[str]:
    try:
        return shlex.split(prefix)
    except ValueError as error:
        raise messages.bad_within(prefix, str(error).lower()) from error


def _purpose(spec: JobSpec, program: str) -> str:
    if spec.software.within:
        return "`within` names"
    return f"runs `{spec.recipe.text}`" if spec.recipe.kind == "script" else f"runs {program}"


def _find(name: str, path: str, purpose: str) -> str:
    found = _which(name, path)
    if found is None:
        raise messages.no_program(name, purpose)
    return found


@lru_cache(maxsize=256)
def _which(name: str, path: str) -> str | None:
    """The path of a program, as a shell finds it; a name with a slash is one already."""
    if "/" in name:
        return name
    for folder in path.split(os.pathsep):
        candidate = os.path.join(folder or ".", name)
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            return candidate
    return None
