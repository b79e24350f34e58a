"""Expressions: what they are worth, and what is said of those that are worth nothing."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Pipe
from expression import plain_value, value_of

from buildhpc.diagnostics import HpcmakeError
from buildhpc.language.values import Fields, Files, Path, wrap
from buildhpc.quantities import Duration, Size

CONFIG = wrap("config", {"a": {"b": 3}, "list": ["x", "y"], "name": "n 1"})
MORE = wrap("more", {"a": 1})
VALUES = {
    "config": CONFIG,
    "more": MORE,
    "three": 3,
    "word": "word",
    "words": ["a", "b"],
    "rows": [Fields("row", {"id": "s1", "n": 1}), Fields("row", {"id": "s2", "n": 2})],
    "nothing": None,
}

WORTH: list[tuple[str, Any]] = [
    # Literals.
    ("1", 1),
    ("1.5", 1.5),
    ("1e3", 1000.0),
    ('"a"', "a"),
    ("'a'", "a"),
    ("true", True),
    ("false", False),
    ("none", None),
    ("[]", []),
    ('[1, "a", [2]]', [1, "a", [2]]),
    ("[1,\n  2,\n]", [1, 2]),
    # Escapes.
    (r'"a\tb\nc\\d\"e"', 'a\tb\nc\\d"e'),
    (r'"\w+\.txt"', r"\w+\.txt"),
    (r"'it\'s'", "it's"),
    # Names in braces.
    ('"{word}s"', "words"),
    ('"{three}{three}"', "33"),
    ("\"{config.a.b} {config.list[1]} {config['name']}\"", "3 y n 1"),
    ('"{words[-1]}"', "b"),
    ('"{{word}} {} {1} { word }"', "{word} {} {1} { word }"),
    ('"{words}"', "a b"),
    ('"{nothing}"', "none"),
    # Arithmetic.
    ("1 + 2 * 3", 7),
    ("(1 + 2) * 3", 9),
    ("7 / 2", 3.5),
    ("6 / 2", 3.0),
    ("7 // 2", 3),
    ("-7 // 2", -4),
    ("7 % 3", 1),
    ("-2 * -3", 6),
    ("1 - 2 - 3", -4),
    ("8 / 2 / 2", 2.0),
    ('"a" + "b"', "ab"),
    ("[1] + [2]", [1, 2]),
    # Comparison and logic.
    ("1 < 2", True),
    ("2 <= 2", True),
    ("1 == 1.0", True),
    ("1 != 2", True),
    ('"a" < "b"', True),
    ('"1" == 1', False),
    ("true == 1", False),
    ("1 in [1, 2]", True),
    ('"b" not in ["a"]', True),
    ('"or" in "word"', True),
    ('"a" in config', True),
    ("none == none", True),
    ("true and false", False),
    ("false or 3", 3),
    ("0 and 1", 0),
    ("not []", True),
    ("not true or true", True),
    ("1 if true else 2", 1),
    ('"x" if three > 5 else "y"', "y"),
    # Parts.
    ("config.a.b", 3),
    ("config.list[0]", "x"),
    ('config["name"]', "n 1"),
    ("[10, 20][1]", 20),
    ("[10, 20][-2]", 10),
    ("rows[1].id", "s2"),
    ('"abc"[1]', "b"),
    # Loops.
    ("[x for x in words]", ["a", "b"]),
    ('["{x}.txt" for x in words]', ["a.txt", "b.txt"]),
    ("[r.id for r in rows if r.n > 1]", ["s2"]),
    ("[x + y for x in words for y in words]", ["aa", "ab", "ba", "bb"]),
    ("[a for a, b in zip([1, 2], [3, 4]) if b == 4]", [2]),
    ("[[x, 1] for x in words]", ["a", 1, "b", 1]),
    ("[x for x in []]", []),
    ("[0] + [x for x in words]", [0, "a", "b"]),
    ("[word for word in [1]]", [1]),
    # `none` and `[]` are no items.
    ('["a", none, [], "b"]', ["a", "b"]),
    ('[("x" if three > 5 else none), "y"]', ["y"]),
    # Quantities.
    ("4G", "4G"),
    ("512M * 2", "1G"),
    ("2 * 1h30m", "3:00:00"),
    ("1h / 4", "0:15:00"),
    ("3G / 1G", 3.0),
    ("4G + 512M", "4608M"),
    ("1h > 30m", True),
    ("1.5G", "1536M"),
    ("90s", "0:01:30"),
    ("1:30:00", "1:30:00"),
    ("1-00:00:00", "24:00:00"),
    ("(4G).mb", 4096),
    ("(4G).gb", 4),
    ("(90s).minutes", 2),
    ("(90m).hms", "1:30:00"),
    ("max(2G, 3 * 1G)", "3G"),
]


@pytest.mark.parametrize(("text", "worth"), WORTH, ids=[text for text, _ in WORTH])
def test_an_expression_is_worth(text: str, worth: Any) -> None:
    found = plain_value(text, values=VALUES)
    assert found == worth
    assert type(found) is type(worth)


def test_quantities_are_numbers_of_their_kind() -> None:
    assert type(value_of("4G * 2")) is Size
    assert type(value_of("1h + 1m")) is Duration
    assert type(value_of("1G // 1M")) in (int, float)


def test_late_names_are_looked_up_when_the_value_is_asked_for() -> None:
    late = {"input": Files("input", ["a", "b"], {"x": "a"}), "sample": "s1", "attempt": 2}
    assert value_of("4G * attempt", late=late) == Size(8 * 2**30)
    assert value_of('"{sample}/{input.x}"', late=late) == "s1/a"
    assert value_of("len(input)", late=late) == 2
    assert value_of('[p for p in input if p != "a"]', late=late) == ["b"]


def test_a_flag_stays_on_a_path() -> None:
    found = value_of('temp(protected("a"))')
    assert isinstance(found, Path)
    assert (str(found), sorted(found.flags)) == ("a", ["protected", "temp"])
    assert [str(p) for p in value_of('temp(["a", "b"])')] == ["a", "b"]
    assert value_of("temp(none)") is None


def test_long_sums_need_no_recursion() -> None:
    assert value_of(" + ".join(["1"] * 5000)) == 5000


def test_only_the_chosen_side_is_computed() -> None:
    assert value_of('1 if true else [0][9] + ""') == 1
    assert value_of("true or [0][9]") is True
    assert value_of("false and [0][9]") is False


# What cannot be computed -> the slug, the guilty part, the text.
WRONG: list[tuple[str, str, str, str]] = [
    ("nobody", "unknown-name", "nobody", "nothing here is called `nobody`"),
    ('"{nobody}"', "unknown-name", "{nobody}", "nothing here is called `nobody`"),
    (
        '"{config.x}"',
        "no-such-name",
        "{config.x}",
        "`config` has no `x`; it has `a`, `list`, `name`",
    ),
    ("config.a.c", "no-such-name", "c", "`config.a` has no `c`; it has `b`"),
    ("words[2]", "no-such-name", "words[2]", "there is no item 2: the list has 2, counted from 0"),
    ("three.x", "no-such-name", "x", "a number has no `x`"),
    (
        "words[true]",
        "bad-value",
        "words[true]",
        "an index is a number or a name, not true or false",
    ),
    ("1 + []", "bad-value", "1 + []", "`+` cannot combine a number and a list"),
    ('1 + "a"', "bad-value", '1 + "a"', "`+` cannot combine a number and text"),
    ("1G + 1h", "bad-value", "1G + 1h", "`+` cannot combine a size and a time"),
    ("1G * 1G", "bad-value", "1G * 1G", "`*` cannot combine a size and a size"),
    ("1 / 0", "bad-value", "1 / 0", "division by zero"),
    ("-words", "bad-value", "-words", "`-` needs a number, not a list"),
    ('1 < "a"', "bad-value", '1 < "a"', "`<` cannot compare a number with text"),
    (
        "true < false",
        "bad-value",
        "true < false",
        "`<` cannot compare true or false with true or false",
    ),
    ("1 in 2", "bad-value", "1 in 2", "`in` needs a list or a text on its right, not a number"),
    ('1 in "a"', "bad-value", '1 in "a"', "`in` looks for text in a text, not for a number"),
    ("[x for x in 3]", "bad-loop", "3", "a loop needs a list, and this is a number"),
    (
        "[a for a, b in [[1, 2, 3]]]",
        "bad-loop",
        "for a, b in [[1, 2, 3]]",
        "the loop takes 2 names from each item, and one is a list of 3",
    ),
    ("nofunction(1)", "unknown-function", "nofunction", "there is no function `nofunction`"),
    ("len()", "bad-arguments", "len()", "these arguments do not fit"),
    ("len([], x = 1)", "bad-arguments", "len([], x = 1)", "these arguments do not fit"),
    ("three(1)", "unknown-function", "three", "there is no function `three`"),
    (
        '"{words:raw}"',
        "bad-conversion",
        "{words:raw}",
        "`{words:raw}` asks for no conversion there is",
    ),
]


@pytest.mark.parametrize(("text", "slug", "guilty", "words"), WRONG, ids=[w[0] for w in WRONG])
def test_what_cannot_be_computed_is_an_error_at_its_place(
    text: str, slug: str, guilty: str, words: str
) -> None:
    with pytest.raises(HpcmakeError) as caught:
        value_of(text, values=VALUES)
    (problem,) = caught.value.problems
    assert problem.span is not None
    assert (problem.slug, problem.span.text, problem.text) == (slug, guilty, words)


def test_in_its_own_value_the_name_of_a_directive_means_the_let(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        'let mem = 2G\n\nrule a:\n    output: "a"\n    mem: mem * 2\n    shell: "echo {mem} > a"\n',
    )
    pipe.check("-q")
    assert pipe.read("a") == "4G\n"


def test_texts_that_are_put_together_are_one_path(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        """\
let x = "a"
rule all:
    input:
        "sum/" + x, "./w/" + "../w/" + x, "m/" + ("u/" if x == "a" else "v/") + ("t/" + x),
        ["l/"] + ["k/" + x]
rule a:
    output: "{d}/" + x, "{d}/" + "b"
    where: d in ["w", "k", "m/u/t"]
    shell: "touch {output}"
rule s:
    output: "sum/" + "{n}"
    input: "{n}/../in/" + "{n}/" + x
    shell: "touch {output}"
rule l:
    output: directory("l/")
    shell: "mkdir {output}"
""",
    )
    pipe.write("in/a/a")
    pipe.check("-q")
    assert all(pipe.exists(path) for path in ("sum/a", "w/a", "w/b", "m/u/t/a", "k/a", "l"))
    pipe.check("", says="nothing to do: all 5 jobs are fresh\n")
