"""hpcmake under strace, which lets calls to the system on some files fail, or signals arrive."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import Pipe


def injected(pipe: Pipe, what: str, *paths: str, calls: str = "all") -> Pipe:
    """The folder of `pipe`, where something happens at calls that concern one of `paths`.

    what, calls: see strace(1), `-e inject=` and `-e trace=`. Jobs are not traced.
    """
    if shutil.which("strace") is None:
        reason = "strace is not installed, so failing calls to the system are not tested"
        warnings.warn(reason, stacklevel=2)
        pytest.skip(reason)
    # The tracer is a grandchild: what is started, signalled and waited for is hpcmake.
    strace = ["strace", "-D", "-ttt", "--quiet=attach,path-resolution", "-o", str(log_of(pipe))]
    for path in paths:
        strace += ["-P", path, "-P", str(pipe.path(path))]
    return Pipe(pipe.folder, [*strace, "-e", f"trace={calls}", "-e", f"inject={what}"])


def log_of(pipe: Pipe) -> Path:
    """Where the calls are listed."""
    return pipe.folder.with_name(f"{pipe.folder.name}.strace")


def happened(pipe: Pipe) -> Sequence[str]:
    """The calls at which something was made to happen."""
    return [line for line in log_of(pipe).read_text().splitlines() if "(INJECTED)" in line]
