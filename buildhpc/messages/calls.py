"""Problems of speaking to a scheduler: its programs, and the way to them."""

from __future__ import annotations

from buildhpc.diagnostics import HpcmakeError, Note, Problem

# The scheduler could not be had.
_CODE = 3


def _error(slug: str, text: str, *notes: Note) -> HpcmakeError:
    return HpcmakeError(Problem(slug, text, None, notes), exit_code=_CODE)


def no_scheduler(cluster: str, program: str, host: str) -> HpcmakeError:
    """The program of a scheduler is not there. host: empty: here."""
    if host:
        where = f"on `{host}`"
        cure = f"see whether `ssh {host} {program}` finds it; `module load` goes into ~/.profile"
    else:
        where = "on this machine"
        cure = (
            "run hpcmake where the scheduler's commands are on PATH, or say in hpcmake.toml"
            f' which machine has them: `[cluster.{cluster}]`, `host = "NAME"`'
        )
    text = f"cluster `{cluster}`: there is no `{program}` {where}"
    return _error("no-scheduler", text, Note("help", cure))


def not_started(cluster: str, program: str, cause: str) -> HpcmakeError:
    """The system refused to start the program of a scheduler."""
    text = f"cluster `{cluster}`: cannot start `{program}`: {cause}"
    return _error("no-scheduler", text)


def unreachable(cluster: str, host: str, said: str) -> HpcmakeError:
    """There was no way to the host of a cluster."""
    return _error(
        "no-host",
        f"cluster `{cluster}`: `{host}` cannot be reached by ssh",
        Note("ssh said", said or "nothing"),
        Note("help", f"`ssh -o BatchMode=yes {host} true` has to work, without any question"),
    )


def no_folder(cluster: str, host: str, folder: str) -> HpcmakeError:
    """The working folder is not there on the host of a cluster."""
    return _error(
        "no-shared-folder",
        f"cluster `{cluster}`: `{host}` has no folder `{folder}`",
        Note("help", "the folder has to be on a file system that both machines share"),
    )
