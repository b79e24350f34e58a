"""Projects made up at random, real on disk and as the model sees them, and edits to them."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import note
from model import File, Model, ModelJob

VALUES = ("a", "b")
SOURCES = ("s0", "s1", "s2")


@dataclass(frozen=True)
class Input:
    """An input of a rule; `{w}` in it is the rule's wildcard. flag: `ancient`, `content` or ""."""

    path: str
    flag: str = ""

    def text(self) -> str:
        return f'{self.flag}("{self.path}")' if self.flag else f'"{self.path}"'


@dataclass(frozen=True)
class RuleSpec:
    """A rule of a random Pipefile. temp: of each output. constant: its bytes hang on nothing."""

    name: str
    wild: bool
    temp: tuple[bool, ...]
    inputs: tuple[Input, ...]
    constant: bool = False
    tag: int = 0
    param: int = 0
    cores: int = 1

    def outputs(self, value: str = "{w}") -> list[str]:
        ending = f".{value}" if self.wild else ""
        return [f"out/{self.name}_{number}{ending}" for number in range(len(self.temp))]

    def paths(self) -> list[str]:
        """All files it makes."""
        return [path for value in self.values() for path in self.outputs(value)]

    def values(self) -> tuple[str, ...]:
        return VALUES if self.wild else ("",)

    def text(self) -> str:
        outputs = [
            f'temp("{path}")' if temp else f'"{path}"'
            for path, temp in zip(self.outputs(), self.temp, strict=True)
        ]
        rest = 'for i in {input}; do echo "$(<$i)"; done' if self.inputs else ":"
        say = f"echo {self.name} {self.tag}" + ("" if self.constant else f" {{params.p}}; {rest}")
        lines = [
            f"rule {self.name}:",
            f"    output: {', '.join(outputs)}",
            f"    input: {', '.join(each.text() for each in self.inputs) or 'none'}",
            f"    params: p = {self.param}",
            f"    cores: {self.cores}",
            "    shell:",
            "        echo {output[0]} >> ran.log",
            "        for o in {output}; do",
            f"            if test -e fail-{self.name}; then echo half > $o; exit 1; fi",
            f"            {{ {say}; }} > $o",
            "        done",
        ]
        return "\n".join(lines) + "\n"

    def jobs(self) -> list[ModelJob]:
        """Its jobs as the model sees them; each is named by its first output."""
        found = []
        for value in self.values():
            outputs = self.outputs(value)
            inputs = [(each.path.replace("{w}", value), each.flag) for each in self.inputs]
            found.append(
                ModelJob(
                    name=outputs[0],
                    outputs=tuple(outputs),
                    inputs=tuple(path for path, _ in inputs),
                    recipe=f"{self.tag} {self.param} {self.constant}",
                    temp=frozenset(p for p, t in zip(outputs, self.temp, strict=True) if t),
                    ancient=frozenset(p for p, flag in inputs if flag == "ancient"),
                    content=frozenset(p for p, flag in inputs if flag == "content"),
                )
            )
        return found

    def make(self, value: str, seen: Mapping[str, bytes]) -> dict[str, bytes]:
        """What its recipe writes."""
        if self.constant:
            data = f"{self.name} {self.tag}\n".encode()
        else:
            parts = [seen[each.path.replace("{w}", value)] for each in self.inputs]
            lines = [part.rstrip(b"\n") + b"\n" for part in parts]
            data = f"{self.name} {self.tag} {self.param}\n".encode() + b"".join(lines)
        return dict.fromkeys(self.outputs(value), data)


