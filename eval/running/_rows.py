"""The rows of `runs.jsonl`: what each field holds, how a row is made, and what is read of it."""

import functools
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from learned_opt._checks import shown

from ._keys import Identity, machine, row_fields
from ._trials import Curve, Trial, eval_steps

LONGEST = 10**9
"""Steps of a run at most."""


class Rule(NamedTuple):
    """What a field may hold, in words and as a check."""

    wanted: str
    right: Callable[[Any], bool]


def _number(low: float, high: float) -> Callable[[Any], bool]:
    # By type: True and False are integers of Python's.
    return lambda x: type(x) in (int, float) and low <= x <= high


def _text(x: Any) -> bool:
    return type(x) is str and 0 < len(x) <= 1000 and x.isprintable()


_finite = _number(-1e300, 1e300)


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


_HEX = re.compile("[0-9a-f]{16}").fullmatch
NUMBER = Rule("a finite number", _finite)
LOSS = Rule("a finite number or null", lambda x: x is None or _finite(x))
TEXT = Rule("printable text", _text)
CURVE = Rule("a list of finite numbers and nulls", _curve)
STEPS = Rule("a list of increasing positive integers", _steps)

ALWAYS = {
    "key": Rule("16 hex digits", lambda x: type(x) is str and bool(_HEX(x))),
    "stage": Rule('"tune" or "report"', lambda x: x in ("tune", "report")),
    "optimizer": Rule("text", lambda x: type(x) is str),
    "task": TEXT,
    "seed": Rule(
        "an integer from 0 to 4294967295", lambda x: type(x) is int and 0 <= x < 2**32
    ),
    "device": TEXT,
    "jax": TEXT,
    "valid_loss": LOSS,
}  # fmt: skip
"""Fields of every row."""

SETTINGS = {
    "horizon": Rule(
        f"an integer from 1 to {LONGEST}", lambda x: type(x) is int and 1 <= x <= LONGEST
    ),
    "lr": NUMBER,
    "weight_decay": NUMBER,
    "cosine": NUMBER,
    "extra": NUMBER,
    "told": Rule("a number from 0 to 1e6", _number(0, 1e6)),
    "beyond": Rule("a number from 1 to 100", _number(1, 100)),
}  # fmt: skip
"""Fields that rows from before they were there lack: who asks for a run puts them into the row."""

REPORTED = {
    "train_loss": LOSS,
    "test_loss": LOSS,
    "steps": STEPS,
    "train_curve": CURVE,
    "valid_curve": CURVE,
    "test_curve": CURVE,
}
"""Fields of the stage "report", and of no other."""

METRICS = tuple(f"{split}_" for split in ("train", "valid", "test"))
"""What all other numbers of a row begin with: metrics of whole splits, such as `valid_accuracy`."""

_CURVES = [name for name in REPORTED if name.endswith("_curve")]
_KNOWN = ALWAYS | SETTINGS | REPORTED


def row_fault(row: dict[str, Any]) -> str:
    """What is wrong with a row: "seed must be an integer ..., got -1"; "" if nothing is.

    A field of another name, which nothing reads, is not looked at.
    """
    reports = row.get("stage") == "report"
    for name in ALWAYS if not reports else (*ALWAYS, *REPORTED):
        if name not in row:
            return f"{name} is missing"
    for name, value in row.items():
        rule = _KNOWN.get(name) or (LOSS if name.startswith(METRICS) else None)
        if rule and not rule.right(value):
            return f"{name} must be {rule.wanted}, got {shown(value, 40)}"
    if not reports:
        extra = next((name for name in REPORTED if name in row), "")
        return f"{extra} is for rows of the stage report" if extra else ""
    steps = row["steps"]
    for name in _CURVES:
        if len(row[name]) != len(steps):
            return f"{name} must have a value for each of {len(steps)} steps, got {len(row[name])}"
    if "horizon" in row and "beyond" in row and steps != _due(row["horizon"], row["beyond"]):
        return f"steps must be those of a run of {row['horizon']} steps, got {shown(steps, 40)}"
    return _missing_metric(row)


def line_fault(line: bytes) -> str:
    """What is wrong with a line that holds no row."""
    try:
        row = json.loads(line.decode(), parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        return f"no JSON object can be read, got {shown(line[:99], 40)}"
    return row_fault(row)


def _missing_metric(row: dict[str, Any]) -> str:
    """Every split has the metrics of the others."""
    found = {
        split: {name[len(split) :] for name in row if name.startswith(split)} for split in METRICS
    }
    every = set.union(*found.values())
    lost = [f"{split}{name}" for split in METRICS for name in sorted(every - found[split])]
    return f"{lost[0]} is missing" if lost else ""


@functools.cache
def _due(horizon: int, beyond: float) -> list[int]:
    """Where a run is evaluated."""
    return eval_steps(horizon, beyond).tolist()


def make_row(
    key: str, stage: str, identity: Identity, trial: Trial, curve: Curve
) -> dict[str, Any]:
    """The row of a run, as JSON types; `row_fault` finds nothing wrong with it."""
    row = {
        "key": key,
        "stage": stage,
        "optimizer": identity.name,
        **row_fields(trial),
        **machine(),
        **{name: six_digits(x) for name, x in curve.final.items()},
    }
    if curve.test is not None:
        row |= {
            "steps": curve.steps.tolist(),
            "train_curve": [six_digits(x) for x in curve.train],
            "valid_curve": [six_digits(x) for x in curve.valid],
            "test_curve": [six_digits(x) for x in curve.test],
        }
    return row


def six_digits(x: Any) -> float | None:
    """Six significant digits; None, JSON's null, for a loss that is not finite."""
    return float(f"{float(x):.6g}") if np.isfinite(x) else None


def loss_of(row: dict[str, Any], name: str = "valid_loss") -> float:
    """A loss of a row as a float: not finite counts as infinite."""
    return float("inf") if row[name] is None else row[name]


def curve_of(row: dict[str, Any], name: str = "valid_curve") -> np.ndarray:
    """A loss curve of a row; points that are not finite are infinite."""
    return np.array([np.inf if x is None else x for x in row[name]])
