"""What is said of jobs on clusters."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Protocol

from buildhpc.diagnostics import HpcmakeError, Note, Problem, Span

_WORDS = 12


class _Answer(Protocol):
    """What a command came to; as `schedulers.protocol.Answer`."""

    @property
    def code(self) -> int | None:
        """Its exit code; None: nobody knows."""

    @property
    def out(self) -> str:
        """What it printed to stdout."""

    @property
    def err(self) -> str:
        """What it printed to stderr."""


def said(command: Sequence[str], answer: _Answer) -> str:
    """What a scheduler answered to a command, in its own words."""
    shown = shlex.join(command[:_WORDS]) + (" ..." if len(command) > _WORDS else "")
    ended = "gave no answer in time" if answer.code is None else f"exit code {answer.code}"
    words = words_of(answer)
    hint = "; `max_array` says how many jobs an array may have" if "job array" in words else ""
    return f"`{shown}`: {ended}: {words}{hint}"


def words_of(answer: _Answer) -> str:
    """The words of an answer, on one line."""
    return " ".join((answer.err.strip() or answer.out.strip() or "it said nothing").split())


def ended_untold(kind: str, failure: str, words: str) -> str:
    """How a job ended whose runner left no word of it."""
    by = f"the scheduler says {words}" if words else "the scheduler knows nothing of it"
    if kind == "lost":
        return f"it left no word of its end; {by}"
    if failure == "launch":
        return f"its runner never began; {by}"
    return by


def answered_by_another() -> str:
    """What answers is not the cluster that jobs were submitted to."""
    return "another cluster of the same kind answers here, or none says which it is"


def not_here(cluster: str) -> HpcmakeError:
    """Jobs are to be cancelled, and the commands here speak to another cluster."""
    text = f"cluster `{cluster}`: {answered_by_another()}"
    cure = "do it where they were submitted, in an environment such as there"
    return HpcmakeError(Problem("other-cluster", text, None, (Note("help", cure),)), exit_code=3)


def asked_again(cluster: str, words: str, longest_s: float) -> str:
    """A scheduler does not take what is asked of it at this moment."""
    again = f"it is asked again for {round(longest_s)} s, Ctrl-C ends that"
    return f"cluster `{cluster}` does not answer: {words}; {again}"


def queue_unknown() -> str:
    """What was submitted is looked for in a queue that nobody can see now."""
    return "its queue does not answer, and something was submitted that may be in it"


def other_scheduler(id_: str) -> str:
    """A scheduler knows a job under an id that was given to one of ours, and it is another job."""
    return f"another scheduler answers here, whose job {id_} is not the one that was submitted"


def cluster_away(cluster: str, words: str) -> HpcmakeError:
    """The scheduler took nothing, and does not say that anything is wrong with the jobs."""
    text = f"cluster `{cluster}` takes no jobs: {words}"
    cure = "nothing was submitted; try again when its scheduler answers"
    return HpcmakeError(Problem("cluster-away", text, None, (Note("help", cure),)), exit_code=3)


def cannot_express(job: str, cluster: str, words: Sequence[str], span: Span) -> HpcmakeError:
    """A job asks for something that the scheduler of its cluster has no words for."""
    names = {"mem_mib": "mem", "time_s": "time", "gpu_kind": "gpus", "disk_mib": "disk"}
    listed = ", ".join(f"`{names.get(word, word)}`" for word in words)
    text = f"cluster `{cluster}` has nothing for {listed}, which `{job}` asks for"
    cure = "leave it out, or say it in the scheduler's own words: `options`"
    return HpcmakeError(Problem("cannot-express", text, span, (Note("help", cure),)))


def pipefile_changed(job: str) -> HpcmakeError:
    """What a job asks for was to be known later, and the Pipefile says something else by now."""
    text = f"the Pipefile was changed while `{job}` waited for the files its needs hang on"
    cure = "run `hpcmake` again: it plans the rest anew"
    return HpcmakeError(Problem("pipefile-changed", text, None, (Note("help", cure),)))


def unfit_request(
    job: str, others: int, cluster: str, asks: Sequence[str], words: str, span: Span
) -> Problem:
    """`check --cluster`: the scheduler says that it would not take a job.

    others: how many jobs ask for the same. asks: the words that say what.
    """
    more = f" and {others:,} more like it" if others else ""
    asked = [Note("note", f"asked for with {shlex.join(asks)}")] if asks else []
    text = f"cluster `{cluster}` would not take `{job}`{more}"
    return Problem("unfit-request", text, span, (Note("note", f"it says: {words}"), *asked))


def cannot_check(cluster: str, words: str) -> HpcmakeError:
    """`check --cluster`: the scheduler does not say whether it would take a job."""
    text = f"cluster `{cluster}` does not say what it would take: {words}"
    cure = "try again when its scheduler answers"
    return HpcmakeError(Problem("cluster-away", text, None, (Note("help", cure),)), exit_code=3)


def unused_site_rule(rule: str, cluster: str, near: Sequence[str]) -> Problem:
    """`[cluster.NAME.rule.RULE]` with a rule that the Pipefile does not have."""
    text = f"cluster `{cluster}` has words for rule `{rule}`, and there is no such rule"
    notes = tuple(Note("help", f"the nearest is `{name}`") for name in near)
    return Problem("unused-site-rule", text, None, notes, "warning")


def other_cluster(job: str, its: str, cluster: str, span: Span) -> HpcmakeError:
    """An export of jobs that run on several clusters: no scheduler waits for another one's."""
    text = f"`{job}` runs on cluster `{its}`, and the export is for cluster `{cluster}`"
    cure = "make it first, or leave it out: name the targets that do not need it"
    return HpcmakeError(Problem("other-cluster", text, span, (Note("help", cure),)))


