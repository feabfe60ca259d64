"""Parts of a report that are measured beside the runs on its tasks."""

import dataclasses

from ..statistics import Estimate
from ._json import Amount, Count, Curve, Loss, Natural, Positive, Scalar, Steps, Text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trace:
    """One run that was watched: what its steps were like at `steps`."""

    steps: Steps
    update_rms: Curve
    relative: Curve
    effective_lr: Curve
    cosine: Curve

    def __post_init__(self) -> None:
        if {len(curve) for curve in vars(self).values()} != {len(self.steps)}:
            raise ValueError("every curve of a trace must have a value for each of its steps")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CostRow:
    """A step of one optimizer at one load: microseconds, bytes and seconds, see `eval.cost`.

    `network`: name of the load; `tokens`: a step, where it is of text.
    """

    network: str
    kind: Text = "mlp"
    parameters: Count
    tokens: Count | None = None
    batch: Count
    optimizer: str
    step: Positive | None
    spread: Amount | None
    update: Amount | None
    share: Amount | None
    state: Amount | None
    temporary: Amount | None
    update_temporary: Amount | None = None
    compile: Amount | None
    steps: Natural


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceCost:
    """Rows of another device."""

    device: str
    rows: list[CostRow]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What steps cost on the device, and elsewhere if it has others."""

    device: str | None = None
    rows: list[CostRow] = dataclasses.field(default_factory=list)
    elsewhere: list[DeviceCost] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """That a learned optimizer was read on a test suite: when, which, by what code."""

    date: Text
    name: Text
    digest: Text
    code: Text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Readings:
    """Of the suite by others, before this one, see `eval._readings`.

    Attributes:
      before: in their order.
      damaged: lines that count a reading, but of which nobody knows.
      counted: whether this one is counted too.
    """

    before: list[Reading]
    damaged: Natural = 0
    counted: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridCell:
    """One cell of the generalisation grid, see `eval.grid`."""

    axis: Text
    value: Scalar
    task: str
    horizon: Count | None = None
    told: Positive = 1.0
    learned: Loss = None
    retuned: Estimate | None
    transferred: Estimate | None
    over_retuned: Estimate | None = None
    over_transferred: Estimate | None = None
    seeds: Natural
    diverged: Natural
    diverged_retuned: Natural | None = None
    diverged_transferred: Natural | None = None
    lr_retuned: Loss = None
    lr_transferred: Loss = None
    trials: Natural | None = None
    at_edge: bool | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetaTraining:
    """Loss on held-out tasks along meta-training, where the artifact kept it.

    `valid_error`: half of the 95 % interval of each.
    """

    outer_steps: list[Natural] | None = None
    valid_loss: Curve | None = None
    valid_error: Curve | None = None

    def __post_init__(self) -> None:
        steps = len(self.outer_steps or [])
        if steps != len(self.valid_loss or []):
            raise ValueError("valid_loss must have a value for each of outer_steps")
        if self.valid_error is not None and steps != len(self.valid_error):
            raise ValueError("valid_error must have a value for each of outer_steps")
