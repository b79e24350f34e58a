"""Runs on the queue of this machine: all of cluster runs that needs no cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import cluster_scenes as scenes
import pytest
from cluster_scenes import Scene
from conftest import Pipe
from own_queue import Queue
from ssh_host import disconnect, ssh_host


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The working folder."""
    found = tmp_path / "work"
    found.mkdir()
    return found


@pytest.fixture
def scene(folder: Path, queue: Queue) -> Scene:
    return Scene(Pipe(folder), "here", queue.jobs, settings=queue.settings)


@pytest.mark.parametrize(
    "acted",
    [
        scenes.chain,
        scenes.diamond,
        scenes.failing_middle,
        scenes.fan,
        scenes.pairs,
        scenes.cancelled,
        scenes.retries,
        scenes.batch_and_group,
    ],
)
def test_it_goes_as_on_any_cluster(scene: Scene, acted: Callable[[Scene], None]) -> None:
    acted(scene)


def test_no_more_are_in_the_queue_than_may_be(scene: Scene, queue: Queue) -> None:
    scenes.window(scene, lambda: len(queue.held()))


def test_what_is_deleted_by_hand_is_told(scene: Scene, queue: Queue) -> None:
    scenes.deleted_by_hand(scene, lambda: queue.cancel(queue.jobs()[0]))


def test_a_need_that_it_has_nothing_for_is_refused(scene: Scene) -> None:
    scenes.refused(scene, 'qos: "high"', "cluster `here` has nothing for `qos`")


CROSSING = """\
rule all:
    input: "d"

rule one:
    input: "a"
    output: "b"
    shell: "cat {input} > {output}; echo one >> log"

rule two:
    input: "b"
    output: "c"
    cluster: "there"
    shell: "cat {input} > {output}; echo two >> log; test ! -e bad"

rule three:
    input: "c"
    output: "d"
    shell: "cat {input} > {output}; echo three >> log"
"""


@pytest.fixture
def there(tmp_path: Path, scene: Scene) -> Iterator[Queue]:
    """A second cluster."""
    made = Queue(tmp_path / "there")
    scene.settings += f"[cluster.there]\n{scenes.QUICK}{made.settings}"
    scene.site()
    yield made
    made.end()


def test_edges_cross_clusters_though_nobody_is_there(scene: Scene, there: Queue) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", CROSSING)
    pipe.write("a", "1\n")
    scene.build("--detach")
    scene.wait_for(lambda: pipe.exists("d"), "the other side is woken")
    scene.over()
    assert not there.held()
    assert pipe.read("log") == "one\ntwo\nthree\n"
    pipe.write("bad")
    pipe.write("a", "2\n")
    told = scene.build(code=1)
    assert "1 failed" in told.out, told.out
    assert scene.states() == {"one": "done", "two": "failed", "three": "skipped"}


LOCAL_RULE = """\
rule all:
    input: "c"

rule one:
    input: "a"
    output: "b"
    local
    shell: "cat {input} > {output}; echo $HPCMAKE_JOB"

rule two:
    input: "b"
    output: "c"
    shell: "cat {input} > {output}"
"""


def test_local_rules_run_on_the_queue_of_this_machine(scene: Scene, tmp_path: Path) -> None:
    own = Queue(tmp_path / "own")
    pipe = scene.pipe
    scene.settings += f"[cluster.local]\n{scenes.QUICK}{own.settings}"
    scene.site()
    pipe.write("Pipefile", LOCAL_RULE)
    pipe.write("a", "1\n")
    scene.build()
    assert pipe.read("c") == "1\n"
    query = "SELECT cluster FROM submission ORDER BY id"
    assert scene.state.read(lambda c: c.execute(query).fetchall()) == [("local",), ("here",)]
    own.end()


DEFERRED = """\
rule all:
    input: "b"

rule one:
    input: "in"
    output: "a"
    shell: "head -c 3000 /dev/zero > {output}"

rule two:
    input: "a"
    output: "b"
    cores: 1 if size("a") < 2K else 2
    shell: "echo {cores} > {output}"
"""


