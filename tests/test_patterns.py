"""Paths with wildcards: matching, making, finding, and one spelling for one file."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildhpc.language.patterns import DEFAULT, Pattern, Wild, find, normal, pattern


def made(text: str, **regexes: str) -> Pattern:
    """`a/{x}.b` with the expressions of its wildcards."""
    parts = [
        Wild(piece[1:-1], regexes.get(piece[1:-1], DEFAULT)) if piece[:1] == "{" else piece
        for piece in re.split(r"(\{\w+\})", text)
        if piece
    ]
    return pattern(parts)


# Pattern, its wildcards' expressions, a path -> the values, or None.
MATCHES = [
    ("a/{x}.bam", {}, "a/s1.bam", {"x": "s1"}),
    ("a/{x}.bam", {}, "a/s1.bam.bai", None),
    ("a/{x}.bam", {}, "b/s1.bam", None),
    ("a/{x}.bam", {}, "a/.bam", None),
    ("a/{x}.bam", {}, "a/b/c.bam", None),
    ("a/{x}.bam", {"x": ".+"}, "a/b/c.bam", {"x": "b/c"}),
    ("a/{x}.bam", {}, "a/s 1 'q' é.bam", {"x": "s 1 'q' é"}),
    ("a/{x}.bam", {}, "a/one\ntwo.bam", {"x": "one\ntwo"}),
    ("{x}_{y}.txt", {}, "a_b_c.txt", {"x": "a_b", "y": "c"}),
    ("{x}_{y}.txt", {"x": "[^_]+"}, "a_b_c.txt", {"x": "a", "y": "b_c"}),
    ("{x}/{x}.txt", {}, "a/a.txt", {"x": "a"}),
    ("{x}/{x}.txt", {}, "a/b.txt", None),
    ("{x}", {"x": "a|b"}, "b", {"x": "b"}),
    ("{x}c", {"x": "a|b"}, "bc", {"x": "b"}),
    ("{n}.txt", {"n": "[0-9]{2}"}, "12.txt", {"n": "12"}),
    ("{n}.txt", {"n": "[0-9]{2}"}, "1.txt", None),
    ("{n}{m}", {"n": "(a)(b)?", "m": "c"}, "abc", {"n": "ab", "m": "c"}),
    ("a.b", {}, "a.b", {}),
    ("a.b", {}, "axb", None),
    ("a+(b)[c].{x}", {}, "a+(b)[c].d", {"x": "d"}),
    ("{x}.gz", {"x": ".*"}, ".gz", {"x": ""}),
]


@pytest.mark.parametrize(("text", "regexes", "path", "values"), MATCHES)
def test_what_matches_and_with_which_values(
    text: str, regexes: dict[str, str], path: str, values: dict[str, str] | None
) -> None:
    assert made(text, **regexes).match(path) == values


names = st.sampled_from(["x", "y", "z"])
literal = st.text(st.sampled_from("abc._-+(){}[]/ é"), min_size=1, max_size=4)
values = st.text(st.sampled_from("abc123 'é"), min_size=1, max_size=5)


@given(st.lists(st.one_of(literal, names.map(Wild)), min_size=1, max_size=6), st.data())
def test_what_values_make_matches_and_makes_the_same_again(
    parts: list[str | Wild], data: st.DataObject
) -> None:
    whole = pattern(parts)
    wildcards = whole.wildcards
    given_values = [data.draw(values) for _ in wildcards]
    path = whole.format(wildcards)(*given_values)
    found = whole.match(path)
    assert found is not None
    # Neighbouring wildcards may share the text in another way; the path is the same.
    assert whole.format(wildcards)(*(found[name] for name in wildcards)) == path


@given(st.lists(names, min_size=1, max_size=3, unique=True), st.data())
def test_with_something_between_them_the_values_come_back(
    wildcards: list[str], data: st.DataObject
) -> None:
    parts: list[str | Wild] = ["out/"]
    for name in wildcards:
        parts += [Wild(name), "~/"]
    whole = pattern([*parts, "end"])
    given_values = {name: data.draw(values) for name in wildcards}
    path = whole.format(wildcards)(*given_values.values())
    assert whole.match(path) == given_values


@pytest.mark.parametrize(
    ("text", "prefix", "suffix", "wildcards", "literals"),
    [
        ("a/{x}.b", "a/", ".b", ("x",), 4),
        ("a/b.c", "a/b.c", "a/b.c", (), 5),
        ("{x}", "", "", ("x",), 0),
        ("{x}/b/{y}{x}.c", "", ".c", ("x", "y"), 5),
    ],
)
def test_parts_of_a_pattern(
    text: str, prefix: str, suffix: str, wildcards: tuple[str, ...], literals: int
) -> None:
    whole = made(text)
    assert (whole.prefix, whole.suffix, whole.wildcards) == (prefix, suffix, wildcards)
    assert (whole.literal_length, str(whole)) == (literals, text)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("./{x}.b", "{x}.b"),
        ("a/../{x}", "{x}"),
        ("a//{x}/", "a/{x}"),
        ("{x}/./b", "{x}/b"),
        ("{x}/b/../c", "{x}/c"),
        ("../{x}", "../{x}"),
        ("/{x}", "/{x}"),
    ],
)
def test_a_pattern_is_in_the_standard_form(text: str, plain: str) -> None:
    assert str(made(text)) == plain


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("a", "a"),
        ("./a", "a"),
        ("a/", "a"),
        ("a//b", "a/b"),
        ("a/./b", "a/b"),
        ("x/../a", "a"),
        ("../a", "../a"),
        ("../../a", "../../a"),
        ("a/../../b", "../b"),
        (".", "."),
        ("a/..", "."),
        ("/", "/"),
        ("/a", "/a"),
        ("/../a", "/a"),
        ("//a", "/a"),
        (".a", ".a"),
        ("a.", "a."),
        ("a/.b", "a/.b"),
        ("a/..b", "a/..b"),
        ("...", "..."),
        ("a b/ c", "a b/ c"),
    ],
)
def test_one_file_has_one_spelling(path: str, plain: str) -> None:
    assert normal(path) == plain


@given(st.text(st.sampled_from("./ab"), min_size=1, max_size=12))
def test_the_spelling_is_that_of_the_system(path: str) -> None:
    # POSIX lets a path that begins with two slashes mean something else; here it does not.
    assert normal(path) == os.path.normpath(re.sub("^//+", "/", path))
    assert normal(normal(path)) == normal(path)


TREE = {
    ".": ["data", "b.fq", "a.fq", "a.txt"],
    "data": ["deep", "x.fq", "é.fq", ".hidden.fq"],
    "data/deep": ["y.fq", "x.fq"],
}

# Pattern, expressions -> the values of what is there, by path.
FOUND = [
    ("{x}.fq", {}, [{"x": "a"}, {"x": "b"}]),
    ("./{x}.fq", {}, [{"x": "a"}, {"x": "b"}]),
    ("data/{x}.fq", {}, [{"x": ".hidden"}, {"x": "x"}, {"x": "é"}]),
    ("data/{x}.fq", {"x": "[a-z]+"}, [{"x": "x"}]),
    ("{d}/{x}.fq", {"x": "x"}, [{"d": "data", "x": "x"}]),
    ("data/{e}/{x}.fq", {}, [{"e": "deep", "x": "x"}, {"e": "deep", "x": "y"}]),
    ("data/d{e}/{x}.fq", {}, [{"e": "eep", "x": "x"}, {"e": "eep", "x": "y"}]),
    ("{x}.fq", {"x": ".*x"}, [{"x": "data/deep/x"}, {"x": "data/x"}]),
    ("data/{x}", {}, [{"x": ".hidden.fq"}, {"x": "deep"}, {"x": "x.fq"}, {"x": "é.fq"}]),
    ("no/{x}", {}, []),
    ("a.txt", {}, [{}]),
    ("b.txt", {}, []),
]


@pytest.mark.parametrize(("text", "regexes", "rows"), FOUND)
def test_what_is_there_is_found_sorted(
    text: str, regexes: dict[str, str], rows: list[dict[str, str]]
) -> None:
    found = find(made(text, **regexes), lambda folder: TREE.get(folder, []))
    assert [row for _, row in found] == rows


def test_a_sum_of_texts_and_patterns_is_a_pattern() -> None:
    assert str("a/" + made("{x}") + ".b" + made("{y}")) == "a/{x}.b{y}"
