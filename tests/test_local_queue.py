"""Scheduler `local`: the queue of this machine, with real processes."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from own_queue import server_of

from buildhpc.run import processes
from buildhpc.schedulers.local import Local
from buildhpc.schedulers.local_jobs import Book, Limits, Wish
from buildhpc.schedulers.local_processes import Processes
from buildhpc.schedulers.local_server import Server
from buildhpc.schedulers.local_spool import Journal, Spool
from buildhpc.schedulers.protocol import (
    Answer,
    Ask,
    Edge,
    Queued,
    Request,
    Switches,
    UnreadableError,
    Verdict,
)

HOST = os.uname().nodename


class Queue:
    """A queue of its own, spoken to as hpcmake does."""

    def __init__(self, folder: Path, **switches: str) -> None:
        self.folder = folder
        self.spool = folder / "spool"
        self.local = Local(Switches({"spool": str(self.spool), "cores": "2", **switches}))
        self.count = 0

    def run(self, command: list[str], env: dict[str, str] | None = None) -> Answer:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=60, env={**os.environ, **(env or {})},
        )  # fmt: skip
        return Answer(done.returncode, done.stdout, done.stderr)

    def ask(self, body: str, request: Request | None = None, **more: Any) -> Ask:
        self.count += 1
        request = request or Request(options=("--grace=1",))
        facts = {"folder": str(self.folder), "output": str(self.folder / "out"), **more}
        return Ask(f"job{self.count}", body, request, **facts)

    def script(self, ask: Ask) -> str:
        path = self.folder / f"{ask.name}.sh"
        path.write_text(self.local.script(ask))
        return str(path)

    def answer(self, ask: Ask, env: dict[str, str] | None = None) -> Answer:
        return self.run(self.local.submit(ask, self.script(ask)), env)

    def submit(self, body: str, request: Request | None = None, **more: Any) -> str:
        answer = self.answer(self.ask(body, request, **more))
        scheduler_id = self.local.scheduler_id(answer)
        assert scheduler_id, answer
        return scheduler_id

    def do(self, commands: list[list[str]]) -> None:
        for command in commands:
            answer = self.run(command)
            assert answer == Answer(0, "", "")

    def queued(self) -> dict[str, Queued]:
        return {each.id: each for each in self.local.in_queue(self.run(self.local.queue("me")))}

    def states(self) -> dict[str, str]:
        return {name: each.state for name, each in self.queued().items()}

    def verdicts(self, *ids: str) -> dict[str, Verdict]:
        (command,) = self.local.finished(ids)
        return self.local.verdicts(self.run(command))

    def ends(self, *ids: str) -> list[str]:
        """How jobs ended, once all of them have."""
        wait_for(lambda: self.verdicts(*ids).keys() >= set(ids))
        found = self.verdicts(*ids)
        return [found[each].failure for each in ids]

    def text(self) -> str:
        return (self.folder / "out").read_text()

    def path(self, name: str) -> Path:
        return self.spool / f"queue-{HOST}" / name

    def server(self) -> int | None:
        """The process of the server, None where none lives."""
        return server_of(self.spool)

    def kill_server(self) -> None:
        pid = self.server()
        assert pid
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: self.server() is None)


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.05)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    made = Queue(tmp_path)
    yield made
    ids = list(made.queued())
    made.do(made.local.cancel(ids))
    wait_for(lambda: not made.queued())
    wait_for(lambda: made.server() is None)


def test_a_job_runs_in_its_folder_and_outlives_who_submitted_it(queue: Queue) -> None:
    job = queue.submit("pwd; echo $element; umask; exit 3")
    assert re.fullmatch(r"[a-z0-9]{4}-1", job)
    assert queue.ends(job) == ["exit"]
    umask = os.umask(0o022)
    os.umask(umask)
    assert queue.text() == f"{queue.folder}\n0\n{umask:04o}\n"
    assert queue.verdicts(job) == {job: Verdict("exit", "exit code 3", True, 3, HOST)}
    assert queue.states() == {}


def test_the_server_ends_when_nothing_is_left_and_the_queue_still_remembers(queue: Queue) -> None:
    job = queue.submit("true")
    assert queue.ends(job) == [""]
    wait_for(lambda: queue.server() is None)
    folder = os.open(queue.path(""), os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody holds it
    os.close(folder)
    assert not queue.path("socket").exists()
    assert list(queue.path("scripts").iterdir()) == []
    assert list(queue.path("ends").iterdir()) == []
    assert queue.path("server.log").read_text() == ""
    assert queue.ends(job) == [""]
    assert queue.server() is None  # a question starts no server


def test_what_is_asked_before_anything_was_submitted_makes_no_folder(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    assert queue.queued() == {}
    assert queue.verdicts("abcd-1") == {}
    queue.do(queue.local.cancel(["abcd-1"]))
    assert not queue.spool.exists()


WAIT = "until [ -e go ]; do sleep 0.05; done"


def test_elements_run_side_by_side_as_far_as_the_cores_go(queue: Queue) -> None:
    array = queue.submit(f"echo $element >> begun; {WAIT}", elements=3)
    wait_for(lambda: sorted(queue.states().values()) == ["queued", "running", "running"])
    last = queue.queued()[f"{array}_2"]
    assert (last.state, last.reason, last.name) == ("queued", "resources", "job1")
    (queue.folder / "go").touch()
    assert queue.ends(*(f"{array}_{k}" for k in range(3))) == ["", "", ""]
    assert sorted((queue.folder / "begun").read_text().split()) == ["0", "1", "2"]


def test_memory_is_shared_out_and_small_jobs_overtake(tmp_path: Path) -> None:
    queue = Queue(tmp_path, cores="9", mem="100")
    first = queue.submit(WAIT, Request(mem_mib=60))
    large = queue.submit("true", Request(mem_mib=60))
    small = queue.submit("true", Request(mem_mib=40))
    assert queue.ends(small) == [""]
    assert queue.states() == {first: "running", large: "queued"}
    (tmp_path / "go").touch()
    assert queue.ends(first, large) == ["", ""]


def test_a_held_job_waits_for_its_release_without_a_server(queue: Queue) -> None:
    job = queue.submit("true", held=True)
    after = queue.submit("true", after=(Edge(job, "ok"),))
    seen = queue.queued()
    assert (seen[job].state, seen[after].state) == ("held", "queued")
    assert seen[after].reason == f"waits for {job}"
    assert queue.server() is None
    queue.do(queue.local.release([job]))
    assert queue.ends(job, after) == ["", ""]


EDGES = [
    # body and elements of a job, what waits for it and how, its elements, how they end
    ("exit 0", 0, Edge("{id}", "ok"), 0, [""]),
    ("exit 1", 0, Edge("{id}", "ok"), 0, ["unmet"]),
    ("exit 1", 0, Edge("{id}", "any"), 0, [""]),
    ("exit 1", 0, Edge("{id}", "ok"), 2, ["unmet", "unmet"]),
    ("exit $element", 2, Edge("{id}", "ok"), 0, ["unmet"]),
    ("exit $element", 2, Edge("{id}", "any"), 0, [""]),
    ("exit $element", 2, Edge("{id}_0", "ok"), 0, [""]),
    ("exit $element", 2, Edge("{id}_1", "ok"), 0, ["unmet"]),
    ("exit $element", 2, Edge("{id}_1", "any"), 2, ["", ""]),
    ("exit $element", 2, Edge("{id}", "element"), 2, ["", "unmet"]),
]


@pytest.mark.parametrize("already", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("case", EDGES)
def test_edges(queue: Queue, already: bool, case: tuple[str, int, Edge, int, list[str]]) -> None:
    """already: what is waited for has ended when the edge is made."""
    body, elements, edge, waiting, ends = case
    first = queue.submit(body, elements=elements, held=not already)
    if already:
        queue.ends(*([f"{first}_{k}" for k in range(elements)] or [first]))
    edge = Edge(edge.id.format(id=first), edge.kind)
    after = queue.submit("true", elements=waiting, after=(edge,))
    queue.do(queue.local.release([first]))
    assert queue.ends(*([f"{after}_{k}" for k in range(waiting)] or [after])) == ends


def test_what_can_never_run_is_cancelled_down_the_chain(queue: Queue) -> None:
    first = queue.submit("exit 1", held=True)
    second = queue.submit("true", after=(Edge(first, "ok"),))
    third = queue.submit("true", after=(Edge(second, "ok"),))
    late = queue.submit("echo late", after=(Edge(third, "any"), Edge(first, "any")))
    queue.do(queue.local.release([first]))
    assert queue.ends(second, third, late) == ["unmet", "unmet", ""]
    assert queue.text() == "late\n"
    found = queue.verdicts(second)[second]
    assert found.said == f"never: it waits for {first}, which did not end well"
    assert found.began is False


def test_cancelling_what_waits_and_what_is_waited_for(queue: Queue) -> None:
    array = queue.submit("true", elements=3, held=True)
    after = queue.submit("true", elements=3, after=(Edge(array, "element"),))
    queue.do(queue.local.cancel([f"{array}_1", "gone-1", f"{array}_9"]))
    assert queue.verdicts(array) == {
        f"{array}_1": Verdict("cancelled", "cancelled before it ran", False, None, HOST)
    }
    queue.do(queue.local.release([array]))
    assert queue.ends(*(f"{after}_{k}" for k in range(3))) == ["", "unmet", ""]


ESCAPES = """\
trap 'echo told >> told' TERM
(setsid bash -c 'trap "" TERM HUP; echo $$ >> pids; sleep 1000 & echo $! >> pids; wait' &)
(trap "" TERM; echo $BASHPID >> pids; exec sleep 1000) &
echo $$ >> pids
while :; do wait; done
"""


def test_cancel_ends_a_job_with_all_that_it_started(queue: Queue) -> None:
    job = queue.submit(ESCAPES)
    wait_for(lambda: (queue.folder / "pids").exists())
    wait_for(lambda: len((queue.folder / "pids").read_text().split()) == 4)
    pids = [int(word) for word in (queue.folder / "pids").read_text().split()]
    queue.do(queue.local.cancel([job]))
    assert queue.states()[job] == "running"  # it is asked first
    assert queue.ends(job) == ["cancelled"]
    assert (queue.folder / "told").read_text() == "told\n"
    assert [each for each in pids if gone(each)] == pids


def gone(pid: int) -> bool:
    found = processes.process(pid)
    return found is None or found.state in "ZX"


def test_what_a_job_leaves_in_its_group_ends_with_it(queue: Queue) -> None:
    job = queue.submit("sleep 1000 & echo $! > left")
    assert queue.ends(job) == [""]
    wait_for(lambda: gone(int((queue.folder / "left").read_text())))


LIMIT = """\
trap 'echo USR1' USR1
trap 'echo TERM' TERM
for second in {1..100}; do sleep 1 & wait; done
"""


def test_the_end_of_the_time_is_told_then_asked_for_then_enforced(queue: Queue) -> None:
    request = Request(time_s=4, options=("--warn=1", "--grace=1"))
    started_s = time.monotonic()
    job = queue.submit(LIMIT, request)
    assert queue.ends(job) == ["timeout"]
    assert 5 <= time.monotonic() - started_s < 10
    assert queue.text() == "USR1\nTERM\n"
    assert queue.verdicts(job)[job].said == "timeout after 4 s"


def test_a_job_that_is_killed_tells_by_what(queue: Queue) -> None:
    job = queue.submit("kill -9 $$")
    launcher = queue.submit("kill -9 $PPID; sleep 1000")
    assert queue.ends(job, launcher) == ["signal", "signal"]
    assert queue.verdicts(job)[job].said == "exit code 137"
    assert queue.verdicts(launcher)[launcher].said == "killed by SIGKILL"


def test_jobs_go_on_when_the_server_is_killed_and_the_next_command_finds_them(
    queue: Queue,
) -> None:
    goes_on = queue.submit(f"{WAIT}; echo went on; exit 4")
    ends_alone = queue.submit("touch begun; until [ -e end ]; do sleep 0.05; done; exit 5")
    waits = queue.submit("true", after=(Edge(goes_on, "any"), Edge(ends_alone, "any")))
    wait_for((queue.folder / "begun").exists)
    wait_for(lambda: queue.states()[goes_on] == "running")
    queue.kill_server()
    (queue.folder / "end").touch()
    wait_for(lambda: (queue.path("ends") / ends_alone).exists())
    assert queue.states() == {goes_on: "running", ends_alone: "running", waits: "queued"}
    wait_for(lambda: queue.server() is not None)
    assert queue.ends(ends_alone) == ["exit"]
    (queue.folder / "go").touch()
    assert queue.ends(goes_on, waits) == ["exit", ""]
    assert queue.verdicts(goes_on)[goes_on].exit_code == 4
    assert queue.text() == "went on\n"


def test_a_later_server_cancels_what_an_earlier_one_started(queue: Queue) -> None:
    job = queue.submit(ESCAPES)
    wait_for(lambda: (queue.folder / "pids").exists())
    wait_for(lambda: len((queue.folder / "pids").read_text().split()) == 4)
    queue.kill_server()
    queue.do(queue.local.cancel([job]))
    assert queue.ends(job) == ["cancelled"]
    pids = map(int, (queue.folder / "pids").read_text().split())
    assert all(map(gone, pids))


def test_a_job_submitted_by_a_job_leaves_a_server_that_its_cancelling_spares(
    queue: Queue,
) -> None:
    words = queue.local.submit(queue.ask(""), "inner.sh")
    inner = queue.ask(f"touch inner; {WAIT}")
    Path(queue.script(inner)).rename(queue.folder / "inner.sh")
    outer = queue.submit(f"kill -9 $(pgrep -f 'serve.*{queue.spool}'); {' '.join(words)}; sleep 99")
    wait_for((queue.folder / "inner").exists)
    server = queue.server()
    queue.do(queue.local.cancel([outer]))
    assert queue.ends(outer) == ["cancelled"]
    assert queue.server() == server
    assert list(queue.states().values()) == ["running"]
    (queue.folder / "go").touch()


def test_a_start_that_was_not_written_down_is_made_again(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "spool"))
    assert spool.lock()
    server = Server(spool)
    submitted = server.answer(submission("touch ran", folder=str(tmp_path)))
    (element,) = server.book.find(submitted["out"].strip())
    pid, begun = server.processes.prepare(element, [])
    place = {"boot": server.processes.boot, "pid": pid, "begun": begun, "gpus": []}
    server.journal.write({"event": "start", "id": element.job.id, "index": 0, "at_s": 0, **place})
    pipe = server.processes._children[pid].stdin  # the server dies here
    assert pipe
    pipe.close()
    wait_for(lambda: spool.read("ends", element.id) == "again")
    assert not (tmp_path / "ran").exists()
    while element.state != "ended":
        server.step()
        time.sleep(0.02)
    assert element.end["failure"] == ""
    assert (tmp_path / "ran").exists()


def submission(body: str, mark: str = "m", **wish: Any) -> bytes:
    context = {"env": dict(os.environ), "umask": "0022", "mark": mark}
    words = {"name": "a", "after": [], **wish}
    limits: dict[str, int] = {}
    whole = {"do": "submit", "script": body, "wish": words, "context": context, "limits": limits}
    return json.dumps(whole).encode()


def test_a_submission_whose_answer_was_lost_is_made_once(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "spool"))
    assert spool.lock()
    server = Server(spool)
    first = server.answer(submission("true", "one"))
    assert server.answer(submission("true", "one")) == first
    assert server.answer(submission("true", "two")) != first


def test_a_reboot_ends_what_ran_and_keeps_what_waits(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "spool"))
    assert spool.lock()
    journal = Server(spool).journal
    for mark in ("one", "two"):
        Server(spool).answer(submission("true", mark))
    journal = Journal(spool)
    ran, waits = (job.elements[0] for job in journal.book.jobs.values())
    place = {"boot": "another", "pid": os.getpid(), "begun": 1, "gpus": [], "at_s": 1.0}
    journal.write({"event": "start", "id": ran.job.id, "index": 0, **place})
    server = Server(spool)
    ((element, end),) = Processes(spool).ended(server.book.running.values())
    assert (element.id, end["failure"]) == (ran.id, "node")
    assert server.book.find(waits.id)[0].state == "ready"


def test_a_journal_that_stops_in_the_middle_of_a_line_is_read_up_to_it(tmp_path: Path) -> None:
    spool = Spool(str(tmp_path / "spool"))
    assert spool.lock()
    server = Server(spool)
    kept = server.answer(submission("true", "one"))["out"].strip()
    with Path(spool.path("journal")).open("ab") as file:
        file.write(b'{"event":"job","id":"half')
    again = Server(spool)
    assert list(again.book.jobs) == [kept]
    again.answer(submission("true", "two"))
    assert len(Server(spool).book.jobs) == 2


def test_jobs_submitted_all_at_once_each_get_an_id_of_their_own(queue: Queue) -> None:
    commands = []
    for _ in range(20):
        ask = queue.ask("true")
        commands.append(queue.local.submit(ask, queue.script(ask)))
    started = [subprocess.Popen(each, stdout=subprocess.PIPE, text=True) for each in commands]
    ids = [each.communicate(timeout=60)[0].strip() for each in started]
    assert len(set(ids)) == 20
    assert queue.ends(*ids) == [""] * 20


REFUSED = [
    (Request(cores=3), {}, "3 cores are asked for, and there are 2"),
    (Request(options=("--nice=5",)), {}, "there is no option `--nice=5`"),
    (Request(options=("--grace=-1",)), {}, "there is no option `--grace=-1`"),
    (Request(), {"after": (Edge("gone-7"),)}, "there is no job `gone-7` to wait for"),
    (Request(), {"elements": 100_001}, "an array has at most 100,000 elements, not 100,001"),
]


@pytest.mark.parametrize(("request_", "more", "says"), REFUSED)
def test_what_is_refused_says_why(
    queue: Queue, request_: Request, more: dict[str, Any], says: str
) -> None:
    ask = queue.ask("true", request_, **more)
    script = queue.script(ask)
    validate = queue.local.validate(ask, script)
    assert validate
    for command in (validate, queue.local.submit(ask, script)):
        answer = queue.run(command)
        assert answer == Answer(1, "", f"hpcmake queue: {says}\n")
        assert queue.local.scheduler_id(answer) is None
        assert queue.local.refusal(answer) == "wrong"
    assert queue.states() == {}


def test_a_spool_that_others_could_write_is_refused(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    queue.path("").mkdir(parents=True)
    queue.path("").chmod(0o777)
    answer = queue.answer(queue.ask("true"))
    folder = str(queue.path("")).rstrip("/")
    assert answer.err == f"hpcmake queue: `{folder}` is open to others: chmod 700 it\n"
    if os.getuid() == 0:
        queue.path("").chmod(0o700)
        os.chown(queue.path(""), 12345, -1)
        answer = queue.answer(queue.ask("true"))
        assert answer.err == f"hpcmake queue: `{folder}` belongs to somebody else\n"


def test_a_job_has_the_environment_it_was_submitted_in(queue: Queue) -> None:
    (queue.folder / "start").write_text("loaded=yes\n")
    env = {"WORD": "two\nlines", "BASH_ENV": str(queue.folder / "start"), "HPCMAKE_QUEUE_X": "1"}
    ask = queue.ask('echo "$WORD" $loaded "$BASH_ENV" ${HPCMAKE_QUEUE_X-none}')
    job = queue.local.scheduler_id(queue.answer(ask, env))
    assert job
    assert queue.ends(job) == [""]
    assert queue.text() == f"two\nlines yes {queue.folder}/start none\n"


def test_a_folder_or_an_output_that_cannot_be_had_is_told(queue: Queue) -> None:
    folder = queue.submit("touch ran", folder=str(queue.folder / "none"))
    output = queue.submit("touch ran", output=str(queue.folder / "none" / "out"))
    assert queue.ends(folder, output) == ["launch", "launch"]
    said = queue.verdicts(folder, output)
    assert said[folder].said == f"the folder {queue.folder}/none cannot be entered"
    assert said[output].said == f"the file {queue.folder}/none/out cannot be written"
    assert not (queue.folder / "ran").exists()


def test_a_server_that_waits_does_nothing(queue: Queue) -> None:
    queue.submit("sleep 1000")
    wait_for(lambda: "running" in queue.states().values())
    wait_for(lambda: queue.server() is not None)
    pid = queue.server()
    assert pid
    time.sleep(0.5)  # what it had to do is done
    before = switches(pid)
    time.sleep(1)
    assert switches(pid) - before <= 1


def switches(pid: int) -> int:
    """How often a process has gone to sleep."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.MULTILINE)[0])


