"""What is allowed in a Pipefile and hardly meant: the warnings of `hpcmake check`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from buildhpc.diagnostics import HpcmakeError, Problem, Span
from buildhpc.language import syntax
from buildhpc.language.braces import Field, fields_of
from buildhpc.language.follow import follow
from buildhpc.language.shell import Quoting, Slot, places
from buildhpc.language.walk import used_names, walk
from buildhpc.messages import commands as messages
from buildhpc.rules.blocks import block_text
from buildhpc.rules.model import Pipeline, Rule

_MAKE_VARIABLE = re.compile(r"\$[@<](?![(])")
_QUOTED_LINE = re.compile(r"""\s*(["']).*\1\s*,?\s*""")


def lint(trees: Sequence[syntax.Tree], pipeline: Pipeline) -> list[Problem]:
    """The warnings that the text alone gives.

    trees: of all files of the pipeline.
    """
    found = [*_unused_lets(trees), *_lets_like_wildcards(trees, pipeline)]
    for tree in trees:
        found += _unused_wheres(tree)
        for directive in _recipes(tree):
            if directive.name == "shell":
                found += _shell_habits(directive)
            else:
                found += _python_syntax(directive)
    return found


def blanks_in_params(rule: Rule, scope: Mapping[str, Any]) -> list[Problem]:
    """Warnings of parameters with blanks that stand outside quotes in the shell block."""
    if rule.recipe is None:
        return []
    found = []
    for part in rule.recipe.parts:
        if not isinstance(part, Slot) or part.quoting is not Quoting.PLAIN:
            continue
        field = part.field
        if field.name != "params" or not field.steps or field.conversion is not None:
            continue
        value = scope["params"]
        for step in field.steps:
            value = follow(value, step, field.span)
        if isinstance(value, str) and re.search(r"\s", value.strip()):
            found.append(messages.blanks_in_param(field.written, _short(value), field.span))
    return found


def _short(value: str) -> str:
    plain = " ".join(value.split())
    return plain if len(plain) <= 60 else f"{plain[:57]}..."


def _unused_lets(trees: Sequence[syntax.Tree]) -> Iterator[Problem]:
    lets = [s for tree in trees for s in tree.statements if isinstance(s, syntax.Let)]
    used = {name for tree in trees for name in used_names(*tree.statements)} if lets else set()
    for let in lets:
        if let.name.name not in used:
            yield messages.unused_let(let.name.name, let.name.span)


def _fields(text: syntax.Text) -> list[Field]:
    parts = fields_of(text.raw, text.inside, wildcards=True)
    return [part for part in parts if isinstance(part, Field)]


def _lets_like_wildcards(trees: Sequence[syntax.Tree], pipeline: Pipeline) -> Iterator[Problem]:
    lets = {
        statement.name.name: statement.name.span
        for tree in trees
        for statement in tree.statements
        if isinstance(statement, syntax.Let)
    }
    for name, span in lets.items():
        rule = next((r for r in pipeline.rules.values() if name in r.wildcards), None)
        if rule is not None:
            yield messages.let_like_wildcard(name, span, rule.name, rule.span)


def _unused_wheres(tree: syntax.Tree) -> Iterator[Problem]:
    """Patterns of wildcards that no text in their reach leaves open."""
    rules = [node for node in tree.statements if isinstance(node, syntax.RuleDefinition)]
    for statement in tree.statements:
        if isinstance(statement, syntax.Where):
            name = statement.name
            if name.name not in _open_wildcards(tree.statements):
                yield messages.unused_where(name.name, name.span)
    for rule in rules:
        outputs = [directive for directive in rule.directives if directive.name == "output"]
        for directive in rule.directives:
            for item in directive.items if directive.name == "where" else ():
                if item.label and item.label.name not in _open_wildcards(outputs):
                    yield messages.unused_where(item.label.name, item.label.span)


def _open_wildcards(nodes: Sequence[object]) -> set[str]:
    """The names in braces that do not say in place what they match."""
    return {
        field.name
        for node in walk(*nodes)
        if isinstance(node, syntax.Text)
        for field in _fields(node)
        if field.pattern is None
    }


def _recipes(tree: syntax.Tree) -> Iterator[syntax.Directive]:
    for statement in tree.statements:
        if isinstance(statement, syntax.RuleDefinition):
            yield from (d for d in statement.directives if d.name in ("shell", "python"))


def _shell_habits(directive: syntax.Directive) -> Iterator[Problem]:
    """Ways of Make and Snakemake that bash does not share."""
    try:
        text, locate = block_text(directive)
    except HpcmakeError:
        return
    block = directive.block
    lines = [line for line in text.split("\n") if line.strip()]
    if block and all(map(_QUOTED_LINE.fullmatch, lines)) and any(" " in x.strip() for x in lines):
        yield messages.quoted_block(block.lines[0])
    for match in _MAKE_VARIABLE.finditer(text):
        quoting = next(p.quoting for p in places(text) if p.end > match.start())
        if quoting is Quoting.PLAIN:
            yield messages.bash_arguments(match[0], locate(match.start(), match.end()))


def _python_syntax(directive: syntax.Directive) -> Iterator[Problem]:
    """What Python's own compiler says of a block."""
    try:
        text, locate = block_text(directive)
    except HpcmakeError:
        return
    try:
        compile(text, "python", "exec")
    except SyntaxError as error:
        yield messages.python_refuses(error.msg, _line_of(text, error, locate))
    except ValueError as error:
        yield messages.python_refuses(str(error), directive.span)


def _line_of(text: str, error: SyntaxError, locate: Any) -> Span:
    lines = text.split("\n")
    number = min(max(error.lineno or 1, 1), len(lines)) - 1
    start = sum(len(line) + 1 for line in lines[:number])
    column = min(max((error.offset or 1) - 1, 0), len(lines[number]))
    span: Span = locate(start + column, start + column + 1)
    return span
