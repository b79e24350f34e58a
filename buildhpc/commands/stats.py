"""Per rule: time, memory and cores, asked for and used, with advice.

Of what was used the median and the most is told, over the last attempts that ended well.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stats`."""
    add = parser.add_argument
    add("--run", type=int, metavar="N", help="only attempts of this run")
    add("--json", action="store_true", help="as one JSON document")


def run(args: argparse.Namespace) -> int:
    """Tell what jobs used. Returns the exit code. Raises: HpcmakeError."""
    from buildhpc.commands.common import fold_receipts
    from buildhpc.commands.pick import check_run
    from buildhpc.messages import call
    from buildhpc.state.database import read_state
    from buildhpc.state.usage import used

    fold_receipts()
    state = read_state(Path.cwd())
    if state is None:
        raise call.no_state()
    if args.run is not None:
        check_run(state, args.run)
    found = used(state, args.run)
    if args.json:
        import json
        from dataclasses import asdict

        from buildhpc.show.advice import advice

        document = {"rules": [asdict(each) for each in found], "advice": list(advice(found))}
        print(json.dumps(document, indent=2))
        return 0
    from buildhpc.show.advice import HEAD, advice, row
    from buildhpc.show.text import columns

    for line in columns([HEAD, *map(row, found)]) if found else ["no job ended well yet"]:
        print(line)
    for number, line in enumerate(advice(found)):
        print(f"\nadvice\n  {line}" if not number else f"  {line}")
    return 0
