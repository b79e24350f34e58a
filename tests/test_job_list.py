"""Job lists: commands and functions without a Pipefile, run in every way that there is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from conftest import Pipe
from own_queue import Queue
from real_schedulers import Slurm
from slurm_scenes import slurm_scene

import buildhpc
from buildhpc.joblist.entries import Place
from buildhpc.joblist.functions import reference

# Task 1; 1-1 and 1-2 after it; 2 after both; 2-1 and 2-2 after that.
EXAMPLE = """\
import logging
import sys
import buildhpc

log = logging.getLogger(__name__)


def step(name: str, *, rate: float = 1.0, sizes: list[int] | None = None) -> None:
    log.info("%s at %s of %s", name, rate, sizes)
    print("step", name)
    with open("order.txt", "a") as file:
        file.write(name + "\\n")


jobs = buildhpc.JobList(logs="logs", log_file="all.log")
jobs.add("1", step, name="1")
jobs.add("1-1", step, name="1-1", rate=0.5, sizes=[1, 2], after="1")
jobs.add("1-2", "echo 1-2 >> order.txt; echo said {args}; echo aside >&2", after="1", n=4, on=True)
jobs.add("2", step, name="2", after=["1-1", "1-2"])
jobs.add("2-1", ["bash", "-c", "echo 2-1 >> order.txt"], after="2")
jobs.add("2-2", step, name="2-2", after="2")

if __name__ == "__main__":
    sys.exit(jobs.main())
"""
NAMES = ["1", "1-1", "1-2", "2", "2-1", "2-2"]
LOGGED = """\
import json
import logging
import buildhpc

heard = []


class Keep(logging.Handler):
    def emit(self, record):
        heard.append([record.name, record.levelname, record.getMessage()])


def work(n):
    logging.getLogger("work").warning("at %d", n)
    logging.getLogger("work").debug("never")


if __name__ == "__main__":
    logging.getLogger("buildhpc").addHandler(Keep())
    logging.getLogger("buildhpc").setLevel("INFO")
    jobs = buildhpc.JobList(log_file="all.log", logs="logs")
    jobs.add("one", work, n=1)
    jobs.run()
    jobs.run()
    print(json.dumps(heard))
"""


def test_what_workers_log_reaches_the_file_and_the_loggers_of_the_program(pipe: Pipe) -> None:
    heard = python(pipe, LOGGED)
    started = ["buildhpc", "INFO", "one: started: program.py:work(n=1) (output: logs/one.1.out)"]
    said = ["buildhpc.jobs", "WARNING", "one work: at 1"]
    assert heard.count(started) == 2
    assert heard.count(said) == 2, "of each run once"
    assert pipe.read("all.log").count("WARNING one work: at 1\n") == 2
    assert pipe.read("logs/one.1.err") == "WARNING work: at 1\n"


HEAD = "import buildhpc\nfrom pathlib import Path\njobs = buildhpc.JobList()\n"


def python(pipe: Pipe, text: str) -> Any:
    """Run a program in the folder; what its last line says as JSON."""
    pipe.write("program.py", text)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=pipe.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_the_example_runs_in_order_here_and_keeps_what_each_attempt_printed(pipe: Pipe) -> None:
    pipe.write("pipeline.py", EXAMPLE)
    dry = pipe.check("-f pipeline.py -n -v").out
    assert [line.partition(":")[0] for line in dry.splitlines()[:-1]] == NAMES
    assert pipe.files() == ["pipeline.py"]
    told = pipe.check("-f pipeline.py -v").out
    assert "    pipeline:step" not in told
    call = "pipeline.py:step(name='1-1', rate=0.5, sizes=[1, 2])"
    assert f"start: 1-1\n    {call}\n    log: logs/1-1.1.out\n" in told
    assert pipe.read("order.txt").split() == NAMES  # one after the other, as in the list
    assert pipe.read("logs/1-1.1.out") == "step 1-1\n"
    assert "INFO pipeline: 1-1 at 0.5 of [1, 2]" in pipe.read("logs/1-1.1.err")
    assert pipe.read("logs/1-2.1.out") == "said --n 4 --on\n"
    assert pipe.read("logs/1-2.1.err") == "aside\n"
    logged = pipe.read("all.log")
    assert [f"INFO {name} pipeline: {name} at" in logged for name in ("1", "1-1", "2")] == [
        True
    ] * 3
    assert pipe.check("logs 1-2").out == "said --n 4 --on\naside\n"
    assert "2 is stale" in pipe.check("-f pipeline.py why 2").out
    assert "6      6" in pipe.check("status").out
    pipe.path("order.txt").unlink()
    done = subprocess.run(
        [sys.executable, "pipeline.py", "-j4", "-q"], cwd=pipe.folder, check=False
    )
    assert done.returncode == 0
    order = pipe.read("order.txt").split()
    assert sorted(order) == NAMES
    assert order[0] == "1"
    assert order[3] == "2"


def test_a_job_is_skipped_while_its_results_are_there_and_what_made_them_is_as_it_was(
    pipe: Pipe,
) -> None:
    text = """\
