"""A project that tells how its jobs ran, builds that are broken off, and what must hold after."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable

from conftest import Pipe, Result

from buildhpc.run import orphans

# What may lie in hpcmake's own folder when nothing runs.
AT_REST = [".gitignore", "cache", "lock", "state.db"]

# Each job holds a lock of its own while it lives, and writes its output in two parts.
PIPEFILE = """\
let ns = range({count})
rule all:
    input: "out/{{n}}.c" for n in ns
rule a:
    output: "out/{{n}}.a"
    input: "src/{{n}}"
    shell:
        {begin}
        printf half > {{output}}; sleep {pause}; cat {{input}} >> {{output}}
        {end}
rule b:
    output: temp("out/{{n}}.b")
    input: "out/{{n}}.a"
    shell:
        {begin}
        printf half > {{output}}; sleep {pause}; cat {{input}} >> {{output}}
        {end}
rule c:
    output: "out/{{n}}.c"
    input: "out/{{n}}.b"
    shell:
        {begin}
        printf half > {{output}}; sleep {pause}; cat {{input}} >> {{output}}
        {end}
"""
BEGIN = """mkdir -p locks; exec 9>> locks/$(basename {output})
        flock -n 9 || echo overlap {output} >> log
        echo begin {output} >> log"""
END = "echo end {output} >> log"


_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2
_LIBC = ctypes.CDLL(None)


def wait_for(condition: Callable[[], object], what: str, limit_s: float = 60.0) -> None:
    """Return as soon as `condition` holds."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {limit_s:.0f} s"
        time.sleep(0.005)


class Scene:
    """A folder with the project, `count` chains of three jobs."""

    def __init__(self, pipe: Pipe, count: int = 4, pause: float = 0.02) -> None:
        self.pipe = pipe
        self.count = count
        text = PIPEFILE.format(count=count, pause=pause, begin=BEGIN, end=END)
        pipe.write("Pipefile", text)
        for number in range(count):
            pipe.write(f"src/{number}", f"data{number}\n")

    def start(self, *words: str, **options: object) -> subprocess.Popen[str]:
        """Start hpcmake and go on."""
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]  # any options
            self.pipe.command(*words),
            cwd=self.pipe.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **options,
        )

    def log(self) -> list[str]:
        """What the jobs told."""
        return self.pipe.read("log").splitlines() if self.pipe.exists("log") else []

    def begun(self) -> int:
        """How many jobs have begun."""
        return sum(line.startswith("begin") for line in self.log())

    def expected(self) -> dict[str, str]:
        """The files of a whole build."""
        found = {}
        for number in range(self.count):
            data = self.pipe.read(f"src/{number}")
            found[f"out/{number}.a"] = f"half{data}"
            found[f"out/{number}.c"] = f"halfhalfhalf{data}"
        return found

    def recover(self, *words: str) -> Result:
        """The next build makes all right; see `settled`."""
        result = self.pipe.run("-j4", *words)
        assert result.code == 0, result.out + result.err
        self.settled()
        return result

    def settled(self) -> None:
        """All outputs are whole, a further build does nothing, and no litter is left."""
        outputs = {str(p.relative_to(self.pipe.folder)) for p in self.pipe.path("out").iterdir()}
        assert outputs == set(self.expected())
        for path, text in self.expected().items():
            assert self.pipe.read(path) == text, path
        assert self.pipe.check("").out.startswith("nothing to do: ")
        assert not [line for line in self.log() if line.startswith("overlap")]
        assert sorted(path.name for path in self.pipe.path(".hpcmake").iterdir()) == AT_REST
        assert not self.processes()

    def planned(self) -> dict[str, str]:
        """The names of the jobs that would run, each with the kind of its reason."""
        lines = self.pipe.check("-n --json").out.splitlines()
        steps = [json.loads(line) for line in lines if '"job"' in line]
        return {step["job"]: step["reason"] for step in steps}

    def processes(self) -> list[int]:
        """Processes of jobs of this folder that still run."""
        folder = hashlib.sha256(os.path.realpath(self.pipe.folder).encode())
        return orphans.find(folder.hexdigest()[:12])


def unprivileged() -> None:
    """In a new process: let permissions hold for root as well.

    Source: capabilities(7): what is dropped from the bounding set is lost when a program starts.
    """
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
