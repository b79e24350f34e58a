"""`@submit` and `@cmdline`: a node that is a generator yields what it needs, and gets that."""

from __future__ import annotations

import functools
import inspect
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import nullcontext
from types import GeneratorType
from typing import Any

from buildhpc.hamilton import systems
from buildhpc.hamilton.calls import calling, current_call, run_command
from buildhpc.hamilton.desk import desk
from buildhpc.hamilton.jobs import JobFailedError, JobInfo
from buildhpc.hamilton.keywords import Wish, over, wish_of
from buildhpc.hamilton.nodes import is_parallel, tagged
from buildhpc.hamilton.plans import Order
from buildhpc.hamilton.recording import recorded
from buildhpc.messages import hamilton as messages

_GENERATORS = (Generator, Iterator, Iterable)


class YieldDecorator(ABC):
    """A decorator for nodes that yield configs: `config = yield {...}; ...; return result`.

    To make one's own, say in `do` what a config comes to; `validate_config` and
    `modify_function` may be left as they are.
    """

    def __new__(cls, *given: Any, **options: Any) -> Any:
        """A decorator; or what it makes of a function, where it stands without brackets."""
        if len(given) == 1 and inspect.isfunction(given[0]) and not _takes_values(cls):
            return cls(**options)(given[0])
        return super().__new__(cls)

    @abstractmethod
    def do(self, config: Any) -> Any:
        """What is sent back to the node for a config that `validate_config` returned."""

    def validate_config(self, config: Any, where: str) -> Any:
        """The config as `do` is to have it. where: names the node. Raises: HpcmakeError"""
        if not isinstance(config, Mapping):
            raise messages.not_a_config(where, config)
        return config

    def modify_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function that Hamilton is given; here tags and other decorators can be put on it."""
        return function

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a node. Raises: messages.not_a_generator, is_parallelizable, no_result_type"""
        decorator = type(self).__name__
        original = inspect.unwrap(function)
        hints = typing.get_type_hints(original, include_extras=True)
        if is_parallel(hints.get("return")):
            raise messages.is_parallelizable(original.__name__, decorator)
        if not inspect.isgeneratorfunction(original):
            raise messages.not_a_generator(original.__name__, decorator)
        result = _result_type(hints.get("return"))
        if result is None:
            raise messages.no_result_type(original.__name__, decorator)

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return self._run(function(*args, **kwargs), original.__name__)

        # A copy: `wraps` lets both have the same.
        wrapper.__annotations__ = {**hints, "return": result}
        signature = inspect.signature(original)
        parameters = [
            each.replace(annotation=hints.get(each.name, each.annotation))
            for each in signature.parameters.values()
        ]
        wrapper.__signature__ = signature.replace(  # type: ignore[attr-defined]  # inspect's own
            parameters=parameters, return_annotation=result
        )
        return self.modify_function(wrapper)

    def _run(self, generator: Any, name: str) -> Any:
        """What a node returns, each of its yields answered."""
        if not isinstance(generator, GeneratorType):
            return generator  # a cache below has the result
        call = current_call(name)
        where = f"node `{call.node}`"
        with calling(call):
            return self._answered(generator, where)

    def _answered(self, generator: Any, where: str) -> Any:
        """What a node returns."""
        try:
            config = next(generator)
            while True:
                try:
                    answer = self.do(self.validate_config(config, where))
                except Exception as error:
                    # The node may know what to do about it.
                    config = generator.throw(error)
                else:
                    config = generator.send(answer)
        except StopIteration as end:
            return end.value


def _takes_values(decorator: type) -> bool:
    """Whether something other than keywords is said in the brackets of a decorator."""
    if decorator.__init__ is object.__init__:  # type: ignore[misc]  # of the class
        return False
    _, *parameters = inspect.signature(decorator.__init__).parameters.values()  # type: ignore[misc]  # of the class
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    return any(each.kind not in kinds and each.name != "function" for each in parameters)


