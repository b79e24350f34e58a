"""The live view of a build on a terminal: bars by rule, what runs, the time that is left."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from buildhpc.plan.model import Plan, Step
from buildhpc.quantities import human_time
from buildhpc.run.events import Ended, Event, Skipped, Started, Tick, Unneeded
from buildhpc.show.report import STOPPING, Summary, Wording, print_failures, summary_line
from buildhpc.show.text import draws_lines

if TYPE_CHECKING:
    from rich.live import Live
    from rich.text import Text

_RUNNING = 10
_LEAST_BAR, _MOST_BAR = 10, 40
# Drawn so often where nothing happens but time.
_REDRAW_S = 1.0


@dataclass(slots=True)
class _Tally:
    """The jobs of one rule.

    over: done, or nothing more will come of them: `failed` and `skipped` ones.
    wall_s, core_s: of the `timed` ones.
    """

    total: int
    over: int = 0
    failed: int = 0
    skipped: int = 0
    running: int = 0
    timed: int = 0
    wall_s: float = 0.0
    core_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Running:
    """An attempt that runs. since_s: of the monotonic clock."""

    rule: str
    since_s: float
    cores: int


class Progress:
    """What is done and what runs; counts and sums only, whatever the number of jobs.

    totals: rule -> number of its jobs.
    """

    def __init__(self, totals: Mapping[str, int]) -> None:
        self.rules: dict[str, _Tally] = {}
        self.running: dict[str, _Running] = {}
        self.total = 0
        # Jobs whose names do not begin with what they are counted under, as those of job lists.
        self._named: dict[str, str] = {}
        self.more(totals)

    def more(self, totals: Mapping[str, int]) -> None:
        """Count further jobs."""
        for rule, total in totals.items():
            self.rules.setdefault(rule, _Tally(0)).total += total
            self.total += total

    def count(self, steps: Iterable[Step]) -> None:
        """Count the jobs of further steps; one that only names its inputs is none."""
        totals: Counter[str] = Counter()
        for step in steps:
            name, rule = step.job.name, step.job.rule.task
            totals[rule] += step.job.acts
            if rule_of(name) != rule:
                self._named[name] = rule
        self.more(totals)

    def _tally(self, job: str) -> _Tally:
        return self.rules[self._named.get(job) or rule_of(job)]

    @property
    def over(self) -> int:
        """How many jobs are over."""
        return sum(tally.over for tally in self.rules.values())

    @property
    def done(self) -> int:
        """How many jobs are done."""
        return sum(each.over - each.failed - each.skipped for each in self.rules.values())

    @property
    def cores(self) -> int:
        """How many cores are in use."""
        return sum(job.cores for job in self.running.values())

    def event(self, event: Event, now_s: float) -> None:
        """Take note of an event."""
        if isinstance(event, Started):
            rule = event.spec.rule
            self.running[event.job] = _Running(rule, now_s, event.spec.needs.cores)
            self.rules[rule].running += 1
        elif isinstance(event, Ended):
            self._ended(event)
        elif isinstance(event, (Skipped, Unneeded)):
            self._tally(event.job).skipped += isinstance(event, Skipped)
            self.settled(event.job)

    def settled(self, job: str) -> None:
        """Nothing more will come of a job that did not run here."""
        self._tally(job).over += 1

    def _ended(self, event: Ended) -> None:
        tally = self._tally(event.job)
        begun = self.running.pop(event.job, None)
        if begun is not None:
            tally.running -= 1
        if event.retry:
            return
        tally.over += 1
        outcome = event.outcome
        if outcome.state == "done":
            wall_s = max(0.0, outcome.ended_s - outcome.started_s)
            tally.timed += 1
            tally.wall_s += wall_s
            tally.core_s += wall_s * (begun.cores if begun else 1)
        else:
            tally.failed += 1

    def left(self, now_s: float) -> tuple[float, bool] | None:
        """Seconds to the end as far as can be told, and whether of some rule nothing is known.

        None before a job has ended: there is nothing yet to go by.
        """
        timed = sum(tally.timed for tally in self.rules.values())
        if not timed:
            return None
        usual = sum(tally.core_s for tally in self.rules.values()) / timed
        work, longest, guessed = 0.0, 0.0, False
        for tally in self.rules.values():
            todo = tally.total - tally.over
            if todo and tally.timed:
                work += todo * tally.core_s / tally.timed
                longest = max(longest, tally.wall_s / tally.timed)
            elif todo:
                work += todo * usual
                guessed = True
        for job in self.running.values():
            tally = self.rules[job.rule]
            mean_s = tally.wall_s / tally.timed if tally.timed else 0.0
            work -= min(now_s - job.since_s, mean_s) * job.cores
        busy = max(1, self.cores)
        alone = longest if len(self.running) < self.total - self.over else 0.0
        return max(work / busy, alone, 0.0), guessed


def rule_of(job: str) -> str:
    """The rule of a job, by its name."""
    return job.partition(" ")[0]


class LiveView:
    """Redraws itself in place, at ticks only; what is worth keeping scrolls by above."""

    def __init__(self, plan: Plan, wording: Wording) -> None:
        self._wording = wording
        self._progress = Progress({})
        self._progress.count(plan.steps)
        self._begun_s = time.monotonic()
        self._drawn_s = 0.0
        self._changed = True
        self._above: list[str] = []
        self._theirs: dict[str, int] = {}
        self._stopping = False
        self._live: Live | None = None
        self._strokes = "━─" if draws_lines(sys.stdout) else "#-"

    def waiting_for(self, jobs: Mapping[str, int]) -> None:
        """See `Reporter.waiting_for`."""
        self._theirs = dict(jobs)

    def theirs_done(self, job: str) -> None:
        """See `Reporter.theirs_done`."""
        self._progress.settled(job)
        self._theirs.pop(job, None)
        self._changed = True
        line = self._wording.theirs(job)
        if self._wording.verbose:
            self._above.append(line)

    def more(self, steps: Sequence[Step]) -> None:
        """See `Reporter.more`."""
        self._wording.more(steps)
        self._progress.count(steps)
        self._changed = True

    def stopping(self) -> None:
        """See `Reporter.stopping`."""
        self._stopping = True
        self._changed = True

    def event(self, event: Event) -> None:
        """See `Reporter.event`."""
        now_s = time.monotonic()
        if isinstance(event, Tick):
            if self._changed or now_s - self._drawn_s >= _REDRAW_S:
                self._draw(now_s)
            return
        self._progress.event(event, now_s)
        self._changed = True
        if self._theirs and isinstance(event, Started):
            self._theirs.pop(event.job, None)
        lines = self._wording.event(event)
        failed = isinstance(event, Ended) and event.outcome.state == "failed"
        if self._wording.verbose or failed:
            self._above += lines

    def end(self, summary: Summary) -> None:
        """See `Reporter.end`."""
        self.close()
        print_failures(summary, self._wording.again)
        print(summary_line(summary))

    def close(self) -> None:
        """See `Reporter.close`."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        for line in self._above:
            print(line)
        self._above.clear()
        sys.stdout.flush()

    def _draw(self, now_s: float) -> None:
        from rich.live import Live
        from rich.text import Text

        if self._live is None:
            # Made now, since most builds that have little to do end before the first tick.
            self._live = Live(
                auto_refresh=False,
                transient=True,
                redirect_stderr=sys.stderr.isatty(),
                vertical_overflow="crop",
            )
            self._live.start()
        console = self._live.console
        if self._above:
            above = Text("\n".join(self._above))
            self._above.clear()
            console.print(above, highlight=False)
        width, height = console.size
        frame = Text(no_wrap=True, overflow="ellipsis")
        for number, line in enumerate(self._frame(now_s, width, height)):
            if number:
                frame.append("\n")
            frame.append_text(line)
        self._live.update(frame, refresh=True)
        self._drawn_s, self._changed = now_s, False

    def _frame(self, now_s: float, width: int, height: int) -> Iterator[Text]:
        from rich.text import Text

        jobs = min(_RUNNING, max(1, height // 2 - 2))
        yield from self._bars(width, max(1, height - jobs - 5))
        running = list(self._progress.running.items())
        shown = running[:jobs]
        wide = max((len(self._wording.name(name)) for name, _ in shown), default=0)
        wide = min(wide, max(10, width - 16))
        for name, job in shown:
            text = self._wording.name(name)
            text = text if len(text) <= wide else f"{text[: wide - 3]}..."
            yield Text.assemble(f"  {text:{wide}}  ", (human_time(now_s - job.since_s), "dim"))
        if len(running) > len(shown):
            yield Text(f"  and {len(running) - len(shown):,} more run", "dim")
        yield self._last_line(now_s)
        if self._theirs:
            yield Text(self._wording.waiting(self._theirs), "yellow")
        if self._stopping:
            yield Text(STOPPING, "yellow")

    def _bars(self, width: int, room: int) -> Iterator[Text]:
        """A bar for each rule; with more rules than room those where something happens first."""
        from rich.text import Text

        rules = [each for each in self._progress.rules.items() if each[1].total]
        hidden = 0
        if len(rules) > room:
            busy = sorted(range(len(rules)), key=lambda at: _rank(rules[at][1]))
            kept = sorted(busy[: max(1, room - 1)])
            hidden = len(rules) - len(kept)
            rules = [rules[at] for at in kept]
        names = min(max(len(name) for name, _ in rules), 30)
        digits = max(len(f"{tally.total:,}") for _, tally in rules)
        bar = max(_LEAST_BAR, min(_MOST_BAR, width - names - 2 * digits - 30))
        for name, tally in rules:
            full = bar * tally.over // max(1, tally.total)
            colour = "red" if tally.failed else "green" if tally.over == tally.total else "blue"
            line = Text.assemble(
                f"{name[:names]:{names}}  ",
                (self._strokes[0] * full, colour),
                (self._strokes[1] * (bar - full), "dim"),
                f"  {tally.over:>{digits},}/{tally.total:<{digits},}",
            )
            if tally.running:
                line.append(f"  {tally.running:,} running", "blue")
            if tally.failed:
                line.append(f"  {tally.failed:,} failed", "red")
            yield line
        if hidden:
            yield Text(f"and {hidden:,} more rules", "dim")

    def _last_line(self, now_s: float) -> Text:
        from rich.text import Text

        progress = self._progress
        parts = [f"{progress.done:,} of {progress.total:,} jobs done"]
        cores = progress.cores
        if cores:
            parts.append(f"{cores:,} core{'s' if cores > 1 else ''} in use")
        parts.append(f"{human_time(now_s - self._begun_s)} so far")
        left = progress.left(now_s)
        if left is not None:
            seconds, guessed = left
            parts.append(f"{'at least' if guessed else 'about'} {human_time(seconds)} left")
        return Text(", ".join(parts), "bold")


def _rank(tally: _Tally) -> int:
    if tally.running or tally.failed:
        return 0
    if 0 < tally.over < tally.total:
        return 1
    return 2 if not tally.over else 3
