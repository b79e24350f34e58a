"""One rule: from its syntax to a checked `Rule`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from buildhpc.diagnostics import Collecting, HpcmakeError, Problem
from buildhpc.language import syntax
from buildhpc.language.expressions import (
    Names,
    compile_expression,
    evaluate,
)
from buildhpc.language.patterns import Pattern, Wild, pattern
from buildhpc.language.shell import Slot, slots_of
from buildhpc.language.walk import used_names, walk
from buildhpc.messages import rules as messages
from buildhpc.rules.blocks import block_text, check_slots
from buildhpc.rules.directives import DIRECTIVES, RECIPES
from buildhpc.rules.model import InputItem, Output, RecipeCode, Rule, Value
from buildhpc.rules.outputs import check_flags, compile_outputs, constraint, is_many
from buildhpc.rules.shapes import check_directive

_ALWAYS = frozenset({"input", "output", "params", "wildcards", "attempt", "cores", "log"})
_WITHOUT_INPUT = frozenset({"wildcards", "rules"})
_UNKNOWN_WILDCARD = "a wildcard in `input` must be in an `output` of the rule as well"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a rule finds where it stands in its file.

    names: the constants visible there. folder: of the file. where: patterns of the file.
    defaults: directives of the file's `defaults:`.
    """

    names: Names
    folder: str
    where: Mapping[str, str]
    defaults: Sequence[syntax.Directive]


def compile_rule(node: syntax.RuleDefinition, around: Surroundings, order: int) -> Rule | None:
    """The rule, or None where its `when:` does not hold. Raises: HpcmakeError, all problems."""
    found: list[Problem] = []
    directives = _directives(node, around, found)
    if not found and (when := directives.get("when")) and not _when(when, around.names):
        return None
    outputs: tuple[Output, ...] = ()
    with Collecting(found):
        where = _constraints(directives.get("where"), around)
        outputs = compile_outputs(directives.get("output"), around.names, where)
        _check_where(directives.get("where"), outputs)
    if found:
        raise HpcmakeError(found)
    wildcards = outputs[0].patterns[0].wildcards if outputs and outputs[0].patterns else ()
    maker = _RuleCompiler(node, around, directives, wildcards)
    inputs = maker.inputs(found)
    values = maker.values(found)
    recipe = maker.recipe(found)
    _check_whole(node, directives, outputs, found)
    if found:
        raise HpcmakeError(found)
    return Rule(
        name=node.name.name,
        span=node.name.span,
        checkpoint=node.keyword == "checkpoint",
        wildcards=wildcards,
        outputs=outputs,
        inputs=inputs,
        directives=values,
        recipe=recipe,
        folder=around.folder,
        order=order,
        one_path=_has_one_path(outputs),
        awaits=_awaited(directives.get("input")),
    )


def _awaited(inputs: syntax.Directive | syntax.Expression | None) -> tuple[syntax.Name, ...]:
    """The checkpoints that loops of inputs wait for, each once."""
    found: dict[str, syntax.Name] = {}
    for node in walk(inputs) if inputs else ():
        if isinstance(node, syntax.For) and node.after is not None:
            found.setdefault(node.after.name, node.after)
    return tuple(found.values())


def _has_one_path(outputs: Sequence[Output]) -> bool:
    patterns = [pattern for output in outputs for pattern in output.patterns]
    return len(patterns) == 1 and "directory" not in patterns[0].flags


def _directives(
    node: syntax.RuleDefinition, around: Surroundings, found: list[Problem]
) -> dict[str, syntax.Directive]:
    """The rule's directives by name, over the defaults of the file."""
    own: dict[str, syntax.Directive] = {}
    for directive in node.directives:
        with Collecting(found):
            check_directive(directive)
            if directive.name in own:
                raise messages.directive_twice(
                    directive.name, directive.span, own[directive.name].span
                )
            own[directive.name] = directive
    merged = {directive.name: directive for directive in around.defaults}
    for name, directive in own.items():
        default = merged.get(name)
        if default is not None and DIRECTIVES[name].shape == "named":
            labels = {item.label.name for item in directive.items if item.label}
            kept = [i for i in default.items if i.label and i.label.name not in labels]
            directive = replace(directive, items=(*kept, *directive.items))
        merged[name] = directive
    return merged


def _when(directive: syntax.Directive, names: Names) -> bool:
    return bool(evaluate(directive.items[0].value, names))


def _constraints(directive: syntax.Directive | None, around: Surroundings) -> dict[str, str]:
    """Patterns for the rule's wildcards: its own `where:` over the file's `where`."""
    found = dict(around.where)
    for item in directive.items if directive else ():
        assert item.label is not None
        found[item.label.name] = constraint(item.value, item.relation, around.names)
    return found


def _check_where(directive: syntax.Directive | None, outputs: Sequence[Output]) -> None:
    known = outputs[0].patterns[0].wildcards if outputs and outputs[0].patterns else ()
    for item in directive.items if directive else ():
        assert item.label is not None
        if item.label.name not in known:
            raise messages.unknown_wildcard(item.label.name, item.label.span, known)


def _check_whole(
    node: syntax.RuleDefinition,
    directives: Mapping[str, syntax.Directive],
    outputs: Sequence[Output],
    found: list[Problem],
) -> None:
    """What concerns several directives at once."""
    recipes = [directives[name] for name in RECIPES if name in directives]
    with Collecting(found):
        if len(recipes) > 1:
            recipes.sort(key=lambda directive: directive.span.start)
            raise messages.two_recipes(recipes[0].span, recipes[1].span)
        if "batch" in directives and "group" in directives:
            raise messages.batch_and_group(directives["group"].span)
        flags = [pattern.flags for output in outputs for pattern in output.patterns]
        if outputs and not recipes and not all("touch" in each for each in flags):
            raise messages.no_recipe_for(node.span)
        if node.keyword == "checkpoint":
            _check_checkpoint(node, outputs)


