"""What jobs say and ask from inside: `hpcmake set`, `hpcmake show --self`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from cluster_scenes import Scene, wait_until
from conftest import Pipe
from real_schedulers import Slurm
from slurm_scenes import slurm_scene

from buildhpc.state import notes, queries
from buildhpc.state.database import State, open_state, read_state
from buildhpc.state.inbox import fold

# Whoever runs the tests may have no hpcmake on PATH: jobs find the one that runs them.
PATH = {"PATH": os.defpath}

TALKING = """\
rule all:
    input: "a.x", "b.x"
rule mk:
    output: "{s}.x"
    params: digits = 3
    shell:
        hpcmake set phase='read in' progress=12/40 reads=48211 label=abc ok=true old=1
        hpcmake set phase=sort progress=70% quoted='"12"' old=null
        hpcmake show --self --json > {wildcards.s}.json
        hpcmake show --self
        echo "$HPCMAKE_JOB" > path
        touch {output}
"""
SAID = {
    "label": "abc",
    "ok": True,
    "phase": "sort",
    "progress": 0.7,
    "quoted": "12",
    "reads": 48211,
}


def state_of(pipe: Pipe) -> State:
    state = read_state(pipe.folder)
    assert state is not None
    return state


def said_of(pipe: Pipe, job: str) -> list[dict[str, notes.Value]]:
    """What each attempt of a job said of itself."""
    state = state_of(pipe)
    rows = queries.attempts(state, job)
    found = notes.said(state, [row.id for row in rows])
    return [found.get(row.id, {}) for row in rows]


def test_what_a_job_says_of_itself_is_kept_shown_and_asked_for(pipe: Pipe) -> None:
    pipe.write("Pipefile", TALKING)
    pipe.run("-j2", env=PATH)
    assert [said_of(pipe, f"mk s={s}") for s in "ab"] == [[SAID], [SAID]]
    assert os.listdir(pipe.path(".hpcmake/inbox")) == []
    own = json.loads(pipe.read("a.json"))
    known = {key: own[key] for key in ("name", "run", "attempt", "output", "wildcards", "params")}
    assert known == {
        **{"name": "mk s=a", "run": 2, "attempt": 1, "output": ["a.x"]},
        **{"wildcards": {"s": "a"}, "params": {"digits": 3}},
    }
    assert own["values"] == SAID
    assert '  values     phase = "sort"\n' in pipe.run("logs", "a.x").out
    shown = json.loads(pipe.run("show", "--json", "a.x").out)
    assert shown["attempts"][0]["values"] == SAID
    assert "    progress: 70%\n    quoted: 12\n" in pipe.run("show", "a.x").out
    asked = "meta.reads > 3 and phase = 'sort' and progress between 0.6 and 0.8 and meta.ok"
    assert "mk s=b" in pipe.run("status", "--where", asked).out
    assert pipe.run("status", "--where", "meta.reads < 3").out == "no jobs\n"


def test_people_say_things_of_jobs_that_are_named(pipe: Pipe) -> None:
    pipe.write("Pipefile", 'rule mk:\n    output: "{s}.x"\n    shell: "touch {output}"\n')
    pipe.run("a.x", "b.x", "c.x")
    pipe.check("set a.x 'mk s=b' priority=7 seen=yes", says="2 jobs set\n")
    pipe.check("set --where \"s = 'b'\" priority=-2 phase=checked", says="1 job set\n")
    assert said_of(pipe, "mk s=b") == [{"seen": "yes", "phase": "checked"}]
    listed = pipe.run("status", "--where", "priority > 0 and meta.seen = 'yes'").out
    assert listed.splitlines()[3:4] == ["mk s=a"]
    # What is said of an attempt is not said of the next one; a job stays as it was set.
    pipe.run("--force", "a.x")
    assert said_of(pipe, "mk s=a") == [{"seen": "yes"}, {}]
    assert "mk s=a" in pipe.run("status", "--where", "priority = 7").out
    pipe.run("forget", "--yes", "b.x")
    left = state_of(pipe).read(
        lambda connection: [
            connection.execute("SELECT count(*) FROM setting").fetchone()[0],
            connection.execute("SELECT count(DISTINCT attempt) FROM note").fetchone()[0],
        ]
    )
    assert left == [1, 1]
    pipe.run("reset", "--yes", "c.x")
    refused = pipe.run("set", "mk", "s=a", "priority=1")
    assert [refused.code, refused.err.splitlines()[0]] == [
        2,
        "error[bad-setting]: `s` is a wildcard of `mk s=a`, and cannot be set",
    ]


def test_the_last_word_counts_and_a_torn_note_is_put_aside(pipe: Pipe) -> None:
    pipe.write("Pipefile", 'rule a:\n    output: "a"\n    shell: "touch {output}"\n')
    pipe.run()
    state = open_state(pipe.folder)
    inbox = str(state.home / "inbox")
    now_ns = time.time_ns()
    for at_ns, phase in ((now_ns, "late"), (now_ns - 5, "early"), (now_ns - 9, "first")):
        notes.write(inbox, notes.Note(2, "a", 1, at_ns, {"phase": phase}), [None])
    notes.write(inbox, notes.Note(9, "a", 1, now_ns, {"phase": "of a run to come"}), [None])
    notes.write(inbox, notes.Note(9, "a", 1, now_ns - 2 * 3600 * 10**9, {"x": 1}), [None])
    torn = Path(inbox, sorted(os.listdir(inbox))[0])
    torn.write_bytes(torn.read_bytes()[:-4])
    (problem,) = fold(state).problems
    assert [problem.slug, said_of(pipe, "a")] == ["bad-receipt", [{"phase": "late"}]]
    left = sorted(os.listdir(inbox))
    assert [name for name in left if not name.endswith(".bad")] == [
        f"note-9-{now_ns}-" + left[-1][-8:]
    ]
    assert f"{torn.name}.bad" in left
    # An older one that comes later changes nothing.
    notes.write(inbox, notes.Note(2, "a", 1, now_ns - 1, {"phase": "older", "n": 1}), [None])
    assert "phase: late" in pipe.run("show", "a").out
    assert said_of(pipe, "a") == [{"n": 1, "phase": "late"}]


SLOW = """\
rule slow:
    output: "out"
    shell:
        hpcmake set phase=waiting progress=1/3
        hpcmake show --self --json > own
        touch said
        until [ -e go ]; do sleep 0.05; done
        hpcmake set phase=done
        touch {output}
