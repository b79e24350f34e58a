"""Lends the schedulers to data flows of Hamilton: a node yields what it needs, and gets the result.

Wants the extra `hpcmake[hamilton]`; see docs/hamilton.md.
"""

from buildhpc.messages import hamilton as messages

try:
    import hamilton  # noqa: F401  # asked for first, to say what is missing
except ModuleNotFoundError as error:
    raise ImportError(messages.not_installed()) from error

from buildhpc.hamilton.decorators import YieldDecorator, cmdline, submit
from buildhpc.hamilton.jobs import JobFailedError, JobInfo, job, jobs, status, wait_for
from buildhpc.hamilton.manager import HpcExecutionManager, WaitingExecutor

__all__ = [
    "HpcExecutionManager",
    "JobFailedError",
    "JobInfo",
    "WaitingExecutor",
    "YieldDecorator",
    "cmdline",
    "job",
    "jobs",
    "status",
    "submit",
    "wait_for",
]
