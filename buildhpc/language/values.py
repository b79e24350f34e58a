"""The kinds of value an expression can have besides Python's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from buildhpc.diagnostics import nearest


class Missing(Exception):  # noqa: N818 - the evaluator makes an error of it
    """An attribute or an index that a value does not have; `near` are names like it."""

    def __init__(self, text: str, near: Sequence[str] = ()) -> None:
        super().__init__(text)
        self.near = tuple(near)


class Path(str):
    """A path with flags, or pinned to the rule that has to make it.

    flags: `temp`, `protected`, ... as written around it. pin: the name of a rule, or None.
    """

    __slots__ = ("flags", "pin")
    flags: tuple[str, ...]
    pin: str | None

    def __new__(cls, path: str, flags: tuple[str, ...] = (), pin: str | None = None) -> Path:
        """`path` with `flags` added to those it has."""
        self = super().__new__(cls, path)
        self.flags = (*getattr(path, "flags", ()), *flags)
        self.pin = pin or getattr(path, "pin", None)
        return self


class Unfilled(str):
    """A need of the job, left open where a recipe's text is compared: `{cores}`, `{mem.mb}`."""

    __slots__ = ()


class Fields:
    """Named values in an order: a row of a table, `params`, `wildcards`, a part of `config`.

    what: what a message calls it.
    """

    __slots__ = ("_values", "_what")

    def __init__(self, what: str, values: Mapping[str, Any]) -> None:
        self._what = what
        self._values = values

    def get(self, name: str) -> Any:
        """The value named `name`. Raises: Missing."""
        try:
            return self._values[name]
        except KeyError:
            known = list(self._values)
            text = f"{self._what} has no `{name}`"
            if known:
                shown = ", ".join(f"`{each}`" for each in known[:8])
                text += f"; it has {shown}{', ...' if len(known) > 8 else ''}"
            raise Missing(text, nearest(name, map(str, known))) from None

    def items(self) -> list[tuple[str, Any]]:
        """Names and values."""
        return list(self._values.items())

    def plain(self) -> dict[str, Any]:
        """As a dict, for JSON."""
        return dict(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and dict(self._values) == dict(other._values)

    def __hash__(self) -> int:
        return hash(tuple(map(str, self._values.items())))

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self._values.items())
        return f"{self._what}({inside})"


class Files(Sequence[str]):
    """The inputs or outputs of a job: all in the order written, some by name.

    A name stands for one path, or for a list where its item is a loop or a list.
    """

    __slots__ = ("_named", "_paths", "_what")

    def __init__(self, what: str, paths: Sequence[str], named: Mapping[str, Any]) -> None:
        self._what = what
        self._paths = tuple(paths)
        self._named = named

    def get(self, name: str) -> Any:
        """The path or paths called `name`. Raises: Missing."""
        return Fields(f"`{self._what}`", self._named).get(name)

    def renamed(self, names: Mapping[str, str]) -> Files:
        """The same with some paths under other names."""
        paths = [names.get(path, path) for path in self._paths]
        named = {
            label: [names.get(p, p) for p in value]
            if isinstance(value, list)
            else names.get(value, value)
            for label, value in self._named.items()
        }
        return Files(self._what, paths, named)

    def document(self) -> Any:
        """For JSON: a list of paths; or, with names, a mapping in the order written.

        A path without a name then has its index as text for a name.
        """
        if not self._named:
            return [str(path) for path in self._paths]
        labelled: dict[str, Any] = {}
        taken = {id(p): label for label, v in self._named.items() for p in _listed(v)}
        for number, path in enumerate(self._paths):
            label = taken.get(id(path))
            if label is None:
                labelled[str(number)] = str(path)
            elif label not in labelled:
                labelled[label] = plain(self._named[label])
        for label, value in self._named.items():
            labelled.setdefault(label, plain(value))
        return labelled

    def __getitem__(self, index: Any) -> Any:
        return self._paths[index]

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __repr__(self) -> str:
        return repr(list(self._paths))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def wrap(what: str, value: Any) -> Any:
    """A value from a configuration file or a Python helper, with its dicts as `Fields`."""
    if isinstance(value, Mapping):
        inner = {str(k): wrap(f"{what}.{k}", v) for k, v in value.items()}
        return Fields(f"`{what}`", inner)
    if isinstance(value, (list, tuple)):
        return [wrap(f"{what}[{i}]", item) for i, item in enumerate(value)]
    return value


def plain(value: Any) -> Any:
    """A value as JSON can hold it: `Fields` as dicts, paths as strings, quantities as text."""
    if isinstance(value, Fields):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, Files):
        return [str(path) for path in value]
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, str):
        return str(value)
    if value is None or type(value) in (bool, int, float):
        return value
    return str(value)


def items_of(value: Any) -> list[Any]:
    """The items a value contributes to a list: none for `none`, all of a list."""
    if isinstance(value, str):
        return [value]
    if value is None:
        return []
    if isinstance(value, (list, Files)):
        parts = ((part,) if isinstance(part, str) else items_of(part) for part in value)
        return [item for part in parts for item in part]
    return [value]


def kind(value: Any) -> str:
    """What a message calls the kind of a value."""
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list"}
    if value is None:
        return "none"
    if isinstance(value, str):
        return "text"
    if isinstance(value, Fields):
        return "a set of named values"
    if isinstance(value, Files):
        return "a list of files"
    return names.get(type(value)) or {"Size": "a size", "Duration": "a time"}.get(
        type(value).__name__, "a " + type(value).__name__
    )


class Layered(dict[str, Any]):
    """A scope with a few names of its own over another one."""

    def __init__(self, own: Mapping[str, Any], below: Mapping[str, Any]) -> None:
        super().__init__(own)
        self._below = below

    def __missing__(self, name: str) -> Any:
        return self._below[name]
