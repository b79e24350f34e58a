"""What a scheduler's adapter is: text in, text out. It runs nothing and keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Request:
    """What one scheduler job asks for, in the words that are the same for every scheduler.

    cores: of one task. mem_mib: total of the job. time_s: wall time; None: the site's default.
    gpus: of the job; gpu_kind: as the site names them. nodes, tasks: of an MPI job; 0: not said.
    disk_mib: scratch space on the node. options: raw words for the scheduler, passed through.
    """

    cores: int = 1
    mem_mib: int | None = None
    time_s: int | None = None
    gpus: int = 0
    gpu_kind: str = ""
    nodes: int = 0
    tasks: int = 0
    disk_mib: int | None = None
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a scheduler can express.

    words: the fields of `Request` that it has something for, besides `cores` and `options`.
    arrays: it has job arrays. max_array: elements of one, by default of the software.
    ok_edges: a dependency that only success satisfies. element_edges: element k of an array
    after element k of another one of the same length. one_element: a dependency on one element.
    hold: a job can be submitted held and released later.
    """

    words: frozenset[str]
    arrays: bool = True
    max_array: int = 1000
    ok_edges: bool = True
    element_edges: bool = False
    one_element: bool = False
    hold: bool = True


@dataclass(frozen=True, slots=True)
class Edge:
    """What a scheduler job waits for.

    id: of a job or a whole array; with `one_element` also of one element.
    kind: `ok` its success; `any` its end, however it ends; `element` of each element the success
        of the element of the same number, where `id` is an array of the same length.
    """

    id: str
    kind: Literal["ok", "any", "element"] = "any"


@dataclass(frozen=True, slots=True)
class Ask:
    """A scheduler job, or an array of them, that is to be submitted.

    name: unique for all time, letters, digits, `.`, `-` and `_`, the first a letter.
    body: bash text; `$element` in it is the number of the element, counted from 0.
    elements: of the array; 0: a plain job. folder: the working folder, absolute.
    output: the file for what the script prints, absolute; appended to, its folder is there.
    after: what it waits for. held: it waits for `release` as well.
    warn_s: so long before the time limit the job is to get a signal, where that can be had.
    """

    name: str
    body: str
    request: Request
    folder: str
    output: str
    elements: int = 0
    after: tuple[Edge, ...] = ()
    held: bool = False
    warn_s: int = 60


State = Literal["held", "queued", "running", "suspended", "ended", "unknown"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a scheduler says of a job that ended.

    failure: class of the failure: `exit`, `signal`, `oom`, `timeout`, `node`, `preempted`,
        `launch`, `cancelled`; empty: it ended well; `unmet`: what it waited for can never be;
        `alive`: it has not ended.
    said: the scheduler's own words. by_user: somebody cancelled it. began: it ever ran; None:
        not told. exit_code: None: not told. host: where it ran. peak_mib: 0.0: not told.
        name: that of `Ask`; empty: not told.
    """

    failure: str
    said: str
    began: bool | None = None
    exit_code: int | None = None
    host: str = ""
    peak_mib: float = 0.0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Queued:
    """A job, or an element of an array, as the queue shows it.

    id: as in `Scheduler.element_id`. name: that of `Ask`. reason: why it waits, in the
    scheduler's own words. host: where it runs. verdict: of one that ended and is still shown;
    None, though it ended: the queue does not tell how, `Scheduler.finished` may. One that is
    `held` and has a verdict will never begin, and stays until it is cancelled.
    """

    id: str
    name: str
    state: State
    reason: str = ""
    host: str = ""
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command came to. code: its exit code; None: it took too long and was killed."""

    code: int | None
    out: str
    err: str


Refusal = Literal["later", "full", "wrong"]


class UnreadableError(Exception):
    """An answer says neither yes nor no; the text says what was expected."""


@runtime_checkable
class Identified(Protocol):
    """An adapter that can tell one cluster of its kind from another.

    The same commands may speak to another cluster in another shell, or on another host, where
    its ids mean other jobs or none.
    """

    def identify(self) -> list[str]:
        """The command that asks which cluster answers."""

    def identity(self, answer: Answer) -> str:
        """Its name. Raises: UnreadableError."""


class Scheduler(Protocol):
    """An adapter. Commands are lists of words, the first a program to be found on PATH.

    What reads an answer raises UnreadableError where the text cannot be what the scheduler
    prints; an answer is never guessed to mean success or failure.

    environment: variables to run all its commands with; None: without that variable. Some change
    what a command shows or does, some are those of the job that a command is run in.
    """

    abilities: Abilities
    environment: Mapping[str, str | None]

    def script(self, ask: Ask) -> str:
        """The job script: the first line names bash, then the scheduler's directives."""

    def submit(self, ask: Ask, script: str) -> list[str]:
        """The command that submits the script at the path `script`."""

    def scheduler_id(self, answer: Answer) -> str | None:
        """The id of what was submitted; None: it was refused.

        Raises: UnreadableError, also where it may have been accepted all the same: the queue
        tells, by the name. If it is not there, `refusal` says what to do.
        """

    def refusal(self, answer: Answer) -> Refusal:
        """Why it was refused: try it `later`, the queue is `full`, or it is `wrong` as it is."""

    def element_id(self, scheduler_id: str, element: int) -> str:
        """The id of an element of an array, counted from 0."""

    def whole(self, job: str) -> str:
        """The scheduler id of what an id in the queue belongs to: of an element, its array's."""

    def release(self, ids: Sequence[str]) -> list[list[str]]:
        """Commands that release held jobs: as few as possible.

        An exit code is no evidence: one id that ended makes it another than 0, and the others
        are released all the same. The queue tells.
        """

    def cancel(self, ids: Sequence[str]) -> list[list[str]]:
        """Commands that cancel jobs or elements; ids of jobs that are gone do no harm."""

    def queue(self, user: str) -> list[str]:
        """One command that lists all jobs of a user, each element of an array by itself."""

    def in_queue(self, answer: Answer) -> list[Queued]:
        """What the queue holds. Raises: UnreadableError."""

    def finished(self, ids: Sequence[str]) -> list[list[str]]:
        """Commands that ask for the ends of jobs that left the queue; none: nobody knows."""

    def verdicts(self, answer: Answer) -> dict[str, Verdict]:
        """Id of a job or element -> how it ended, or that it is `alive`.

        Raises: UnreadableError.
        """

    def validate(self, ask: Ask, script: str) -> list[str] | None:
        """A command that checks a script without submitting it; None: there is none."""


@dataclass(frozen=True, slots=True)
class Switches:
    """What a site says of its scheduler, under `[cluster.NAME]` in `hpcmake.toml`.

    values: option -> value, e.g. `parallel_environment`; each adapter checks its own.
    """

    values: Mapping[str, str] = field(default_factory=dict)
