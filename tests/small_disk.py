"""A disk so small that it is soon full, mounted where only what a test starts can see it."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Pipe

# How a process gets mounts of its own, and how others join it. An ordinary user needs a
# namespace of users around them; where these are switched off, root can do without.
_WAYS = (
    (("unshare", "--user", "--map-root-user", "--mount"), ("--user", "--preserve-credentials")),
    (("unshare", "--mount"), ()),
)
_MOUNT = 'mount -t tmpfs -o size="$1",mode=755 tmpfs "$2" && echo mounted && exec cat'


class SmallDisk:
    """A disk of 1 MiB.

    pipe: the project as those see it that the disk is mounted for.
    """

    def __init__(self, pipe: Pipe, folder: Path, place: str) -> None:
        self.pipe = pipe
        self._mount = folder / place
        self._ballast = pipe.path(place) / "ballast"

    def fill(self, free_kib: int = 0) -> None:
        """Leave so much room and no more."""
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                file.truncate(file.tell() - free_kib * 1024)

    def empty(self) -> None:
        """Make room again."""
        self._ballast.unlink()

    def read_only(self) -> None:
        """Let nothing be written from now on."""
        enter = [*self.pipe.prefix[:-1], "/"]  # without the folder that is gone to
        option = "remount,bind,ro"  # of this mount alone, as any user may
        subprocess.run([*enter, "mount", "-o", option, str(self._mount)], check=True)


@contextmanager
def small_disk(folder: Path, place: str = ".") -> Iterator[SmallDisk]:
    """A small disk at `place` in the folder of a project, for as long as the context lasts."""
    (folder / place).mkdir(exist_ok=True)
    holder, enter = _hold(["sh", "-c", _MOUNT, "sh", "1m", str(folder / place)])
    with holder:
        target = f"--target={holder.pid}"
        prefix = ["nsenter", *enter, "--mount", target, "sh", "-c", 'cd "$0" && exec "$@"']
        pipe = Pipe(Path(f"/proc/{holder.pid}/root{folder}"), [*prefix, str(folder)])
        yield SmallDisk(pipe, folder, place)
        holder.communicate()


def _hold(command: Sequence[str]) -> tuple[subprocess.Popen[str], Sequence[str]]:
    """The process that keeps the mount, and how to join it."""
    said = []
    for way, enter in _WAYS:
        holder = subprocess.Popen(
            [*way, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        if holder.stdout.readline():
            return holder, enter
        said.append(holder.communicate()[1].strip())
    reason = f"nothing can be mounted here, so full disks are not tested: {'; '.join(said)}"
    warnings.warn(reason, stacklevel=2)
    pytest.skip(reason)