import buildhpc


def double(source, target, factor=2):
    open(target, "w").write(open(source).read() * factor)


jobs = buildhpc.JobList()
jobs.add("a", double, source="in", target="a", inputs="in", outputs="a")
jobs.add("b", "cat {input.first} > {output}", inputs={"first": "a"}, outputs="b")
jobs.add("c", "touch {output.x}", after="b", outputs={"x": buildhpc.flagged("c", "nonempty")})
"""
    pipe.write("in", "x")
    pipe.write("pipeline.py", text.replace("touch", "cp b"))
    pipe.check("-f pipeline.py")
    assert (pipe.read("a"), pipe.read("b"), pipe.read("c")) == ("xx", "xx", "xx")
    again = pipe.check("-f pipeline.py -j2")
    assert again.out == "nothing to do: all 3 jobs are fresh\n"
    # What another function of the file, or another job, says is not this job's matter.
    pipe.write("pipeline.py", text.replace("touch", "cp b") + "\n\ndef other():\n    pass\n")
    assert pipe.check("-f pipeline.py -n").out == again.out
    pipe.write("pipeline.py", text.replace("touch", "cp b").replace("factor=2", "factor=3"))
    assert "3 of 3 jobs would run" in pipe.check("-f pipeline.py -n").out
    pipe.write("pipeline.py", text)
    failed = pipe.check("-f pipeline.py --latency 0", code=1)
    assert "`c` is empty" in failed.err
    assert not pipe.exists("c")


def test_a_failure_stops_the_list_and_what_follows_is_skipped(pipe: Pipe) -> None:
    program = (
        HEAD
        + """\
jobs.add("a", "echo went wrong >&2; exit 3")
jobs.add("b", "touch b", after="a")
jobs.add("c", "touch c")
import json
events = []
stopped = jobs.run(on_event=events.append)
pipeline = jobs.pipeline
found = [stopped.code, stopped.failed, stopped.failures[0].exit_code, stopped.failures[0].log]
found += [[type(each).__name__ for each in events], Path("b").exists(), Path("c").exists()]
found += [pipeline.jobs(where="state = 'failed'").names, pipeline.log("a")]
going = jobs.run(keep_going=True)
found += [going.done, going.skipped]
print(json.dumps(found))
"""
    )
    assert python(pipe, program) == [
        *[1, 1, 3, ["went wrong"]],
        *[["Started", "Ended", "Skipped"], False, False],
        *[["a"], "went wrong\n"],
        *[1, 1],
    ]


def test_subtasks_are_counted_under_their_task_whose_name_stands_for_all_of_them(
    pipe: Pipe,
) -> None:
    text = """\
import buildhpc

jobs = buildhpc.JobList(cores=1)
task = jobs.task("map")
task.add("s1", "echo s1 >> order")
task.add("s2", "echo s2 >> order", after="s1")
jobs.add("reduce", "echo reduce >> order", after="map")
"""
    pipe.write("pipeline.py", text)
    pipe.check("-f pipeline.py -j3")
    assert pipe.read("order").split() == ["s1", "s2", "reduce"]
    assert "map        2      2" in pipe.check("status").out
    assert pipe.check("-f pipeline.py map -n").out.endswith("2 of 2 jobs would run\n")
    assert pipe.check("-f pipeline.py map/s1 -n").out.endswith("1 of 1 jobs would run\n")
    assert "3 jobs" in pipe.check("-f pipeline.py check").out
    graph = pipe.check("-f pipeline.py graph --jobs --format dot").out
    assert '"map/s1" -> "map/s2";' in graph
    assert '"map/s2" -> "reduce";' in graph


def test_needs_are_checked_and_met(pipe: Pipe) -> None:
    program = (
        HEAD
        + """\
import json
jobs.add("a", "echo {cores} $HPCMAKE_MEM_MB $WHO > a; test -e again || { touch again; exit 1; }") \\
    .needs(cores=2, mem="1G", retries=1, env={"WHO": "me"}, resources={"licence": 1})
