"""`import buildhpc`: a Pipefile planned, run, asked of and changed from Python."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import Pipe
from own_queue import Queue

import buildhpc

PIPEFILE = """\
config "config.yaml"

rule all:
    input: "b.txt", "c<&>.txt"

rule b:
    output: "b.txt"
    input: "a.txt"
    shell: "cp {input} {output}; echo made b"

rule c:
    output: "c<&>.txt"
    input: "b.txt"
    shell: "cp {input} {output}; test -e {config.gate}"
"""


@pytest.fixture
def project(pipe: Pipe) -> buildhpc.Pipeline:
    """Two jobs, of which the second fails as long as there is no file `gate`."""
    pipe.write("Pipefile", PIPEFILE)
    pipe.write("config.yaml", "gate: gate\n")
    pipe.write("a.txt", "a\n")
    return buildhpc.load(folder=str(pipe.folder))


def test_a_plan_is_looked_at_run_and_asked_of_from_python(
    pipe: Pipe,
    project: buildhpc.Pipeline,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    here = Path.cwd()
    caplog.set_level(logging.INFO, "buildhpc")
    plan = project.plan()
    assert plan.names == ("b", "c")
    assert (plan[1].reason, plan[1].after, plan[0].outputs) == (
        "missing-output",
        ("b",),
        ("b.txt",),
    )
    assert (len(plan), plan.total, str(plan)) == (2, 2, "2 of 2 jobs would run")
    assert not pipe.exists(".hpcmake")
    events: list[object] = []
    result = project.run(jobs=2, on_event=events.append)
    assert (result.ok, result.code, result.done, result.failed) == (False, 1, 1, 1)
    assert [type(each).__name__ for each in events] == ["Started", "Ended"] * 2
    failed = result.failures[0]
    assert (failed.name, failed.kind, failed.exit_code) == ("c", "exit", 1)
    with pytest.raises(buildhpc.HpcmakeError, match="jobs failed: c") as told:
        result.check()
    assert told.value.exit_code == 1
    assert project.jobs(where="state = 'failed'").names == ("c",)
    assert project.jobs("b")[0].state == "done"
    assert project.status().counts == {"b": {"done": 1}, "c": {"failed": 1}}
    assert project.logs(where="rule = 'b'") == {"b": "made b\n"}
    assert project.log("b") == "made b\n"
    assert "c is stale: `c<&>.txt` does not exist" in project.why("c")
    pipe.write("gate")
    assert project.retry().check().done == 1
    assert [each.state for each in project.attempts("c")] == ["failed", "done"]
    assert project.reset("b") == ()  # it is done
    assert project.reset("b", force=True) == ("b",)
    assert project.run().done == 2
    assert project.run().status == "nothing-to-do"
    assert project.run("b.txt", force=True).done == 1
    assert project.check() == []
    assert project.cancel(every=True) == ()
    assert project.set({"priority": "+7", "owner": "me"}, "b") == ("b",)
    assert project.jobs(where="priority = 7 and meta.owner = 'me'").names == ("b",)
    assert project.forget(where="rule = 'b'") == ("b",)
    assert project.jobs().names == ("c",)
    assert Path.cwd() == here
    assert capfd.readouterr() == ("", "")
    assert "b: started: cp a.txt b.txt; echo made b" in caplog.messages
    assert "c: failed: exit code 1" in caplog.messages


def test_problems_are_exceptions_with_what_the_command_line_prints(
    pipe: Pipe, project: buildhpc.Pipeline
) -> None:
    for call, words in (
        (lambda: project.plan("b.tx"), "b.tx -n"),
        (lambda: project.run(limits={"mem": "x"}), "--limit mem=x"),
        (lambda: project.run(cluster="nowhere"), "--cluster nowhere"),
        (lambda: project.run(until=["zz"]), "--until zz"),
        (lambda: buildhpc.load("Pipefil", folder=str(pipe.folder)), "-f Pipefil"),
    ):
        with pytest.raises(buildhpc.HpcmakeError) as told:
            call()
        shown = pipe.check(words, code=told.value.exit_code).err
        assert str(told.value) == shown.removesuffix("\n")
    pipe.write("Pipefile", "rule a:\n    outptu: 'a'\n")
    with pytest.raises(buildhpc.HpcmakeError, match="Pipefile:2:5") as told:
        project.plan()  # each call reads the file anew
    assert [problem.slug for problem in told.value.problems] == ["unknown-directive"]


def test_settings_targets_and_the_graph(pipe: Pipe, project: buildhpc.Pipeline) -> None:
    pipe.write("other")
    said = buildhpc.load(folder=str(pipe.folder), settings={"gate": "other"})
    assert said.run("c<&>.txt", jobs=1).check().done == 2
    graph = project.graph(jobs=True)
    assert graph.needs == {"b": (), "c": ("b",), "all": ("b", "c")}
    assert list(graph.stale) == ["c"]  # with another setting the recipe is another one
    assert "n0 --> n1" in graph.mermaid()
    assert '"b" -> "c";' in graph.dot()
    assert graph.text().startswith("all\n")


class _Balanced(HTMLParser):
    """Whether every tag that is opened is closed, and what text there is."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        del tag, attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def test_notebooks_show_tables_and_drawings_for_light_and_dark(
    pipe: Pipe, project: buildhpc.Pipeline
) -> None:
    plan = project.plan()
    result = project.run()
    for shown, words in (
        (plan, ["2 of 2 jobs would run", "c<&>.txt"]),
        (result, ["1 done", "exit code 1"]),
        (project.jobs(), ["state", "failed"]),
        (project.status(), ["rule", "failed last"]),
        (project.graph(jobs=True), ["all", "c"]),
    ):
        text: str = shown._repr_html_()
        page = _Balanced()
        page.feed(text)
        assert page.open == []
        assert all(word in page.text for word in words), page.text
        assert "<script" not in text
        assert not re.search(r"(background|color):\s*(#fff|#000|white|black)", text)
        assert len(text) < 6000
    assert "c&lt;&amp;&gt;.txt" in plan._repr_html_()
    assert 'fill="currentColor"' in project.graph()._repr_html_()
    rules = "".join(f'rule r{n}:\n    output: "r{n}"\n    shell: "true"\n' for n in range(130))
    names = ", ".join(f'"r{n}"' for n in range(130))
    pipe.write("Pipefile", f"rule all:\n    input: {names}\n{rules}")
    assert "131 boxes: too many to draw" in project.graph()._repr_html_()
    assert "and 80 more" in project.plan()._repr_html_()