class Project:
    """A random project in the current folder, and the model of it.

    pure: nobody changed an output by hand or lost the state: a build gives what a clean one does.
    """

    def __init__(self, rules: list[RuleSpec]) -> None:
        self.rules = rules
        self.model = Model()
        self.pure = True
        self._last_ns = 0
        self._before: dict[str, list[File]] = {}
        self._number = 0
        Path("out").mkdir()
        for source in SOURCES:
            self.write(source, 1_600_000_000_123_456_789)

    def jobs(self) -> list[ModelJob]:
        return [job for rule in self.rules for job in rule.jobs()]

    def tops(self) -> list[str]:
        """The files that no rule reads."""
        jobs = self.jobs()
        used = {path for job in jobs for path in job.inputs}
        return [path for job in jobs for path in job.outputs if path not in used]

    def make(self, name: str, seen: Mapping[str, bytes]) -> dict[str, bytes]:
        """What the job called `name` makes of what it reads."""
        rule, value = self.rule_of(name)
        return rule.make(value, seen)

    def rule_of(self, path: str) -> tuple[RuleSpec, str]:
        return next((r, v) for r in self.rules for v in r.values() if path in r.outputs(v))

    def write_pipefile(self) -> None:
        tops = ", ".join(f'"{path}"' for path in self.tops())
        text = f"rule all:\n    input: {tops}\n" + "".join(rule.text() for rule in self.rules)
        path = Path("Pipefile")
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            note(text)

    def write(self, path: str, mtime_ns: int | None = None, data: bytes | None = None) -> None:
        """Somebody writes a file: other bytes of the same length, at the time given or now."""
        self._number += 1
        data = f"{path} {self._number:05}\n".encode() if data is None else data
        if mtime_ns is None:
            mtime_ns = self._last_ns = max(time.time_ns(), self._last_ns + 1)
        if path in self.model.files:
            self._before.setdefault(path, []).append(self.model.files[path])
        Path(path).write_bytes(data)
        os.utime(path, ns=(mtime_ns, mtime_ns))
        self.model.write(path, data, mtime_ns)

    def edit(self, kind: str, first: int, second: int) -> None:
        """One edit; the numbers choose what of."""
        source = SOURCES[first % len(SOURCES)]
        if kind in ("touch", "rewrite", "older", "undo"):
            self._edit_source(kind, source, second)
        elif kind in ("delete", "by hand"):
            self._edit_output(kind, first)
        elif kind == "forget":
            shutil.rmtree(".hpcmake", ignore_errors=True)
            self.model.memory.clear()
            self.pure = False
        else:
            self._edit_rule(kind, first, second)

    def _edit_source(self, kind: str, path: str, number: int) -> None:
        file = self.model.files[path]
        if kind == "touch":
            self.write(path, data=file.data)
        elif kind == "rewrite":
            self.write(path)
        elif kind == "older":
            self.write(path, 1_500_000_000_000_000_001 + number * 1_000_003 + self._number)
        elif before := self._before.get(path):
            old = before[number % len(before)]
            Path(path).write_bytes(old.data)
            os.utime(path, ns=(old.mtime_ns, old.mtime_ns))
            self.model.files[path] = old

    def _edit_output(self, kind: str, number: int) -> None:
        there = [path for path in self.model.files if path.startswith("out/")]
        if not there:
            return
        path = there[number % len(there)]
        if kind == "delete":
            Path(path).unlink()
            del self.model.files[path]
        else:
            self.write(path)
            self.pure = False

    def _edit_rule(self, kind: str, first: int, second: int) -> None:
        at = first % len(self.rules)
        rule = self.rules[at]
        if kind == "recipe":
            rule = replace(rule, tag=rule.tag + 1)
        elif kind == "params":
            rule = replace(rule, param=rule.param + 1)
        elif kind == "needs":
            rule = replace(rule, cores=1 + second % 3)
        elif kind == "drop input":
            keep = [i for n, i in enumerate(rule.inputs) if n != second % max(1, len(rule.inputs))]
            rule = replace(rule, inputs=tuple(keep))
        elif kind == "add input":
            have = {each.path for each in rule.inputs}
            free = [path for path in choices(self.rules[:at], rule.wild) if path not in have]
            more = (Input(free[second % len(free)]),) if free else ()
            rule = replace(rule, inputs=(*rule.inputs, *more))
        self.rules[at] = rule

    def clean(self, path: str) -> bytes:
        """What a build from nothing gives."""
        if path in SOURCES:
            return self.model.files[path].data
        rule, value = self.rule_of(path)
        inputs = [each.path.replace("{w}", value) for each in rule.inputs]
        return rule.make(value, {each: self.clean(each) for each in inputs})[path]


def choices(earlier: list[RuleSpec], wild: bool) -> list[str]:
    """What a rule behind these rules may read; one with a wildcard may read by wildcard."""
    found = list(SOURCES)
    for rule in earlier:
        found += rule.outputs() if wild and rule.wild else rule.paths()
    return found
