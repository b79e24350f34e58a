"""The names a job's expressions see, each computed when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from buildhpc.diagnostics import Span, nearest
from buildhpc.language.patterns import Pattern, normal
from buildhpc.language.values import Fields, Files, Missing, Path, Unfilled, items_of, kind
from buildhpc.messages import rules as messages
from buildhpc.messages.language import not_known_yet
from buildhpc.rules.checked import checked
from buildhpc.rules.directives import DIRECTIVES
from buildhpc.rules.model import InputItem, Pipeline, Rule


class JobScope(dict[str, Any]):
    """The scope of one job: its wildcards, and its directives as they are asked for.

    granted: values that stand for a directive's own, e.g. the cores a machine can give.
    unfilled: needs stay open (`{cores}`), for the text that is compared.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        rule: Rule,
        values: Sequence[str],
        granted: Mapping[str, Any] | None = None,
        *,
        unfilled: bool = False,
    ) -> None:
        wildcards = dict(zip(rule.wildcards, values, strict=True))
        super().__init__(wildcards)
        self.rule = rule
        self._pipeline = pipeline
        self._wildcards = wildcards
        self._unfilled = unfilled
        self._busy: list[str] = []
        self.granted: dict[str, Any] = dict(granted or {})

    def __missing__(self, name: str) -> Any:
        if name in self._busy:
            values = self.rule.directives.get(name)
            span = values[0].span if values else self.rule.span
            raise messages.self_reference(name, span)
        self._busy.append(name)
        try:
            value = self._compute(name)
        finally:
            self._busy.pop()
        self[name] = value
        return value

    def directive(self, name: str, default: Any = None) -> Any:
        """The one value of a directive, whatever a wildcard of that name is."""
        if name in self.granted:
            return self.granted[name]
        values = self.rule.directives.get(name)
        if not values:
            return default
        return checked(name, values[0].thunk(self), values[0].span)

    def named(self, name: str) -> dict[str, Any]:
        """The labelled values of a directive, in the order written."""
        values = self.rule.directives.get(name, ())
        return {v.label or "": checked(name, v.thunk(self), v.span) for v in values}

    def many(self, name: str) -> list[str]:
        """The texts of a directive that takes several."""
        values = self.rule.directives.get(name, ())
        found = [(item, v.span) for v in values for item in items_of(v.thunk(self))]
        return [str(checked(name, item, span)) for item, span in found]

    def _compute(self, name: str) -> Any:
        if name in self.granted:
            return self.granted[name]
        compute = self._known.get(name)
        if compute is not None:
            return compute()
        if self._unfilled and (name in ("attempt", "log") or DIRECTIVES[name].need):
            return Unfilled("{" + name + "}")
        if name == "attempt":
            return 1
        if DIRECTIVES[name].shape == "named":
            return Fields(f"`{name}`", self.named(name))
        if DIRECTIVES[name].shape == "many":
            return self.many(name)
        return self.directive(name, 1 if name == "cores" else None)

    @property
    def _known(self) -> dict[str, Callable[[], Any]]:
        """Names that are more than a directive's value."""
        return {
            "wildcards": lambda: Fields("`wildcards`", self._wildcards),
            "input": self._inputs,
            "output": self._outputs,
            "rules": lambda: RulesView(self._pipeline, self._wildcards),
            "params": lambda: Fields("`params`", self.named("params")),
            "args": lambda: arguments(self.named("args")),
        }

    def _inputs(self) -> Files:
        rule = self.rule
        if not rule.awaits:
            return self.read(rule.inputs)
        found = self._pipeline.settled.get((rule.order, tuple(self._wildcards.values())))
        if found is None:
            raise not_known_yet(rule.name, rule.awaits[0].name, rule.awaits[0].span)
        return found

    def read(self, items: Iterable[InputItem]) -> Files:
        """The paths that these inputs of the rule are now. Raises: HpcmakeError."""
        paths: list[str] = []
        named: dict[str, Any] = {}
        for item in items:
            found = paths_of(item.value(self), item.span)
            if item.label is not None:
                single = len(found) == 1 and not item.many
                named[item.label] = found[0] if single else found
            paths += found
        return Files("input", paths, named)

    def _outputs(self) -> Files:
        paths: list[str] = []
        named: dict[str, Any] = {}
        for output in self.rule.outputs:
            found = [bound(pattern, self._wildcards) for pattern in output.patterns]
            if output.label is not None:
                named[output.label] = found if output.many else found[0]
            paths += found
        return Files("output", paths, named)


class RulesView:
    """`rules` in an input: the outputs of other rules, with this job's wildcards."""

    def __init__(self, pipeline: Pipeline, wildcards: Mapping[str, str]) -> None:
        self._pipeline = pipeline
        self._wildcards = wildcards

    def get(self, name: str) -> RuleView:
        """The rule of that name. Raises: Missing."""
        rule = self._pipeline.rules.get(name)
        if rule is None:
            raise Missing(f"there is no rule `{name}`", nearest(name, self._pipeline.rules))
        return RuleView(rule, self._wildcards)


class RuleView:
    """`rules.NAME`; it has `output` and nothing else."""

    def __init__(self, rule: Rule, wildcards: Mapping[str, str]) -> None:
        self._rule = rule
        self._wildcards = wildcards

    def get(self, name: str) -> Files:
        """`output` of the rule. Raises: Missing."""
        if name != "output":
            raise Missing(f"`rules.{self._rule.name}` has `output`, and no `{name}`")
        lacking = [each for each in self._rule.wildcards if each not in self._wildcards]
        if lacking:
            text = f"`rules.{self._rule.name}` needs the wildcard `{lacking[0]}`"
            raise Missing(f"{text}, which this rule does not have")
        paths: list[str] = []
        named: dict[str, Any] = {}
        for output in self._rule.outputs:
            found: list[str] = [
                Path(bound(pattern, self._wildcards), pin=self._rule.name)
                for pattern in output.patterns
            ]
            if output.label is not None:
                named[output.label] = found if output.many else found[0]
            paths += found
        return Files(f"rules.{self._rule.name}.output", paths, named)


def bound(pattern: Pattern, wildcards: Mapping[str, str]) -> str:
    """The path a pattern makes with these values."""
    names = pattern.wildcards
    return normal(pattern.format(names)(*(wildcards[name] for name in names)))


def paths_of(value: Any, span: Span) -> list[str]:
    """The paths a value holds, in their standard form."""
    paths: list[str] = []
    for item in items_of(value):
        if not isinstance(item, str):
            raise messages.not_a_path(kind(item), span)
        if not item:
            raise messages.empty_path(span)
        if isinstance(item, Path):
            paths.append(Path(normal(item), item.flags, item.pin))
        else:
            paths.append(normal(item))
    return paths


def arguments(values: Mapping[str, Any]) -> list[str]:
    """`args:` as a command line has them: `--key value`; true is the bare key, false nothing."""
    words: list[str] = []
    for name, value in values.items():
        if value is None or value is False:
            continue
        words.append(f"--{name}")
        if value is not True:
            words += [
                str(item) for item in (value if isinstance(value, (list, Files)) else [value])
            ]
    return words
