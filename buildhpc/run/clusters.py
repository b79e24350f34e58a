"""The clusters of a build: each one's settings, its scheduler, and what passes between them."""

# Paths are text here.

from __future__ import annotations

import getpass
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import clusters as messages
from buildhpc.run import calls, polls
from buildhpc.schedulers.protocol import (
    Answer,
    Ask,
    Identified,
    Queued,
    Request,
    UnreadableError,
    Verdict,
)
from buildhpc.schedulers.registry import scheduler
from buildhpc.sites import Cluster, Sites

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 15.0
# So soon it is noticed that nobody waits any more.
_NOTICED_S = 0.2
# So many calls that submit may come at once, before `submit_rate` holds.
_AT_ONCE = 100


class RefusedError(Exception):
    """A scheduler does not take a job. kind: `later`, `full` or `wrong`, as `Refusal`."""

    def __init__(self, kind: Literal["later", "full", "wrong"], said: str) -> None:
        self.kind = kind
        self.said = said
        super().__init__(said)


class InDoubtError(Exception):
    """Nobody knows whether a scheduler has taken a job, not even its queue."""


class Patience:
    """How long a scheduler that does not answer is asked again.

    tell: who is told, once for each reason, that somebody waits.
    """

    def __init__(self, longest_s: float) -> None:
        self.tell: Callable[[str], None] = lambda _: None
        self._longest_s = longest_s
        self._over = False

    def told(self, cluster: str, words: str) -> None:
        """Tell that a scheduler is asked again, and why."""
        if not self._over and self._longest_s:
            self.tell(messages.asked_again(cluster, words, self._longest_s))

    def end(self) -> None:
        """Have none from now on."""
        self._over = True

    def deadline(self) -> float:
        """When it ends, if it begins now; by the clock that never goes back."""
        return time.monotonic() + self._longest_s

    def wait(self, pause_s: float, deadline_s: float) -> bool:
        """Wait; False, at once, when there is none left."""
        until_s = time.monotonic() + pause_s
        while not self._over and (left_s := until_s - time.monotonic()) > 0:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(min(left_s, _NOTICED_S))
        return not self._over


