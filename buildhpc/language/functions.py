"""The functions of the language, a row each in `FUNCTIONS`.

A function gets plain values and a `Reader`, its only way to see the world outside, and raises
`Unfit` with words for people; the evaluator adds the place. To add one, write it and its row.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from buildhpc.diagnostics import nearest
from buildhpc.language import patterns
from buildhpc.language.operators import Unfit, equal, extreme, total
from buildhpc.language.patterns import Pattern
from buildhpc.language.values import Fields, Files, Missing, Path, kind
from buildhpc.quantities import Size


class Reader(Protocol):
    """What expressions may know of the world. Paths are relative to the working folder."""

    def text(self, path: str) -> str:
        """The text of a file. Raises: OSError, UnicodeDecodeError."""

    def names(self, folder: str) -> Sequence[str]:
        """The names in a folder; empty where there is no folder."""

    def size(self, path: str) -> int | None:
        """Size in bytes, None where there is no file."""

    def env(self, name: str) -> str | None:
        """A variable of the environment, None where it is not set."""


class NotThere(Unfit):
    """The value hangs on a file that does not exist (yet)."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the language.

    call: gets the reader first where `reads`, then what was written between the parentheses.
    usage: how it is called, for messages.
    keywords: takes `name = value` arguments.
    pattern: its first argument is a text whose unknown names in braces are its own.
    """

    call: Callable[..., Any]
    usage: str
    least: int
    most: int
    reads: bool = False
    keywords: bool = False
    pattern: bool = False


def _glob(reader: Reader, pattern: Any) -> list[Fields]:
    if not isinstance(pattern, Pattern):
        pattern = patterns.pattern((_text("glob", pattern),))
    literal = "".join(part for part in pattern.parts if isinstance(part, str))
    if "*" in literal or "?" in literal:
        raise Unfit("`glob` finds names in braces, such as `{sample}`, not `*` or `?`")
    return [Fields("row", values) for _, values in patterns.find(pattern, reader.names)]


def _expand(pattern: Any, **values: Any) -> list[str]:
    if not isinstance(pattern, Pattern):
        return [_text("expand", pattern)]
    unknown = [name for name in pattern.wildcards if name not in values]
    if unknown:
        raise Unfit(f"`expand` is told no values for `{{{unknown[0]}}}`")
    names = pattern.wildcards
    lists = [_items("expand", values[n]) if _is_list(values[n]) else [values[n]] for n in names]
    make = pattern.format(names)
    return [make(*map(plain_text, row)) for row in itertools.product(*lists)]


def _table(reader: Reader, file: Any) -> list[Fields]:
    path = _text("table", file)
    lower = path.lower()
    if lower.endswith((".tsv", ".tab")):
        delimiter = "\t"
    elif lower.endswith(".csv"):
        delimiter = ","
    else:
        raise Unfit(f"`table` reads `.tsv`, `.tab` and `.csv`; what `{path}` is, is not clear")
    text = _read(reader, path)
    cells = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = [(cells.line_num, row) for row in cells if any(cell.strip() for cell in row)]
    if not rows:
        raise Unfit(f"`{path}` is empty: its first line must name the columns")
    columns = [name.strip() for name in rows[0][1]]
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise Unfit(f"`{path}` has two columns named `{twice}`")
    table = []
    for number, row in rows[1:]:
        if len(row) != len(columns):
            count = "1 cell" if len(row) == 1 else f"{len(row)} cells"
            raise Unfit(f"line {number} of `{path}` has {count}, not {len(columns)}")
        table.append(Fields("row", dict(zip(columns, (cell.strip() for cell in row), strict=True))))
    return table


def _lines(reader: Reader, file: Any) -> list[str]:
    text = _read(reader, _text("lines", file))
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]


def _read(reader: Reader, path: str) -> str:
    try:
        return reader.text(path)
    except FileNotFoundError:
        raise NotThere(f"`{path}` does not exist") from None
    except OSError as error:
        raise Unfit(f"`{path}` cannot be read: {(error.strerror or '').lower()}") from None
    except UnicodeDecodeError as error:
        raise Unfit(f"`{path}` is not UTF-8 text (byte {error.start})") from None


def _find(rows: Any, **wanted: Any) -> Fields:
    items = _items("find", rows)
    if not wanted:
        raise Unfit("`find` wants at least one `column = value`")
    found = [row for row in items if all(_matches(row, k, v) for k, v in wanted.items())]
    asked = ", ".join(f"{key} = {value}" for key, value in wanted.items())
    if len(found) != 1:
        near = ""
        if not found and len(wanted) == 1:
            key, value = next(iter(wanted.items()))
            close = nearest(str(value), {str(row.get(key)) for row in items})
            near = f"; the nearest is `{close[0]}`" if close else ""
        count = f"{len(found)} rows have" if found else "no row has"
        raise Unfit(f"{count} {asked}{near}")
    row: Fields = found[0]
    return row


def _matches(row: Any, column: str, value: Any) -> bool:
    if not isinstance(row, Fields):
        raise Unfit(f"`find` looks in rows, not in {kind(row)}")
    try:
        cell = row.get(column)
    except Missing as error:
        raise Unfit(str(error)) from None
    return equal(cell, value) or str(cell) == str(value)


def _get(value: Any, path: Any, default: Any = None) -> Any:
    for name in _text("get", path).split("."):
        if isinstance(value, Fields) and name in value.plain():
            value = value.get(name)
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return default
    return value


def _env(reader: Reader, name: Any, default: Any = None) -> Any:
    value = reader.env(_text("env", name))
    if value is None and default is None:
        raise Unfit(f'the environment has no `{name}`; `env("{name}", DEFAULT)` gives a default')
    return default if value is None else value


def _size(reader: Reader, files: Any) -> Size:
    amount = 0
    for path in _items("size", files) if _is_list(files) else [_text("size", files)]:
        size = reader.size(str(path))
        if size is None:
            raise NotThere(f"`{path}` does not exist, so its size is not known")
        amount += size
    return Size(amount)


def _exists(reader: Reader, file: Any) -> bool:
    return reader.size(_text("exists", file)) is not None


def _range(*bounds: Any) -> list[int]:
    if not all(isinstance(bound, int) and not isinstance(bound, bool) for bound in bounds):
        raise Unfit("`range` wants whole numbers")
    if len(bounds) == 3 and bounds[2] == 0:
        raise Unfit("`range` cannot go in steps of 0")
    numbers = range(*bounds)
    if len(numbers) > 10_000_000:
        raise Unfit(f"`range` would make {len(numbers):,} numbers")
    return list(numbers)


def _zip(*lists: Any) -> list[list[Any]]:
    items = [_items("zip", each) for each in lists]
    if len({len(each) for each in items}) > 1:
        lengths = ", ".join(str(len(each)) for each in items)
        raise Unfit(f"`zip` wants lists of one length, not of {lengths}")
    return [list(row) for row in zip(*items, strict=True)]


def _unique(values: Any) -> list[Any]:
    return list(dict.fromkeys(_items("unique", values)))


def _sorted(values: Any) -> list[Any]:
    items = _items("sorted", values)
    try:
        return sorted(items)
    except TypeError:
        raise Unfit("`sorted` wants values of one kind") from None


def _len(value: Any) -> int:
    if isinstance(value, (str, list, Files)):
        return len(value)
    if isinstance(value, Fields):
        return len(value.items())
    raise Unfit(f"`len` wants a list or a text, not {kind(value)}")


def _extreme(name: str, symbol: str) -> Callable[..., Any]:
    def call(*values: Any) -> Any:
        items = _items(name, values[0]) if len(values) == 1 else list(values)
        if not items:
            raise Unfit(f"`{name}` of nothing")
        return extreme(symbol, items)

    return call


def _number(name: str, make: type) -> Callable[[Any], Any]:
    def call(value: Any) -> Any:
        try:
            return make(value if not isinstance(value, str) else value.strip())
        except (TypeError, ValueError, OverflowError):
            what = f'"{value}"' if isinstance(value, str) else kind(value)
            raise Unfit(f"`{name}` cannot make a number of {what}") from None

    return call


def _join(values: Any, separator: Any = " ") -> str:
    return _text("join", separator).join(plain_text(item) for item in _items("join", values))


def _replace(text: Any, old: Any, new: Any) -> str:
    return _text("replace", text).replace(_text("replace", old), _text("replace", new))


def _split(text: Any, separator: Any = None) -> list[str]:
    if separator == "":
        raise Unfit("`split` cannot split at nothing")
    return _text("split", text).split(separator)


def _basename(path: Any) -> str:
    return _text("basename", path).rsplit("/", 1)[-1]


def _dirname(path: Any) -> str:
    text = _text("dirname", path)
    return text.rpartition("/")[0] or ("/" if text.startswith("/") else ".")


def _stem(path: Any) -> str:
    name = _text("stem", path).rsplit("/", 1)[-1]
    return name.rpartition(".")[0] or name


def plain_text(value: Any) -> str:
    """A value as it stands in a text. Raises: Unfit for what has no one spelling."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, Files)):
        return " ".join(plain_text(item) for item in value)
    if value is None:
        return "none"
    if isinstance(value, Fields):
        raise Unfit(f"{kind(value)} cannot stand in a text: name one of them")
    return str(value)


