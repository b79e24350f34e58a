"""What the queue of this machine knows: its jobs, what each waits for, and how each ended.

All that happens is an event, a mapping that can be written as JSON; the book of a queue is what
its events came to. Nothing here looks at a process, a file or a clock.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Event = dict[str, Any]

MOST_ELEMENTS = 100_000

_ID = re.compile(r"([a-z0-9]+-[0-9]+)(?:_([0-9]+))?")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the jobs of a queue may use together; mem_mib None: not limited."""

    cores: int
    mem_mib: int | None
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """What a job script asks for.

    elements: of an array; 0: a plain job. warn_s: so long before the end of its time the script
    gets SIGUSR1. grace_s: between SIGTERM and SIGKILL. after: kind and id, as in `Edge`.
    """

    name: str
    folder: str = "/"
    output: str = "/dev/null"
    elements: int = 0
    cores: int = 1
    mem_mib: int = 0
    gpus: int = 0
    time_s: int = 0
    warn_s: int = 0
    grace_s: float = 30.0
    after: tuple[tuple[str, str], ...] = ()
    held: bool = False


class Element:
    """An element of an array, or the one of a plain job.

    state: `pending`, `ready` (it waits for room only), `running` or `ended`. waits: for so many
    elements of other arrays; of one that waits for what can never be it stays above 0.
    start: the event of its start, `stop`: why it is being ended. end: the event of its end.
    """

    __slots__ = ("end", "index", "job", "start", "state", "stop", "waits", "warned")

    def __init__(self, job: Job, index: int) -> None:
        self.job = job
        self.index = index
        self.state = "pending"
        self.waits = 0
        self.start: Event = {}
        self.end: Event = {}
        self.stop: Event = {}
        self.warned = False

    @property
    def id(self) -> str:
        """As in `Scheduler.element_id`; of a plain job its own."""
        return f"{self.job.id}_{self.index}" if self.job.wish.elements else self.job.id


class Job:
    """A job of the queue: all elements of an array, or one.

    waits: for so many jobs. ready: elements that wait for room only. left: so many have not ended.
    context: environment, umask and mark of who submitted it; empty once it ended.
    """

    def __init__(self, event: Event) -> None:
        words = {**event["wish"], "after": tuple(map(tuple, event["wish"]["after"]))}
        self.wish = Wish(**words)
        self.id: str = event["id"]
        self.context: Event = event["context"]
        self.held = self.wish.held
        self.elements = [Element(self, index) for index in range(self.wish.elements or 1)]
        self.left = len(self.elements)
        self.waits = 0
        self.failed = False
        self.ready: deque[int] = deque()

    @property
    def number(self) -> int:
        """Its place in the order of submission."""
        return int(self.id.partition("-")[2])


# Who waits: a job, one of its elements or None for all, and whether only success will do.
_Waiter = tuple[Job, int | None, bool]