def only_exports(job: str, cluster: str, span: Span) -> HpcmakeError:
    """A build with a job on a cluster that nothing is submitted to."""
    text = f"`{job}` runs on cluster `{cluster}`, whose jobs people submit by hand"
    cure = f"`hpcmake export --cluster {cluster}` writes them down"
    return HpcmakeError(Problem("only-exports", text, span, (Note("help", cure),)))


def known_too_late(job: str, span: Span) -> HpcmakeError:
    """An export, or the script, of a job whose needs hang on files that are yet to be made."""
    text = f"what `{job}` asks for is known only when other jobs have run"
    cure = "make the files first that it hangs on"
    return HpcmakeError(Problem("known-too-late", text, span, (Note("help", cure),)))


def jobs_taken(foreign: Mapping[str, int]) -> HpcmakeError:
    """An export of jobs that a run has. foreign: job -> the run that has it."""
    job, run = next(iter(foreign.items()))
    more = f" and {len(foreign) - 1:,} jobs more" if len(foreign) > 1 else ""
    text = f"run {run} has `{job}`{more}"
    cure = "wait until it has ended, or `hpcmake cancel` them"
    return HpcmakeError(Problem("jobs-taken", text, None, (Note("help", cure),)))


def export_there(folder: str) -> HpcmakeError:
    """An export into a folder that is in use; what was submitted from it may still need it."""
    text = f"`{folder}` is there already, and not empty"
    return HpcmakeError(Problem("already-there", text, None, (Note("help", "name another"),)))


def cannot_wait(job: str, checkpoint: str, path: str, span: Span) -> HpcmakeError:
    """An export of jobs that are known once another one has run. path: what that one makes."""
    notes = (
        Note("note", "what is exported is all known when it is written"),
        Note("help", f"make that first: `hpcmake {shlex.quote(path)}`"),
    )
    text = f"what `{job}` needs is known once `{checkpoint}` has run"
    return HpcmakeError(Problem("export-checkpoint", text, span, notes))
