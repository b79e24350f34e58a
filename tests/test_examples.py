"""The examples do what their pages say."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import nbclient
import nbformat
import pytest
from conftest import Pipe

EXAMPLES = Path(__file__).parent.parent / "examples"
LICENCES = Path("/usr/share/common-licenses")
PHAGE_LENGTH = 48_502


def built(name: str, folder: Path) -> Pipe:
    """A copy of an example that was built, and has nothing more to do."""
    pipe = Pipe(folder / name)
    made = shutil.ignore_patterns("results", ".hpcmake")
    shutil.copytree(EXAMPLES / name, pipe.folder, ignore=made)
    pipe.check("check")
    pipe.check("fmt --check")
    sources = pipe.files()
    pipe.check("-j 2")
    assert {path.split("/")[0] for path in set(pipe.files()) - set(sources)} == {"results"}
    result = pipe.check("-j 2")
    assert result.out.startswith("nothing to do: ")
    return pipe


def rows(pipe: Pipe, path: str) -> list[dict[str, str]]:
    """The rows of a TSV file."""
    return list(csv.DictReader(pipe.read(path).splitlines(), delimiter="\t"))


def page(pipe: Pipe, path: str) -> dict[str, list[str]]:
    """The rows of all tables of a Markdown file, by their first cell."""
    lines = [line for line in pipe.read(path).splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    found: dict[str, list[str]] = {}
    for first, *more in cells:
        found.setdefault(first, []).extend(more)
    return found


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir()))
def test_an_example_has_a_short_page(name: str) -> None:
    lines = (EXAMPLES / name / "README.md").read_text().splitlines()
    assert 8 <= len(lines) <= 20


def test_words(tmp_path: Path) -> None:
    pipe = built("words", tmp_path)

    text = (LICENCES / "GPL-3").read_text()
    words = "".join(c if c.isascii() and c.isalpha() else " " for c in text).lower().split()
    counts = (line.split("\t") for line in pipe.read("results/counts/GPL-3.tsv").splitlines())
    assert {word: int(count) for word, count in counts} == Counter(words)

    table = rows(pipe, "results/common.tsv")
    assert len(table) == 15
    assert [row["word"] for row in table[:3]] == ["the", "of", "to"]
    assert table[0]["GPL-3"] == f"{1000 * words.count('the') / len(words):.1f}"

    texts = [path.name for path in LICENCES.iterdir() if "-" in path.name]
    svg = ElementTree.fromstring(pipe.read("results/zipf.svg"))
    labels = ["".join(each.itertext()) for each in svg if each.tag.endswith("text")]
    assert {label.split(":")[0] for label in labels} >= set(texts)


def test_long_lines(tmp_path: Path) -> None:
    pipe = built("long-lines", tmp_path)
    lengths = {
        path.name: sorted(n for n in map(len, path.read_bytes().decode().split("\n")) if n > 78)
        for path in LICENCES.iterdir()
        if path.name in pipe.read("results/chosen.txt").split()
    }
    found = [int(line.split()[0]) for line in pipe.read("results/longest.txt").splitlines()]
    assert found == sorted((n for each in lengths.values() for n in each), reverse=True)
    assert all(lengths.values())


def test_words_with_another_setting_runs_one_job(tmp_path: Path) -> None:
    pipe = built("words", tmp_path)
    assert pipe.check("-j 2 --set common=30").out.startswith("[1/1] common ")
    assert len(rows(pipe, "results/common.tsv")) == 30


def test_sweep(tmp_path: Path) -> None:
    pipe = built("sweep", tmp_path)

    table = rows(pipe, "results/sweep.tsv")
    accuracies = [float(row["accuracy"]) for row in table]
    assert len(table) == 12
    assert accuracies == sorted(accuracies, reverse=True)
    assert (table[0]["gamma"], accuracies[0] > 0.98) == ("0.001", True)
    assert accuracies[-1] < 0.2

    best = json.loads(pipe.read("results/best.json"))
    assert (best["cost"], best["gamma"]) == (float(table[0]["cost"]), 0.001)
    assert best["tested"] > 0.97
    assert pipe.path("results/sweep.png").read_bytes().startswith(b"\x89PNG")

    wider = pipe.check("-n --set cost=[0.1,1,10,100]").out
    assert wider.endswith("\n7 of 20 jobs would run\n")


def test_variants(tmp_path: Path) -> None:
    pipe = built("variants", tmp_path)
    assert not pipe.exists("results/calls.bcf")

    with gzip.open(pipe.path("results/variants.vcf.gz"), "rt") as file:
        calls = [line.split("\t") for line in file if not line.startswith("#")]
    assert len(calls) > 100
    assert all(0 < int(call[1]) <= PHAGE_LENGTH and float(call[5]) >= 30 for call in calls)

    report = page(pipe, "results/report.md")
    reads, mapped, covered, depth, *changes = report["short"]
    assert (reads, float(mapped.rstrip("%")) > 90, float(depth) > 30) == ("20000", True, True)
    assert float(covered.rstrip("%")) > 99
    assert report["long"][0] == "6000"
    assert sum(map(int, changes[:-1])) == int(changes[-1])
    # Two phages that mutated each by itself have hardly a variant in common.
    both = int(changes[-1]) + int(report["long"][-1])
    assert len(calls) <= both <= len(calls) + 3

    stricter = pipe.check("-n --set min_quality=50").out
    assert "map" not in stricter
    assert stricter.endswith("\n4 of 10 jobs would run\n")


def test_the_job_list_runs_in_a_pool_and_finds_the_better_average(tmp_path: Path) -> None:
    pipe = Pipe(tmp_path / "job-list")
    made = shutil.ignore_patterns("results", ".hpcmake")
    shutil.copytree(EXAMPLES / "job-list", pipe.folder, ignore=made)
    pipe.check("-f pipeline.py check --strict")
    assert pipe.check("-f pipeline.py -j 2").out.splitlines()[-1].startswith("6 jobs done")
    assert pipe.read("results/best.txt") == "0.2842 over 3\n"
    assert pipe.check("logs 2-2").out == "0.3132 over 12\n0.2842 over 3\n"
    assert pipe.read("results/jobs.log").count("smoothing 2000 values") == 2
    assert pipe.check("-f pipeline.py -n").out.endswith("\n1 of 6 jobs would run\n")
    drawn = pipe.check("-f pipeline.py graph --format dot").out
    arrows = [line.strip() for line in drawn.splitlines() if "->" in line]
    assert sorted(arrows) == [
        *('"1" -> "1-1";', '"1" -> "1-2";', '"1-1" -> "2";', '"1-2" -> "2";'),
        *('"2" -> "2-1";', '"2" -> "2-2";'),
    ]


def test_the_notebook_runs_in_a_kernel(tmp_path: Path) -> None:
    folder = tmp_path / "notebook"
    made = shutil.ignore_patterns("results", "logs", ".hpcmake", ".ipynb_checkpoints")
    shutil.copytree(EXAMPLES / "notebook", folder, ignore=made)
    Pipe(folder).check("check --strict")
    Pipe(folder).check("fmt --check")
    text = (folder / "pi.ipynb").read_text()
    notebook: Any = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]  # theirs
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")
    place = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3", resources=place).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    pages = "".join(output["data"].get("text/html", "") for output in shown if "data" in output)
    assert pages.count("<svg") == 2
    assert "13 of 13 jobs would run" in pages
    assert "7 of 19 jobs would run" in pages
    assert "this one fails" in pages
    printed = "".join(output.get("text", "") for output in shown)
    assert "they differ by 0.0160" in printed
    assert "error[no-rule]" in printed
    # The command line sees the jobs of both: twelve estimates, and two of the list.
    assert "0 running, 14 of 14 done" in Pipe(folder).check("status --rule estimate").out
