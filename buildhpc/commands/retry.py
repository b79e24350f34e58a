"""Run again what failed, was skipped, cancelled or lost, and nothing else.

A run on a cluster that still goes on takes its jobs back; else a new run begins, with the
options of the one that had the jobs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from buildhpc.commands.numbers import whole_number

if TYPE_CHECKING:
    from buildhpc.project import Project
    from buildhpc.state.database import State
    from buildhpc.state.queries import JobRow, RunRow

_AGAIN = ("failed", "skipped", "cancelled", "lost")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `retry`."""
    from buildhpc.commands.pick import pick_arguments

    pick_arguments(parser, "jobs of this run")
    add = parser.add_argument
    add("-j", "--jobs", type=whole_number(1), metavar="N", help="cores to use, where jobs run here")
    add("-k", "--keep-going", action="store_true", help="after a failure, go on with the rest")
    add("--cluster", metavar="NAME", help="run them on this cluster instead")
    add("--detach", action="store_true", help="submit to the cluster, and do not wait")
    add("--parts", choices=["lost", "failed", "all"], help="only these parts, and those alone")
    add("-q", "--quiet", action="store_true", help="say nothing but errors")


def run(args: argparse.Namespace) -> int:
    """Retry the jobs that are meant. Returns the exit code. Raises: HpcmakeError."""
    from buildhpc.commands.pick import known_state, named, picked, show_some

    state = known_state()
    args.all = args.all or not (args.words or named(args))
    found = again(picked(state, args, "retry"))
    if not found:
        print("nothing to retry: no such job failed, was skipped, cancelled or lost")
        return 0
    if args.parts:
        found = _with_parts(args, state, found)
        if not found:
            return 0
    if args.dry_run:
        show_some("would retry", [job.name for job in found])
        return 0
    taken, left, rest = sorted_out(state, found, take=not args.cluster)
    if taken and not args.quiet:
        show_some("submitted again:", sorted(taken))
    if left and not args.quiet:
        show_some("left to their data flow, which runs them again:", sorted(left))
    return _new_run(args, state, rest) if rest else 0


def again(jobs: Sequence[JobRow]) -> list[JobRow]:
    """Those of the jobs that can be retried."""
    return [job for job in jobs if job.state in _AGAIN]


def sorted_out(
    state: State, jobs: Sequence[JobRow], *, take: bool = True
) -> tuple[set[str], set[str], list[JobRow]]:
    """The jobs that runs which go on took back; those left to their data flow; and the rest.

    take: let runs that go on take theirs back.
    """
    from buildhpc.state.flows import is_of_flow

    taken = taken_back(state, jobs) if take else set()
    left = {job.name for job in jobs if is_of_flow(job.wildcards)} - taken
    return taken, left, [job for job in jobs if job.name not in taken | left]


def _with_parts(args: argparse.Namespace, state: State, jobs: Sequence[JobRow]) -> list[JobRow]:
    """Those of the jobs that have such parts, which are to begin anew; with what waits for them.

    Raises: messages.no_parts
    """
    from buildhpc.commands.parts_show import wholes
    from buildhpc.state import parts

    found = []
    for whole in wholes(state, [job.name for job in jobs if job.state != "skipped"]):
        again = parts.AGAIN[args.parts]
        numbers = [part.number for part in whole.parts if part.state in again]
        if not numbers:
            kind = "left to do" if args.parts == "all" else args.parts
            print(f"nothing to retry: no part of `{whole.job.name}` is {kind}")
            continue
        found.append(whole.job)
        if not args.quiet:
            count = f"{len(numbers)} of {len(whole.parts)}"
            print(f"`{whole.job.name}`: {count} parts begin anew")
    if not args.dry_run:
        parts.wish(state, [job.id for job in found], args.parts)
    return found + [job for job in jobs if job.state == "skipped"] if found else []


def taken_back(state: State, jobs: Sequence[JobRow]) -> set[str]:
    """The jobs that runs on clusters which go on have taken back, and submitted."""
    from buildhpc.commands.moving import advance_of, clusters_of
    from buildhpc.state import cluster_runs

    taken: set[str] = set()
    for run_ in cluster_runs.open_cluster_runs(state):
        taken.update(cluster_runs.retry(state, run_, [job.name for job in jobs]))
    if taken:
        run_ = cluster_runs.open_cluster_runs(state)[0]
        advance_of(state, clusters_of(cluster_runs.options(state, run_))).step(look=False)
    return taken


def _new_run(args: argparse.Namespace, state: State, jobs: Sequence[JobRow]) -> int:
    """Build what the jobs make."""
    from buildhpc.cli import main
    from buildhpc.commands.common import find_pipefile
    from buildhpc.project import open_project

    last = last_run(state, jobs)
    before = last.options if last else {}
    pipefile = find_pipefile(args.file or before.get("pipefile") or None)
    project = open_project(pipefile, args.set or before.get("set", ()))
    return main([*_options(args, last), "--", *targets_of(project, state, last, jobs)])


def last_run(state: State, jobs: Sequence[JobRow]) -> RunRow | None:
    """The run that tried any of the jobs last."""
    from buildhpc.state.queries import runs

    # One that was skipped has no run of its own, and what it needs has.
    tried = max((job.run for job in jobs if job.run is not None), default=None)
    return next((each for each in reversed(runs(state)) if tried in (None, each.id)), None)


def _options(args: argparse.Namespace, last: RunRow | None) -> list[str]:
    """The options of the last run of the jobs, under those that are given now."""
    before = last.options if last else {}
    words = ["-k"] if args.keep_going else []
    words += ["-q"] if args.quiet else []
    words += ["--detach"] if args.detach else []
    cluster = args.cluster or before.get("cluster")
    words += ["--cluster", cluster] if cluster else []
    for option in before.get("cluster_options", ()):
        words += ["--cluster-option", option]
    number = args.jobs if args.jobs is not None else before.get("jobs")
    if number is not None and not cluster:
        words += ["-j", str(number)] if number else ["-j"]  # without one: all cores
    words += ["--logs", before["logs"]] if before.get("logs") else []
    pipefile = args.file or before.get("pipefile")
    words += ["-f", pipefile] if pipefile else []
    for setting in args.set or before.get("set", ()):
        words += ["--set", setting]
    return words


def targets_of(
    project: Project, state: State, last: RunRow | None, jobs: Sequence[JobRow]
) -> list[str]:
    """A file, or a rule, for each of the jobs, as far as the Pipefile still has them."""
    from buildhpc.plan.choice import Choice

    graph = project.graph(Choice(last.targets if last else ()), state)
    names = {job.name for job in jobs}
    made = [job for job in graph.jobs if job.name in names]
    return [f"./{job.outputs[0]}" if job.outputs else job.rule.name for job in made]
