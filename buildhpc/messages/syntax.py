"""What can be wrong with how a Pipefile is written."""

from __future__ import annotations

from buildhpc.diagnostics import Note, Problem, Span, nearest
from buildhpc.messages.syntax_values import BELOW, FUNCTIONS, helping

STATEMENTS = (
    "let",
    "config",
    "include",
    "use",
    "rule",
    "checkpoint",
    "where",
    "prefer",
    "defaults",
    "on",
)
_FOREIGN = {
    "configfile": 'write `config "FILE"`',
    "configfiles": 'write `config "FILE"` for each of them',
    "ruleorder": "write `prefer A > B`",
    "localrules": "give each of these rules the directive `local`",
    "wildcard_constraints": 'write `where NAME = "REGEX"`, a line for each wildcard',
    "onstart": "write `on start:` and the shell block below it",
    "onsuccess": "write `on success:` and the shell block below it",
    "onerror": "write `on failure:` and the shell block below it",
    "envvars": 'read a variable with `env("NAME")`, or set it for a job with `env:` in a rule',
    "module": 'write `include "FILE"`',
    "workdir": "call `hpcmake -C DIR`",
    "subworkflow": 'write `include "FILE"`',
    "pepfile": 'write `config "FILE"` or `let samples = table("FILE")`',
    "singularity": "write `container:` in a rule or in `defaults:`",
    "def": FUNCTIONS,
    "class": FUNCTIONS,
    "import": 'write `use "FILE.py" as NAME`',
    "from": 'write `use "FILE.py" as NAME`',
    "for": "one rule with a wildcard makes many files; lists take `ITEM for NAME in LIST`",
    "if": "a rule takes `when: CONDITION`, a value `A if CONDITION else B`",
    "while": FUNCTIONS,
    "with": FUNCTIONS,
    "try": FUNCTIONS,
    "assert": FUNCTIONS,
    "print": "say it in a recipe, or with the directive `message:`",
    "process": "write `rule NAME:`",
    "task": "write `rule NAME:`",
    "workflow": "the rules of a Pipefile stand at its left margin",
    "export": "write `env:` in a rule or in `defaults:`",
    "ifeq": "a rule takes `when: CONDITION`, a value `A if CONDITION else B`",
}


# The text as a whole


def not_utf8(span: Span, bad: bytes) -> Problem:
    """Bytes that are no UTF-8 text."""
    shown = " ".join(f"{byte:02x}" for byte in bad)
    text = f"the file is not UTF-8 text: it cannot have the byte {shown} here"
    return Problem("not-utf8", text, span, (helping("save the file as UTF-8"),))


def nul_byte(span: Span) -> Problem:
    """A NUL byte."""
    cure = "remove it; a file full of them is not a text file, or is UTF-16: save it as UTF-8"
    return Problem("nul-byte", "a NUL byte stands here", span, (helping(cure),))


def last_shown(problem: Problem) -> Problem:
    """The last problem that is looked for, when there are too many of them."""
    note = Note("note", "further problems of this file are not shown")
    return Problem(problem.slug, problem.text, problem.span, (*problem.notes, note))


# Indentation and blocks


def mixed_indentation(span: Span, style: str) -> Problem:
    """A line indented by tabs among lines indented by spaces, or the other way round."""
    used, other = ("spaces", "a tab") if style == " " else ("tabs", "a space")
    text = f"{other} indents this line, {used} indent the lines before"
    return Problem("mixed-indentation", text, span, (helping(f"use {used} in the whole file"),))


def indented_start(span: Span) -> Problem:
    """The first statement does not stand at the left margin."""
    cure = "begin the line at the left margin"
    return Problem("indented-start", "the first statement is indented", span, (helping(cure),))


def unexpected_indentation(span: Span) -> Problem:
    """A line deeper than the one before, which opens nothing."""
    text = "this line is indented deeper than the line it follows, which opens nothing"
    cure = "indent it like that line; to carry on a list, end that line with a comma"
    return Problem("indentation", text, span, (helping(cure),))


def unindent(span: Span, levels: list[int]) -> Problem:
    """A line less indented than those before, but like none of them."""
    text = "this line is indented like none of the lines it could belong to"
    columns = " or ".join(str(level) for level in levels)
    return Problem("unindent", text, span, (helping(f"indent it by {columns} characters"),))


def empty_block(span: Span, head: str) -> Problem:
    """`shell:`, `python:` or `on EVENT:` with nothing below it."""
    text = f"nothing stands under `{head}`"
    return Problem("empty-block", text, span, (helping(BELOW),))


def block_indentation(span: Span) -> Problem:
    """A line that belongs neither to the block nor to what comes after it."""
    text = (
        "this line is indented less than the first line of the block, "
        "and deeper than the line that opens it"
    )
    cure = "indent it like the first line of the block, or deeper"
    return Problem("block-indentation", text, span, (helping(cure),))


def empty_part(span: Span, head: str) -> Problem:
    """A rule without directives, or a directive without items."""
    text = f"nothing stands under `{head}:`"
    cure = "write it in the lines below, indented deeper, or leave this line out"
    return Problem("empty-part", text, span, (helping(cure),))


