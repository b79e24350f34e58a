"""Functions by name, as a worker finds them again: nothing is pickled."""

from __future__ import annotations

import inspect
import math
import os
import sys
import sysconfig
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from buildhpc.messages import joblist as messages

if TYPE_CHECKING:
    from buildhpc.joblist.entries import Place

# Modules that a list was loaded from; they go by the paths of their files.
LOADED = "hpcmake_list_"


class Reference(NamedTuple):
    """How a worker finds a function.

    target: `module:name`, or `FILE.py:name` of a file that is run or builds a list. folder: where
    the module is looked for, besides the working folder. source: its own text, where the file it
    stands in says more than it does; empty otherwise.
    """

    target: str
    folder: str
    source: str


def reference(subject: str, function: Callable[..., object], place: Place) -> Reference:
    """The name under which workers find a function.

    subject: what has it, for messages. Raises: messages.local_function, messages.no_module_of,
    messages.not_found_again
    """
    module, qualname = _names(function)
    if not module or not qualname or "<" in qualname:
        raise messages.local_function(subject, _kind(qualname), place.span())
    loaded = sys.modules.get(module)
    if _found(loaded, qualname) is not function:
        raise messages.not_found_again(subject, qualname, place.span())
    file = getattr(loaded, "__file__", None)
    if module == "__main__":
        spec = getattr(loaded, "__spec__", None)
        if spec is not None and spec.name != "__main__":
            module = spec.name  # python -m
        elif file is None or not os.path.isfile(file):
            raise messages.no_module_of(subject, qualname, place.span())
    if module == "__main__" or module.startswith(LOADED):
        path = beside(str(file), os.getcwd())
        return Reference(f"{path}:{qualname}", os.path.dirname(path) or ".", _source(function))
    return Reference(f"{module}:{qualname}", _folder(module, file), "")


def _names(function: Callable[..., object]) -> tuple[str, str]:
    return getattr(function, "__module__", None) or "", getattr(function, "__qualname__", "")


def _kind(qualname: str) -> str:
    if "<lambda>" in qualname:
        return "a lambda"
    return "a function inside another one" if "<" in qualname else "no function with a name"


def _found(module: object, qualname: str) -> object:
    found: object = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


@lru_cache(maxsize=256)
def beside(file: str, here: str) -> str:
    """A path as the working folder `here` has it, if it lies below that."""
    path = os.path.relpath(file, here)
    return os.path.abspath(file) if path.startswith("..") else path


def _folder(module: str, file: str | None) -> str:
    """Where a module is imported from; `.` where every Python finds it."""
    if file is None:
        return "."
    folder = os.path.dirname(os.path.abspath(file))
    depth = module.count(".") + (os.path.basename(file) == "__init__.py")
    for _ in range(depth):
        folder = os.path.dirname(folder)
    return "." if folder in sysconfig.get_paths().values() else beside(folder, os.getcwd())


# 10,000 jobs of one function: 1 s instead of 25.
@lru_cache(maxsize=1024)
def _source(function: Callable[..., object]) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):
        return ""


@lru_cache(maxsize=1024)
def _signature(function: Callable[..., object]) -> inspect.Signature:
    return inspect.signature(function)


def check_call(
    name: str, function: Callable[..., object], arguments: Mapping[str, Any], place: Place
) -> None:
    """Whether a worker can call a function with these arguments. Raises: HpcmakeError."""
    reference(f"job `{name}`", function, place)
    try:
        _signature(function).bind(**arguments)
    except TypeError as error:
        raise messages.wrong_arguments(name, str(error), place.span()) from None
    except ValueError:
        pass  # some of those in C have no signature
    for key, value in arguments.items():
        if (found := _unfit(value)) is not None:
            raise messages.not_json(name, key, found, place.span())


def _unfit(value: Any) -> str | None:
    """What of a value JSON does not hold, by its kind; None: nothing."""
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, (list, tuple)):
            todo += each
        elif isinstance(each, dict):
            if strange := [key for key in each if not isinstance(key, str)]:
                return f"a dict with the key {strange[0]!r}"
            todo += each.values()
        elif isinstance(each, float) and not math.isfinite(each):
            continue  # Python's JSON has them
        elif each is not None and type(each) not in (bool, int, float, str):
            kind = type(each)
            return f"of type `{kind.__module__}.{kind.__qualname__}`".replace("builtins.", "")
    return None