class Pace:
    """Keeps calls at `rate` a second, after a number of them that may come at once."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._free = float(_AT_ONCE)
        self._then_s = clock()

    def keep(self) -> None:
        """Wait until one more call is due."""
        now_s = self._clock()
        self._free = min(_AT_ONCE, self._free + (now_s - self._then_s) * self._rate)
        self._then_s = now_s
        self._free -= 1
        if self._free < 0:
            time.sleep(-self._free / self._rate)


class Site:
    """A cluster.

    patience: with a scheduler that does not answer.
    """

    def __init__(self, settings: Cluster, folder: str, scratch: str, patience: Patience) -> None:
        self.alias = settings.alias
        self.settings = settings
        self.scheduler = scheduler(settings.scheduler, settings.switches)
        self._folder = folder
        self._scratch = scratch
        self._patience = patience
        self._place = calls.Place(
            settings.alias, settings.host, settings.ssh, self.scheduler.environment
        )
        command = self.scheduler.queue(settings.user or getpass.getuser())
        self._pace = Pace(settings.submit_rate)
        self._known_as: str | None = None
        self._read: tuple[Answer, dict[str, Queued]] | None = None
        self._poll = polls.Poll(self._place, command, lambda: self._call(command), self._readable)

    @property
    def python(self) -> str:
        """The interpreter that runs jobs on the nodes."""
        return self.settings.python or sys.executable

    @property
    def max_array(self) -> int:
        """How many elements an array may have."""
        return self.settings.max_array or self.scheduler.abilities.max_array

    def known_as(self) -> str | None:
        """What tells the cluster that answers from others; empty: nothing does.

        None: nobody knows now.
        """
        if self._known_as is None:
            if not isinstance(self.scheduler, Identified):
                self._known_as = ""
                return ""
            try:
                answer = self._call(self.scheduler.identify())
                self._known_as = self.scheduler.identity(answer)
            except (UnreadableError, HpcmakeError):
                return None
        return self._known_as

    def answers_for(self, sites: Iterable[str]) -> frozenset[str]:
        """Those of `sites`, as `known_as` told when they were used, that are what answers.

        It is asked for once: where it does not say, it would say so for each of many jobs.
        """
        asked = frozenset(sites)
        now = self.known_as() if asked - {""} else ""
        return asked if now == "" else asked & {"", now}

    def there(self, path: str) -> str:
        """An absolute path of this host, as the nodes see it."""
        far = self.settings.folder
        if far and (path == self._folder or path.startswith(self._folder + os.sep)):
            return far + path[len(self._folder) :]
        return path

    def words(self, rule: str) -> Mapping[str, Any]:
        """Directive -> what the site says for a rule instead of the Pipefile."""
        return self.settings.words(rule)

    def place(self, request: Request, job: str) -> Request:
        """A request with the partition and the account that the site has for it.

        Raises: HpcmakeError where no partition can run it.
        """
        return self.settings.placed(request, job)

    def trimmed(self, request: Request) -> Request:
        """A request of hpcmake's own, without what the scheduler has no words for."""
        words = self.scheduler.abilities.words
        known = {name: getattr(Request(), name) for name in ("mem_mib", "time_s")}
        return replace(
            self.place(request, "hpcmake"),
            **{name: value for name, value in known.items() if name not in words},
        )

    def script_path(self, name: str) -> str:
        """Where the script of a submission of this name is while it is submitted."""
        return os.path.join(self._scratch, f"{name}.sh")

    def submit(self, ask: Ask) -> str:
        """Submit a job; its id. Raises: RefusedError, InDoubtError, HpcmakeError."""
        path = self.script_path(ask.name)
        os.makedirs(self._scratch, exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(self.scheduler.script(ask))
        try:
            return self._submit(ask, self.scheduler.submit(ask, self.there(path)))
        finally:
            os.unlink(path)

    def _submit(self, ask: Ask, command: Sequence[str]) -> str:
        deadline = self._patience.deadline()
        pause_s = _FIRST_PAUSE_S
        while True:
            self._pace.keep()
            answer = self._call(command, submits=True)
            kind = self.scheduler.refusal(answer)
            try:
                found = self.scheduler.scheduler_id(answer)
            except UnreadableError:
                # That is no refusal of what is asked for.
                kind = "later" if kind == "wrong" else kind
                found = self._find(ask.name, deadline)
            else:
                if found is None and kind == "wrong":
                    # It may have been taken all the same, and something after that gone wrong.
                    found = self._find(ask.name, deadline)
            if found is not None:
                return found
            if kind == "later":
                self._patience.told(self.alias, messages.words_of(answer))
            if kind != "later" or not self._patience.wait(pause_s, deadline):
                raise RefusedError(kind, messages.said(command, answer))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def find(self, name: str) -> str | None:
        """As `_find`, of one look. Raises: HpcmakeError, InDoubtError."""
        queue = self.look(fresh=True)
        if queue is None:
            raise InDoubtError(name)
        return self.named(queue, name)

    def _find(self, name: str, deadline: float) -> str | None:
        """The id of a job by its name; None: the queue certainly has none of it.

        Raises: InDoubtError
        """
        pause_s = _FIRST_PAUSE_S
        try:
            while (queue := self.look(fresh=True)) is None:
                self._patience.told(self.alias, messages.queue_unknown())
                if not self._patience.wait(pause_s, deadline):
                    raise InDoubtError(name)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        except HpcmakeError as error:
            raise InDoubtError(name) from error
        return self.named(queue, name)

    def named(self, queue: Mapping[str, Queued], name: str) -> str | None:
        """The id of what has a name in the queue; None: nothing has it."""
        for each in queue.values():
            if each.name == name:
                return self.scheduler.whole(each.id)
        return None

    def look(self, *, fresh: bool = False) -> dict[str, Queued] | None:
        """What the queue holds, by id; None: nobody knows.

        fresh: not what another hpcmake of this machine was told a moment ago.
        """
        poll_s = 0.0 if fresh else self.settings.poll_s
        look = self._poll.look(poll_s, time.time() if fresh else 0.0)
        return None if look.failures else self._in_queue(look.answer)

    def _in_queue(self, answer: Answer) -> dict[str, Queued]:
        """What an answer says of a queue; of the same answer the same object.

        Raises: UnreadableError
        """
        if self._read is None or self._read[0] != answer:
            self._read = answer, {each.id: each for each in self.scheduler.in_queue(answer)}
        return self._read[1]

    def _readable(self, answer: Answer) -> bool:
        try:
            self._in_queue(answer)
        except UnreadableError:
            return False
        return True

    def ends(self, ids: Sequence[str]) -> tuple[dict[str, Verdict], Collection[str]]:
        """How jobs ended that left the queue, and the ids of which accounting gave no answer."""
        found: dict[str, Verdict] = {}
        answered = True
        for command in self.scheduler.finished(ids) if ids else ():
            try:
                found.update(self.scheduler.verdicts(self._call(command)))
            except (UnreadableError, HpcmakeError):
                answered = False
        return found, () if answered else [id_ for id_ in ids if id_ not in found]

    def release(self, ids: Sequence[str]) -> bool:
        """Release held jobs that wait for nothing else; whether all are, as the queue tells."""
        for command in self.scheduler.release(ids):
            self._call(command)
        queue = self.look(fresh=True)
        if queue is None:
            return False
        waiting = {self.scheduler.whole(each.id) for each in queue.values() if each.state == "held"}
        return not waiting.intersection(ids)

    def cancel(self, ids: Sequence[str]) -> None:
        """Cancel jobs or elements; whether it was done the queue tells."""
        for command in self.scheduler.cancel(ids) if ids else ():
            self._call(command)

    def validate(self, ask: Ask, script: str) -> Answer | None:
        """What the scheduler says to a script that is not submitted; None: it cannot say."""
        command = self.scheduler.validate(ask, script)
        return None if command is None else self._call(command)

    def _call(self, command: Sequence[str], *, submits: bool = False) -> Answer:
        return calls.call(self._place, command, self.there(self._folder), submits=submits)


class Clusters:
    """The clusters of a folder, each opened when it is first asked for.

    default: the cluster of rules that name none. scratch: an existing folder for job scripts.
    patience_s: so long a scheduler that does not answer is asked again.
    """

    def __init__(
        self, sites: Sites, default: str, folder: str, scratch: str, patience_s: float
    ) -> None:
        self.default = default
        self.patience = Patience(patience_s)
        self._sites = sites
        self._open: Callable[[Cluster], Site] = lambda settings: Site(
            settings, folder, scratch, self.patience
        )
        self._known: dict[str, Site] = {}

    def site(self, alias: str) -> Site:
        """The cluster of a name. Raises: HpcmakeError."""
        if alias not in self._known:
            self._known[alias] = self._open(self._sites.cluster(alias))
        return self._known[alias]

    def known(self) -> list[Site]:
        """The clusters that were asked for."""
        return list(self._known.values())
