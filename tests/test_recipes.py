"""Every kind of recipe, run for real; software that is not here by its exact command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_local import Jobs

from buildhpc.diagnostics import HpcmakeError
from buildhpc.run.attempts import Timing
from buildhpc.run.events import Ended
from buildhpc.run.local import LocalExecutor
from buildhpc.run.machine import Limits
from buildhpc.run.recipes import Command, Commands, Place
from buildhpc.run.spec import JobSpec, Needs, Outcome, OutputFile, Recipe, Software

PYTHON_JOB = str(Path(__file__).parent.parent / "buildhpc" / "run" / "python_job.py")
DATA = {
    "input": {"bam": "in/a.bam", "refs": ["in/r1", "in/r2"], "index": "in/i"},
    "output": ["out.txt"],
    "wildcards": {"sample": "s1", "items": "w"},
    "params": {"k": 31, "nested": {"deep": [1, {"x": "y"}]}},
    "config": {"genome": "hg38.fa"},
}


def make_spec(kind: str, text: str, **more: Any) -> JobSpec:
    recipe = Recipe(kind, text, more.pop("arguments", {}), more.pop("folder", "."))
    made = tuple(OutputFile(path) for path in more.pop("made", ()))
    more.setdefault("data", DATA)
    return JobSpec("job", "report", 1, ("in/a.bam",), made, recipe, **more)


def run(kind: str, text: str, **more: Any) -> tuple[Outcome, str]:
    """The outcome of a recipe and what it printed."""
    Path(".scratch").mkdir(exist_ok=True)
    work = Jobs([make_spec(kind, text, **more)], [()])
    make = LocalExecutor(work, Limits(4), Place(".scratch", "recipes:1"), Timing())
    (outcome,) = [event.outcome for event in make.run() if isinstance(event, Ended)]
    return outcome, Path(outcome.log).read_text() if outcome.log else ""


def command(kind: str, text: str, path: Path | None = None, **more: Any) -> Command:
    """The command of a recipe; `path`: the only folder of programs besides bash's."""
    Path(".scratch").mkdir(exist_ok=True)
    base = dict(os.environ)
    if path is not None:
        base["PATH"] = str(path)
    return Commands(Place(".scratch", "recipes:1", base)).command(
        make_spec(kind, text, **more), "1"
    )


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HPCMAKE_RUN", raising=False)


# Shell.


def test_shell_stops_at_the_first_mistake() -> None:
    outcome, printed = run("shell", "echo a\nfalse\necho b")
    assert (outcome.exit_code, printed) == (1, "a\n")


def test_a_long_block_is_run_as_a_file_and_leaves_none() -> None:
    text = "".join(f"# line {number} of a long block\n" for number in range(10_000)) + "echo $0"
    outcome, printed = run("shell", text)
    assert outcome.state == "done"
    assert printed.strip().endswith(".sh")
    assert [path.name for path in Path(".scratch").iterdir()] == ["1.log"]
    umlauts = "echo " + "ü" * 60_000
    assert run("shell", umlauts)[1] == "ü" * 60_000 + "\n"


def test_arguments_over_the_limit_of_the_system_are_told() -> None:
    env = {f"V{number}": "x" * 120_000 for number in range(60)}
    outcome, _ = run("shell", "true", env=env)
    assert outcome.failure == "launch"
    assert "`{input:file}` gives the inputs as a file" in outcome.message


# Environment.


def test_what_every_job_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCMAKE_MEM_MB", "of an outer job")
    monkeypatch.setenv("FROM_OUTSIDE", "1")
    monkeypatch.setenv("HPCMAKE_RUN", "outer:9")
    needs = Needs(cores=2, time_s=90)
    script = "env | grep -e ^HPCMAKE -e ^FROM -e ^MINE -e ^OMP | sort; cat $HPCMAKE_JOB"
    _, printed = run("shell", script, needs=needs, env={"MINE": "a b"})
    *lines, document = printed.splitlines()
    assert lines == [
        "FROM_OUTSIDE=1",
        "HPCMAKE_ATTEMPT=1",
        "HPCMAKE_CORES=2",
        f"HPCMAKE_JOB={Path('.scratch').absolute()}/1.json",
        "HPCMAKE_MEM_MB=",
        "HPCMAKE_PART=",
        "HPCMAKE_PARTS=",
        "HPCMAKE_RUN=outer:9 recipes:1",
        "HPCMAKE_TIME_S=90",
        "MINE=a b",
    ]
    assert json.loads(document) == {
        "name": "job",
        "rule": "report",
        "attempt": 1,
        "cores": 2,
        "mem_mb": None,
        "time_s": 90,
        "log": None,
        **DATA,
    }


