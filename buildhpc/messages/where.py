"""Problems of `--where`."""

from __future__ import annotations

from collections.abc import Iterable

from buildhpc.diagnostics import HpcmakeError, Note, Problem, Span, nearest

_EXAMPLE = Note("help", "write e.g. `--where \"rule = 'map' and state = 'failed'\"`")


def _error(slug: str, text: str, span: Span, *notes: Note) -> HpcmakeError:
    return HpcmakeError(Problem(slug, text, span, notes))


def where_syntax(words: str, span: Span) -> HpcmakeError:
    """What is no expression of SQLite. words: what is wrong with it, where that is known."""
    text = f"this is no condition: {words}" if words else "this is no condition"
    return _error("where-syntax", text, span, _EXAMPLE)


def unknown_column(name: str, known: Iterable[str], span: Span) -> HpcmakeError:
    """A name that is neither a column nor a wildcard."""
    known = list(known)
    close = nearest(name, known)
    listed = ", ".join(word for word in known if not word.startswith("w."))
    cure = f"the nearest is `{close[0]}`" if close else f"there are {listed}"
    text = f"jobs have nothing called `{name}`"
    return _error("unknown-column", text, span, Note("help", cure))


def unknown_wildcard(name: str, known: Iterable[str], span: Span) -> HpcmakeError:
    """`w.NAME` with a wildcard that no job has."""
    known = sorted(known)
    close = nearest(name, known)
    cure = f"there are {', '.join(known)}" if known else "no job has any"
    cure = f"the nearest is `w.{close[0]}`" if close else cure
    return _error("unknown-wildcard", f"no job has a wildcard `{name}`", span, Note("help", cure))


def unknown_note(name: str, known: Iterable[str], span: Span) -> HpcmakeError:
    """`meta.NAME` with a name that no job has set."""
    known = sorted(known)
    close = nearest(name, known)
    cure = f"there are {', '.join(known)}" if known else "`hpcmake set NAME=VALUE` in a job does it"
    cure = f"the nearest is `meta.{close[0]}`" if close else cure
    return _error("unknown-value", f"no job has set `{name}`", span, Note("help", cure))


def unknown_function(name: str, known: Iterable[str], span: Span) -> HpcmakeError:
    """A function that is none, or that could do more than look."""
    known = sorted(known)
    close = nearest(name, known)
    cure = f"the nearest is `{close[0]}`" if close else f"there are {', '.join(known)}"
    text = f"there is no function `{name}` for conditions"
    return _error("unknown-function", text, span, Note("help", cure))


def where_looks_elsewhere(span: Span) -> HpcmakeError:
    """A condition that asks for more than jobs."""
    cure = "a condition sees the columns of jobs, in a query of its own as the table `jobs`"
    return _error("where-elsewhere", "a condition only looks at jobs", span, Note("help", cure))


def where_fails(words: str, span: Span) -> HpcmakeError:
    """A condition that cannot be computed for some job."""
    return _error("where-fails", f"this cannot be computed: {words}", span)


def where_slow(limit_s: float, span: Span) -> HpcmakeError:
    """A condition that takes too long."""
    return _error("where-slow", f"this takes longer than {limit_s:.0f} seconds", span)
