"""PBS: OpenPBS with PBS Professional, and Torque.

Source: manual pages of OpenPBS 23.06 and Torque 6.1; answers tried with OpenPBS 23.06.06, and with
the commands of Torque that come with Slurm 22.05, where some answers come on stdout.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from buildhpc.schedulers import slurm
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
from buildhpc.schedulers.scripts import chunks, clock, job_script, plain, share, unreadable

_STATES: dict[str, State] = {
    **dict.fromkeys("QWT", "queued"),
    "H": "held",
    **dict.fromkeys("RBE", "running"),
    **dict.fromkeys("SU", "suspended"),
    **dict.fromkeys("FXC", "ended"),
}
# Exit codes below 0: the server ended the job, or could not run it.
_LIMITS = {
    "openpbs": {-29: "timeout", -28: "timeout", -27: "oom", -26: "oom"},
    "torque": {-12: "timeout", -11: "timeout", -10: "oom"},
}
_SIGNAL, _TERM = 256, 15
_DELETED, _FINISHED, _FAILED = "91", "92", "93"  # values of `substate`

# One that left between the two commands is told on stderr, the others are shown all the same.
_MINE = (
    'set -f; ids=$(qselect -u "$1") || exit; '
    'if [ -z "$ids" ]; then echo "no jobs"; else exec qstat -t -f $ids; fi'
)
_UNKNOWN = (0, 35, 153, 170)  # some of the ids are not known, or ended

_IN_DOUBT = ("end of file", "timed out", "premature end", "no reply")
_LATER = (
    *_IN_DOUBT,
    "cannot connect to",
    "could not connect",
    "connection refused",
    "resource temporarily unavailable",
    "server is busy",
    "invalid credential",
)
_FULL = re.compile(r"would exceed .*limit|maximum number of jobs|has reached .*limit", re.I)
_KEY = re.compile(r"(?: {4}|\t)(\w[\w.]*) = (.*)")


class PBS:
    """PBS in one of its dialects."""

    switches: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "dialect": ("openpbs", "torque"),
        "arrays": ("yes", "no"),
        "disk_attribute": (),
        "environment": ("all", "none"),
        "gpu_kind_attribute": (),
    }

    def __init__(self, switches: Switches) -> None:
        self._values = switches.values
        self._torque = self._values.get("dialect") == "torque"
        words = ["mem_mib", "time_s", "gpus", "nodes", "tasks", "partition", "account"]
        words.append("constraint")
        if self._torque or self._values.get("disk_attribute"):
            words.append("disk_mib")
        if not self._torque and self._values.get("gpu_kind_attribute"):
            words.append("gpu_kind")
        # Torque's arrays cannot wait for jobs, nor jobs for the success of some of them; and
        # where Slurm stands behind its commands, they do not show which element is which.
        arrays = self._values.get("arrays", "no" if self._torque else "yes") == "yes"
        self.abilities = Abilities(frozenset(words), arrays=arrays, max_array=10_000)
        foreign = [*slurm.FOREIGN, "PBS_ARRAY_INDEX", "PBS_ARRAYID"]
        self.environment: Mapping[str, str | None] = dict.fromkeys(foreign)

    def script(self, ask: Ask) -> str:
        """See `Scheduler.script`."""
        lines = [f"#PBS {' '.join(words)}" for words in self._options(ask) if plain(words)]
        index = "$PBS_ARRAYID" if self._torque else "$PBS_ARRAY_INDEX"
        # By the script itself: PBS brings what a job printed only after its end.
        return job_script(ask, lines, index if _array(ask) else "0", redirect=True)

    def submit(self, ask: Ask, script: str) -> list[str]:
        """See `Scheduler.submit`."""
        # The commands that come with Slurm put in options of their own, which go before a script's.
        options = self._options(ask)
        said = [words for words in options if not plain(words) or words[0] in ("-j", "-o")]
        edges = ",".join(self._edges(ask))
        return [
            "qsub",
            *(word for words in said for word in words),
            *(["-h"] if ask.held else []),
            *(["-W", f"depend={edges}"] if edges else []),
            script,
        ]

    def validate(self, ask: Ask, script: str) -> None:  # noqa: ARG002  # PBS has nothing for it
        """See `Scheduler.validate`."""
        return

    def _options(self, ask: Ask) -> Iterator[list[str]]:
        request = ask.request
        yield ["-N", ask.name]
        yield ["-S", "/bin/bash"]
        yield ["-j", "oe"]
        yield ["-o", "/dev/null"]
        yield ["-r", "n"]
        yield ["-m", "n"]
        if self._values.get("environment") != "none":
            yield ["-V"]
        if _array(ask):
            yield ["-t" if self._torque else "-J", f"0-{ask.elements - 1}"]
        raw, limits = list(request.options), []
        while self._torque and "-l" in raw[:-1]:
            place = raw.index("-l")
            limits.append(raw[place + 1])
            del raw[place : place + 2]
        yield from self._torque_limits(request, limits) if self._torque else self._limits(request)
        for option, value in (("-q", request.partition), ("-A", request.account)):
            if value:
                yield [option, value]
        if raw:
            yield raw

    def _limits(self, request: Request) -> Iterator[list[str]]:
        """For OpenPBS: so many chunks, each on one host."""
        chunk_count = request.nodes or request.tasks or 1
        tasks = share(request.tasks or chunk_count, chunk_count)
        words = [f"select={chunk_count}", f"ncpus={tasks * request.cores}"]
        if request.nodes or request.tasks:
            words.append(f"mpiprocs={tasks}")
        if request.mem_mib is not None:
            words.append(f"mem={share(request.mem_mib, chunk_count)}mb")
        if request.gpus:
            words.append(f"ngpus={share(request.gpus, chunk_count)}")
        if request.gpu_kind:
            words.append(f"{self._values.get('gpu_kind_attribute')}={request.gpu_kind}")
        if request.disk_mib is not None:
            words.append(f"{self._values.get('disk_attribute')}={request.disk_mib}mb")
        if request.constraint:
            words.append(request.constraint)
        yield ["-l", ":".join(words)]
        if request.time_s is not None:
            yield ["-l", f"walltime={clock(max(1, request.time_s))}"]

    def _torque_limits(self, request: Request, more: Sequence[str]) -> Iterator[list[str]]:
        """For Torque: all in one `-l`, since of several the last one may be all that counts."""
        nodes = request.nodes or request.tasks or 1
        parts = [f"nodes={nodes}", f"ppn={share(request.tasks or nodes, nodes) * request.cores}"]
        if request.gpus:
            parts.append(f"gpus={share(request.gpus, nodes)}")
        if request.constraint:
            parts.append(request.constraint)
        words = [":".join(parts)]
        if request.time_s is not None:
            words.append(f"walltime={clock(max(1, request.time_s))}")
        if request.mem_mib is not None:
            words.append(f"mem={request.mem_mib}mb")
        if request.disk_mib is not None:
            words.append(f"file={request.disk_mib}mb")
        yield ["-l", ",".join([*words, *more])]

    def _edges(self, ask: Ask) -> Iterator[str]:
        for kind, word in (("ok", "afterok"), ("any", "afterany")):
            ids = dict.fromkeys(edge.id for edge in ask.after if edge.kind == kind)
            arrays = [each for each in ids if self._torque and "[]" in each]
            for some, name in (
                ([each for each in ids if each not in arrays], word),
                (arrays, f"{word}array"),
            ):
                if some:
                    yield ":".join([name, *some])

    def scheduler_id(self, answer: Answer) -> str | None:
        """See `Scheduler.scheduler_id`."""
        text = (answer.err + answer.out).lower()
        if answer.code is None or any(each in text for each in _IN_DOUBT):
            raise unreadable(answer, "an id of a job")
        if answer.code:
            return None
        found = re.findall(r"^\d+(?:\[\])?(?:\.[\w.-]+)?$", answer.out, re.MULTILINE)
        if len(found) != 1:
            raise unreadable(answer, "an id of a job")
        return str(found[0])

    def refusal(self, answer: Answer) -> Refusal:
        """See `Scheduler.refusal`."""
        text = answer.err + answer.out
        if _FULL.search(text):
            return "full"
        if answer.code is None or any(each in text.lower() for each in _LATER):
            return "later"
        return slurm.refused(text)

    def element_id(self, scheduler_id: str, element: int) -> str:
        """See `Scheduler.element_id`. An array of one element is a plain job."""
        return scheduler_id.replace("[]", f"[{element}]")

    def whole(self, job: str) -> str:
        """See `Scheduler.whole`."""
        return re.sub(r"\[\d+\]", "[]", job)

    def release(self, ids: Sequence[str]) -> list[list[str]]:
        """See `Scheduler.release`."""
        return [["qrls", *some] for some in chunks(ids, 500)]

    def cancel(self, ids: Sequence[str]) -> list[list[str]]:
        """See `Scheduler.cancel`."""
        return [["qdel", *some] for some in chunks(ids, 500)]

    def queue(self, user: str) -> list[str]:
        """See `Scheduler.queue`. Torque has the jobs of all users."""
        if self._torque:
            return ["qstat", "-f", *(["-t"] if self.abilities.arrays else [])]
        return ["sh", "-c", _MINE, "hpcmake", user]

    def in_queue(self, answer: Answer) -> list[Queued]:
        """See `Scheduler.in_queue`."""
        found = []
        for job in _jobs(answer):
            state = _STATES.get(job.get("job_state", ""), "unknown")
            host = job.get("exec_host", "").partition("/")[0]
            verdict = self._verdict(job) if state == "ended" else None
            reason = job.get("comment", "")
            found.append(Queued(job["id"], job.get("job_name", ""), state, reason, host, verdict))
        return found

    def finished(self, ids: Sequence[str]) -> list[list[str]]:
        """See `Scheduler.finished`. Known only where the server keeps jobs after their end."""
        history = [] if self._torque else ["-x"]
        return [["qstat", "-f", *history, *some] for some in chunks(ids, 100)]

    def verdicts(self, answer: Answer) -> dict[str, Verdict]:
        """See `Scheduler.verdicts`."""
        if "not configured to maintain job history" in answer.out + answer.err:
            return {}
        ended = [job for job in _jobs(answer) if _STATES.get(job.get("job_state", "")) == "ended"]
        found = {job["id"]: self._verdict(job) for job in ended}
        return {each: verdict for each, verdict in found.items() if verdict}

    def _verdict(self, job: Mapping[str, str]) -> Verdict | None:
        """The verdict on a job that ended; None: it is not told how."""
        substate, told = job.get("substate", ""), job.get("exit_status")
        host = job.get("exec_host", "").partition("/")[0]
        code = int(told) if told is not None and re.fullmatch(r"-?\d+", told) else None
        failure = self._failure(substate, code)
        if failure is None:
            return None
        known = (("Exit_status", told), ("substate", substate), ("", job.get("comment")))
        said = ", ".join(f"{name} {value}".strip() for name, value in known if value)
        began = bool(host) if code is None else True
        exit_code = code if failure in ("", "exit") else None
        return Verdict(failure, said, began, exit_code, host, _mib(job))

    def _failure(self, substate: str, code: int | None) -> str | None:
        if substate == _DELETED:
            return "cancelled"  # the exit code may be 0 all the same
        if code is None:
            # What depends on a failed job is deleted by the server.
            return "unmet" if substate == _FINISHED else None
        if code < 0:
            return _LIMITS["torque" if self._torque else "openpbs"].get(code, "launch")
        if code == _SIGNAL + _TERM and self._torque:
            return "cancelled"
        if code > _SIGNAL:
            return "signal"
        return "exit" if code or substate == _FAILED else ""


def _array(ask: Ask) -> bool:
    """It is submitted as an array: PBS has none with a single element."""
    return ask.elements > 1


def _jobs(answer: Answer) -> list[dict[str, str]]:
    """What `qstat -f` shows of each job, keys in lower case, `id` among them.

    Raises: UnreadableError
    """
    text = answer.out.strip()
    if answer.code not in _UNKNOWN or not (text in ("", "no jobs") or text.startswith("Job Id:")):
        raise unreadable(answer, "lines of `qstat -f`")
    jobs: list[dict[str, str]] = []
    key = ""
    for line in text.splitlines():
        if line.startswith("Job Id:"):
            jobs.append({"id": line.removeprefix("Job Id:").strip()})
            key = ""
        elif match := _KEY.fullmatch(line):
            # The first of a name counts: values of variables, at the end, may look like one.
            key = match[1].lower() if match[1].lower() not in jobs[-1] else ""
            if key:
                jobs[-1][key] = match[2]
        elif line.startswith("\t") and key:
            jobs[-1][key] += line[1:]  # long lines are broken
    return jobs


def _mib(job: Mapping[str, str]) -> float:
    match = re.fullmatch(r"(\d+)([kmg]?b)", job.get("resources_used.mem", ""))
    units = {"b": 2.0**-20, "kb": 2.0**-10, "mb": 1.0, "gb": 2.0**10}
    return float(match[1]) * units[match[2]] if match else 0.0
