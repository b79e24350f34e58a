"""Which rule makes which file: chosen, passed over, refused; and graphs of any depth and width."""

from __future__ import annotations

import pytest
from planning import graph_of, job_of, names_of, pipeline_of

from buildhpc.diagnostics import HpcmakeError


def rule(name: str, output: str, inputs: str = "") -> str:
    """A rule as text; without inputs it needs nothing."""
    needs = f"    input: {inputs}\n" if inputs else ""
    return f'rule {name}:\n    output: {output}\n{needs}    shell: "make"\n'


def refusal(text: str, *targets: str, there: str = "", made: str = "") -> str:
    with pytest.raises(HpcmakeError) as error:
        graph_of(text, *targets, there=there, made=made)
    return str(error.value)


@pytest.mark.parametrize(
    ("first", "second", "target", "wins"),
    [
        ('"{x}.txt"', '"a.txt"', "a.txt", "two"),  # literal beats wildcard
        ('"{x}.txt"', '"a{x}.txt"', "ab.txt", "two"),  # more letters of its own
        ('"out/{x}"', '"out/{x}.bam"', "out/s.bam", "two"),
        ('"{x}/{y}.bam"', '"out/{y}.bam"', "out/s.bam", "two"),
        ('"out/{x}_{y}.c"', '"out/{x}.c"', "out/a_b.c", "one"),  # fewer letters left to match
        ('"{x,[0-9]+}.n"', '"{x}.n"', "s.n", "two"),  # one that does not match is no candidate
        ('"{x,a+}b"', '"{x}ab"', "aab", "two"),
    ],
)
def test_the_more_specific_rule_wins(first: str, second: str, target: str, wins: str) -> None:
    for text in (
        rule("one", first) + rule("two", second),
        rule("two", second) + rule("one", first),
    ):
        graph = graph_of(text, target)
        assert graph.maker[target].rule.name == wins


TWO = rule("one", '"{x}.txt"') + rule("two", '"{y}.txt"')


def test_two_rules_as_specific_as_each_other_are_refused_with_both_places() -> None:
    text = refusal(TWO, "s.txt")
    assert "error[ambiguous]: rules `one` and `two` could both make `s.txt`" in text
    assert "Pipefile:1:6" in text
    assert "Pipefile:4:6" in text
    assert "prefer one > two" in text


@pytest.mark.parametrize(
    ("prefer", "wins"),
    [
        ("one > two", "one"),
        ("two > one", "two"),
        ("two > three > one", "two"),
    ],
)
def test_prefer_decides_between_them(prefer: str, wins: str) -> None:
    third = rule("three", '"unused"')
    assert graph_of(f"prefer {prefer}\n{TWO}{third}", "s.txt").maker["s.txt"].rule.name == wins


def test_prefer_does_not_beat_the_more_specific_rule() -> None:
    text = "prefer one > two\n" + rule("one", '"{x}"') + rule("two", '"s.txt"')
    assert graph_of(text, "s.txt").maker["s.txt"].rule.name == "two"


def test_a_candidate_whose_inputs_cannot_be_had_is_passed_over() -> None:
    text = rule("gz", '"{x}.fq"', '"{x}.fq.gz"') + rule("bz", '"{x}.fq"', '"{x}.fq.bz2"')
    assert names_of(graph_of(text, "s.fq", there="s.fq.bz2")) == ["bz x=s"]
    assert names_of(graph_of(text, "s.fq", there="s.fq.gz")) == ["gz x=s"]
    assert "error[ambiguous]" in refusal(text, "s.fq", there="s.fq.gz s.fq.bz2")


def test_what_a_candidate_needed_that_was_passed_over_is_not_made() -> None:
    text = (
        rule("long", '"{x}.end"', '"{x}.half", "{x}.missing"')
        + rule("half", '"{x}.half"')
        + rule("short", '"{x,s}.{e,end}"', '"{x}.start"')
    )
    assert names_of(graph_of(text, "s.end", there="s.start")) == ["short x=s,e=end"]


