"""Every form of the language, and the tree it becomes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from buildhpc.diagnostics import Source, Span
from buildhpc.language import syntax
from buildhpc.language.parser import parse
from buildhpc.language.store import dump, load
from buildhpc.language.walk import children, same


def show(node: Any) -> str:
    """A tree as text in which every part shows what it holds."""
    return SHOWN[type(node)](node)


def each(nodes: Any, between: str = " ") -> str:
    return between.join(map(show, nodes))


def show_call(node: syntax.Call) -> str:
    named = [f"{name}={show(value)}" for name, value in node.keywords]
    return f"{show(node.function)}({' '.join([*map(show, node.arguments), *named])})"


def show_for(node: syntax.For) -> str:
    after = f" after {show(node.after)}" if node.after else ""
    condition = f" if {show(node.condition)}" if node.condition else ""
    return f"for {each(node.names, ',')} in {show(node.values)}{after}{condition}"


def show_item(node: syntax.Item) -> str:
    label = f"{show(node.label)} {node.relation} " if node.label else ""
    return label + show(node.value)


def show_directive(node: syntax.Directive) -> str:
    return f"{node.name}: {each(node.items, ', ')}" + (repr(node.block.text) if node.block else "")


SHOWN: dict[type, Callable[[Any], str]] = {
    syntax.Text: lambda n: f'"{n.raw}"',
    syntax.Number: lambda n: repr(n.value),
    syntax.Constant: lambda n: repr(n.value),
    syntax.Quantity: lambda n: f"<{n.text}>",
    syntax.Name: lambda n: n.name,
    syntax.ListOf: lambda n: f"[{each(n.items)}]",
    syntax.Attribute: lambda n: f"{show(n.value)}.{n.name}",
    syntax.Index: lambda n: f"{show(n.value)}[{show(n.index)}]",
    syntax.Call: show_call,
    syntax.Unary: lambda n: f"({n.operator} {show(n.value)})",
    syntax.Binary: lambda n: f"({show(n.left)} {n.operator} {show(n.right)})",
    syntax.Conditional: lambda n: (
        f"({show(n.then)} if {show(n.condition)} else {show(n.otherwise)})"
    ),
    syntax.Loop: lambda n: f"<{show(n.item)} {each(n.clauses)}>",
    syntax.For: show_for,
    syntax.Item: show_item,
    syntax.Directive: show_directive,
    syntax.Let: lambda n: f"let {n.name.name} = {show(n.value)}",
    syntax.Config: lambda n: f"config {show(n.file)}",
    syntax.Include: lambda n: f"include {show(n.file)}",
    syntax.Use: lambda n: f"use {show(n.file)} as {n.name.name}",
    syntax.Where: lambda n: f"where {n.name.name} = {show(n.pattern)}",
    syntax.Prefer: lambda n: f"prefer {each(n.rules, ' > ')}",
    syntax.RuleDefinition: lambda n: f"{n.keyword} {n.name.name} {{{each(n.directives, '; ')}}}",
    syntax.Defaults: lambda n: f"defaults {{{each(n.directives, '; ')}}}",
    syntax.On: lambda n: f"on {n.event} {n.block.text!r}",
    syntax.Tree: lambda n: each(n.statements, "\n"),
}

VALUES: list[tuple[str, str]] = [
    ("-2", "(- 2)"),
    ("- -x", "(- (- x))"),
    ("not a and b or c", "(((not a) and b) or c)"),
    ("a if b", "(a if b else None)"),
    ("a if b else c if d else e", "(a if b else (c if d else e))"),
    ("1+2*3-4/5//6%7", "((1 + (2 * 3)) - (((4 / 5) // 6) % 7))"),
    ("a==b", "(a == b)"),
    ("a not in b", "(a not in b)"),
    ("not a in b", "(not (a in b))"),
    ("(a+b)*c", "((a + b) * c)"),
    ("f(a, b=1,)", "f(a b=1)"),
    ("f()", "f()"),
    ("x.y[0].z(1)[-1]", "x.y[0].z(1)[(- 1)]"),
    ("[a for x, y in z after r if c for q in w]", "[<a for x,y in z after r if c for q in w>]"),
    ("[]", "[]"),
    ("[1,2,]", "[1 2]"),
    ("x for x in xs", "<x for x in xs>"),
    ("f(x for x in xs if a)", "f(<x for x in xs if a>)"),
    ("4G", "<4G>"),
    ("1.5G", "<1.5G>"),
    ("64K", "<64K>"),
    ("2T", "<2T>"),
    ("1h30m", "<1h30m>"),
    ("90s", "<90s>"),
    ("2d", "<2d>"),
    ("1:30:00", "<1:30:00>"),
    ("2-12:00:00", "<2-12:00:00>"),
    ("2-12", "(2 - 12)"),
    ("30", "30"),
    ("1e6", "1000000.0"),
    ("1.5", "1.5"),
    ("true", "True"),
    ("none", "None"),
    ("after.x", "after.x"),
    ("[as, on, let, rule, where, shell]", "[as on let rule where shell]"),
    ("x for after in after after after", "<x for after in after after after>"),
    ('"a\\"b"', '"a\\"b"'),
    ("'x'", '"x"'),
    ('"a#b"  # c', '"a#b"'),
    ("a \\\n  + b", "(a + b)"),
    ("(a\n+ b\n)", "(a + b)"),
    ("[\n  1,\n\n # c\n 2\n]", "[1 2]"),
    ("4G*attempt", "(<4G> * attempt)"),
    ("max(2G, 3 * size(input.bam))", "max(<2G> (3 * size(input.bam)))"),
    ("find(rows, id = sample).fastq", "find(rows id=sample).fastq"),
    ("rules.NAME.output.bam", "rules.NAME.output.bam"),
    ("(x for x in y)", "<x for x in y>"),
    ("-1 - -1", "((- 1) - (- 1))"),
    ("a.for_x", "a.for_x"),
    ("1 .x", "1.x"),
    ("4GiB", "<4GiB>"),
    ("a<b and b<c", "((a < b) and (b < c))"),
    ("[x if c for x in y]", "[<(x if c else None) for x in y>]"),
    ("f(a = x for x in y)", "f(a=<x for x in y>)"),
    ("é", "é"),
    ("a + b - c", "((a + b) - c)"),
    ("a == -1", "(a == (- 1))"),
    ("not not a", "(not (not a))"),
    ("f(g(x))(y)", "f(g(x))(y)"),
    ("[[1], [2, [3]]]", "[[1] [2 [3]]]"),
    ("a.b.c", "a.b.c"),
    ("'it\\'s'", '"it\\\'s"'),
    ("''", '""'),
    ("1.25e-3", "0.00125"),
    ("1:00:00", "<1:00:00>"),
    ("0.5h", "<0.5h>"),
    ("12GB", "<12GB>"),
    ("a if b in c else d if e", "(a if (b in c) else (d if e else None))"),
    ("((a))", "a"),
    ("(a if b).c", "(a if b else None).c"),
    ("x[a if b else c]", "x[(a if b else c)]"),
]


@pytest.mark.parametrize(("text", "tree"), VALUES)
def test_a_value_becomes_its_tree(text: str, tree: str) -> None:
    assert show(parse("Pipefile", f"let v = {text}")) == f"let v = {tree}"


FILES: list[tuple[str, str]] = [
    (
        "let rule = 1\nlet let = rule\n",
        "let rule = 1\nlet let = rule",
    ),
    (
        "rule rule:\n  input: 'x'",
        'rule rule {input: "x"}',
    ),
    (
        'rule a:\n\tlocal\n\tinput: "a", b = "c",\n\t\t"d"\n\toutput:\n\t\tx = 1, y = 2\n\t\tz',
        'rule a {local: ; input: "a", b = "c", "d"; output: x = 1, y = 2, z}',
    ),
    (
        "rule a:\n"
        "  where: x = 'a', y in [1,2]\n"
        "  where:\n"
        "    z in a if b else c\n"
        "    w = 'q',\n"
        "  local # c\n",
        'rule a {where: x = "a", y in [1 2]; where: z in (a if b else c), w = "q"; local: }',
    ),
    (
        "rule a:\n  shell:\n    a\n\n      b\n  mem: 3G",
        "rule a {shell: 'a\\n\\n  b\\n'; mem: <3G>}",
    ),
    (
        "rule a:\n  shell: 'x'\n  python:\n\n\n    if x:\n       y\n\n    # z\n\n\nlet a = 1",
        "rule a {shell: \"x\"; python: 'if x:\\n   y\\n\\n# z\\n'}\nlet a = 1",
    ),
    (
        "on start:\n  a\non failure:\n  b\n\n",
        "on start 'a\\n'\non failure 'b\\n'",
    ),
    (
        "defaults:\n  cores: 1\n",
        "defaults {cores: 1}",
    ),
    (
        "prefer a > b > c",
        "prefer a > b > c",
    ),
    (
        "",
        "",
    ),
    (
        "\n\n",
        "",
    ),
    (
        "# c",
        "",
    ),
    (
        "  # c\n",
        "",
    ),
    (
        "rule a:\n  input: 'a',\n  'b',\n  'c'\n  mem: 1G\n",
        'rule a {input: "a", "b", "c"; mem: <1G>}',
    ),
    (
        "rule a:\n  shell:\n      a\n\n  \n    \n  mem: 1",
        "rule a {shell: 'a\\n'; mem: 1}",
    ),
    (
        "rule a:\n  shell:   # c\n    a\n   \n    b  \n\t",
        "rule a {shell: 'a\\n\\nb  \\n'}",
    ),
    (
        "rule a:\n  shell:\n\tx\n",
        "rule a {shell: 'x\\n'}",
    ),
    (
        "rule a:\n  input:\n    x # c\n    # d\n\n    y\n# e\n  output: z",
        "rule a {input: x, y; output: z}",
    ),
    (
        "checkpoint c:\n  after: x\n  as: y\n  on: z\n  rule: w\n  if_: 3",
        "checkpoint c {after: x; as: y; on: z; rule: w; if_: 3}",
    ),
    (
        "rule a:\n  input: 'x',  # c\n  # d\n      'y'\n",
        'rule a {input: "x", "y"}',
    ),
    (
        "let x = 1 # c",
        "let x = 1",
    ),
    (
        "let x = 1\\\n",
        "let x = 1",
    ),
    (
        "rule a:\n  mem: 1G \\\n\n  time: 3",
        "rule a {mem: <1G>; time: 3}",
    ),
    (
        "where sample = \"x\"\nuse \"a.py\" as as\ninclude 'b'\nconfig 'c'",
        'where sample = "x"\nuse "a.py" as as\ninclude "b"\nconfig "c"',
    ),
    (
        "rule a:\n  shell:\n    a\n# x\n  mem: 1",
        "rule a {shell: 'a\\n'; mem: 1}",
    ),
    (
        "rule a:\n  input: a\n  \\\n  output: b\n",
        "rule a {input: a; output: b}",
    ),
    (
        "rule a:\n  input: [\n'a',\n'b'\n]\n",
        'rule a {input: ["a" "b"]}',
    ),
    (
        "rule a:\n    group: 'g'\n    priority: -5\n    retries: oom = 2, timeout = 1\n",
        'rule a {group: "g"; priority: (- 5); retries: oom = 2, timeout = 1}',
    ),
    (
        "rule a:\n  shell:\n    cat <<EOF\n    x\n\n     y\n    EOF",
        "rule a {shell: 'cat <<EOF\\nx\\n\\n y\\nEOF\\n'}",
    ),
]


@pytest.mark.parametrize(("text", "tree"), FILES)
def test_a_file_becomes_its_tree(text: str, tree: str) -> None:
    assert show(parse("Pipefile", text)) == tree


@pytest.mark.parametrize(("text", "tree"), FILES)
def test_bytes_windows_lines_and_a_byte_order_mark_change_nothing(text: str, tree: str) -> None:
    data = b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()
    assert show(parse("Pipefile", data)) == tree


def test_lines_without_anything_but_what_joins_them_are_blank() -> None:
    text = "let a = 1\n\\\n\\  \n\nrule b:\n  local\n\\\n  mem: 1G\n    \\"
    assert show(parse("Pipefile", text)) == "let a = 1\nrule b {local: ; mem: <1G>}"


SAMPLE = """\
# Pipefile
config "config.yaml"                       # -> config.reads
let samples = table("samples.tsv")
let out     = config.outdir