def _text(function: str, value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    raise Unfit(f"`{function}` wants a text here, not {kind(value)}")


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, Files))


def _items(function: str, value: Any) -> list[Any]:
    if _is_list(value):
        return list(value)
    raise Unfit(f"`{function}` wants a list here, not {kind(value)}")


def _flag(name: str) -> Callable[[Any], Any]:
    """`temp(...)` and the like: `name` on a path, or on each path of a list."""

    def call(value: Any) -> Any:
        if isinstance(value, Pattern):
            return Pattern(value.parts, (*value.flags, name), value.pin)
        if _is_list(value):
            return [call(item) for item in value]
        if value is None:
            return None
        _text(name, value)
        return Path(value, (name,))  # with the flags and the pin that it has

    return call


OUTPUT_FLAGS = ("temp", "protected", "directory", "touch", "nonempty", "atomic")
INPUT_FLAGS = ("ancient", "content")

FUNCTIONS: dict[str, Function] = {
    "glob": Function(_glob, 'glob("data/{sample}.fq")', 1, 1, reads=True, pattern=True),
    "table": Function(_table, 'table("FILE.tsv")', 1, 1, reads=True),
    "lines": Function(_lines, 'lines("FILE")', 1, 1, reads=True),
    "find": Function(_find, "find(rows, column = value)", 1, 1, keywords=True),
    "get": Function(_get, 'get(config, "a.b", default)', 2, 3),
    "env": Function(_env, 'env("NAME", "default")', 1, 2, reads=True),
    "exists": Function(_exists, 'exists("FILE")', 1, 1, reads=True),
    "size": Function(_size, 'size("FILE")', 1, 1, reads=True),
    "range": Function(_range, "range(first, end, step)", 1, 3),
    "zip": Function(_zip, "zip(list, list)", 1, 99),
    "product": Function(
        lambda *lists: [
            list(row) for row in itertools.product(*(_items("product", e) for e in lists))
        ],
        "product(list, list)",
        1,
        99,
    ),
    "unique": Function(_unique, "unique(list)", 1, 1),
    "sorted": Function(_sorted, "sorted(list)", 1, 1),
    "len": Function(_len, "len(list)", 1, 1),
    "min": Function(_extreme("min", "<"), "min(a, b) or min(list)", 1, 99),
    "max": Function(_extreme("max", ">"), "max(a, b) or max(list)", 1, 99),
    "sum": Function(lambda values: total(_items("sum", values)), "sum(list)", 1, 1),
    "int": Function(_number("int", int), "int(value)", 1, 1),
    "float": Function(_number("float", float), "float(value)", 1, 1),
    "str": Function(plain_text, "str(value)", 1, 1),
    "join": Function(_join, 'join(list, ",")', 1, 2),
    "replace": Function(_replace, 'replace(text, "old", "new")', 3, 3),
    "split": Function(_split, 'split(text, ",")', 1, 2),
    "basename": Function(_basename, "basename(path)", 1, 1),
    "dirname": Function(_dirname, "dirname(path)", 1, 1),
    "stem": Function(_stem, "stem(path)", 1, 1),
    "expand": Function(_expand, 'expand("{x}.txt", x = xs)', 1, 1, keywords=True, pattern=True),
    **{
        name: Function(_flag(name), f"{name}(path)", 1, 1) for name in (*OUTPUT_FLAGS, *INPUT_FLAGS)
    },
}
