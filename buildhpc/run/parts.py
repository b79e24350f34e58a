"""Parts of a job: what is asked for from inside it, and which part is the last, without a lock."""

# Paths are text here, and this runs once for every job.

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

_LAST = "last"


def request_path(document: str) -> str:
    """Where a job asks for parts; document: the file that HPCMAKE_JOB names."""
    return f"{os.path.splitext(document)[0]}.spawn"


def write_request(document: str, asked: Mapping[str, Any]) -> None:
    """Ask for parts; the last word counts. Raises: OSError."""
    path = request_path(document)
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(asked, file)
    os.replace(f"{path}.new", path)


def take_request(path: str) -> dict[str, Any] | None:
    """What a job asked for, which is gone then; None: nothing."""
    try:
        with open(path, encoding="utf-8") as file:
            found: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        found = {}
    with suppress(OSError):
        os.unlink(path)
    return found if isinstance(found.get("parts"), int) else None


def begin(folder: str, number: int) -> None:
    """A part begins, maybe anew: it is not done, nor the last one. Raises: OSError."""
    os.makedirs(folder, exist_ok=True)
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, str(number)))
    if _last(folder) == number:
        os.unlink(os.path.join(folder, _LAST))


def say_done(folder: str, number: int, count: int, known: Collection[int] = ()) -> bool:
    """Say that a part is done; whether it is the last one, which exactly one ever is.

    known: parts that were done before these began. Each part writes its mark before it looks, so
    one of them at least sees all marks; and of those that do, one makes the name `last`.
    Raises: OSError.
    """
    mark = os.path.join(folder, str(number))
    os.close(os.open(mark, os.O_WRONLY | os.O_CREAT, 0o666))
    there = set(os.listdir(folder)).union(map(str, known))
    if not there.issuperset(map(str, range(count))):
        return False
    with suppress(FileExistsError):
        os.symlink(str(number), os.path.join(folder, _LAST))
    return _last(folder) == number


def _last(folder: str) -> int | None:
    """The part that is the last one; None: there is none yet."""
    try:
        return int(os.readlink(os.path.join(folder, _LAST)))
    except FileNotFoundError:
        return None
