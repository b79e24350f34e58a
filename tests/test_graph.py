"""`hpcmake graph`: rules and jobs as text, Mermaid and DOT."""

from __future__ import annotations

from conftest import Pipe

PIPEFILE = """\
let xs = ["1", "2"]
rule all:
    input: "report.txt"
rule map:
    output: "m{x}.txt"
    input:  "s{x}.txt", "ref.idx"
    shell:  "cat {input} > {output}"
rule index:
    output: "ref.idx"
    input:  "ref.fa"
    shell:  "cp {input} {output}"
rule report:
    output: "report.txt"
    input:
        maps = "m{x}.txt" for x in xs
        "ref.idx"
    shell:  "cat {input} > {output}"
rule other:
    output: "other.txt"
    shell:  "touch {output}"
"""


def written(pipe: Pipe) -> Pipe:
    pipe.write("Pipefile", PIPEFILE)
    for path in ("s1.txt", "s2.txt", "ref.fa"):
        pipe.write(path, mtime=1_000_000_000)
    return pipe


def test_rules_are_told_with_what_they_make_from_what(pipe: Pipe) -> None:
    written(pipe).check(
        "graph",
        says="""\
all  1 job
  from  "report.txt"
map  2 jobs
  makes  m{x}.txt
  from   "s{x}.txt", "ref.idx"
index  1 job
  makes  ref.idx
  from   "ref.fa"
report  1 job
  makes  report.txt
  from   maps = "m{x}.txt" for x in xs, "ref.idx"
not needed here: other

all
└── report
    ├── map
    │   └── index
    └── index
""",
    )
    assert not pipe.exists(".hpcmake")


def test_without_its_sources_the_graph_is_drawn_from_the_rules(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    said = pipe.check("graph")
    assert said.err.startswith("note: drawn from the rules alone, since no rule makes `")
    assert said.out.endswith(
        """
all
└── report
    ├── map
    │   └── index
    └── index
other
"""
    )
    assert pipe.check("graph report.txt", code=2).err.startswith("error[no-rule]")


def test_stale_jobs_are_marked(pipe: Pipe) -> None:
    written(pipe).check("-q")
    pipe.path("m2.txt").unlink()
    pipe.check(
        "graph --jobs",
        says="""\
all
└── report  stale: `m2.txt` will be made anew
    ├── map x=1
    │   └── index
    ├── map x=2  stale: `m2.txt` does not exist
    │   └── index
    └── index
""",
    )


def test_mermaid_and_dot_have_arrows_from_what_is_needed(pipe: Pipe) -> None:
    written(pipe).check("-q")
    pipe.path("m2.txt").unlink()
    pipe.check(
        "graph --format mermaid",
        says="""\
flowchart TD
    n0["index"]
    n1["map"]
    n2["report"]
    n3["all"]
    n0 --> n1
    n1 --> n2
    n0 --> n2
    n2 --> n3
""",
    )
    pipe.check(
        "graph --jobs --format dot m2.txt",
        says="""\
digraph hpcmake {
    node [shape=box];
    "index";
    "map x=2" [style=filled, fillcolor=orange];
    "index" -> "map x=2";
}
""",
    )
    assert pipe.check("graph --jobs --format mermaid m2.txt").out.endswith(
        "    classDef stale fill:#fd8,stroke:#a60\n    class n1 stale\n"
    )


def test_a_terminal_without_unicode_gets_plain_strokes(pipe: Pipe) -> None:
    written(pipe)
    said = pipe.run("graph", "--jobs", "ref.idx", "m1.txt", env={"PYTHONIOENCODING": "ascii"})
    assert said.code == 0
    assert "`-- index" in said.out


def test_a_chain_of_thousands_of_jobs_stays_readable(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        'rule step:\n    output: "f{n}"\n'
        '    input:  "f" + str(int(n) - 1) if int(n) > 0 else "start"\n'
        '    shell:  "cp {input} {output}"\n',
    )
    pipe.write("start")
    lines = pipe.check("graph --jobs f3000").out.splitlines()
    assert max(map(len, lines)) < 160
    assert sum("(below)" not in line for line in lines) == 3001
