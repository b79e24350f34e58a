"""An expression, evaluated with values and files that a test gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from buildhpc.language.expressions import Names, compile_expression
from buildhpc.language.parser import parse
from buildhpc.language.syntax import Let
from buildhpc.language.values import plain


class Texts:
    """Files and variables as dicts: the reader of an expression."""

    def __init__(self, files: Mapping[str, str | bytes], env: Mapping[str, str]) -> None:
        self._files = files
        self._env = env

    def text(self, path: str) -> str:
        if path not in self._files:
            raise FileNotFoundError(2, "No such file or directory", path)
        data = self._files[path]
        return data if isinstance(data, str) else data.decode()

    def names(self, folder: str) -> Sequence[str]:
        start = "" if folder == "." else f"{folder}/"
        inside = [path[len(start) :] for path in self._files if path.startswith(start)]
        return sorted({path.partition("/")[0] for path in inside})

    def size(self, path: str) -> int | None:
        return len(self._files[path]) if path in self._files else None

    def env(self, name: str) -> str | None:
        return self._env.get(name)


def value_of(
    text: str,
    values: Mapping[str, Any] | None = None,
    files: Mapping[str, str | bytes] | None = None,
    late: Mapping[str, Any] | None = None,
) -> Any:
    """The value of an expression as it is.

    values: known when it is compiled, as `let` and `config` are. late: known when it is computed.
    """
    statement = parse("Pipefile", f"let it = {text}\n").statements[0]
    assert isinstance(statement, Let)
    late = late or {}
    names = Names(values or {}, Texts(files or {}, {"HOME": "/home/me"}), late=frozenset(late))
    return compile_expression(statement.value, names)(late)


def plain_value(text: str, **more: Any) -> Any:
    """The value of an expression, as JSON would hold it."""
    return plain(value_of(text, **more))