result = jobs.run(jobs=2, limits={"licence": 1})
found = [result.done, Path("a").read_text()]
counted = {"resources": {"mem_mb": 4}}
for wrong in ({"mem": 4}, {"cores": 0}, {"retries": {"bad": 1}}, {"env": "x"}, counted):
    jobs = buildhpc.JobList()
    jobs.add("a", "true").needs(**wrong)
    try:
        jobs.plan()
    except buildhpc.HpcmakeError as error:
        found.append(error.problems[0].slug)
print(json.dumps(found))
"""
    )
    found = python(pipe, program)
    assert found[:2] == [1, "2 1024 me\n"]
    assert found[2:] == ["no-unit", "bad-value", "bad-retries", "bad-directive", "no-resource"]


def test_functions_are_found_again_by_their_names(pipe: Pipe) -> None:
    pipe.write("lib/tools/__init__.py", "")
    pipe.write(
        "lib/tools/deep.py",
        "class Counter:\n"
        "    @staticmethod\n"
        "    def count(up_to):\n"
        "        print(sum(range(up_to)))\n",
    )
    program = """\
import sys
sys.path.insert(0, "lib")
import functools
import json
import buildhpc
from tools.deep import Counter

def shout(word, times=1, **more):
    print(word.upper() * times, *more.values())

def main():
    jobs = buildhpc.JobList()
    jobs.add("count", Counter.count, up_to=5)
    jobs.add("shout", functools.partial(shout, times=2), word="hey", of={"a": [1, None]})
    jobs.add("builtin", print)
    result = jobs.run(jobs=2)
    print(json.dumps([result.done, jobs.pipeline.logs()]))

if __name__ == "__main__":
    main()
"""
    logs = {"builtin": "\n", "count": "10\n", "shout": "HEYHEY {'a': [1, None]}\n"}
    assert python(pipe, program) == [3, logs]


def test_a_file_that_runs_its_list_when_it_is_imported_does_not_run_itself_again(
    pipe: Pipe,
) -> None:
    pipe.write("program.py", HEAD + "def f():\n    pass\njobs.add('a', f)\njobs.run()\n")
    subprocess.run([sys.executable, "program.py"], cwd=pipe.folder, timeout=60, check=True)
    assert "[run-while-imported]" in pipe.check("logs a").out


def test_an_edge_to_a_job_with_outputs_is_one_by_its_files(pipe: Pipe) -> None:
    text = HEAD + (
        "jobs.add('a', 'cp in a', inputs='in', outputs='a')\n"
        "jobs.add('b', 'touch b', after='a', outputs='b')\n"
        "jobs.add('t', 'cp a t', inputs='a', outputs=buildhpc.flagged('t', 'temp'))\n"
        "jobs.add('u', 'cp t u', inputs='t', outputs='u')\n"
    )
    pipe.write("in", "1")
    pipe.write("pipeline.py", text)
    pipe.check("-f pipeline.py -j2")
    assert pipe.files() == ["a", "b", "in", "pipeline.py", "u"]  # a temp file has gone
    pipe.write("in", "22")
    stale = pipe.check("-f pipeline.py -n -v").out
    assert "b: `a` will be made anew" in stale


def test_names_in_commands_are_those_of_shell_blocks(pipe: Pipe) -> None:
    text = HEAD + (
        "jobs.add('a', 'cat {input:file} | wc -l > {output}; echo {{x}} ${HOME:+y}',"
        " inputs=['in 1', 'in 2'], outputs='out a')\n"
    )
    pipe.write("in 1")
    pipe.write("in 2")
    pipe.write("pipeline.py", text)
    pipe.check("-f pipeline.py")
    assert pipe.read("out a") == "2\n"
    assert pipe.check("logs a").out == "{x} y\n"
    pipe.write("pipeline.py", text.replace("jobs.add(", "jobs.add( "))  # it says the same
    assert pipe.check("-f pipeline.py").out == "nothing to do: the job is fresh\n"
    pipe.write("pipeline.py", text.replace("{{x}}", "{inptu}"))
    told = pipe.check("-f pipeline.py", code=2).err
    place = "command of job `a`:1:43"
    assert f"--> {place}" in told
    assert "                   ^^^^^^^" in told
    assert "= note: the job is added here\n  --> pipeline.py:4:1\n" in told


WAITING = """\
import sys, time
from pathlib import Path
import buildhpc


def meet(name, others):
    Path(name).touch()
    while not all(Path(each).exists() for each in others):
        time.sleep(0.02)


