"""Frozen dataclasses <-> TOML tables, with errors that name the cure."""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class ConfigError(ValueError):
    """The configuration is wrong; the message says where, what came and what was expected."""


def load_table(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """A TOML file as a dict, with overrides applied in turn.

    They are "section.key=value", or "section={key=value, ...}" in place of the whole section.
    """
    try:
        table = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    for override in overrides:
        key, equals, text = override.partition("=")
        *sections, name = key.strip().split(".")
        value = _parse(text.strip())
        if not equals or not (sections or isinstance(value, dict)):
            raise ConfigError(
                f"--set expects section.key=value or section={{key=value, ...}}, got {override!r}"
            )
        target = table
        for section in sections:
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                raise ConfigError(f"{section} must be a section, got {target!r}")
        target[name] = value
    return table


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text


def pick(known: Mapping[str, type], name: Any, where: str) -> type:
    """The class of that name, or ConfigError."""
    if name not in known:
        raise ConfigError(f"{where} must be one of {', '.join(known)}, got {name!r}")
    return known[name]


def from_dict(
    cls: type, table: dict[str, Any], where: str = "", choices: Mapping[Any, Any] | None = None
) -> Any:
    """Build a dataclass from a dict, checking every name and type.

    Args:
      choices: for a field's type, the tuple of classes among which the key `name` of its section
        chooses; the first is the default.
    """
    hints = typing.get_type_hints(cls)
    known = {field.name for field in dataclasses.fields(cls)}
    values = {}
    for key, value in table.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            kind = "key" if where else "section"
            hint = f"; did you mean {where}{close[0]}?" if close else ""
            raise ConfigError(f"unknown {kind} {where}{key}{hint}")
        values[key] = _convert(hints[key], value, f"{where}{key}", choices or {})
    try:
        return cls(**values)
    except ConfigError:
        raise
    except ValueError as error:
        names_a_key = str(error).partition(" ")[0].partition(",")[0] in known
        colon = "" if names_a_key else ": "
        raise ConfigError(
            f"{where if names_a_key else where.removesuffix('.')}{colon}{error}"
        ) from error


def to_dict(value: Any) -> Any:
    """JSON types, with the names of what was chosen by name; `from_dict` is its inverse."""
    if dataclasses.is_dataclass(value):
        fields = {f.name: to_dict(getattr(value, f.name)) for f in dataclasses.fields(value)}
        name = getattr(value, "name", None)
        return fields if name is None or "name" in fields else {"name": name, **fields}
    if isinstance(value, dict):
        return {key: to_dict(item) for key, item in value.items()}
    return [to_dict(item) for item in value] if isinstance(value, list | tuple) else value


def _convert(hint: Any, value: Any, name: str, choices: Mapping[Any, Any]) -> Any:
    if hint in choices:
        table = dict(_section(value, name))
        known = {cls.name: cls for cls in choices[hint]}
        cls = pick(known, table.pop("name", next(iter(known))), f"{name}.name")
        return from_dict(cls, table, f"{name}.")
    if dataclasses.is_dataclass(hint):
        section = _section(value, name)
        return from_dict(typing.cast(type, hint), section, f"{name}.", choices)
    if typing.get_origin(hint) is dict:
        return _section(value, name)
    if typing.get_origin(hint) is typing.Literal:
        if value not in typing.get_args(hint):
            known = ", ".join(map(repr, typing.get_args(hint)))
            raise ConfigError(f"{name} must be one of {known}, got {value!r}")
        return value
    if isinstance(hint, types.GenericAlias):
        return _list(hint, value, name, choices)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ConfigError(f"{name} must be of type {hint.__name__}, got {value!r}")
    return value


def _list(hint: types.GenericAlias, value: Any, name: str, choices: Mapping[Any, Any]) -> Any:
    parts = typing.get_args(hint)
    if parts[-1] is Ellipsis:
        if not isinstance(value, list):
            raise ConfigError(f"{name} must be a list, got {value!r}")
        parts = parts[:1] * len(value)
    if not isinstance(value, list) or len(value) != len(parts):
        raise ConfigError(f"{name} must be a list of {len(parts)} numbers, got {value!r}")
    pairs = enumerate(zip(parts, value, strict=True))
    tables = any(dataclasses.is_dataclass(part) for part in parts)
    return tuple(
        _convert(part, v, f"{name}[{i}]" if tables else name, choices) for i, (part, v) in pairs
    )


def _section(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{name} must be a section, got {value!r}")
    return value
