"""From the jobs of a list to rules without wildcards: what a Pipefile becomes as well."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from buildhpc.diagnostics import Collecting, HpcmakeError, Note, Problem, Source, Span
from buildhpc.joblist.entries import Entries, Entry, Paths
from buildhpc.joblist.functions import beside, reference
from buildhpc.language.functions import OUTPUT_FLAGS
from buildhpc.language.patterns import normal, pattern
from buildhpc.language.shell import Slot, slots_of
from buildhpc.language.values import Fields
from buildhpc.messages import joblist as messages
from buildhpc.messages import rules as rule_messages
from buildhpc.messages.language import unknown_in_block
from buildhpc.rules.checked import checked
from buildhpc.rules.directives import DIRECTIVES
from buildhpc.rules.model import InputItem, Output, Pipeline, RecipeCode, Rule, Value
from buildhpc.rules.shapes import check_label

_NAMES = frozenset({"input", "output", "args", "cores", "attempt", "log"})


def compile_entries(entries: Entries, path: str = "") -> Pipeline:
    """The rules of a list, in its order. path: of the file that built it.

    Raises: HpcmakeError, with all problems.
    """
    if not len(entries):
        raise messages.no_jobs(path)
    tasks = _tasks(entries)
    found: list[Problem] = []
    rules: dict[str, Rule] = {}
    for order, entry in enumerate(entries):
        with Collecting(found):
            after = _after(entry, entries, tasks)
            rules[entry.name] = _Compiler(entry, entries, found).rule(order, after)
    if found:
        raise HpcmakeError(found)
    _check_order(entries, rules)
    used = {path for rule in rules.values() for path in _inputs_of(rule, rules)}
    for task, names in tasks.items():
        if task not in rules:
            rules[task] = _name_for(task, names, rules)
    asked = [name for name in rules if name in entries and not _only_temp(rules[name], used)]
    return Pipeline(
        rules=rules,
        prefer=frozenset(),
        constants={"config": Fields("`config`", {})},
        default=tuple(asked),
        logging={"file": entries.log_file, "level": entries.log_level} if entries.log_file else {},
    )


def _tasks(entries: Entries) -> dict[str, tuple[str, ...]]:
    """Task -> its jobs, those of its tasks as well."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        task = entry.name.rpartition("/")[0]
        while task:
            found.setdefault(task, []).append(entry.name)
            task = task.rpartition("/")[0]
    return {task: tuple(names) for task, names in found.items()}


