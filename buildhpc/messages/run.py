"""Problems of jobs: why an attempt failed, in one line each."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from buildhpc.diagnostics import HpcmakeError, Problem
from buildhpc.quantities import human_size, human_time


def _quoted(names: Sequence[str], shown: int) -> str:
    listed = ", ".join(f"`{name}`" for name in names[:shown])
    return f"{listed} and {len(names) - shown} more" if len(names) > shown else listed


def signal_name(number: int) -> str:
    """`SIGKILL` for 9; `signal 99` for one that has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# How an attempt ended.


def exited(code: int) -> str:
    """The recipe's process ended with an exit code other than 0."""
    if code == 126:
        return "exit code 126: a command could not be executed"
    if code == 127:
        return "exit code 127: a command was not found"
    if 128 < code <= 128 + signal.NSIG:
        name = signal_name(code - 128)
        return f"exit code {code}: a process of the job was ended by {name}"
    return f"exit code {code}"


def ended_by_signal(number: int) -> str:
    """Something outside ended the recipe's process."""
    return f"ended by {signal_name(number)} from outside"


def wants_terminal() -> str:
    """The job was stopped because it read from the terminal."""
    return "it waits for the terminal, which jobs do not have"


def out_of_memory(peak_mib: float) -> str:
    """The kernel ended the job because memory ran out."""
    seen = f"; it was seen to use {human_size(peak_mib)}" if peak_mib else ""
    return f"ended by the kernel because memory ran out{seen}"


def over_memory(peak_mib: float, mem_mib: int) -> str:
    """The job used more than its `mem`, and that is enforced."""
    return f"it used {human_size(peak_mib)} of memory, and its `mem` is {human_size(mem_mib)}"


def over_time(time_s: float) -> str:
    """The job ran longer than its `time`."""
    return f"it ran longer than its `time` of {human_time(time_s)}"


def cancelled(number: int) -> str:
    """The build was asked to stop."""
    return f"cancelled by {signal_name(number)}"


def superseded() -> str:
    """The scheduler has started an attempt anew while this one was still running."""
    return "a later start of it has taken over; what it made was not touched"


def left_behind(path: str, cause: str) -> str:
    """What a failed attempt left could not be removed."""
    return f"; what it left of `{path}` could not be removed: {cause}"


def no_room(folder: str, cause: str) -> str:
    """The disk of an output or of the log is full."""
    here = "the working folder" if folder == "." else f"`{folder}`"
    return f"; nothing more can be written in {here}: {cause}"


def log_cut(size: int) -> str:
    """What a log begins with of which only the end was kept."""
    return f"hpcmake: the disk was full; of {human_size(size / 2**20)} only the end was kept\n"


# Outputs.


def missing_outputs(missing: Sequence[str], dangling: str, folder: str, held: Sequence[str]) -> str:
    """The recipe succeeded without its outputs.

    dangling: what a link at the first missing path points to; empty when there is none.
    held: names in `folder`, the folder of the first missing path, nearest first.
    """
    if dangling:
        text = f"`{missing[0]}` is a link to `{dangling}`, which is not there"
        more = missing[1:]
        return f"{text}; {_quoted(more, 3)} missing as well" if more else text
    were = "was" if len(missing) == 1 else "were"
    here = f"`{folder}`" if folder else "the working folder"
    holds = f"{here} holds {_quoted(held, 5)}" if held else f"{here} is empty"
    return f"the recipe ended well, but {_quoted(missing, 5)} {were} not made; {holds}"


def missing_folder(missing: Sequence[str], folder: str) -> str:
    """The recipe removed the very folder of its output."""
    were = "was" if len(missing) == 1 else "were"
    return f"{_quoted(missing, 5)} {were} not made, and the folder `{folder}` is gone"


def made_without_private_name(path: str) -> str:
    """The recipe of an `atomic` output wrote the final path."""
    return f"`{path}` is `atomic`, but the recipe wrote it by that name, not by that of `output`"


def empty_output(path: str) -> str:
    """A `nonempty` output is empty."""
    return f"`{path}` is empty"


def not_a_directory(path: str) -> str:
    """A `directory` output is something else."""
    return f"`{path}` is declared `directory`, but the recipe made a file"


def undeclared_directory(path: str) -> str:
    """An output is a directory without being declared one."""
    return f"`{path}` is a folder; an output that is one is declared `directory`"


def protected_output(path: str) -> str:
    """An output that must not be replaced is there."""
    return f"`{path}` is protected and is not replaced; `--unprotect` allows it"


def refused(act: str, path: str, cause: str) -> str:
    """The file system refused something: `act` is `make`, `remove`, `look at`, ..."""
    return f"cannot {act} `{path}`: {cause}"


# Starting.


def _launch(text: str) -> HpcmakeError:
    return HpcmakeError(Problem("launch", text), exit_code=1)


def no_script(path: str) -> HpcmakeError:
    """The script of a rule is missing."""
    return _launch(f"the script `{path}` does not exist")


def unwritable_list(path: str, cause: str) -> HpcmakeError:
    """The file that lists the inputs of a job cannot be written."""
    return _launch(refused("write", path, cause))


def unreadable_script(path: str, cause: str) -> HpcmakeError:
    """The script of a rule cannot be opened."""
    return _launch(f"cannot read the script `{path}`: {cause}")


def unknown_script(path: str) -> HpcmakeError:
    """Nothing tells what runs a script."""
    return _launch(
        f"nothing says what runs `{path}`: it has no ending that is known"
        " (.py .R .jl .sh .bash .pl), is not executable and has no `#!` line"
    )


def no_program(name: str, purpose: str) -> HpcmakeError:
    """A program that the job needs is not on PATH."""
    return _launch(f"`{name}`, which {purpose}, is not found on PATH")


def bad_within(text: str, cause: str) -> HpcmakeError:
    """The words of `within` cannot be told apart."""
    return _launch(f"`within` is no command line ({cause}): {text}")


def not_started(program: str, cause: str) -> str:
    """The system refused to start a process."""
    return f"cannot start `{program}`: {cause}"


def too_long(program: str) -> str:
    """Arguments and environment together are over the system's limit."""
    return (
        f"cannot start `{program}`: its arguments and environment are longer than the system"
        " allows; `{input:file}` gives the inputs as a file"
    )


# Needs.


def never_fits(what: str, asked: str, there: str) -> str:
    """A job needs more than there will ever be; `what`: `memory`, `GPUs`, a resource."""
    return f"it needs more {what} ({asked}) than there is ({there})"


def part_failed(number: int, count: int, why: str) -> str:
    """A part of a job failed, and with it the job."""
    return f"part {number} of {count}: {why}"


def parts_left(left: int, count: int) -> str:
    """A job that was stopped while its parts ran or waited."""
    return f"stopped with {left} of {count} parts left"
