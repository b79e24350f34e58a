"""What a runner says of the jobs of its scheduler job, in one line each."""

from __future__ import annotations

from buildhpc.messages.run import signal_name
from buildhpc.quantities import human_time


def not_done(job: str) -> str:
    """A job that is needed did not succeed, or nobody knows that it did."""
    return f"`{job}`, which it needs, is not done"


def not_as_left(path: str, job: str) -> str:
    """An input is missing, or is not what the job that makes it left."""
    return f"`{path}` is not there as `{job}` left it"


def ended_early(number: int) -> str:
    """The scheduler, or somebody through it, ended the scheduler job."""
    return f"its scheduler job was ended by {signal_name(number)}"


def time_over(number: int, time_s: int | None) -> str:
    """The scheduler job comes to the end of its time."""
    limit = f" of {human_time(time_s)}" if time_s is not None else ""
    return f"the time{limit} of its scheduler job is over ({signal_name(number)})"


def not_begun(why: str) -> str:
    """A job of a scheduler job that ended before its turn came."""
    return f"it was not begun: {why}"


def state_unreadable(text: str) -> str:
    """The state cannot be read on the node for a long time."""
    return f"the node cannot read the state: {text}"


def inbox_unwritable(inbox: str, cause: str) -> str:
    """No receipt can be written for a long time."""
    return f"`{inbox}` cannot be written: {cause}"


def folder_missing(folder: str, cause: str) -> str:
    """The node does not see the working folder."""
    return f"the node cannot use the working folder `{folder}`: {cause}"


def broken(text: str) -> str:
    """A mistake in hpcmake itself."""
    return f"the runner failed, which is a mistake in hpcmake: {text}"
