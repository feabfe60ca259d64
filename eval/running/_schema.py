"""What a field of a file of ours may hold, in words and as a check."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

LONGEST = 10**9
"""Steps of a run at most."""


class Rule(NamedTuple):
    """What a field may hold, in words and as a check."""

    wanted: str
    right: Callable[[Any], bool]


def number(low: float, high: float) -> Callable[[Any], bool]:
    """Whether a value is a number from `low` to `high`."""
    # By type: True and False are integers of Python's.
    return lambda x: type(x) in (int, float) and low <= x <= high


def integer(low: int, high: int) -> Rule:
    """An integer from `low` to `high`."""
    return Rule(f"an integer from {low} to {high}", lambda x: type(x) is int and low <= x <= high)


def _text(x: Any) -> bool:
    return type(x) is str and 0 < len(x) <= 1000 and x.isprintable()


_finite = number(-1e300, 1e300)


def _curve(x: Any) -> bool:
    kinds = set(map(type, x)) if type(x) is list else {list}
    if not kinds <= {float, int, type(None)}:
        return False
    try:  # a sum is finite where all are
        return abs(sum(x if type(None) not in kinds else [y or 0 for y in x])) <= 1e300
    except OverflowError:  # an integer that no float holds
        return False


def _steps(x: Any) -> bool:
    if type(x) is not list or not x or set(map(type, x)) != {int}:
        return False
    return x[0] >= 1 and x[-1] <= 100 * LONGEST and all(map(int.__lt__, x, x[1:]))


NUMBER = Rule("a finite number", _finite)
LOSS = Rule("a finite number or null", lambda x: x is None or _finite(x))
TEXT = Rule("printable text", _text)
CURVE = Rule("a list of finite numbers and nulls", _curve)
STEPS = Rule("a list of increasing positive integers", _steps)


def six_digits(x: Any) -> float | None:
    """Six significant digits; None, JSON's null, where not finite."""
    return float(f"{x:.6g}") if math.isfinite(x := float(x)) else None