def test_a_run_in_a_thread_and_one_that_is_interrupted(
    pipe: Pipe, project: buildhpc.Pipeline
) -> None:
    pipe.write("gate")
    found: list[buildhpc.Result] = []
    thread = threading.Thread(target=lambda: found.append(project.run()))
    thread.start()
    thread.join(60)
    assert found[0].done == 2
    program = (
        "import buildhpc, os, signal, sys\n"
        "def heard(event):\n"
        "    if isinstance(event, buildhpc.Started): os.kill(os.getpid(), signal.SIGINT)\n"
        "result = buildhpc.load().run('long', on_event=heard)\n"
        "sys.exit(result.code if result.status == 'interrupted' else 99)\n"
    )
    pipe.write("Pipefile", 'rule long:\n    output: "l"\n    shell: "sleep 60"\n')
    done = subprocess.run([sys.executable, "-c", program], cwd=pipe.folder, timeout=60, check=False)
    assert done.returncode == 130


def test_what_is_public_is_there_and_costs_nothing_before_it_is_used() -> None:
    assert sorted(buildhpc.__all__) == buildhpc.__all__
    for name in buildhpc.__all__:
        assert getattr(buildhpc, name).__doc__, name
    with pytest.raises(AttributeError, match="nothing_like_it"):
        buildhpc.nothing_like_it  # noqa: B018  # the look itself is what is tried
    program = (
        "import sys; before = set(sys.modules); import buildhpc\n"
        "print(len([n for n in set(sys.modules) - before if n.startswith('buildhpc')]))\n"
        "buildhpc.JobList().add('a', 'true')\n"
        "print([n for n in ('lark', 'rich', 'yaml', 'sqlite3', 'filelock') if n in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n[]\n"


def test_a_cluster_is_submitted_to_watched_and_asked_of(
    pipe: Pipe, project: buildhpc.Pipeline, queue: Queue
) -> None:
    pipe.write("hpcmake.toml", f"[cluster.here]\n{queue.settings}")
    pipe.write("gate")
    lines = project.submissions(cluster="here")
    assert sum(" submit " in line for line in lines) == 2
    assert "<id of b>" in lines[-1]
    sent = project.submit(cluster="here")
    assert (sent.jobs, sent.submitted, sent.refused) == (2, 2, ())
    looks: list[str] = []
    status = project.watch(every="1s", on_look=lambda each: looks.append(str(each)))
    assert status.total("done") == 2
    assert looks[-1] == "2 done"
    assert project.jobs(run=sent.run or 0).names == ("b", "c")
    assert project.submit(cluster="here").run is None
    again = project.submit("b.txt", cluster="here", every="1s", times=2, force=True)
    assert again.run == (sent.run or 0) + 2  # the second once the first was over
    project.watch(every="1s")
    with pytest.raises(buildhpc.HpcmakeError, match="soon"):
        project.submit(cluster="here", every="soon")


SPLIT = """\
rule all:
    input: "total"
checkpoint split:
    output: directory("parts")
    shell: "mkdir {output}; touch {output}/a {output}/b"
rule total:
    output: "total"
    input: "parts/{row.part}" for row in glob("parts/{part}") after split
    shell: "ls {input} > {output}"
"""


@pytest.mark.parametrize(
    "wrong",
    [
        {"jobs": "4"}, {"jobs": -1}, {"jobs": True}, {"retries": 1.5}, {"latency_s": "5s"},
        {"keep_going": "no"}, {"limits": "mem=8G"}, {"cluster_options": ["a=b"]}, {"until": 3},
        {"until": [3]}, {"logs": 3}, {"scheduler": "slurm"}, {"min_priority": "a"},
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_told_before_anything_runs(
    project: buildhpc.Pipeline, wrong: dict[str, object]
) -> None:
    with pytest.raises(buildhpc.HpcmakeError) as told:
        project.run(**wrong)  # type: ignore[arg-type]  # that is what is told
    (name,) = wrong
    assert str(told.value).startswith(f"error[bad-option]: `{name}` is ")


def test_one_rule_need_not_stand_in_a_list(pipe: Pipe, project: buildhpc.Pipeline) -> None:
    pipe.write("gate")
    for word, planned in (("until", ("b",)), ("omit", ()), ("force_rules", ("b", "c"))):
        assert project.plan(**{word: "b"}).names == planned  # type: ignore[arg-type]
        assert project.plan(**{word: ["b"]}).names == planned  # type: ignore[arg-type]
    assert project.run(jobs=1, retries=None, logs=Path("said")).ok  # type: ignore[arg-type]


def test_what_a_checkpoint_brings_is_run_and_counted(pipe: Pipe) -> None:
    pipe.write("Pipefile", SPLIT)
    events: list[object] = []
    result = buildhpc.load(folder=str(pipe.folder)).run(on_event=events.append)
    assert (result.ok, result.done) == (True, 2)
    assert pipe.read("total") == "parts/a\nparts/b\n"
    assert [type(each).__name__ for each in events] == ["Started", "Ended"] * 2
    told = [json.loads(line) for line in pipe.check("--json --force-all").out.splitlines()]
    begun, ended = told[0], told[-1]
    assert (begun["event"], begun["jobs"], ended["event"], ended["jobs"]) == (
        *("run-started", 2),
        *("run-ended", 2),
    )
