"""Time to a target loss, and the speed-up that it implies when some runs never reach the target.

Time to target: Dahl et al. 2023, "Benchmarking neural network training algorithms". Bounds from
what was not observed: Horowitz & Manski 2000, "Nonparametric analysis of randomized experiments
with missing covariate and outcome data". Intervals hold for the targets as they are: resampling
does not move them.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ._bootstrap import Interval, above_zero, bootstrap, interquartile_mean, or_inf, pair

SPEEDUP_CLIP = 2.0
"""Scores are clipped to this many doublings: a speed-up of 4 counts as much as one of 40."""

SHARES = (0.5, 0.75, 0.9, 1.0)
"""How far the targets of the ladder lie on the way from the first loss to the best one."""


def target(best: ArrayLike) -> float:
    """Median over seeds of the best validation loss by T, of the baseline where that is lowest.

    Args:
      best: (baselines, seeds) lowest validation loss of each run; not finite where it diverged.

    Returns: the target; infinite if every baseline diverged on half of its seeds.
    """
    return float(np.median(or_inf(best), axis=-1).min())


def ladder(first: ArrayLike, hardest: float) -> np.ndarray:
    """Targets L0^(1 - q) hardest^q for q in SHARES, hardest last: (4,).

    They lie at the shares q of the way, in log loss, from L0 down to the hardest. L0 is the median
    of the losses at the first evaluation that are finite, over all baselines and seeds. A loss
    below the smallest normal float32, 0 say, counts as that, but as the hardest target stays.

    Args:
      first: (baselines, seeds) validation loss at the first evaluation.
      hardest: see `target`; if it is not finite, none of the ladder is.

    Raises:
      ValueError: a loss is negative.

    >>> ladder([[1.0, 1.0]], 1e-4).round(6).tolist()
    [0.01, 0.001, 0.000251, 0.0001]
    """
    first = np.asarray(first, float)
    first = first[np.isfinite(first)]
    if not (first.size and np.isfinite(hardest)):
        return np.full(len(SHARES), np.inf)
    start, best = np.log(above_zero([np.median(first), hardest], "losses"))
    shares = np.array(SHARES)
    found = np.exp((1 - shares) * start + shares * best)
    # Exactly, lest rounding make a run miss the target that it set.
    return np.where(shares == 1, hardest, found)


def steps_to_target(steps: np.ndarray, losses: np.ndarray, target: ArrayLike) -> np.ndarray:
    """The first of `steps` at which the loss is at the target or below; inf, a miss, if none.

    Args:
      steps: (points,) increasing.
      losses: (..., points). One that is not finite is no hit.
      target: (...) or a scalar. One that is not finite is missed by all.
    """
    target = np.asarray(target, float)[..., None]
    hit = (losses <= target) & np.isfinite(losses) & np.isfinite(target)
    return np.where(hit.any(-1), steps[hit.argmax(-1)].astype(float), np.inf)


def score(ours: ArrayLike, theirs: ArrayLike, theirs_limit: ArrayLike = np.inf) -> np.ndarray:
    """clip(log2(theirs / ours), -2, 2), run by run: (tasks, seeds).

    A miss is infinite, thus worth 2 or -2; two misses are worth 0. If theirs missed, ours hit only
    if it did so within `theirs_limit`, the steps that both had: a longer run earns nothing.

    Args:
      ours, theirs: steps to target (tasks, seeds), paired by seed; inf or NaN for a miss.
      theirs_limit: steps that theirs were run for, a scalar or (tasks,).

    Raises:
      ValueError: shapes differ, or a time is zero or negative.
    """
    ours, theirs = pair(ours, theirs, "steps to target")
    ours = np.where(np.isinf(theirs) & (ours > _column(theirs_limit)), np.inf, ours)
    with np.errstate(invalid="ignore"):
        found = np.log2(theirs) - np.log2(ours)
    found = np.where(np.isinf(ours) & np.isinf(theirs), 0.0, found)
    return np.clip(found, -SPEEDUP_CLIP, SPEEDUP_CLIP)


def speedup(ours: ArrayLike, theirs: ArrayLike, theirs_limit: ArrayLike = np.inf) -> Interval:
    """The pooled score: 2 ** interquartile mean of `score`, with its bootstrap interval.

    A miss counts as the clip, a loss or a win and no measurement; at the ends of the scale 4 means
    4 or more, 1/4 that or less. `censored_speedup` has the measured speed-up. Arguments and
    errors: see `score`.
    """
    found = score(ours, theirs, theirs_limit)
    return Interval(*np.exp2(bootstrap(found, interquartile_mean)).tolist())


class Bounds(NamedTuple):
    """What the runs tell about a speed-up: it is at least `least` and at most `most`.

    `least` is 0, or `most` infinite, where they set no such bound; both are equal where it was
    measured. `low`, `high`: a 95 % interval that holds all between the bounds.
    """

    low: float
    least: float
    most: float
    high: float

    @property
    def text(self) -> str:
        """For people: 1.50x, >1.50x, <0.67x, 0.67x to 1.50x, or unknown.

        >>> Bounds(low=1.2, least=1.5, most=np.inf, high=np.inf).text
        '>1.50x'
        """
        least, most = f"{self.least:.2f}x", f"{self.most:.2f}x"
        if np.isinf(self.most):
            return f">{least}" if self.least > 0 else "unknown"
        if self.least == 0:
            return f"<{most}"
        return least if least == most else f"{least} to {most}"


def censored_speedup(
    ours: ArrayLike, theirs: ArrayLike, ours_limit: ArrayLike, theirs_limit: ArrayLike
) -> Bounds:
    """2 ** interquartile mean of log2(theirs / ours), as far as the runs tell.

    What a pair of runs that were cut at O and T steps says about theirs / ours:

    | ours | theirs | theirs / ours | because |
    |---|---|---|---|
    | hit | hit | is known | both were seen |
    | hit | missed | > T / ours | theirs > T; no speed-up follows if ours came later than T |
    | missed | hit | < theirs / O | ours > O |
    | missed | missed | may be anything | neither was seen |

    The interquartile mean grows with each of them, so the lower bounds together give `least` and
    the upper ones `most`. It drops the outer quarters: misses that must lie there, a quarter of
    the runs on either side, do no harm. The interval goes from the 2.5 % point of the resampled
    `least` to the 97.5 % point of the resampled `most`. Unlike `score` it needs no clip, and no
    number is made up for a miss. Times are those of the evaluated steps.

    Args:
      ours, theirs: steps to target (tasks, seeds), paired by seed; inf or NaN for a miss.
      ours_limit, theirs_limit: steps O and T that the runs had, a scalar or (tasks,).

    Raises:
      ValueError: shapes differ, a time is zero or negative, or one exceeds its limit.
    """
    ours, theirs = pair(ours, theirs, "steps to target")
    known = []
    for name, times, limit in (("ours", ours, ours_limit), ("theirs", theirs, theirs_limit)):
        ends = np.broadcast_to(_column(limit), times.shape)
        if not np.isfinite(ends).all():
            raise ValueError(f"{name}_limit must be finite, the steps of its runs, got {limit}")
        late = np.isfinite(times) & (times > ends)
        if late.any():
            raise ValueError(
                f"{name} has a time of {times[late][0]:g} steps beyond {name}_limit, "
                f"{ends[late][0]:g}; give the steps that its runs had"
            )
        known.append(np.log2(np.minimum(times, ends)))
    ratio = known[1] - known[0]
    lower = np.where(np.isinf(ours), -np.inf, ratio)
    upper = np.where(np.isinf(theirs), np.inf, ratio)
    least, low, _ = np.exp2(bootstrap(lower, interquartile_mean)).tolist()
    most, _, high = np.exp2(bootstrap(upper, interquartile_mean)).tolist()
    return Bounds(low, least, most, high)


def _column(limit: ArrayLike) -> np.ndarray:
    """A limit, to be compared with times (tasks, seeds)."""
    return np.asarray(limit, float)[..., None]