def test_a_file_that_is_there_is_a_source_where_no_rule_can_make_it() -> None:
    text = rule("unpack", '"{x}"', '"{x}.gz"')
    graph = graph_of(text, "a", there="a")
    assert names_of(graph) == []
    assert names_of(graph_of(text, "a", there="a a.gz")) == ["unpack x=a"]


def test_a_file_that_a_job_made_is_no_source_when_its_own_source_is_gone() -> None:
    text = rule("unpack", '"{x}"', '"{x}.gz"')
    assert "error[no-rule]: no rule makes `a.gz" in refusal(text, "a", there="a", made="a")


def test_a_missing_source_is_an_error_though_all_outputs_are_there() -> None:
    text = rule("copy", '"b"', '"a"')
    assert "error[no-rule]: no rule makes `a`" in refusal(text, "b", there="b")


def test_the_chain_from_the_target_to_the_missing_file_is_shown_with_near_names() -> None:
    text = rule("top", '"top"', '"{n}.mid" for n in ["s"]') + rule(
        "mid", '"{x}.mid"', '"data/{x}.fq"'
    )
    said = refusal(text, "top", there="data/s.fastq data/s.fa")
    assert said.startswith("error[no-rule]: no rule makes `data/s.fq`")
    assert "needed by: rule `mid`, for `s.mid`" in said
    assert "needed by: rule `top`" in said
    assert said.index("`mid`, for") < said.index("rule `top`")
    assert "there is `data/s.fa`" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (rule("a", '"a"', '"a"'), ["rule `a` needs its own output `a`"]),
        (
            rule("a", '"a"', '"b"') + rule("b", '"b"', '"c"') + rule("c", '"c"', '"b"'),
            ["`b`, made by rule `b`, needs", "`c`, made by rule `c`, needs", "Pipefile:"],
        ),
        (
            rule("x", '"{s}.x"', '"{s}.y"') + rule("y", '"{s}.y"', '"{s}.x"'),
            ["made by rule `x`, needs", "made by rule `y`, needs"],
        ),
        (rule("two", '"one", "two"', '"two"'), ["rule `two` needs its own output `two`"]),
    ],
)
def test_a_cycle_is_refused_with_its_path(text: str, words: list[str]) -> None:
    target = "s.x" if "{s}" in text else next(iter(pipeline_of(text).rules))
    said = refusal(text, target)
    assert said.startswith("error[cycle]: ")
    for each in words:
        assert each in said


def test_a_rule_that_could_feed_itself_ends() -> None:
    text = rule("unpack", '"{x}"', '"{x}.gz"')
    assert "error[no-rule]" in refusal(text, "a")
    text = rule("copy", '"{x}/in"', '"new/{x}/in"')
    assert "error[no-rule]" in refusal(text, "a/in")


def test_a_wildcard_may_be_cut_in_only_one_way_when_it_stands_twice() -> None:
    text = rule("twice", '"{x}/{x}.txt"')
    assert names_of(graph_of(text, "a/a.txt")) == ["twice x=a"]
    assert "error[no-rule]" in refusal(text, "a/b.txt")


def test_two_jobs_that_write_one_file_are_named_both() -> None:
    text = (
        'rule all:\n    input: "p.x", "q.y"\n'
        + rule("x", '"p.x", "shared.q"')
        + rule("y", '"{n}.y", "shared.{n}"')
    )
    said = refusal(text)
    assert "error[two-makers]: two jobs would write `shared.q`: `x` and `y n=q`" in said
    assert said.count("Pipefile:") == 2


def test_two_rules_that_name_one_file_are_told_though_it_is_not_asked_for() -> None:
    text = rule("x", '"p.x", "shared"') + rule("y", '"q.y", "shared"')
    assert "error[ambiguous]: rules `x` and `y` could both make `shared`" in refusal(text)


