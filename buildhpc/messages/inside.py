"""Problems of what is called from inside a job, and of what is said of jobs."""

from __future__ import annotations

from buildhpc.diagnostics import HpcmakeError, Note, Problem


def _error(slug: str, text: str, *notes: Note) -> HpcmakeError:
    return HpcmakeError(Problem(slug, text, None, notes))


def not_in_job(command: str, outside: str) -> HpcmakeError:
    """A command of the inside of jobs, outside of one, where it means nothing."""
    text = f"`{command}` means the job that calls it, and no job does"
    return _error("not-in-a-job", text, Note("help", outside))


def no_document(path: str, why: str) -> HpcmakeError:
    """The file that tells a job of itself cannot be had."""
    text = f"`{path}`, which HPCMAKE_JOB names, cannot be read: {why}"
    cure = "call it in the recipe of a running job, and leave HPCMAKE_JOB as it is there"
    return _error("not-in-a-job", text, Note("help", cure))


def nothing_to_set() -> HpcmakeError:
    """`set` without a value."""
    note = Note("help", "e.g. `hpcmake set phase=align progress=12/40 reads=48211`")
    return _error("nothing-to-set", "`hpcmake set` wants KEY=VALUE", note)


def bad_progress(value: str) -> HpcmakeError:
    """`progress` that is no part of the whole."""
    note = Note("help", "a figure from 0 to 1, `12/40`, or `30%`")
    return _error("bad-progress", f"`{value}` does not say how far a job has come", note)


def long_value(key: str, most: int) -> HpcmakeError:
    """A value that is too long to be kept."""
    note = Note("help", "write it to a file, and set the name of that")
    return _error("long-value", f"the value of `{key}` has more than {most:,} characters", note)


def bad_setting(key: str, value: str, wanted: str) -> HpcmakeError:
    """A value that a setting cannot have."""
    return _error("bad-setting", f"`{key}` cannot be `{value}`", Note("help", wanted))


def setting_inside(key: str) -> HpcmakeError:
    """A job that wants to change what only counts before it starts."""
    text = f"`{key}` of this job does not count any more: it runs"
    return _error(
        "bad-setting", text, Note("help", f"`hpcmake set JOB {key}=VALUE` of another one")
    )


def key_is_wildcard(key: str, job: str) -> HpcmakeError:
    """The words of a job's name, taken for values."""
    text = f"`{key}` is a wildcard of `{job}`, and cannot be set"
    note = Note("help", f"a job's name is one word: `hpcmake set '{job}' KEY=VALUE`")
    return _error("bad-setting", text, note)


def unset(inbox: str, why: str) -> HpcmakeError:
    """A note that cannot be written."""
    text = f"what the job says of itself cannot be written to `{inbox}`: {why}"
    return HpcmakeError(Problem("unset", text, None, ()), exit_code=3)


def no_part() -> HpcmakeError:
    """`spawn --done` in a job that is no part."""
    text = "`hpcmake spawn --done` means a part of a job, and this job has none"
    return _error("no-part", text, Note("help", 'ask first: `if [ -n "$HPCMAKE_PART" ]`'))


def how_many_parts(word: str, most: int) -> HpcmakeError:
    """`spawn` without a number."""
    text = f"`{word}` is no number of parts" if word else "`hpcmake spawn` wants to know how many"
    note = Note("help", f"`hpcmake spawn N`, from 1 to {most:,}; `-- COMMAND` after it")
    return _error("how-many-parts", text, note)


_CANNOT = {
    "part": ("a part of a job cannot spawn", "spawn more parts at once"),
    "exported": ("a job that people submit cannot spawn", "build with `--cluster`"),
    "atomic": (
        "a job with an `atomic` output cannot spawn: its parts would each have a name of their own",
        "leave out `atomic`: the outputs of a job that spawns are looked at by its last part",
    ),
}


def cannot_spawn(why: str) -> HpcmakeError:
    """A job that cannot have parts. why: `part`, `exported` or `atomic`."""
    text, cure = _CANNOT[why]
    return _error("cannot-spawn", text, Note("help", cure))


def no_parts(job: str) -> HpcmakeError:
    """Parts are asked for of a job whose last attempt did not spawn, or ran here."""
    text = f"the last attempt of `{job}` left no parts"
    cure = f"`hpcmake retry '{job}'` runs all of it again; parts are kept of jobs on clusters"
    return _error("no-part", text, Note("help", cure))


def no_such_part(job: str, number: int, count: int) -> HpcmakeError:
    """A part beyond the last one."""
    note = Note("help", f"they are counted from 0 to {count - 1}")
    return _error("no-part", f"`{job}` has no part {number}", note)
