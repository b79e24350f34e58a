"""hpcmake under strace: the system calls on files of its own folder, one of which goes wrong."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from conftest import Pipe, Result
from faults import Scene

# What changes files, or opens them to do so; a name that this machine's kernel lacks is no harm.
WRITES = (
    *("openat", "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "close"),
    *("link", "linkat", "rename", "renameat", "renameat2"),
    *("mkdir", "mkdirat", "unlink", "unlinkat", "rmdir"),
)
_LINE = re.compile(r"(\w+)\((.*)\) += (.*)")
_FILE = re.compile(r"\d+<([^>]*)>")
_NAME = re.compile(r'(?<!<)"([^"]*)"')
_PID = "@PID@"


@dataclass(frozen=True)
class Call:
    """A system call on a file of hpcmake's own folder.

    number: counts the calls of this name. paths: as they were given, with @PID@ for the
    number of the process. line: as strace shows it.
    """

    name: str
    number: int
    paths: tuple[str, ...]
    line: str

    def __str__(self) -> str:
        return f"{self.name} {self.number}, {' '.join(self.paths)}"


class Stage:
    """A project that is put back to what it was before each run of one command line.

    name: what is run, for people. calls: those of an undisturbed run, in their order.
    """

    def __init__(self, scene: Scene, name: str, words: str, kept: Path) -> None:
        self.scene = scene
        self.name = name
        self.words = words
        self._kept = kept
        self._log = kept.with_suffix(".strace")
        shutil.copytree(scene.pipe.folder, kept)
        self._paths: tuple[str, ...] = ()
        result, lines = self.run()
        assert result.code == 0, result.err
        self.calls = list(_calls(lines, str(scene.pipe.folder), self._pid))
        paths = {path for call in self.calls for path in call.paths}
        self._paths = tuple(paths | {str(scene.pipe.path(path)) for path in paths})

    def put_back(self) -> None:
        """Undo whatever happened in the folder."""
        put_back(self._kept, self.scene.pipe.folder)

    def run(self, inject: str = "") -> tuple[Result, list[str]]:
        """Run the command line; what it came to, and the lines of strace.

        inject: see strace(1), `-e inject`. Its count is of calls on the files of `calls`.
        """
        options = ["-y", "-s", "0", "-e", f"trace={','.join(f'?{name}' for name in WRITES)}"]
        options += [word for path in self._paths for word in ("-P", path)]
        if inject:
            options += ["-e", f"inject={inject}"]
        result, lines, self._pid = traced(self.scene.pipe, options, self.words, self._log)
        return result, lines


def put_back(kept: Path, folder: Path) -> None:
    """Let a folder be what its copy is."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(kept, folder, dirs_exist_ok=True)


def traced(
    pipe: Pipe, options: Sequence[str], words: str, log: Path
) -> tuple[Result, list[str], int]:
    """Run hpcmake under strace; what it came to, what strace saw, and the process number.

    options: of strace; @PID@ in them stands for that number.
    """
    # The tracer is a grandchild, so that the number of the shell becomes that of hpcmake.
    strace = ["exec", "strace", "-D", "-o", str(log), *options]
    command = [*strace, sys.executable, "-m", "buildhpc.cli", *words.split()]
    script = " ".join(f"'{word}'" for word in command).replace(_PID, "'$$'")
    with subprocess.Popen(
        ["sh", "-c", script],
        cwd=pipe.folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        out, err = process.communicate(timeout=120)
    result = Result(process.returncode, out, err)
    return result, log.read_text().splitlines(), process.pid


def _calls(lines: Sequence[str], folder: str, pid: int) -> Iterator[Call]:
    counts: Counter[str] = Counter()
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        name, arguments, _ = match.groups()
        paths = tuple(
            path.replace(f".{pid}", f".{_PID}")
            for path in dict.fromkeys(_FILE.findall(arguments) + _NAME.findall(arguments))
            if ".hpcmake" in path.removeprefix(folder).split("/")
        )
        if paths:
            counts[name] += 1
            yield Call(name, counts[name], paths, line)
