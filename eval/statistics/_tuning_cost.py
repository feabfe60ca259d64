"""What tuning buys, setting by setting, and after how many tasks meta-training has paid for it."""

import math

import numpy as np
from numpy.typing import ArrayLike

from ._bootstrap import or_inf


def expected_best(losses: ArrayLike) -> np.ndarray:
    """Expected lowest loss of k settings drawn at random from those tried, for k = 1..n: (n,).

    sum over i of x_(i) C(n - i, k - 1) / C(n, k), with x_(1) <= ... <= x_(n): the i-th is the
    lowest if the other k - 1 are among the n - i above it. Infinite as long as all k may have
    diverged. Drawn without replacement, thus unbiased; Dodge et al. 2019, "Show your work", draw
    with replacement, which never reaches the best setting.

    Args:
      losses: (n,) one of each setting tried; not finite where it diverged.

    >>> expected_best([3.0, 1.0, 2.0]).round(3).tolist()
    [2.0, 1.333, 1.0]
    """
    x = np.sort(or_inf(losses))
    n, finite = len(x), int(np.isfinite(x).sum())
    curve = np.full(n, np.inf)
    for k in range(n - finite + 1, n + 1):
        curve[k - 1] = x[:finite] @ chances(n, k)[:finite]
    return curve


def chances(n: int, k: int) -> np.ndarray:
    """The chance of the i-th lowest of n to be the lowest of k drawn without replacement: (n,).

    C(n - i, k - 1) / C(n, k).

    >>> chances(3, 2).round(3).tolist()
    [0.667, 0.333, 0.0]
    """
    return np.array([math.comb(n - 1 - i, k - 1) / math.comb(n, k) for i in range(n)])


def break_even(meta_steps: float, tuning_steps: float, own_tuning_steps: float = 0.0) -> float:
    """Tasks after which meta-training has cost less than the tuning that it spares.

    meta_steps / (tuning_steps - own_tuning_steps); infinite if nothing is spared.

    Args:
      meta_steps: inner steps of the whole meta-training.
      tuning_steps: inner steps that tuning the baseline takes on one task.
      own_tuning_steps: inner steps that tuning the learned optimizer takes on one task.

    >>> break_even(1_000_000, 21_000, 1_000)
    50.0
    """
    spared = tuning_steps - own_tuning_steps
    return meta_steps / spared if spared > 0 else math.inf
