"""Problems of data flows: of what nodes of Hamilton ask for, and of what became of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from buildhpc.diagnostics import HpcmakeError, Note, Problem, nearest

_LINES = 20


def _error(slug: str, text: str, *notes: Note) -> HpcmakeError:
    return HpcmakeError(Problem(slug, text, None, notes))


def _help(text: str) -> Note:
    return Note("help", text)


def not_installed() -> str:
    """`buildhpc.hamilton` without Hamilton."""
    return "buildhpc.hamilton needs Hamilton: pip install 'hpcmake[hamilton]'"


def unknown_keyword(word: str, where: str, known: Iterable[str]) -> HpcmakeError:
    """A keyword that nothing is known of, in a decorator or in what a node yields."""
    known = sorted(known)
    close = nearest(word, known, 3)
    said = f"did you mean {' or '.join(f'`{each}`' for each in close)}?" if close else ""
    listed = f"keywords are {', '.join(f'`{each}`' for each in known)}"
    raw = _help("what only the scheduler knows goes into `options`")
    more = (raw,) if "options" in known else ()
    text = f"{where} has no keyword `{word}`"
    return _error("unknown-keyword", text, _help(said or listed), *more)


def bad_keyword(word: str, value: object, where: str, wanted: str) -> HpcmakeError:
    """A keyword with a value that means nothing."""
    return _error("bad-keyword", f"{where}: `{word}` is {wanted}, not {value!r}")


def said_twice(word: str, other: str, where: str) -> HpcmakeError:
    """Two names of one keyword."""
    return _error("said-twice", f"{where}: `{word}` and `{other}` are the same", _help("say one"))


def no_command(where: str) -> HpcmakeError:
    """A node asks for a job and does not say what it is to run."""
    cure = "`cmd` is a text for bash, or a list of words: `yield {'cmd': ['python', 'fit.py']}`"
    return _error("no-command", f"{where} does not say what is to run", _help(cure))


def not_a_config(where: str, value: object) -> HpcmakeError:
    """A node yields something that says nothing of a job."""
    cure = "`yield {'cmd': ..., 'cores': 4}`: keywords and their values"
    return _error("not-a-config", f"{where} yields {value!r}, which is no mapping", _help(cure))


def not_a_generator(function: str, decorator: str) -> HpcmakeError:
    """A decorator on a function that yields nothing."""
    cure = (
        f"`config = yield {{...}}` gets the result of a job; without one, leave `@{decorator}` out"
    )
    return _error("not-a-generator", f"`{function}` yields nothing to `@{decorator}`", _help(cure))


def is_parallelizable(function: str, decorator: str) -> HpcmakeError:
    """A decorator on a node whose own yields are the items of a parallel block."""
    cure = "let a node within the block yield what it asks for"
    text = (
        f"what `{function}` yields are the items of `Parallelizable`, not jobs for `@{decorator}`"
    )
    return _error("is-parallelizable", text, _help(cure))


def no_result_type(function: str, decorator: str) -> HpcmakeError:
    """A node whose annotation does not say what it returns."""
    cure = "`-> Generator[dict, Any, int]` or simply `-> int`"
    text = f"the annotation of `{function}` does not say what it returns"
    return _error("no-result-type", text, _help(f"under `@{decorator}`: {cure}"))


def no_alias() -> HpcmakeError:
    """`@submit` that does not say to which system."""
    cure = 'give an alias, and its type where it is first used: `@submit("lab", "slurm")`'
    return _error("no-alias", "`@submit` does not say which system its jobs go to", _help(cure))


def not_settings(alias: str, value: object) -> HpcmakeError:
    """`cluster=` that is no settings."""
    text = f'`@submit("{alias}")`: `cluster` is settings with their values, not {value!r}'
    return _error("bad-keyword", text, _help('as hpcmake.toml has them: `{"partition": "long"}`'))


def unknown_system(alias: str, known: Iterable[str]) -> HpcmakeError:
    """An alias that neither a decorator with a type nor `hpcmake.toml` describes."""
    close = nearest(alias, known)
    near = (_help(f"the nearest is `{close[0]}`"),) if close else ()
    cure = f'say its type: `@submit("{alias}", "slurm")`, or describe it in `hpcmake.toml`'
    return _error("unknown-system", f"nothing is known of the system `{alias}`", *near, _help(cure))


def other_type(alias: str, first: str, now: str) -> HpcmakeError:
    """One alias with two types."""
    text = f"the system `{alias}` is of type `{first}`, and now of type `{now}`"
    return _error("other-type", text, _help("give one of them another alias"))


def needs_more(alias: str, words: Sequence[str], where: str) -> HpcmakeError:
    """A job asks for something that its scheduler has no words for."""
    listed = ", ".join(f"`{word}`" for word in words)
    text = f"{where}: cluster `{alias}` has nothing for {listed}"
    return _error("cannot-express", text, _help("leave it out, or use `options`"))


def unknown_job(name: str, where: str, known: Iterable[str]) -> HpcmakeError:
    """A dependency, or a look, by a name that no job of the folder has."""
    close = nearest(name, known)
    cure = (_help(f"the nearest is `{close[0]}`"),) if close else ()
    return _error("unknown-job", f"{where}: no job is called `{name}`", *cure)


def moved_folder(was: str, now: str) -> HpcmakeError:
    """The process went to another folder while jobs of the first one were waited for."""
    text = f"jobs of `{was}` are waited for, and the working folder is `{now}` by now"
    return _error("moved-folder", text, _help("do not change it while a data flow runs"))


def ended_badly(job: str, state: str, words: tuple[str, str], log: str) -> Problem:
    """A job that a node waited for did not end well.

    words: class of the failure, and why, for people. log: what it printed.
    """
    kind, why = words
    told = f"{state} ({kind})" if kind else state
    notes = [Note("why", why)] if why else []
    if lines := log.rstrip("\n").split("\n")[-_LINES:] if log.strip() else []:
        notes.append(Note("log", "\n".join(lines)))
    cure = "with `check=False` the node is given what came of it instead"
    return Problem("job-ended-badly", f"`{job}` {told}", None, (*notes, _help(cure)))


def input_missing(job: str, paths: Sequence[str]) -> HpcmakeError:
    """A job needs files that are not there, and that no job makes which it waits for."""
    listed = ", ".join(f"`{path}`" for path in paths)
    text = f"`{job}` needs {listed}, and there is no such file"
    cure = "where another job makes it, that one is a `dependency`"
    return _error("input-missing", text, _help(cure))


def not_submitted(job: str, why: str) -> HpcmakeError:
    """`test_only`: the scheduler would not take a job."""
    return _error("not-submitted", f"`{job}` would not be taken: {why}")


def command_failed(command: str, code: int, said: str) -> HpcmakeError:
    """A command of `@cmdline` that failed, or did not make what it was to make."""
    ended = f"ended with exit code {code}" if code >= 0 else f"was ended by signal {-code}"
    notes = (
        (Note("stderr", "\n".join(said.rstrip("\n").split("\n")[-_LINES:])),)
        if said.strip()
        else ()
    )
    return HpcmakeError(Problem("command-failed", f"`{command}` {ended}", None, notes), exit_code=1)


def output_missing(command: str, paths: Sequence[str]) -> HpcmakeError:
    """A command of `@cmdline` did not make what it was to make."""
    listed = ", ".join(f"`{path}`" for path in paths)
    text = f"`{command}` did not make {listed}"
    return HpcmakeError(Problem("output-missing", text), exit_code=1)
