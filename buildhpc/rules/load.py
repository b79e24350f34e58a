"""A Pipefile and what it includes: statements in their order, to a `Pipeline`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from buildhpc.diagnostics import HpcmakeError, Problem, Span, nearest
from buildhpc.language import syntax
from buildhpc.language.expressions import Names, evaluate
from buildhpc.language.functions import Reader
from buildhpc.language.patterns import normal
from buildhpc.language.shell import slots_of
from buildhpc.language.values import Missing, wrap
from buildhpc.messages import rules as messages
from buildhpc.rules.blocks import block_span, check_slots
from buildhpc.rules.compile import Surroundings, compile_rule
from buildhpc.rules.config import apply, merge, read_config
from buildhpc.rules.directives import RESERVED
from buildhpc.rules.model import Handler, Pipeline, Rule
from buildhpc.rules.outputs import constraint
from buildhpc.rules.shapes import check_directive

Parse = Callable[[str, bytes], syntax.Tree]
Settings = Sequence[tuple[tuple[str, ...], Any]]


class World(Reader, Protocol):
    """What loading sees of the disk, besides what expressions see."""

    def bytes(self, path: str) -> bytes:
        """The bytes of a file. Raises: OSError."""


class Helper:
    """A Python file brought in by `use`: its public functions and values."""

    def __init__(self, name: str, module: Any) -> None:
        self._name = name
        self._module = module

    def get(self, name: str) -> Any:
        """What the file calls `name`. Raises: Missing."""
        if name.startswith("_") or not hasattr(self._module, name):
            known = [each for each in vars(self._module) if not each.startswith("_")]
            raise Missing(f"`{self._name}` has no `{name}`", nearest(name, known))
        value = getattr(self._module, name)
        return value if callable(value) else wrap(f"{self._name}.{name}", value)


def load(path: str, world: World, parse: Parse, settings: Settings = ()) -> Pipeline:
    """The pipeline that the file at `path` and its includes describe.

    path: relative to the working folder. settings: see `config.read_settings`.
    Raises: HpcmakeError with every problem that could be found.
    """
    loader = _Loader(world, parse, settings)
    loader.file(path, None, ())
    loader.finish()
    return loader.pipeline()


@dataclass(slots=True)
class _File:
    """What holds for one file while it is read."""

    path: str
    chain: tuple[str, ...]
    where: dict[str, str] = field(default_factory=dict)
    defaults: list[syntax.Directive] = field(default_factory=list)
    later: dict[str, Span] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0] or "."


class _Loader:
    """Walks statements and gathers what they define."""

    def __init__(self, world: World, parse: Parse, settings: Settings) -> None:
        self._world = world
        self._parse = parse
        self._settings = settings
        self._rules: dict[str, Rule] = {}
        self._spans: dict[str, Span] = {}
        self._lets: dict[str, Span] = {}
        self._prefer: list[syntax.Prefer] = []
        self._handlers: list[Handler] = []
        self._config: dict[str, Any] = {}
        for keys, value in settings:
            self._config = apply(self._config, keys, value)
        self._constants: dict[str, Any] = {"config": wrap("config", self._config)}
        self._problems: list[Problem] = []
        self._shaky = False
        self._statements: dict[type, Callable[[Any, _File], None]] = {
            syntax.Let: self._let,
            syntax.Config: self._config_file,
            syntax.Include: self._include,
            syntax.Use: self._use,
            syntax.Prefer: self._prefer_rules,
            syntax.RuleDefinition: self._rule,
            syntax.On: self._on,
        }

    def file(self, path: str, span: Span | None, chain: tuple[str, ...]) -> None:
        """Read a Pipefile and do what it says."""
        if path in chain:
            assert span is not None
            raise messages.include_cycle((*chain, path), span)
        try:
            tree = self._parse(path, self._world.bytes(path))
        except OSError as error:
            raise self._unreadable(path, error, span) from None
        here = _File(path, (*chain, path))
        self._prepare(tree, here)
        for statement in tree.statements:
            act = self._statements.get(type(statement))
            if act is None:
                continue
            try:
                act(statement, here)
            except HpcmakeError as error:
                self._problems.extend(error.problems)
                self._shaky |= not isinstance(statement, syntax.RuleDefinition)

    def _prepare(self, tree: syntax.Tree, here: _File) -> None:
        """What holds for the whole file, wherever it stands in it."""
        names = Names(self._constants, self._world)
        for statement in tree.statements:
            try:
                if isinstance(statement, syntax.Let):
                    here.later.setdefault(statement.name.name, statement.name.span)
                elif isinstance(statement, syntax.Where):
                    self._check_name("wildcard", statement.name)
                    pattern = constraint(statement.pattern, "=", names)
                    here.where[statement.name.name] = pattern
                elif isinstance(statement, syntax.Defaults):
                    for directive in statement.directives:
                        check_directive(directive, default=True)
                    here.defaults.extend(statement.directives)
            except HpcmakeError as error:
                self._problems.extend(error.problems)

    def _names(self, here: _File) -> Names:
        later = {n: s for n, s in here.later.items() if n not in self._constants}
        return Names(dict(self._constants), self._world, wildcards=here.where, later=later)

    def _let(self, node: syntax.Let, here: _File) -> None:
        name = node.name.name
        self._check_name("`let`", node.name)
        if name in self._lets:
            raise messages.name_twice("`let`", name, node.name.span, self._lets[name])
        self._lets[name] = node.name.span
        self._constants[name] = evaluate(node.value, self._names(here))

    def _check_name(self, what: str, name: syntax.Name) -> None:
        if name.name in RESERVED:
            raise messages.reserved_name(what, name.name, name.span)

    def _config_file(self, node: syntax.Config, here: _File) -> None:
        path = self._path(node.file, here)
        try:
            text = self._world.text(path)
        except OSError as error:
            raise self._unreadable(path, error, node.file.span) from None
        except UnicodeDecodeError:
            raise messages.bad_config(path, "it is not UTF-8 text", node.file.span) from None
        self._config = merge(self._config, read_config(path, text, node.file.span))
        for keys, value in self._settings:
            self._config = apply(self._config, keys, value)
        self._constants["config"] = wrap("config", self._config)

    def _path(self, text: syntax.Text, here: _File, base: str = "") -> str:
        names = self._names(here)
        value = str(evaluate(text, names))
        return normal(value if not base or value.startswith("/") else f"{base}/{value}")

    def _include(self, node: syntax.Include, here: _File) -> None:
        self.file(self._path(node.file, here, here.folder), node.file.span, here.chain)

    def _use(self, node: syntax.Use, here: _File) -> None:
        path = self._path(node.file, here, here.folder)
        self._check_name("helper", node.name)
        if node.name.name in self._lets:
            first = self._lets[node.name.name]
            raise messages.name_twice("names", node.name.name, node.name.span, first)
        try:
            code = self._world.bytes(path)
        except OSError as error:
            raise self._unreadable(path, error, node.file.span) from None
        module = _import(path, code, here.folder, node.file.span)
        self._lets[node.name.name] = node.name.span
        self._constants[node.name.name] = Helper(node.name.name, module)

    def _prefer_rules(self, node: syntax.Prefer, _: _File) -> None:
        self._prefer.append(node)

    def _rule(self, node: syntax.RuleDefinition, here: _File) -> None:
        name = node.name.name
        if name in self._spans:
            raise messages.name_twice("rules", name, node.name.span, self._spans[name])
        self._spans[name] = node.name.span
        if self._shaky:
            return  # what a rule could see is not known: its problems would be echoes
        around = Surroundings(self._names(here), here.folder, here.where, here.defaults)
        rule = compile_rule(node, around, len(self._rules))
        if rule is not None:
            self._rules[name] = rule

    def _on(self, node: syntax.On, _: _File) -> None:
        names = Names(dict(self._constants), self._world, late=frozenset({"run", "log", "failed"}))
        block = node.block
        parts = slots_of(block.text, lambda start, end: block_span(block, start, end))
        check_slots(parts, names, self._problems)
        self._handlers.append(Handler(node.event, node.span, tuple(parts)))

    def _unreadable(self, path: str, error: OSError, span: Span | None) -> HpcmakeError:
        folder, _, name = path.rpartition("/")
        if isinstance(error, FileNotFoundError):
            near = nearest(name, self._world.names(folder or "."))
            shown = [f"{folder}/{each}" if folder else each for each in near]
            return messages.cannot_read(path, "it does not exist", span, shown)
        return messages.cannot_read(path, (error.strerror or str(error)).lower(), span)

    def finish(self) -> None:
        """What can only be checked when all files are read. Raises: HpcmakeError."""
        for node in self._prefer:
            for name in node.rules:
                if name.name not in self._spans:
                    error = messages.unknown_rule(name.name, name.span, self._spans)
                    self._problems.extend(error.problems)
        if not self._problems:
            self._check_prefer()
            self._check_checkpoints()
        if self._problems:
            raise HpcmakeError(self._problems)

    def _check_prefer(self) -> None:
        after: dict[str, list[str]] = {}
        for first, second in sorted(self._pairs()):
            after.setdefault(first, []).append(second)
        for start in after:
            chain, todo = [start], [(start, 0)]
            while todo:
                name, depth = todo.pop()
                chain = [*chain[:depth], name]
                for following in after.get(name, ()):
                    if following == start:
                        span = self._prefer[0].span
                        raise messages.prefer_cycle((*chain, start), span)
                    if following not in chain:
                        todo.append((following, depth + 1))

    def _check_checkpoints(self) -> None:
        """Whether loops wait for checkpoints, and can tell which of their jobs."""
        for rule in self._rules.values():
            for name in rule.awaits:
                other = self._rules.get(name.name)
                if other is None:
                    raise messages.unknown_rule(name.name, name.span, self._rules)
                if not other.checkpoint:
                    raise messages.not_a_checkpoint(name.name, name.span, other.span)
                lacking = [each for each in other.wildcards if each not in rule.wildcards]
                if lacking:
                    raise messages.checkpoint_wildcard(name.name, lacking[0], name.span)

    def _pairs(self) -> set[tuple[str, str]]:
        return {
            (first.name, second.name)
            for node in self._prefer
            for index, first in enumerate(node.rules)
            for second in node.rules[index + 1 :]
        }

    def pipeline(self) -> Pipeline:
        """All that was found."""
        return Pipeline(
            rules=self._rules,
            prefer=frozenset(self._pairs()),
            constants=self._constants,
            handlers=tuple(self._handlers),
            lets=self._lets,
        )


def _import(path: str, code: bytes, folder: str, span: Span) -> Any:
    """The Python file at `path` as a module; the working folder and `folder` are searched."""
    import types

    name = "hpcmake_use_" + "".join(c if c.isalnum() else "_" for c in path)
    module = types.ModuleType(name)
    module.__file__ = path
    for entry in (folder, "."):
        if entry not in sys.path:
            sys.path.insert(0, entry)
    sys.modules[name] = module
    try:
        exec(compile(code, path, "exec"), vars(module))
    except (Exception, SystemExit) as error:
        raise messages.cannot_import(path, error, span) from error
    return module
