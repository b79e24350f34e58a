"""Slurm. Source: manual pages of Slurm 22.05 and 23.11; answers tried with 22.05.8."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

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
from buildhpc.schedulers.scripts import chunks, job_script, numbers, share, unreadable, warned

_SITE = ("partition", "account", "qos", "constraint")
_WORDS = ("mem_mib", "time_s", "gpus", "gpu_kind", "nodes", "tasks", "disk_mib", *_SITE)

# Variables that filter or change what the commands do, and those of the job a command is run in,
# which the jobs that it submits would inherit.
_FOREIGN = """
SLURM_CLUSTERS SBATCH_CLUSTERS SBATCH_WAIT SBATCH_ARRAY_INX SQUEUE_ACCOUNT SQUEUE_FEDERATION
SQUEUE_LICENSES SQUEUE_NAMES SQUEUE_PARTITION SQUEUE_PRIORITY SQUEUE_QOS SQUEUE_SIB SQUEUE_STATES
SQUEUE_USERS SCANCEL_ACCOUNT SCANCEL_BATCH SCANCEL_INTERACTIVE SCANCEL_NAME SCANCEL_PARTITION
SCANCEL_QOS SCANCEL_STATE SCANCEL_USER SCANCEL_WCKEY SLURM_RESTART_COUNT SLURM_ARRAY_JOB_ID
SLURM_ARRAY_TASK_COUNT SLURM_ARRAY_TASK_ID SLURM_ARRAY_TASK_MAX SLURM_ARRAY_TASK_MIN
SLURM_ARRAY_TASK_STEP SLURM_CPUS_PER_TASK SLURM_CPUS_PER_GPU SLURM_CPU_BIND SLURM_DISTRIBUTION
SLURM_EXPORT_ENV SLURM_GPUS SLURM_GPUS_ON_NODE SLURM_JOB_GPUS SLURM_MEM_PER_CPU SLURM_MEM_PER_GPU
SLURM_MEM_PER_NODE SLURM_NPROCS SLURM_NTASKS SLURM_NTASKS_PER_NODE SLURM_OPEN_MODE
"""
FOREIGN = tuple(_FOREIGN.split())

_STATES: dict[str, State] = {
    **dict.fromkeys(("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED"), "queued"),
    **dict.fromkeys(("REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"), "held"),
    **dict.fromkeys(("RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "RESIZING"), "running"),
    **dict.fromkeys(("SUSPENDED", "STOPPED"), "suspended"),
    **dict.fromkeys(("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "DEADLINE"), "ended"),
    **dict.fromkeys(("OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "RECONFIG_FAIL"), "ended"),
    **dict.fromkeys(("PREEMPTED", "LAUNCH_FAILED"), "ended"),
}
# Failures that the state alone tells; FAILED and CANCELLED need a closer look.
_FAILURES = {
    "COMPLETED": "",
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "OUT_OF_MEMORY": "oom",
    "NODE_FAIL": "node",
    "BOOT_FAIL": "node",
    "RECONFIG_FAIL": "node",
    "PREEMPTED": "preempted",
    "LAUNCH_FAILED": "launch",
}
_NOWHERE = ("", "n/a", "None assigned", "(null)")
_LINE = "job|"  # a job name may hold anything, line breaks too: it is last, and this comes first
_NO_SIGNAL_53 = 53  # what Slurm gives as signal where the output could not be opened

_IN_DOUBT = ("Socket timed out", "slurm_receive_msg", "Zero Bytes were transmitted")
_LATER = (
    *_IN_DOUBT,
    "Unable to contact",
    "Connection refused",
    "Connection timed out",
    "Could not establish a configuration source",
    "in standby mode",
    "Resource temporarily unavailable",
    "Protocol authentication error",
)
_LIMIT = re.compile(r"\b(?:Assoc|QOS)[A-Z]\w*")


class Slurm:
    """Slurm.

    insist: options that stand in the script are given on the command line as well, since
    variables such as SBATCH_TIMELIMIT go before what a script says.
    """

    switches: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "accounting": ("sacct", "none"),
        "environment": ("all", "none"),
        "gpu_option": ("gpus", "gres"),
    }

    def __init__(self, switches: Switches, *, insist: bool = True) -> None:
        self._insist = insist
        self._gres = switches.values.get("gpu_option") == "gres"
        self._bare = switches.values.get("environment") == "none"
        self._accounting = switches.values.get("accounting") != "none"
        self.abilities = Abilities(frozenset(_WORDS), element_edges=True, one_element=True)
        self.environment: Mapping[str, str | None] = {
            **dict.fromkeys(FOREIGN),
            "SLURM_BITSTR_LEN": "0",  # else lists of elements are cut after 64 characters
        }

    def script(self, ask: Ask) -> str:
        """See `Scheduler.script`."""
        lines = [f"#SBATCH {_directive(words)}" for words in self._options(ask) if _fits(words)]
        return job_script(ask, lines, "$SLURM_ARRAY_TASK_ID", redirect=False)

    def submit(self, ask: Ask, script: str) -> list[str]:
        """See `Scheduler.submit`."""
        hold = ["--hold"] if ask.held else []
        wait = [f"--dependency={','.join(_edges(ask))}"] if ask.after else []
        # Whatever the site says: what can never run is cancelled, and so is what waits for it.
        kill = ["--kill-on-invalid-dep=yes"] if ask.after else []
        return ["sbatch", "--parsable", *self._said(ask), *hold, *wait, *kill, script]

    def validate(self, ask: Ask, script: str) -> list[str]:
        """See `Scheduler.validate`."""
        return ["sbatch", "--test-only", *self._said(ask), script]

    def _said(self, ask: Ask) -> list[str]:
        """The options that go on the command line."""
        options = self._options(ask)
        return [word for words in options if self._insist or not _fits(words) for word in words]

    def _options(self, ask: Ask) -> list[list[str]]:
        """Options, each with its values."""
        one = [f"--job-name={ask.name}", f"--chdir={ask.folder}"]
        one += [f"--output={_pattern(ask.output)}", "--open-mode=append", "--no-requeue"]
        one += self._resources(ask.request)
        if ask.elements:
            one.append(f"--array=0-{ask.elements - 1}")
        if warned(ask):
            one.append(f"--signal=B:USR1@{ask.warn_s}")
        if self._bare:
            one.append("--export=NONE")
        raw = [list(ask.request.options)] if ask.request.options else []
        return [*([word] for word in one), *raw]

    def _resources(self, request: Request) -> Iterator[str]:
        nodes, tasks = request.nodes, request.tasks
        if nodes or not tasks:
            yield f"--nodes={nodes or 1}"
        yield f"--ntasks={tasks or nodes or 1}"
        yield f"--cpus-per-task={request.cores}"
        if request.mem_mib is not None and (nodes or not tasks):
            yield f"--mem={share(request.mem_mib, nodes)}M"
        elif request.mem_mib is not None:
            yield f"--mem-per-cpu={share(request.mem_mib, tasks * request.cores)}M"
        if request.time_s is not None:
            yield f"--time={_days(request.time_s)}"
        if request.gpus:
            kind = f"{request.gpu_kind}:" if request.gpu_kind else ""
            per_node = f"--gres=gpu:{kind}{share(request.gpus, nodes)}"
            yield per_node if self._gres else f"--gpus={kind}{request.gpus}"
        if request.disk_mib is not None:
            yield f"--tmp={request.disk_mib}M"
        for word in _SITE:
            if value := getattr(request, word):
                yield f"--{word}={value}"

    def scheduler_id(self, answer: Answer) -> str | None:
        """See `Scheduler.scheduler_id`."""
        if answer.code is None or any(text in answer.err for text in _IN_DOUBT):
            raise unreadable(answer, "an id of a job")
        if answer.code:
            return None
        found = re.findall(r"^(\d+)(?:;\S*)?$", answer.out, re.MULTILINE)
        if len(found) != 1:
            raise unreadable(answer, "an id of a job")
        return str(found[0])

    def refusal(self, answer: Answer) -> Refusal:
        """See `Scheduler.refusal`."""
        found = refused(answer.err)
        return "later" if answer.code is None and found == "wrong" else found

    def element_id(self, scheduler_id: str, element: int) -> str:
        """See `Scheduler.element_id`."""
        return f"{scheduler_id}_{element}"

    def whole(self, job: str) -> str:
        """See `Scheduler.whole`."""
        return job.partition("_")[0]

    def release(self, ids: Sequence[str]) -> list[list[str]]:
        """See `Scheduler.release`."""
        return [["scontrol", "release", *some] for some in chunks(ids, 500)]

    def cancel(self, ids: Sequence[str]) -> list[list[str]]:
        """See `Scheduler.cancel`."""
        return [["scancel", *some] for some in chunks(ids, 500)]

    def identify(self) -> list[str]:
        """See `Identified.identify`."""
        return ["scontrol", "show", "config"]

    def identity(self, answer: Answer) -> str:
        """See `Identified.identity`."""
        found = re.search(r"^ClusterName\s*=\s*(\S+)$", answer.out, re.MULTILINE)
        if answer.code != 0 or found is None:
            raise unreadable(answer, "a configuration with `ClusterName`")
        return found[1]

    def queue(self, user: str) -> list[str]:
        """See `Scheduler.queue`."""
        shown = f"{_LINE}%i|%T|%B|%r|%j"
        return ["squeue", "-h", "-r", "-t", "all", "-u", user, "-o", shown]

    def in_queue(self, answer: Answer) -> list[Queued]:
        """See `Scheduler.in_queue`."""
        if answer.code != 0:
            raise unreadable(answer, "a list of jobs")
        lines = answer.out.splitlines()
        if lines and not lines[0].startswith(_LINE):
            raise unreadable(answer, "a list of jobs")
        rows = [line.split("|", 5)[1:] for line in lines if line.startswith(_LINE)]
        if any(len(row) != 5 for row in rows):
            raise unreadable(answer, "five values of each job")
        found = [each for row in rows for each in _queued(row)]
        if self._accounting:
            return found
        return [_told(each) if each.state == "ended" else each for each in found]

    def finished(self, ids: Sequence[str]) -> list[list[str]]:
        """See `Scheduler.finished`."""
        if not self._accounting:
            return []
        # By whole arrays: an element that never began is only in the row of its array.
        whole = [self.whole(each) for each in ids]
        shown = "JobID,State,ExitCode,Start,NodeList,JobName"
        asked = ["sacct", "-X", "-n", "-P", "-S", "now-30days", "-o", shown, "-j"]
        return [[*asked, ",".join(some)] for some in chunks(whole, 500)]

    def verdicts(self, answer: Answer) -> dict[str, Verdict]:
        """See `Scheduler.verdicts`."""
        if answer.code and "accounting storage is disabled" in answer.err:
            return {}
        if answer.code != 0:
            raise unreadable(answer, "rows of accounting")
        rows = [line.split("|", 5) for line in answer.out.splitlines()]
        if any(len(row) != 6 for row in rows):
            raise unreadable(answer, "six values of each job")
        found = {}
        for ids, *row, name in rows:
            verdict = _verdict(*row)
            if verdict is not None:
                found.update(dict.fromkeys(_elements(ids), replace(verdict, name=name)))
        return found


def refused(text: str) -> Refusal:
    """Why Slurm refused a job, by what `sbatch` says."""
    # One sentence tells of all limits; the limit is named before it, where it is named.
    limits = _LIMIT.findall(text)
    if any("Submit" in limit for limit in limits) or "sleeping and retrying" in text:
        return "full"
    if not limits and ("job submit limit" in text or "MaxJobCount" in text):
        return "full"
    return "later" if any(each in text for each in _LATER) else "wrong"


def _fits(words: Sequence[str]) -> bool:
    return all(word.isprintable() for word in words)


def _directive(words: Sequence[str]) -> str:
    """Words as a line of `#SBATCH` is read: `\\` is one for itself, between quotes of any kind."""
    return " ".join(
        word
        if re.fullmatch(r"[\w@%+=:,./-]+", word, re.ASCII)
        else '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for word in words
    )


def _pattern(path: str) -> str:
    """A path as `--output` has it: `%j` is an id in it, unless it has a `\\`."""
    return path.replace("\\", "\\\\") if "\\" in path else path.replace("%", "%%")


def _days(time_s: int) -> str:
    """A time limit as Slurm has it; 0 would be none at all."""
    time_s = max(1, time_s)
    hours, minutes, seconds = time_s // 3600, time_s // 60 % 60, time_s % 60
    return f"{hours // 24}-{hours % 24:02}:{minutes:02}:{seconds:02}"


def _edges(ask: Ask) -> Iterator[str]:
    for kind, word in (("ok", "afterok"), ("any", "afterany"), ("element", "aftercorr")):
        ids = [edge.id for edge in ask.after if edge.kind == kind]
        if ids:
            yield ":".join([word, *dict.fromkeys(ids)])


def _elements(text: str) -> list[str]:
    """Ids of single jobs: `7_[0-2%5]` stands for those elements of array 7."""
    whole, bracket, rest = text.partition("_[")
    if not bracket:
        return [text]
    try:
        return [f"{whole}_{number}" for number in numbers(rest.rstrip("]"))]
    except ValueError:
        return [text]


def _queued(row: Sequence[str]) -> Iterator[Queued]:
    ids, word, host, reason, name = row
    state = _STATES.get(word, "unknown")
    if word == "PENDING" and reason.startswith(("Dependency", "JobHeld")):
        state = "held"
    verdict = _shown(word, reason, began=host not in _NOWHERE) if state == "ended" else None
    told = "" if reason == "None" else reason
    for each in _elements(ids):
        yield Queued(each, name, state, told, "" if host in _NOWHERE else host, verdict)


def _told(queued: Queued) -> Queued:
    """One that ended, with a verdict also where only the word JobLaunchFailure is told of it."""
    launch = Verdict("launch", f"FAILED ({queued.reason})", bool(queued.host), None, queued.host)
    return replace(queued, verdict=queued.verdict or launch)


def _shown(word: str, reason: str, *, began: bool) -> Verdict | None:
    """The verdict on a job that ended and is still in the queue, where no exit code is shown."""
    said = word if reason == "None" else f"{word} ({reason})"
    failure = _FAILURES.get(word)
    if word == "CANCELLED":
        failure = "unmet" if reason == "DependencyNeverSatisfied" else "cancelled"
    elif word == "FAILED":
        known = {"NonZeroExitCode": "exit", "RaisedSignal": "signal"}.get(reason.partition(":")[0])
        failure = known if began else "launch"
    return None if failure is None else Verdict(failure, said, began)


def _verdict(words: str, codes: str, start: str, host: str) -> Verdict | None:
    """The verdict of a row of accounting; None: nobody knows what it means.

    words: `CANCELLED by 1000` or one word. codes: `EXITCODE:SIGNAL`.
    """
    word = words.partition(" ")[0]
    state = _STATES.get(word)
    if state != "ended":
        return Verdict("alive", words) if state else None
    began = start not in ("None", "Unknown", "") and host not in _NOWHERE
    code, _, number = codes.partition(":")
    exit_code = int(code) if code.isdecimal() else None
    failure = _FAILURES.get(word, "exit")
    if word == "CANCELLED":
        # Slurm itself, and nobody, cancels what waits for something that can never be.
        failure = "cancelled" if words != word or began else "unmet"
    elif word == "FAILED" and (not began or number == str(_NO_SIGNAL_53)):
        failure = "launch"
    elif word == "FAILED" and number.isdecimal() and int(number):
        failure = "signal"
    told = exit_code if failure in ("", "exit") else None
    return Verdict(failure, f"{words} {codes}", began, told, "" if host in _NOWHERE else host)
