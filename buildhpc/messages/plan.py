"""Problems of targets, jobs and plans."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from buildhpc.diagnostics import HpcmakeError, Note, Problem, Span, nearest


def no_rule(
    path: str, chain: Sequence[tuple[str, str]], near: Sequence[str], span: Span | None
) -> HpcmakeError:
    """A file that is needed, is not there, and that no rule makes.

    chain: (rule, file) from the job that needs `path` up to the asked target.
    span: of the input that names it, where one does.
    """
    notes = _chain(chain)
    if near:
        notes.append(Note("help", f"there is `{near[0]}`; is this a typing slip?"))
    elif not chain:
        notes.append(Note("help", "`hpcmake graph` shows the rules and what they make"))
    return HpcmakeError(
        Problem(
            "no-rule", f"no rule makes `{path}`, and the file does not exist", span, tuple(notes)
        )
    )


def _chain(chain: Sequence[tuple[str, str]]) -> list[Note]:
    lines = [f"rule `{rule}`, for `{path}`" if path else f"rule `{rule}`" for rule, path in chain]
    if len(lines) > 10:
        lines = [*lines[:5], f"... {len(lines) - 9} more ...", *lines[-4:]]
    return [Note("needed by", line) for line in lines]


def only_missing(job: str, path: str, maker: str) -> HpcmakeError:
    """`--only`, and a file that a job which is left out makes is not there."""
    text = f"`{job}` needs `{path}`, which is not there, and `--only` leaves out `{maker}`"
    notes = (Note("help", f"`hpcmake {shlex.quote(path)}` makes it; or leave out `--only`"),)
    return HpcmakeError(Problem("only-missing", text, None, notes))


def only_awaits(job: str) -> HpcmakeError:
    """`--only` with a job whose inputs are known once a checkpoint has run."""
    text = f"what `{job}` needs is known once a checkpoint has run, which `--only` leaves out"
    return HpcmakeError(Problem("only-awaits", text, None, (Note("help", "leave out `--only`"),)))


def used_as_it_is(path: str, maker: str) -> str:
    """`--only`, and a file that a job which is left out would make anew."""
    return f"note: `{path}` is used as it is: `{maker}`, which makes it, is stale"


def more_used(count: int) -> str:
    """More of these."""
    return f"note: and {count:,} more files are"


def ambiguous(path: str, first: tuple[str, Span], second: tuple[str, Span]) -> HpcmakeError:
    """Two rules that could both make a path, none better than the other."""
    notes = (
        Note("note", f"rule `{second[0]}` could as well", second[1]),
        Note(
            "help",
            f"say which wins: `prefer {first[0]} > {second[0]}`; or narrow one by `where:`",
        ),
    )
    return HpcmakeError(
        Problem(
            "ambiguous",
            f"rules `{first[0]}` and `{second[0]}` could both make `{path}`",
            first[1],
            notes,
        )
    )


def two_makers(path: str, first: tuple[str, Span], second: tuple[str, Span]) -> HpcmakeError:
    """Two jobs of one plan that write one file."""
    notes = (
        Note("note", f"job `{second[0]}` writes it as well", second[1]),
        Note("help", "give each its own output; a file has one job that makes it"),
    )
    return HpcmakeError(
        Problem(
            "two-makers",
            f"two jobs would write `{path}`: `{first[0]}` and `{second[0]}`",
            first[1],
            notes,
        )
    )


def cycle(paths: Sequence[tuple[str, str]], span: Span) -> HpcmakeError:
    """Jobs that need each other.

    paths: (file, rule) in order; the file of the last is needed by the first again.
    """
    if len(paths) == 1:
        path, rule = paths[0]
        text = f"rule `{rule}` needs its own output `{path}`"
        return HpcmakeError(Problem("cycle", text, span))
    lines = [f"`{path}`, made by rule `{rule}`, needs" for path, rule in paths]
    if len(lines) > 12:
        lines = [*lines[:6], f"... {len(lines) - 11} more ...", *lines[-5:]]
    text = "\n".join([*lines, f"`{paths[0][0]}`"])
    return HpcmakeError(
        Problem("cycle", f"`{paths[0][0]}` is needed to make itself", span, (Note("cycle", text),))
    )


def wildcard_target(rule: str, pattern: str, example: str, span: Span) -> HpcmakeError:
    """A rule with wildcards as a target."""
    notes = (Note("help", f"ask for one of its files: `hpcmake {example}`"),)
    return HpcmakeError(
        Problem(
            "wildcard-target",
            f"rule `{rule}` makes `{pattern}`: which of them is not said",
            span,
            notes,
        )
    )


def no_rules(path: str) -> HpcmakeError:
    """A Pipefile without a single rule."""
    return HpcmakeError(
        Problem(
            "no-rules",
            f"`{path}` has no rules",
            None,
            (Note("help", "`hpcmake init` writes an example"),),
        )
    )


def unknown_rule_option(option: str, name: str, known: Iterable[str]) -> HpcmakeError:
    """`--force-rule`, `--until`, `--omit` with a rule that does not exist."""
    close = nearest(name, known)
    notes = (Note("help", f"the nearest name is `{close[0]}`"),) if close else ()
    return HpcmakeError(
        Problem("unknown-rule", f"`{option} {name}`: there is no rule `{name}`", None, notes)
    )


def until_not_needed(name: str) -> HpcmakeError:
    """`--until R` where nothing asked for needs R."""
    return HpcmakeError(
        Problem(
            "not-needed", f"`--until {name}`: nothing that was asked for needs rule `{name}`", None
        )
    )


def omitted_later(job: str, rule: str, span: Span) -> HpcmakeError:
    """`--omit` of a rule that a job turns out to need once a checkpoint has run."""
    text = f"`{job}` needs what `{rule}` makes, which `--omit` leaves out"
    return HpcmakeError(Problem("omitted", text, span))


def protected(paths: Sequence[str]) -> HpcmakeError:
    """Stale outputs that are protected."""
    shown = ", ".join(f"`{path}`" for path in paths[:5]) + (", ..." if len(paths) > 5 else "")
    notes = (
        Note("note", "a protected output is never overwritten"),
        Note("help", "`--unprotect` lets this build replace it; `--touch` accepts it as it is"),
    )
    what = "output" if len(paths) == 1 else "outputs"
    return HpcmakeError(Problem("protected", f"stale but protected {what}: {shown}", None, notes))


def never_fits(job: str, why: str, span: Span) -> HpcmakeError:
    """A job whose needs this machine can never satisfy."""
    notes = (Note("help", "ask for less, or raise `--limit` where the machine has more"),)
    return HpcmakeError(
        Problem("never-fits", f"job `{job}` could never run here: {why}", span, notes)
    )


def missing_input(path: str, job: str) -> HpcmakeError:
    """An input that is gone when its job's turn comes."""
    text = f"`{path}`, an input of `{job}`, is not there any more"
    return HpcmakeError(Problem("missing-input", text), 1)


