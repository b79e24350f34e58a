"""From a job of the plan to what an attempt of it needs, with everything filled in."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from buildhpc.language.patterns import normal
from buildhpc.language.shell import Slot
from buildhpc.language.values import Fields, plain
from buildhpc.plan.jobs import priority_of, script_path
from buildhpc.plan.model import Job
from buildhpc.plan.recipe import digest_of, fill, plain_values
from buildhpc.rules.model import Pipeline
from buildhpc.rules.scope import JobScope
from buildhpc.run.outputs import private_name
from buildhpc.run.spec import JobSpec, Needs, OutputFile, Recipe, Software
from buildhpc.schedulers.protocol import Request

_PYTHON_RECIPES = ("script", "python", "call")


class Describer:
    """Makes the specs of a pipeline's jobs.

    marker: makes private names of `atomic` outputs this run's own.
    list_file: paths -> a file that lists them. split: stdout and stderr of a job that has no file
    for them that its rule names are kept apart.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        marker: str,
        list_file: Callable[[Sequence[str]], str],
        *,
        split: bool = False,
    ) -> None:
        self._pipeline = pipeline
        self._marker = marker
        self._list_file = list_file
        self._split = split
        self._config: Mapping[str, Any] | None = None

    def needs(self, job: Job, attempt: int) -> Needs:
        """What an attempt of `job` needs of this machine. Raises: HpcmakeError."""
        if not any(name in job.rule.directives for name in _NEEDS):
            return _PLAIN_NEEDS
        return self._needs(JobScope(self._pipeline, job.rule, job.values, {"attempt": attempt}))

    def _needs(self, scope: JobScope) -> Needs:
        mem = scope.directive("mem")
        time = scope.directive("time")
        gpus = scope.directive("gpus", 0)
        if isinstance(gpus, str):
            gpus = int(gpus.rpartition(":")[2])
        return Needs(
            cores=scope.directive("cores", 1),
            mem_mib=None if mem is None else mem.mb,
            time_s=None if time is None else time.seconds,
            gpus=gpus,
            resources=tuple(scope.named("resources").items()),
        )

    def request(self, job: Job, attempt: int, site: Mapping[str, Any]) -> Request:
        """What an attempt of `job` asks a scheduler for.

        site: directive -> the value that the site has for it instead. Raises: HpcmakeError.
        """
        scope = JobScope(self._pipeline, job.rule, job.values, {"attempt": attempt, **site})
        needs = self._needs(scope)
        disk = scope.directive("disk")
        gpus = scope.directive("gpus", 0)
        words = {name: scope.directive(name) or "" for name in _SITE_WORDS}
        return Request(
            cores=needs.cores,
            mem_mib=needs.mem_mib,
            time_s=needs.time_s,
            gpus=needs.gpus,
            gpu_kind=gpus.rpartition(":")[0] if isinstance(gpus, str) else "",
            nodes=scope.directive("nodes", 0),
            tasks=scope.directive("tasks", 0),
            disk_mib=None if disk is None else disk.mb,
            options=_words(scope, site),
            **words,
        )

    def word(self, job: Job, name: str, default: Any = None) -> Any:
        """The one value of a directive of `job`, such as `cluster`, `batch` or `group`."""
        if name not in job.rule.directives:
            return default
        return JobScope(self._pipeline, job.rule, job.values).directive(name, default)

    def tries(self, job: Job) -> dict[str, int]:
        """Class of failure -> how often `job` is tried again; `""`: every other class."""
        if "retries" not in job.rule.directives:
            return {}
        named = JobScope(self._pipeline, job.rule, job.values).named("retries")
        return {name.replace("_", "-"): int(number) for name, number in named.items()}

    def priority(self, job: Job) -> int:
        """The priority of `job`; 0 where nothing is said."""
        return priority_of(self._pipeline, job)

    def retries(self, job: Job, failure: str) -> int:
        """How often `job` is tried again after a failure of this class."""
        tries = self.tries(job)
        return tries.get(failure, tries.get("", 0))

    def message(self, job: Job) -> str | None:
        """What the progress line says of `job`, where its rule says something."""
        if "message" not in job.rule.directives:
            return None
        text: str = JobScope(self._pipeline, job.rule, job.values).directive("message")
        return text

    def file_of(self, job: Job, directive: str) -> str | None:
        """The path of the job's `log` or `benchmark`, where its rule names one."""
        if directive not in job.rule.directives:
            return None
        path: str = JobScope(self._pipeline, job.rule, job.values).directive(directive)
        return normal(path)

    def spec(self, job: Job, attempt: int, granted: Mapping[str, Any]) -> JobSpec:
        """What to run.

        granted: directive -> the value it is given, e.g. the cores that the machine can give.
        Raises: HpcmakeError.
        """
        granted = {"attempt": attempt, **granted}
        if own := self._streams(job, attempt):
            granted["log"] = own
        scope = JobScope(self._pipeline, job.rule, job.values, granted)
        token = f"{self._marker}-{attempt}"
        outputs = self._outputs(job)
        self._use_private_names(scope, outputs, token)
        log = scope.directive("log")
        own_log = log is not None and _uses_log(job)
        recipe = self._recipe(job, scope)
        return JobSpec(
            name=job.name,
            rule=job.rule.task,
            attempt=attempt,
            inputs=tuple(map(str, job.inputs)),
            outputs=outputs,
            recipe=recipe,
            needs=self._needs(scope) if _NEEDS & job.rule.directives.keys() else _PLAIN_NEEDS,
            software=self._software(scope),
            env={name: str(plain(v)) for name, v in scope.named("env").items()},
            log=log,
            own_log=own_log,
            split=bool(own or job.rule.streams) or (self._split and (log is None or own_log)),
            data=self._data(job, scope, log),
            token=token,
        )

    def _streams(self, job: Job, attempt: int) -> str:
        """The file for what an attempt prints in the folder of all; empty: as its rule says."""
        folder, rule = self._pipeline.logs, job.rule
        if not folder or ("log" in rule.directives and not rule.streams):
            return ""
        name = job.name if rule.name == job.name else job.name.replace("/", "%2F")
        if len(written := os.fsencode(name)) > _LONG_NAME:
            name = f"{written[:_LONG_NAME].decode(errors='ignore')}-{digest_of(name)[:8]}"
        return f"{normal(folder)}/{name}.{attempt}.out"

    def _outputs(self, job: Job) -> tuple[OutputFile, ...]:
        flags = [pattern.flags for pattern in job.rule.patterns()]
        return tuple(OutputFile(p, f) for p, f in zip(job.outputs, flags, strict=True))

    def _use_private_names(
        self, scope: JobScope, outputs: Sequence[OutputFile], token: str
    ) -> None:
        """Let `{output}` be the name under which an `atomic` file is made."""
        if any("atomic" in output.flags for output in outputs):
            names = {o.path: private_name(o.path, token) for o in outputs if "atomic" in o.flags}
            scope["output"] = scope["output"].renamed(names)

    def _recipe(self, job: Job, scope: JobScope) -> Recipe:
        code = job.rule.recipe
        if code is None:
            return Recipe("none")
        if code.kind == "shell":
            text = fill(code.parts, scope, self._pipeline.constants, self._list_file)
            return Recipe("shell", text)
        if code.kind == "python":
            return Recipe("python", code.text, folder=job.rule.folder)
        if code.kind == "script":
            return Recipe("script", script_path(job.rule, scope), folder=job.rule.folder)
        assert code.value is not None
        arguments = plain_values(scope.named("args"))
        return Recipe("call", str(code.value(scope)), arguments, job.rule.folder)

    def _software(self, scope: JobScope) -> Software:
        if not _SOFTWARE & scope.rule.directives.keys():
            return _NO_SOFTWARE
        return Software(
            modules=tuple(scope.many("modules")),
            conda=self._file_beside(scope, "conda"),
            container=self._file_beside(scope, "container"),
            within=scope.directive("within"),
        )

    def _file_beside(self, scope: JobScope, name: str) -> str | None:
        """A name, or a path relative to the Pipefile where such a file is there."""
        value: str | None = scope.directive(name)
        if value is None:
            return None
        beside = os.path.join(scope.rule.folder, value)
        return beside if os.path.exists(beside) else value

    def _data(self, job: Job, scope: JobScope, log: str | None) -> dict[str, Any]:
        data: dict[str, Any] = {
            "rule": job.rule.task,
            "wildcards": dict(zip(job.rule.wildcards, job.values, strict=True)),
            "input": scope["input"].document(),
            "output": scope["output"].document(),
            "params": plain_values(scope.named("params")),
            "log": log,
        }
        if self._pipeline.logging:
            data["logging"] = self._pipeline.logging
        if job.rule.recipe is not None and job.rule.recipe.kind in _PYTHON_RECIPES:
            if self._config is None:
                config = self._pipeline.constants.get("config")
                self._config = plain(config) if isinstance(config, Fields) else {}
            data["config"] = self._config
        return data


def _words(scope: JobScope, site: Mapping[str, Any]) -> tuple[str, ...]:
    """The raw words for the scheduler; a text in a Pipefile may hold several."""
    if "options" in site:
        return tuple(site["options"])
    return tuple(word for text in scope.many("options") for word in shlex.split(text))


def _uses_log(job: Job) -> bool:
    """Whether the recipe itself writes to `{log}`."""
    code = job.rule.recipe
    if code is None:
        return False
    if code.kind == "shell":
        return any(isinstance(part, Slot) and part.field.name == "log" for part in code.parts)
    return False


# A name in a folder has 255 bytes at most.
_LONG_NAME = 200
_NEEDS = {"cores", "mem", "time", "gpus", "resources"}
_PLAIN_NEEDS = Needs()
_SITE_WORDS = ("partition", "account", "qos", "constraint")
_SOFTWARE = {"modules", "conda", "container", "within"}
_NO_SOFTWARE = Software()
