"""Expressions: from a syntax tree to a function that gives the value where it is asked for.

`compile_expression` resolves every name once and reports what nothing defines; the function it
returns only computes. Constants (`let`, `config`) are known by then; the rest comes in a scope.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from buildhpc.diagnostics import HpcmakeError, Span
from buildhpc.language import syntax
from buildhpc.language.braces import Field, call_in, fields_of, undouble, unescape
from buildhpc.language.follow import check_regex, follow
from buildhpc.language.functions import FUNCTIONS, Function, NotThere, Reader, plain_text
from buildhpc.language.operators import Unfit, binary, negative
from buildhpc.language.patterns import DEFAULT, Pattern, Wild, normal, pattern, pattern_part
from buildhpc.language.values import Files, Layered, Unfilled, items_of, kind, wrap
from buildhpc.messages import language as messages
from buildhpc.quantities import quantity

Scope = Mapping[str, Any]
Thunk = Callable[[Scope], Any]


@dataclass(frozen=True, slots=True)
class Names:
    """What names mean where an expression stands.

    constants: values known when the file is read: `let`, `config`, helpers.
    late: names whose values come with the scope: loop variables, wildcards, directives.
    braces: what an unknown name in a string's braces is: an `error`, a `wildcard` of the rule,
        or `kept` for a function to fill.
    wildcards: patterns for wildcards, by name.
    path: strings are paths: no list in them, and they get their standard form.
    part: a string is put together with others first: it stays as it is written.
    later: names defined further down in the file, with their places.
    note: said with an unknown name.
    waits: loops may wait for a checkpoint.
    """

    constants: Mapping[str, Any]
    reader: Reader
    late: frozenset[str] = frozenset()
    braces: Literal["error", "wildcard", "kept"] = "error"
    wildcards: Mapping[str, str] = field(default_factory=dict)
    path: bool = False
    part: bool = False
    later: Mapping[str, Span] = field(default_factory=dict)
    note: str | None = None
    waits: bool = False


def compile_expression(node: syntax.Expression, names: Names) -> Thunk:
    """The function that computes `node`. Raises: HpcmakeError for what can be known now."""
    return _COMPILERS[type(node)](node, names)


def evaluate(node: syntax.Expression, names: Names, scope: Scope | None = None) -> Any:
    """The value of `node` in a place where all is known."""
    return compile_expression(node, names)(scope or {})


def _constant(value: Any) -> Thunk:
    return lambda _: value


def _number(node: syntax.Number | syntax.Constant, _: Names) -> Thunk:
    return _constant(node.value)


def _quantity(node: syntax.Quantity, _: Names) -> Thunk:
    return _constant(quantity(node.text))


def _name(node: syntax.Name, names: Names) -> Thunk:
    name = node.name
    if name in names.late:
        return lambda scope: scope[name]
    if name in names.constants:
        return _constant(names.constants[name])
    raise _unknown(name, node.span, names)


def _unknown(name: str, span: Span, names: Names) -> HpcmakeError:
    if name in names.later:
        return messages.not_yet_visible(name, span, names.later[name])
    return messages.unknown_name(name, span, {*names.late, *names.constants}, names.note)


def _text(node: syntax.Text, names: Names) -> Thunk:
    parts = fields_of(node.raw, node.inside, wildcards=names.braces != "error")
    if names.path and (call := call_in(node.raw, node.inside)) is not None:
        raise messages.call_in_braces(call)
    if len(parts) == 1 and isinstance(parts[0], str):
        return _constant(_finisher(names)(undouble(unescape(parts[0]))))
    pieces = [
        undouble(unescape(part)) if isinstance(part, str) else _field(part, names) for part in parts
    ]
    if names.braces != "error" and any(isinstance(piece, Wild) for piece in pieces):
        return _pattern_text(pieces, pattern_part if names.part else pattern)
    if all(isinstance(piece, str) for piece in pieces):
        text = "".join(piece for piece in pieces if isinstance(piece, str))
        return _constant(_finisher(names)(text))
    return _joined(pieces, _finisher(names))


def _finisher(names: Names) -> Callable[[str], str]:
    return normal if names.path and not names.part else str


def _joined(pieces: list[Any], finish: Callable[[str], str]) -> Thunk:
    def text(scope: Scope) -> str:
        return finish("".join([p if isinstance(p, str) else p(scope) for p in pieces]))

    return text


def _pattern_text(pieces: list[Any], made: Callable[[list[str | Wild]], Pattern]) -> Thunk:
    if all(isinstance(piece, (str, Wild)) for piece in pieces):
        return _constant(made(pieces))

    def value(scope: Scope) -> Pattern:
        return made([p if isinstance(p, (str, Wild)) else p(scope) for p in pieces])

    return value


def _field(part: Field, names: Names) -> str | Wild | Thunk:
    """A field of a quoted string: its text, a wildcard, or a function that gives its text."""
    if part.conversion is not None:
        raise messages.bad_conversion(part.written, part.span)
    known = part.name in names.late or part.name in names.constants
    if part.pattern is not None and not known:
        return Wild(part.name, check_regex(unescape(part.pattern), part.span))
    if not known:
        if names.braces == "error" or part.steps:
            raise _unknown(part.name, part.span, names)
        return Wild(part.name, names.wildcards.get(part.name, DEFAULT))
    thunk = field_value(part, names)
    to_text = _path_text if names.path else _any_text
    if part.name in names.late:
        return lambda scope: to_text(thunk(scope), part)
    return to_text(thunk({}), part)


def field_value(part: Field, names: Names) -> Thunk:
    """The function that gives the value a field names, before it becomes text."""
    name, steps = part.name, part.steps
    if name not in names.late and name not in names.constants:
        raise _unknown(name, part.span, names)
    constant = names.constants.get(name)

    def value(scope: Scope) -> Any:
        found = scope[name] if name in names.late else constant
        for step in steps:
            found = follow(found, step, part.span)
        return found

    return value


def _path_text(value: Any, part: Field) -> str:
    # Nearly always; 100,000 inputs: 0.1 s less than by way of all that it may be besides.
    if type(value) is str or type(value) is int:
        return str(value)
    if isinstance(value, (list, Files)):
        if len(value) == 1 and isinstance(value, Files):
            return str(value[0])
        raise messages.list_in_path(part.written, part.span)
    if value is None:
        raise messages.none_in_path(part.written, part.span)
    return _any_text(value, part)


def _any_text(value: Any, part: Field) -> str:
    try:
        return plain_text(value)
    except Unfit as error:
        raise messages.unfit(str(error), part.span) from None


def _list(node: syntax.ListOf, names: Names) -> Thunk:
    thunks = [compile_expression(item, names) for item in node.items]
    loops = [isinstance(item, syntax.Loop) for item in node.items]

    def value(scope: Scope) -> list[Any]:
        result: list[Any] = []
        for thunk, loop in zip(thunks, loops, strict=True):
            item = thunk(scope)
            if loop:
                result.extend(item)
            elif item is not None and item != []:
                result.append(item)
        return result

    return value


def _attribute(node: syntax.Attribute, names: Names) -> Thunk:
    inner = compile_expression(node.value, names)
    return lambda scope: follow(inner(scope), node.name, node.name_span)


def _index(node: syntax.Index, names: Names) -> Thunk:
    inner = compile_expression(node.value, names)
    index = compile_expression(node.index, names)

    def value(scope: Scope) -> Any:
        step = index(scope)
        if not isinstance(step, (str, int)) or isinstance(step, bool):
            raise messages.unfit(f"an index is a number or a name, not {kind(step)}", node.span)
        return follow(inner(scope), step, node.span)

    return value


def _unary(node: syntax.Unary, names: Names) -> Thunk:
    inner = compile_expression(node.value, names)
    if node.operator == "not":
        return lambda scope: not inner(scope)

    def value(scope: Scope) -> Any:
        try:
            return negative(inner(scope))
        except Unfit as error:
            raise messages.unfit(str(error), node.span) from None

    return value


def _binary(node: syntax.Binary, names: Names) -> Thunk:
    # A chain such as a + b + c + ... leans to the left and may be long: a loop, no recursion.
    chain: list[tuple[str, Thunk, Span]] = []
    left: syntax.Expression = node
    while isinstance(left, syntax.Binary):
        chain.append((left.operator, _operand(left.right, names), left.span))
        left = left.left
    first = _operand(left, names)
    chain.reverse()
    finish = _finisher(names)

    def value(scope: Scope) -> Any:
        result = first(scope)
        for symbol, right, span in chain:
            if symbol == "and":
                result = right(scope) if result else result
            elif symbol == "or":
                result = result if result else right(scope)
            else:
                try:
                    result = binary(symbol, result, right(scope))
                except Unfit as error:
                    raise messages.unfit(str(error), span) from None
        if isinstance(result, Pattern):
            return result if names.part else pattern(result.parts, result.flags)
        return finish(result) if type(result) is str else result

    return value


def _operand(node: syntax.Expression, names: Names) -> Thunk:
    # `"sum/" + x`: each text is but a part of the path; one in a list is a whole path.
    part = isinstance(node, (syntax.Text, syntax.Binary, syntax.Conditional))
    return compile_expression(node, replace(names, part=part))


def _conditional(node: syntax.Conditional, names: Names) -> Thunk:
    branch = _operand if names.part else compile_expression
    then = branch(node.then, names)
    condition = compile_expression(node.condition, names)
    otherwise = branch(node.otherwise, names)
    return lambda scope: then(scope) if condition(scope) else otherwise(scope)


def _loop(node: syntax.Loop, names: Names) -> Thunk:
    clauses = []
    inner = names
    for clause in node.clauses:
        if clause.after is not None and not names.waits:
            raise messages.late_loop(clause.after.name, clause.span)
        values = compile_expression(clause.values, replace(inner, braces="error", path=False))
        bound = [name.name for name in clause.names]
        inner = replace(inner, late=inner.late | set(bound))
        condition = None
        if clause.condition is not None:
            condition = compile_expression(clause.condition, replace(inner, braces="error"))
        clauses.append((clause, bound, values, condition))
    item = compile_expression(node.item, inner)

    def rounds(scope: Scope, level: int) -> list[Any]:
        clause, bound, values, condition = clauses[level]
        innermost = level == len(clauses) - 1
        result: list[Any] = []
        here = Layered({}, scope)
        for each in _iterate(values(scope), clause):
            here.update(_bind(bound, each, clause))
            if condition is None or condition(here):
                result += items_of(item(here)) if innermost else rounds(here, level + 1)
        return result

    return lambda scope: rounds(scope, 0)


def _iterate(value: Any, clause: syntax.For) -> Any:
    if isinstance(value, (list, Files)):
        return value
    raise messages.not_iterable(kind(value), clause.values.span)


def _bind(bound: list[str], item: Any, clause: syntax.For) -> dict[str, Any]:
    if len(bound) == 1:
        return {bound[0]: item}
    if isinstance(item, list) and len(item) == len(bound):
        return dict(zip(bound, item, strict=True))
    what = f"a list of {len(item)}" if isinstance(item, list) else kind(item)
    raise messages.loop_names(len(bound), what, clause.span)


def _call(node: syntax.Call, names: Names) -> Thunk:
    if isinstance(node.function, syntax.Attribute):
        return _helper_call(node, names)
    if not isinstance(node.function, syntax.Name):
        raise messages.unfit("only a name can be called", node.span)
    function = FUNCTIONS.get(node.function.name)
    if function is None:
        raise messages.unknown_function(node.function.name, node.function.span, FUNCTIONS)
    count = len(node.arguments)
    if not function.least <= count <= function.most or (node.keywords and not function.keywords):
        raise messages.wrong_arguments(function.usage, node.span)
    return _language_call(node, function, names)


def _language_call(node: syntax.Call, function: Function, names: Names) -> Thunk:
    own = replace(names, braces="kept", path=True) if function.pattern else names
    arguments = [
        compile_expression(argument, own if index == 0 else names)
        for index, argument in enumerate(node.arguments)
    ]
    keywords = {name: compile_expression(value, names) for name, value in node.keywords}
    first = (names.reader,) if function.reads else ()

    def value(scope: Scope) -> Any:
        values = [argument(scope) for argument in arguments]
        named = {name: thunk(scope) for name, thunk in keywords.items()}
        if any(isinstance(each, Unfilled) for each in values):
            return Unfilled(f"{node.function.span.text}({', '.join(map(str, values))})")
        try:
            return function.call(*first, *values, **named)
        except NotThere as error:
            raise messages.not_there(str(error), node.span) from None
        except Unfit as error:
            raise messages.unfit(str(error), node.span) from None

    return value


def _helper_call(node: syntax.Call, names: Names) -> Thunk:
    thunk = compile_expression(node.function, names)
    arguments = [compile_expression(argument, names) for argument in node.arguments]
    keywords = {name: compile_expression(value, names) for name, value in node.keywords}

    def value(scope: Scope) -> Any:
        function = thunk(scope)
        if not callable(function):
            raise messages.unfit(f"{kind(function)} cannot be called", node.span)
        values = [argument(scope) for argument in arguments]
        named = {name: keyword(scope) for name, keyword in keywords.items()}
        try:
            result = function(*values, **named)
        except (Exception, SystemExit) as error:
            raise messages.helper_failed(node.function.span.text, error, node.span) from error
        return wrap(node.function.span.text, result)

    return value


_COMPILERS: dict[type, Callable[[Any, Names], Thunk]] = {
    syntax.Text: _text,
    syntax.Number: _number,
    syntax.Quantity: _quantity,
    syntax.Constant: _number,
    syntax.Name: _name,
    syntax.ListOf: _list,
    syntax.Attribute: _attribute,
    syntax.Index: _index,
    syntax.Call: _call,
    syntax.Unary: _unary,
    syntax.Binary: _binary,
    syntax.Conditional: _conditional,
    syntax.Loop: _loop,
}
