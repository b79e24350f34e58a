"""Problems of expressions and of names in braces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from buildhpc.diagnostics import HpcmakeError, Note, Problem, Span, nearest

_FOREIGN = {
    "expand_": "expand",
    "glob_wildcards": "glob",
    "lambda": "an expression",
    "multiext": 'a loop: `"{base}.{e}" for e in ["a", "b"]`',
    "lookup": "find",
    "branch": "`A if C else B`",
    "collect": "expand",
    "open": "lines",
    "sample_sheet": "table",
}


def help_near(close: Sequence[str], otherwise: str = "") -> tuple[Note, ...]:
    """The note that proposes the nearest name, or `otherwise`."""
    if close:
        return (Note("help", f"the nearest name is `{close[0]}`"),)
    return (Note("help", otherwise),) if otherwise else ()


def unknown_name(
    name: str, span: Span, known: Iterable[str], note: str | None = None
) -> HpcmakeError:
    """A name that nothing defines at this place."""
    cure = "define it with `let`, or take it from `config`"
    if name == "checkpoints":  # as Snakemake has it
        cure, note = "a loop waits by itself: `ITEM for row in glob(...) after NAME`", None
    notes = help_near(nearest(name, known), cure)
    if note:
        notes = (Note("note", note), *notes)
    return HpcmakeError(Problem("unknown-name", f"nothing here is called `{name}`", span, notes))


def unknown_in_block(name: str, written: str, span: Span, known: Iterable[str]) -> HpcmakeError:
    """`{name}` in a shell block that is no name: a slip, or meant for another program."""
    notes = [Note("help", f"for the text `{{{written}}}` itself, write `{{{{{written}}}}}`")]
    if close := nearest(name, known):
        notes.insert(0, Note("help", f"the nearest name is `{close[0]}`"))
    return HpcmakeError(
        Problem("unknown-name", f"nothing here is called `{name}`", span, tuple(notes))
    )


def not_yet_visible(name: str, span: Span, defined: Span) -> HpcmakeError:
    """A `let` used above its definition."""
    notes = (
        Note("note", "it is defined further down", defined),
        Note("help", "a `let` is visible from its line on: move it up"),
    )
    return HpcmakeError(Problem("unknown-name", f"`{name}` is not defined yet", span, notes))


def unknown_function(name: str, span: Span, known: Iterable[str]) -> HpcmakeError:
    """A call of something that is no function."""
    foreign = _FOREIGN.get(name)
    if foreign:
        cure = foreign if foreign.startswith(("`", "a ")) else f"`{foreign}`"
        notes: tuple[Note, ...] = (Note("help", f"here that is {cure}"),)
    else:
        notes = help_near(nearest(name, known), "Python helpers come in with `use`")
    return HpcmakeError(Problem("unknown-function", f"there is no function `{name}`", span, notes))


def wrong_arguments(usage: str, span: Span) -> HpcmakeError:
    """A function called with too few, too many or unknown arguments."""
    notes = (Note("help", f"it is called as `{usage}`"),)
    return HpcmakeError(Problem("bad-arguments", "these arguments do not fit", span, notes))


def unfit(text: str, span: Span) -> HpcmakeError:
    """An operator or a function that cannot work on the values it got."""
    return HpcmakeError(Problem("bad-value", text, span))


def not_there(text: str, span: Span) -> HpcmakeError:
    """A value that hangs on a file that does not exist."""
    return HpcmakeError(Problem("missing-file", text, span))


def no_such_part(text: str, span: Span, near: Sequence[str]) -> HpcmakeError:
    """An attribute or index that a value does not have."""
    return HpcmakeError(Problem("no-such-name", text, span, help_near(near)))


def list_in_path(written: str, span: Span) -> HpcmakeError:
    """A list inside a string that is one path."""
    notes = (
        Note("help", 'a path for each: `"{x}.txt" for x in ...`; or one of them: `{name[0]}`'),
    )
    return HpcmakeError(
        Problem("list-in-path", f"`{written}` is a list, and this is one path", span, notes)
    )


def none_in_path(written: str, span: Span) -> HpcmakeError:
    """`none` inside a string that is a path."""
    notes = (Note("help", "an optional path is an item of its own: `PATH if C else none`"),)
    return HpcmakeError(
        Problem("none-in-path", f"`{written}` is none, and this is a path", span, notes)
    )


def bad_pattern(pattern: str, why: str, span: Span) -> HpcmakeError:
    """A regular expression that Python's `re` refuses."""
    return HpcmakeError(
        Problem("bad-pattern", f"`{pattern}` is not a regular expression: {why}", span)
    )


def call_in_braces(span: Span) -> HpcmakeError:
    """A call or a format inside the braces of a path."""
    notes = (
        Note("help", 'put it beside the text: `"b_" + str(len(x))`; or give it a name with `let`'),
    )
    text = "braces in a path hold a name, and no call or format"
    return HpcmakeError(Problem("call-in-braces", text, span, notes))


def not_iterable(what: str, span: Span) -> HpcmakeError:
    """A loop over something that is no list."""
    return HpcmakeError(Problem("bad-loop", f"a loop needs a list, and this is {what}", span))


def loop_names(count: int, what: str, span: Span) -> HpcmakeError:
    """`for a, b in ...` over items that are no pairs."""
    return HpcmakeError(
        Problem("bad-loop", f"the loop takes {count} names from each item, and one is {what}", span)
    )


def late_loop(rule: str, span: Span) -> HpcmakeError:
    """A loop that waits for a checkpoint where nothing can wait."""
    note = Note("help", "put the loop into `input:`; the recipe sees the files as `{input}`")
    text = f"only an `input:` can wait for `{rule}` to have run"
    return HpcmakeError(Problem("checkpoint", text, span, (note,)))


def not_known_yet(rule: str, checkpoint: str, span: Span) -> HpcmakeError:
    """What a job reads is asked for before its checkpoint has run."""
    return not_there(f"what `{rule}` reads is known once `{checkpoint}` has run", span)


def helper_failed(name: str, error: BaseException, span: Span) -> HpcmakeError:
    """A Python helper raised an exception."""
    text = f"the helper `{name}` failed: {type(error).__name__}: {error}"
    return HpcmakeError(Problem("helper-failed", text, span))


def bad_conversion(written: str, span: Span) -> HpcmakeError:
    """`{name:word}` with a word that means nothing."""
    notes = (Note("help", "`{name:raw}` is the text as it is, `{input:file}` a file of paths"),)
    return HpcmakeError(
        Problem("bad-conversion", f"`{written}` asks for no conversion there is", span, notes)
    )
