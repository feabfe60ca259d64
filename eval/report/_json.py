"""Dataclasses to JSON and back: the types of their fields are the schema of the file."""

import dataclasses
import functools
import types
import typing
from typing import Annotated, Any, Literal

from learned_opt._checks import shown

from ..running import CURVE, LOSS, STEPS, TEXT, Rule

Text = Annotated[str, TEXT]
Count = Annotated[int, Rule("a positive integer", lambda x: type(x) is int and x > 0)]
Natural = Annotated[int, Rule("an integer from 0", lambda x: type(x) is int and x >= 0)]
Amount = Annotated[
    float, Rule("a number from 0", lambda x: type(x) in (int, float) and 0 <= x <= 1e300)
]
Positive = Annotated[
    float, Rule("a number above 0", lambda x: type(x) in (int, float) and 0 < x <= 1e300)
]
Loss = Annotated[float | None, LOSS]
Curve = Annotated[list[float | None], CURVE]
Steps = Annotated[list[int], STEPS]
Scalar = Annotated[
    float | str,
    Rule("a finite number or text", lambda x: TEXT.right(x) or (x is not None and LOSS.right(x))),
]

_PLAIN = {
    str: Rule("text", lambda x: type(x) is str),
    bool: Rule("true or false", lambda x: type(x) is bool),
    int: Rule("an integer", lambda x: type(x) is int),
    float: Rule("a finite number", lambda x: x is not None and LOSS.right(x)),
    dict: Rule("an object", lambda x: type(x) is dict),
    list: Rule("a list", lambda x: type(x) is list),
}


def as_json(part: Any) -> Any:
    """A part of a report as JSON types."""
    if dataclasses.is_dataclass(part):
        return {
            field.name: as_json(value)
            for field in dataclasses.fields(part)
            if (value := getattr(part, field.name)) is not None or field.default is not None
        }
    if isinstance(part, dict):
        return {name: as_json(value) for name, value in part.items()}
    return [as_json(value) for value in part] if isinstance(part, list) else part


def from_json(kind: Any, value: Any, where: str = "") -> Any:
    """JSON as the dataclass `kind`, or as the type of one of its fields.

    A field that is missing has its default; one that the dataclass does not have is left out.

    Raises:
      ValueError: names the first entry that is missing or not of its type.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _checked(inner[1], value, where)
    if origin in (types.UnionType, typing.Union):  # with None
        return None if value is None else from_json(inner[0], value, where)
    if origin is Literal:
        return _checked(Rule(" or ".join(map(repr, inner)), lambda x: x in inner), value, where)
    if origin is list:
        return [
            from_json(inner[0], item, f"{where}.{_name(item, i)}")
            for i, item in enumerate(_checked(_PLAIN[list], value, where))
        ]
    if origin is dict:
        entries = _checked(_PLAIN[dict], value, where).items()
        if inner[1] is Any:
            return value
        return {key: from_json(inner[1], item, f"{where}.{key}") for key, item in entries}
    if not dataclasses.is_dataclass(kind):
        return _checked(_PLAIN[kind], value, where)
    found = _checked(_PLAIN[dict], value, where)
    inside, hints = f"{where}." if where else "", _hints(kind)
    made = {
        name: from_json(hint, found[name], inside + name)
        for name, hint in hints.items()
        if name in found
    }
    for field in dataclasses.fields(kind):
        if field.name not in made and field.default is field.default_factory:  # it has neither
            raise ValueError(f"{inside}{field.name} is missing")
    try:
        return typing.cast(Any, kind)(**made)
    except ValueError as error:  # of its own checks
        raise ValueError(f"{inside}{error}") from None


def field_from_json(kind: type, name: str, value: Any) -> Any:
    """JSON as the field `name` of the dataclass `kind`; errors as those of `from_json`."""
    return from_json(_hints(kind)[name], value, name)


_hints = functools.cache(functools.partial(typing.get_type_hints, include_extras=True))


def _checked(rule: Rule, value: Any, where: str) -> Any:
    if not rule.right(value):
        raise ValueError(f"{where} must be {rule.wanted}, got {shown(value, 40)}")
    return value


def _name(item: Any, index: int) -> Any:
    """Of an entry of a list: its own, where it has one."""
    name = item.get("name") if isinstance(item, dict) else None
    return name if TEXT.right(name) else index
