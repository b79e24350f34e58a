"""What one attempt of a job needs to run: plain values, no rules, ready for JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class OutputFile:
    """An output path, relative to the working folder, and what is asked of it.

    flags: any of `temp`, `protected`, `directory`, `touch`, `nonempty`, `atomic`.
    """

    path: str
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the job does.

    kind: `shell` (text: a bash script), `script` (text: the path of a script file), `python`
        (text: Python source), `call` (text: `module:function`), `none` (nothing to execute).
    arguments: keyword arguments of `call`.
    folder: where `call` and `use` look for modules besides the working folder: the folder of
        the Pipefile.
    """

    kind: str
    text: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    folder: str = "."


@dataclass(frozen=True, slots=True)
class Software:
    """What the recipe is wrapped in, outermost first: `within`, container, conda, modules."""

    modules: tuple[str, ...] = ()
    conda: str | None = None
    container: str | None = None
    within: str | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """What a job needs to run; the same words for every scheduler.

    mem_mib: total memory of the job; None: not said. time_s: wall time limit; None: no limit.
    resources: the user's own countable things.
    """

    cores: int = 1
    mem_mib: int | None = None
    time_s: int | None = None
    gpus: int = 0
    resources: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One attempt of a job, ready to run on any host that sees the working folder.

    name: of the job, e.g. `map_reads sample=s1`; unique in a working folder.
    attempt: counted from 1 within the run.
    inputs: all input paths in the order written.
    log: path of the user's own `log:`, None without one. own_log: the recipe itself writes it.
    data: the JSON document behind `HPCMAKE_JOB`: `input`, `output`, `params`, `wildcards`,
        `config`. Input and output are a list of paths, or, when some have names, a mapping
        from name to path or list of paths, in the order written; there a path without a name
        has its index as text for a name.
    token: what tells the private names of `atomic` outputs of this attempt from all others.
    split: what goes to stderr has a file of its own, beside that of stdout (`logs.beside`).
    """

    name: str
    rule: str
    attempt: int
    inputs: tuple[str, ...]
    outputs: tuple[OutputFile, ...]
    recipe: Recipe
    needs: Needs = Needs()
    software: Software = Software()
    env: Mapping[str, str] = field(default_factory=dict)
    log: str | None = None
    own_log: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""
    split: bool = False

    def to_json(self) -> str:
        """The spec as one JSON document."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> JobSpec:
        """The spec that `to_json` made a document of."""
        return cls.from_values(json.loads(text))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> JobSpec:
        """The spec from what a document of `to_json` holds, of an older hpcmake as well.

        Raises: KeyError, TypeError
        """
        needs, software = values["needs"], values["software"]
        resources = tuple((name, number) for name, number in needs["resources"])
        made = {
            "inputs": tuple(values["inputs"]),
            "outputs": tuple(OutputFile(o["path"], tuple(o["flags"])) for o in values["outputs"]),
            "recipe": Recipe(**values["recipe"]),
            "needs": Needs(**{**needs, "resources": resources}),
            "software": Software(**{**software, "modules": tuple(software["modules"])}),
        }
        known = {each.name for each in fields(cls)}
        return cls(**{name: each for name, each in {**values, **made}.items() if name in known})


class Failure(NamedTuple):
    """Why an attempt failed: a class, as in `Outcome.failure`, and one line for people."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended.

    state: `done`, `failed` or `cancelled`; of a runner also what `state.receipts.Ended` says.
    failure: class of a failure (`exit`, `signal`, `oom`, `timeout`, `missing-output`, `launch`),
        None when done.
    exit_code, signal: of the recipe's process; at most one is set.
    message: one line for people: why it failed.
    started_s, ended_s: seconds since the epoch. cpu_s: user and system time of the whole
        process tree. peak_mib: peak resident memory of the whole process tree.
        0.0 when the attempt was too short to tell.
    log: path of the file that holds what the recipe printed; None when it printed nothing.
    err_at: None: stdout and stderr are both in the log. Else what went to stderr is in the file
        beside it; of a receipt that has the text of the log, from that character of it on.
    """

    state: str
    failure: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""
    started_s: float = 0.0
    ended_s: float = 0.0
    cpu_s: float = 0.0
    peak_mib: float = 0.0
    log: str | None = None
    err_at: int | None = None
