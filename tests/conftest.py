"""`pipe`: a working folder of its own, and hpcmake run in it as people run it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest_plugins = ["cluster_fixtures", "own_queue"]

# Under nohup SIGHUP is ignored, and what is ignored stays so in all that is started from here.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--bless` writes what is compared with `tests/golden/` anew, to be read as a diff."""
    parser.addoption("--bless", action="store_true", help="rewrite the golden files")


@dataclass(frozen=True)
class Result:
    """What a run of hpcmake came to."""

    code: int
    out: str
    err: str


class Pipe:
    """A working folder. prefix: words that hpcmake is run behind, as `strace` is."""

    def __init__(self, folder: Path, prefix: Sequence[str] = ()) -> None:
        self.folder = folder
        self.prefix = prefix

    def path(self, path: str) -> Path:
        """The place of a file of the folder."""
        return self.folder / path

    def write(self, path: str, text: str = "", mtime: float | None = None) -> Path:
        """Write a file, its folders as well; `mtime` in seconds since the epoch."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if mtime is not None:
            os.utime(file, (mtime, mtime))
        return file

    def read(self, path: str) -> str:
        """The text of a file."""
        return (self.folder / path).read_text()

    def exists(self, path: str) -> bool:
        """Whether something is there."""
        return os.path.lexists(self.folder / path)

    def files(self) -> list[str]:
        """All files, sorted, but for those of hpcmake's own folder."""
        found = (p.relative_to(self.folder) for p in self.folder.rglob("*") if not p.is_dir())
        return sorted(str(path) for path in found if path.parts[0] != ".hpcmake")

    def command(self, *words: str) -> list[str]:
        """The command line that runs hpcmake with these words."""
        return [*self.prefix, sys.executable, "-m", "buildhpc.cli", *words]

    def run(self, *words: str, stdin: str = "", env: dict[str, str] | None = None) -> Result:
        """Run hpcmake with these words."""
        done = subprocess.run(
            self.command(*words),
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, **(env or {})},
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def check(self, words: str, says: str | None = None, code: int = 0) -> Result:
        """Run hpcmake; its exit code and, where given, all that it printed to stdout."""
        result = self.run(*shlex.split(words))
        assert result.code == code, f"exit code {result.code}\n{result.out}{result.err}"
        if says is not None:
            assert result.out == says
        return result


@pytest.fixture
def pipe(tmp_path: Path) -> Pipe:
    """An empty working folder."""
    return Pipe(tmp_path)
