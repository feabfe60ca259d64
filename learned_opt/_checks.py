"""What the fields of an optimizer may hold, and how a wrong value is shown: in one sentence."""

import dataclasses
import math
import os
from typing import Any

import jax.numpy as jnp

WIDTH = (1, 16_384)
"""Of a layer or a memory: far more than has been meta-trained, far less than fills a machine."""

DEPTH = (1, 64)
STEP = (1e-12, 1e6)
"""Of a step size or of what multiplies one."""

MOMENTA = ("float32", "bfloat16")
"""Dtypes in which momenta can be kept."""


def check_fields(optimizer: Any, **allowed: tuple[Any, ...] | None) -> None:
    """Check a dataclass of booleans, numbers and strings, from its `__post_init__`.

    Args:
      optimizer: the dataclass.
      allowed: for each field that is no boolean: of a number the lowest and the highest, of a
        string all there are, or None for any. An integer will do for a float, a boolean for none.

    Raises:
      ValueError: names the first field whose value is of another type, not finite or not allowed.
    """
    for field in dataclasses.fields(optimizer):
        value = getattr(optimizer, field.name)
        rule = None if field.type is bool else allowed[field.name]
        wanted = _wanted(field.type, rule, value)
        if wanted:
            raise ValueError(
                f"{field.name} must be {wanted}, got {shown(value)}; "
                f"leave it out for {shown(field.default)}"
            )


def _wanted(kind: Any, allowed: tuple[Any, ...] | None, value: Any) -> str:
    """What a field of that type must be; "" where `value` is."""
    if kind is bool:
        return "" if isinstance(value, bool) else "True or False"
    if kind is str:
        right = isinstance(value, str) and (allowed is None or value in allowed)
        return "" if right else " or ".join(f'"{x}"' for x in allowed or ()) or "a string"
    low, high = allowed or (-math.inf, math.inf)
    kinds = (int,) if kind is int else (int, float)
    # A NaN is not within.
    right = isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high
    noun = "an integer" if kind is int else "a number"
    return "" if right else f"{noun} from {low} to {high}"


def float_dtype(name: str, argument: str) -> Any:
    """The dtype of accumulators called `name`; a ValueError unless float32 or bfloat16."""
    wanted = _wanted(str, MOMENTA, name)
    if wanted:
        raise ValueError(f"{argument} must be {wanted}, got {shown(name)}")
    return jnp.dtype(name)


def check_path(name: str, value: Any) -> str:
    """`value` as a string; a TypeError unless it is a string or a path."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else value
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a string or a path, got {shown(value)}; pass a file name")
    return text


def name_fault(name: str, what: str, value: str | None) -> str:
    """What is wrong with the name of a file or a folder that a flag gives; "" if nothing is."""
    if value is None or (value and value.isprintable()):
        return ""
    return f"{name} must name a {what} in printable text, got {shown(value)}"


def shown(value: Any, most: int = 80) -> str:
    """`repr(value)` in one line, with its middle left out where it is long."""
    try:
        return one_line(repr(value), most)
    except Exception:  # an integer of more digits than Python writes, a list too deep
        return f"a value of type {type(value).__name__}"


def shown_path(path: str | os.PathLike) -> str:
    """A file name as it is, if that is readable."""
    text = os.fspath(path)
    readable = isinstance(text, str) and text.isprintable() and len(text) <= 500
    return text if readable else shown(text)


def one_line(text: object, most: int = 300) -> str:
    """Anything, such as an error of another package, in one line."""
    line = " ".join(str(text).split()) or type(text).__name__
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= most else f"{line[: most - 20]}...{line[-17:]}"
