"""Write the Pipefile and its includes in their standard form."""

from __future__ import annotations

import argparse
import difflib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildhpc.language.syntax import Include


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fmt`."""
    parser.add_argument(
        "files", nargs="*", metavar="FILE",
        help="these files alone; `-` reads standard input and prints (default: the Pipefile "
        "and what it includes)",
    )  # fmt: skip
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--check", action="store_true", help="change nothing; exit code 1 if a file would change"
    )
    group.add_argument("--diff", action="store_true", help="change nothing; show what would change")


def run(args: argparse.Namespace) -> int:
    """Format files in place, or say which would change. Returns the exit code."""
    from buildhpc.commands.common import find_pipefile
    from buildhpc.diagnostics import HpcmakeError

    if args.files == ["-"]:
        return _standard_input(args)
    paths = [os.path.normpath(path) for path in args.files]
    changed, failed = 0, 0
    for path in paths or _with_includes(find_pipefile(args.file)):
        try:
            changed += _file(path, args)
        except HpcmakeError as error:
            failed += 1
            sys.stdout.flush()
            print(error, file=sys.stderr)
    if failed:
        return 2
    return 1 if changed and args.check else 0


def _standard_input(args: argparse.Namespace) -> int:
    from buildhpc.language.formatter import format_text

    old = sys.stdin.buffer.read()
    new = format_text("standard input", old)
    if args.diff:
        _show_difference("standard input", _decoded(old), new)
    elif not args.check:
        print(new, end="")
    return 1 if args.check and new.encode() != old else 0


def _file(path: str, args: argparse.Namespace) -> bool:
    """Format a file; whether it changed, or would. Raises: HpcmakeError."""
    from buildhpc.language.formatter import format_text
    from buildhpc.messages import commands as messages

    if path.endswith(".py"):
        raise messages.python_file(path)
    old = _read(path)
    new = format_text(path, old)
    if new.encode() == old:
        return False
    if args.diff:
        _show_difference(path, _decoded(old), new)
    elif args.check:
        print(f"would change: {path}")
    else:
        try:
            write_whole(Path(path), new.encode())
        except OSError as error:
            raise messages.cannot_write(path, (error.strerror or str(error)).lower()) from None
        print(f"formatted: {path}")
    return True


def _read(path: str) -> bytes:
    from buildhpc.messages import rules as messages

    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise messages.cannot_read(path, (error.strerror or str(error)).lower(), None) from None


def _decoded(data: bytes) -> str:
    return data.decode(errors="replace")


def _show_difference(path: str, old: str, new: str) -> None:
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), path, f"{path} (formatted)"
    )
    for line in lines:
        print(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n", end="")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all: what is there stays until then; its mode is kept."""
    place = Path(os.path.realpath(path))
    private = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        with private.open("xb") as file:
            os.fchmod(file.fileno(), stat.S_IMODE(place.stat().st_mode))
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        private.replace(place)
    except BaseException:
        private.unlink(missing_ok=True)
        raise


def _with_includes(pipefile: str) -> Iterator[str]:
    """The Pipefile and the files it includes, each once; one with errors includes nothing."""
    from buildhpc.diagnostics import HpcmakeError
    from buildhpc.language.parser import parse
    from buildhpc.language.syntax import Include

    seen = {pipefile}
    todo = [pipefile]
    while todo:
        path = todo.pop(0)
        yield path
        try:
            tree = parse(path, Path(path).read_bytes())
        except (HpcmakeError, OSError):
            continue
        for statement in tree.statements:
            if isinstance(statement, Include):
                inner = _included(statement, path)
                if inner is not None and inner not in seen:
                    seen.add(inner)
                    todo.append(inner)


def _included(statement: Include, path: str) -> str | None:
    """The file that an `include` of the file at `path` names; None where a value names it."""
    from buildhpc.commands.common import warn
    from buildhpc.language.braces import fields_of, undouble, unescape
    from buildhpc.language.patterns import normal
    from buildhpc.messages import commands as messages

    text = statement.file
    parts = fields_of(text.raw, text.inside)
    if not all(isinstance(part, str) for part in parts):
        warn(messages.include_not_followed(text.span.text, text.span))
        return None
    name = undouble(unescape(text.raw))
    folder = path.rpartition("/")[0] or "."
    return normal(name if name.startswith("/") else f"{folder}/{name}")
