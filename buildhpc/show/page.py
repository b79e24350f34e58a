"""The report: one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from buildhpc.quantities import human_time
from buildhpc.show.advice import HEAD, advice, row
from buildhpc.show.dashboard import sums_of
from buildhpc.show.text import clock
from buildhpc.state.overview import JobNow, Overview
from buildhpc.state.queries import RunRow
from buildhpc.state.usage import Ran, Used

_LOG_CHARS = 20_000
_COLOURS = {"done": "#2a7", "failed": "#d33", "lost": "#d33", "running": "#37d"}
_STYLE = """
:root { color-scheme: light dark; --line: #8885; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; }
body { padding: 0 1rem; }
h2 { margin-top: 2.2rem; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; }
td.n, th.n { text-align: right; } tr + tr td { border-top: 1px solid var(--line); }
pre { overflow: auto; padding: .6rem; border: 1px solid var(--line); border-radius: 6px; }
.wide { overflow-x: auto; } summary { cursor: pointer; } .dim { opacity: .7; }
svg { color: light-dark(#456, #abc) !important; max-width: none; }
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the report tells. graph: the lines of an SVG; logs: job -> what it printed last."""

    title: str
    made_s: float
    found: Overview
    runs: Sequence[RunRow]
    ran: Sequence[Ran]
    used: Sequence[Used]
    graph: Sequence[str]
    failed: Sequence[JobNow]
    logs: dict[str, str]


def page(facts: Facts) -> Iterator[str]:
    """The lines of the page."""
    title = escape(facts.title)
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width">'
    yield '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    yield "style-src 'unsafe-inline'\">"
    yield f"<title>{title}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{title}</h1><p class=dim>as of {clock(facts.made_s)}</p>"
    yield from _section("Summary", _summary(facts.found))
    yield from _section("Runs", _runs(facts.runs))
    yield from _section("Failures", _failures(facts))
    yield from _section("Timeline", _timeline(facts.ran, facts.made_s))
    yield from _section("Resources", _resources(facts.used))
    yield from _section("Graph", [f'<div class="wide">{"".join(facts.graph)}</div>'])
    yield "</body></html>"


def _section(name: str, lines: Iterator[str] | Sequence[str]) -> Iterator[str]:
    yield f"<h2>{name}</h2>"
    yield from lines


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> Iterator[str]:
    def cells(kind: str, row_: Sequence[str]) -> str:
        return "".join(
            f"<{kind}{'' if at < left else ' class=n'}>{escape(cell)}</{kind}>"
            for at, cell in enumerate(row_)
        )

    yield f'<div class="wide"><table><tr>{cells("th", head)}</tr>'
    for each in rows:
        yield f"<tr>{cells('td', each)}</tr>"
    yield "</table></div>"


def _summary(found: Overview) -> Iterator[str]:
    sums = sums_of(found.counts)
    states = list(sums)
    rows = [
        [rule, *(f"{of_rule.get(state, 0):,}" for state in states), f"{sum(of_rule.values()):,}"]
        for rule, of_rule in found.counts.items()
    ]
    totals = [f"{number:,}" for number in sums.values()]
    yield from _table(
        ["rule", *states, "total"], [*rows, ["total", *totals, f"{found.number():,}"]]
    )


def _runs(runs: Sequence[RunRow]) -> Iterator[str]:
    rows = [
        [f"run {run.id}", run.status, clock(run.started_s), _length(run), run.host, run.command]
        for run in runs
    ]
    yield from _table(["", "status", "began", "took", "host", "command"], rows, left=6)


def _length(run: RunRow) -> str:
    return "" if run.ended_s is None else human_time(max(0.0, run.ended_s - run.started_s))


def _failures(facts: Facts) -> Iterator[str]:
    if not facts.failed:
        yield "<p>None.</p>"
    for job in facts.failed:
        text = facts.logs.get(job.job, "")
        cut = "[...]\n" if len(text) > _LOG_CHARS else ""
        yield f"<details open><summary><b>{escape(job.job)}</b>: {escape(job.failure or job.state)}"
        yield f"</summary><pre>{escape(cut + text[-_LOG_CHARS:]) or 'it printed nothing'}</pre>"
        yield "</details>"


def _timeline(ran: Sequence[Ran], now_s: float) -> Iterator[str]:
    """A bar for each attempt, one below the other where they overlap."""
    if not ran:
        yield "<p>Nothing ran.</p>"
        return
    first = min(each.started_s for each in ran)
    last = max(each.ended_s or now_s for each in ran)
    scale = 1000 / max(last - first, 0.001)
    lanes: list[float] = []
    bars = []
    for each in ran:
        end_s = each.ended_s or now_s
        lane = next((at for at, free in enumerate(lanes) if free <= each.started_s), len(lanes))
        lanes[lane : lane + 1] = [end_s]
        wide = max(1.0, (end_s - each.started_s) * scale)
        text = f"{each.job}: {each.state}, {human_time(max(0.0, end_s - each.started_s))}"
        text += f", {clock(each.started_s)}" + (f", {each.host}" if each.host else "")
        bars.append(
            f'<rect x="{(each.started_s - first) * scale:.1f}" y="{lane * 8}" width="{wide:.1f}" '
            f'height="7" fill="{_COLOURS.get(each.state, "#999")}">'
            f"<title>{escape(text)}</title></rect>"
        )
    high = len(lanes) * 8
    yield f'<div class="wide"><svg width="1000" height="{high}" viewBox="0 0 1000 {high}">'
    yield from bars
    yield "</svg></div>"
    told = f"{clock(first)} to {clock(last)}; the last {len(ran):,} attempts"
    yield f"<p class=dim>{told}</p>"


def _resources(used: Sequence[Used]) -> Iterator[str]:
    if not used:
        yield "<p>No job ended well yet.</p>"
        return
    yield from _table(HEAD, [row(each) for each in used])
    told = list(advice(used))
    if told:
        yield "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in told) + "</ul>"