"""


def test_on_slurm_a_lock_that_is_held_stops_nobody(pipe: Pipe, slurm: Slurm) -> None:
    scene: Scene = slurm_scene(pipe, slurm)
    pipe.write("Pipefile", SLOW)
    with scene.following() as front:
        wait_until(lambda: pipe.exists("said"), "the job has said where it is")
        scene.wait_for(
            lambda: said_of(pipe, "slow") == [{"phase": "waiting", "progress": 0.333333}],
            "it is known",
        )
        told = scene.run("status").out
        assert ": waiting, 33%" in told
        own = json.loads(pipe.read("own"))
        assert own["scheduler_id"] and own["values"]["phase"] == "waiting"
        with open_state(pipe.folder).locked():
            pipe.write("go")
            wait_until(lambda: pipe.exists("out"), "the job goes on without the lock")
        scene.finish(front)
    assert said_of(pipe, "slow") == [{"phase": "done", "progress": 0.333333}]


def test_saying_something_loads_little(tmp_path: Path) -> None:
    own = {"home": str(tmp_path / "home"), "run": 2}
    (tmp_path / "job").write_text(json.dumps({"name": "a", "attempt": 1, "self": own}))
    code = (
        "import sys, buildhpc.cli as c\n"
        "c.main(['set', 'phase=a'])\n"
        "bad = {'lark', 'rich', 'sqlite3', 'filelock', 'yaml'} & set(sys.modules)\n"
        "print(*bad)"
    )
    env = {**os.environ, "HPCMAKE_JOB": str(tmp_path / "job")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert [done.stdout, done.stderr, done.returncode] == ["\n", "", 0]
    assert len(os.listdir(tmp_path / "home/inbox")) == 1
