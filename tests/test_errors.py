"""Every message, in full, as people meet it.

`golden/errors.txt` has a part for each: files, what is run, and all that comes to stderr.
"""

from __future__ import annotations

import inspect
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from buildhpc.messages import (
    api,
    call,
    calls,
    clusters,
    commands,
    hamilton,
    inside,
    joblist,
    language,
    plan,
    rules,
    schedulers,
    sites,
    where,
)

GOLDEN = Path(__file__).parent / "golden" / "errors.txt"
MODULES = (
    *(rules, plan, language, call, commands, schedulers, sites, calls, where, clusters, inside),
    *(joblist, api, hamilton),
)
# What becomes known when a job's turn has come is told as the job's failure.
OF_A_JOB = {"plan.missing_input", "clusters.pipefile_changed", "plan.omitted_later"}
HPCMAKE = 'hpcmake() { "$PYTHON" -m buildhpc.cli "$@"; }\n'
# `flow MESSAGE` says what a node is told: importing Hamilton for each would take a second.
HPCMAKE += """
flow() { "$PYTHON" -c '
import sys
from buildhpc.diagnostics import Problem, render
from buildhpc.messages import hamilton
told = eval("hamilton." + sys.argv[1])
print(render(told) if isinstance(told, Problem) else told, file=sys.stderr)
' "$@"; }
"""
# `site CLUSTER OPTION...` has a cluster take a job of 4 cores, 64 GiB and 2 hours;
# `hasty WORD...` is hpcmake with no patience for a scheduler that does not answer;
# `reach CLUSTER HOST FOLDER COMMAND...` runs a command of its scheduler.
HPCMAKE += """
site() { "$PYTHON" -c '
import sys
from buildhpc.diagnostics import HpcmakeError
from buildhpc.schedulers.protocol import Request
from buildhpc.sites import read_sites
asked = Request(cores=4, mem_mib=65536, time_s=7200)
try:
    read_sites(".", sys.argv[2:], sys.argv[1]).cluster(sys.argv[1]).placed(asked, "map s=1")
except HpcmakeError as error:
    print(error, file=sys.stderr)
' "$@"; }
hasty() { "$PYTHON" -c '
import sys
from buildhpc.cli import main
from buildhpc.commands import moving
moving.clusters_of.__defaults__ = (0.0,)
sys.exit(main(sys.argv[1:]))
' "$@"; }
reach() { "$PYTHON" -c '
import sys
from buildhpc.diagnostics import HpcmakeError
from buildhpc.run.calls import Place, call
try:
    call(Place(*sys.argv[1:3]), sys.argv[4:], sys.argv[3])
except HpcmakeError as error:
    print(error, file=sys.stderr)
' "$@"; }
"""


@dataclass(frozen=True)
class Part:
    """A part of the golden file: what is there, what is run, what is said."""

    files: dict[str, str]
    script: str
    says: str


def read_parts() -> dict[str, Part]:
    texts = re.split(r"^=== (.*)\n", GOLDEN.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name: _part(text) for name, text in zip(texts[1::2], texts[2::2], strict=True)}


def _part(text: str) -> Part:
    texts = re.split(r"^--- (.*)\n", text, flags=re.MULTILINE)
    found = dict(zip(texts[1::2], texts[2::2], strict=True))
    return Part(says=found.pop("says"), script=found.pop("run"), files=found)


def written(name: str, part: Part) -> str:
    files = "".join(f"--- {path}\n{text}" for path, text in part.files.items())
    return f"=== {name}\n{files}--- run\n{part.script}--- says\n{part.says}"


def said(part: Part, folder: Path) -> str:
    for path, text in part.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    done = subprocess.run(
        ["bash", "-c", HPCMAKE + part.script],
        cwd=folder, capture_output=True, text=True, timeout=100, check=False,
        stdin=subprocess.DEVNULL, env={
            **os.environ, "PYTHON": sys.executable, "LC_ALL": "C.UTF-8",
            "XDG_CONFIG_HOME": str(folder / "config"),
        },
    )  # fmt: skip
    text = done.stderr.replace(str(folder), "/folder").replace(socket.gethostname(), "HOST")
    text = re.sub(r"process \d+", "process 4711", text)
    return "".join(line for line in text.splitlines(keepends=True) if "Killed" not in line)


@pytest.mark.parametrize("name", read_parts())
def test_a_message_is_shown_in_full(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    parts = read_parts()
    found = said(parts[name], tmp_path)
    if request.config.getoption("--bless", default=False):
        parts[name] = Part(parts[name].files, parts[name].script, found)
        whole = "".join(written(*each) for each in parts.items())
        GOLDEN.write_text(whole, encoding="utf-8")
    assert found == parts[name].says


def messages() -> Iterator[tuple[str, str]]:
    """Names of the functions that make messages, each with its slug."""
    for module in MODULES:
        for name, function in inspect.getmembers(module, inspect.isfunction):
            own = function.__module__ == module.__name__ and not name.startswith("_")
            code = inspect.getsource(function)
            slug = re.search(r'(?:Problem|_error|_warning)\(\s*"([a-z-]+)"', code)
            if own and slug is not None:
                yield f"{module.__name__.rpartition('.')[2]}.{name}", slug[1]


def test_every_message_is_among_those_shown() -> None:
    shown = {name.partition(" ")[0]: part.says for name, part in read_parts().items()}
    known = dict(messages())
    assert known.keys() - shown.keys() == set()
    assert shown.keys() - known.keys() == set()
    for name, slug in known.items():
        told = slug if name not in OF_A_JOB else "job-failed"
        assert f"[{told}]: " in shown[name], name
