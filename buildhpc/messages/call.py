"""Problems of the command line and of what it is called with."""

from __future__ import annotations

from collections.abc import Iterable

from buildhpc.diagnostics import HpcmakeError, Note, Problem, nearest


def _error(slug: str, text: str, *notes: Note) -> HpcmakeError:
    return HpcmakeError(Problem(slug, text, None, notes))


def no_such_pipefile(path: str) -> HpcmakeError:
    """`-f` names a file that is not there."""
    return _error("no-pipefile", f"`-f {path}`: there is no such file")


def no_pipefile(folder: str, above: str | None, above_folder: str | None) -> HpcmakeError:
    """No Pipefile here; perhaps one in a folder above."""
    if above:
        cure = f"there is one above: `hpcmake -C {above_folder}` works in its folder"
    else:
        cure = "`hpcmake init` writes an example"
    return _error("no-pipefile", f"there is no Pipefile in `{folder}`", Note("help", cure))


def no_such_folder(path: str, why: str) -> HpcmakeError:
    """`-C` with a folder that cannot be entered."""
    return _error("no-folder", f"`-C {path}`: {why}")


def bad_option(text: str, known: Iterable[str] = (), word: str = "") -> HpcmakeError:
    """An option that does not exist or lacks what it needs."""
    close = nearest(word, known) if word else []
    cure = f"the nearest is `{close[0]}`" if close else "`hpcmake --help` lists the options"
    return _error("bad-option", text, Note("help", cure))


def perhaps_command(word: str, command: str) -> HpcmakeError:
    """A target that nothing makes, and that is nearly the name of a command."""
    text = f"`{word}` is no command, and no rule makes it"
    return _error("no-rule", text, Note("help", f"did you mean `hpcmake {command}`?"))


def bad_limit(text: str) -> HpcmakeError:
    """`--limit` with something that is no NAME=NUMBER."""
    return _error(
        "bad-option",
        f"`--limit {text}` is no limit",
        Note("help", "write `--limit mem=16G` or `--limit licence=3`"),
    )


def unused_limit(name: str, known: Iterable[str]) -> Problem:
    """`--limit` of a resource that no rule asks for."""
    close = nearest(name, known)
    cure = f"the nearest name is `{close[0]}`" if close else "`resources:` of a rule asks for it"
    text = f"`--limit {name}=...` limits nothing: no rule asks for `{name}`"
    return Problem("unused-limit", text, None, (Note("help", cure),), "warning")


def only_here(option: str) -> HpcmakeError:
    """An option that is about this machine, with `--cluster`."""
    cures = {
        "-j": "leave it out; `max_submitted` of the cluster bounds how many jobs are in its queue",
        "--limit": "leave it out; `options` of a rule can say it in the scheduler's own words",
    }
    text = f"`{option}` is about jobs on this machine, and `--cluster` runs them elsewhere"
    return _error("bad-option", text, Note("help", cures[option]))


def only_on_clusters(option: str) -> HpcmakeError:
    """An option that is about jobs on clusters, without `--cluster`."""
    text = f"`{option}` is about jobs on a cluster, and without `--cluster` they run here"
    return _error("bad-option", text, Note("help", "say where: `--cluster NAME`"))


def no_state() -> HpcmakeError:
    """A command that looks at the state where nothing ever ran."""
    return _error(
        "no-state", "nothing was built in this folder yet", Note("help", "`hpcmake` builds")
    )


def needs_yes(what: str) -> HpcmakeError:
    """A command that asks first, where nobody can be asked."""
    return _error(
        "needs-yes",
        f"{what}, and there is no terminal to ask at",
        Note("help", "`--yes` answers; `-n` shows what would be done"),
    )


def unknown_state(name: str, known: Iterable[str]) -> HpcmakeError:
    """`--state` with a word that no job's state is."""
    known = list(known)
    cure = f"states are {', '.join(known)}"
    if close := nearest(name, known):
        cure = f"the nearest is `{close[0]}`; {cure}"
    return _error("unknown-state", f"`--state {name}`: there is no such state", Note("help", cure))


def unknown_rule(name: str, known: Iterable[str]) -> HpcmakeError:
    """`--rule` with a rule that has no job in the state."""
    return _error("unknown-rule", f"no job of rule `{name}` is known", *_near(name, known))


def unknown_run(number: int, known: Iterable[int]) -> HpcmakeError:
    """`--run` with a number that no run had."""
    last = max(known, default=0)
    cure = f"the last one is run {last}" if last else "there was none yet"
    return _error("unknown-run", f"there was no run {number}", Note("help", cure))


def unknown_job(word: str, known: Iterable[str]) -> HpcmakeError:
    """A word that is no job, no file that a job makes, and no rule."""
    text = f"`{word}` is no job, no file that a job makes, and no rule"
    return _error("unknown-job", text, *_near(word, known))


def _near(word: str, known: Iterable[str]) -> list[Note]:
    close = nearest(word, known)
    return [Note("help", f"the nearest is `{close[0]}`")] if close else []


def no_such_attempt(job: str, number: int, count: int) -> HpcmakeError:
    """`--attempt` with a number that the job has no attempt for."""
    if not count:
        return _error("no-attempt", f"`{job}` never ran, so it printed nothing")
    many = "1 attempt" if count == 1 else f"{count} attempts"
    return _error("no-attempt", f"there is no attempt {number} of `{job}`: it has {many}")


def bad_lines(text: str) -> HpcmakeError:
    """`--lines` with something that is no range."""
    return _error(
        "bad-option",
        f"`--lines {text}` is no range of lines",
        Note("help", "write `--lines 10-25`, `--lines 10-` or `--lines -25`; the first line is 1"),
    )


def bad_expression(text: str, why: str) -> HpcmakeError:
    """`--grep` with something that is no regular expression."""
    return _error("bad-option", f"`--grep {text}` is no regular expression: {why}")


def many_jobs(rule: str, count: int, example: str) -> HpcmakeError:
    """A rule where one of its jobs has to be meant."""
    return _error(
        "many-jobs",
        f"rule `{rule}` has {count:,} jobs: which of them is not said",
        Note("help", f"name one of its files, e.g. `{example}`"),
    )


def rule_not_needed(rule: str, pattern: str) -> HpcmakeError:
    """A rule that no job of a build without a target is of."""
    return _error(
        "not-needed",
        f"a build without a target has no job of rule `{rule}`",
        Note("help", f"name one of its files, of the form `{pattern}`"),
    )


def no_job(path: str) -> HpcmakeError:
    """A source where a job has to be meant."""
    return _error(
        "no-job",
        f"`{path}` is a source: no job makes it",
        Note("help", f"`hpcmake why {path}` tells which jobs need it"),
    )


def bad_time(option: str, text: str) -> HpcmakeError:
    """`--every` or `--older` with something that is no time."""
    cure = Note("help", f"a time has a unit: `{option} 10m`, `{option} 30d`")
    return _error("bad-interval", f"`{option} {text}` is no time", cure)


def which_cluster(job: str) -> HpcmakeError:
    """`show --script` of a job that was on no cluster, and whose rule names none."""
    text = f"a job script is for a cluster, and `{job}` was on none yet"
    return _error("which-cluster", text, Note("help", "say for which: `--cluster NAME`"))