NAMES = [f"m{n}" for n in range(6)]
jobs = buildhpc.JobList(logs="never")
for name in NAMES[:4]:
    jobs.add(name, meet, name=name, others=NAMES)
for name in NAMES[4:]:
    wait = "until test -e m0 -a -e m5; do sleep 0.02; done"
    jobs.add(name, f"touch {name}; {wait}; echo met; exit 3")
jobs.add("after", "touch after", after="m4")

if __name__ == "__main__":
    for wrong in ({"pool": "threads"}, {"max_workers": 4}, {"dry_run": True}):
        try:
            jobs.run(**wrong)
        except buildhpc.HpcmakeError as error:
            print(error.problems[0].notes[0].text)
    print(jobs.run(jobs=6, logs="here", keep_going=True))
"""


def test_more_wait_at_once_than_the_machine_has_cores_and_print_where_the_run_says(
    pipe: Pipe,
) -> None:
    """A pool of threads would do no more; what has a failed predecessor does not run."""
    pipe.write("program.py", WAITING)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=pipe.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = done.stdout.splitlines()
    assert told[0] == told[1] == "`jobs=4` runs four at a time, each in a process of its own"
    assert told[2].startswith("`plan()` tells what would run")
    assert "done=4, failed=2, skipped=1" in told[3]
    assert pipe.read("here/m4.1.out") == "met\n"
    assert not pipe.exists("never")
    assert not pipe.exists("after")
    # The command line says the same, and who tries again prints to the same folder.
    pipe.write(
        "pipeline.py",
        HEAD + "jobs.add('a', 'echo said; echo aside >&2; test -e ok', outputs='ok')\n",
    )
    pipe.check("-f pipeline.py --logs printed", code=1)
    assert (pipe.read("printed/a.1.out"), pipe.read("printed/a.1.err")) == ("said\n", "aside\n")
    pipe.path("printed/a.1.out").unlink()
    pipe.check("-f pipeline.py retry", code=1)
    assert pipe.read("printed/a.1.out") == "said\n"


def test_what_jobs_of_a_pipefile_print_goes_to_the_folder_too(pipe: Pipe, queue: Queue) -> None:
    pipe.write("hpcmake.toml", f'[cluster.here]\npoll = "1s"\n{queue.settings}')
    pipe.write(
        "Pipefile",
        """\
rule all:
    input: "a/b.x", "o"
rule x:
    output: "{n}.x"
    where: n = "[a-z/]+"
    retries: 1
    shell: "echo {n}; echo aside >&2; test {attempt} = 2; touch {output}"
rule own:
    output: "o"
    log: "own.log"
    shell: "echo own; touch o"
""",
    )
    for where in ("", "--cluster here "):
        pipe.check(f"{where}--logs told --force-all")
        names = [f"told/x n=a%2Fb.{kind}" for kind in ("1.err", "1.out", "2.err", "2.out")]
        assert [path for path in pipe.files() if path.startswith("told")] == names
        assert (pipe.read(names[2]), pipe.read(names[3])) == ("aside\n", "a/b\n")
        assert pipe.read("own.log") == "own\n"
        over = pipe.check(f"{where}-q --logs told --force-all")
        assert over.out == ""
        gone = pipe.check("logs 'x n=a/b' --attempt -4", says="").err
        assert "wrote over it" in gone
        pipe.check("logs 'x n=a/b' --out", says="a/b\n")
        assert "told" not in pipe.check("clean --unknown -n").out
        for name in names:
            pipe.path(name).unlink()


def test_settings_reach_the_file_that_builds_the_list(pipe: Pipe) -> None:
    pipe.write(
        "pipeline.py",
        "import buildhpc\nsaid = {'words': ['x'], **buildhpc.settings()}\n"
        "jobs = buildhpc.JobList()\n"
        "for word in said['words']:\n    jobs.add(word, f'echo {word}')\n",
    )
    assert pipe.check("-f pipeline.py -n").out.endswith("1 of 1 jobs would run\n")
    out = pipe.check("-f pipeline.py -n -v --set 'words=[a, b]'").out
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        "a",
        "b",
        "2 of 2 jobs would run",
    ]


def test_a_list_runs_on_a_cluster_and_retries_what_failed(pipe: Pipe, queue: Queue) -> None:
    pipe.write("hpcmake.toml", f'[cluster.here]\npoll = "1s"\n{queue.settings}')
    text = EXAMPLE.replace('["bash", "-c", "', '["bash", "-c", "test -e ok && ')
    pipe.write("pipeline.py", text)
    dry = pipe.check("-f pipeline.py -n --cluster here").out
    assert "<id of " in dry
    pipe.check("-f pipeline.py --cluster here", code=1)
    assert "1-1 at 0.5" in pipe.read("all.log")
    assert pipe.read("logs/1-2.1.err") == "aside\n"
    states = json.loads(pipe.check("status --state failed --json").out)["jobs"]
    assert [job["job"] for job in states] == ["2-1"]
    pipe.write("ok")
    pipe.check("-f pipeline.py retry")
    assert pipe.read("order.txt").split()[-1:] == ["2-1"]


def test_a_local_function_is_refused_where_it_is_added(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pipe.folder)
    jobs = buildhpc.JobList()
    with pytest.raises(buildhpc.HpcmakeError, match="a function inside another one") as told:
        jobs.add("a", _closure())
    span = told.value.problems[0].span
    assert span is not None
    assert "test_job_list.py" in span.place
    assert len(jobs) == 0
    found = reference("it", python, Place(__file__, 1))
    assert found.target == "test_job_list:python"


def _closure() -> Any:
    def inner() -> None:
        """Nothing that a worker could find."""

    return inner


ON_SLURM = """\
import json
import sys
import buildhpc
from pathlib import Path


