"""Intervals over seeds by the bootstrap: ratios of losses, the chance of an improvement.

Intervals and their estimators: Agarwal et al. 2021, "Deep reinforcement learning at the edge of
the statistical precipice". They say how much the numbers would move with other seeds on the same
tasks; they say nothing about other tasks.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 10_000
DIVERGED = 1_000.0
"""The loss ratio that a diverged run counts as where ratios are not clipped."""

CLIP = 2.0
"""The factor that one pair of runs counts as at most where ratios are clipped."""

SMALLEST = float(np.finfo(np.float32).tiny)
"""The smallest normal float32: what a loss of 0 counts as where a logarithm is taken."""


class Interval(NamedTuple):
    """A point estimate and its 95 % bootstrap interval."""

    mid: float
    low: float
    high: float


def bootstrap(x: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(estimate, 2.5 %, 97.5 %) of a statistic by the stratified percentile bootstrap.

    Each of RESAMPLES resamples draws, for every task, as many seeds as there are, with
    replacement. Differences or ratios of runs that share a seed are paired this way. The draws
    depend on the shape of `x` alone, so two calls with one shape resample the same seeds.

    Args:
      x: (tasks, seeds).
      statistic: (..., tasks, seeds) -> (...).
    """
    tasks, seeds = x.shape
    index = np.random.default_rng(0).integers(0, seeds, (RESAMPLES, tasks, seeds))
    draws = statistic(x[np.arange(tasks)[:, None], index])
    # Nearest: there is nothing between infinities.
    low, high = np.percentile(draws, [2.5, 97.5], method="nearest")
    return np.array([float(statistic(x)), low, high])


def interquartile_mean(x: np.ndarray) -> np.ndarray:
    """Mean of the middle half of all values over the last two axes, edges weighted exactly.

    Infinities in the outer quarters change nothing.

    >>> float(interquartile_mean(np.array([[0.0, 1.0, 3.0, 100.0]])))
    2.0
    """
    flat = np.sort(x.reshape(*x.shape[:-2], -1), axis=-1)
    n = flat.shape[-1]
    first, last = n // 4, -(-3 * n // 4)
    # Weight of the i-th of n values: its overlap with the middle half of [0, n].
    edges = np.clip(np.arange(first, last + 1), n / 4, 3 * n / 4)
    return flat[..., first:last] @ (np.diff(edges) / (n / 2))


def geometric_ratio(ours: ArrayLike, theirs: ArrayLike) -> Interval:
    """Geometric mean of ours / theirs with a paired bootstrap, stratified by task.

    exp(mean over tasks and seeds of log(ours / theirs)).

    Args:
      ours, theirs: losses (tasks, seeds), paired by seed; below SMALLEST they count as that. One
        that is not finite (a diverged run) counts as a factor of 1,000 against its side, and as 1
        if both are.

    Raises:
      ValueError: shapes differ, or a loss is negative.
    """
    return exp_of(_log_ratios(*pair(ours, theirs)), mean)


def clipped_ratio(ours: ArrayLike, theirs: ArrayLike) -> Interval:
    """Mean of ours / theirs in which no pair of runs counts as more than a factor of 2.

    exp(mean over tasks and seeds of clip(log(ours / theirs), -log 2, log 2)), with a paired
    bootstrap, stratified by task. One of n tasks moves the logarithm by log(2) / n at most, however
    near nothing its loss comes.

    Args and errors: see `geometric_ratio`. A diverged run counts as a factor of 2 against its side,
    and as 1 if both are.
    """
    return exp_of(clipped_logs(*pair(ours, theirs)), mean)


def median_ratio(ours: ArrayLike, theirs: ArrayLike) -> Interval:
    """Median over tasks of what `clipped_ratio` is on each, with its bootstrap interval.

    Args and errors: see `clipped_ratio`.
    """
    return exp_of(clipped_logs(*pair(ours, theirs)), lambda x: np.median(x.mean(-1), -1))