def test_needs_that_hang_on_files_are_known_later(scene: Scene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", DEFERRED)
    pipe.write("in")
    scene.build("--detach")
    scene.wait_for(lambda: pipe.exists("b"), "it is submitted once they are known")
    scene.over()
    assert pipe.read("b") == "2\n"


def test_a_pipefile_that_changes_while_needs_are_waited_for(scene: Scene) -> None:
    pipe = scene.pipe
    text = DEFERRED.replace('"head', '"while [ ! -e go ]; do sleep 0.05; done; head')
    pipe.write("Pipefile", text)
    pipe.write("in")
    with scene.following() as front:
        scene.wait_for(lambda: scene.states().get("one") == "running", "one runs")
        pipe.write("Pipefile", text.replace("echo", "echo new"))
        pipe.write("go")
        said = scene.finish(front, code=1)
    assert "the Pipefile was changed while `two` waited" in said
    assert scene.states() == {"one": "done", "two": "failed"}
    scene.build()
    assert pipe.read("b") == "new 2\n"


def test_what_is_submitted_runs_as_it_was_planned(scene: Scene) -> None:
    pipe = scene.pipe
    text = scenes.CHAIN.replace(
        "cat {input} > {output}; echo c", "sleep 0; cp {input} {output}; echo c"
    )
    text = text.replace('"cat', '"while [ ! -e go ]; do sleep 0.05; done; cat')
    pipe.write("Pipefile", text)
    pipe.write("a", "1\n")
    scene.build("--detach")
    scene.wait_for(lambda: scene.states().get("one") == "running", "one runs")
    pipe.write("Pipefile", text.replace("echo c", "echo cc"))
    pipe.write("go")
    scene.over()
    scene.run("advance")
    assert pipe.read("log") == "b\nc\n"
    assert scene.run("-n").out.endswith("1 of 2 jobs would run\n"), "what changed is stale"


FLAGS = """\
rule all:
    input: "end", "kept", "whole", "same"

rule temporary:
    input: "in"
    output: temp("tmp")
    shell: "cat {input} > {output}; echo temporary >> log"

rule end:
    input: "tmp"
    output: "end"
    shell: "cat {input} > {output}; echo end >> log"

rule kept:
    input: "tmp"
    output: protected("kept")
    shell: "cat {input} > {output}; echo kept >> log"

rule whole:
    input: "in"
    output: atomic("whole")
    benchmark: "bench.tsv"
    log: "whole.log"
    shell: "echo told; echo {output} > {output}; echo whole >> log"

rule small:
    input: "in"
    output: "small"
    shell: "wc -l < {input} > {output}; echo small >> log"

rule same:
    input: content("small")
    output: "same"
    shell: "cat {input} > {output}; echo same >> log"
"""


def test_what_files_are_flagged_as_holds_on_clusters(scene: Scene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", FLAGS)
    pipe.write("in", "1\n")
    scene.build()
    assert not pipe.exists("tmp")
    assert not pipe.path("kept").stat().st_mode & 0o200
    assert pipe.read("whole") != "whole\n"
    assert pipe.read("whole.log") == "told\n"
    assert pipe.read("bench.tsv")
    assert scene.build().out.startswith("nothing to do")
    pipe.write("in", "2\n")
    told = scene.build(code=2)
    assert "error[protected]" in told.err
    assert scene.states()["kept"] == "done"
    pipe.write("log")
    scene.build("--unprotect")
    assert sorted(pipe.read("log").split()) == ["end", "kept", "small", "temporary", "whole"]
    assert pipe.read("kept") == "2\n"
    pipe.path("end").write_text("edited\n")
    pipe.write("in", "3\n")
    scene.build("--unprotect")
    assert [pipe.read("end"), pipe.read("end.edited")] == ["3\n", "edited\n"]


EVENTS = """\
on start:
    echo start {run} >> events

on success:
    echo success {run} >> events

on failure:
    echo failure {failed} >> events
    cat {log} >> events

rule all:
    input: "out"

rule make:
    input: "in"
    output: "out"
    message: "making it"
    shell: "echo begun; cat {input}; test -s {input}; cp {input} {output}"
"""


def test_handlers_events_and_silence(scene: Scene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", EVENTS)
    pipe.write("in")
    failed = scene.build("-q", code=1)
    assert failed.out == ""
    assert "exit code 1" in failed.err
    lines = pipe.read("events").splitlines()
    assert lines[0].startswith("start ")
    assert lines[1] == "failure make"
    assert "   | begun" in lines, lines
    pipe.write("in", "1\n")
    pipe.write("events")
    told = scene.build("--json")
    events = [json.loads(line) for line in told.out.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "run-started"
    assert kinds[-1] == "run-ended", kinds
    assert kinds.count("started") == 1
    assert [line.split()[0] for line in pipe.read("events").splitlines()] == ["start", "success"]
    pipe.write("in", "2\n")
    assert scene.build("-q").out == ""


INCOMPLETE = """\
rule all:
    input: "out"

rule make:
    output: "out"
    shell: "echo half > {output}; echo >> tries; exit 1"
"""


def test_keep_incomplete_and_retries_of_the_call(scene: Scene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", INCOMPLETE)
    scene.build("--keep-incomplete", "--retries", "2", code=1)
    assert pipe.read("out") == "half\n"
    assert pipe.read("tries") == "\n\n\n"
    scene.build(code=1)
    assert not pipe.exists("out")


LATE = """\
rule make:
    output: "out"
    shell: "echo >> begun"
"""


def test_an_output_that_comes_late_is_waited_for(scene: Scene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", LATE)
    told = scene.build("--latency", "0", code=1)
    assert "`out` was not made" in told.err
    pipe.path("begun").unlink()
    with scene.following("--latency", "60") as front:
        scene.wait_for(lambda: pipe.exists("begun"), "the recipe is over")
        pipe.write("out", "x\n")
        scene.finish(front)
    assert pipe.read("out") == "x\n"


PRIORITIES = """\
rule all:
    input: "out{n}" for n in range(6)

rule make:
    output: "out{n}"
    where: n = "[0-9]"
    priority: int(n)
    shell: "echo {n} >> log; touch {output}"
"""


def test_what_has_priority_is_submitted_first(scene: Scene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", PRIORITIES)
    scene.site("max_submitted = 3\n")
    scene.build()
    order = pipe.read("log").split()
    assert sorted(order[:2]) == ["4", "5"]
    assert "0" in order[-2:]


def test_odd_names_and_folders(tmp_path: Path, queue: Queue) -> None:
    folder = tmp_path / 'it\'s a "földer" $HOME'
    (folder / "flow").mkdir(parents=True)
    pipe = Pipe(folder)
    scene = Scene(pipe, "here", queue.jobs, settings=queue.settings)
    name = "a 'b\" ü $x"
    pipe.write("flow/steps", scenes.CHAIN.replace('"c"', "'c " + name.replace("'", "\\'") + "'"))
    pipe.write("a", "1\n")
    elsewhere = Pipe(tmp_path)
    command = ("-C", str(folder), "-f", "flow/steps", "--cluster", "here")
    before = os.umask(0o027)
    try:
        result = elsewhere.run(*command)
    finally:
        os.umask(before)
    assert result.code == 0, result.out + result.err
    assert pipe.read(f"c {name}") == "1\n"
    assert pipe.path("b").stat().st_mode & 0o777 == 0o640
    assert "nothing to do" in elsewhere.run(*command).out
    scene.empty()


def test_a_front_end_that_leaves_and_watch_that_comes_back(scene: Scene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", scenes.WAITING)
    pipe.write("in")
    with scene.following() as front:
        scene.wait_for(lambda: scenes.begun(scene), "three run")
        front.send_signal(signal.SIGINT)
        said = scene.finish(front, code=130)
    assert "6 jobs go on" in said
    pipe.write("go")
    watched = scene.run("watch")
    assert "6 done" in watched.out, watched.out
    assert [pipe.read(f"out{n}") for n in range(3)] == ["0\n", "1\n", "2\n"]
    assert scene.run("watch").out == "nothing to watch: no run is on a cluster\n"


def test_the_state_is_removed_while_a_run_goes_on(scene: Scene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", scenes.WAITING)
    pipe.write("in")
    with scene.following() as front:
        scene.wait_for(lambda: scenes.begun(scene), "three run")
        shutil.rmtree(pipe.path(".hpcmake"))
        assert "error[state-replaced]" in scene.finish(front, code=2)
    pipe.write("go")
    scene.empty()
    pipe.path("begun").unlink()
    scene.build()
    assert [pipe.read(f"out{n}") for n in range(3)] == ["0\n", "1\n", "2\n"]
    scene.empty()
    assert scene.build().out == "nothing to do: all 6 jobs are fresh\n"


def test_what_is_chosen_is_chosen_on_clusters_as_well(scene: Scene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", scenes.MIDDLE)
    pipe.write("in", "x\n")
    pipe.write("fine")
    scene.build("--until", "first")
    assert pipe.read("log") == "first\n"
    scene.build("--omit", "middle")
    assert pipe.read("log") == "first\naside\n"
    scene.build()
    scene.build("--force", "aside")
    assert pipe.read("log").split()[-3:] == ["middle", "end", "aside"]
    scene.build("--force-all", "--check", "content")
    pipe.path("log").unlink()
    told = scene.build("--force-rule", "first", "--check", "content")
    assert pipe.read("log") == "first\n", "what reads the same bytes need not run"
    assert "3 " in told.out.splitlines()[-1], told.out
    pipe.write("in", "y\n")
    told = scene.build("--touch")
    assert pipe.read("end") == "half\n", told.out
    assert "nothing to do" in scene.build().out


def test_what_does_not_count_on_clusters_is_refused(scene: Scene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", scenes.CHAIN)
    pipe.write("a")
    for words in (["-j", "4"], ["-j"], ["--limit", "licence=1"]):
        told = scene.build(*words, code=2)
        assert "error[bad-option]" in told.err, told.err
    for words in (["--detach"], ["--cluster-option", "poll=1s"]):
        assert "error[bad-option]" in scene.run(*words, code=2).err
    assert not pipe.exists(".hpcmake/state.db")


def test_two_at_once_on_two_clusters(scene: Scene, there: Queue) -> None:
    other = Scene(scene.pipe, "there", there.jobs, settings=there.settings)
    scene.site()
    scenes.both_at_once(scene, other)


def test_options_are_words_as_bash_reads_them(scene: Scene) -> None:
    pipe = scene.pipe
    pipe.write("Pipefile", LATE.replace("shell", 'options: "--grace=1 \'"\n    shell'))
    told = scene.build(code=2)
    assert "`options` wants words as bash reads them (no closing quotation)" in told.err
    assert "Pipefile:3:14" in told.err
    text = LATE.replace("shell", 'options: "--grace=1", "--grace=2 --grace=\'3\'"\n    shell')
    pipe.write("Pipefile", text.replace("begun", "{output}"))
    scene.build()


def test_a_cluster_is_reached_over_ssh_by_one_connection(
    scene: Scene, queue: Queue, tmp_path: Path
) -> None:
    pipe = scene.pipe
    folder = tmp_path / "ssh"
    folder.mkdir()
    with ssh_host(folder) as host:
        words = json.dumps(list(host.options))
        scene.settings += f'host = "{host.name}"\nssh = {words}\n'
        scene.site()
        pipe.write("Pipefile", scenes.RETRIES)
        scene.build("--detach", "late")
        scene.wait_for(lambda: pipe.exists("late"), "jobs submit over ssh as well", 100)
        scene.over()
        pipe.write("Pipefile", scenes.WAITING)
        pipe.write("in")
        scene.build("--detach")
        scene.wait_for(lambda: scenes.begun(scene), "three run")
        assert scene.run("cancel", "--all", "--yes").out == "6 jobs cancelled\n"
        scene.empty()
        assert host.logins() == 1
        disconnect(host)
    told = scene.build(code=3)
    assert "127.0.0.1" in told.err, told.err
    assert not queue.held()


ANCIENT = """\
rule all:
    input: "c"
rule a:
    output: "a"
    shell: "echo {note} >> ran; echo same > a"
rule m:
    output: "m"
    input: content("a")
    shell: "cp a m"
rule db:
    output: "db"
    shell: "echo {note} >> ran; echo {note} > db"
rule c:
    output: "c"
    input: "m", ancient("db")
    shell: "echo c >> ran; cat m > c"
"""


@pytest.mark.parametrize("where", [[], ["--cluster", "here"]], ids=["here", "cluster"])
def test_what_is_ancient_makes_no_job_needed(scene: Scene, where: list[str]) -> None:
    pipe = scene.pipe
    for note, ran in (("one", ["one", "one", "c"]), ("two", ["two", "two"])):
        pipe.write("Pipefile", ANCIENT.replace("{note}", note))
        pipe.path("ran").unlink(missing_ok=True)
        pipe.check(" ".join(["-q", *where]))
        assert pipe.read("ran").split() == ran
