"""What holds of every Pipefile, looked for by trying many."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildhpc.diagnostics import HpcmakeError, Source
from buildhpc.language import syntax
from buildhpc.language.formatter import format_text
from buildhpc.language.parser import parse
from buildhpc.language.store import dump, load
from buildhpc.language.walk import same

RESERVED = {"and", "or", "not", "if", "else", "for", "in"}
SOFT = ["rule", "let", "after", "as", "on", "where", "shell", "config", "local", "prefer", "start"]
NAMES = st.one_of(
    st.sampled_from(SOFT),
    st.from_regex(r"[a-z_][a-z0-9_]{0,3}", fullmatch=True).filter(lambda w: w not in RESERVED),
)
STRINGS = st.one_of(
    st.from_regex(r'"(?:[a-z{}\'# .*\\]|\\")?"', fullmatch=True).filter(lambda s: s != '"\\"'),
    st.from_regex(r"'[a-z{}\"#]{0,4}'", fullmatch=True),
)
NUMBERS = st.sampled_from(["0", "7", "1.5", "2e3", "4G", "500M", "1h30m", "1:30:00", "2-12:00:00"])


def _values(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Values that are made of others, written with too many brackets rather than too few."""
    infix = st.sampled_from(["+", " - ", "*", "/", " // ", "%", "==", " < ", " in ", " not in "])
    both = st.sampled_from([" and ", " or "])
    items = st.lists(inner, max_size=3).map(", ".join)
    loop = st.builds("{} for {} in ({}) if {}".format, inner, NAMES, inner, inner)
    return st.one_of(
        st.builds("({}){}({})".format, inner, infix, inner),
        st.builds("{}{}{}".format, inner, both, inner).map(lambda text: f"({text})"),
        st.builds("(not {})".format, inner),
        st.builds("(-{})".format, inner),
        st.builds("({} if {})".format, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("[{}]".format, items),
        st.builds("[\n  {},  # c\n\n{} ]".format, inner, inner),
        st.builds("{}({}, {} = {})".format, NAMES, inner, NAMES, inner),
        st.builds("({}).{}".format, inner, NAMES),
        st.builds("{}[{}]".format, NAMES, inner),
        st.builds("[{}]".format, loop),
        st.builds("( \\\n {}\\\n )".format, inner),
    )


VALUES = st.recursive(st.one_of(NAMES, STRINGS, NUMBERS), _values, max_leaves=6)
LINES = st.text(alphabet="ab $#'\"{}\\\t:|", min_size=0, max_size=8)
MARGINS = st.sampled_from(["", "", "# a", "\n", "# b\n\n# c"])


@st.composite
def _blocks(draw: st.DrawFn, margin: str) -> str:
    """A raw block, each line at least as deep as the first, which is not blank."""
    first = draw(LINES.filter(lambda line: line.strip(" \t") != "" and line[0] not in " \t"))
    more = draw(st.lists(st.one_of(LINES.map(lambda line: margin + line), st.just("")), max_size=4))
    return "\n".join([margin + first, *more])


@st.composite
def _directives(draw: st.DrawFn) -> str:
    """A directive in one of its forms."""
    name = draw(st.sampled_from(["input", "output", "mem", "params", "rule", "after", "if_"]))
    items = draw(st.lists(VALUES, min_size=1, max_size=3))
    labelled = [f"{draw(NAMES)} = {item}" if draw(st.booleans()) else item for item in items]
    form = draw(st.integers(0, 5))
    if form == 0:
        return "    local" + draw(st.sampled_from(["", "  # c"]))
    if form == 1:
        recipe = draw(st.sampled_from(["shell", "python"]))
        return f"    {recipe}:\n" + draw(_blocks("       "))
    if form == 2:
        return f"    {name}:\n" + "\n".join(f"      {item}  # c" for item in labelled)
    if form == 3:
        return f"    where: {draw(NAMES)} = {items[0]}, {draw(NAMES)} in {items[-1]}"
    return f"    {name}: " + draw(st.sampled_from([", ", " ,\n      ", ",  # c\n\n      "])).join(
        labelled
    )


@st.composite
def _statements(draw: st.DrawFn) -> str:
    """A statement in one of its forms."""
    kind = draw(st.sampled_from(["let", "rule", "rule", "other", "defaults", "on"]))
    if kind == "let":
        return f"let {draw(NAMES)}={draw(VALUES)}"
    if kind == "on":
        return f"on {draw(st.sampled_from(['start', 'success', 'failure']))}:\n" + draw(
            _blocks("  ")
        )
    if kind == "other":
        simple = ['config "a"', "include 'b'", 'use "c" as d', "prefer a>b > c", "where a='[b]'"]
        return draw(st.sampled_from(simple))
    word = draw(st.sampled_from(["rule", "checkpoint"]))
    head = "defaults:" if kind == "defaults" else f"{word} {draw(NAMES)} :"
    return "\n".join([head, *draw(st.lists(_directives(), min_size=1, max_size=4))])


@st.composite
def pipefiles(draw: st.DrawFn) -> str:
    """A Pipefile that can be read, in no tidy form."""
    statements = draw(st.lists(_statements(), max_size=4))
    parts = [part for statement in statements for part in (draw(MARGINS), statement)]
    text = "\n".join([*parts, draw(MARGINS)])
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


@settings(max_examples=80, deadline=None)
@given(pipefiles())
def test_the_standard_form_says_the_same_and_stays(text: str) -> None:
    formatted = format_text("Pipefile", text)
    assert same(parse("Pipefile", formatted), parse("Pipefile", text))
    assert format_text("Pipefile", formatted) == formatted
    assert formatted.count("#") == text.count("#")


@settings(max_examples=80, deadline=None)
@given(pipefiles())
def test_a_stored_tree_comes_back_with_all_its_places(text: str) -> None:
    tree = parse("Pipefile", text)
    source = tree.statements[0].span.source if tree.statements else Source("Pipefile", "")
    assert load(dump(tree), source) == tree


@settings(max_examples=60, deadline=None)
@given(VALUES, VALUES)
def test_brackets_and_lines_do_not_change_a_value(first: str, second: str) -> None:
    one_line = parse("Pipefile", f"let a = [{first}, {second}]")
    assert same(one_line, parse("Pipefile", f"let a = [\n\n({first}) ,# c\n({second}),\n]"))
    assert same(one_line, parse("Pipefile", f"let a = \\\n   [ {first} \\\n, {second}]"))


def mutated(text: str, seed: int) -> str:
    """`text` with a few pieces taken out, doubled or put elsewhere."""
    chance = random.Random(seed)
    pieces = [
        '"',
        "'",
        "(",
        "]",
        ":",
        "=",
        "\n",
        "    ",
        "\t",
        "\\",
        ",",
        "if",
        "4Gx",
        "\xa0",
        "\r",
        "#",
    ]
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(text))
        end = min(len(text), at + chance.randint(0, 6))
        piece = chance.choice([*pieces, text[at:end] * 2, ""])
        text = text[:at] + piece + text[end if chance.random() < 0.5 else at :]
    return text