class Book:
    """The jobs of a queue.

    ready: jobs with elements that only wait for room, by number. running: by id. unmet: elements
    that wait for what can never be; whoever writes the events ends them. said: limits that
    somebody set, over those of the machine. prefix: of all ids. marks: of submissions -> id.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.ready: dict[int, Job] = {}
        self.running: dict[str, Element] = {}
        self.unmet: list[Element] = []
        self.marks: dict[str, str] = {}
        self.said: dict[str, Any] = {}
        self.prefix = ""
        self.last = 0
        self._waiters: dict[tuple[str, int | None], list[_Waiter]] = {}

    def apply(self, event: Event) -> None:
        """Take note of what happened."""
        kind = event["event"]
        if kind == "job":
            self._job(event)
        elif kind == "limits":
            self.said |= {key: event[key] for key in event if key != "event"}
        elif kind == "counted":
            self.last, self.prefix = max(self.last, event["last"]), event["prefix"]
        elif (job := self.jobs.get(event["id"])) is not None:
            if kind == "release":
                job.held = False
                self._wake(job, None)
            else:
                self._element(kind, event, job.elements[event["index"]])

    def find(self, text: str) -> list[Element]:
        """The elements an id means: one, or all of a job; none where it is not known."""
        match = _ID.fullmatch(text)
        job = self.jobs.get(match[1]) if match else None
        if job is None or match is None:
            return []
        if match[2] is None:
            return job.elements
        index = int(match[2])
        return job.elements[index : index + 1] if job.wish.elements else []

    def reason(self, element: Element) -> str:
        """Why an element that is pending does not run."""
        job = element.job
        if job.held:
            return "held"
        if job.waits or element.waits:
            return "waits for " + ", ".join(dict.fromkeys(text for _, text in job.wish.after))
        return "resources"

    def used(self) -> Limits:
        """What the running jobs were given."""
        wishes = [each.job.wish for each in self.running.values()]
        gpus = [gpu for each in self.running.values() for gpu in each.start["gpus"]]
        cores = sum(wish.cores for wish in wishes)
        return Limits(cores, sum(wish.mem_mib for wish in wishes), tuple(gpus))

    def refusal(self, wish: Wish, limits: Limits) -> str:
        """Why a job cannot be taken; empty where it can."""
        if wish.elements > MOST_ELEMENTS:
            return f"an array has at most {MOST_ELEMENTS:,} elements, not {wish.elements:,}"
        if wish.cores > limits.cores:
            return f"{wish.cores} cores are asked for, and there are {limits.cores}"
        if limits.mem_mib is not None and wish.mem_mib > limits.mem_mib:
            return f"{wish.mem_mib} MiB of memory are asked for, and there are {limits.mem_mib}"
        if wish.gpus > len(limits.gpus):
            return f"{wish.gpus} GPUs are asked for, and there are {len(limits.gpus)}"
        for kind, text in wish.after:
            found = self.find(text)
            if not found:
                return f"there is no job `{text}` to wait for"
            if kind == "element" and (
                "_" in text or found[0].job.wish.elements != wish.elements or not wish.elements
            ):
                return f"`{text}` is no array of {wish.elements} elements"
        return ""

    def events(self) -> Iterator[Event]:
        """The events that make this book anew."""
        yield {"event": "counted", "last": self.last, "prefix": self.prefix}
        yield {"event": "limits", **self.said}
        for job in self.jobs.values():
            yield from _job_events(job)

    def forget(self, before_s: float) -> None:
        """Forget jobs that ended before `before_s`, but for those that others still name."""
        alive = [job for job in self.jobs.values() if job.left]
        named = {text.partition("_")[0] for job in alive for _, text in job.wish.after}
        for job in list(self.jobs.values()):
            if job.left or job.id in named:
                continue
            if max(each.end["at_s"] for each in job.elements) < before_s:
                del self.jobs[job.id]
                self.marks.pop(job.context.get("mark", ""), None)

    def _job(self, event: Event) -> None:
        job = Job(event)
        self.jobs[job.id] = job
        self.last = max(self.last, job.number)
        if mark := job.context.get("mark"):
            self.marks[mark] = job.id
        for kind, text in job.wish.after:
            self._edge(job, kind, text)
        self._wake(job, None)

    def _edge(self, job: Job, kind: str, text: str) -> None:
        before = self.find(text)
        if not before:  # it ended long ago, before this job was written down anew
            return
        if kind == "element":
            for mine, other in zip(job.elements, before, strict=True):
                self._wait((job, mine.index, True), other)
        elif "_" in text:
            self._wait((job, None, kind == "ok"), before[0])
        else:
            whole = before[0].job
            self._wait_for_all((job, None, kind == "ok"), whole)

    def _wait(self, waiter: _Waiter, other: Element) -> None:
        if other.state != "ended":
            self._count(waiter, 1)
            self._waiters.setdefault((other.job.id, other.index), []).append(waiter)
        elif waiter[2] and other.end["failure"]:
            self._count(waiter, 1)
            self._never(waiter)

    def _wait_for_all(self, waiter: _Waiter, whole: Job) -> None:
        if whole.failed and waiter[2]:
            self._count(waiter, 1)
            self._never(waiter)
        elif whole.left:
            self._count(waiter, 1)
            self._waiters.setdefault((whole.id, None), []).append(waiter)

    def _element(self, kind: str, event: Event, element: Element) -> None:
        if kind == "start":
            self._not_ready(element)
            element.state, element.start = "running", event
            self.running[element.id] = element
        elif kind == "again":
            element.state, element.start = "pending", {}
            self.running.pop(element.id, None)
            self._wake(element.job, element.index)
        elif kind == "warn":
            element.warned = True
        elif kind == "stop":
            element.stop = event
        elif kind == "end" and element.state != "ended":
            self._end(event, element)

    def _end(self, event: Event, element: Element) -> None:
        job = element.job
        self._not_ready(element)
        element.state, element.end = "ended", event
        self.running.pop(element.id, None)
        job.left -= 1
        well = not event["failure"]
        for waiter in self._waiters.pop((job.id, element.index), []):
            self._met(waiter, well)
        job.failed |= not well
        whole = self._waiters.get((job.id, None), [])
        if not job.left:
            self._waiters.pop((job.id, None), None)
            job.context = {"mark": job.context.get("mark", "")}
            for waiter in whole:
                self._met(waiter, not job.failed)
        elif not well:
            for waiter in whole:
                if waiter[2]:
                    self._never(waiter)

    def _met(self, waiter: _Waiter, well: bool) -> None:
        if well or not waiter[2]:
            self._count(waiter, -1)
            self._wake(waiter[0], waiter[1])
        else:
            self._never(waiter)

    def _count(self, waiter: _Waiter, more: int) -> None:
        job, index, _ = waiter
        if index is None:
            job.waits += more
        else:
            job.elements[index].waits += more

    def _never(self, waiter: _Waiter) -> None:
        job, index, _ = waiter
        elements = job.elements if index is None else [job.elements[index]]
        self.unmet += [each for each in elements if each.state == "pending"]

    def _wake(self, job: Job, index: int | None) -> None:
        """Make ready what waits for nothing any more."""
        if job.held or job.waits:
            return
        for each in job.elements if index is None else [job.elements[index]]:
            if each.state == "pending" and not each.waits:
                each.state = "ready"
                job.ready.append(each.index)
        if job.ready:
            self.ready[job.number] = job

    def _not_ready(self, element: Element) -> None:
        if element.state != "ready":
            return
        ready = element.job.ready
        if ready[0] == element.index:
            ready.popleft()
        else:
            ready.remove(element.index)
        if not ready:
            del self.ready[element.job.number]


def _job_events(job: Job) -> Iterator[Event]:
    wish = {name: getattr(job.wish, name) for name in Wish.__dataclass_fields__}
    yield {
        "event": "job",
        "id": job.id,
        "wish": {**wish, "held": job.held},
        "context": job.context,
    }
    for each in job.elements:
        if each.state == "ended":
            yield each.end
            continue
        yield from filter(None, (each.start, each.stop))
        if each.warned:
            yield {"event": "warn", "id": job.id, "index": each.index}
