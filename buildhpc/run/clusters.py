"""The clusters of a build: each one's settings, its scheduler, and what passes between them."""

# Paths are text here.

from __future__ import annotations

import getpass
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from buildhpc.messages import clusters as messages
from buildhpc.run import calls, polls
from buildhpc.schedulers.protocol import Answer, Ask, Queued, Request, UnreadableError, Verdict
from buildhpc.schedulers.registry import scheduler
from buildhpc.sites import Cluster, Sites

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 15.0


class RefusedError(Exception):
    """A scheduler does not take a job. kind: `later`, `full` or `wrong`, as `Refusal`."""

    def __init__(self, kind: Literal["later", "full", "wrong"], said: str) -> None:
        self.kind = kind
        self.said = said
        super().__init__(said)


class InDoubtError(Exception):
    """Nobody knows whether a scheduler has taken a job, not even its queue."""


class Site:
    """A cluster.

    patience_s: so long a scheduler that does not answer is asked again.
    """

    def __init__(self, settings: Cluster, folder: str, scratch: str, patience_s: float) -> None:
        self.alias = settings.alias
        self.settings = settings
        self.scheduler = scheduler(settings.scheduler, settings.switches)
        self._folder = folder
        self._scratch = scratch
        self._patience_s = patience_s
        self._place = calls.Place(
            settings.alias, settings.host, settings.ssh, self.scheduler.environment
        )
        command = self.scheduler.queue(settings.user or getpass.getuser())
        self._poll = polls.Poll(self._place, command, lambda: self._call(command), self._readable)

    @property
    def python(self) -> str:
        """The interpreter that runs jobs on the nodes."""
        return self.settings.python or sys.executable

    @property
    def max_array(self) -> int:
        """How many elements an array may have."""
        return self.settings.max_array or self.scheduler.abilities.max_array

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

    def submit(self, ask: Ask) -> str:
        """Submit a job; its id. Raises: RefusedError, InDoubtError, HpcmakeError."""
        path = os.path.join(self._scratch, f"{ask.name}.sh")
        os.makedirs(self._scratch, exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(self.scheduler.script(ask))
        try:
            return self._submit(ask, self.scheduler.submit(ask, self.there(path)))
        finally:
            os.unlink(path)

    def _submit(self, ask: Ask, command: Sequence[str]) -> str:
        deadline = time.monotonic() + self._patience_s
        pause_s = _FIRST_PAUSE_S
        while True:
            answer = self._call(command, submits=True)
            try:
                found = self.scheduler.scheduler_id(answer)
            except UnreadableError:
                found = self._find(ask.name, deadline)
            if found is not None:
                return found
            kind = self.scheduler.refusal(answer)
            if kind != "later" or time.monotonic() > deadline:
                raise RefusedError(kind, messages.said(command, answer))
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _find(self, name: str, deadline: float) -> str | None:
        """The id of a job by its name; None: the queue certainly has none of it.

        Raises: InDoubtError
        """
        pause_s = _FIRST_PAUSE_S
        while (queue := self.look(fresh=True)) is None:
            if time.monotonic() > deadline:
                raise InDoubtError(name)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
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
        if look.failures:
            return None
        return {each.id: each for each in self.scheduler.in_queue(look.answer)}

    def _readable(self, answer: Answer) -> bool:
        try:
            self.scheduler.in_queue(answer)
        except UnreadableError:
            return False
        return True

    def ends(self, ids: Sequence[str]) -> dict[str, Verdict]:
        """How jobs ended that left the queue, as far as accounting can tell."""
        found: dict[str, Verdict] = {}
        for command in self.scheduler.finished(ids) if ids else ():
            try:
                found.update(self.scheduler.verdicts(self._call(command)))
            except UnreadableError:
                continue
        return found

    def release(self, ids: Sequence[str]) -> bool:
        """Release held jobs; whether all of them are, as far as the queue tells."""
        if all(self._call(command).code == 0 for command in self.scheduler.release(ids)):
            return True
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
    """

    def __init__(
        self, sites: Sites, default: str, folder: str, scratch: str, patience_s: float
    ) -> None:
        self.default = default
        self._sites = sites
        self._open: Callable[[Cluster], Site] = lambda settings: Site(
            settings, folder, scratch, patience_s
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