def source_changed(paths: Sequence[str], job: str) -> Problem:
    """Inputs that changed while the job that reads them ran."""
    shown = ", ".join(f"`{path}`" for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
    notes = (Note("note", "it is not known which state the job saw; the next build runs it again"),)
    return Problem(
        "changed-while-running", f"{shown} changed while `{job}` ran", None, notes, "warning"
    )


def taken_over(run: int, host: str, pid: int) -> Problem:
    """An earlier build that died and left jobs unfinished."""
    text = f"run {run} (process {pid} on {host}) died before it ended; its jobs are taken over"
    return Problem("taken-over", text, None, (), "warning")


def orphans_ended(count: int) -> Problem:
    """Processes of a dead build that were still running."""
    what = (
        "1 process it left running was" if count == 1 else f"{count} processes it left running were"
    )
    return Problem("orphans", f"{what} ended", None, (), "warning")


def log_is_file(directive: str, path: str, job: str, span: Span) -> HpcmakeError:
    """A `log` or `benchmark` that is an input or output of a job: writing it would destroy that."""
    text = f"`{directive}` of `{job}` is `{path}`, which is a file of the pipeline"
    notes = (Note("help", "give it a path of its own, such as `logs/NAME.txt`"),)
    return HpcmakeError(Problem("log-is-file", text, span, notes))


def log_shared(directive: str, path: str, jobs: tuple[str, str], span: Span) -> HpcmakeError:
    """A `log` or `benchmark` that two jobs would write."""
    text = f"`{directive}` of `{jobs[0]}` and of `{jobs[1]}` is `{path}`"
    notes = (Note("help", "put the wildcards of the outputs into its path as well"),)
    return HpcmakeError(Problem("log-shared", text, span, notes))


def not_inside(path: str, job: str) -> HpcmakeError:
    """A file asked for that its job does not make in its folder."""
    text = f"`{job}` is done, and `{path}` is not there"
    notes = (Note("note", "the job makes the folder; what is in it is for its recipe to say"),)
    return HpcmakeError(Problem("not-inside", text, None, notes), 1)


def cannot_remove(path: str, why: str) -> Problem:
    """A temp file that cannot be removed."""
    return Problem("not-removed", f"`{path}` cannot be removed: {why}", None, (), "warning")


def cannot_write(path: str, why: str) -> Problem:
    """A benchmark that cannot be written."""
    return Problem("not-written", f"`{path}` cannot be written: {why}", None, (), "warning")


def handler_failed(event: str, code: int) -> Problem:
    """The block of an `on ...:` statement failed."""
    return Problem(
        "handler-failed", f"`on {event}` ended with exit code {code}", None, (), "warning"
    )