@settings(max_examples=200, deadline=None)
@given(pipefiles(), st.integers(0, 2**32))
def test_a_broken_file_gives_problems_with_a_place_in_it(text: str, seed: int) -> None:
    broken = mutated(text, seed)
    try:
        tree = parse("Pipefile", broken)
    except HpcmakeError as error:
        assert error.problems
        for problem in error.problems:
            span = problem.span
            assert span is not None
            assert 0 <= span.start <= span.end <= len(span.source.text)
            assert problem.text
        places = [problem.span.start for problem in error.problems if problem.span]
        assert places == sorted(places)
    else:
        assert isinstance(tree, syntax.Tree)
        assert same(parse("Pipefile", format_text("Pipefile", broken)), tree)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60)))
def test_anything_at_all_gives_a_tree_or_problems(text: str | bytes) -> None:
    try:
        tree = parse("Pipefile", text)
    except HpcmakeError as error:
        assert str(error).startswith("error[")
    else:
        assert isinstance(tree, syntax.Tree)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=40), st.integers(0, 200))
def test_no_bytes_load_but_those_that_were_dumped(junk: bytes, at: int) -> None:
    tree = parse("Pipefile", "let a = [b, 4G]\nrule c:\n    shell: 'd'\n")
    source = tree.statements[0].span.source
    data = dump(tree)
    damaged = data[:at] + junk + data[at + len(junk) :]
    if damaged == data:
        assert load(damaged, source) == tree
    else:
        with pytest.raises(ValueError, match="stored syntax tree"):
            load(damaged, source)
