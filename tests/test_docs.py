"""The pages are run: every console block gives what the page shows.

In a page, a block ```pipefile is the Pipefile from there on, ```LANGUAGE NAME is a file of that
name, and ```console holds commands behind `$` and what they print. Each heading begins in an
empty folder. A block ```pipefile snippet is a part of a Pipefile: it is parsed, and not run.
Lengths of time and dates may differ; nothing else may.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from python_reference import MARK, PAGE, reference

from buildhpc.language.parser import parse

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "grammar" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LOCAL = ("local", "here")  # clusters of pages that are this machine
_BLOCK = re.compile(r"(#{1,4} [^\n]*)\n|```(\w+) ?([^\n]*)\n(.*?)```\n", re.DOTALL)
_VARYING = [
    (re.compile(r"\b\d+(\.\d+)? s\b"), "N s"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?"), "DATE"),
]


def blocks(text: str) -> Iterator[tuple[str, str, str, int]]:
    """Headings (kind `#`) and code blocks: kind, name, text, and where the text begins."""
    for match in _BLOCK.finditer(text):
        if match[1]:
            yield "#", match[1], "", match.start()
        else:
            yield match[2], match[3], match[4], match.start(4)


def replayed(text: str, folder: Path) -> str:
    """A page with what its commands print now in the place of what it says they print."""
    parts, end = [], 0
    here = folder / "0"
    for number, (kind, name, body, start) in enumerate(blocks(text)):
        if kind == "#":
            here = folder / str(number)
        elif kind == "console":
            here.mkdir(parents=True, exist_ok=True)
            parts += [text[end:start], _run(body, here, folder)]
            end = start + len(body)
        elif kind == "pipefile" and name != "snippet":
            _write(here / "Pipefile", body)
        elif name and kind != "pipefile":
            _write(here / name, body)
    return "".join([*parts, text[end:]])


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _run(body: str, here: Path, folder: Path) -> str:
    """The commands of a console block, each with what it prints."""
    programs = folder / "bin"
    if not programs.exists():
        programs.mkdir()
        for name, module in (("hpcmake", "-m buildhpc.cli "), ("python", "")):
            script = f'#!/bin/sh\nexec {sys.executable} {module}"$@"\n'
            (programs / name).write_text(script)
            (programs / name).chmod(0o755)
        # A queue of its own: that of this machine may be busy for long.
        spools = [
            f'[cluster.{alias}]\nscheduler = "local"\nspool = "{folder}/spool"\n' for alias in LOCAL
        ]
        _write(folder / "config" / "hpcmake" / "hpcmake.toml", "".join(spools))
    env = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    told = []
    for line in body.splitlines():
        if line.startswith("$ "):
            done = subprocess.run(
                ["bash", "-c", line[2:]],
                cwd=here,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=120,
                check=False,
            )
            told.append(f"{line}\n{done.stdout}")
    return "".join(told)


def steady(text: str) -> str:
    """A page without what varies from one run to the next."""
    for pattern, word in _VARYING:
        text = pattern.sub(word, text)
    return text


@pytest.mark.parametrize("page", [str(path.relative_to(ROOT)) for path in PAGES if path.exists()])
def test_a_page_shows_what_its_commands_print(page: str, tmp_path: Path) -> None:
    text = (ROOT / page).read_text()
    assert steady(replayed(text, tmp_path)) == steady(text)


@pytest.mark.parametrize("page", [str(path.relative_to(ROOT)) for path in PAGES if path.exists()])
def test_the_pipefiles_of_a_page_are_well_formed(page: str) -> None:
    for kind, _, body, _ in blocks((ROOT / page).read_text()):
        if kind == "pipefile":
            parse("Pipefile", body.encode())


def test_the_reference_names_every_directive_function_and_flag() -> None:
    from buildhpc.language.functions import FUNCTIONS
    from buildhpc.rules.directives import DIRECTIVES

    text = (ROOT / "grammar" / "README.md").read_text()
    words = set(re.findall(r"\w+", text))
    assert set(DIRECTIVES) | set(FUNCTIONS) <= words


def test_the_reference_of_python_says_what_docstrings_say() -> None:
    # `python tests/python_reference.py` writes it anew.
    assert PAGE.read_text().partition(MARK)[2] == "\n" + reference()


if __name__ == "__main__":
    # Writes a page anew with what its commands print: `python tests/test_docs.py PAGE`.
    import tempfile

    for word in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder_:
            path_ = Path(word)
            path_.write_text(replayed(path_.read_text(), Path(folder_)))