rule all:
    input: "{out}/report.html"

rule map_reads:
    output:
        bam = "{out}/mapped/{sample}.bam"
        bai = temp("{out}/mapped/{sample}.bam.bai")
    input:
        reads = "data/{sample}.fastq.gz"
        ref   = config.genome
    where:  sample = "[A-Za-z0-9_]+"
    mem:    4G * attempt
    time:   1h30m
    shell:
        bwa mem -t {cores} {input.ref} {input.reads} \\
            | samtools sort -@ {cores} -o {output.bam} -
        samtools index {output.bam} {output.bai}

checkpoint report:
    output: "{out}/report.html"
    input:  bams = "{out}/mapped/{row.id}.bam" for row in samples if row.keep == "yes"
    script: "scripts/report.py"
"""


def test_the_sample_of_the_design_page() -> None:
    block = (
        "bwa mem -t {cores} {input.ref} {input.reads} \\\n"
        "    | samtools sort -@ {cores} -o {output.bam} -\n"
        "samtools index {output.bam} {output.bai}\n"
    )
    assert show(parse("Pipefile", SAMPLE)).split("\n") == [
        'config "config.yaml"',
        'let samples = table("samples.tsv")',
        "let out = config.outdir",
        'rule all {input: "{out}/report.html"}',
        'rule map_reads {output: bam = "{out}/mapped/{sample}.bam", '
        'bai = temp("{out}/mapped/{sample}.bam.bai"); '
        'input: reads = "data/{sample}.fastq.gz", ref = config.genome; '
        'where: sample = "[A-Za-z0-9_]+"; mem: (<4G> * attempt); time: <1h30m>; '
        f"shell: {block!r}}}",
        'checkpoint report {output: "{out}/report.html"; '
        'input: bams = <"{out}/mapped/{row.id}.bam" for row in samples if '
        '(row.keep == "yes")>; script: "scripts/report.py"}',
    ]


def spans(node: Any) -> list[str]:
    """The text that each node of a tree covers, outermost first."""
    covered = [] if isinstance(node, syntax.Tree) else [node.span.text]
    return covered + [text for child in children(node) for text in spans(child)]


@pytest.mark.parametrize(
    ("text", "covered"),
    [
        (
            "let a = (b + c) * d",
            ["let a = (b + c) * d", "a", "(b + c) * d", "(b + c)", "b", "c", "d"],
        ),
        ("let a = ('b')", ["let a = ('b'", "a", "'b'"]),
        ("let a = b if c", ["let a = b if c", "a", "b if c", "b", "c", ""]),
        (
            "let a = not b.c[ 0 ]",
            ["let a = not b.c[ 0 ]", "a", "not b.c[ 0 ]", "b.c[ 0 ]", "b.c", "b", "0"],
        ),
        ("let a = f(x, k = 1 )", ["let a = f(x, k = 1 )", "a", "f(x, k = 1 )", "f", "x", "1"]),
        (
            "let a = b for c in d after e if f  # g",
            [
                "let a = b for c in d after e if f",
                "a",
                "b for c in d after e if f",
                "b",
                "for c in d after e if f",
                "c",
                "d",
                "e",
                "f",
            ],
        ),
        ('use  "a.py"  as  b', ['use  "a.py"  as  b', '"a.py"', "b"]),
        ("prefer a > b", ["prefer a > b", "a", "b"]),
        (
            "rule  a :\n    input: x = 'b', 'c'\n    local\n",
            ["rule  a", "a", "input", "x = 'b'", "x", "'b'", "'c'", "'c'", "local"],
        ),
        ("on  start:\n  a\n\n    b\n\n", ["on  start", "a\n\n    b"]),
    ],
)
def test_spans_cover_what_was_written(text: str, covered: list[str]) -> None:
    assert spans(parse("Pipefile", text)) == covered


def test_a_span_knows_its_line_and_column() -> None:
    tree = parse("Pipefile", "\ufefflet a = 1\r\n\r\nrule b:\r\n    shell:\r\n        x\r\n")
    rule = tree.statements[1]
    assert isinstance(rule, syntax.RuleDefinition)
    block = rule.directives[0].block
    assert block is not None
    places = [rule.span, rule.name.span, rule.directives[0].span, block.span]
    assert [span.place for span in places] == [
        "Pipefile:3:1",
        "Pipefile:3:6",
        "Pipefile:4:5",
        "Pipefile:5:9",
    ]


def test_the_lines_of_a_block_are_known_without_their_indentation() -> None:
    text = (
        "rule a:\n  shell:  # why\n\n     one  \n\n       two\n   \n       \n     three\n  local\n"
    )
    rule = parse("Pipefile", text).statements[0]
    assert isinstance(rule, syntax.RuleDefinition)
    block = rule.directives[0].block
    assert block is not None
    assert block.text == "one  \n\n  two\n\n  \nthree\n"
    assert [line.text for line in block.lines] == ["one  ", "", "  two", "", "  ", "three"]
    assert "".join(line.text + "\n" for line in block.lines) == block.text


def test_attribute_names_and_the_inside_of_strings_have_their_places() -> None:
    let = parse("Pipefile", 'let a = "x".yz').statements[0]
    assert isinstance(let, syntax.Let)
    assert isinstance(let.value, syntax.Attribute)
    assert isinstance(let.value.value, syntax.Text)
    assert let.value.name_span.text == "yz"
    assert let.value.value.inside.text == "x"


@pytest.mark.parametrize(
    "text",
    [
        "let a = [" + ", ".join(['"x"'] * 20_000) + "]\n",
        "let a = 1\n" * 5_000,
        "let a = " + " + ".join(["1"] * 5_000) + "\n",
        "let a = " + " and ".join(["x"] * 5_000) + "\n",
        "rule a:\n    input:\n" + '        "x"\n' * 10_000,
        "rule a:\n    input: " + ",\n        ".join(['"x"'] * 10_000) + "\n",
        "rule a:\n    shell:\n" + "\n" * 20_000 + "        x\n" + "\n" * 20_000,
        "let a = " + "[" * 100 + "]" * 100 + "\n",
    ],
    ids=["list", "lets", "sum", "and", "lines", "commas", "blank", "nested"],
)
def test_length_does_not_matter(text: str) -> None:
    tree = parse("Pipefile", text)
    source = tree.statements[0].span.source
    assert same(load(dump(tree), source), tree)


def test_a_stored_tree_is_the_tree_with_its_places() -> None:
    tree = parse("Pipefile", SAMPLE + "on success:\n  a\n\n  b\nwhere x = 'y'\nprefer a > b\n")
    assert load(dump(tree), tree.statements[0].span.source) == tree


def test_a_stored_tree_of_nothing_fits_any_text() -> None:
    assert load(dump(syntax.Tree(())), Source("Pipefile", "# only a comment\n")) == syntax.Tree(())


@pytest.mark.parametrize("at", [0, 5, 14, 17, 22, 40, 60, -1])
def test_a_damaged_stored_tree_is_refused(at: int) -> None:
    tree = parse("Pipefile", SAMPLE)
    source = tree.statements[0].span.source
    data = bytearray(dump(tree))
    data[at] ^= 1
    with pytest.raises(ValueError, match="stored syntax tree"):
        load(bytes(data), source)
    with pytest.raises(ValueError, match="stored syntax tree"):
        load(dump(tree)[:at], source)


def test_a_stored_tree_of_another_text_is_refused() -> None:
    tree = parse("Pipefile", "let a = 1\n")
    with pytest.raises(ValueError, match="another text"):
        load(dump(tree), Source("Pipefile", "let a = 2\n"))


def test_same_sees_every_difference_but_places() -> None:
    texts = [f"let v = {text}" for text, _ in VALUES] + [text for text, _ in FILES]
    trees = [parse("Pipefile", text) for text in texts]
    for number, tree in enumerate(trees):
        assert same(tree, parse("Other", "\n\n" + texts[number]))
        shown = show(tree)
        assert all(same(tree, other) == (show(other) == shown) for other in trees)


def test_a_place_in_a_text_is_the_one_of_its_source() -> None:
    tree = parse("some/Pipefile", "let a = 1")
    assert tree.statements[0].span == Span(Source("some/Pipefile", "let a = 1"), 0, 9)
