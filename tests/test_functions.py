"""The functions of the language: what each gives, and how it says no."""

from __future__ import annotations

from typing import Any

import pytest
from expression import plain_value, value_of

from buildhpc.diagnostics import HpcmakeError
from buildhpc.language.functions import FUNCTIONS, INPUT_FLAGS, OUTPUT_FLAGS
from buildhpc.language.values import Fields, wrap

FILES: dict[str, str | bytes] = {
    "samples.tsv": "id\tlane\ns1\t1\n\ns2\t 2 \n",
    "samples.csv": 'id,"note"\ns1,"a, b"\n',
    "bom.csv": "id\r\ns1\r\n",
    "ragged.tsv": "a\tb\n\n1\t2\n1\n",
    "twice.tsv": "a\ta\n1\t2\n",
    "empty.tsv": "\n",
    "list.txt": "one\n\n  two \r\n# three\n",
    "latin.txt": b"caf\xe9\n",
    "data/a.fq": "12345",
    "data/b.fq": "123",
    "data/b.txt": "",
}
VALUES = {
    "config": wrap("config", {"a": {"b": 3, "list": [1, {"c": 2}]}, "none": None}),
    "rows": [
        Fields("row", {"id": "s1", "lane": "1", "n": 1}),
        Fields("row", {"id": "s2", "lane": "2", "n": 2}),
        Fields("row", {"id": "s3", "lane": "2", "n": 3}),
    ],
    "xs": ["b", "a", "b"],
}

GIVES: dict[str, list[tuple[str, Any]]] = {
    "glob": [
        ('glob("data/{x}.fq")', [{"x": "a"}, {"x": "b"}]),
        ('[r.x for r in glob("data/{x}.fq")]', ["a", "b"]),
        ('glob("no/{x}")', []),
        ('glob("data/{x,[b-z]}.fq")', [{"x": "b"}]),
    ],
    "table": [
        ('table("samples.tsv")', [{"id": "s1", "lane": "1"}, {"id": "s2", "lane": "2"}]),
        ('table("samples.csv")', [{"id": "s1", "note": "a, b"}]),
        ('table("bom.csv")', [{"id": "s1"}]),
    ],
    "lines": [('lines("list.txt")', ["one", "  two ", "# three"])],
    "find": [
        ('find(rows, id = "s2").n', 2),
        ('find(rows, lane = 2, id = "s3").n', 3),
        ("find(rows, n = 1).id", "s1"),
    ],
    "get": [
        ('get(config, "a.b")', 3),
        ('get(config, "a.b", 9)', 3),
        ('get(config, "a.x", 9)', 9),
        ('get(config, "a.x")', None),
        ('get(config, "a.list.1.c")', 2),
        ('get(config, "x.y.z", [])', []),
        ('get(config, "none", 9)', None),
    ],
    "env": [
        ('env("HOME")', "/home/me"),
        ('env("NOBODY", "x")', "x"),
        ('env("HOME", "x")', "/home/me"),
    ],
    "exists": [('exists("data/a.fq")', True), ('exists("data/c.fq")', False)],
    "size": [
        ('size("data/a.fq") < 1K', True),
        ('(size("data/a.fq")).bytes', 5),
        ('(size(["data/a.fq", "data/b.fq"])).bytes', 8),
        ("(size([])).bytes", 0),
    ],
    "range": [
        ("range(3)", [0, 1, 2]),
        ("range(1, 3)", [1, 2]),
        ("range(6, 0, -2)", [6, 4, 2]),
        ("range(0)", []),
    ],
    "zip": [('zip([1, 2], ["a", "b"])', [[1, "a"], [2, "b"]]), ("zip([])", [])],
    "product": [
        ("product([1, 2], [3, 4])", [[1, 3], [1, 4], [2, 3], [2, 4]]),
        ("product([1], [])", []),
    ],
    "unique": [("unique(xs)", ["b", "a"])],
    "sorted": [("sorted(xs)", ["a", "b", "b"]), ("sorted([3, 1.5, 2])", [1.5, 2, 3])],
    "len": [("len(xs)", 3), ('len("abcd")', 4), ("len(config)", 2), ("len([])", 0)],
    "min": [("min(2, 1)", 1), ("min([2G, 1G])", "1G"), ('min("b", "a")', "a")],
    "max": [("max(2, 1, 3)", 3), ("max([1h, 90m])", "1:30:00")],
    "sum": [("sum([1, 2.5])", 3.5), ("sum([1G, 1G])", "2G"), ("sum([])", 0)],
    "int": [('int("12")', 12), ("int(3.9)", 3), ('int(" 7 ")', 7)],
    "float": [('float("1.5")', 1.5), ("float(2)", 2.0)],
    "str": [("str(1.5)", "1.5"), ("str(true)", "true"), ('str("a")', "a"), ("str(4G)", "4G")],
    "join": [('join(xs, ",")', "b,a,b"), ("join(xs)", "b a b"), ('join([1, 2], "-")', "1-2")],
    "replace": [('replace("a.b.c", ".", "_")', "a_b_c")],
    "split": [('split("a,b,,c", ",")', ["a", "b", "", "c"]), ('split("  a b ")', ["a", "b"])],
    "basename": [('basename("a/b.c")', "b.c"), ('basename("b")', "b")],
    "dirname": [('dirname("a/b/c")', "a/b"), ('dirname("c")', "."), ('dirname("/c")', "/")],
    "stem": [
        ('stem("a/x.fastq.gz")', "x.fastq"),
        ('stem("a.b/c")', "c"),
        ('stem(".bashrc")', ".bashrc"),
    ],
    "expand": [
        ('expand("{x}-{y}", x = xs, y = [1, 2])', ["b-1", "b-2", "a-1", "a-2", "b-1", "b-2"]),
        ('expand("{x}", x = "one")', ["one"]),
        ('expand("plain")', ["plain"]),
        ('expand("{x}", x = [])', []),
    ],
    **{
        name: [
            (f'{name}("a/./b")', "a/./b"),
            (f'{name}(["a", "b"])', ["a", "b"]),
            (f"{name}(none)", None),
        ]
        for name in (*OUTPUT_FLAGS, *INPUT_FLAGS)
    },
}

