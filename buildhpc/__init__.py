"""hpcmake: Make for research, at cluster scale."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from buildhpc.api.job_list import JobList
    from buildhpc.api.pipeline import Pipeline, load
    from buildhpc.api.views import Graph, Jobs, Plan, Result, Status, Submitted
    from buildhpc.diagnostics import HpcmakeError
    from buildhpc.joblist.entries import Entry, Task, flagged
    from buildhpc.joblist.load import settings
    from buildhpc.run.events import Ended, Skipped, Started, Unneeded

__version__ = "0.1.0"

# Name -> the module that has it. They are loaded when they are asked for.
_PUBLIC = {
    "Ended": "run.events",
    "Entry": "joblist.entries",
    "Graph": "api.views",
    "HpcmakeError": "diagnostics",
    "JobList": "api.job_list",
    "Jobs": "api.views",
    "Pipeline": "api.pipeline",
    "Plan": "api.views",
    "Result": "api.views",
    "Skipped": "run.events",
    "Started": "run.events",
    "Status": "api.views",
    "Submitted": "api.views",
    "Task": "joblist.entries",
    "Unneeded": "run.events",
    "flagged": "joblist.entries",
    "load": "api.pipeline",
    "settings": "joblist.load",
}

__all__ = [
    "Ended",
    "Entry",
    "Graph",
    "HpcmakeError",
    "JobList",
    "Jobs",
    "Pipeline",
    "Plan",
    "Result",
    "Skipped",
    "Started",
    "Status",
    "Submitted",
    "Task",
    "Unneeded",
    "flagged",
    "load",
    "settings",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"buildhpc.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
