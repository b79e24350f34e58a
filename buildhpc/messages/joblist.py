"""Problems of job lists."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from buildhpc.diagnostics import HpcmakeError, Note, Problem, Span, nearest


def _error(slug: str, text: str, span: Span | None, *notes: Note) -> HpcmakeError:
    return HpcmakeError(Problem(slug, text, span, notes))


def _help(text: str) -> Note:
    return Note("help", text)


def check_name(name: object, span: Callable[[], Span]) -> None:
    """Whether a job can be called so. Raises: HpcmakeError."""
    if not isinstance(name, str):
        raise _error("bad-name", f"the name of a job is text, not {name!r}", span())
    parts = name.split("/")
    plain = name.isprintable() and name == name.strip() and not name.startswith("-")
    if not plain or any(part in ("", ".", "..") for part in parts):
        cure = "use letters, digits and signs; `/` stands between a task and its subtask"
        raise _error("bad-name", f"no job can be called {name!r}", span(), _help(cure))


def name_twice(name: str, span: Span, first: Span) -> HpcmakeError:
    """Two jobs of one name."""
    note = Note("note", "the first is here", first)
    return _error("defined-twice", f"there are two jobs called `{name}`", span, note)


def unknown_need(name: str, known: Collection[str], cure: str | None, span: Span) -> HpcmakeError:
    """A need that no directive has the name of."""
    close = nearest(name, known)
    words = f"the nearest is `{close[0]}`" if close else f"there are {', '.join(sorted(known))}"
    if cure:
        words = f"in a Pipefile that is {cure}"
    text = f"`{name}` is nothing that a job can need"
    return _error("unknown-directive", text, span, _help(words))


def local_function(subject: str, what: str, span: Span) -> HpcmakeError:
    """A function that no other process can find by its name. subject: e.g. "job `fit`"."""
    text = f"{subject} is {what}, and other processes find functions by their names alone"
    cure = "define it with `def` at the left margin of a module, and give values as arguments"
    return _error("local-function", text, span, _help(cure))


def no_module_of(subject: str, function: str, span: Span) -> HpcmakeError:
    """A function of a notebook or of an interactive session."""
    text = f"{subject} is `{function}`, which no file defines, so no worker can import it"
    cure = "write it to a module (`%%writefile steps.py` in a notebook), and import that"
    return _error("local-function", text, span, _help(cure))


def not_found_again(subject: str, function: str, span: Span) -> HpcmakeError:
    """A function whose name leads to something else, as under some decorators."""
    text = f"{subject} is not what its module has under the name `{function}`"
    cure = "a decorator may hide it: give the function that the module has under this name"
    return _error("local-function", text, span, _help(cure))


def wrong_arguments(name: str, why: str, span: Span) -> HpcmakeError:
    """Arguments that a function does not take."""
    text = f"the function of job `{name}` does not take these arguments: {why}"
    return _error("wrong-arguments", text, span)


def not_json(name: str, key: str, what: str, span: Span) -> HpcmakeError:
    """An argument that cannot be written down."""
    text = f"the argument `{key}` of job `{name}` is {what}, which JSON does not hold"
    cure = "give text, numbers, lists or dicts of them; large data goes through files"
    return _error("wrong-arguments", text, span, _help(cure))


def bad_work(name: str, span: Span) -> HpcmakeError:
    """What is neither a command nor a function."""
    text = f"job `{name}` is neither a command nor a function"
    cure = "give text for bash, a list of words, or a function"
    return _error("bad-job", text, span, _help(cure))


def after_nothing(name: str, after: str, known: Collection[str], span: Span) -> HpcmakeError:
    """`after` with a name that no job has."""
    close = nearest(after, known)
    cure = [_help(f"the nearest is `{close[0]}`")] if close else []
    text = f"job `{name}` is to run after `{after}`, and no job or task is called so"
    return _error("unknown-job", text, span, *cure)


def after_itself(chain: Sequence[str], span: Span) -> HpcmakeError:
    """Jobs that wait for each other."""
    shown = " -> ".join(f"`{name}`" for name in chain)
    return _error("cycle", f"jobs wait for each other: {shown}", span)


def cannot_import(path: str, why: str, line: int | None) -> HpcmakeError:
    """A file of a list that does not run."""
    where = f", line {line}" if line else ""
    text = f"`{path}` does not build its jobs: {why}{where}"
    return _error("pipeline-file", text, None, _help(f"`python {path}` shows where"))


def no_list(path: str) -> HpcmakeError:
    """A Python file without a job list."""
    cure = "`jobs = buildhpc.JobList()` at its left margin, then `jobs.add(...)`"
    return _error("pipeline-file", f"`{path}` has no job list", None, _help(cure))


def several_lists(path: str, names: Sequence[str]) -> HpcmakeError:
    """A Python file with more than one list."""
    shown = ", ".join(f"`{name}`" for name in names)
    cure = "call the one that is to run `jobs`"
    return _error("pipeline-file", f"`{path}` has several job lists: {shown}", None, _help(cure))


def no_jobs(path: str) -> HpcmakeError:
    """A list without jobs."""
    where = f"the job list of `{path}`" if path else "the job list"
    return _error("no-rules", f"{where} has no jobs", None, _help("`jobs.add(NAME, COMMAND)`"))


def run_while_imported(span: Span) -> HpcmakeError:
    """A list that is run while its file is only read."""
    text = "the file is being imported for its jobs, and must not run them"
    cure = 'put the call behind `if __name__ == "__main__":`'
    return _error("run-while-imported", text, span, _help(cure))
