"""Problems of calls from Python."""

from __future__ import annotations

from collections.abc import Iterable

from buildhpc.diagnostics import HpcmakeError, Note, Problem, nearest


def _error(slug: str, text: str, *notes: Note) -> HpcmakeError:
    return HpcmakeError(Problem(slug, text, None, notes))


# What the same is called in other libraries.
_ELSEWHERE = {
    ("max_workers", "workers", "n_jobs", "processes", "threads", "pool"): (
        "`jobs=4` runs four at a time, each in a process of its own"
    ),
    ("executor", "backend", "coordinator"): (
        '`jobs=4` runs here, four at a time; `cluster="slurm"` on a cluster'
    ),
    ("dry_run", "dry"): "`plan()` tells what would run, `submissions()` what would be submitted",
    ("log_dir", "logdir"): "the folder for what jobs print is `logs`",
}


def unknown_option(name: str, known: Iterable[str]) -> HpcmakeError:
    """A keyword argument that a call does not have."""
    names = sorted(known)
    close = nearest(name, names)
    cure = f"the nearest is `{close[0]}`" if close else f"there are {', '.join(names)}"
    for elsewhere, what in _ELSEWHERE.items():
        cure = what if name in elsewhere else cure
    return _error("bad-option", f"there is no option `{name}`", Note("help", cure))


def wrong_option(name: str, value: object, wanted: str) -> HpcmakeError:
    """A keyword argument with a value of another kind."""
    return _error("bad-option", f"`{name}` is {wanted}, and not {value!r}")


def jobs_failed(names: Iterable[str], status: str) -> HpcmakeError:
    """`Result.check` of a run that is not done."""
    failed = list(names)
    text = f"the run is {status}"
    if failed:
        more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        text = f"jobs failed: {', '.join(failed[:3])}{more}"
    error = _error("job-failed", text, Note("help", "`failures` of the result tells why"))
    error.exit_code = 1
    return error


def no_record(job: str) -> HpcmakeError:
    """What is asked of a job that never ran."""
    cure = Note("help", "`jobs()` lists those that have")
    return _error("unknown-job", f"`{job}` has no attempt so far", cure)
