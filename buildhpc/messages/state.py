"""Problems of the state: its database, its lock, its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from buildhpc.diagnostics import Note, Problem


def damaged(path: Path, detail: str, journal: bool) -> Problem:
    """The database cannot be read as what hpcmake wrote.

    journal: a rollback journal lies beside it.
    """
    cure = ["move it away and run hpcmake again:", _move(str(path), f"{path}.bad")]
    if journal:
        cure.append(_move(f"{path}-journal", f"{path}.bad-journal"))
    cure.append("without it the times of the files decide what is stale, as in Make")
    return Problem(
        "state-damaged",
        f"the state `{path}` is damaged",
        notes=(
            Note("note", detail),
            Note("note", "nothing in it was changed or removed"),
            Note("help", "\n".join(cure)),
        ),
    )


def newer(path: Path, found: int, known: int) -> Problem:
    """The database was written by a newer hpcmake."""
    return Problem(
        "state-newer",
        f"the state `{path}` was written by a newer hpcmake",
        notes=(
            Note("note", f"it is of version {found}, this hpcmake knows version {known}"),
            Note("help", "upgrade it: pip install --upgrade hpcmake"),
        ),
    )


def unwritable(path: Path, cause: str) -> Problem:
    """The file system refuses what the state needs."""
    return Problem(
        "state-unwritable",
        f"cannot write the state in `{path}`: {cause}",
        notes=(
            Note("note", "what was recorded before is intact"),
            Note("help", "make room or see to the permissions there, then run hpcmake again"),
        ),
    )


def unreadable(path: Path, cause: str) -> Problem:
    """The file system refuses to show the database."""
    return Problem(
        "state-unreadable",
        f"cannot read the state `{path}`: {cause}",
        notes=(Note("help", "see to its permissions and to the file system it is on"),),
    )


def not_a_folder(path: Path) -> Problem:
    """Something that is no folder stands where the state belongs."""
    return Problem(
        "state-no-folder",
        f"`{path}` is not a folder",
        notes=(
            Note("note", "hpcmake keeps what it knows of finished jobs in a folder of this name"),
            Note("help", f"move it away: {_move(str(path), f'{path}.old')}"),
        ),
    )


def replaced(path: Path) -> Problem:
    """The database went away under a run."""
    return Problem(
        "state-replaced",
        f"the state `{path}` was removed or replaced while hpcmake was using it",
        notes=(
            Note("note", "what ended since is not recorded"),
            Note("help", "run hpcmake again"),
        ),
    )


def locked(path: Path, waited_s: float, holder: str | None) -> Problem:
    """The lock could not be had in time.

    holder: who had it last, e.g. `process 4711 on node3`.
    """
    text = f"the lock `{path}` could not be had within {waited_s:g} s"
    return Problem("state-locked", text, notes=_holder(holder))


def waiting(path: Path, holder: str | None) -> Problem:
    """The lock takes long to be had (a warning). holder: as of `locked`."""
    text = f"waiting for the lock `{path}`"
    return Problem("state-waiting", text, notes=_holder(holder), severity="warning")


def _holder(holder: str | None) -> tuple[Note, Note]:
    held = f"held by {holder}" if holder else "who holds it is not known"
    cure = "hpcmake holds it for moments only: see whether that process is stopped"
    return Note("note", held), Note("help", cure)


def busy(path: Path) -> Problem:
    """The database changed faster than it could be read, or another program keeps it."""
    return Problem(
        "state-busy",
        f"the state `{path}` is in constant use by another program",
        notes=(Note("help", "wait for the other program to end, then try again"),),
    )


def lease(path: Path, cause: str) -> Problem:
    """There is no real lock on this file system (a warning)."""
    return Problem(
        "state-lease",
        f"this file system gives no lock for `{path}`: {cause}",
        notes=(
            Note("note", "a lease that is renewed while it is held serves instead"),
            Note(
                "help", "two hpcmake at once in this folder are safer on a file system with locks"
            ),
        ),
        severity="warning",
    )


def lease_lost(path: Path) -> Problem:
    """This process was stopped for so long that another took the lease over."""
    return Problem(
        "state-lease-lost",
        f"the lease `{path}` was taken over by another hpcmake",
        notes=(
            Note("note", "this one did not renew it in time; nothing was written"),
            Note("help", "run hpcmake again"),
        ),
    )


def plan_missing(path: Path, run: int, cause: str) -> Problem:
    """The plan of a cluster run cannot be read."""
    return Problem(
        "run-plan-missing",
        f"cannot read the plan `{path}` of run {run}: {cause.lower()}",
        notes=(
            Note("note", "nothing more of that run can be submitted without it"),
            Note("help", _give_up(run)),
        ),
    )


def plan_damaged(path: Path, run: int, detail: str) -> Problem:
    """The plan of a cluster run is not what hpcmake wrote."""
    return Problem(
        "run-plan-damaged",
        f"the plan `{path}` of run {run} is damaged",
        notes=(Note("note", detail), Note("help", _give_up(run))),
    )


def bad_receipts(folder: Path, names: Sequence[str]) -> Problem:
    """What runners wrote of the ends of their jobs cannot be read (a warning)."""
    number = len(names)
    what = f"`{names[0]}`" if number == 1 else f"`{names[0]}` and {number - 1:,} more"
    return Problem(
        "bad-receipt",
        f"what jobs told of themselves cannot be read: {what} in `{folder}`",
        notes=(
            Note("note", "a full disk or a lost node may have cut it off; it is kept as `.bad`"),
            Note("note", "what became of these jobs is asked of the scheduler"),
        ),
        severity="warning",
    )


def _give_up(run: int) -> str:
    return (
        f"`hpcmake cancel --run {run}` gives the run up; what is done stays done,"
        " and the next build makes the rest"
    )


def _move(old: str, new: str) -> str:
    import shlex

    return f"mv {shlex.quote(old)} {shlex.quote(new)}"