def fit(seed):
    Path("fitted").write_text(str(seed))


if __name__ == "__main__":
    jobs = buildhpc.JobList(logs="logs", mem="50M", time="5m")
    jobs.add("prepare", "echo ready > prepared")
    jobs.add("fit", fit, seed=7, after="prepare")
    jobs.add("broken", "echo cannot >&2; exit 5", after="prepare")
    jobs.add("test", "touch tested", after=["fit", "broken"])
    jobs.add("report", "touch reported", after="test")
    first = jobs.submissions(cluster="slurm")
    result = jobs.run(cluster="slurm")
    states = {row.name: row.state for row in jobs.pipeline.jobs()}
    failed = result.failures[0]
    told = [failed.name, failed.exit_code, list(failed.log)]
    ids = [each.used.scheduler_id for each in jobs.pipeline.attempts("fit")]
    print(json.dumps([result.code, states, told, ids, first]))
"""


def test_a_failure_on_slurm_cancels_what_follows(pipe: Pipe, slurm: Slurm) -> None:
    scene = slurm_scene(pipe, slurm)
    pipe.write("program.py", ON_SLURM)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=pipe.folder, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, **scene.env},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    code, states, failed, ids, first = json.loads(done.stdout)
    assert code == 1
    assert states == {
        "prepare": "done", "fit": "done", "broken": "failed", "test": "skipped",
        "report": "skipped",
    }  # fmt: skip
    assert failed == ["broken", 5, ["cannot"]]
    assert ids[0].partition("_")[0].isdigit()
    assert any("--dependency=afterok:<id of prepare>" in line for line in first)
    assert pipe.read("fitted") == "7"
    assert pipe.read("logs/broken.1.err") == "cannot\n"
    assert not pipe.exists("tested")
    scene.empty()


OWN = """\
from buildhpc.schedulers.local import Local


class Noted(Local):
    def submit(self, ask, script):
        with open("noted", "a") as file:
            file.write(ask.name + "\\n")
        return super().submit(ask, script)
"""


def test_a_scheduler_of_ones_own_is_named_or_passed_in_the_call(pipe: Pipe, queue: Queue) -> None:
    pipe.write("own.py", OWN)
    program = (
        HEAD
        + """\
import json, sys
sys.path.insert(0, "")
from own import Noted
jobs.add("a", "touch a", outputs="a")
jobs.add("b", "touch b", after="a", outputs="b")
more = {"poll": "1s", "max_submitted": 2, "spool": "SPOOL"}
result = jobs.run(cluster="mine", scheduler=Noted, cluster_options=more)
print(json.dumps([result.done, len(Path("noted").read_text().split())]))
"""
    )
    program = program.replace("SPOOL", str(queue.spool))
    # The two, and the small job between them that has no more to go by than the name of the class.
    assert python(pipe, program) == [2, 3]
    pipe.write(
        "hpcmake.toml",
        f'[cluster.theirs]\npoll = "1s"\n{queue.settings}'.replace('"local"', '"own:Noted"'),
    )
    pipe.write("Pipefile", 'rule c:\n    output: "c"\n    shell: "touch c"\n')
    pipe.check("--cluster theirs")
    assert len(pipe.read("noted").split()) == 4
    wrong = pipe.check("--cluster theirs --cluster-option scheduler=own:Noten --force", code=2)
    assert "error[broken-scheduler]" in wrong.err
