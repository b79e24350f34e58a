"""Problems of what a site says of its scheduler."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from buildhpc.diagnostics import HpcmakeError, Note, Problem, nearest


def _error(slug: str, text: str, cure: str) -> HpcmakeError:
    return HpcmakeError(Problem(slug, text, None, (Note("help", cure),)))


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def unknown_scheduler(name: str, known: Iterable[str]) -> HpcmakeError:
    """`scheduler` with a name that neither hpcmake nor an installed package knows."""
    known = list(known)
    cure = f"schedulers are {_listed(known)}"
    if close := nearest(name, known):
        cure = f"the nearest is `{close[0]}`; {cure}"
    return _error("unknown-scheduler", f"there is no scheduler `{name}`", cure)


def broken_scheduler(name: str, where: str, why: str) -> HpcmakeError:
    """A package announces a scheduler, but its class cannot be had."""
    return _error(
        "broken-scheduler",
        f"scheduler `{name}` could not be loaded from `{where}`: {why}",
        "the package that brings it needs repair, or another version",
    )


def unknown_switch(scheduler: str, name: str, known: Collection[str]) -> HpcmakeError:
    """A setting of a cluster that its scheduler does not have."""
    cure = f"it has {_listed(known)}" if known else "it has none"
    if close := nearest(name, known):
        cure = f"the nearest is `{close[0]}`; {cure}"
    return _error("unknown-setting", f"scheduler `{scheduler}` has no setting `{name}`", cure)


def bad_switch(scheduler: str, name: str, value: str, allowed: Iterable[str]) -> HpcmakeError:
    """A setting of a scheduler with a value that it cannot have."""
    return _error(
        "bad-setting",
        f'`{name} = "{value}"` means nothing to scheduler `{scheduler}`',
        f"it can be {_listed(allowed)}",
    )
