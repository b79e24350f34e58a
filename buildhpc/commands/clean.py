"""Remove outputs, never inputs; or logs that need not be kept."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildhpc.commands.removable import Output

_SHOWN = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `clean`."""
    add = parser.add_argument
    add("targets", nargs="*", metavar="TARGET", help="files, or rules; default: all outputs")
    add("--rule", action="append", default=[], metavar="RULE", help="outputs of this rule")
    add("--temp", action="store_true", help="only `temp` outputs")
    add("--unknown", action="store_true", help="outputs of past builds that no rule makes any more")
    add("--unprotect", action="store_true", help="protected outputs as well")
    add("--force", action="store_true", help="outputs that were changed by hand as well")
    add("--logs", action="store_true", help="logs that `[logs]` of hpcmake.toml does not keep")
    add("--older", metavar="TIME", help="with `--logs`: those that ended so long ago, e.g. `30d`")
    add("-n", "--dry-run", action="store_true", help="show what would be removed")
    add("--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace) -> int:
    """Remove what is meant and may go. Returns the exit code."""
    from buildhpc.commands.common import fold_receipts
    from buildhpc.commands.removable import Outputs

    if args.logs or args.older:
        return _logs(args)
    if not args.dry_run:
        fold_receipts()
    outputs = Outputs(args)
    chosen = outputs.chosen()
    going = _that_may_go(chosen, args)
    left = 0 if args.unknown else outputs.unknown_there()
    code = 0
    if not going:
        print("nothing to remove")
    elif args.dry_run:
        for output in going:
            print(f"would remove {output.path}")
    else:
        code = _remove_all(going, chosen, yes=args.yes)
    if left:
        print(
            f"{_counted(left)} of past builds that no rule makes any more stay; "
            "`--unknown` is for them",
            file=sys.stderr,
        )
    return code


def _logs(args: argparse.Namespace) -> int:
    """Remove logs. Returns the exit code. Raises: HpcmakeError."""
    from buildhpc.commands.common import confirmed, seconds_of
    from buildhpc.commands.pick import known_state
    from buildhpc.commands.retention import spent
    from buildhpc.state.changes import remove_logs

    state = known_state(writes=not args.dry_run)
    found = spent(state, seconds_of("--older", args.older) if args.older else None)
    number = "1 log" if len(found) == 1 else f"{len(found):,} logs"
    if not found:
        print("nothing to remove: all logs are kept")
    elif args.dry_run:
        print(f"would remove {number}")
    elif confirmed(f"{number} would be removed", yes=args.yes):
        remove_logs(state, found)
        print(f"removed {number}; what else is known of their attempts stays")
    return 0


def _that_may_go(chosen: Iterable[Output], args: argparse.Namespace) -> list[Output]:
    """The outputs that are there and may go; says of the others why they stay."""
    from buildhpc.commands.removable import keep_reason

    going = []
    for output in chosen:
        if not os.path.lexists(output.path):
            continue
        why = keep_reason(output, unprotect=args.unprotect, force=args.force)
        if why is None:
            going.append(output)
        else:
            print(f"kept: `{output.path}` {why}", file=sys.stderr)
    return going


def _remove_all(going: Sequence[Output], chosen: Iterable[Output], *, yes: bool) -> int:
    """Ask, then remove. Returns the exit code."""
    from buildhpc.commands.common import confirmed

    _show([output.path for output in going])
    if not confirmed(f"{_counted(len(going))} would be removed", yes=yes):
        return 0
    removed = [output for output in going if _remove(output)]
    # A temp output that is gone already may have left its folder.
    gone = [each for each in chosen if each.stamp and not os.path.lexists(each.path)]
    _remove_folders(output.path for output in (*removed, *gone))
    print(f"removed {_counted(len(removed))}")
    return 0 if len(removed) == len(going) else 2


def _counted(number: int) -> str:
    return "1 output" if number == 1 else f"{number:,} outputs"


def _show(paths: Sequence[str]) -> None:
    for path in paths[:_SHOWN]:
        print(path)
    if len(paths) > _SHOWN:
        print(f"and {len(paths) - _SHOWN:,} more")


def _remove(output: Output) -> bool:
    """Remove a file or a declared folder; whether it is gone."""
    import shutil

    from buildhpc.commands.checks import unlock
    from buildhpc.commands.common import warn
    from buildhpc.messages import plan as messages

    path = Path(output.path)
    try:
        if path.is_dir() and not path.is_symlink():
            unlock(output.path)
            shutil.rmtree(path)
        else:
            path.unlink()
    except FileNotFoundError:
        return True
    except OSError as error:
        warn(messages.cannot_remove(output.path, (error.strerror or str(error)).lower()))
        return False
    return True


def _remove_folders(paths: Iterable[str]) -> None:
    """Remove the folders that held these outputs and are empty now, in the working folder."""
    folders: set[Path] = set()
    for path in map(Path, paths):
        if not path.is_absolute() and ".." not in path.parts:
            folders.update(path.parents)
    folders.discard(Path())
    for folder in sorted(folders, key=lambda each: len(each.parts), reverse=True):
        try:
            folder.rmdir()
        except OSError:
            continue  # not empty, or not ours to remove