def test_the_memory_of_a_job_is_told_when_it_has_a_limit() -> None:
    assert run("shell", "echo $HPCMAKE_MEM_MB", needs=Needs(mem_mib=2048))[1] == "2048\n"


def test_a_shorter_document_leaves_nothing_of_a_longer_one() -> None:
    Path(".scratch").mkdir()
    Path(".scratch/1.json").write_text("x" * 10_000)
    run("shell", "cp $HPCMAKE_JOB seen.json")
    assert json.loads(Path("seen.json").read_text())["rule"] == "report"


def test_programs_are_looked_for_on_the_path_of_the_job(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "Rscript", "#!/bin/sh\necho my own R\n")
    Path("a.R").write_text("stop()")
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    assert run("script", "a.R", env={"PATH": path})[1] == "my own R\n"


# Python.


def test_a_python_script_has_the_job_as_an_object() -> None:
    Path("scripts").mkdir()
    Path("scripts/beside.py").write_text("NAME = 'beside it'")
    Path("scripts/report.py").write_text(
        "import sys, beside\n"
        "print(beside.NAME, __name__, __file__, sys.argv, sys.path[0])\n"
        "print(job.input.bam, job.input['bam'], job.input[0], job.input.refs, job.input.index)\n"
        "print(list(job.input), len(job.input), job.input)\n"
        "print(job.output[0], job.wildcards.sample, job.wildcards.items, job.wildcards['sample'])\n"
        "print(job.params.k, job.params.nested.deep[1].x, job.config.genome, dict(job.config))\n"
        "print(job.cores, job.log, job.rule, job.attempt, job.name)\n"
        "open(job.output, 'w').write('made')\n"
    )
    outcome, printed = run(
        "script", "scripts/report.py", made=["out.txt"], needs=Needs(3), log="r.log"
    )
    assert outcome.message == ""
    here = Path.cwd()
    assert printed == (
        f"beside it __main__ {here}/scripts/report.py ['scripts/report.py'] {here}/scripts\n"
        "in/a.bam in/a.bam in/a.bam ['in/r1', 'in/r2'] in/i\n"
        "['in/a.bam', 'in/r1', 'in/r2', 'in/i'] 4 in/a.bam in/r1 in/r2 in/i\n"
        "out.txt s1 w s1\n"
        "31 y hg38.fa {'genome': 'hg38.fa'}\n"
        "3 r.log report 1 job\n"
    )
    assert Path("out.txt").read_text() == "made"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("job.wildcards.smaple", "no value named 'smaple' here; there is sample, items"),
        ("open(job.input)", "4 paths where one is expected: choose one by name or index"),
        ("job.input.bma", "'Paths' object has no attribute 'bma'"),
    ],
)
def test_mistakes_with_the_job_object_are_told(line: str, says: str) -> None:
    Path("a.py").write_text(line)
    outcome, printed = run("script", "a.py")
    assert outcome.message == "exit code 1"
    assert says in printed


def test_the_traceback_of_a_script_shows_its_own_lines_only() -> None:
    Path("a.py").write_text("def f():\n    return 1 / 0\n\nf()\n")
    _, printed = run("script", "a.py")
    assert printed == (
        "Traceback (most recent call last):\n"
        '  File "./a.py", line 4, in <module>\n'
        "    f()\n"
        '  File "./a.py", line 2, in f\n'
        "    return 1 / 0\n"
        "           ~~^~~\n"
        "ZeroDivisionError: division by zero\n"
    )


def test_a_syntax_error_in_a_script_is_shown() -> None:
    Path("a.py").write_text("x = 1\nif x\n    pass\n")
    _, printed = run("script", "a.py")
    assert printed == (
        "  File \"./a.py\", line 2\n    if x\n        ^\nSyntaxError: expected ':'\n"
    )


def test_a_script_may_choose_its_exit_code() -> None:
    Path("a.py").write_text("import sys\nprint('bye')\nsys.exit(7)")
    outcome, printed = run("script", "a.py")
    assert (outcome.exit_code, printed) == (7, "bye\n")
    Path("a.py").write_text("import sys\nsys.exit('no samples')")
    outcome, printed = run("script", "a.py")
    assert (outcome.exit_code, printed) == (1, "no samples\n")


