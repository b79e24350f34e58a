"""Runs the Python of a job: a script, a `python:` block, or a function.

Started as a file by whatever Python the job's software brings, perhaps an old one without
hpcmake: it uses the standard library alone.
"""

# Pathlib would cost every job its import.

from __future__ import annotations

import builtins
import importlib
import json
import linecache
import os
import sys
import types
from typing import Any


class Paths(list):  # type: ignore[type-arg]  # list[Any] cannot be a base before Python 3.9
    """Paths in the order written; those that have a name are attributes too.

    A single one stands for itself where a path is expected: `open(job.output, "w")`.
    """

    def __init__(self, paths: Any) -> None:
        named = paths if isinstance(paths, dict) else {}
        flat = []
        for each in named.values() if named else paths:
            flat += each if isinstance(each, list) else [each]
        super().__init__(flat)
        object.__setattr__(self, "_named", named)

    def __getattribute__(self, name: str) -> Any:
        # A name of the Pipefile, such as `index`, comes before the methods of a list.
        named = object.__getattribute__(self, "__dict__").get("_named", ())
        return named[name] if name in named else super().__getattribute__(name)

    def __getitem__(self, key: Any) -> Any:
        return self._named[key] if isinstance(key, str) else super().__getitem__(key)

    def __fspath__(self) -> str:
        if len(self) != 1:
            raise TypeError(f"{len(self)} paths where one is expected: choose one by name or index")
        return str(self[0])

    def __str__(self) -> str:
        return " ".join(map(str, self))


class Fields(dict):  # type: ignore[type-arg]  # dict[str, Any] cannot be a base before Python 3.9
    """Named values, as attributes and as items."""

    def __getattribute__(self, name: str) -> Any:
        # A name of the Pipefile, such as `items`, comes before the methods of a dict.
        if dict.__contains__(self, name):
            return dict.__getitem__(self, name)
        try:
            return super().__getattribute__(name)
        except AttributeError:
            there = ", ".join(dict.keys(self)) or "nothing"
            raise AttributeError(f"no value named {name!r} here; there is {there}") from None


class Job:
    """What a script is told of its job."""

    def __init__(self, document: Any) -> None:
        self.name = document["name"]
        self.rule = document["rule"]
        self.attempt = document["attempt"]
        self.cores = document["cores"]
        self.mem_mb = document["mem_mb"]
        self.time_s = document["time_s"]
        self.log = document["log"]
        self.input = Paths(document["input"])
        self.output = Paths(document["output"])
        self.wildcards = _fields(document.get("wildcards", {}))
        self.params = _fields(document.get("params", {}))
        self.config = _fields(document.get("config", {}))


def _fields(value: Any) -> Any:
    if isinstance(value, dict):
        return Fields({key: _fields(each) for key, each in value.items()})
    return [_fields(each) for each in value] if isinstance(value, list) else value


def _run_script(path: str) -> None:
    """Run a script as if Python had been started with it, with the name `job` in it."""
    with open(path, "rb") as file:
        source = file.read()
    sys.argv = [path]
    sys.path[0] = os.path.dirname(os.path.abspath(path))
    main = _new_main({"__file__": os.path.abspath(path), "job": _job()})
    exec(compile(source, path, "exec", dont_inherit=True), main)


def _run_block(path: str, folder: str, rule: str) -> None:
    """Run a `python:` block; its lines are counted from the first of the block."""
    with open(path, encoding="utf-8") as file:
        source = file.read()
    name = "Pipefile block of rule " + rule
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    sys.argv = [name]
    sys.path[0:1] = _folders(folder)
    job = _job()
    names = ("input", "output", "wildcards", "params", "cores", "log", "config")
    main = _new_main({each: getattr(job, each) for each in names})
    main["job"] = job
    exec(compile(source, name, "exec", dont_inherit=True), main)


def _run_call(target: str, folder: str) -> None:
    """Call `module:function` with the arguments of the job."""
    sys.path[0:1] = _folders(folder)
    module, _, function = target.partition(":")
    sys.argv = [target]
    _log_as(_document().get("logging"))
    called: Any = _load(module) if module.endswith(".py") else importlib.import_module(module)
    for part in function.split("."):
        called = getattr(called, part)
    called(**_document().get("args", {}))


def _load(path: str) -> Any:
    """The file at `path` as a module: one that is run, or that builds the list of its jobs."""
    import importlib.util

    name = os.path.splitext(os.path.basename(path))[0]
    spec: Any = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    os.environ["HPCMAKE_IMPORTING"] = path  # what runs a list here would run itself again
    try:
        spec.loader.exec_module(module)
    finally:
        del os.environ["HPCMAKE_IMPORTING"]
    return module


def _log_as(said: Any) -> None:
    """Have what the job logs go to its own output, and to the file of all jobs if there is one."""
    if not said:
        return
    import logging

    name = _document()["name"].replace("%", "%%")
    own = logging.StreamHandler()
    shared = logging.FileHandler(said["file"], delay=True)
    own.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    words = "%(asctime)s %(levelname)s " + name + " %(name)s: %(message)s"
    shared.setFormatter(logging.Formatter(words))
    logging.basicConfig(level=said["level"], handlers=[own, shared])


def _folders(folder: str) -> list[str]:
    here = os.getcwd()
    beside = os.path.abspath(folder)
    return [here] if beside == here else [here, beside]


def _new_main(names: dict[str, Any]) -> dict[str, Any]:
    main = types.ModuleType("__main__")
    main.__dict__.update(names, __builtins__=builtins)
    sys.modules["__main__"] = main
    return main.__dict__


def _document() -> Any:
    with open(os.environ["HPCMAKE_JOB"], encoding="utf-8") as file:
        return json.load(file)


def _job() -> Job:
    return Job(_document())


def _show(error: BaseException) -> None:
    """Print a traceback that starts at the job's own first line."""
    import traceback

    own = error.__traceback__
    while own is not None and own.tb_frame.f_code.co_filename == __file__:
        own = own.tb_next
    frame = own
    while frame is not None and "importlib" in frame.tb_frame.f_code.co_filename:
        frame = frame.tb_next
    traceback.print_exception(type(error), error, frame or own)


def main() -> int:
    """Run what the command line names; the exit code."""
    kind, *words = sys.argv[1:]
    runs: dict[str, Any] = {"script": _run_script, "block": _run_block, "call": _run_call}
    # Lines appear in the log as they are printed, in the order of stdout and stderr.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # both are files here
    try:
        runs[kind](*words)
    except Exception as error:  # the last line of defence: the job's own mistake
        _show(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
