"""Frozen dataclasses <-> tables of TOML, with errors that name the cure."""

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any

from learned_opt._fields import shown


class ConfigError(ValueError):
    """The configuration is wrong; the message says where, what came and what was expected."""


def pick(known: Mapping[str, type], name: Any, where: str) -> type:
    """The class of that name, or ConfigError."""
    if not isinstance(name, str) or name not in known:
        raise ConfigError(f"{where} must be one of {', '.join(known)}, got {shown(name)}")
    return known[name]


def from_dict(
    cls: type, table: Any, where: str = "", choices: Mapping[Any, Any] | None = None
) -> Any:
    """Build a dataclass from a dict, checking every name and type.

    Args:
      choices: for a field's type, the tuple of classes among which the key `name` of its section
        chooses; the first is the default.
    """
    table, hints = section(table, where.removesuffix(".")), typing.get_type_hints(cls)
    known = {field.name for field in dataclasses.fields(cls)}
    values = {}
    for key, value in table.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            kind = "key" if where else "section"
            hint = f"; did you mean {where}{close[0]}?" if close else ""
            unknown = key if re.fullmatch(r"[\w-]{1,80}", key) else shown(key)
            raise ConfigError(f"unknown {kind} {where}{unknown}{hint}")
        values[key] = _convert(hints[key], value, f"{where}{key}", choices or {})
    try:
        return cls(**values)
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(placed(error, where, known)) from error


def placed(error: Exception, where: str, known: Collection[str] = ()) -> str:
    """An error's message on one line, after the path `where` ("family.options.") of what it is of.

    known: names of fields; a message that begins with one continues the path.
    """
    text = " ".join(str(error).split())
    first = re.match(r"\w*", text)
    continues = not where or (first and first[0] in known)
    return f"{where}{text}" if continues else f"{where.removesuffix('.')}: {text}"


def to_dict(value: Any) -> Any:
    """JSON types, with the names of what was chosen by name; `from_dict` is its inverse.

    A field that is None is left out.
    """
    if dataclasses.is_dataclass(value):
        given = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        fields = {key: to_dict(item) for key, item in given.items() if item is not None}
        name = getattr(value, "name", None)
        return fields if name is None or "name" in fields else {"name": name, **fields}
    if isinstance(value, dict):
        return {key: to_dict(item) for key, item in value.items()}
    return [to_dict(item) for item in value] if isinstance(value, list | tuple) else value


def _convert(hint: Any, value: Any, name: str, choices: Mapping[Any, Any]) -> Any:
    if isinstance(hint, types.UnionType):  # or None, as what is left out
        hint = typing.get_args(hint)[0]
    if hint in choices:
        table = dict(section(value, name))
        known = {cls.name: cls for cls in choices[hint]}
        cls = pick(known, table.pop("name", next(iter(known))), f"{name}.name")
        return from_dict(cls, table, f"{name}.")
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(type, hint), value, f"{name}.", choices)
    if typing.get_origin(hint) is dict:
        return section(value, name)
    if typing.get_origin(hint) is typing.Literal:
        if value not in typing.get_args(hint):
            known = ", ".join(map(repr, typing.get_args(hint)))
            raise ConfigError(f"{name} must be one of {known}, got {shown(value)}")
        return value
    if isinstance(hint, types.GenericAlias):
        return _list(hint, value, name, choices)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ConfigError(f"{name} must be of type {hint.__name__}, got {shown(value)}")
    return value


def _list(hint: types.GenericAlias, value: Any, name: str, choices: Mapping[Any, Any]) -> Any:
    parts = typing.get_args(hint)
    if parts[-1] is Ellipsis:
        if not isinstance(value, list):
            raise ConfigError(f"{name} must be a list, got {shown(value)}")
        parts = parts[:1] * len(value)
    if not isinstance(value, list) or len(value) != len(parts):
        raise ConfigError(f"{name} must be a list of {len(parts)} numbers, got {shown(value)}")
    pairs = enumerate(zip(parts, value, strict=True))
    tables = any(dataclasses.is_dataclass(part) for part in parts)
    return tuple(
        _convert(part, v, f"{name}[{i}]" if tables else name, choices) for i, (part, v) in pairs
    )


def section(value: Any, name: str) -> dict[str, Any]:
    """The value as a table, or ConfigError."""
    if not isinstance(value, dict):
        raise ConfigError(f"{name} must be a section, got {shown(value)}")
    return value
