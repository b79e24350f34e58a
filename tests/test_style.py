"""The code keeps to its style, as far as programs can tell."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LONGEST_FUNCTION, LONGEST_MODULE = 40, 400

# What is longer than it should be, and how long it may be at most. Nothing is to be added.
LONGER = {
    "buildhpc/state/snapshot.py: read": 41,
}


@pytest.mark.parametrize(
    "tool", ["ruff check --output-format concise", "ruff format --check", "mypy"]
)
def test_a_tool_has_nothing_to_say(tool: str) -> None:
    words = [sys.executable, "-m", *tool.split()]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout, done.stderr, sep="")
        pytest.fail(f"{tool}: exit code {done.returncode}", pytrace=False)


def test_modules_and_functions_are_short() -> None:
    long = []
    for name, lines in lengths():
        limit = LONGEST_FUNCTION if ": " in name else LONGEST_MODULE
        if lines > LONGER.get(name, limit):
            long.append(f"{name}: {lines} lines, at most {LONGER.get(name, limit)}")
    assert not long, "\n".join(long)


def lengths() -> Iterator[tuple[str, int]]:
    """Each module, and each function of it, with its number of lines."""
    for path in sorted((ROOT / "buildhpc").rglob("*.py")):
        name = str(path.relative_to(ROOT))
        text = path.read_text()
        yield name, len(text.splitlines())
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno
                yield f"{name}: {node.name}", node.end_lineno - node.lineno + 1
