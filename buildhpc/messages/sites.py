"""Problems of `hpcmake.toml` and of `--cluster-option`: what a site says of its clusters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from buildhpc.diagnostics import HpcmakeError, Note, Problem, Span, nearest


def _error(slug: str, text: str, span: Span | None, *notes: Note) -> HpcmakeError:
    return HpcmakeError(Problem(slug, text, span, notes))


def bad_toml(cause: str, span: Span) -> HpcmakeError:
    """A file that is not TOML."""
    return _error("bad-toml", f"this is not TOML: {cause}", span)


def unreadable_site(path: str, cause: str) -> HpcmakeError:
    """A file that is there and cannot be read."""
    return _error("bad-site", f"cannot read `{path}`: {cause}", None)


def unknown_section(name: str, span: Span) -> HpcmakeError:
    """Something at the top of the file that is no cluster."""
    cure = "clusters stand there, each as `[cluster.NAME]`, and `[logs]`"
    return _error("unknown-key", f"there is no setting `{name}`", span, Note("help", cure))


def unknown_key(name: str, where: str, known: Iterable[str], span: Span) -> HpcmakeError:
    """A setting that does not exist. where: `cluster`, `partition` or `rule`, and its name."""
    known = sorted(known)
    close = nearest(name, known)
    cure = f"the nearest is `{close[0]}`" if close else f"there are {', '.join(known)}"
    return _error("unknown-key", f"{where} has no setting `{name}`", span, Note("help", cure))


def wrong_setting(name: str, wanted: str, span: Span) -> HpcmakeError:
    """A value of the wrong kind, or one that is not allowed."""
    return _error("bad-value", f"`{name}` wants {wanted}, not {span.text}", span)


def missing_name(span: Span) -> HpcmakeError:
    """A partition without a name."""
    return _error("no-name", "a partition has a `name`", span)


def missing_scheduler(cluster: str, known: Sequence[str], span: Span) -> HpcmakeError:
    """A cluster that does not say what it is run by."""
    cure = f'add `scheduler = "NAME"`: {", ".join(known)}'
    text = f"cluster `{cluster}` does not say which scheduler it has"
    return _error("unnamed-scheduler", text, span, Note("help", cure))


def unknown_cluster(name: str, known: Sequence[str], places: Sequence[str]) -> HpcmakeError:
    """`--cluster` or `cluster:` with a name that nobody has given."""
    close = nearest(name, known)
    cure = f"the nearest is `{close[0]}`" if close else f"there are {', '.join(known)}"
    return _error(
        "unknown-cluster",
        f"there is no cluster `{name}`",
        None,
        Note("note", f"`[cluster.{name}]` stands neither in {' nor in '.join(places)}"),
        Note("help", cure),
    )


def bad_cluster_option(text: str) -> HpcmakeError:
    """`--cluster-option` with something that is no NAME=VALUE."""
    return _error(
        "bad-option",
        f"`--cluster-option {text}` sets nothing",
        None,
        Note(
            "help", "write `--cluster-option account=p123`, or `gpu.account=p123` for one cluster"
        ),
    )


def no_partition(
    job: str, cluster: str, asks: str, limits: Sequence[tuple[str, str]]
) -> HpcmakeError:
    """A job that no partition takes. limits: name of a partition, and what it takes."""
    one = f"partition `{limits[0][0]}` of" if len(limits) == 1 else "no partition of"
    does = "does not take" if len(limits) == 1 else "takes"
    return _error(
        "no-partition",
        f"{one} cluster `{cluster}` {does} `{job}`",
        None,
        Note("note", f"it asks for {asks}"),
        *(Note("note", f"`{name}` takes {most}") for name, most in limits),
    )
