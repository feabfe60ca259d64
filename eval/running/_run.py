"""A training run that was made: the record that everyone reads, and its line in `runs.jsonl`."""

import dataclasses
import functools
import json
import math
import re
from collections.abc import Mapping
from typing import Any

import jax

from learned_opt._checks import shown

from ._keys import STAGES, Identity
from ._schema import CURVE, LONGEST, LOSS, NUMBER, STEPS, TEXT, Rule, integer, number, six_digits
from ._trials import Curve, Trial, eval_steps


def _kept(wanted: str | Rule, right: Any = None, **options: Any) -> Any:
    """A field with what it may hold."""
    rule = wanted if isinstance(wanted, Rule) else Rule(wanted, right)
    return dataclasses.field(metadata={"rule": rule}, **options)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """A training run that was made.

    Attributes are called as the fields of its line in `runs.jsonl`, where the numbers of `final`
    and the entries of `more` are fields too, and "stage" says whether there are curves. A loss or
    a metric that is not finite is infinite here and null there.

    Attributes:
      key: hash of all that it depends on, see `run_key`.
      optimizer, task: by name.
      horizon, lr, weight_decay, cosine, extra, beyond, seed, told: of its `Trial`.
      device, jax: what ran it.
      final: losses and metrics of whole splits at the horizon: "valid_loss", "test_accuracy" ...
      steps: where it was evaluated on the way; empty where the final loss alone is kept.
      train_curve, valid_curve, test_curve: losses at these steps.
      more: fields of its line that this code does not know.
    """

    key: str = _kept(
        "16 hex digits", lambda x: type(x) is str and bool(re.fullmatch("[0-9a-f]{16}", x))
    )
    optimizer: str = _kept("text", lambda x: type(x) is str)
    task: str = _kept(TEXT)
    horizon: int = _kept(integer(1, LONGEST))
    lr: float = _kept(NUMBER)
    weight_decay: float = _kept(NUMBER, default=0.0)
    cosine: float = _kept(NUMBER, default=0.0)
    extra: float = _kept(NUMBER, default=0.0)
    beyond: float = _kept("a number from 1 to 100", number(1, 100), default=1.0)
    seed: int = _kept(integer(0, 2**32 - 1))
    told: float = _kept("a number from 0 to 1e6", number(0, 1e6), default=1.0)
    device: str = _kept(TEXT)
    jax: str = _kept(TEXT)
    final: Mapping[str, float]
    steps: tuple[int, ...] = _kept(STEPS, default=())
    train_curve: tuple[float, ...] = _kept(CURVE, default=())
    valid_curve: tuple[float, ...] = _kept(CURVE, default=())
    test_curve: tuple[float, ...] = _kept(CURVE, default=())
    more: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def valid_loss(self) -> float:
        """Validation loss at the horizon."""
        return self.final["valid_loss"]

    def to_json(self) -> dict[str, Any]:
        """The fields of its line."""
        row: dict[str, Any] = {"key": self.key, "stage": STAGES[bool(self.steps)]}
        row |= {name: getattr(self, name) for name in _FACTS}
        row |= {name: _null(x) for name, x in self.final.items()}
        if self.steps:
            row |= {"steps": list(self.steps)}
            row |= {name: [_null(x) for x in getattr(self, name)] for name in _CURVES}
        return row | dict(self.more)


_RULES: dict[str, Rule] = {
    field.name: field.metadata["rule"]
    for field in dataclasses.fields(Run)
    if "rule" in field.metadata
}
_PREFIXES = ("train_", "valid_", "test_")
_CURVES = tuple(f"{split}curve" for split in _PREFIXES)
_FACTS = tuple(name for name in _RULES if name not in ("key", "steps", *_CURVES))
_STAGE = Rule('"tune" or "report"', lambda x: x in STAGES.values())

ALWAYS = (
    "key", "stage", "valid_loss",
    *(f.name for f in dataclasses.fields(Run)
      if f.name in _FACTS and f.default is dataclasses.MISSING),
)  # fmt: skip
"""Fields of every line."""

REPORTED = ("train_loss", "test_loss", "steps", *_CURVES)
"""Fields of a line with curves, and of no other."""


