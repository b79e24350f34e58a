"""Plans as people see them: what would run, why, and what is left alone."""

from __future__ import annotations

import json
import os

import pytest
from conftest import Pipe

PIPEFILE = """\
rule all:
    input: "a.call", "b.call"
rule map:
    output: "{s}.bam"
    input: "{s}.fq"
    params: p = 1
    shell: "cat {input} > {output}; echo {params.p} >> {output}"
rule call:
    output: "{s}.call"
    input: "{s}.bam"
    shell: "cat {input} > {output}"
"""
TEMP = """\
rule all:
    input: "one", "two"
rule part:
    output: temp("tmp")
    input: "source"
    shell: "cat {input} > {output}; echo part >> log"
rule one:
    output: "one"
    input: "tmp", "more"
    shell: "cat {input} > {output}; echo one >> log"
rule two:
    output: "two"
    input: "tmp"
    shell: "cat {input} > {output}; echo two >> log"
"""


def planned(pipe: Pipe, words: str = "") -> dict[str, str]:
    """The jobs that would run, each with the kind of its reason."""
    lines = pipe.check(f"-n --json {words}").out.splitlines()
    steps = [json.loads(line) for line in lines if '"job"' in line]
    return {step["job"]: step["reason"] for step in steps}


def ran(pipe: Pipe) -> list[str]:
    """What the jobs of `TEMP` told since the last time."""
    told = pipe.read("log").split() if pipe.exists("log") else []
    pipe.path("log").unlink(missing_ok=True)
    return sorted(told)


@pytest.fixture
def built(pipe: Pipe) -> Pipe:
    pipe.write("Pipefile", PIPEFILE)
    pipe.write("a.fq", "a\n")
    pipe.write("b.fq", "b\n")
    pipe.check("-q")
    return pipe


@pytest.fixture
def temps(pipe: Pipe) -> Pipe:
    pipe.write("Pipefile", TEMP)
    pipe.write("source", "s\n")
    pipe.write("more", "m\n")
    pipe.check("-q")
    assert ran(pipe) == ["one", "part", "two"]
    assert not pipe.exists("tmp")
    return pipe


def test_a_plan_has_the_stale_jobs_and_what_follows_from_them(built: Pipe) -> None:
    assert planned(built) == {}
    built.write("a.fq", "other\n")
    assert planned(built) == {"map s=a": "input-changed", "call s=a": "upstream"}
    assert planned(built, "b.call") == {}
    built.path("b.call").unlink()
    assert planned(built)["call s=b"] == "missing-output"


def test_a_recipe_or_its_params_make_all_jobs_of_a_rule_stale(built: Pipe) -> None:
    built.write("Pipefile", PIPEFILE.replace("p = 1", "p = 2"))
    assert planned(built) == {
        "map s=a": "recipe-changed",
        "map s=b": "recipe-changed",
        "call s=a": "upstream",
        "call s=b": "upstream",
    }


def test_needs_comments_and_blank_lines_make_nothing_stale(built: Pipe) -> None:
    text = PIPEFILE.replace(
        "    params: p = 1",
        "    # one\n    params: p = 1\n\n    cores: 1\n    mem: 10M\n    time: 1m",
    )
    built.write("Pipefile", text)
    assert planned(built) == {}


def test_forcing(built: Pipe) -> None:
    assert planned(built, "--force a.call") == {"call s=a": "forced"}
    assert planned(built, "--force") == {"call s=a": "forced", "call s=b": "forced"}
    assert planned(built, "--force-rule map a.call") == {
        "map s=a": "forced",
        "call s=a": "upstream",
    }
    assert set(planned(built, "--force-all")) == {"map s=a", "map s=b", "call s=a", "call s=b"}


