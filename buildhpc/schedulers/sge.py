"""Grid Engine: SGE, SoGE, UGE. Source: manual pages of SGE 8.1.9; answers tried with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar
from xml.etree import ElementTree

from buildhpc.schedulers.protocol import (
    Abilities,
    Answer,
    Ask,
    Queued,
    Refusal,
    Request,
    State,
    Switches,
    Verdict,
)
from buildhpc.schedulers.scripts import chunks, job_script, numbers, plain, share, unreadable

_IN_DOUBT = ("failed receiving gdi request", "receive timeout")
_LATER = (
    *_IN_DOUBT,
    "unable to send message to qmaster",
    "unable to contact qmaster",
    "can't connect to",
    "cannot connect to",
    "commlib error",
    "qmaster is not",
)
_NO_RECORD = re.compile(r"job id \S+ not found|no jobs running since startup")
_TOO_MANY = 25  # the exit code of qsub

# What `failed` of the accounting stands for, in classes of ours. Source: sge_accounting(5), and
# `sge_status` of the source of 8.1.9. Others are the host's or the execution daemon's.
_RESCHEDULED = (24, 25)
_OVER_LIMIT, _KILLED, _EXIT_100 = 37, 100, 30
_LAUNCH = (1, 3, 4, 6, 7, 8, 9, 10, 11, 26, 27, 28, 29, 31, 32, 36, 38)
# 8.1.9 takes the number of KB for one of bytes: a job of 113 MB is shown with 113 KB.
_UNITS = {"": 2**-10, "B": 2**-10, "KB": 1.0, "MB": 2.0**10, "GB": 2.0**20}


class SGE:
    """Grid Engine."""

    switches: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "parallel_environment": (),
        "mpi_environment": (),
        "memory_attribute": (),
        "memory_per_slot": ("yes", "no"),
        "gpu_attribute": (),
        "gpu_kind_attribute": (),
        "gpu_per_slot": ("no", "yes"),
        "disk_attribute": (),
        "account_option": ("A", "P"),
        "accounting": ("qacct", "none"),
        "environment": ("all", "none"),
    }

    def __init__(self, switches: Switches) -> None:
        self._values = {
            "parallel_environment": "smp",
            "memory_attribute": "h_vmem",
            "memory_per_slot": "yes",
            "account_option": "A",
            **switches.values,
        }
        words = {"mem_mib", "time_s", "partition", "account", "constraint"}
        for switch, word in (
            ("gpu_attribute", "gpus"),
            ("gpu_kind_attribute", "gpu_kind"),
            ("disk_attribute", "disk_mib"),
            ("mpi_environment", "tasks"),
        ):
            if self._values.get(switch):
                words.add(word)
        self.abilities = Abilities(
            frozenset(words), max_array=75_000, ok_edges=False, element_edges=True
        )
        self.environment: Mapping[str, str | None] = {}

    def script(self, ask: Ask) -> str:
        """See `Scheduler.script`."""
        lines = [f"#$ {' '.join(words)}" for words in self._options(ask) if plain(words)]
        # By the script itself, since `-o` and `-wd` give a meaning to `:`, `,` and `$` in a path,
        # and a job with a folder that is not there would stay in the queue with an error.
        return job_script(ask, lines, "$((SGE_TASK_ID - 1))", redirect=True)

    def submit(self, ask: Ask, script: str) -> list[str]:
        """See `Scheduler.submit`."""
        hold = ["-h"] if ask.held else []
        return ["qsub", "-terse", *self._said(ask), *hold, *_edges(ask), script]

    def validate(self, ask: Ask, script: str) -> list[str]:
        """See `Scheduler.validate`."""
        return ["qsub", "-w", "v", *self._said(ask), script]

    def _said(self, ask: Ask) -> list[str]:
        """The options that go on the command line, since a script cannot quote them."""
        return [word for words in self._options(ask) if not plain(words) for word in words]

    def _options(self, ask: Ask) -> Iterator[list[str]]:
        request, values = ask.request, self._values
        yield ["-N", ask.name]
        yield ["-S", "/bin/bash"]
        yield ["-wd", "/"]
        yield ["-j", "y"]
        yield ["-o", "/dev/null"]
        yield ["-r", "n"]
        if ask.warn_s:
            yield ["-notify"]  # SIGUSR2 at the time limit or when deleted, a minute before the end
        if values.get("environment") != "none":
            yield ["-V"]
        if ask.elements:
            yield ["-t", f"1-{ask.elements}"]
        slots = request.cores * max(1, request.tasks)
        if request.tasks:
            yield ["-pe", values.get("mpi_environment", ""), str(slots)]
        elif slots > 1:
            yield ["-pe", values["parallel_environment"], str(slots)]
        if limits := list(self._limits(request, slots)):
            yield ["-l", ",".join(limits)]
        for option, value in (
            ("-l", request.constraint),
            ("-q", request.partition),
            (f"-{values['account_option']}", request.account),
        ):
            if value:
                yield [option, value]
        if request.options:
            yield list(request.options)

    def _limits(self, request: Request, slots: int) -> Iterator[str]:
        values = self._values
        if request.time_s is not None:
            yield f"h_rt={max(1, request.time_s)}"
        if request.mem_mib is not None:
            each = slots if values["memory_per_slot"] == "yes" else 1
            for attribute in values["memory_attribute"].split(","):
                yield f"{attribute.strip()}={share(request.mem_mib, each)}M"
        if request.gpus:
            each = slots if values.get("gpu_per_slot") == "yes" else 1
            yield f"{values.get('gpu_attribute')}={share(request.gpus, each)}"
        if request.gpu_kind:
            yield f"{values.get('gpu_kind_attribute')}={request.gpu_kind}"
        if request.disk_mib is not None:
            yield f"{values.get('disk_attribute')}={request.disk_mib}M"

    def scheduler_id(self, answer: Answer) -> str | None:
        """See `Scheduler.scheduler_id`."""
        if answer.code is None or any(text in answer.err for text in _IN_DOUBT):
            raise unreadable(answer, "an id of a job")
        if answer.code:
            return None
        found = re.findall(r"^(\d+)(?:\.\d+-\d+:\d+)?$", answer.out, re.MULTILINE)
        if len(found) != 1:
            raise unreadable(answer, "an id of a job")
        return str(found[0])

    def refusal(self, answer: Answer) -> Refusal:
        """See `Scheduler.refusal`."""
        text = (answer.err + answer.out).lower()
        if answer.code == _TOO_MANY or "jobs are allowed per" in text:
            return "full"
        return "later" if answer.code is None or any(each in text for each in _LATER) else "wrong"

    def element_id(self, scheduler_id: str, element: int) -> str:
        """See `Scheduler.element_id`."""
        return f"{scheduler_id}.{element + 1}"

    def whole(self, job: str) -> str:
        """See `Scheduler.whole`."""
        return job.partition(".")[0]

    def release(self, ids: Sequence[str]) -> list[list[str]]:
        """See `Scheduler.release`."""
        return [["qrls", *some] for some in chunks(ids, 500)]

    def cancel(self, ids: Sequence[str]) -> list[list[str]]:
        """See `Scheduler.cancel`."""
        return [["qdel", *some] for some in chunks(ids, 500)]

    def queue(self, user: str) -> list[str]:
        """See `Scheduler.queue`."""
        return ["qstat", "-xml", "-u", user]

    def in_queue(self, answer: Answer) -> list[Queued]:
        """See `Scheduler.in_queue`."""
        try:
            root = ElementTree.fromstring(answer.out)
        except ElementTree.ParseError:
            root = None
        if answer.code or root is None or root.find("job_info") is None:
            raise unreadable(answer, "XML with `job_info`")
        return [queued for job in root.iter("job_list") for queued in _queued(job)]

    def finished(self, ids: Sequence[str]) -> list[list[str]]:
        """See `Scheduler.finished`.

        A job that was deleted before it began has no record.
        """
        if self._values.get("accounting") == "none":
            return []
        return [["qacct", "-j", *one] for one in chunks([self.whole(each) for each in ids], 1)]

    def verdicts(self, answer: Answer) -> dict[str, Verdict]:
        """See `Scheduler.verdicts`."""
        if answer.code and _NO_RECORD.search(answer.err + answer.out):
            return {}
        records = [_record(text) for text in re.split(r"^=+$", answer.out, flags=re.MULTILINE)]
        records = [record for record in records if record]
        wanted = {"jobnumber", "taskid", "failed", "exit_status"}
        if answer.code != 0 or not all(wanted <= record.keys() for record in records):
            raise unreadable(answer, "records with `failed` and `exit_status`")
        found = {}
        for record in records:  # a job that ran again has several, the last one counts
            element = record["taskid"]
            number = record["jobnumber"]
            verdict = _verdict(record)
            if verdict is None:
                raise unreadable(answer, "a number for `failed` and for `exit_status`")
            id_ = number if element == "undefined" else f"{number}.{element}"
            found[id_] = replace(verdict, name=record.get("jobname", ""))
        return {each: verdict for each, verdict in found.items() if verdict.failure != _AGAIN}


_AGAIN = "again"


def _edges(ask: Ask) -> list[str]:
    ids = dict.fromkeys(edge.id for edge in ask.after if edge.kind != "element")
    arrays = dict.fromkeys(edge.id for edge in ask.after if edge.kind == "element")
    held = ["-hold_jid", ",".join(ids)] if ids else []
    return [*held, *(["-hold_jid_ad", ",".join(arrays)] if arrays else [])]


def _queued(job: ElementTree.Element) -> Iterator[Queued]:
    number, letters = job.findtext("JB_job_number", ""), job.findtext("state", "")
    state = _state(letters)
    host = job.findtext("queue_name", "").partition("@")[2]
    error = f"state {letters}: `qstat -j {number}` tells why, `qmod -cj {number}` tries again"
    verdict = Verdict("launch", error) if "E" in letters else None
    tasks = job.findtext("tasks", "")
    for each in [f"{number}.{task}" for task in numbers(tasks)] if tasks else [number]:
        yield Queued(each, job.findtext("JB_name", ""), state, letters, host, verdict)


def _state(letters: str) -> State:
    """What the letters of a state come to, e.g. `qw`, `hqw`, `Rr`, `dr`, `Eqw`."""
    if "E" in letters:
        return "held"  # it could not be started, and will not be before somebody clears that
    if set(letters) & set("sST"):
        return "suspended"
    if "r" in letters:
        return "running"
    if "h" in letters:
        return "held"
    return "queued" if set(letters) & set("qwt") else "unknown"


def _record(text: str) -> dict[str, str]:
    pairs = (line.partition(" ") for line in text.splitlines() if line.strip())
    return {key: value.strip() for key, _, value in pairs}


def _verdict(record: Mapping[str, str]) -> Verdict | None:
    numbers = [re.match(r"\d+", record[key]) for key in ("failed", "exit_status")]
    if numbers[0] is None or numbers[1] is None:
        return None
    failed, code = int(numbers[0][0]), int(numbers[1][0])
    began = record.get("start_time") != "-/-"
    said = " ".join(f"failed {record['failed']}, exit_status {record['exit_status']}".split())
    failure = _failure(failed, code)
    told = code if failure in ("", "exit") else None
    peak = _mib(record.get("ru_maxrss", ""))
    return Verdict(failure, said, began, told, record.get("hostname", ""), peak)


def _failure(failed: int, code: int) -> str:
    if failed in _RESCHEDULED:
        return _AGAIN
    if failed == _OVER_LIMIT:
        return "timeout"
    if failed == _KILLED and code > 128:
        return "signal"
    if failed in (0, _EXIT_100):
        return "exit" if code else ""
    return "launch" if failed in _LAUNCH else "node"


def _mib(text: str) -> float:
    """A size as `qacct` shows it, 0.0 where it cannot be read."""
    match = re.fullmatch(r"([\d.]+)([KMG]?B?)", text)
    unit = _UNITS.get(match[2]) if match else None
    return float(match[1]) * unit if match and unit else 0.0