def run_of(key: str, identity: Identity, trial: Trial, curve: Curve) -> Run:
    """What became of a trial; numbers have six digits."""
    curves: dict[str, Any] = {}
    if curve.test is not None:
        curves["steps"] = tuple(curve.steps.tolist())
        for name, x in zip(_CURVES, (curve.train, curve.valid, curve.test), strict=True):
            curves[name] = tuple(map(_kept_digits, x))
    return Run(
        key=key,
        optimizer=identity.name,
        **trial_fields(trial),
        **machine(),
        final={name: _kept_digits(x) for name, x in curve.final.items()},
        **curves,
    )


def trial_fields(trial: Trial) -> dict[str, Any]:
    """The trial as fields of a run."""
    names = ("lr", "weight_decay", "cosine", "extra")
    return {
        "task": trial.task.name,
        "horizon": trial.task.horizon,
        **dict(zip(names, map(float, trial.hyper), strict=True)),
        **{name: getattr(trial, name) for name in ("beyond", "seed", "told")},
    }


def run_from_json(row: Mapping[str, Any]) -> Run:
    """The run of a line in which `row_fault` finds nothing wrong."""
    facts = {name: row[name] for name in ("key", *_FACTS) if name in row}
    final = {name: _infinite(x) for name, x in row.items() if _is_metric(name)}
    curves: dict[str, Any] = {
        name: tuple(map(_infinite, row[name])) for name in _CURVES if name in row
    }
    known = {"stage", "steps", *facts, *final, *curves}
    more = {name: x for name, x in row.items() if name not in known}
    return Run(**facts, final=final, steps=tuple(row.get("steps", ())), **curves, more=more)


def row_fault(row: Mapping[str, Any]) -> str:
    """What is wrong with a line: "seed must be an integer ..., got -1"; "" if nothing is.

    A field of another name, which nothing reads, is not looked at.
    """
    curves = row.get("stage") == STAGES[True]
    for name in (*ALWAYS, *REPORTED) if curves else ALWAYS:
        if name not in row:
            return f"{name} is missing"
    for name, value in row.items():
        rule = _STAGE if name == "stage" else _RULES.get(name)
        rule = rule or (LOSS if _is_metric(name) else None)
        if rule and not rule.right(value):
            return f"{name} must be {rule.wanted}, got {shown(value, 40)}"
    if not curves:
        extra = next((name for name in REPORTED if name in row), "")
        return f"{extra} is for rows of the stage report" if extra else ""
    steps = row["steps"]
    for name in _CURVES:
        if len(row[name]) != len(steps):
            return f"{name} must have a value for each of {len(steps)} steps, got {len(row[name])}"
    if steps != _due(row["horizon"], row.get("beyond", 1.0)):
        return f"steps must be those of a run of {row['horizon']} steps, got {shown(steps, 40)}"
    return _missing_metric(row)


def line_fault(line: bytes) -> str:
    """What is wrong with a line that holds no run."""
    try:
        row = json.loads(line.decode(), parse_constant=lambda name: None)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        return f"no JSON object can be read, got {shown(line[:99], 40)}"
    return row_fault(row)


@functools.cache
def machine() -> dict[str, str]:
    """What runs a run."""
    return {"device": jax.devices()[0].device_kind, "jax": jax.__version__}


def _is_metric(name: str) -> bool:
    """Whether a field is a number of a whole split, such as `valid_accuracy`."""
    return name.startswith(_PREFIXES) and name not in _CURVES


def _null(x: float) -> float | None:
    return None if x == math.inf else x


def _kept_digits(x: Any) -> float:
    return _infinite(six_digits(x))


def _infinite(x: float | None) -> float:
    return math.inf if x is None else x


def _missing_metric(row: Mapping[str, Any]) -> str:
    """Every split has the metrics of the others."""
    every = sorted({name.partition("_")[2] for name in row if name.startswith(_PREFIXES)})
    lost = [f"{split}{name}" for split in _PREFIXES for name in every if split + name not in row]
    return f"{lost[0]} is missing" if lost else ""


@functools.cache
def _due(horizon: int, beyond: float) -> list[int]:
    """Where a run is evaluated."""
    return eval_steps(horizon, beyond).tolist()
