"""What is said about a Pipefile that is written wrongly."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from buildhpc.diagnostics import HpcmakeError
from buildhpc.language.parser import parse
from buildhpc.messages import syntax, syntax_values

GOLDEN = Path(__file__).parent / "golden" / "syntax_errors.txt"


def said(text: str | bytes) -> str:
    with pytest.raises(HpcmakeError) as error:
        parse("Pipefile", text)
    assert error.value.exit_code == 2
    return str(error.value)


def test_every_mistake_is_shown_with_its_place_and_its_cure(request: pytest.FixtureRequest) -> None:
    golden = GOLDEN.read_text(encoding="utf-8")
    texts = re.findall(r"=== text\n(.*?)=== message\n", golden, re.DOTALL)
    assert len(texts) > 100
    shown = "".join(f"=== text\n{text}=== message\n{said(text)}\n" for text in texts)
    if request.config.getoption("--bless", default=False):
        GOLDEN.write_text(shown, encoding="utf-8")
    assert shown == golden


def test_every_problem_of_syntax_is_among_those_shown() -> None:
    shown = set(re.findall(r"^error\[(.*?)\]", GOLDEN.read_text(encoding="utf-8"), re.MULTILINE))
    written: set[str] = set()
    for module in (syntax, syntax_values):
        written |= set(re.findall(r'Problem\(\s*"([a-z0-9-]+)"', inspect.getsource(module)))
    assert written - shown == {"not-utf8", "nul-byte", "too-deep"}  # below


@pytest.mark.parametrize(
    ("text", "slug", "message", "place", "line"),
    [
        (
            b"\xef\xbb\xbfrule a:\r\n    input: 'caf\xe9'\r\n",
            "not-utf8",
            "the file is not UTF-8 text: it cannot have the byte e9 here",
            "Pipefile:2:16",
            "    input: 'caf\N{REPLACEMENT CHARACTER}'",
        ),
        (
            b"\xff\xfel\x00",
            "not-utf8",
            "the file is not UTF-8 text: it cannot have the byte ff here",
            "Pipefile:1:1",
            "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}l\0",
        ),
        (
            b"let x = 1\nlet \0y = 2\n",
            "nul-byte",
            "a NUL byte stands here",
            "Pipefile:2:5",
            "let \0y = 2",
        ),
        (
            "let x = \r5\r\n",
            "unknown-character",
            "the character U+000D cannot stand here",
            "Pipefile:1:9",
            "let x = \r5",
        ),
        (
            "let x =",
            "missing-value",
            "a value is missing after `=`",
            "Pipefile:1:7",
            "let x =",
        ),
    ],
)
def test_text_that_is_none_is_refused_at_its_first_bad_byte(
    text: str | bytes, slug: str, message: str, place: str, line: str
) -> None:
    with pytest.raises(HpcmakeError) as error:
        parse("Pipefile", text)
    (problem,) = error.value.problems
    assert problem.span is not None
    assert (problem.slug, problem.text, problem.span.place) == (slug, message, place)
    assert problem.span.source.line(problem.span.source.position(problem.span.start)[0]) == line
    assert [note.kind for note in problem.notes] == ["help"]


@pytest.mark.parametrize(
    ("value", "column", "limit"),
    [
        ("(" * 101 + "1" + ")" * 101, 109, 100),
        ("f[" * 101 + "1" + "]" * 101, 210, 100),
        ("-" * 300 + "1", 209, 200),
        ("not " * 300 + "a", 809, 200),
        ("a if b else " * 300 + "c", 2409, 200),
        ("a" + ".b" * 300, 9, 200),
        ("a" + "[0]" * 300, 311, 200),
    ],
)
def test_nesting_beyond_all_use_is_refused(value: str, column: int, limit: int) -> None:
    first, place, *_, cure = said(f"let x = {value}\n").split("\n")
    assert first == f"error[too-deep]: this is nested more than {limit} deep"
    assert place.strip() == f"--> Pipefile:1:{column}"
    assert cure.strip() == "= help: give a part of it a name with `let`"


def test_mistakes_in_several_rules_and_directives_are_all_shown() -> None:
    text = """\
let x = 1 +
rule good:
    input: "a"
    shell: "true"
rule bad:
    input "a"
    output: "b" "c"
    mem: 4Gx
    shell:
        rule is no keyword here
    cores = 4
importe "x"
"""
    places = re.findall(r"^error\[(.*?)\].*\n *--> Pipefile:(\d+):", said(text), re.MULTILINE)
    assert places == [
        ("missing-value", "1"),
        ("missing-colon", "6"),
        ("adjacent-strings", "7"),
        ("bad-number", "8"),
        ("equals-for-colon", "11"),
        ("unknown-statement", "12"),
    ]


def test_no_more_than_a_hundred_mistakes_are_shown() -> None:
    message = said("let = 1\n" * 1000)
    assert message.count("error[missing-name]") == 100
    assert message.endswith("= note: further problems of this file are not shown")
