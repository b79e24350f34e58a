"""Configuration: files merged in order, then what `--set` says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from buildhpc.diagnostics import Span
from buildhpc.messages import rules as messages


def read_config(path: str, text: str, span: Span | None) -> dict[str, Any]:
    """The mapping a configuration file holds. Raises: HpcmakeError."""
    lower = path.lower()
    if lower.endswith((".yaml", ".yml")):
        value = _yaml(path, text, span)
    elif lower.endswith(".toml"):
        value = _toml(path, text, span)
    elif lower.endswith(".json"):
        value = _json(path, text, span)
    else:
        assert span is not None
        raise messages.unknown_config_format(path, span)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise messages.bad_config(path, "it holds no names with values", span)
    return {str(key): item for key, item in value.items()}


def read_settings(texts: Sequence[str]) -> list[tuple[tuple[str, ...], Any]]:
    """`--set a.b=VALUE`, each as the names and the value, which is read as YAML reads it."""
    settings = []
    for text in texts:
        name, equals, value = text.partition("=")
        keys = tuple(name.strip().split("."))
        if not equals:
            raise messages.bad_setting(text, "there is no `=`")
        if not all(keys):
            raise messages.bad_setting(text, "there is no name before `=`")
        settings.append((keys, _scalar(text, value)))
    return settings


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with `over` on top; mappings are merged, everything else is replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        result[key] = merge(old, value) if both else value  # type: ignore[arg-type]  # both says it
    return result


def apply(config: dict[str, Any], keys: tuple[str, ...], value: Any) -> dict[str, Any]:
    """`config` with the value at `a.b` replaced."""
    nested: Any = value
    for key in reversed(keys):
        nested = {key: nested}
    return merge(config, nested)


def _scalar(text: str, value: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(value) if value.strip() else ""
    except yaml.YAMLError:
        raise messages.bad_setting(text, "the value is not well-formed YAML") from None


def _yaml(path: str, text: str, span: Span | None) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        problem = getattr(error, "problem", None) or "it is not YAML"
        raise messages.bad_config(path, f"{problem}{where}", span) from None
    except (ValueError, RecursionError) as error:
        raise messages.bad_config(path, str(error), span) from None


def _toml(path: str, text: str, span: Span | None) -> Any:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise messages.bad_config(path, str(error)[:1].lower() + str(error)[1:], span) from None


def _json(path: str, text: str, span: Span | None) -> Any:
    import json

    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise messages.bad_config(path, str(error)[:1].lower() + str(error)[1:], span) from None
