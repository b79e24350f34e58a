"""Write job scripts, and a script `submit` that submits them, for people to run by hand.

The jobs run as those of a build on a cluster: each looks first whether what it needs is done, and
tells how it ended, so that the next build knows what is fresh.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildhpc.commands.sketching import Planned
    from buildhpc.plan.choice import Choice
    from buildhpc.project import Project


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `export`."""
    from buildhpc.commands.common import cluster_option

    add = parser.add_argument
    add("targets", nargs="*", metavar="TARGET", help="what is built; default: as `hpcmake` alone")
    add("--cluster", metavar="NAME", required=True, help="the cluster that the scripts are for")
    cluster_option(parser)
    add("-o", "--output", metavar="DIR", help="a new folder (default: hpcmake-export)")
    add("--force", action="store_true", help="the targets anew, fresh or not")
    add("--force-all", action="store_true", help="everything anew")
    add("-q", "--quiet", action="store_true", help="say nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Write the stale jobs of the targets down. Returns the exit code. Raises: HpcmakeError."""
    from buildhpc.commands.common import find_pipefile, fold_receipts
    from buildhpc.plan.choice import Choice
    from buildhpc.project import open_project

    fold_receipts(wait_s=10.0)
    choice = Choice(tuple(args.targets), force=args.force, force_all=args.force_all)
    return export(args, open_project(find_pipefile(args.file), args.set), choice)


def export(args: argparse.Namespace, project: Project, choice: Choice) -> int:
    """Plan, and write the plan down. Returns the exit code. Raises: HpcmakeError."""
    from pathlib import Path

    from buildhpc.show.text import nothing_to_do
    from buildhpc.state.database import read_state

    planned = project.plan(choice, read_state(Path.cwd()))
    if planned[2].steps:
        return export_plan(args, project, planned)
    if not args.quiet:
        print(nothing_to_do(planned[2].total))
    return 0


def export_plan(args: argparse.Namespace, project: Project, planned: Planned) -> int:
    """Write a plan down. Returns the exit code. Raises: HpcmakeError."""
    from pathlib import Path

    from buildhpc.commands.common import warn
    from buildhpc.commands.exporting import Export
    from buildhpc.state.database import open_state

    said = Export(args, project, open_state(Path.cwd(), warn)).write(planned)
    if not args.quiet:
        print(said)
    return 0