UNREADABLE = [
    Answer(None, "", ""),
    Answer(1, '{"count":0}\n', ""),
    Answer(0, "", ""),
    Answer(0, "no\n", ""),
    Answer(0, '{"count":2}\n["a-1","n","held","",""]\n', ""),
    Answer(0, '{"count":1}\n["a-1","n","hel', ""),
    Answer(0, '{"count":1}\n["a-1"]\n', ""),
]


@pytest.mark.parametrize("answer", UNREADABLE)
def test_an_answer_that_is_not_whole_is_no_answer(answer: Answer) -> None:
    local = Local(Switches())
    with pytest.raises(UnreadableError):
        local.in_queue(answer)
    with pytest.raises(UnreadableError):
        local.verdicts(answer)


@pytest.mark.parametrize("answer", [Answer(None, "", ""), Answer(0, "", ""), Answer(1, "", "x")])
def test_a_submission_that_cannot_be_understood_is_neither_taken_nor_refused(
    answer: Answer,
) -> None:
    with pytest.raises(UnreadableError):
        Local(Switches()).scheduler_id(answer)


def test_the_script_says_all_that_is_asked_for() -> None:
    request = Request(cores=2, mem_mib=500, time_s=600, gpus=1, options=("--grace=5",))
    edges = (Edge("ab12-1", "ok"), Edge("ab12-2_3", "any"))
    ask = Ask("r1.s1", "echo hi", request, "/a b", '/a"b\n', 3, edges, held=True)
    assert (
        Local(Switches()).script(ask)
        == """\
#!/usr/bin/env bash
#QUEUE --name=r1.s1
#QUEUE --folder="/a b"
#QUEUE --output="/a\\"b\\n"
#QUEUE --cores=2
#QUEUE --elements=3
#QUEUE --mem=500
#QUEUE --gpus=1
#QUEUE --time=600
#QUEUE --warn=60
#QUEUE --after=ok:ab12-1
#QUEUE --after=any:ab12-2_3
#QUEUE --held
#QUEUE --grace=5
element=$HPCMAKE_QUEUE_ELEMENT
echo hi
"""
    )


