"""The layers in which clusters are described: the user, the working folder, the call."""

# Paths are text here.

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from buildhpc.diagnostics import Source, Span
from buildhpc.messages import sites as messages
from buildhpc.schedulers.registry import ADAPTERS
from buildhpc.sites.model import Cluster, Logs
from buildhpc.sites.places import EMPTY, Layer, Place, parse
from buildhpc.sites.settings import cluster_of, installed, is_number, logs_of

FILE = "hpcmake.toml"
OPTION = "--cluster-option"


class Sites:
    """All that is said of clusters, the last layer on top; `files` are where it could be said."""

    def __init__(self, layer: Layer, options: Sequence[_Option], files: Sequence[str]) -> None:
        self._layer = layer
        self._options = options
        self._files = files

    def says(self, alias: str) -> frozenset[str]:
        """The settings of a cluster that are said in files."""
        return frozenset(self._layer.values.get("cluster", {}).get(alias, ()))

    def names(self) -> list[str]:
        """The names of all clusters, those of schedulers first."""
        return list(dict.fromkeys([*ADAPTERS, *self._layer.values.get("cluster", {})]))

    def logs(self) -> Logs:
        """How logs are kept. Raises: HpcmakeError."""
        return logs_of(self._layer)

    def cluster(self, alias: str) -> Cluster:
        """The cluster of a name; that of a scheduler is one without more ado.

        Raises: HpcmakeError.
        """
        said = self._layer.values.get("cluster", {})
        own = any(each.alias == alias and each.name == "scheduler" for each in self._options)
        if not own and alias not in said and alias not in ADAPTERS and not installed(alias):
            raise messages.unknown_cluster(alias, self.names(), self._files)
        layer, partition = self._layer, ""
        for option in self._options:
            if option.alias not in ("", alias):
                continue
            if option.name == "partition" and option.text:
                partition = option.text  # one of those that are described, if any are
            else:
                layer = option.layer(alias).over(layer)
        found = cluster_of(layer, alias)
        return replace(found, partition=partition) if partition else found


def read_sites(folder: str, options: Sequence[str] = (), default: str = "") -> Sites:
    """What is said of clusters in the working folder, below it by the user, above it by options.

    options: NAME=VALUE for the cluster `default`, or, where that is empty, for all; or
    ALIAS.NAME=VALUE. Raises: HpcmakeError.
    """
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    layer = EMPTY
    for path, name in (
        (os.path.join(home, "hpcmake", FILE), ""),
        (os.path.join(folder, FILE), FILE),
    ):
        layer = _file(path, name or path).over(layer)
    files = [f"`{FILE}` here", f"`{os.path.join(home, 'hpcmake', FILE)}`"]
    return Sites(layer, [_option(text, default) for text in options], files)


def _file(path: str, name: str) -> Layer:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return EMPTY
    except OSError as error:
        raise messages.unreadable_site(name, (error.strerror or str(error)).lower()) from None
    except UnicodeDecodeError:
        raise messages.unreadable_site(name, "it is not UTF-8") from None
    layer = parse(name, text)
    _check_top(layer)
    return layer


def _check_top(layer: Layer) -> None:
    for name, value in layer.values.items():
        place = layer.places[(name,)]
        if name not in ("cluster", "logs"):
            raise messages.unknown_section(name, place.key)
        if name == "logs":
            continue  # checked by who reads it
        if not isinstance(value, dict):
            raise messages.wrong_setting(name, "tables, each as `[cluster.NAME]`", place.value)
        for alias, settings in value.items():
            if not isinstance(settings, dict):
                raise messages.wrong_setting(
                    alias, f"a table, `[cluster.{alias}]`", layer.places[(name, alias)].value
                )


class _Option(NamedTuple):
    """A `--cluster-option`. alias: of the cluster it is for; empty: for all."""

    alias: str
    name: str
    text: str
    span: Span

    def layer(self, alias: str) -> Layer:
        value: Any = self.text
        if is_number(self.name):
            value = _number(self.text)
        path = ("cluster", alias, self.name)
        start = self.span.start
        key = Span(self.span.source, start, start + len(self.name))
        values = {"cluster": {alias: {self.name: value}}}
        return Layer(values, {path: Place(key, Span(key.source, key.end + 1, self.span.end))})


def _option(text: str, default: str) -> _Option:
    name, equals, value = text.partition("=")
    alias, dot, last = name.rpartition(".")
    if not equals or not last or (dot and not alias):
        raise messages.bad_cluster_option(text)
    source = Source(OPTION, text)
    return _Option(alias or default, last, value, Span(source, len(name) - len(last), len(text)))


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
