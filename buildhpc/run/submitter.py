"""Submits a slice: each scheduler job after those it waits for, roots held and released last."""

# Paths are text here.

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import clusters as messages
from buildhpc.plan.arrays import Link
from buildhpc.run.asks import WARN_S, Files, Try, ask_of, elements_of, to_submit, umask
from buildhpc.run.clusters import Clusters, InDoubtError, RefusedError, Site
from buildhpc.run.manifest import Header, write_manifest
from buildhpc.run.slices import Draft
from buildhpc.schedulers.protocol import Ask, Edge, Request
from buildhpc.state import submissions
from buildhpc.state.database import State
from buildhpc.state.flights import InFlight
from buildhpc.state.submissions import Slice

_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# What the one small job asks for that takes a run on when nobody else does.
_CONTINUE = Request(cores=1, mem_mib=512, time_s=600)
# It waits for so many of what was submitted last.
_MOST_EDGES = 100


@dataclass(frozen=True, slots=True)
class Conduct:
    """How the runners of a run go about it; see `manifest.Header`.

    latency_s: None: as the settings of each cluster have it.
    """

    marker: str
    latency_s: float | None
    keep_incomplete: bool


@dataclass(slots=True)
class Report:
    """What came of a slice.

    submitted: jobs that are in a queue now. full: clusters that take no more for now.
    wrong: job of the plan -> why its cluster will not have it. doubt: clusters whose answers
    left it open. away: cluster that cannot be had -> what to tell of that.
    """

    submitted: int
    full: set[str]
    wrong: dict[int, str]
    doubt: set[str]
    away: dict[str, HpcmakeError]


class Submitter:
    """Submits the slices of one run."""

    def __init__(self, state: State, clusters: Clusters, run: int, conduct: Conduct) -> None:
        self._state = state
        self._clusters = clusters
        self._run = run
        self._conduct = conduct
        self._folder = os.path.abspath(state.folder)
        self._home = os.path.abspath(state.home)

    def submit(
        self,
        drafts: Sequence[Draft],
        tries: Mapping[int, Try],
        flights: Sequence[InFlight],
        wakers: frozenset[int],
        seen: frozenset[int] | None = None,
    ) -> Report | None:
        """Submit drafts, all for one cluster.

        None: a job was taken by somebody else meanwhile, or the room that there was.
        tries: what is attempted, by number of the job. flights: what is in the queue already.
        wakers: the jobs whose success somebody waits for outside of their own queue.
        seen: the attempts in flight there that the room was counted by.
        """
        opened = submissions.open_slice(
            self._state,
            self._run,
            [to_submit(draft, tries) for draft in drafts],
            {each.details["recipe"]: each.details["text"] for each in tries.values()},
            seen,
            self._clusters.site(drafts[0].cluster).known_as() or "",
        )
        if opened is None:
            return None
        self._write_manifest(opened, drafts, tries, wakers)
        at_sites = _Slice(self, opened, drafts, flights)
        report = at_sites.submit()
        at_sites.release()
        return report

    def _write_manifest(
        self,
        opened: Slice,
        drafts: Sequence[Draft],
        tries: Mapping[int, Try],
        wakers: frozenset[int],
    ) -> None:
        conduct = self._conduct
        site = self._clusters.site(drafts[0].cluster)
        header = Header(
            self._run,
            opened.id,
            site.there(self._folder),
            site.there(self._home),
            conduct.marker,
            site.settings.latency_s if conduct.latency_s is None else conduct.latency_s,
            keep_incomplete=conduct.keep_incomplete,
            warn_s=WARN_S,
            umask=umask(),
        )
        elements = elements_of(opened.submissions, drafts, tries, wakers)
        os.makedirs(os.path.join(self._home, f"run-{self._run}", "logs"), exist_ok=True)
        write_manifest(os.path.join(self._folder, opened.manifest), header, elements)

    def ask(self, opened: Slice, place: int, draft: Draft, after: Sequence[Edge]) -> Ask:
        """What is asked of the scheduler for a draft."""
        made = opened.submissions[place]
        files = Files(
            self._folder, os.path.join(self._folder, opened.manifest), self._output(opened.id)
        )
        site = self._clusters.site(draft.cluster)
        return ask_of(site, draft, made, after, files)

    def go_on(self, alias: str, name: str, flights: Sequence[InFlight]) -> bool:
        """Submit the one small job that takes the run on once others are over.

        flights: what is in the queue of its cluster. False: it was not taken; the run goes on
        all the same when somebody looks at it.
        """
        site = self._clusters.site(alias)
        whole = {
            site.scheduler.whole(each.id): None
            for each in flights
            if each.id is not None and each.cluster == alias
        }
        program = "import sys; from buildhpc.cli import main; sys.exit(main(sys.argv[1:]))"
        words = [site.python, "-P", "-c", program, "advance", "--run", str(self._run)]
        words += ["--quietly", "--go-on", name]
        path = shlex.quote(site.there(_PACKAGE))
        ask = Ask(
            name=name,
            body=f"export PYTHONPATH={path}\nexec {shlex.join(words)}\n",
            request=site.trimmed(_CONTINUE),
            folder=site.there(self._folder),
            output=site.there(os.path.join(self._home, f"run-{self._run}", "go-on.out")),
            after=tuple(Edge(id_) for id_ in list(whole)[-_MOST_EDGES:]),
            warn_s=0,
        )
        try:
            site.submit(ask)
        except (RefusedError, InDoubtError, HpcmakeError):
            return False
        return True

    def _output(self, slice_: int) -> str:
        return os.path.join(self._home, f"run-{self._run}", f"slice-{slice_}.out")

    def site(self, alias: str) -> Site:
        """A cluster."""
        return self._clusters.site(alias)

    @property
    def state(self) -> State:
        """The state of the folder."""
        return self._state