def test_until_and_omit(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    pipe.write("a.fq")
    pipe.write("b.fq")
    assert set(planned(pipe, "--until map")) == {"map s=a", "map s=b"}
    assert set(planned(pipe, "--omit call")) == {"map s=a", "map s=b"}
    assert set(planned(pipe, "--omit map")) == set()
    assert "`--until part`: there is no rule `part`" in pipe.check("-n --until part", code=2).err
    assert "nothing that was asked for needs rule `call`" in (
        pipe.check("-n --until call a.bam", code=2).err
    )


def test_what_until_stops_at_stays_though_it_is_temporary(temps: Pipe) -> None:
    temps.check("-q --until part")
    assert temps.exists("tmp")
    assert ran(temps) == ["part"]


def test_a_temp_file_is_put_back_for_those_that_need_it_only(temps: Pipe) -> None:
    temps.write("more", "n\n")
    assert planned(temps) == {"part": "missing-output", "one": "input-changed"}
    temps.check("-q")
    assert ran(temps) == ["one", "part"]
    assert not temps.exists("tmp")
    assert planned(temps) == {}


def test_a_temp_file_made_anew_for_one_job_counts_for_the_others_later(temps: Pipe) -> None:
    temps.write("source", "t\n")
    temps.check("-q one")
    assert ran(temps) == ["one", "part"]
    assert planned(temps) == {"part": "missing-output", "two": "input-changed"}
    temps.check("-q")
    assert ran(temps) == ["part", "two"]
    assert temps.read("two") == "t\n"
    assert planned(temps) == {}


def test_a_temp_file_whose_job_says_something_else_each_time_settles(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        TEMP.replace(
            "cat {input} > {output}; echo part", "seq $(wc -l < more) $$ > {output}; echo part"
        ),
    )
    pipe.write("source")
    pipe.write("more", "m\n")
    pipe.check("-q")
    for number in range(3):
        pipe.write("more", "m\n" * number)
        pipe.check("-q")
        assert planned(pipe) == {}


def test_a_temp_file_asked_for_stays(temps: Pipe) -> None:
    temps.check("-q tmp")
    assert temps.exists("tmp")
    temps.write("Pipefile", TEMP.replace('"one", "two"', '"one", "two", "tmp"'))
    temps.check("-q")
    assert temps.exists("tmp")
    assert planned(temps) == {}


def test_a_file_somebody_wrote_in_the_place_of_a_temp_file_stays(temps: Pipe) -> None:
    temps.write("tmp", "mine\n")
    result = temps.check("")
    assert "kept: `tmp` was changed by hand since it was made" in result.err
    assert ran(temps) == ["one", "two"]
    assert temps.read("tmp") == "mine\n"
    assert planned(temps) == {}


def test_an_output_changed_by_hand_stays_and_counts(built: Pipe) -> None:
    built.write("a.bam", "mine\n")
    assert planned(built) == {"call s=a": "input-changed"}
    assert "kept: `a.bam` was changed by hand since it was made" in built.check("").err
    assert built.read("a.bam") == "mine\n"
    assert built.read("a.call") == "mine\n"
    assert planned(built) == {}


def test_an_output_changed_by_hand_whose_job_runs_is_moved_aside(built: Pipe) -> None:
    for number, name in enumerate(["a.bam.edited", "a.bam.edited.2"]):
        built.write("a.bam", f"mine {number}\n")
        result = built.check("--force a.bam")
        assert f"kept: `a.bam` was changed by hand; it is now `{name}`" in result.err
        assert built.read(name) == f"mine {number}\n"
        assert built.read("a.bam") == "a\n1\n"


def test_an_edited_output_is_moved_only_when_its_job_starts(built: Pipe) -> None:
    built.write("a.call", "mine\n")
    built.write("a.fq", "other\n")
    built.write("Pipefile", PIPEFILE.replace("cat {input} > {output}; echo", "false; echo"))
    built.check("-q", code=1)
    assert built.read("a.call") == "mine\n"
    assert not built.exists("a.call.edited")


def test_bytes_that_stay_the_same_stop_there_where_content_counts(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        """\
rule end:
    output: "end"
    input: "mid"
    shell: "echo end >> log; cat {input} > {output}"
rule mid:
    output: "mid"
    input: content("head")
    shell: "echo mid >> log; cat {input} > {output}"
rule head:
    output: "head"
    input: "source"
    shell: "echo head >> log; head -1 {input} > {output}"
""",
    )
    pipe.write("source", "first\nsecond\n")
    pipe.check("-q")
    assert ran(pipe) == ["end", "head", "mid"]
    pipe.write("source", "first\nother\n")
    result = pipe.check("")
    assert ran(pipe) == ["head"]
    assert "1 job done, 2 not needed in " in result.out
    assert planned(pipe) == {}
    assert set(planned(pipe, "--force-rule head")) == {"head", "mid", "end"}
    pipe.write("source", "third\nother\n")
    pipe.check("-q --check content")
    assert pipe.read("end") == "third\n"


def test_check_content_compares_bytes_everywhere(built: Pipe) -> None:
    built.check("-q --force-all --check content")
    now = built.path("a.fq").stat().st_mtime_ns + 5_000_000_000
    os.utime(built.path("a.fq"), ns=(now, now))
    assert set(planned(built)) == {"map s=a", "call s=a"}
    assert planned(built, "--check content") == {}


def test_a_large_file_compared_by_content_is_fresh_when_touched(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        'rule a:\n    output: "out"\n    input: content("big")\n'
        '    shell: "wc -c {input} > {output}"\n',
    )
    pipe.write("big", "x" * 3_000_000)
    pipe.check("-q")
    assert planned(pipe) == {}
    os.utime(pipe.path("big"), ns=(1, 1))
    assert planned(pipe) == {}
    pipe.write("big", "y" * 3_000_000)
    assert planned(pipe) == {"a": "input-changed"}


def test_an_ancient_input_orders_and_never_counts(pipe: Pipe) -> None:
    text = PIPEFILE.replace('input: "{s}.bam"', 'input: ancient("{s}.bam")')
    pipe.write("Pipefile", text)
    pipe.write("a.fq", "a\n")
    pipe.write("b.fq", "b\n")
    assert set(planned(pipe)) == {"map s=a", "map s=b", "call s=a", "call s=b"}
    pipe.check("-q")
    pipe.write("a.fq", "other\n")
    assert planned(pipe) == {"map s=a": "input-changed"}


def test_a_directory_is_what_lies_below_it(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        'rule use:\n    output: "sum"\n    input: "in"\n    shell: "cat in/*/* > {output}"\n',
    )
    pipe.write("in/a/1", "one\n")
    pipe.check("-q")
    os.utime(pipe.path("in"), ns=(5, 5))
    os.utime(pipe.path("in/a"), ns=(5, 5))
    assert planned(pipe) == {}
    for act in (
        lambda: pipe.write("in/a/2", "two\n"),
        lambda: pipe.write("in/a/1", "one more\n"),
        lambda: pipe.path("in/a/2").unlink(),
        lambda: pipe.path("in/a").rename(pipe.path("in/b")),
    ):
        act()
        assert planned(pipe) == {"use": "input-changed"}
        pipe.check("-q")
        assert planned(pipe) == {}


def test_a_link_counts_by_what_it_points_to(built: Pipe) -> None:
    built.path("a.fq").rename(built.path("elsewhere"))
    built.path("a.fq").symlink_to("elsewhere")
    assert planned(built) == {}
    built.write("elsewhere", "other\n")
    assert planned(built) == {"map s=a": "input-changed", "call s=a": "upstream"}


def test_a_project_moved_or_copied_with_its_times_is_fresh(
    built: Pipe, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import shutil

    copy = tmp_path_factory.mktemp("copy") / "project"
    shutil.copytree(built.folder, copy, copy_function=shutil.copy2)
    assert planned(Pipe(copy)) == {}


def test_a_rule_that_takes_over_makes_its_files_anew(pipe: Pipe) -> None:
    text = """\
prefer {} > {}
rule one:
    output: "{{x}}.txt"
    shell: "echo one > {{output}}"
rule two:
    output: "{{y}}.txt"
    shell: "echo two > {{output}}"
"""
    pipe.write("Pipefile", text.format("one", "two"))
    pipe.check("-q a.txt")
    for winner, loser in (("two", "one"), ("one", "two")):
        pipe.write("Pipefile", text.format(winner, loser))
        assert list(planned(pipe, "a.txt").values()) == ["other-rule"]
        pipe.check("-q a.txt")
        assert pipe.read("a.txt") == f"{winner}\n"
        assert planned(pipe, "a.txt") == {}


def test_a_renamed_rule_keeps_what_it_made(built: Pipe) -> None:
    built.write("Pipefile", PIPEFILE.replace("rule map:", "rule align:"))
    assert planned(built) == {}
    built.write("a.fq", "other\n")
    assert planned(built) == {"align s=a": "input-changed", "call s=a": "upstream"}


def test_a_failure_and_what_it_held_up_run_again(built: Pipe) -> None:
    built.write("a.fq", "other\n")
    built.write("Pipefile", PIPEFILE.replace("cat {input} > {output}; echo", "false; echo"))
    built.check("-q -k", code=1)
    built.write("Pipefile", PIPEFILE)
    assert planned(built) == {
        "map s=a": "missing-output",
        "map s=b": "missing-output",
        "call s=a": "unfinished",
        "call s=b": "unfinished",
    }


def test_a_dry_run_writes_nothing(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    pipe.write("a.fq")
    pipe.write("b.fq")
    before = {path: path.stat().st_mtime_ns for path in pipe.folder.rglob("*")}
    planned(pipe)
    assert {path: path.stat().st_mtime_ns for path in pipe.folder.rglob("*")} == before


def test_changes_touch_other_jobs_through_a_temp_file_that_is_put_back(pipe: Pipe) -> None:
    """What is known of the last build hides no job that uses another file of the same job."""
    pipe.write(
        "Pipefile",
        """\
rule all:
    input: "one", "two"
rule both:
    output: temp("tmp"), "stays"
    input: "source"
    shell: "cat {input} > tmp; cat {input} > stays"
rule one:
    output: "one"
    input: "tmp", "more"
    shell: "cat {input} > {output}"
rule two:
    output: "two"
    input: "stays"
    shell: "cat {input} > {output}"
""",
    )
    pipe.write("source")
    pipe.write("more")
    pipe.check("-q")
    pipe.check("-q")
    pipe.write("more", "x")
    assert set(planned(pipe)) == {"both", "one", "two"}
    pipe.check("-q")
    assert planned(pipe) == {}


@pytest.mark.parametrize("word", ["on_time", "x=1", "a,b", "it's", "ü", "a b"])
def test_names_of_any_kind_are_found_again(pipe: Pipe, word: str) -> None:
    pipe.write(
        "Pipefile", 'rule a:\n    output: "out/{x}/{y}.txt"\n    shell: "echo {x} > {output}"\n'
    )
    target = f"out/{word}/{word}.txt"
    assert pipe.run(target).code == 0
    result = pipe.run("-n", target)
    assert result.out.startswith("nothing to do")


def test_a_temp_file_asked_for_by_name_stays_comparable_by_content(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        'rule last:\n    output: "last"\n    input: content("tmp")\n'
        '    shell: "cp {input} {output}"\n'
        'rule part:\n    output: temp("tmp")\n    shell: "echo part > {output}"\n',
    )
    pipe.check("-q")
    pipe.check("-q tmp")  # a plan without the job that compares it by content
    pipe.check("-n", says="nothing to do: all 2 jobs are fresh\n")
    pipe.check("")
    assert not pipe.exists("tmp")
    pipe.check("-n", says="nothing to do: all 2 jobs are fresh\n")


def test_a_temp_file_put_back_with_other_bytes_counts_where_bytes_decide(pipe: Pipe) -> None:
    pipe.write(
        "Pipefile",
        'rule all:\n    input: "one", "two"\n'
        'rule part:\n    output: temp("tmp")\n    input: ancient("source")\n'
        '    shell: "cat {input} > {output}"\n'
        'rule one:\n    output: "one"\n    input: "tmp", "more"\n'
        '    shell: "cat {input} > {output}"\n'
        'rule two:\n    output: "two"\n    input: "tmp"\n    shell: "cat {input} > {output}"\n',
    )
    for path in ("source", "more"):
        pipe.write(path, f"{path}\n")
    pipe.check("-q --check content")
    pipe.write("source", "other\n")
    pipe.write("more", "still more\n")
    pipe.check("-q --check content")
    assert pipe.read("one") == "other\nstill more\n"
    assert pipe.read("two") == "other\n"
    assert planned(pipe, "--check content").keys() == set()


PUT_BACK = """\
rule all:
    input: "one.x", "two.x"
rule mid:
    output: temp("mid")
    input: ancient("seed")
    shell: "cat {input} > {output}"
rule end:
    output: "{n}.x"
    input: content("mid")
    shell: "cat {input} > {output}"
"""


def test_what_is_put_back_from_other_bytes_remakes_what_compares_by_content(pipe: Pipe) -> None:
    pipe.write("Pipefile", PUT_BACK)
    pipe.write("seed", "1\n")
    pipe.check("-q one.x")
    pipe.write("seed", "22\n")
    pipe.check("-q")
    assert (pipe.read("one.x"), pipe.read("two.x")) == ("22\n", "22\n")
    assert pipe.check("").out.startswith("nothing to do")
    # The same bytes again are no reason.
    pipe.path("two.x").unlink()
    pipe.write("seed", "22\n")
    assert "2 jobs done, 1 not needed" in pipe.check("").out
