"""Which folder of `buildhpc` may import which, and what is loaded only where it is needed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conftest import Pipe
from runners import Bed

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "buildhpc"

# A folder or module of the root -> what it may import besides itself and what is for everyone.
EVERYONE = {"diagnostics", "messages", "quantities", "__version__"}
MAY_IMPORT: dict[str, set[str]] = {
    "diagnostics": set(),
    "quantities": set(),
    "messages": set(),
    "language": set(),
    "rules": {"language"},
    "joblist": {"language", "rules"},
    "plan": {"language", "rules"},
    "disk": {"plan"},
    "schedulers": set(),
    "sites": {"schedulers"},
    "state": {"disk", "language", "plan"},
    "run": {"disk", "language", "plan", "rules", "schedulers", "sites", "state"},
    "show": {"disk", "plan", "run", "state"},
    "project": {"disk", "joblist", "language", "later", "plan", "rules", "state"},
    "later": {"disk", "plan", "project", "state"},
    "commands": {
        "disk",
        "joblist",
        "language",
        "later",
        "plan",
        "project",
        "rules",
        "run",
        "schedulers",
        "show",
        "sites",
        "state",
    },
    "cli": {"commands"},
    "api": {
        "commands",
        "disk",
        "joblist",
        "plan",
        "project",
        "run",
        "schedulers",
        "show",
        "state",
    },
    "hamilton": {"commands", "disk", "plan", "run", "schedulers", "show", "sites", "state"},
}

# Module, what it imports -> why it may all the same. Where it says types, nothing is loaded.
EXCEPTIONS = {
    ("state/attempts.py", "buildhpc.run.spec"): "types: what is recorded of an attempt",
    ("state/receipts.py", "buildhpc.run.spec"): "the outcome that is in a receipt, a plain value",
    ("state/recorder.py", "buildhpc.run.spec"): "types: what is recorded of an attempt",
    ("api/job_list.py", "buildhpc.cli"): "a list that is run from the command line",
    ("api/options.py", "buildhpc.cli"): "the options of a build, and what holds by default",
    ("commands/completion.py", "buildhpc.cli"): "the options that are completed",
    ("commands/retry.py", "buildhpc.cli"): "what is run again is a build as people type it",
    ("schedulers/local_server.py", "buildhpc.run.machine"): "what this machine has",
    ("schedulers/local_processes.py", "buildhpc.run"): "`processes`: what runs on this machine",
}

# Others' code -> the folders that may import it.
ONLY_IN = {
    "lark": {"language"},
    "rich": {"commands", "show"},
    "yaml": {"rules"},
    "sqlite3": {"state"},
    "filelock": {"state"},
    "shtab": {"commands"},
    "hamilton": {"hamilton"},
}

HEAVY = ("lark", "rich", "yaml", "sqlite3", "filelock", "shtab", "hamilton")


@dataclass(frozen=True)
class Import:
    """An import statement, wherever in a module it stands."""

    module: str
    line: int
    name: str

    @property
    def folder(self) -> str:
        """The folder of the module, or the module itself where it lies in the root."""
        return self.module.split("/")[0].removesuffix(".py")

    @property
    def imported(self) -> str:
        """The folder or root module of ours that is imported; empty for others' code."""
        package, _, rest = self.name.partition(".")
        return rest.split(".")[0] if package == "buildhpc" else ""

    def __str__(self) -> str:
        return f"buildhpc/{self.module}:{self.line} imports {self.name}"


def imports() -> Iterator[Import]:
    """All imports of the package, those inside of functions as well."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = str(path.relative_to(PACKAGE))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                for each in node.names:
                    yield Import(module, node.lineno, each.name)
            elif isinstance(node, ast.ImportFrom):
                assert node.module and not node.level, f"{module}:{node.lineno}: a relative import"
                names = [each.name for each in node.names]
                whole = node.module == "buildhpc"
                for name in [f"buildhpc.{name}" for name in names] if whole else [node.module]:
                    yield Import(module, node.lineno, name)


def test_imports_go_one_way() -> None:
    wrong = [
        str(each)
        for each in imports()
        if each.imported
        and each.imported != each.folder
        and each.folder != "__init__"
        and each.imported not in MAY_IMPORT[each.folder] | EVERYONE
        and (each.module, each.name) not in EXCEPTIONS
    ]
    assert not wrong, "\n".join(wrong)


def test_what_everyone_may_import_imports_nothing_of_ours_above_it() -> None:
    order = ("quantities", "diagnostics", "messages")
    wrong = [
        str(each)
        for each in imports()
        if each.folder in order
        and each.imported
        and each.imported not in order[: order.index(each.folder) + 1]
    ]
    assert not wrong, "\n".join(wrong)


def test_every_exception_is_still_needed() -> None:
    there = {(each.module, each.name) for each in imports()}
    assert EXCEPTIONS.keys() <= there


def test_others_code_is_imported_in_its_one_place() -> None:
    known = set(sys.stdlib_module_names) - ONLY_IN.keys() | {"buildhpc", "__main__"}
    wrong = [
        str(each)
        for each in imports()
        if (top := each.name.split(".")[0]) not in known
        and each.folder not in ONLY_IN.get(top, set())
    ]
    assert not wrong, "\n".join(wrong)


def test_every_folder_of_code_is_in_the_table_and_in_the_wheel() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders <= MAY_IMPORT.keys()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    shipped = {"buildhpc", "buildhpc.grammar", *(f"buildhpc.{folder}" for folder in folders)}
    assert set(settings["packages"]) == shipped


PIPEFILE = """\
config "config.yaml"

rule copy:
    output: "copy"
    input: config.source
    shell: "cp {input} {output}"
"""


def test_a_build_with_nothing_to_do_loads_nothing_heavy(pipe: Pipe) -> None:
    pipe.write("config.yaml", "source: original\n")
    pipe.write("original")
    pipe.write("Pipefile", PIPEFILE)
    pipe.check("-j 2")
    pipe.check("-j 2", says="nothing to do: the job is fresh\n")  # this one remembers that
    assert loaded(pipe, "-j", "2") == []


def test_the_version_loads_nothing_heavy(pipe: Pipe) -> None:
    assert loaded(pipe, "--version") == []


def loaded(pipe: Pipe, *words: str) -> list[str]:
    """The heavy packages that hpcmake has loaded when it ends."""
    program = (
        "import json, sys\nfrom buildhpc.cli import main\n"
        f"try: main({words!r})\nexcept SystemExit: pass\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=pipe.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    heavy: list[str] = json.loads(done.stdout.splitlines()[-1])
    return heavy


# What a runner on a node must do without; SQLite it needs to read the state.
NOT_IN_A_RUNNER = {
    *HEAVY, "argparse", "subprocess", "tempfile", "buildhpc.language", "buildhpc.rules",
    "buildhpc.plan.model", "buildhpc.show", "buildhpc.commands",
} - {"sqlite3"}  # fmt: skip


def test_a_runner_loads_little(tmp_path: Path) -> None:
    bed = Bed(tmp_path)
    bed.write("in")
    bed.job("cat in > out", ["out"], ["in"])
    bed.plan()
    program = (
        "import json, runpy, sys\nsys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\nexcept SystemExit: pass\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    python, *options, file, manifest, line = bed.command()
    words = [python, *options, "-c", program, file, manifest, line]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    modules = set(json.loads(done.stdout))
    assert bed.ended().outcome.state == "done"
    assert not modules & NOT_IN_A_RUNNER
    own = {name.split(".")[0] for name in modules}
    assert own - sys.stdlib_module_names <= {"__main__", "__mp_main__", "buildhpc"}