def test_a_file_inside_a_folder_that_a_job_makes_is_made_by_that_job() -> None:
    text = rule("use", '"sum"', '"parts/1/a", "parts/2"') + rule(
        "split", 'directory("parts")', '"in"'
    )
    graph = graph_of(text, there="in")
    assert names_of(graph) == ["split", "use"]
    assert graph.maker["parts/1/a"] is job_of(graph, "split")


def test_several_outputs_are_one_job() -> None:
    text = rule("use", '"sum"', '"a.bai", "a.bam"') + rule("make", '"{x}.bam", "{x}.bai"')
    assert names_of(graph_of(text)) == ["make x=a", "use"]


def test_an_output_of_another_rule_pins_that_rule() -> None:
    text = (
        rule("use", '"{x}.sum"', "rules.plain.output")
        + rule("special", '"s.txt"')
        + rule("plain", '"{x}.txt"')
    )
    assert names_of(graph_of(text, "s.sum")) == ["plain x=s", "use x=s"]
    named = rule("use", '"{x}.sum"', "rules.make.output.bai") + rule(
        "make", 'bam = "{x}.bam", bai = "{x}.bai"'
    )
    assert job_of(graph_of(named, "s.sum"), "use x=s").inputs == ("s.bai",)


def test_one_file_has_one_spelling() -> None:
    text = rule("use", '"out/./sum"', '"x/../a", ".//a"') + rule("make", '"./a"')
    graph = graph_of(text, "out//sum")
    assert names_of(graph) == ["make", "use"]
    assert graph.targets == ("out/sum",)


def test_a_rule_name_is_taken_for_the_rule_and_a_path_for_the_file() -> None:
    text = rule("a", '"b"') + rule("b", '"a"')
    assert names_of(graph_of(text, "a")) == ["a"]
    assert names_of(graph_of(text, "./a")) == ["b"]


def test_a_rule_with_wildcards_as_a_target_says_how_to_ask() -> None:
    said = refusal(rule("map", '"{sample}.bam"'), "map")
    assert "error[wildcard-target]" in said
    assert "hpcmake SAMPLE.bam" in said


def test_a_rule_that_only_names_its_inputs_asks_for_them() -> None:
    graph = graph_of('rule all:\n    input: "a", "b"\n' + rule("a", 'temp("a")') + rule("b", '"b"'))
    assert graph.targets == ("a", "b")


def test_values_that_look_alike_give_jobs_of_different_names() -> None:
    text = rule("r", '"{a}/{b}"')
    graph = graph_of(text, "x,b=y/z", "x/y,b=z", "it's/1", 'a"b/1')
    assert len({job.name for job in graph.jobs}) == 4


def test_a_chain_of_ten_thousand_jobs() -> None:
    count = 10_000
    text = (
        f'rule last:\n    output: "end"\n    input: "{count}.n"\n    shell: "make"\n'
        'rule next:\n    output: "{n,[0-9]+}.n"\n'
        '    input: "{p}.n" for p in [int(n) - 1] if p > 0\n    shell: "make"\n'
    )
    graph = graph_of(text)
    assert len(graph.jobs) == count + 1
    assert graph.jobs[0].name == "next n=1"
    assert graph.jobs[-1].name == "last"


def test_a_chain_of_two_rules_with_several_outputs() -> None:
    count = 3_000
    text = (
        f'rule last:\n    output: "end"\n    input: "{count}.a", "{count}.b"\n    shell: "make"\n'
        'rule next:\n    output: "{n,[0-9]+}.a", "{n}.b"\n'
        '    input: ["{p}.a", "{p}.b"] for p in [int(n) - 1] if p > 0\n    shell: "make"\n'
    )
    assert len(graph_of(text).jobs) == count + 1


def test_a_gather_of_a_hundred_thousand_files() -> None:
    text = (
        'rule gather:\n    output: "all"\n    input: "{n}.x" for n in range(100000)\n'
        '    shell: "make"\n' + rule("one", '"{n}.x"')
    )
    graph = graph_of(text)
    assert len(graph.jobs) == 100_001
    assert len(graph.jobs[-1].inputs) == 100_000