class _Slice:
    """The act of submitting one slice."""

    def __init__(
        self,
        submitter: Submitter,
        opened: Slice,
        drafts: Sequence[Draft],
        flights: Sequence[InFlight],
    ) -> None:
        self._submitter = submitter
        self._opened = opened
        self._drafts = drafts
        # Of what is in the queues already: submission -> its id, and ids of its elements.
        self._whole: dict[int, str] = {}
        self._elements: dict[tuple[int, int], str] = {}
        for flight in flights:
            if flight.id is not None:
                site = submitter.site(flight.cluster)
                self._whole[flight.place.submission] = site.scheduler.whole(flight.id)
                self._elements[flight.place[:2]] = flight.id
        self._ids: dict[int, str] = {}  # place of a draft -> its id
        self._held: dict[str, list[str]] = {}  # cluster -> ids
        self._report = Report(0, set(), {}, set(), {})

    def submit(self) -> Report:
        """Submit the drafts in their order; those that could not be are taken back."""
        report = self._report
        places: dict[str, list[int]] = {}
        back, doubts = [], []
        for place, draft in enumerate(self._drafts):
            mine = places.setdefault(draft.cluster, [])
            mine.append(place)
            before = [mine[link.array] for link in draft.links if link.array is not None]
            closed = draft.cluster in report.full | report.doubt
            if closed or not all(each in self._ids for each in before):
                back.append(self._opened.submissions[place].id)
                continue
            try:
                self._submit_one(place, draft, mine)
            except InDoubtError:
                doubts.append(place)
                report.doubt.add(draft.cluster)
            except RefusedError as refused:
                back.append(self._opened.submissions[place].id)
                self._refused(draft, refused)
        if back:
            submissions.revert(self._submitter.state, back)
        return report

    def _submit_one(self, place: int, draft: Draft, places: Sequence[int]) -> None:
        """Raises: InDoubtError, RefusedError; HpcmakeError where its state cannot be written."""
        site = self._submitter.site(draft.cluster)
        edges = [self._edge(link, places, site) for link in draft.links]
        ask = self._submitter.ask(self._opened, place, draft, edges)
        try:
            id_ = site.submit(ask)
        except HpcmakeError as error:
            self._report.away[draft.cluster] = error
            raise RefusedError("later", error.problems[0].text) from error
        self._ids[place] = id_
        elements = element_ids(site, id_, ask.elements)
        made = self._opened.submissions[place]
        submissions.named(self._submitter.state, made.id, id_, elements, held=ask.held)
        if ask.held:
            self._held.setdefault(draft.cluster, []).append(id_)
        self._report.submitted += sum(map(len, draft.elements))

    def _edge(self, link: Link, places: Sequence[int], site: Site) -> Edge:
        if link.array is not None:
            whole = self._ids[places[link.array]]
        else:
            assert link.submission is not None
            whole = self._whole[link.submission]
        if link.element is None:
            return Edge(whole, link.kind)
        if link.submission is not None:
            return Edge(self._elements[link.submission, link.element], link.kind)
        return Edge(site.scheduler.element_id(whole, link.element), link.kind)

    def _refused(self, draft: Draft, refused: RefusedError) -> None:
        if refused.kind != "wrong":
            self._report.full.add(draft.cluster)
            if refused.kind == "later":
                away = messages.cluster_away(draft.cluster, refused.said)
                self._report.away.setdefault(draft.cluster, away)
            return
        for numbers in draft.elements:
            for number in numbers:
                self._report.wrong[number] = refused.said

    def release(self) -> None:
        """Let the roots start. What could not be released is left to whoever looks next."""
        done = True
        for alias, ids in self._held.items():
            try:
                done = self._submitter.site(alias).release(ids) and done
            except HpcmakeError:
                done = False
        if done and not self._report.doubt:
            submissions.released(self._submitter.state, self._opened.id)
        else:
            submissions.leave(self._submitter.state, [self._opened.id])


def element_ids(site: Site, id_: str, elements: int) -> list[str]:
    """The ids of the elements of an array; of a plain job its own alone."""
    if not elements:
        return [id_]
    return [site.scheduler.element_id(id_, each) for each in range(elements)]