def end(job: str, failure: str = "", index: int = 0, at_s: float = 0.0) -> dict[str, Any]:
    return {"event": "end", "id": job, "index": index, "failure": failure, "at_s": at_s}


def job_event(job: str, **wish: Any) -> dict[str, Any]:
    words = {"name": job, "after": [], **wish}
    return {"event": "job", "id": job, "wish": words, "context": {"mark": job}}


def test_a_book_written_anew_is_the_same_book() -> None:
    book = Book()
    book.apply({"event": "counted", "last": 0, "prefix": "p"})
    book.apply({"event": "limits", "cores": 4})
    book.apply(job_event("p-1", elements=3))
    book.apply(job_event("p-2", elements=3, after=[["element", "p-1"]]))
    book.apply(job_event("p-3", after=[["ok", "p-2"]], held=True))
    book.apply(end("p-1", index=0))
    book.apply(end("p-1", "exit", index=1))
    start = {"event": "start", "id": "p-1", "index": 2, "gpus": []}
    book.apply(start)
    again = Book()
    for event in json.loads(json.dumps(list(book.events()))):
        again.apply(event)
    assert told(again) == told(book)
    assert [each.id for each in again.unmet] == [each.id for each in book.unmet] == ["p-2_1"]
    assert again.refusal(Wish("x", cores=4), Limits(again.said["cores"], None)) == ""


def told(book: Book) -> list[tuple[str, str, int, int]]:
    found = [each for job in book.jobs.values() for each in job.elements]
    return [(each.id, each.state, each.waits, each.job.waits) for each in found]


def test_what_ended_long_ago_is_forgotten_unless_somebody_waits_for_it() -> None:
    book = Book()
    for number in range(1, 5):
        book.apply(job_event(f"p-{number}"))
        book.apply(end(f"p-{number}", at_s=number))
    book.apply(job_event("p-5", after=[["ok", "p-1"]], held=True))
    book.forget(4)
    assert list(book.jobs) == ["p-1", "p-4", "p-5"]
    assert book.marks.keys() == {"p-1", "p-4", "p-5"}
    assert book.last == 5


def test_the_program_runs_with_nothing_but_the_standard_library(tmp_path: Path) -> None:
    queue = Queue(tmp_path)
    command = queue.local.queue("me")
    assert command[1:3] == ["-I", "-S"]
    assert command[0] == sys.executable
    answer = queue.run([*command[:3], command[3], "nonsense"])
    assert answer.code == 2
    assert answer.err.startswith("hpcmake queue: the first word is one of submit, check, queue")
