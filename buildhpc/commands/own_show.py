"""What a job knows of itself: from its files and the state, without the lock, writing nothing."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import inside as messages

if TYPE_CHECKING:
    from buildhpc.run.own import Own

_OUTSIDE = "name the job: `hpcmake show JOB`"


def show_self(args: argparse.Namespace) -> int:
    """Tell what is known of the job around this process. Raises: HpcmakeError."""
    from buildhpc.run.own import own_job

    own = own_job(os.environ)
    if own is None:
        raise messages.not_in_job("hpcmake show --self", _OUTSIDE)
    facts = _facts(own)
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    for line in _lines(facts):
        print(line)
    return 0


def _facts(own: Own) -> dict[str, Any]:
    """What is known, ready for JSON."""
    facts = {key: value for key, value in own.document.items() if key != "self"}
    if "part" in facts:
        facts["part"] = {name: facts["part"][name] for name in ("number", "count")}
    facts["run"] = own.run
    facts["home"] = own.home
    facts["scheduler_id"] = own.document["self"].get("scheduler_id")
    facts["values"] = _values(own)
    return facts


def _values(own: Own) -> dict[str, Any]:
    """What the job said of itself so far, also what nobody has read yet."""
    from buildhpc.state import notes

    found: dict[str, Any] = {}
    with suppress(HpcmakeError, OSError):  # the state may be out of reach: then this is left out
        found = _written(own)
    found.update(notes.untold(own.inbox, own.run, own.job, own.attempt))
    return {key: value for key, value in sorted(found.items()) if value is not None}


def _written(own: Own) -> dict[str, Any]:
    """What of it is part of the state. Raises: as `snapshot.read`."""
    from buildhpc.state import notes
    from buildhpc.state.database import read_state

    state = read_state(Path(own.home).parent)
    if state is None:
        return {}
    attempt = notes.attempt_of(state, own.run, own.job, own.attempt)
    return dict(notes.said(state, [attempt]).get(attempt, {})) if attempt is not None else {}


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The same for people."""
    from buildhpc.show.text import columns

    yield str(facts["name"])
    rows = [("  run", f"{facts['run']}, attempt {facts['attempt']}")]
    if part := facts.get("part"):
        rows.append(("  part", f"{part['number']} of {part['count']}"))
    if facts["scheduler_id"]:
        rows.append(("  scheduler", f"job {facts['scheduler_id']}"))
    needs = [f"{facts['cores']} core{'s' if facts['cores'] != 1 else ''}"]
    needs += [f"{facts['mem_mb']} MiB of memory"] if facts["mem_mb"] else []
    needs += [f"{facts['time_s']} s of time"] if facts["time_s"] else []
    rows.append(("  needs", ", ".join(needs)))
    for key in ("wildcards", "params", "input", "output", "values"):
        rows += [(f"  {key}", text) for text in _texts(facts.get(key))]
    rows += [("  log", facts["log"])] if facts["log"] else []
    yield from columns(rows)


def _texts(values: object) -> list[str]:
    if isinstance(values, Mapping):
        return [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    return [str(value) for value in values] if isinstance(values, (list, tuple)) else []
