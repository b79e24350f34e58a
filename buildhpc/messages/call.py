"""Problems of the command line and of what it is called with."""

from __future__ import annotations

from collections.abc import Iterable

from buildhpc.diagnostics import HpcmakeError, Note, Problem, nearest


def _error(slug: str, text: str, *notes: Note) -> HpcmakeError:
    return HpcmakeError(Problem(slug, text, None, notes))


def no_such_pipefile(path: str) -> HpcmakeError:
    """`-f` names a file that is not there."""
    return _error("no-pipefile", f"`-f {path}`: there is no such file")


def no_pipefile(folder: str, above: str | None, above_folder: str | None) -> HpcmakeError:
    """No Pipefile here; perhaps one in a folder above."""
    if above:
        cure = f"there is one above: `hpcmake -C {above_folder}` works in its folder"
    else:
        cure = "`hpcmake init` writes an example"
    return _error("no-pipefile", f"there is no Pipefile in `{folder}`", Note("help", cure))


def no_such_folder(path: str, why: str) -> HpcmakeError:
    """`-C` with a folder that cannot be entered."""
    return _error("no-folder", f"`-C {path}`: {why}")


def bad_option(text: str, known: Iterable[str] = (), word: str = "") -> HpcmakeError:
    """An option that does not exist or lacks what it needs."""
    close = nearest(word, known) if word else []
    cure = f"the nearest is `{close[0]}`" if close else "`hpcmake --help` lists the options"
    return _error("bad-option", text, Note("help", cure))


def bad_limit(text: str) -> HpcmakeError:
    """`--limit` with something that is no NAME=NUMBER."""
    return _error(
        "bad-option",
        f"`--limit {text}` is no limit",
        Note("help", "write `--limit mem=16G` or `--limit licence=3`"),
    )


def nothing_known(what: str) -> HpcmakeError:
    """A job, target or rule that the state knows nothing of."""
    return _error("nothing-known", f"no job of this folder is known as `{what}`")


def no_state() -> HpcmakeError:
    """A command that looks at the state where nothing ever ran."""
    return _error(
        "no-state", "nothing was built in this folder yet", Note("help", "`hpcmake` builds")
    )


def needs_yes(what: str) -> HpcmakeError:
    """A command that asks first, where nobody can be asked."""
    return _error(
        "needs-yes",
        f"{what}, and there is no terminal to ask at",
        Note("help", "`--yes` answers; `-n` shows what would be done"),
    )
