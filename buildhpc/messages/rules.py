"""Problems of statements, rules and directives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from buildhpc.diagnostics import HpcmakeError, Note, Problem, Span, nearest
from buildhpc.messages.language import help_near


def _error(slug: str, text: str, span: Span | None, *notes: Note) -> HpcmakeError:
    return HpcmakeError(Problem(slug, text, span, notes))


def unknown_directive(
    name: str, span: Span, known: Iterable[str], foreign: str | None
) -> HpcmakeError:
    """A directive that does not exist, perhaps a word of another tool."""
    notes = (
        (Note("help", f"here that is {foreign}"),) if foreign else help_near(nearest(name, known))
    )
    return _error("unknown-directive", f"there is no directive `{name}`", span, *notes)


def directive_twice(name: str, span: Span, first: Span) -> HpcmakeError:
    """The same directive twice in one rule."""
    note = Note("note", "it stands first here", first)
    return _error("directive-twice", f"`{name}` stands twice in this rule", span, note)


def wrong_shape(name: str, wanted: str, span: Span) -> HpcmakeError:
    """A directive written with too many values, names where none go, or none at all."""
    return _error("bad-directive", f"`{name}` takes {wanted}", span)


def not_in_defaults(name: str, span: Span) -> HpcmakeError:
    """A directive that cannot be a default."""
    return _error("bad-defaults", f"`{name}` cannot be a default for all rules", span)


def two_recipes(first: Span, second: Span) -> HpcmakeError:
    """A rule with more than one recipe."""
    note = Note("note", "the other one", first)
    return _error("two-recipes", "a rule has one recipe", second, note)


def wrong_value(directive: str, wanted: str, got: str, span: Span) -> HpcmakeError:
    """A value of the wrong kind for its directive."""
    return _error("bad-value", f"`{directive}` wants {wanted}, not {got}", span)


def bare_minutes(directive: str, number: str, span: Span) -> HpcmakeError:
    """A number without unit where a time or a size is wanted."""
    if directive == "time":
        help_text = f"write `{number}m` for minutes, `{number}h` for hours"
    else:
        help_text = f"write `{number}M` or `{number}G`"
    return _error("no-unit", f"`{directive}: {number}` has no unit", span, Note("help", help_text))


def name_twice(what: str, name: str, span: Span, first: Span) -> HpcmakeError:
    """Two rules or two `let` of one name."""
    note = Note("note", "the other one", first)
    return _error("name-twice", f"there are two {what} called `{name}`", span, note)


def reserved_name(what: str, name: str, span: Span) -> HpcmakeError:
    """A wildcard, a loop or a `let` called like what always means a directive."""
    return _error(
        "reserved-name",
        f"a {what} cannot be called `{name}`",
        span,
        Note("note", f"in braces, `{name}` always means the directive of that name"),
    )


def label_twice(label: str, span: Span) -> HpcmakeError:
    """Two items of one directive with one name."""
    return _error("name-twice", f"two items are called `{label}`", span)


def no_resource(name: str, instead: str, span: Span) -> HpcmakeError:
    """A resource of the user's own that has the name of what schedulers are asked for."""
    text = f"`resources` counts things of your own; no scheduler would hear of `{name}`"
    return _error("no-resource", text, span, Note("help", f"here that is {instead}"))


def include_cycle(chain: Sequence[str], span: Span) -> HpcmakeError:
    """Files that include each other in a circle."""
    return _error("include-cycle", f"`{chain[-1]}` includes itself: {' -> '.join(chain)}", span)


def cannot_read(path: str, why: str, span: Span | None, near: Sequence[str] = ()) -> HpcmakeError:
    """A file named in the Pipefile that cannot be read."""
    return _error("cannot-read", f"`{path}` cannot be read: {why}", span, *help_near(near))


def bad_config(path: str, why: str, span: Span | None) -> HpcmakeError:
    """A configuration file that is not well-formed."""
    return _error("bad-config", f"`{path}` cannot be understood: {why}", span)


def unknown_config_format(path: str, span: Span) -> HpcmakeError:
    """A configuration file of unknown format."""
    return _error(
        "bad-config",
        f"what kind of file `{path}` is, is not clear",
        span,
        Note("help", "configuration is read from `.yaml`, `.yml`, `.toml` and `.json` files"),
    )


def bad_setting(text: str, why: str) -> HpcmakeError:
    """`--set` with something that is no NAME=VALUE."""
    help_text = "write `--set NAME=VALUE` or `--set a.b=VALUE`"
    return _error("bad-setting", f"`--set {text}`: {why}", None, Note("help", help_text))


def unknown_wildcard(name: str, span: Span, known: Sequence[str]) -> HpcmakeError:
    """`where:` names a wildcard that the outputs do not have."""
    return _error(
        "unknown-wildcard",
        f"no output has a wildcard `{name}`",
        span,
        *help_near(nearest(name, known)),
    )