def _after(entry: Entry, entries: Entries, tasks: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The jobs that must be done first, tasks in full. Raises: messages.after_nothing."""
    found: dict[str, None] = {}
    for name in entry.after:
        if name in entries:
            found[name] = None
        elif name in tasks:
            found.update(dict.fromkeys(each for each in tasks[name] if each != entry.name))
        else:
            known = [*(each.name for each in entries), *tasks]
            raise messages.after_nothing(entry.name, name, known, entry.place.span())
    return tuple(found)


def _check_order(entries: Entries, rules: Mapping[str, Rule]) -> None:
    """Raises: messages.after_itself."""
    state: dict[str, int] = {}
    for start in rules:
        stack = [(start, iter(rules[start].after))]
        while stack:
            name, rest = stack[-1]
            state[name] = 1
            following = next(rest, None)
            if following is None:
                state[name] = 2
                stack.pop()
            elif state.get(following) == 1:
                chain = [each for each, _ in stack]
                circle = [*chain[chain.index(following) :], following]
                raise messages.after_itself(circle[::-1], entries[following].place.span())
            elif following not in state:
                stack.append((following, iter(rules[following].after)))


def _inputs_of(rule: Rule, rules: Mapping[str, Rule]) -> Iterable[str]:
    for item in rule.inputs:
        yield from item.value({})
    for name in rule.after:
        yield from map(str, rules[name].patterns())


def _only_temp(rule: Rule, used: set[str]) -> bool:
    """Whether all that a job makes is made for others, and goes when they are done."""
    patterns = rule.patterns()
    return bool(patterns) and all("temp" in p.flags and str(p) in used for p in patterns)


def _name_for(task: str, names: Sequence[str], rules: Mapping[str, Rule]) -> Rule:
    """The rule that stands for all jobs of a task."""
    first = rules[names[0]]
    return _rule(task, first.span, len(rules), ".", after=tuple(names))


def _rule(name: str, span: Span, order: int, folder: str, **more: Any) -> Rule:
    parts: dict[str, Any] = {"outputs": (), "inputs": (), "directives": {}, "recipe": None, **more}
    flags = [pattern.flags for output in parts["outputs"] for pattern in output.patterns]
    one_path = len(flags) == 1 and "directory" not in flags[0]
    return Rule(
        name=name,
        span=span,
        checkpoint=False,
        wildcards=(),
        folder=folder,
        order=order,
        one_path=one_path,
        **parts,
    )


class _Compiler:
    """Makes the rule of a job."""

    def __init__(self, entry: Entry, entries: Entries, found: list[Problem]) -> None:
        self._entry = entry
        self._entries = entries
        self._found = found
        self._span = entry.place.span()
        self._folder = _folder_of(entry.place.file, os.getcwd())

    def rule(self, order: int, after: tuple[str, ...]) -> Rule:
        """The rule. Raises: HpcmakeError."""
        entry = self._entry
        recipe = self._recipe()
        return _rule(
            entry.name,
            self._span,
            order,
            self._folder,
            outputs=self._outputs(),
            inputs=self._inputs(),
            directives=self._directives(),
            recipe=recipe,
            after=after,
            streams=self._entries.logs is not None,
        )

    def _recipe(self) -> RecipeCode:
        work, name = self._entry.work, self._entry.name
        if callable(work):
            target, self._folder, source = reference(f"job `{name}`", work, self._entry.place)
            return RecipeCode("call", self._span, text=source, value=_always(target))
        if isinstance(work, (list, tuple)) and work and all(isinstance(w, str) for w in work):
            work = shlex.join(work)
        if not isinstance(work, str) or not work.strip():
            raise messages.bad_work(name, self._span)
        parts = self._slots(f"{work.rstrip()}\n")
        known = {part.field.name for part in parts if isinstance(part, Slot)}
        if self._entry.arguments and "args" not in known:
            parts = self._slots(f"{work.rstrip()} {{args}}\n")
        self._check_slots(parts)
        return RecipeCode("shell", self._span, parts=tuple(parts))

    def _slots(self, text: str) -> list[str | Slot]:
        """A command with its names; their places are in the command itself."""
        source = Source(f"command of job `{self._entry.name}`", text)
        return slots_of(text, partial(Span, source))

    def _check_slots(self, parts: Sequence[str | Slot]) -> None:
        known = _NAMES | self._entry.directives.keys()
        for part in parts:
            if isinstance(part, Slot) and part.field.name not in known:
                field = part.field
                error = unknown_in_block(field.name, field.written[1:-1], field.span, known)
                added = Note("note", "the job is added here", self._span)
                raise HpcmakeError([replace(p, notes=(*p.notes, added)) for p in error.problems])

    def _outputs(self) -> tuple[Output, ...]:
        made = []
        for label, many, paths in _labelled(self._entry.outputs, self._span):
            patterns = []
            for path in paths:
                flags = tuple(getattr(path, "flags", ()))
                if wrong := [flag for flag in flags if flag not in OUTPUT_FLAGS]:
                    raise rule_messages.wrong_value("output", "flags", wrong[0], self._span)
                patterns.append(pattern((str(path),), flags))
            made.append(Output(self._span, label, many, tuple(patterns)))
        self._check_twice(made)
        return tuple(made)

    def _check_twice(self, made: Sequence[Output]) -> None:
        seen: set[str] = set()
        for path in (str(each) for output in made for each in output.patterns):
            if path in seen:
                raise rule_messages.double_output(path, self._span, self._span)
            seen.add(path)

    def _inputs(self) -> tuple[InputItem, ...]:
        return tuple(
            InputItem(self._span, label, many, _always([normal(str(path)) for path in paths]))
            for label, many, paths in _labelled(self._entry.inputs, self._span)
        )

    def _directives(self) -> dict[str, tuple[Value, ...]]:
        found: dict[str, tuple[Value, ...]] = {}
        for name, value in self._entry.directives.items():
            with Collecting(self._found):
                found[name] = self._values(name, value)
        arguments = self._entry.arguments.items()
        if arguments:
            found["args"] = tuple(Value(self._span, k, _always(v), True) for k, v in arguments)
        if self._entries.logs is not None:
            base = f"{normal(self._entries.logs)}/{self._entry.name}"
            found["log"] = (Value(self._span, None, lambda s: f"{base}.{s['attempt']}.out"),)
        return found

    def _values(self, name: str, value: Any) -> tuple[Value, ...]:
        """A directive as a Pipefile would have it. Raises: HpcmakeError."""
        shape, span = DIRECTIVES[name].shape, self._span
        if shape == "flag":
            return (Value(span, None, _always(True), True),) if value else ()
        if shape in ("named", "retries") and isinstance(value, Mapping):
            labelled = [(str(label), each) for label, each in value.items()]
            for label, _ in labelled:
                check_label(name, label, span)
        elif shape == "named":
            raise rule_messages.wrong_shape(name, "names with values: a dict", span)
        elif shape == "many" and isinstance(value, (list, tuple)):
            labelled = [("", each) for each in value]
        else:
            labelled = [("", value)]
        for _, each in labelled:
            checked(name, each, span)
        return tuple(Value(span, label or None, _always(v), True) for label, v in labelled)


@lru_cache(maxsize=256)
def _folder_of(file: str, here: str) -> str:
    """The folder of a file, where that is below the working folder; else that itself."""
    path = beside(file, here)
    return os.path.dirname(path) or "." if os.path.isfile(file) and path[:1] != "/" else "."


def _always(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


def _labelled(paths: Paths, span: Span) -> list[tuple[str | None, bool, Sequence[str]]]:
    """Name, whether it stands for a list, and paths, for each item. Raises: HpcmakeError."""
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    named: list[tuple[str | None, Any]] = (
        list(paths.items()) if isinstance(paths, Mapping) else [(None, each) for each in paths]
    )
    found: list[tuple[str | None, bool, Sequence[str]]] = []
    for label, value in named:
        many = isinstance(value, (list, tuple))
        listed = value if many else [value]
        each = [os.fspath(p) if isinstance(p, os.PathLike) else p for p in listed]
        for path in each:
            if not isinstance(path, str) or not path:
                raise rule_messages.not_a_path(repr(path), span)
        found.append((label, many, each))
    return found
