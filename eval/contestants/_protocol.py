"""What everyone runs in an evaluation."""

import dataclasses

from learned_opt.tasks import EvalTask

from ..baselines import Hyper

REPORT_SEEDS = tuple(range(100, 110))

BEYOND = 1.5

WRONG_HORIZONS = (0.5, 2.0, 10.0)

UNTUNED = Hyper(1.0)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """What everyone runs.

    Attributes:
      tasks, variants: the latter of these tasks, one thing changed each.
      seeds: of the runs that are reported; tuning uses none of them.
      wrong_horizons: those that the optimizer that is judged is told, over the right one.
      beyond: horizons that it may take to reach a target.
    """

    tasks: tuple[EvalTask, ...]
    variants: tuple[EvalTask, ...] = ()
    seeds: tuple[int, ...] = REPORT_SEEDS
    wrong_horizons: tuple[float, ...] = WRONG_HORIZONS
    beyond: float = BEYOND