def unquoted_block(span: Span, name: str) -> Problem:
    """A recipe in the line of its `shell:`, without quotes."""
    text = f"what stands after `{name}:` is not in quotes"
    return Problem("unquoted-block", text, span, (helping(f"{BELOW}; or put it in quotes"),))


def block_in_line(span: Span, head: str) -> Problem:
    """Something after `on EVENT:`."""
    text = f"the shell block of `{head}` does not begin in a line of its own"
    return Problem("block-in-line", text, span, (helping(BELOW),))


# Statements and directives


def foreign_word(span: Span) -> Problem | None:
    """A statement of another language, or None when `span` covers no known one."""
    cure = _FOREIGN.get(span.text)
    if cure is None:
        return None
    text = f"`{span.text}` begins no statement of a Pipefile"
    return Problem("foreign-word", text, span, (helping(cure),))


def run_block(span: Span) -> Problem:
    """Snakemake's `run:`."""
    cure = "write `python:` and the block below it"
    return Problem("foreign-word", "there is no directive `run`", span, (helping(cure),))


def no_lambda(span: Span) -> Problem:
    """A Python function in a value."""
    cure = (
        "write the value itself: it may use wildcards, `input` and `attempt` by their names; "
        'or call a function of `use "FILE.py" as NAME`'
    )
    return Problem("lambda", "a value cannot be a `lambda`", span, (helping(cure),))


def unknown_statement(span: Span) -> Problem:
    """A line at the left margin that begins like no statement."""
    word = span.text
    near = nearest(word, STATEMENTS)
    if near:
        cure = f"is `{near[0]}` meant?"
    else:
        cure = f"statements begin with {', '.join(f'`{name}`' for name in STATEMENTS)}"
    return Problem("unknown-statement", f"`{word}` begins no statement", span, (helping(cure),))


def outside_rule(span: Span) -> Problem:
    """A directive at the left margin."""
    text = f"`{span.text}:` stands outside of any rule"
    cure = "indent it below `rule NAME:`, or below `defaults:` to hold for all rules"
    near = nearest(span.text, STATEMENTS)
    notes = (helping(f"is `{near[0]}` meant?"),) if near else (helping(cure),)
    return Problem("outside-rule", text, span, notes)


def missing_let(span: Span) -> Problem:
    """`NAME = VALUE` at the left margin."""
    text = f"`{span.text}` is given a value without `let`"
    return Problem("missing-let", text, span, (helping(f"write `let {span.text} = ...`"),))


def statement_inside(span: Span) -> Problem:
    """A statement among the directives of a rule."""
    text = f"`{span.text}` begins a statement, which cannot stand inside of a rule"
    return Problem("statement-inside", text, span, (helping("begin it at the left margin"),))


def missing_colon(head: Span) -> Problem:
    """A rule or a directive without its colon, shown where that belongs."""
    text = f"a colon is missing after `{head.text}`"
    span = Span(head.source, head.end, head.end)
    return Problem("missing-colon", text, span, (helping(f"write `{head.text}:`"),))


def extra_colon(span: Span, form: str) -> Problem:
    """A colon after a word that takes none."""
    text = "no colon stands here"
    return Problem("extra-colon", text, span, (helping(f"write `{form}`"),))


def equals_for_colon(span: Span, name: str) -> Problem:
    """`input = "a"` among the directives of a rule."""
    text = f"directive `{name}` takes a colon, not `=`"
    return Problem("equals-for-colon", text, span, (helping(f"write `{name}: ...`"),))


def colon_for_equals(span: Span, name: str) -> Problem:
    """`let x: 1`, or `bam: "a"` among items."""
    text = f"`=` stands between `{name}` and its value, not a colon"
    return Problem("colon-for-equals", text, span, (helping(f"write `{name} = ...`"),))


def one_line_rule(span: Span, head: str) -> Problem:
    """Something after the colon of a rule."""
    text = f"the directives of `{head}` do not begin in a line of their own"
    cure = "write each directive in a line below, indented deeper"
    return Problem("one-line-rule", text, span, (helping(cure),))


def bad_name(span: Span, what: str) -> Problem:
    """A name of a rule, a value or a wildcard that is none."""
    cure = "a name is made of letters, digits and `_`, begins with no digit, and has no quotes"
    text = f"`{span.text}` cannot name {what}"
    return Problem("bad-name", text, span, (helping(cure),))


def missing_name(span: Span, what: str) -> Problem:
    """No name where one belongs."""
    return Problem("missing-name", f"{what} has no name", span)


def reserved_word(span: Span) -> Problem:
    """A reserved word as a name."""
    cure = "choose another name; `and or not if else for in` are taken"
    text = f"`{span.text}` is a reserved word and names nothing"
    return Problem("reserved-word", text, span, (helping(cure),))


def wrong_form(span: Span, word: str, form: str) -> Problem:
    """A statement that is not written as it must be."""
    text = f"`{word}` is not written like this"
    return Problem("wrong-form", text, span, (helping(f"write `{form}`"),))
