"""`hpcmake stats` and `hpcmake report`: what was asked for and used, and one page of it all."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

from conftest import Pipe

from buildhpc.show.advice import advice
from buildhpc.state.usage import Used

PIPEFILE = """\
rule all:
    input: "b", "bad<i>"
rule a:
    output: "a"
    mem: 4G
    time: 2h
    shell: "touch {output}"
rule b:
    output: "b"
    input: "a"
    shell: "touch {output}"
rule bad:
    output: "bad<i>"
    shell: "echo '<script>alert(1)</script> & more'; exit 3"
"""


def test_what_is_asked_for_is_compared_with_what_is_used(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    assert "error[no-state]" in pipe.check("stats", code=2).err
    pipe.check("-q -k", code=1)
    lines = pipe.check("stats").out.splitlines()
    head = "rule  jobs  time used asked memory used asked cores used asked"
    assert lines[0].split() == head.split()
    assert [line.split()[0] for line in lines[1:3]] == ["a", "b"]
    assert "2 h 00 min" in lines[1] and "4.0 GiB" in lines[1]
    assert lines[4] == "advice" and "`time: 1m` would do" in lines[5]
    document = json.loads(pipe.check("stats --json").out)
    assert [each["rule"] for each in document["rules"]] == ["a", "b"]
    assert "error[unknown-run]" in pipe.check("stats --run 77", code=2).err
    pipe.check("stats --run 2 --json")


def test_advice_is_given_where_much_is_wasted_or_little_left() -> None:
    fine = Used("fine", 3, 60.0, 70.0, 100.0, 100.0, 180.0, 300.0, 4, 3.5)
    assert list(advice([fine])) == []
    waste = Used("waste", 3, 60.0, 600.0, 36000.0, 100.0, 2000.0, 8192.0, 8, 1.5)
    assert list(advice([waste])) == [
        "waste: at most 2% of the time asked for was used; `time: 13m` would do",
        "waste: at most 24% of the memory asked for was used; `mem: 2500M` would do",
        "waste: at most 19% of the CPU asked for was used; `cores: 2` would do",
    ]
    close = Used("close", 3, 60.0, 95.0, 100.0, 100.0, 295.0, 300.0, 1, None)
    assert list(advice([close])) == [
        "close: at most 95% of the time asked for was used; `time: 2m` is safer",
        "close: at most 98% of the memory asked for was used; `mem: 400M` is safer",
    ]


def test_the_report_is_one_page_that_needs_nothing_else(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    pipe.check("-q -k", code=1)
    pipe.check("report", says="wrote `hpcmake-report.html`\n")
    page = pipe.read("hpcmake-report.html")
    for name in ("Summary", "Runs", "Failures", "Timeline", "Resources", "Graph"):
        assert f"<h2>{name}</h2>" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=|url\(|@import", page)
    assert "color-scheme: light dark" in page
    assert page.count("<title>") == 1 + 3, "a bar for each attempt"
    assert "cannot be written" in pipe.check("report -o no/where.html", code=2).err
    pipe.write("Pipefile", "rule")
    pipe.check("report -o other.html")
    assert "cannot be drawn" in pipe.read("other.html")


def test_a_graph_is_an_svg(pipe: Pipe) -> None:
    pipe.write("Pipefile", PIPEFILE)
    picture = ElementTree.fromstring(pipe.check("graph --format svg").out)
    texts = [each.text for each in picture.iter() if each.tag.endswith("text")]
    assert texts == ["a", "bad", "b", "all"]
    assert len([each for each in picture.iter() if each.tag.endswith("path")]) == 3
    jobs = ElementTree.fromstring(pipe.check("graph --jobs --format svg b").out)
    assert [each.text for each in jobs.iter() if each.tag.endswith("text")] == ["a", "b"]
