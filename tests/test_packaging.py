"""What is installed is all that hpcmake needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import Pipe

ROOT = Path(__file__).parent.parent


def test_a_wheel_builds_a_pipefile_by_itself(
    pipe: Pipe, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("wheel")
    site = folder / "site"
    with zipfile.ZipFile(wheel(folder)) as file:
        file.extractall(site)
    for name in ("buildhpc/grammar/pipefile.lark", "buildhpc/py.typed", "buildhpc/ARCHITECTURE.md"):
        assert (site / name).is_file()

    pipe.write("Pipefile", 'rule hello:\n    output: "hello"\n    shell: "echo hello > {output}"\n')
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "import buildhpc.cli; print(buildhpc.__file__); sys.exit(buildhpc.cli.main([]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=pipe.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0] == str(site / "buildhpc" / "__init__.py")
    assert pipe.read("hello") == "hello\n"


def wheel(folder: Path) -> Path:
    """A wheel made from a copy of the sources, as making it leaves files beside them."""
    source = folder / "source"
    made = shutil.ignore_patterns("__pycache__")
    for name in ("buildhpc", "grammar"):
        shutil.copytree(ROOT / name, source / name, ignore=made)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / file).exists():
            shutil.copy(ROOT / file, source)
    words = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "-q"]
    done = subprocess.run(
        [*words, "-w", folder, source], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))
