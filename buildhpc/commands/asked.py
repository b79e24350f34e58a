"""Which jobs people ask about: those of the Pipefile, and those of which only the state tells.

Only the state tells of the jobs of data flows; and of all others where there is no Pipefile.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from buildhpc.diagnostics import HpcmakeError
from buildhpc.messages import call
from buildhpc.messages import commands as messages
from buildhpc.state.database import read_state
from buildhpc.state.flows import is_of_flow
from buildhpc.state.queries import JobRow, Where, jobs

if TYPE_CHECKING:
    from buildhpc.commands.lookup import Finder, Meant
    from buildhpc.state.database import State


class Asked(NamedTuple):
    """The jobs that are meant. known: those of which only the state tells."""

    finder: Finder | None
    meant: list[Meant]
    state: State | None
    known: list[JobRow]


def asked_of(args: argparse.Namespace) -> Asked:
    """The jobs that words and `--where` mean. Raises: HpcmakeError."""
    state = read_state(Path.cwd())
    finder = finder_of(args)
    if args.where is None and not args.job:
        raise messages.no_jobs_named("show")
    known, words = only_known(state, finder, args.job)
    if words and finder is None:
        raise _unknown(state, words[0])
    meant = finder.all(words) if finder is not None and words else []
    if args.where is None:
        return Asked(finder, meant, state, known)
    return _where(args, Asked(finder, meant, state, known))


def finder_of(args: argparse.Namespace) -> Finder | None:
    """What finds the jobs of the Pipefile; None: there is none, and the state may know more.

    Raises: HpcmakeError
    """
    from buildhpc.commands.common import find_pipefile
    from buildhpc.commands.lookup import Finder

    try:
        find_pipefile(args.file)
    except HpcmakeError:
        if args.file is not None or read_state(Path.cwd()) is None:
            raise
        return None
    return Finder.of(args)


def _where(args: argparse.Namespace, named: Asked) -> Asked:
    """Those of the named jobs, or of all, for which a condition holds. Raises: HpcmakeError."""
    from buildhpc.commands.common import condition_of

    if named.state is None:
        raise call.no_state()
    rows = jobs(named.state, Where(condition=condition_of(args, named.state)))
    if args.job:
        names = {job.name for meant in named.meant for job in meant.jobs}
        names |= {job.name for job in named.known}
        rows = [row for row in rows if row.name in names]
    finder = named.finder
    known = [row for row in rows if finder is None or is_of_flow(row.wildcards)]
    others = [row.name for row in rows if finder is not None and not is_of_flow(row.wildcards)]
    meant = finder.named(others) if finder is not None and others else []
    return Asked(finder, meant, named.state, known)


def only_known(
    state: State | None, finder: Finder | None, words: Sequence[str], *, files: bool = True
) -> tuple[list[JobRow], list[str]]:
    """The jobs of which only the state tells, and the words that mean others.

    finder: of the Pipefile; None: there is none. files: a word may be a file that a job made.
    Raises: messages.many_known
    """
    if state is None:
        return [], list(words)
    whole = " ".join(words)
    if len(words) > 1 and jobs(state, Where(name=whole)):
        words = [whole]
    rules = finder.project.pipeline.rules if finder is not None else {}
    known: list[JobRow] = []
    left = []
    for word in words:
        found = _recorded(state, word, files) if word not in rules else []
        if found and (finder is None or all(is_of_flow(job.wildcards) for job in found)):
            known.append(_one(word, found))
        else:
            left.append(word)
    return known, left


def _recorded(state: State, word: str, files: bool) -> list[JobRow]:
    """The jobs that a word means to the state: by name, by rule, by a file that they made."""
    from buildhpc.language.patterns import normal

    meanings = [Where(name=word), Where(rule=word)]
    meanings += [Where(target=normal(word))] if files else []
    for where in meanings:
        if found := jobs(state, where):
            return found
    return []


def _one(word: str, found: Sequence[JobRow]) -> JobRow:
    """The job that is meant. Raises: messages.many_known."""
    if len(found) > 1:
        raise messages.many_known(
            word, len(found), max(found, key=lambda job: job.attempt or 0).name
        )
    return found[0]


def _unknown(state: State | None, word: str) -> HpcmakeError:
    from buildhpc.state.overview import known_names

    return call.unknown_job(word, known_names(state, word) if state is not None else ())


def not_told(args: argparse.Namespace, words: Sequence[str]) -> HpcmakeError:
    """That there is no Pipefile that could tell of what words mean."""
    from buildhpc.commands.common import find_pipefile

    known, _ = only_known(read_state(Path.cwd()), None, words)
    if known:
        return messages.only_known(known[0].name, flow=is_of_flow(known[0].wildcards))
    try:
        find_pipefile(args.file)
    except HpcmakeError as error:
        return error
    raise AssertionError("there is a Pipefile")


def check_told(finder: Finder, words: Sequence[str]) -> None:
    """Whether the Pipefile can tell of what words mean. Raises: messages.only_known"""
    known, _ = only_known(finder.state, finder, words, files=False)
    if known:
        raise messages.only_known(known[0].name, flow=True)
