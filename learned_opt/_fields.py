"""Fields of frozen dataclasses whose types say their ranges, and the one check of them all."""

import dataclasses
import functools
import math
import numbers
import typing
from typing import Annotated, Any, Literal, NamedTuple

from ._checks import shown as shown


class Within(NamedTuple):
    """In an `Annotated` type: numbers from `low` to `high`, strings of so many characters.

    Of a tuple it holds for every entry, and the tuple may not be empty.
    """

    low: float
    high: float


Natural = Annotated[int, Within(0, 10**9)]
"""A count that may be 0."""
Count = Annotated[int, Within(1, 10**9)]
"""Of steps."""
Size = Annotated[int, Within(1, 10**6)]
"""Of an array's axis, of a batch, of runs side by side."""
Layers = Annotated[int, Within(1, 1000)]
"""Of what is written out layer by layer in the compiled program."""
Channels = Annotated[tuple[int, ...], Within(1, 10**5)]
Steps = Annotated[int, Within(1, 10**8)]
"""Of a training run."""
Share = Annotated[float, Within(0, 1)]
Positive = Annotated[float, Within(1e-9, 1e9)]
"""Neither it nor its square leaves float32."""
NonNegative = Annotated[float, Within(0, 1e9)]
Rate = Annotated[float, Within(1e-12, 1e3)]
"""A learning rate."""
Line = Annotated[str, Within(0, 1000)]
"""A string; names of things, mostly."""
Range = Annotated[tuple[float, float], Within(1e-12, 1e12)]
"""[low, high] of what is drawn log-uniformly."""
Sizes = Annotated[tuple[float, float], Within(1, 10**6)]
"""[low, high] of what is drawn log-uniformly and rounded to an integer."""
Counts = Annotated[tuple[int, int], Within(1, 10**6)]
"""[low, high] of an integer."""
Width = Annotated[int, Within(1, 16_384)]
"""Of a layer or a memory: far more than has been meta-trained, far less than fills a machine."""
Depth = Annotated[int, Within(1, 64)]
"""Layers of a network for every element."""
Scale = Annotated[float, Within(1e-12, 1e6)]
"""Of a step size or of what multiplies one."""
Weight = Annotated[float, Within(0, 1e3)]
"""Of decay."""
Momenta = Literal["float32", "bfloat16"]
"""Dtypes in which momenta can be kept."""


def check_fields(thing: Any) -> None:
    """ValueError for the first field that is not of its type, not finite, or out of its range.

    To be called in `__post_init__`. A pair of numbers is a range [low, high]; the most that
    `widths` may be is the attribute `max_width`, where there is one.

    Example:
      >>> import dataclasses
      >>> from learned_opt._fields import Size, check_fields
      >>> @dataclasses.dataclass(frozen=True)
      ... class Net:
      ...     hidden: Size = 32
      ...
      ...     def __post_init__(self) -> None:
      ...         check_fields(self)
      >>> Net(0)
      Traceback (most recent call last):
      ValueError: hidden must be from 1 to 1,000,000, got 0
    """
    for name, hint in field_types(type(thing)).items():
        marks = getattr(hint, "__metadata__", ())
        plain = hint.__origin__ if marks else hint
        value = getattr(thing, name)
        bounds = next((mark for mark in marks if isinstance(mark, Within)), None)
        if typing.get_args(plain) in ((float, float), (int, int)):
            most = getattr(thing, f"max_{name.removesuffix('s')}", math.inf)
            _check_pair(name, plain, value, bounds or Within(-math.inf, math.inf), most)
        else:
            _check(name, plain, value, bounds)


@functools.cache
def field_types(cls: type) -> dict[str, Any]:
    """The types of a dataclass's fields by name, such as `Size`."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _check(name: str, hint: Any, value: Any, bounds: Within | None) -> None:
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            known = ", ".join(map(repr, typing.get_args(hint)))
            raise ValueError(f"{name} must be one of {known}, got {shown(value)}")
    elif origin is tuple and typing.get_args(hint)[1:] == (...,):
        _check_type(name, tuple, value)
        if bounds and not 1 <= len(value) <= 1000:
            raise ValueError(f"{name} must have 1 to 1,000 entries, got {len(value)}")
        for i, item in enumerate(value):
            _check(f"{name}[{i}]", typing.get_args(hint)[0], item, bounds)
    elif isinstance(hint, type) and not getattr(hint, "_is_protocol", False):
        _check_type(name, hint, value)
        if hint is str:
            _check_text(name, value, bounds)
        elif hint is float and not -math.inf < value < math.inf:
            raise ValueError(f"{name} must be a finite number, got {value}")
        if bounds and hint in (int, float) and not bounds.low <= value <= bounds.high:
            low, high = _number(bounds.low), _number(bounds.high)
            raise ValueError(f"{name} must be from {low} to {high}, got {shown(value)}")


def _check_type(name: str, hint: type, value: Any) -> None:
    kinds: dict[type, Any] = {int: numbers.Integral, float: numbers.Real}
    right = isinstance(value, kinds.get(hint, hint))
    if not right or (hint in kinds and isinstance(value, bool)):
        raise ValueError(f"{name} must be of type {hint.__name__}, got {shown(value)}")


def _check_text(name: str, value: str, bounds: Within | None) -> None:
    if bounds and not bounds.low <= len(value) <= bounds.high:
        raise ValueError(
            f"{name} must have {bounds.low} to {bounds.high:,} characters, got {len(value):,}"
        )
    strange = [c for c in value if not c.isprintable() and c not in "\n\t"]
    if strange:
        raise ValueError(f"{name} must be text without control characters, got {strange[0]!a}")


def _check_pair(name: str, hint: Any, value: Any, bounds: Within, most: float) -> None:
    kind = typing.get_args(hint)[0]
    if not isinstance(value, tuple) or len(value) != 2:
        raise ValueError(f"{name} must be a pair of numbers, got {shown(value)}")
    for item in value:
        _check_type(name, kind, item)
    least, most = (1 if most < math.inf else bounds.low), min(most, bounds.high)
    if not least <= value[0] <= value[1] <= most:
        got = ", ".join(map(shown, value))
        raise ValueError(
            f"{name} must be [low, high] with {_number(least)} <= low <= high <= {_number(most)}, "
            f"got [{got}]"
        )


def _number(x: float) -> str:
    short = f"{x:,}" if isinstance(x, int) else f"{x:g}"
    return short if isinstance(x, int) or float(short) == x else repr(x)