def _result_type(annotation: Any) -> Any:
    """What a node returns; None: it does not say."""
    if typing.get_origin(annotation) in _GENERATORS:
        words = typing.get_args(annotation)
        return words[2] if len(words) == 3 else None
    return annotation


class submit(YieldDecorator):  # noqa: N801  # it is used as a decorator
    """A node of which each yield is a job of a scheduler.

    alias: of the system. kind: its type, `slurm`, `pbs`, `sge`, `local`, where it is first used
    and `hpcmake.toml` does not say. cluster: its settings, as in `hpcmake.toml`. options: what
    its jobs ask for unless a node says otherwise; also for later uses of the alias.
    """

    def __init__(
        self,
        alias: str = "",
        kind: str = "",
        *,
        cluster: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(alias, str) or not alias:
            raise messages.no_alias()
        if cluster is not None and not isinstance(cluster, Mapping):
            raise messages.not_settings(alias, cluster)
        self.alias = alias
        self._options = wish_of(options, f'`@submit("{alias}")`')
        described = self._options if kind or cluster else Wish("")
        systems.describe(alias, kind, cluster or {}, described)

    def validate_config(self, config: Any, where: str) -> Wish:
        """What a config asks for, over what the system has for all. Raises: HpcmakeError"""
        asked = wish_of(super().validate_config(config, where), where)
        wish = over(over(systems.defaults(self.alias), self._options), asked)
        if wish.get("cmd") is None:
            raise messages.no_command(where)
        return wish

    def do(self, config: Wish) -> JobInfo:
        """Submit a job, and wait for it unless `block` says otherwise. Raises: HpcmakeError"""
        here = desk()
        systems.check_known(self.alias, here.folder)
        call = current_call()
        order = Order(self.alias, config, call.node, call.inputs, call.turn)
        if config.get("test_only", False):
            job = here.validate(order)
            if job.state == "failed" and config.get("check", True):
                raise messages.not_submitted(job.job, job.message)
            return job
        job = here.submit(order)
        if not config.get("block", True):
            return job
        job = job.wait()
        if not job.ok and config.get("check", True):
            raise JobFailedError(job)
        return job

    def modify_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Tag the node, and let it know what became of its files."""
        return tagged(function, "hpc.cluster", self.alias)


class cmdline(YieldDecorator):  # noqa: N801  # it is used as a decorator
    """A node of which each yield is a command on this machine.

    options: for all its commands, unless the node says otherwise.
    """

    words = ("cmd", "work_dir", "env", "inputs", "outputs", "block", "check", "name")

    def __init__(
        self,
        function: Callable[..., Any] | None = None,  # noqa: ARG002  # without brackets; see `__new__`
        /,
        **options: Any,
    ) -> None:
        self._options = self._wish(options, "`@cmdline`")

    def _wish(self, config: Mapping[str, Any], where: str) -> Wish:
        wish = wish_of(config, where)
        for word in wish.values:
            if word not in self.words:
                raise messages.unknown_keyword(word, f"{where} under `@cmdline`", self.words)
        return wish

    def validate_config(self, config: Any, where: str) -> Wish:
        """What a config asks for. Raises: HpcmakeError"""
        asked = self._wish(super().validate_config(config, where), where)
        wish = over(self._options, asked)
        if wish.get("cmd") is None:
            raise messages.no_command(where)
        return wish

    def do(self, config: Wish) -> Any:
        """Run a command: a `CompletedProcess`, or with `block=False` a future of one."""
        if not config.get("outputs"):
            return run_command(config, nullcontext())
        call = current_call()
        order = Order("cmdline", config, call.node, call.inputs, call.turn)
        return run_command(config, recorded(order))

    def modify_function(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Tag the node, so that an execution manager can tell where it is to run."""
        return tagged(function, "cmdline", "true")


__all__ = ["YieldDecorator", "cmdline", "submit"]
