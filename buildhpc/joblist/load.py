"""`-f pipeline.py`: a Python file imported for the job list that it builds."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from buildhpc.diagnostics import HpcmakeError
from buildhpc.joblist.compile import compile_entries
from buildhpc.joblist.entries import IMPORTING, Entries, caller
from buildhpc.joblist.functions import LOADED
from buildhpc.messages import joblist as messages
from buildhpc.rules.load import World
from buildhpc.rules.model import Pipeline

# The values of `--set` while a file is imported for its jobs; None: no file is.
_SETTINGS: ContextVar[Mapping[str, Any] | None] = ContextVar("settings", default=None)


def load_list(path: str, world: World, settings: Sequence[tuple[tuple[str, ...], Any]]) -> Pipeline:
    """The rules of the list that the file at `path` builds.

    settings: see `rules.config.read_settings`. Raises: HpcmakeError
    """
    code = world.bytes(path)
    values: dict[str, Any] = {}
    from buildhpc.rules.config import apply

    for keys, value in settings:
        values = apply(values, keys, value)
    module = _imported(path, code, values)
    found = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, Entries) and not name.startswith("_")
    }
    lists = list({id(each): each for each in found.values()}.values())
    if not lists:
        raise messages.no_list(path)
    if len(lists) > 1 and "jobs" not in found:
        raise messages.several_lists(path, list(found))
    return compile_entries(found["jobs"] if len(lists) > 1 else lists[0], path)


def _imported(path: str, code: bytes, values: Mapping[str, Any]) -> ModuleType:
    """The file as a module, imported as a job's worker would. Raises: HpcmakeError."""
    name = LOADED + "".join(c if c.isalnum() else "_" for c in path)
    module = ModuleType(name)
    module.__file__ = os.path.abspath(path)
    for entry in (os.path.dirname(module.__file__), os.getcwd()):
        if entry not in sys.path:
            sys.path.insert(0, entry)
    sys.modules[name] = module
    token = _SETTINGS.set(values)
    try:
        exec(compile(code, module.__file__, "exec", dont_inherit=True), vars(module))
    except HpcmakeError:
        raise
    except (Exception, SystemExit) as error:
        own = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == module.__file__
        ]
        line = error.lineno if isinstance(error, SyntaxError) else own[-1] if own else None
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        raise messages.cannot_import(path, f"{type(error).__name__}: {said}", line) from error
    finally:
        _SETTINGS.reset(token)
    return module


def settings() -> dict[str, Any]:
    """The values of `--set NAME=VALUE` while `hpcmake -f FILE.py` reads a file; else none."""
    return dict(_SETTINGS.get() or {})


def check_not_importing() -> None:
    """Raises: messages.run_while_imported, where a file is only read for its jobs."""
    if _SETTINGS.get() is not None or IMPORTING in os.environ:
        raise messages.run_while_imported(caller().span())