def uneven_wildcards(missing: str, span: Span, first: Span) -> HpcmakeError:
    """Outputs of one rule with different wildcards."""
    return _error(
        "uneven-wildcards",
        f"this output lacks the wildcard `{{{missing}}}`",
        span,
        Note("note", "all outputs of a rule use the same wildcards; this one has it", first),
    )


def double_output(path: str, span: Span, other: Span | None) -> HpcmakeError:
    """One output written twice in a rule."""
    notes = (Note("note", "it stands first here", other),) if other else ()
    return _error("output-twice", f"`{path}` is twice an output of this rule", span, *notes)


def flag_on_wrong_side(flag: str, directive: str, span: Span) -> HpcmakeError:
    """`temp` on an input, `ancient` on an output."""
    side = "inputs" if directive == "output" else "outputs"
    return _error("bad-flag", f"`{flag}` goes around {side}, not around an {directive[:6]}", span)


def not_a_path(what: str, span: Span) -> HpcmakeError:
    """An item of `input` or `output` that is no path."""
    return _error("not-a-path", f"a path is a text, and this is {what}", span)


def empty_path(span: Span) -> HpcmakeError:
    """An empty text as a path."""
    return _error("not-a-path", "a path cannot be empty", span)


def unknown_rule(name: str, span: Span | None, known: Iterable[str]) -> HpcmakeError:
    """A rule that does not exist."""
    return _error(
        "unknown-rule", f"there is no rule `{name}`", span, *help_near(nearest(name, known))
    )


def prefer_cycle(names: Sequence[str], span: Span) -> HpcmakeError:
    """`prefer` statements that contradict each other."""
    return _error("prefer-cycle", f"`prefer` goes in a circle: {' > '.join(names)}", span)


def batch_and_group(span: Span) -> HpcmakeError:
    """`batch` and `group` in one rule."""
    return _error("batch-and-group", "a rule has `batch` or `group`, not both", span)


def self_reference(name: str, span: Span) -> HpcmakeError:
    """A directive whose value needs itself."""
    return _error("circular-value", f"the value of `{name}` needs itself", span)


def bad_retry_class(name: str, span: Span, known: Sequence[str]) -> HpcmakeError:
    """`retries:` by a class of failure that does not exist."""
    shown = ", ".join(f"`{each}`" for each in known)
    return _error(
        "bad-retries",
        f"there is no class of failure `{name}`",
        span,
        Note("help", f"there are {shown}"),
    )


def cannot_import(path: str, error: BaseException, span: Span) -> HpcmakeError:
    """A Python helper file that fails while it is loaded."""
    text = f"`{path}` cannot be imported: {type(error).__name__}: {error}"
    return _error("cannot-import", text, span)


def no_recipe_for(outputs: Span) -> HpcmakeError:
    """A rule with outputs and nothing that makes them."""
    return _error(
        "no-recipe",
        "this rule has outputs, and no recipe makes them",
        outputs,
        Note("help", "add `shell:`, `script:`, `python:` or `call:`; or make them `touch(...)`"),
    )


def args_without_use(span: Span) -> HpcmakeError:
    """`args:` in a rule whose recipe never uses them."""
    return _error(
        "unused-args",
        "`args` is used by no recipe of this rule",
        span,
        Note("help", "put `{args}` into the command, or use `call:`"),
    )


def block_needed(name: str, span: Span) -> HpcmakeError:
    """A recipe without its text."""
    return _error("bad-directive", f"`{name}` wants a text", span)


def not_a_checkpoint(name: str, span: Span, rule: Span) -> HpcmakeError:
    """`after` names a rule that is no checkpoint."""
    return _error(
        "not-a-checkpoint",
        f"`{name}` is a rule, and a loop waits for a checkpoint",
        span,
        Note("help", f"write `checkpoint {name}:` here", rule),
    )


def checkpoint_wildcard(checkpoint: str, wildcard: str, span: Span) -> HpcmakeError:
    """A checkpoint of which a job would have to wait for a job it cannot name."""
    return _error(
        "checkpoint-wildcard",
        f"`{checkpoint}` has the wildcard `{{{wildcard}}}`, and this rule has not",
        span,
        Note("note", f"a job waits for the job of `{checkpoint}` that has its own wildcards"),
        Note("help", f"loop in a rule with `{{{wildcard}}}` in its output, and take that output"),
    )


def checkpoint_output(span: Span) -> HpcmakeError:
    """A checkpoint without outputs."""
    return _error(
        "checkpoint-output",
        "a checkpoint needs an output: it tells whether the checkpoint has run",
        span,
        Note("help", 'name what it makes, e.g. `output: directory("parts")`'),
    )


def temp_checkpoint(path: str, span: Span) -> HpcmakeError:
    """A `temp` output of a checkpoint."""
    return _error(
        "temp-checkpoint",
        f"`{path}` cannot be `temp`: what a checkpoint makes is looked at by every later build",
        span,
        Note("help", "leave out `temp(...)`"),
    )
