"""The directives of a rule, a row each: what they take, and which words of other tools they are.

To add a directive, add its row; what it does is told where its value is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Shape = Literal["paths", "named", "one", "many", "where", "flag", "recipe", "retries"]


@dataclass(frozen=True, slots=True)
class DirectiveRow:
    """What a directive takes.

    shape: `paths` (one or many, named or not), `named` (all named), `one` value, `many` values,
        `where` constraints, a `flag` without a value, a `recipe`, or `retries`.
    value: what each value must be, in the words of a message; see `VALUES`.
    need: part of what a job asks of a machine: changing it never reruns a job.
    """

    shape: Shape
    value: str = "any"
    need: bool = False


DIRECTIVES: dict[str, DirectiveRow] = {
    "input": DirectiveRow("paths"),
    "output": DirectiveRow("paths"),
    "params": DirectiveRow("named"),
    "log": DirectiveRow("one", "text"),
    "where": DirectiveRow("where"),
    "cores": DirectiveRow("one", "count", need=True),
    "mem": DirectiveRow("one", "size", need=True),
    "time": DirectiveRow("one", "time", need=True),
    "gpus": DirectiveRow("one", "gpus", need=True),
    "nodes": DirectiveRow("one", "count", need=True),
    "tasks": DirectiveRow("one", "count", need=True),
    "disk": DirectiveRow("one", "size", need=True),
    "partition": DirectiveRow("one", "text", need=True),
    "account": DirectiveRow("one", "text", need=True),
    "qos": DirectiveRow("one", "text", need=True),
    "constraint": DirectiveRow("one", "text", need=True),
    "options": DirectiveRow("many", "words", need=True),
    "resources": DirectiveRow("named", "number", need=True),
    "cluster": DirectiveRow("one", "text", need=True),
    "local": DirectiveRow("flag", need=True),
    "env": DirectiveRow("named"),
    "modules": DirectiveRow("many", "text"),
    "conda": DirectiveRow("one", "text"),
    "container": DirectiveRow("one", "text"),
    "within": DirectiveRow("one", "text"),
    "priority": DirectiveRow("one", "whole", need=True),
    "retries": DirectiveRow("retries", "whole", need=True),
    "batch": DirectiveRow("one", "count", need=True),
    "group": DirectiveRow("one", "text", need=True),
    "benchmark": DirectiveRow("one", "text", need=True),
    "when": DirectiveRow("one"),
    "message": DirectiveRow("one", "text", need=True),
    "shell": DirectiveRow("recipe", "text"),
    "script": DirectiveRow("recipe", "text"),
    "python": DirectiveRow("recipe", "text"),
    "call": DirectiveRow("recipe", "text"),
    "args": DirectiveRow("named"),
}

RECIPES = ("shell", "script", "python", "call")
NOT_IN_DEFAULTS = ("input", "output", *RECIPES, "args", "when")

# Names a wildcard, a loop or a `let` may not take: they always mean the directive.
RESERVED = ("input", "output", "params", "log", "wildcards", "config", "attempt")

FAILURE_CLASSES = (
    "exit",
    "signal",
    "oom",
    "timeout",
    "node",
    "preempted",
    "missing-output",
    "launch",
    "submit",
)

# Words of other tools -> what to write here.
FOREIGN: dict[str, str] = {
    "threads": "`cores: N`",
    "cpus": "`cores: N`",
    "n_cores": "`cores: N`",
    "cpus_per_task": "`cores: N`",
    "ntasks": "`tasks: N`",
    "mem_mb": "`mem: 4G`, a size with its unit",
    "mem_gb": "`mem: 4G`, a size with its unit",
    "memory": "`mem: 4G`",
    "runtime": "`time: 1h30m`",
    "walltime": "`time: 1h30m`",
    "gpu": "`gpus: N`",
    "queue": '`partition: "NAME"`',
    "project": '`account: "NAME"`',
    "wildcard_constraints": '`where: name = "REGEX"`',
    "constraints": '`where: name = "REGEX"`',
    "run": "`python:` and a block of Python",
    "exec": "`shell:`",
    "cmd": "`shell:`",
    "command": "`shell:`",
    "bash": "`shell:`",
    "envmodules": '`modules: "NAME/VERSION"`',
    "module": '`modules: "NAME/VERSION"`',
    "singularity": '`container: "IMAGE"`',
    "notebook": '`script: "PATH"`, with the notebook as a script',
    "wrapper": "`shell:` with the command",
    "shadow": "`atomic(...)` around an output",
    "multiext": '`output: "{base}.{e}" for e in ["a", "b"]`',
    "name": "the name behind `rule`",
    "inputs": "`input:`",
    "outputs": "`output:`",
    "deps": "`input:`",
    "retry": "`retries: N`",
    "max_retries": "`retries: N`",
    "cache": "nothing: what is fresh never runs",
    "localrule": "`local`",
    "handover": "nothing",
    "default_target": "a rule called `all`",
}

# Names that other tools count among their resources; here they are directives.
_FOREIGN_RESOURCES = {
    **{name: FOREIGN[name] for name in ("mem_mb", "mem_gb", "memory", "runtime", "walltime")},
    **{name: FOREIGN[name] for name in ("threads", "cpus", "cpus_per_task", "ntasks", "gpu")},
    "mem_mib": FOREIGN["mem_mb"],
    "mem_mb_per_cpu": "`mem: 4G`, what the whole job needs",
    "disk_mb": "`disk: 10G`, a size with its unit",
    "disk_mib": "`disk: 10G`, a size with its unit",
    "slurm_partition": '`partition: "NAME"`',
    "slurm_account": '`account: "NAME"`',
    "slurm_extra": '`options: "--WORD"`',
}


def directive_for(resource: str) -> str | None:
    """What to write in place of a resource that is asked for in a directive of its own."""
    if resource in _FOREIGN_RESOURCES:
        return _FOREIGN_RESOURCES[resource]
    if resource in DIRECTIVES and DIRECTIVES[resource].need:
        return f"`{resource}:`, a directive of its own"
    return None
