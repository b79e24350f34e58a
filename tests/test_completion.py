"""`hpcmake completion`: the script, in a real bash."""

from __future__ import annotations

import subprocess

import pytest
from conftest import Pipe

# What readline does when TAB is hit: the words so far, the last one begun.
TRY = """
source ./script
complete -p hpcmake >/dev/null || exit 9
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=0
function=$(complete -p hpcmake | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("stat", ["stats", "status"]),
        ("--keep", ["--keep-going", "--keep-incomplete"]),
        ("-j 4 -k statu", ["status"]),
        ("--set a=1 comp", ["completion"]),
        ("clean --un", ["--unknown", "--unprotect"]),
        ("completion z", ["zsh"]),
        ("mapp", ["mapped"]),
        ("clean mapped/s", ["mapped/s1.bam", "mapped/s2.bam"]),
        ("-f Pi", ["Pipefile"]),
        ("fmt Pi", ["Pipefile"]),
        ("-C ma", ["mapped"]),
        ("--check ", ["content", "stamp"]),
    ],
)
def test_words_complete_in_bash(pipe: Pipe, words: str, found: list[str]) -> None:
    for path in ("Pipefile", "mapped/s1.bam", "mapped/s2.bam"):
        pipe.write(path)
    pipe.write("script", pipe.check("completion bash").out)
    done = subprocess.run(
        ["bash", "--norc", "-c", TRY, "try", "hpcmake", *words.split(" ")],
        cwd=pipe.folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert sorted(done.stdout.split()) == found


def test_the_script_for_zsh_knows_every_command(pipe: Pipe) -> None:
    from buildhpc.cli import COMMANDS

    script = pipe.check("completion zsh").out
    assert script.startswith("#compdef hpcmake\n")
    for command in COMMANDS:
        assert f"        {command}) _arguments" in script


def test_another_shell_is_an_error(pipe: Pipe) -> None:
    assert "error[bad-option]" in pipe.check("completion fish", code=2).err