def clipped_logs(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """clip(log(ours / theirs), -log 2, log 2), element by element, for losses of one shape.

    Raises:
      ValueError: a loss is negative.
    """
    return np.clip(_log_ratios(ours, theirs), -np.log(CLIP), np.log(CLIP))


def _log_ratios(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """log(ours / theirs); of a diverged run as of a ratio of DIVERGED, of two as of 1."""
    ours, theirs = (above_zero(or_inf(x), "losses") for x in (ours, theirs))
    lost, won = np.isinf(ours), np.isinf(theirs)
    ratio = np.log(np.where(lost, 1.0, ours)) - np.log(np.where(won, 1.0, theirs))
    return np.where(lost | won, np.log(DIVERGED) * (lost.astype(float) - won), ratio)


def exp_of(logs: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> Interval:
    """exp of a statistic of logarithms (tasks, seeds), and of the ends of its interval."""
    return Interval(*np.exp(bootstrap(logs, statistic)).tolist())


def mean(x: np.ndarray) -> np.ndarray:
    """Over the last two axes."""
    return x.mean((-2, -1))


def probability_of_improvement(ours: ArrayLike, theirs: ArrayLike) -> Interval:
    """Mean over tasks of P(ours < theirs) for two runs of seeds drawn apart; ties count half.

    mean over tasks of (sum over i, j of [ours_i < theirs_j] + [ours_i = theirs_j] / 2) / seeds^2,
    the Mann-Whitney U-statistic as published: every run of ours meets every run of theirs, so
    the pairing by seed is not used, and each side is resampled on its own. Where pairs are alike
    this makes the interval too wide, never too narrow.

    Args:
      ours, theirs: losses or times (tasks, seeds); one that is not finite is worse than any that
        is, and two such tie.

    Raises:
      ValueError: shapes differ.
    """
    ours, theirs = pair(ours, theirs)
    a, b = ours[:, :, None], theirs[:, None, :]
    wins = (a < b) + 0.5 * (a == b)
    (tasks, seeds), rng = ours.shape, np.random.default_rng(0)

    def counts() -> np.ndarray:
        """How often each seed was drawn: (tasks, RESAMPLES, seeds)."""
        index = rng.integers(0, seeds, (tasks, RESAMPLES, seeds))
        start = seeds * np.arange(tasks * RESAMPLES).reshape(tasks, RESAMPLES, 1)
        return np.bincount((index + start).ravel(), minlength=index.size).reshape(index.shape)

    draws = ((counts() @ wins) * counts()).sum((0, 2)) / (tasks * seeds**2)
    return Interval(float(wins.mean()), *np.percentile(draws, [2.5, 97.5]).tolist())


def or_inf(x: ArrayLike) -> np.ndarray:
    """As floats, infinite where not finite: a diverged run, or a miss."""
    x = np.asarray(x, float)
    return np.where(np.isfinite(x), x, np.inf)


def above_zero(x: ArrayLike, what: str) -> np.ndarray:
    """As they are, but at least SMALLEST.

    Raises:
      ValueError: one is negative; `what` they are is for the message.
    """
    x = np.asarray(x, float)
    if (x < 0).any():
        raise ValueError(
            f"{what} must not be negative, as their logarithm is taken, got {x.min():g}"
        )
    return np.maximum(x, SMALLEST)


def pair(ours: ArrayLike, theirs: ArrayLike, positive: str = "") -> tuple[np.ndarray, np.ndarray]:
    """Both sides as floats (tasks, seeds), infinite where not finite.

    Args:
      positive: what they are if they must be above zero, for the message.

    Raises:
      ValueError: they have not one shape of two axes, or are not positive.
    """
    a, b = or_inf(ours), or_inf(theirs)
    if a.shape != b.shape or a.ndim != 2 or not a.size:
        raise ValueError(
            f"ours and theirs must be arrays (tasks, seeds) of one shape, got {a.shape} and "
            f"{b.shape}; give both sides the same tasks and seeds"
        )
    lowest = min(a.min(), b.min())
    if positive and lowest <= 0:
        raise ValueError(
            f"{positive} must be above zero, as their logarithm is taken, got {lowest:g}"
        )
    return a, b
