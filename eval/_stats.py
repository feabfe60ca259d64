"""Statistics of an evaluation, in NumPy.

Paired, stratified bootstrap and interquartile mean: Agarwal et al. 2021, "Deep reinforcement
learning at the edge of the statistical precipice". Time to target: Dahl et al. 2023, AlgoPerf.
"""

from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
SPEEDUP_CLIP = 2.0


class Interval(NamedTuple):
    """A point estimate and its 95 % bootstrap interval."""

    mid: float
    low: float
    high: float


def geometric_ratio(ours: np.ndarray, theirs: np.ndarray) -> Interval:
    """Geometric mean of ours / theirs with a paired bootstrap, stratified by task.

    Args:
      ours, theirs: positive losses (tasks, seeds), paired by seed. Infinite ones (diverged runs)
        count as a factor of 1,000 against the side that diverged, 1 if both did.
    """
    ratio = np.log(_finite(ours)) - np.log(_finite(theirs))
    ratio = np.where(np.isinf(ours) & np.isinf(theirs), 0.0, ratio)
    ratio = np.where(np.isinf(ours) & np.isfinite(theirs), np.log(1000.0), ratio)
    ratio = np.where(np.isfinite(ours) & np.isinf(theirs), -np.log(1000.0), ratio)
    return Interval(*np.exp(bootstrap(ratio, lambda x: x.mean((-2, -1)))).tolist())


def speedup(ours: np.ndarray, theirs: np.ndarray) -> Interval:
    """2 ** IQM of clip(log2(theirs / ours), -2, 2) with the same bootstrap.

    Args:
      ours, theirs: steps to target (tasks, seeds), inf for a miss; two misses count as equal.
    """
    with np.errstate(invalid="ignore"):
        score = np.log2(theirs) - np.log2(ours)
    score = np.where(np.isinf(ours) & np.isinf(theirs), 0.0, score)
    score = np.clip(score, -SPEEDUP_CLIP, SPEEDUP_CLIP)
    return Interval(*np.exp2(bootstrap(score, interquartile_mean)).tolist())


def interquartile_mean(x: np.ndarray) -> np.ndarray:
    """Mean of the middle half of all values over the last two axes, edges weighted exactly."""
    flat = np.sort(x.reshape(*x.shape[:-2], -1), axis=-1)
    n = flat.shape[-1]
    # Weight of the i-th of n values: its overlap with the middle half of [0, n].
    edges = np.arange(n + 1)
    inside = np.clip(edges, n / 4, 3 * n / 4)
    weights = np.diff(inside) / (n / 2)
    return flat @ weights


def bootstrap(x: np.ndarray, statistic) -> np.ndarray:
    """(estimate, 2.5 %, 97.5 %) of a statistic over (tasks, seeds), resampling seeds in a task."""
    tasks, seeds = x.shape
    rng = np.random.default_rng(0)
    index = rng.integers(0, seeds, (RESAMPLES, tasks, seeds))
    draws = statistic(x[np.arange(tasks)[:, None], index])
    low, high = np.percentile(draws, [2.5, 97.5])
    return np.array([float(statistic(x)), low, high])


def steps_to_target(steps: np.ndarray, losses: np.ndarray, target: float) -> np.ndarray:
    """The first of `steps` (points,) at which `losses` (..., points) <= target; inf if none."""
    hit = losses <= target
    return np.where(hit.any(-1), steps[hit.argmax(-1)].astype(float), np.inf)


def _finite(x: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(x), x, 1.0)
