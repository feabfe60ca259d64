"""The part of a report on equal budgets: what so many trials buy."""

import dataclasses

from ..statistics import Estimate
from ._json import Count, Positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class BudgetPoint:
    """`loss` at the best of so many `trials`, over the headline baseline's tuned in full."""

    trials: Count
    loss: Estimate


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budgets:
    """Optimizer -> what its trials buy; those of "learned" are the `multipliers` of its step.

    Attributes:
      multipliers: in the order tried, the first of them 1.
      settings: optimizer -> settings that its tuning tried on a task, fewest and most.
    """

    rows: dict[str, list[BudgetPoint]]
    multipliers: list[Positive]
    settings: dict[str, list[Count]]

    def __post_init__(self) -> None:
        if not any(self.rows.values()):
            raise ValueError("rows must be points of one optimizer or more, got none")
        if any(len(ends) != 2 for ends in self.settings.values()):
            raise ValueError("settings must be pairs, of the fewest and of the most")
