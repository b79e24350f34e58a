"""`hpcmake clean`: outputs go, sources and what people changed stay."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest
from conftest import Pipe

PIPEFILE = """\
rule all:
    input: "out/x.b", "out/y.b", "keep/p", "tree"

rule b:
    output: "out/{n}.b"
    input: "mid/{n}.a"
    shell: "cp {input} {output}"

rule a:
    output: temp("mid/{n}.a")
    input: "src/{n}"
    shell: "cp {input} {output}"

rule p:
    output: protected("keep/p")
    shell: "echo p > {output}"

rule tree:
    output: directory("tree")
    shell: "mkdir -p {output}/deep; touch {output}/deep/file"
"""
SOURCES = ["Pipefile", "src/x", "src/y"]
MADE = ["keep/p", "out/x.b", "out/y.b", "tree/deep/file"]


@pytest.fixture
def built(pipe: Pipe) -> Pipe:
    pipe.write("Pipefile", PIPEFILE)
    for name in "xy":
        pipe.write(f"src/{name}", f"{name}\n")
    pipe.check("-q")
    assert pipe.files() == sorted(SOURCES + MADE)
    return pipe


def test_outputs_and_their_empty_folders_go_sources_stay(built: Pipe) -> None:
    result = built.check(
        "clean --yes --unprotect",
        says="keep/p\nout/x.b\nout/y.b\ntree\nremoved 4 outputs\n",
    )
    assert result.err == ""
    assert built.files() == SOURCES
    assert sorted(p.name for p in built.folder.iterdir()) == [".hpcmake", "Pipefile", "src"]
    built.check("clean --yes", says="nothing to remove\n")
    built.check("-q")
    assert built.files() == sorted(SOURCES + MADE)


def test_a_protected_output_is_kept_and_said_so(built: Pipe) -> None:
    result = built.check("clean --yes", says="out/x.b\nout/y.b\ntree\nremoved 3 outputs\n")
    assert result.err == "kept: `keep/p` is protected; `--unprotect` removes it\n"
    assert built.exists("keep/p")


def test_a_dry_run_shows_and_removes_nothing(built: Pipe) -> None:
    built.check(
        "clean -n --unprotect",
        says="would remove keep/p\nwould remove out/x.b\nwould remove out/y.b\nwould remove tree\n",
    )
    assert built.files() == sorted(SOURCES + MADE)


def test_without_a_terminal_yes_is_wanted(built: Pipe) -> None:
    result = built.check("clean", code=2)
    assert result.err.endswith(
        "error[needs-yes]: 3 outputs would be removed, and there is no terminal to ask at\n"
        " = help: `--yes` answers; `-n` shows what would be done\n"
    )
    assert built.files() == sorted(SOURCES + MADE)


def test_only_what_is_named_goes(built: Pipe) -> None:
    built.check("clean ./out/x.b --yes", says="out/x.b\nremoved 1 output\n")
    built.check("clean tree --yes", says="tree\nremoved 1 output\n")
    built.check("clean --rule b --yes", says="out/y.b\nremoved 1 output\n")
    assert not built.exists("out")
    assert built.exists("keep/p")


def test_a_rule_without_outputs_stands_for_its_inputs(built: Pipe) -> None:
    built.write("Pipefile", PIPEFILE + '\nrule some:\n    input: "out/x.b", "src/y"\n')
    built.check("clean some --yes", says="out/x.b\nremoved 1 output\n")


def test_temp_ones_alone(built: Pipe) -> None:
    built.check("mid/x.a")
    built.check("clean --temp --yes", says="mid/x.a\nremoved 1 output\n")
    assert built.exists("out/x.b")


def test_a_file_changed_by_hand_is_kept_unless_forced(built: Pipe) -> None:
    built.write("out/x.b", "mine\n")
    built.write("tree/notes.txt", "mine\n")
    result = built.check("clean --yes", says="out/y.b\nremoved 1 output\n")
    assert "kept: `out/x.b` was changed by hand since it was made" in result.err
    assert "kept: `tree` was changed by hand since it was made" in result.err
    assert built.read("out/x.b") == "mine\n"
    built.check("clean --yes --force", says="out/x.b\ntree\nremoved 2 outputs\n")


def test_a_source_is_never_removed(built: Pipe) -> None:
    result = built.check("clean src/x --yes --force", says="", code=2)
    assert result.err == (
        "error[no-output]: no rule makes `src/x`, and no job is known to have made it\n"
        " = help: `clean` removes outputs only\n"
    )
    assert built.exists("src/x")


def test_an_output_that_became_a_source_is_never_removed(built: Pipe) -> None:
    built.write(
        "Pipefile",
        'rule new:\n    output: "new"\n    input: "out/x.b"\n    shell: "cp {input} new"\n',
    )
    result = built.check("clean --yes --force --unprotect", says="nothing to remove\n")
    assert result.err == (
        "3 outputs of past builds that no rule makes any more stay; `--unknown` is for them\n"
    )
    built.check("clean --unknown --yes", says="out/y.b\nremoved 1 output\n")
    assert built.exists("out/x.b")


def test_what_no_rule_makes_any_more_goes_when_asked(built: Pipe) -> None:
    text = PIPEFILE.replace('"out/x.b", "out/y.b", ', "").replace("out/{n}.b", "other/{n}.b")
    built.write("Pipefile", text)
    result = built.check("clean --unknown --yes", says="out/x.b\nout/y.b\nremoved 2 outputs\n")
    assert result.err == ""
    assert built.exists("tree/deep/file")
    assert not built.exists("out")


def test_a_job_beyond_the_default_target_is_cleaned_too(built: Pipe) -> None:
    built.write("src/z", "z\n")
    built.check("-q out/z.b")
    assert "would remove out/z.b\n" in built.check("clean -n").out


def test_an_output_that_no_build_made_goes_since_its_rule_says_so(pipe: Pipe) -> None:
    pipe.write("Pipefile", 'rule a:\n    output: "a"\n    shell: "touch a"\n')
    pipe.write("a")
    pipe.check("clean --yes", says="a\nremoved 1 output\n")
    assert not pipe.exists(".hpcmake")


def test_a_folder_goes_only_if_it_is_declared(pipe: Pipe) -> None:
    pipe.write("Pipefile", 'rule a:\n    output: "a"\n    shell: "touch a"\n')
    pipe.write("a/precious", "mine\n")
    result = pipe.check("clean --yes --force", says="nothing to remove\n")
    assert result.err == "kept: `a` is a folder, and no rule says `directory(...)` of it\n"


def test_a_folder_that_no_build_made_is_kept_unless_forced(pipe: Pipe) -> None:
    pipe.write("Pipefile", 'rule a:\n    output: directory("a")\n    shell: "mkdir a"\n')
    pipe.write("a/precious", "mine\n")
    result = pipe.check("clean --yes", says="nothing to remove\n")
    assert result.err == (
        "kept: `a` is a folder that no job is known to have made; `--force` removes it\n"
    )
    pipe.check("clean --yes --force", says="a\nremoved 1 output\n")


def test_what_a_live_run_works_on_is_kept(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        'rule all:\n    input: "b", "c"\n\nrule b:\n    output: "b"\n    input: "a"\n'
        '    shell: "touch begun; while [ ! -e go ]; do sleep 0.02; done; cp a b"\n\n'
        'rule a:\n    output: "a"\n    shell: "echo > a"\n\n'
        'rule c:\n    output: "c"\n    priority: 1\n    shell: "echo > c"\n',
    )
    build = subprocess.Popen([sys.executable, "-m", "buildhpc.cli", "-q"], cwd=pipe.folder)
    while not pipe.exists("begun") or pipe.run("status", "--state", "done").out.count("\nc") < 1:
        time.sleep(0.02)  # what is done is written down now and then
    result = pipe.check("clean --yes", says="c\nremoved 1 output\n")
    pipe.write("go")
    assert build.wait(30) == 0
    assert re.fullmatch(r"kept: `a` is what run \d works on, which is alive\n", result.err)
    assert pipe.exists("b")


def test_of_a_link_only_the_link_goes(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        'rule a:\n    output: "out/a"\n    input: "src"\n    shell: "ln -s ../src {output}"\n',
    )
    pipe.write("src", "source\n")
    pipe.check("-q")
    pipe.check("clean --yes", says="out/a\nremoved 1 output\n")
    assert pipe.files() == ["Pipefile", "src"]


def test_folders_above_the_working_folder_are_left(pipe: Pipe) -> None:
    pipe.write("work/Pipefile", 'rule a:\n    output: "../side/a"\n    shell: "touch {output}"\n')
    pipe.check("-C work -q")
    pipe.check("clean -C work --yes", says="../side/a\nremoved 1 output\n")
    assert pipe.path("side").is_dir()


def test_a_broken_graph_leaves_what_was_recorded(built: Pipe) -> None:
    built.path("src/x").unlink()
    result = built.check("clean --yes", says="out/x.b\nout/y.b\ntree\nremoved 3 outputs\n")
    assert result.err.startswith("warning[no-rule]: no rule makes `src/x`")
    assert "error[no-rule]" in built.check("clean --unknown --yes", code=2).err


def test_unknown_names_are_errors_with_the_nearest(built: Pipe) -> None:
    assert "the nearest name is `out/x.b`" in built.check("clean out/x.c", code=2).err
    assert (
        "`--rule treee`: there is no rule `treee`" in built.check("clean --rule treee", code=2).err
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_what_cannot_be_removed_is_said(built: Pipe) -> None:
    built.path("out").chmod(0o555)
    result = built.check("clean --rule b --yes", code=2)
    built.path("out").chmod(0o755)
    assert "warning[not-removed]: `out/x.b` cannot be removed: permission denied" in result.err