def _check_checkpoint(node: syntax.RuleDefinition, outputs: Sequence[Output]) -> None:
    """Whether there is something that tells that it has run."""
    if not outputs:
        raise messages.checkpoint_output(node.name.span)
    for output in outputs:
        for each in output.patterns:
            if "temp" in each.flags:
                raise messages.temp_checkpoint(str(each), output.span)


class _RuleCompiler:
    """Compiles what of a rule is computed for each job."""

    def __init__(
        self,
        node: syntax.RuleDefinition,
        around: Surroundings,
        directives: Mapping[str, syntax.Directive],
        wildcards: tuple[str, ...],
    ) -> None:
        self._node = node
        self._around = around
        self._directives = directives
        self._wildcards = wildcards
        base = around.names
        early = frozenset(wildcards) | _WITHOUT_INPUT
        self._early = replace(base, late=early, wildcards=around.where)
        self._late = replace(self._early, late=early | _ALWAYS | self._own_names())

    def _own_names(self) -> frozenset[str]:
        return frozenset(n for n in self._directives if n not in (*RECIPES, "where", "when"))

    def inputs(self, found: list[Problem]) -> tuple[InputItem, ...]:
        """The items of `input`."""
        directive = self._directives.get("input")
        names = replace(self._early, path=True, note=_UNKNOWN_WILDCARD, waits=True)
        items = []
        for item in directive.items if directive else ():
            with Collecting(found):
                check_flags(item.value, "input")
                thunk = compile_expression(item.value, names)
                label = item.label.name if item.label else None
                many = is_many(item.value)
                late = bool(_awaited(item.value))
                make = self._maker(item.value)
                items.append(InputItem(item.span, label, many, thunk, make, late))
        return tuple(items)

    def _maker(self, node: syntax.Expression) -> Any:
        """See `InputItem.make`: most inputs are one text, and this form is many times faster."""
        if not isinstance(node, syntax.Text):
            return None
        constants = {
            name: value
            for name, value in self._around.names.constants.items()
            if name not in self._wildcards
        }
        names = Names(constants, self._around.names.reader, braces="wildcard", path=True)
        try:
            value = evaluate(node, names)
        except HpcmakeError:
            return None
        made = value if isinstance(value, Pattern) else pattern((value,)) if value else None
        if made is None or not set(made.wildcards) <= set(self._wildcards):
            return None
        if any(isinstance(part, Wild) and "," in part.name for part in made.parts):
            return None
        return made.format(self._wildcards)

    def values(self, found: list[Problem]) -> dict[str, tuple[Value, ...]]:
        """The values of all directives but paths and recipes."""
        skip = ("input", "output", "where", "when", *RECIPES)
        result: dict[str, tuple[Value, ...]] = {}
        for name, directive in self._directives.items():
            if name in skip:
                continue
            values = []
            for item in directive.items:
                with Collecting(found):
                    if self._needs_itself(name, item.value):
                        raise messages.self_reference(name, item.value.span)
                    thunk = compile_expression(item.value, self._names_of(name))
                    label = item.label.name if item.label else None
                    constant = not any(self._is_late(each) for each in walk(item.value))
                    values.append(Value(item.value.span, label, thunk, constant))
            if DIRECTIVES[name].shape == "flag":
                values.append(Value(directive.span, None, lambda _: True, True))
            result[name] = tuple(values)
        return result

    def _is_late(self, node: object) -> bool:
        if isinstance(node, syntax.Name):
            return node.name in self._late.late
        return isinstance(node, syntax.Text) and "{" in node.raw

    def _needs_itself(self, directive: str, value: syntax.Expression) -> bool:
        known = directive in self._wildcards or directive in self._around.names.constants
        return not known and directive in used_names(value)

    def _names_of(self, directive: str) -> Names:
        late = self._late.late
        if directive not in self._wildcards:
            late -= {directive}  # in its own value it means the `let` of that name
        return replace(self._late, late=late, path=directive in ("log", "benchmark"))

    def recipe(self, found: list[Problem]) -> RecipeCode | None:
        """The recipe, None where the rule has none."""
        for kind_ in RECIPES:
            directive = self._directives.get(kind_)
            if directive is None:
                continue
            with Collecting(found):
                if kind_ in ("shell", "python"):
                    return self._block_recipe(kind_, directive, found)
                value = compile_expression(directive.items[0].value, self._late)
                return RecipeCode(kind_, directive.span, value=value)  # type: ignore[arg-type]  # kind_ is one of RECIPES
        if "args" in self._directives:
            found.extend(messages.args_without_use(self._directives["args"].span).problems)
        return None

    def _block_recipe(
        self, kind_: str, directive: syntax.Directive, found: list[Problem]
    ) -> RecipeCode:
        text, locate = block_text(directive)
        if kind_ == "python":
            return RecipeCode("python", directive.span, text=text)
        parts = slots_of(text, locate)
        check_slots(parts, self._late, found)
        if "args" in self._directives and not any(
            isinstance(part, Slot) and part.field.name == "args" for part in parts
        ):
            found.extend(messages.args_without_use(self._directives["args"].span).problems)
        return RecipeCode("shell", directive.span, parts=tuple(parts))