def test_a_script_that_makes_processes_works() -> None:
    Path("a.py").write_text(
        "import multiprocessing as m\n"
        "def double(x): return 2 * x\n"
        "if __name__ == '__main__':\n"
        "    for kind in ('fork', 'spawn'):\n"
        "        with m.get_context(kind).Pool(2) as p: print(p.map(double, [1, job.cores]))\n"
    )
    outcome, printed = run("script", "a.py", needs=Needs(4))
    assert (outcome.message, printed) == ("", "[2, 8]\n[2, 8]\n")


def test_a_python_block_has_its_names_in_scope() -> None:
    block = (
        "import pathlib\n"
        "print(input.bam, wildcards.sample, params.k, cores, log, config.genome)\n"
        "pathlib.Path(output).write_text('x')\n"
        "def later():\n"
        "    return params.k\n"
        "print([later() for _ in input.refs])\n"
    )
    outcome, printed = run("python", block, made=["out.txt"])
    assert outcome.message == ""
    assert printed == "in/a.bam s1 31 1 None hg38.fa\n[31, 31]\n"
    assert [path.name for path in Path(".scratch").iterdir()] == ["1.log"]


def test_the_traceback_of_a_block_counts_the_lines_of_the_block() -> None:
    _, printed = run("python", "def f(x):\n    return x.nothing\n\nf(1)\n")
    assert printed == (
        "Traceback (most recent call last):\n"
        '  File "Pipefile block of rule report", line 4, in <module>\n'
        "    f(1)\n"
        '  File "Pipefile block of rule report", line 2, in f\n'
        "    return x.nothing\n"
        "           ^^^^^^^^^\n"
        "AttributeError: 'int' object has no attribute 'nothing'\n"
    )
    _, printed = run("python", "x = (\n")
    assert '  File "Pipefile block of rule report", line 1\n    x = (\n        ^\n' in printed


def test_a_block_finds_modules_in_the_working_folder_and_beside_its_pipefile() -> None:
    Path("here.py").write_text("A = 1")
    Path("workflow").mkdir()
    Path("workflow/beside.py").write_text("B = 2")
    text = "import here, beside; print(here.A, beside.B)"
    assert run("python", text, folder="workflow")[1] == "1 2\n"


def test_output_appears_in_the_order_it_was_printed() -> None:
    block = "import sys\nfor n in range(3): print(n); print(-n, file=sys.stderr)\n"
    assert run("python", block)[1] == "0\n0\n1\n-1\n2\n-2\n"


def test_call_runs_a_function_with_keyword_arguments() -> None:
    Path("tools.py").write_text(
        "import sys\n"
        "class Group:\n"
        "    @staticmethod\n"
        "    def make(path, n, names=()):\n"
        "        open(path, 'w').write(f'{n} {names}')\n"
        "        print(sorted(set(sys.modules) & {'lark', 'rich', 'sqlite3', 'buildhpc'}))\n"
        "def fail(): raise ValueError('no good')\n"
    )
    arguments = {"path": "out.txt", "n": 1.5, "names": ["a", "b"]}
    outcome, printed = run("call", "tools:Group.make", arguments=arguments, made=["out.txt"])
    assert (outcome.message, printed) == ("", "[]\n")
    assert Path("out.txt").read_text() == "1.5 ['a', 'b']"
    outcome, printed = run("call", "tools:fail")
    assert outcome.exit_code == 1
    assert printed.startswith('Traceback (most recent call last):\n  File "')
    assert "python_job" not in printed
    assert printed.endswith("ValueError: no good\n")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nowhere:f", "ModuleNotFoundError: No module named 'nowhere'\n"),
        ("json:nothing", "AttributeError: module 'json' has no attribute 'nothing'\n"),
        ("json:dumps", "TypeError: dumps() missing 1 required positional argument: 'obj'\n"),
    ],
)
def test_a_function_that_is_not_there_is_told(target: str, says: str) -> None:
    _, printed = run("call", target)
    assert printed.endswith(says)
    assert "python_job" not in printed


def test_the_job_runner_imports_little() -> None:
    code = f"import runpy, sys; runpy.run_path({PYTHON_JOB!r}); print(*sys.modules)"
    argv = [sys.executable, "-I", "-S", "-c", code]
    loaded = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    heavy = {"lark", "rich", "yaml", "sqlite3", "pathlib", "subprocess", "dataclasses", "typing"}
    assert heavy & set(loaded) <= {"typing"}


# Other languages.


