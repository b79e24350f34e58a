"""Problems of the commands beside the build, and what `check` warns of."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from buildhpc.diagnostics import HpcmakeError, Note, Problem, Span
from buildhpc.messages.language import help_near


def _error(slug: str, text: str, *notes: Note) -> HpcmakeError:
    return HpcmakeError(Problem(slug, text, None, notes))


def _warning(slug: str, text: str, span: Span, *notes: Note) -> Problem:
    return Problem(slug, text, span, notes, "warning")


def already_there(path: str) -> HpcmakeError:
    """`init` where a Pipefile is."""
    note = Note("help", "`hpcmake init -C DIR` writes one in another folder")
    return _error("already-there", f"there is a `{path}` already, and it stays as it is", note)


def cannot_write(path: str, why: str) -> HpcmakeError:
    """A file that `fmt` or `init` cannot write."""
    return _error("cannot-write", f"`{path}` cannot be written: {why}")


def include_not_followed(written: str, span: Span) -> Problem:
    """`fmt` and an `include` whose file is named by a value."""
    cure = Note("help", "name the file: `hpcmake fmt FILE`")
    return _warning("not-formatted", f"which file {written} means, `fmt` does not ask", span, cure)


def python_file(path: str) -> HpcmakeError:
    """`fmt` and a Python file that builds a job list."""
    text = f"`{path}` is a Python file, and `fmt` formats Pipefiles"
    return _error("not-formatted", text, Note("help", "formatters of Python do it"))


def no_jobs_named(command: str) -> HpcmakeError:
    """`reset` or `forget` without a word about which jobs."""
    text = f"`hpcmake {command}` wants to know which jobs"
    cure = "name jobs, rules or files; or use `--state failed`, `--run N`, `--where` or `--all`"
    return _error("which-jobs", text, Note("help", cure))


def many_known(word: str, count: int, newest: str) -> HpcmakeError:
    """A word that means several jobs of a data flow, or of a program."""
    cure = f"name it, e.g. the last one: `hpcmake show {quote(newest)}`; `--where` takes several"
    text = f"{count:,} jobs are called `{word}`: which of them is not said"
    return _error("many-jobs", text, Note("help", cure))


def only_known(job: str, *, flow: bool) -> HpcmakeError:
    """What only a Pipefile tells, asked of a job that none tells of."""
    text = f"no Pipefile here tells of the job `{job}`, which an earlier run had"
    cure = "name its file with `-f FILE`: the Pipefile, or the Python file that builds the list"
    if flow:
        text = f"no Pipefile tells of the job `{job}`: a node of a data flow asked for it"
        cure = "its data flow runs it again when it asks for something else, or files are gone"
    known = f"`hpcmake show {quote(job)}` has all that is known of it"
    return _error("only-known", text, Note("help", cure), Note("help", known))


def runs_alone(option: str) -> HpcmakeError:
    """`forget --run N`, or `--all-in`, with jobs as well."""
    cure = Note("help", "use one, then the other")
    return _error("bad-option", f"`{option}` forgets runs, and cannot be joined with jobs", cure)


def no_output(path: str, near: Sequence[str]) -> HpcmakeError:
    """`clean` is asked for a file that no rule makes."""
    text = f"no rule makes `{path}`, and no job is known to have made it"
    return _error("no-output", text, *help_near(near, "`clean` removes outputs only"))


def bash_arguments(written: str, span: Span) -> Problem:
    """`$@` or `$<` in a shell block: Make's words, which are bash's own here."""
    text = f"`{written}` is bash's here, and empty; in a Makefile it is a file"
    cure = "`{output}`" if written == "$@" else "`{input[0]}`"
    return _warning("make-variable", text, span, Note("help", f"here that is {cure}"))


def quoted_block(span: Span) -> Problem:
    """A shell block in quotes, as Snakemake has it."""
    cure = Note("help", "a block needs no quotes: write the commands as in a script")
    return _warning(
        "quoted-block", "bash takes this text in quotes for the name of a program", span, cure
    )


def let_like_wildcard(name: str, span: Span, rule: str, rule_span: Span) -> Problem:
    """A `let` that bears the name of a wildcard."""
    return _warning(
        "let-like-wildcard",
        f"`{name}` is a wildcard of rule `{rule}` as well",
        span,
        Note("note", "the rule", rule_span),
        Note("help", f"below its `let`, `{{{name}}}` is no wildcard: call one of them otherwise"),
    )


def blanks_in_param(written: str, value: str, span: Span) -> Problem:
    """`{params.x}` whose value has blanks: it reaches the command as one word."""
    name = written[1:-1]
    notes = (
        Note("help", f"for several words make it a list, or write `{{{name}:raw}}`"),
        Note("help", f'if one word is meant, write `"{written}"`'),
    )
    text = f"`{written}` has blanks in it, and becomes one word: '{value}'"
    return _warning("blanks-in-param", text, span, *notes)


def unused_let(name: str, span: Span) -> Problem:
    """A `let` that nothing uses."""
    return _warning("unused-let", f"nothing uses `{name}`", span, Note("help", "remove it"))


def unused_where(name: str, span: Span) -> Problem:
    """A pattern for a wildcard that no rule has, or that says itself what it matches."""
    text = f"this pattern of `{name}` is never used"
    cure = "no rule of the file has such a wildcard, or each says in place what it matches"
    return _warning("unused-where", text, span, Note("note", cure))


def unused_rule(name: str, span: Span, targets: Sequence[str]) -> Problem:
    """A rule that the targets do not need."""
    asked = ", ".join(f"`{target}`" for target in targets)
    text = f"nothing that {asked} needs is made by rule `{name}`"
    cure = "remove it; or, if people ask for its files by name, add a rule that names them"
    return _warning("unused-rule", text, span, Note("help", cure))


def bash_refuses(rule: str, words: str, span: Span) -> Problem:
    """A shell block that bash cannot read."""
    return Problem("shell-syntax", f"bash cannot read the commands of rule `{rule}`: {words}", span)


def python_refuses(words: str, span: Span) -> Problem:
    """A python block that Python cannot read."""
    return Problem("python-syntax", f"Python cannot read this: {words}", span)


def in_one_log(job: str, count: int, stream: str, *, named: bool) -> HpcmakeError:
    """`--err` or `--out` of attempts that printed both to one file.

    named: it is the file that the `log` of the rule names.
    """
    which = f"`{job}`" if count == 1 else f"these {count:,} jobs"
    text = f"what {which} printed to std{stream} cannot be told apart from the rest"
    shown = f"`hpcmake logs {quote(job)}` shows both, in the order in which it printed them"
    if named:
        why = "`log` of its rule names one file, which both went to"
        cure = f"{shown}; without `log`, or with `2> FILE` in the recipe, they can be kept apart"
        return _error("one-log", text, Note("note", why), Note("help", cure))
    why = "both went to one log when it ran"
    cure = f"{shown}; `split = true` below `[logs]` in `hpcmake.toml` keeps them apart from now on"
    return _error("one-log", text, Note("note", why), Note("help", cure))
