"""Parts of a report on single tasks: results and comparisons, variants, failures."""

import dataclasses
from collections.abc import Sequence

from ..statistics import Comparison
from ._json import Amount, Count, Curve, Loss, Natural, Positive, Steps, Text


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curves:
    """Losses of each split along a run: lower quartile, median and upper quartile over seeds."""

    train: list[Curve]
    valid: list[Curve]
    test: list[Curve]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeedLosses:
    """Final losses, seed by seed."""

    valid: Curve
    test: Curve


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """One optimizer on one task: medians over seeds, curves, and how its setting was chosen.

    Attributes:
      times: rung -> steps to that target, seed by seed; None for a miss.
      diverged: runs that ended with a loss that is not finite.
      hyper: the setting; `trials`: settings tried on this task; `extensions`: how often the grid
        grew; `edge`: half decades from its learning rate to the nearest end of those tried.
      sensitivity: [learning rate, tuning loss at the best other settings].
      best_of: expected best tuning loss of 1, 2, ... of the settings tried.
      step_us: microseconds of a training step.
    """

    train_loss: Loss
    valid_loss: Loss
    test_loss: Loss
    test_accuracy: Loss = None
    valid_quartiles: Curve
    best_valid_loss: Loss
    seed_losses: SeedLosses
    steps: Steps
    curves: Curves
    times: dict[str, Curve]
    diverged: Natural
    hyper: dict[str, Loss]
    trials: Amount
    extensions: Natural
    at_edge: bool
    edge: Natural | None
    tune_loss: Loss
    sensitivity: list[Curve]
    best_of: Curve
    step_us: Positive | None

    def __post_init__(self) -> None:
        for which, curves in vars(self.curves).items():
            if [len(curve) for curve in curves] != 3 * [len(self.steps)]:
                raise ValueError(
                    f"curves.{which} must have a value for each of {len(self.steps)} steps, thrice"
                )
        if "90" not in self.times:
            raise ValueError("times.90 is missing")
        if len(self.valid_quartiles) != 2:
            raise ValueError("valid_quartiles must be two numbers")
        if any(len(pair) != 2 or not _above_zero(pair[0]) for pair in self.sensitivity):
            raise ValueError("sensitivity must be pairs of a learning rate and a loss")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskReport:
    """One task: `leakage`, what meta-training saw of it, and everybody's results."""

    name: Text
    network: str = ""
    datasets: list[str] = dataclasses.field(default_factory=list)
    leakage: Text
    horizon: Count
    parameters: Natural | None = None
    targets: dict[str, Loss] = dataclasses.field(default_factory=dict)
    results: dict[str, Result]
    against: dict[str, Comparison]


def verdicts(tasks: Sequence[TaskReport]) -> dict[str, dict[str, int]]:
    """Optimizer -> on how many tasks the learned one is better, worse, undecided."""
    counts = {}
    for name in tasks[0].against:
        words = [task.against[name].clipped.verdict for task in tasks]
        counts[name] = {word: words.count(word) for word in ("better", "worse", "undecided")}
    return counts


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariantResult:
    """Steps over the fastest's are `slower`; `missed`: the task counts as missed for that."""

    valid_loss: Loss
    diverged: Natural
    slower: Amount | None
    missed: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """A task with one thing changed."""

    name: Text
    of: str
    results: dict[str, VariantResult]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failure:
    """A run on a fresh seed that ended with a loss that is not finite."""

    stage: Text
    task: str
    optimizer: str
    lr: Loss = None
    weight_decay: Loss = None
    cosine: Loss = None
    extra: Loss = None
    seed: Natural | None = None
    told: Loss = None


def _above_zero(x: float | None) -> bool:
    return x is not None and x > 0