def test_an_r_script_reads_the_document() -> None:
    Path("a.R").write_text(
        'text <- paste(readLines(Sys.getenv("HPCMAKE_JOB")), collapse = "")\n'
        'sample <- sub(\'.*"sample": "([^"]*)".*\', "\\\\1", text)\n'
        'writeLines(c(sample, Sys.getenv("HPCMAKE_CORES")), "out.txt")\n'
    )
    outcome, _ = run("script", "a.R", made=["out.txt"], needs=Needs(2))
    assert outcome.message == ""
    assert Path("out.txt").read_text() == "s1\n2\n"


def test_an_r_script_that_stops_fails() -> None:
    Path("a.r").write_text('stop("no reads")')
    outcome, printed = run("script", "a.r")
    assert outcome.exit_code == 1
    assert "no reads" in printed


def test_bash_and_perl_scripts() -> None:
    Path("a.sh").write_text("echo $0; false; echo never")
    assert run("script", "a.sh")[1] == "./a.sh\n"
    Path("-a.bash").write_text("echo bash")
    assert run("script", "-a.bash")[1] == "bash\n"
    Path("a.pl").write_text('print "perl $0\\n";')
    assert run("script", "a.pl")[1] == "perl ./a.pl\n"


def test_julia_by_its_command_line(tmp_path: Path) -> None:
    julia = program(tmp_path / "bin" / "julia")
    Path("a.jl").touch()
    assert command("script", "a.jl", julia.parent).argv == (str(julia), "./a.jl")


def test_any_other_script_runs_by_itself_or_by_its_first_line() -> None:
    program(Path("tool"), "#!/bin/sh\necho executable\n")
    assert run("script", "tool")[1] == "executable\n"
    Path("tool.awk").write_text("#!/usr/bin/env -S cat\nshebang\n")
    Path("tool.awk").chmod(0o644)
    assert command("script", "tool.awk").argv == ("/usr/bin/env", "-S cat", "./tool.awk")
    assert run("script", "tool.awk")[1].endswith("shebang\n")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("no.py", None, "the script `no.py` does not exist"),
        (
            "data.txt",
            "words",
            "nothing says what runs `./data.txt`: it has no ending that is known"
            " (.py .R .jl .sh .bash .pl), is not executable and has no `#!` line",
        ),
        ("a.jl", "", "`julia`, which runs `a.jl`, is not found on PATH"),
        (
            "x.x",
            "#!/no/such/program\n",
            "cannot start `/no/such/program`: No such file or directory",
        ),
    ],
)
def test_scripts_that_cannot_run_are_told(name: str, text: str | None, message: str) -> None:
    if text is not None:
        Path(name).write_text(text)
    outcome, _ = run("script", name)
    assert (outcome.failure, outcome.message) == ("launch", message)


# Software.


def test_within_is_a_command_line_that_the_recipe_is_appended_to() -> None:
    within = Software(within="env 'X=1 and 2' nice -n 5")
    _, printed = run("shell", "echo $X\nnice", software=within)
    assert printed == "1 and 2\n5\n"
    assert run("python", "import os; print(os.environ['X'])", software=within)[1] == "1 and 2\n"


