"""`hpcmake check`: errors and warnings, without running or writing anything."""

from __future__ import annotations

import json

import pytest
from conftest import Pipe

GOOD = """\
rule all:
    input: "a/1.txt"

rule a:
    output: "a/{n}.txt"
    shell: "echo {n} > {output}"
"""


def test_a_sound_pipefile_has_no_problems_and_nothing_is_written(pipe: Pipe) -> None:
    pipe.write("Pipefile", GOOD)
    result = pipe.check("check", says="Pipefile: 2 rules, 1 job, no problems\n")
    assert result.err == ""
    assert sorted(p.name for p in pipe.folder.iterdir()) == ["Pipefile"]


def test_all_missing_sources_are_named_not_just_the_first(pipe: Pipe) -> None:
    pipe.write("Pipefile", 'rule all:\n    input: "x1", "y2"\n')
    result = pipe.check("check", says="Pipefile: 1 rule, 2 errors\n", code=2)
    assert result.err == (
        "error[no-rule]: no rule makes `x1`, and the file does not exist\n"
        " --> Pipefile:2:12\n"
        "  |\n"
        '2 |     input: "x1", "y2"\n'
        "  |            ^^^^\n"
        "  = needed by: rule `all`\n"
        "\n"
        "error[no-rule]: no rule makes `y2`, and the file does not exist\n"
        " --> Pipefile:2:18\n"
        "  |\n"
        '2 |     input: "x1", "y2"\n'
        "  |                  ^^^^\n"
        "  = needed by: rule `all`\n"
        "\n"
    )


