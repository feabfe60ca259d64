"""The part of a report on tasks of one's own: what was planned for them."""

import dataclasses

from ._json import Amount, Count, Natural


@dataclasses.dataclass(frozen=True, kw_only=True)
class Own:
    """How much was run.

    Attributes:
      budget: seconds that were asked for, None without one.
      level: chosen, 1 for the most of `levels`; None where all was asked for.
      settings: that tuning tried of a row; None: its whole grid. On `tune_seeds` seeds each.
      multipliers: of the learned optimizer's step that were tried.
      left_out: what is less than in a whole evaluation, in words.
      runs, seconds: planned.
    """

    budget: Amount | None = None
    level: Count | None = None
    levels: Count
    settings: Natural | None = None
    tune_seeds: Count
    multipliers: Count
    left_out: list[str] = dataclasses.field(default_factory=list)
    runs: Natural
    seconds: Amount