@pytest.mark.parametrize(
    ("within", "message"),
    [
        ("env 'X", "`within` is no command line (no closing quotation): env 'X"),
        ("no-such-prefix -x", "`no-such-prefix`, which `within` names, is not found on PATH"),
    ],
)
def test_a_wrong_within_is_told(within: str, message: str) -> None:
    outcome, _ = run("shell", "true", software=Software(within=within))
    assert (outcome.failure, outcome.message) == ("launch", message)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Path:
    if not Path("/usr/share/modules/init/bash").exists():
        pytest.skip("environment-modules is not installed")
    folder = Path("modulefiles").absolute()
    folder.mkdir()
    for name in ("MODULESHOME", "LOADEDMODULES", "BASH_ENV", "BASH_FUNC_module%%"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MODULEPATH", str(folder))
    head = "#%Module1.0\n"
    (folder / "reads").mkdir()
    (folder / "reads/1.0").write_text(head + "setenv READS_HOME /opt/reads\n")
    (folder / "tool").write_text(head + "prereq reads\nsetenv TOOL yes\n")
    bin_folder = program(Path("own/bin/python3").absolute(), "#!/bin/sh\necho own python\n").parent
    (folder / "python").write_text(head + f"prepend-path PATH {bin_folder}\n")
    return folder


@pytest.mark.usefixtures("modules")
def test_modules_are_loaded_before_the_recipe() -> None:
    software = Software(modules=("reads/1.0", "tool"))
    text = 'echo "$READS_HOME $TOOL"; set +u; echo $-; module list 2>&1 | grep -c reads'
    outcome, printed = run("shell", text, software=software)
    assert outcome.message == ""
    first, options, count = printed.splitlines()
    assert (first, count) == ("/opt/reads yes", "1")
    assert "e" in options
    _, printed = run("shell", "echo $nothing; echo never", software=software)
    assert "nothing: unbound variable" in printed
    Path("a.R").write_text('cat(Sys.getenv("TOOL"), "\\n")')
    assert run("script", "a.R", software=software)[1] == "yes \n"


@pytest.mark.usefixtures("modules")
def test_a_python_that_a_module_brings_runs_the_python_of_the_job() -> None:
    assert run("python", "1", software=Software(modules=("python",)))[1] == "own python\n"
    block = "import sys; print(sys.executable)"
    assert run("python", block, software=Software(modules=("reads/1.0",)))[1].strip() == (
        sys.executable
    )


@pytest.mark.usefixtures("modules")
def test_a_module_that_is_not_there_fails_the_job() -> None:
    outcome, printed = run("shell", "echo never", software=Software(modules=("reads", "nosuch")))
    assert outcome.exit_code == 1
    assert "nosuch" in printed
    assert printed.endswith("hpcmake: cannot load the modules reads nosuch\n")
    assert "never" not in printed


def test_conda_by_its_command_line(tmp_path: Path) -> None:
    conda = program(tmp_path / "bin" / "conda")
    for environment, option in (("bio", "-n"), ("/opt/envs/bio", "-p"), ("./env", "-p")):
        made = command("shell", "echo a", conda.parent, software=Software(conda=environment))
        script = str(Path(".scratch/1.sh").absolute())
        assert made.argv == (
            *(str(conda), "run", "--no-capture-output", option, environment),
            *("bash", "-euo", "pipefail", script),
        )
        assert made.files == (script,)
    made = command("call", "m:f", conda.parent, software=Software(conda="bio"))
    assert made.argv[5:] == ("python", PYTHON_JOB, "call", "m:f", ".")


def test_mamba_stands_in_for_conda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONDA_EXE", raising=False)
    mamba = program(tmp_path / "bin" / "micromamba")
    Path("a.R").touch()
    made = command("script", "a.R", mamba.parent, software=Software(conda="bio"))
    assert made.argv == (str(mamba), "run", "-n", "bio", "Rscript", "./a.R")


@pytest.mark.parametrize("name", ["apptainer", "singularity"])
def test_containers_by_their_command_line(tmp_path: Path, name: str) -> None:
    here = str(Path.cwd())
    runs = program(tmp_path / "bin" / name)
    software = Software(container="docker://ubuntu:24.04")
    made = command("shell", "echo a", runs.parent, software=software)
    assert made.argv == (
        *(str(runs), "exec", "--bind", here, "--pwd", here, "docker://ubuntu:24.04"),
        *("bash", "-euo", "pipefail", "-c", "echo a"),
    )
    made = command("python", "1", runs.parent, software=software, needs=Needs(gpus=1))
    assert made.argv == (
        *(str(runs), "exec", "--bind", here, "--bind", str(Path(PYTHON_JOB).parent), "--nv"),
        *("--pwd", here, "docker://ubuntu:24.04", "python3", PYTHON_JOB, "block"),
        *(f"{here}/.scratch/1.py", ".", "report"),
    )


def test_wraps_stand_in_their_order(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    for name in ("conda", "apptainer", "srun"):
        program(folder / name)
    software = Software(("a", "b/2"), "bio", "x.sif", "srun -n 1")
    words = command("shell", "true", folder, software=software).argv
    assert words[:3] == (str(folder / "srun"), "-n", "1")
    assert [words.index(each) for each in (str(folder / "apptainer"), str(folder / "conda"))] == [
        3,
        10,
    ]
    inner = words[words.index("bash") :]
    assert inner[:2] == ("bash", "-c")
    assert inner[3:] == (
        *("hpcmake", "other", "2", "a", "b/2"),
        *("bash", "-euo", "pipefail", str(Path(".scratch/1.sh").absolute())),
    )


@pytest.mark.parametrize(
    ("software", "text"),
    [
        (
            Software(conda="x"),
            "`conda`, which the environment of the rule needs, is not found on PATH",
        ),
        (
            Software(container="x.sif"),
            "`apptainer`, which the container of the rule needs, is not found on PATH",
        ),
    ],
)
def test_software_that_is_not_installed_is_told(
    software: Software, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONDA_EXE", raising=False)
    with pytest.raises(HpcmakeError) as caught:
        command("shell", "true", tmp_path / "empty", software=software)
    assert [problem.text for problem in caught.value.problems] == [text]