# What is wrong in the file -> the slug, and the line and column it is told at.
PROBLEMS = {
    "a need that cannot be computed": (
        'rule a:\n    output: "a"\n    mem: 2G * "x"\n    shell: "touch a"\n',
        ("bad-value", 3, 10),
    ),
    "a need of the wrong kind": (
        'rule a:\n    output: "a"\n    cores: "many"\n    shell: "touch a"\n',
        ("bad-value", 3, 12),
    ),
    "a parameter that a row lacks": (
        (
            'rule a:\n    output: "a"\n    params:\n'
            '        x = config.no\n    shell: "echo {params.x}"\n'
        ),
        ("no-such-name", 4, 20),
    ),
    "a second attempt that cannot be": (
        'rule a:\n    output: "a"\n    mem: [1G][attempt - 1]\n    shell: "touch a"\n',
        ("no-such-name", 3, 10),
    ),
    "scheduler words are looked at too": (
        'rule a:\n    output: "a"\n    partition: ["x"]\n    shell: "touch a"\n',
        ("bad-value", 3, 16),
    ),
    "commands that bash cannot read": (
        'rule a:\n    output: "a"\n    shell:\n        if true; then\n',
        ("shell-syntax", 3, 5),
    ),
    "Python that Python cannot read": (
        'rule a:\n    output: "a"\n    python:\n        x = 1\n        y = (\n',
        ("python-syntax", 5, 13),
    ),
    "two literal outputs alike": (
        (
            'rule a:\n    output: "a"\n    shell: "touch a"\n'
            '\nrule b:\n    output: "a"\n    shell: "x"\n'
        ),
        ("ambiguous", 1, 6),
    ),
    "a cycle": (
        'rule a:\n    output: "a"\n    input: "a"\n    shell: "touch a"\n',
        ("cycle", 3, 12),
    ),
    "a script that is not there": (
        'rule a:\n    output: "a"\n    script: "no.py"\n',
        ("no-rule", 3, 5),
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_what_is_wrong_is_an_error(pipe: Pipe, name: str) -> None:
    text, (slug, line, column) = PROBLEMS[name]
    pipe.write("Pipefile", text)
    found = json.loads(pipe.check("check --json", code=2).out)
    assert [(e["slug"], e.get("line"), e.get("column")) for e in found["errors"]] == [
        (slug, line, column)
    ]


def test_a_need_that_hangs_on_a_file_to_come_is_no_error(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        'rule a:\n    output: "a"\n    input: "b"\n    mem: 2 * size(input)\n    shell: "x"\n\n'
        'rule b:\n    output: "b"\n    shell: "touch b"\n',
    )
    pipe.check("check", says="Pipefile: 2 rules, 2 jobs, no problems\n")


def test_a_preferred_rule_for_one_file_is_no_ambiguity(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        'prefer b > a\nrule a:\n    output: "a"\n    shell: "x"\n\n'
        'rule b:\n    output: "a"\n    shell: "y"\n',
    )
    result = pipe.check("check")
    assert "error" not in result.err


# What is hardly meant -> slug, line, column. Each file runs as it is.
WARNINGS = {
    "Make's words": (
        'rule a:\n    output: "a"\n    shell:\n        echo $@ > a\n',
        ("make-variable", 4, 14),
    ),
    "Make's other word": (
        'rule a:\n    output: "a"\n    shell:\n        cat x$<y > a\n',
        ("make-variable", 4, 14),
    ),
    "a block in quotes": (
        'rule a:\n    output: "a"\n    shell:\n        "touch "\n        "{output}"\n',
        ("quoted-block", 4, 9),
    ),
    "a let like a wildcard": (
        'rule all:\n    input: "1.b"\n\nrule b:\n'
        '    output: "{n}.b"\n    shell: "touch {output}"\n\n'
        'let n = 3\n\nrule c:\n    input: "{n}.b"\n',
        ("let-like-wildcard", 8, 5),
    ),
    "blanks in a parameter": (
        (
            'rule a:\n    output: "a"\n    params:\n'
            '        o = "-x -y"\n    shell: "echo {params.o} > a"\n'
        ),
        ("blanks-in-param", 5, 18),
    ),
    "an unused let": (
        'let x = 3\nrule a:\n    output: "a"\n    shell: "touch a"\n',
        ("unused-let", 1, 5),
    ),
    "an unused where of the file": (
        'where x = "."\nrule a:\n    output: "a"\n    shell: "touch a"\n',
        ("unused-where", 1, 7),
    ),
    "an unused where of a rule": (
        'rule all:\n    input: "1.a"\n\nrule a:\n    output: "{n,[0-9]}.a"\n    where: n = "."\n'
        '    shell: "touch {output}"\n',
        ("unused-where", 6, 12),
    ),
    "an unused rule": (
        (
            'rule a:\n    output: "a"\n    shell: "touch a"\n'
            '\nrule b:\n    output: "b"\n    shell: "x"\n'
        ),
        ("unused-rule", 5, 6),
    ),
    "a named rule that cannot be made": (
        'rule a:\n    output: "a"\n    shell: "touch a"\n\nrule b:\n    input: "c"\n',
        ("no-rule", 6, 12),
    ),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_what_is_hardly_meant_is_a_warning(pipe: Pipe, name: str) -> None:
    text, (slug, line, column) = WARNINGS[name]
    pipe.write("Pipefile", text)
    found = json.loads(pipe.check("check --json").out)
    assert [(w["slug"], w["line"], w["column"]) for w in found["warnings"]] == [
        (slug, line, column)
    ]
    assert found["errors"] == []
    pipe.check("check --strict", code=2)


QUIET = {
    "quoted as bash wants it": 'shell:\n        f() { echo "$@"; }\n        f > a',
    "arguments of a pattern": "shell:\n        awk '{print $1}' '$@' > a",
    "quotes in a parameter": 'params:\n        o = "-x -y"\n    shell: "echo \'{params.o}\' > a"',
    "raw": 'params:\n        o = "-x -y"\n    shell: "echo {params.o:raw} > a"',
    "a list": 'params:\n        o = ["-x", "-y"]\n    shell: "echo {params.o} > a"',
    "one quoted word": 'shell:\n        "./tool"',
    "a redirection": 'shell:\n        x=$(<Pipefile)\n        echo "$x" > a',
}


@pytest.mark.parametrize("name", QUIET)
def test_what_is_meant_is_no_warning(pipe: Pipe, name: str) -> None:
    pipe.write("Pipefile", f'rule a:\n    output: "a"\n    {QUIET[name]}\n')
    result = pipe.check("check --strict")
    assert result.err == ""


def test_a_let_counts_as_used_wherever_it_is(pipe: Pipe) -> None:
    lets = "".join(f"let u{n} = 1\n" for n in range(9))
    pipe.write(
        "Pipefile",
        lets + "let rows = [1]\n"
        'include "{u0}.inc"\n'
        'rule a:\n    output: "a{u1}", "b" for r in rows if u2\n    cores: u3\n'
        '    params: x = "{u4}"\n    when: u5 == 1\n'
        "    shell:\n        echo {u6} > {output[0]}\n        touch {output}\n\n"
        "on success:\n    echo {u7}\n",
    )
    pipe.write("1.inc", 'where w = "{u8}"\n')
    found = json.loads(pipe.check("check --json").out)
    assert [w["text"] for w in found["warnings"]] == ["this pattern of `w` is never used"]


def test_a_rule_that_is_asked_for_by_name_is_used(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        GOOD + '\nrule figures:\n    input: "f.png"\n\nrule draw:\n    output: "f.png"\n'
        '    shell: "touch {output}"\n\nrule tidy:\n    shell: "rm -f x"\n',
    )
    pipe.check("check", says="Pipefile: 5 rules, 1 job, no problems\n")


def test_targets_may_be_given(pipe: Pipe) -> None:
    pipe.write("Pipefile", GOOD + '\nrule x:\n    output: "x"\n    shell: "touch x"\n')
    pipe.check("check x", says="Pipefile: 3 rules, 1 job, no problems\n")
    pipe.check("check all x", says="Pipefile: 3 rules, 2 jobs, no problems\n")
    pipe.check("check", says="Pipefile: 3 rules, 1 job, 1 warning\n")
    assert "error[no-rule]" in pipe.check("check nowhere", code=2).err


def test_mistakes_of_the_text_are_all_told(pipe: Pipe) -> None:
    pipe.write("Pipefile", 'rule a\n    output: "a"\n\nrule b:\n    output "b"\n')
    result = pipe.check("check", says="Pipefile: 2 errors\n", code=2)
    assert result.err.count("error[") == 2


def test_warnings_come_before_errors(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile", 'rule a:\n    output: "a"\n    cores: "x"\n    shell: "touch a"\n\nlet q = 1\n'
    )
    result = pipe.check("check", says="Pipefile: 1 rule, 1 job, 1 error, 1 warning\n", code=2)
    assert result.err.index("warning[") < result.err.index("error[")


def test_an_included_file_is_looked_at(pipe: Pipe) -> None:
    pipe.write("Pipefile", 'include "sub/more.pipe"\n')
    pipe.write("sub/more.pipe", 'let q = 1\nrule a:\n    output: "a"\n    shell: "touch a"\n')
    result = pipe.check("check", says="Pipefile: 1 rule, 1 job, 1 warning\n")
    assert " --> sub/more.pipe:1:5\n" in result.err