SAYS_NO: dict[str, list[tuple[str, str]]] = {
    "glob": [
        ('glob("data/*.fq")', "`glob` finds names in braces, such as `{sample}`, not `*` or `?`"),
        ("glob(3)", "`glob` wants a text here, not a number"),
    ],
    "table": [
        ('table("no.tsv")', "`no.tsv` does not exist"),
        (
            'table("x.md")',
            "`table` reads `.tsv`, `.tab` and `.csv`; what `x.md` is, is not clear",
        ),
        ('table("ragged.tsv")', "line 4 of `ragged.tsv` has 1 cell, not 2"),
        ('table("twice.tsv")', "`twice.tsv` has two columns named `a`"),
        ('table("empty.tsv")', "`empty.tsv` is empty: its first line must name the columns"),
    ],
    "lines": [
        ('lines("no.txt")', "`no.txt` does not exist"),
        ('lines("latin.txt")', "`latin.txt` is not UTF-8 text (byte 3)"),
    ],
    "find": [
        ('find(rows, id = "s11")', "no row has id = s11; the nearest is `s1`"),
        ("find(rows, lane = 2)", "2 rows have lane = 2"),
        ("find(rows)", "`find` wants at least one `column = value`"),
        ("find(rows, name = 1)", "row has no `name`; it has `id`, `lane`, `n`"),
        ("find(xs, id = 1)", "`find` looks in rows, not in text"),
        ('find("x", id = 1)', "`find` wants a list here, not text"),
    ],
    "get": [("get(config, 3)", "`get` wants a text here, not a number")],
    "env": [
        (
            'env("NO")',
            'the environment has no `NO`; `env("NO", DEFAULT)` gives a default',
        )
    ],
    "exists": [("exists([])", "`exists` wants a text here, not a list")],
    "size": [
        ('size("no")', "`no` does not exist, so its size is not known"),
        ("size(1)", "`size` wants a text here, not a number"),
    ],
    "range": [
        ("range(1.5)", "`range` wants whole numbers"),
        ("range(0, 9, 0)", "`range` cannot go in steps of 0"),
        ("range(99999999)", "`range` would make 99,999,999 numbers"),
    ],
    "zip": [("zip([1], [])", "`zip` wants lists of one length, not of 1, 0")],
    "product": [("product([1], 2)", "`product` wants a list here, not a number")],
    "unique": [('unique("aa")', "`unique` wants a list here, not text")],
    "sorted": [('sorted([1, "a"])', "`sorted` wants values of one kind")],
    "len": [("len(3)", "`len` wants a list or a text, not a number")],
    "min": [
        ("min([])", "`min` of nothing"),
        ('min(1, "a")', "`<` cannot compare text with a number"),
    ],
    "max": [("max(1G, 1h)", "`>` cannot compare a time with a size")],
    "sum": [('sum(["a", 1])', "`+` cannot combine text and a number")],
    "int": [('int("1.5")', '`int` cannot make a number of "1.5"')],
    "float": [("float([])", "`float` cannot make a number of a list")],
    "str": [("str(config)", "a set of named values cannot stand in a text: name one of them")],
    "join": [("join(xs, 1)", "`join` wants a text here, not a number")],
    "replace": [('replace("a", 1, "")', "`replace` wants a text here, not a number")],
    "split": [('split("a", "")', "`split` cannot split at nothing")],
    "basename": [("basename(1)", "`basename` wants a text here, not a number")],
    "dirname": [("dirname(none)", "`dirname` wants a text here, not none")],
    "stem": [("stem([])", "`stem` wants a text here, not a list")],
    "expand": [('expand("{x}{y}", x = 1)', "`expand` is told no values for `{y}`")],
    "temp": [("temp(3)", "`temp` wants a text here, not a number")],
}


def test_every_function_is_here() -> None:
    assert GIVES.keys() == FUNCTIONS.keys()


@pytest.mark.parametrize(("text", "worth"), [pair for pairs in GIVES.values() for pair in pairs])
def test_a_function_gives(text: str, worth: Any) -> None:
    found = plain_value(text, values=VALUES, files=FILES)
    assert found == worth
    assert type(found) is type(worth)


@pytest.mark.parametrize(("text", "words"), [pair for pairs in SAYS_NO.values() for pair in pairs])
def test_a_function_says_no(text: str, words: str) -> None:
    with pytest.raises(HpcmakeError) as caught:
        value_of(text, values=VALUES, files=FILES)
    (problem,) = caught.value.problems
    assert problem.span is not None
    assert (problem.text, problem.span.text) == (words, text)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_usage_that_a_message_shows_is_right(name: str) -> None:
    assert FUNCTIONS[name].usage.startswith(f"{name}(")
    too_many = ", ".join(["[]"] * (FUNCTIONS[name].most + 1))
    with pytest.raises(HpcmakeError, match="these arguments do not fit"):
        value_of(f"{name}({too_many})")
