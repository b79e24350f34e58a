"""What can be wrong with how a value is written."""

from __future__ import annotations

import re
import unicodedata

from buildhpc.diagnostics import Note, Problem, Span

BELOW = "write the text in the lines below, indented deeper, without quotes"
FUNCTIONS = 'put functions into a Python file and load it: `use "FILE.py" as NAME`'
_CHARACTERS = {
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not` or `!=`",
    ";": "write one statement or directive a line",
    "{": "braces stand inside strings and shell blocks only; a list is `[a, b]`",
    "}": "braces stand inside strings and shell blocks only; a list is `[a, b]`",
    "$": 'a variable of the environment is `env("NAME")`, a name in a string is `{name}`',
    "@": FUNCTIONS,
    "`": "strings stand in `\"` or `'`",
    "\\": "a `\\` joins two lines where it is the last character of the first",
    "\r": "end lines as Unix or Windows does",
}


def helping(text: str) -> Note:
    """A cure."""
    return Note("help", text)


# Strings, numbers, characters


def unclosed_text(span: Span) -> Problem:
    """A string without its second quote."""
    cure = f"end it with `{span.text[0]}` in the same line"
    return Problem("unclosed-string", "this string is never closed", span, (helping(cure),))


def triple_quotes(span: Span) -> Problem:
    """A Python string of several lines."""
    text = "three quotes begin no string: strings stand on one line"
    return Problem("triple-quotes", text, span, (helping(f"after `shell:` {BELOW}"),))


def adjacent_strings(span: Span, first: Span) -> Problem:
    """Two strings without a comma."""
    text = "two strings stand side by side"
    cure = "put a comma between them, or write one string; they are never joined"
    return Problem(
        "adjacent-strings", text, span, (Note("note", "the first string", first), helping(cure))
    )


def string_prefix(span: Span) -> Problem:
    """`f"..."` and the like."""
    text = f"`{span.text}` stands before a string"
    cure = "leave it out: names in braces work in every string, and backslashes stay as they are"
    return Problem("string-prefix", text, span, (helping(cure),))


def quote_inside(span: Span, quote: str) -> Problem:
    """A string that ends at the apostrophe of a word."""
    other = "'" if quote == '"' else '"'
    text = f"the string ends before `{_short(span.text)}`"
    cure = f"write `\\{quote}` for a quote inside of it, or put the string in `{other}`"
    return Problem("quote-inside", text, span, (helping(cure),))


def bad_number(span: Span) -> Problem:
    """Something that begins with a digit and is no number."""
    text = f"`{span.text}` is neither a number nor a quantity"
    return Problem("bad-number", text, span, (helping(_number_cure(span.text)),))


def _number_cure(text: str) -> str:
    """How `text` may have been meant."""
    if found := re.fullmatch(r"([0-9.]+)([kmgtp])(?:i?b?)", text, re.IGNORECASE):
        return f"write `{found[1]}{found[2].upper()}`"
    if found := re.fullmatch(r"([0-9.]+)(s|m|h|d)(?:ecs?|ins?|rs?|ays?)", text):
        return f"write `{found[1]}{found[2]}`"
    if re.fullmatch(r"[0-9]+(?:_[0-9]+)+", text):
        return f"write `{text.replace('_', '')}`"
    if re.fullmatch(r"[0-9]+\.|\.[0-9]+", text):
        return f"write `{text}0`" if text[0] != "." else f"write `0{text}`"
    if ":" in text:
        return "write `H:MM:SS` or `D-HH:MM:SS`, for example `1:30:00`, or `1h30m`"
    return "sizes are written `500M`, `8G`, `1.5T`, times `90s`, `1h30m`, `1:30:00`"


def huge_number(span: Span) -> Problem:
    """A number too large to compute with."""
    return Problem("huge-number", "this number is too large", span)


def unknown_character(span: Span) -> Problem:
    """A character the language has no use for."""
    character = span.text[:1]
    name = unicodedata.name(character, "").lower() or f"the character U+{ord(character):04X}"
    shown = f"`{character}`" if character.isprintable() else name
    cure = _CHARACTERS.get(character)
    if not character.isascii():
        shown = f"{shown} ({name})" if character.isprintable() else shown
        category = unicodedata.category(character)
        if "quotation mark" in name:
            cure = "strings stand in the plain quotes `\"` or `'`"
        elif category == "Zs":
            cure = "write an ordinary blank"
        elif category == "Pd":
            cure = "write a plain `-`"
    notes = (helping(cure),) if cure else ()
    return Problem("unknown-character", f"{shown} cannot stand here", span, notes)


# Brackets


def too_deep(span: Span, limit: int) -> Problem:
    """An expression nested beyond all use."""
    text = f"this is nested more than {limit} deep"
    return Problem("too-deep", text, span, (helping("give a part of it a name with `let`"),))


def open_bracket(span: Span) -> Problem:
    """A bracket without its counterpart."""
    return Problem("open-bracket", f"`{span.text}` is never closed", span)


def stray_bracket(span: Span) -> Problem:
    """A closing bracket that was never opened."""
    return Problem("stray-bracket", f"`{span.text}` closes nothing", span)


def wrong_bracket(span: Span, opening: Span) -> Problem:
    """`(` closed by `]`, or the other way round."""
    text = f"`{span.text}` cannot close `{opening.text}`"
    return Problem("wrong-bracket", text, span, (Note("note", "opened here", opening),))


# Expressions


def missing_value(span: Span, before: str) -> Problem:
    """Nothing where a value belongs."""
    text = f"a value is missing after `{before}`"
    cure = "to go on in the next line, end this one with `\\`, or use brackets"
    notes = () if before in (":", "(", "[") else (helping(cure),)
    return Problem("missing-value", text, span, notes)


def missing_comma(span: Span) -> Problem:
    """Two values side by side."""
    text = f"`{_short(span.text)}` follows a value without a comma"
    return Problem("missing-comma", text, span, (helping("put a comma between the two values"),))


def single_equals(span: Span) -> Problem:
    """`=` where two values are compared."""
    cure = "two values are compared with `==`"
    return Problem("single-equals", "`=` cannot stand here", span, (helping(cure),))


def chained_comparison(span: Span) -> Problem:
    """`a < b < c`."""
    text = "comparisons cannot follow each other"
    return Problem("chained-comparison", text, span, (helping("write `a < b and b < c`"),))


def unexpected(span: Span, expected: str) -> Problem:
    """Anything else that does not belong where it stands."""
    text = f"`{_short(span.text)}` cannot stand here"
    notes = (Note("note", f"{expected} may stand here"),) if expected else ()
    return Problem("syntax", text, span, notes)


def unexpected_end(span: Span, expected: str) -> Problem:
    """A line that ends too early."""
    notes = (Note("note", f"{expected} may stand here"),) if expected else ()
    return Problem("syntax", "the line ends too early", span, notes)


def _short(text: str, limit: int = 40) -> str:
    """`text`, cut where it is too long to be read in a sentence."""
    return text if len(text) <= limit else text[: limit - 3] + "..."
