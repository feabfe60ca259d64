"""Performance profiles of times to target: which share of tasks is solved how close to the best.

Dolan & More 2002, "Benchmarking optimization software with performance profiles"; Dahl et al.
2023, "Benchmarking neural network training algorithms" (AlgoPerf): area and gates by variants.
"""

import numpy as np
from numpy.typing import ArrayLike

from ._bootstrap import or_inf

SLOWEST = 4.0
"""The ratio to the best time from which on a task counts as missed."""


def typical_time(times: ArrayLike) -> np.ndarray:
    """The step by which half of the seeds, rounded up, had reached the target: (...).

    The lower median over the last axis. Half of the target-setter's own runs reach a target that
    is the median of its losses; the usual median of their times, between the last hit and the
    first miss, would be infinite.

    Args:
      times: (..., seeds); inf or NaN for a miss.
    """
    ordered = np.sort(or_inf(times), axis=-1)
    return ordered[..., (ordered.shape[-1] - 1) // 2]


def time_ratios(times: ArrayLike) -> np.ndarray:
    """r = typical time over the lowest among optimizers on that task; inf for a miss.

    Args:
      times: steps to target (optimizers, tasks, seeds), all optimizers there are: r depends on
        who takes part. inf or NaN for a miss.

    Returns: (optimizers, tasks), 1 for the best, inf for all if none reached the target.

    Raises:
      ValueError: a time is zero or negative.
    """
    typical = typical_time(times)
    if typical.min() <= 0:
        raise ValueError(f"steps to target must be above zero, got {typical.min():g}")
    best = typical.min(0)
    return typical / np.where(np.isfinite(best), best, 1.0)


def profile(ratios: ArrayLike, tau: ArrayLike) -> np.ndarray:
    """rho(tau), the share of tasks with r <= tau: (..., points).

    Args:
      ratios: (..., tasks).
      tau: (points,).
    """
    return (np.asarray(ratios)[..., None] <= np.asarray(tau)).mean(-2)


def area(ratios: ArrayLike) -> np.ndarray:
    """B = mean over tasks of clip((4 - r) / 3, 0, 1) = integral of rho over [1, 4] / 3: (...).

    Exact: each task with r in [1, 4] adds a step of length 4 - r to the integral. 1: best on every
    task. 0: never within four times the best.

    Args:
      ratios: (..., tasks), inf or NaN for a miss.

    >>> float(area([1.0, 2.5, np.inf]))
    0.5
    """
    return np.clip((SLOWEST - or_inf(ratios)) / (SLOWEST - 1), 0, 1).mean(-1)


def gated(ratios: ArrayLike, variants: ArrayLike) -> np.ndarray:
    """Ratios where a task is missed, r = inf, unless each of its variants has r <= 4.

    A variant is the task with another width, activation, initial scale or loss scale. Its r
    compares times on the variant itself, to the variant's own target, and is inf where the
    optimizer diverged. `area` of the result is the gated B.

    Args:
      ratios: (optimizers, tasks).
      variants: (variants, optimizers, tasks) time ratios, inf or NaN where it diverged.
    """
    passed = (np.asarray(variants) <= SLOWEST).all(0)
    return np.where(passed, ratios, np.inf)


def oracle(losses: ArrayLike) -> np.ndarray:
    """Index of the baseline with the lowest median loss on each task: (tasks,).

    `x[oracle(losses), np.arange(tasks)]` are the oracle's values (tasks, seeds) of any x
    (baselines, tasks, seeds). The oracle is nobody's optimizer: it is chosen by the very runs
    that it reports, so its losses are too low on average (the more so the more baselines and the
    fewer seeds), in favour of the baselines.

    Args:
      losses: (baselines, tasks, seeds); one that is not finite is worse than any that is.
    """
    return np.median(or_inf(losses), axis=-1).argmin(0)
