"""Equal budgets: the loss that so many trials buy, chosen on some seeds and read on another."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ._bootstrap import Interval, clipped_logs, exp_of, mean, or_inf
from ._tuning_cost import chances


def budget(
    tables: Sequence[ArrayLike], references: Sequence[ArrayLike], trials: Sequence[int]
) -> Interval:
    """exp of the mean over tasks and seeds of `best_of`, with its bootstrap interval.

    Args:
      tables, references, trials: see `best_of`; one of each for every task.
    """
    sides = zip(tables, references, trials, strict=True)
    return exp_of(np.array([best_of(*side) for side in sides]), mean)


def best_of(losses: ArrayLike, reference: ArrayLike, trials: int) -> np.ndarray:
    """Expected log loss, over the reference's, of the best of some settings drawn at random.

    Seed by seed: the settings are ranked by their median loss under the other seeds, so that none
    is chosen by the loss it is judged by. With (i) the i-th of that ranking,

        sum over i of C(n - i, k - 1) / C(n, k) clip(log(loss_(i) / reference), -log 2, log 2)

    is the expectation over all draws of k of the n without replacement, exactly. Settings that
    rank alike stay in the order tried. Of the first k in a fixed order, not drawn:
    `best_of(losses[:k], reference, k)`.

    Args:
      losses: (settings, seeds), two seeds or more; not finite where a run diverged, which counts
        as a factor of 2 against its side, and as 1 if both did.
      reference: (seeds,) losses.
      trials: k; where fewer settings were tried, all of them.

    Returns: (seeds,).

    Raises:
      ValueError: a loss is negative, or there are no settings or fewer than two seeds.
    """
    losses = _table(losses)
    chosen = np.take_along_axis(losses, _ranks(losses), 0)
    logs = clipped_logs(chosen, np.broadcast_to(or_inf(reference), losses.shape))
    return chances(len(losses), min(trials, len(losses))) @ logs


def best_of_all(losses: ArrayLike) -> np.ndarray:
    """The loss under each seed of what is best of all settings under the other seeds: (seeds,).

    >>> best_of_all([[1.0, 2.0, 3.0], [2.0, 1.0, 1.0]]).tolist()
    [2.0, 1.0, 3.0]
    """
    losses = _table(losses)
    return np.take_along_axis(losses, _ranks(losses)[:1], 0)[0]


def _ranks(losses: np.ndarray) -> np.ndarray:
    """For each seed the settings, those best under the other seeds first: as `losses`."""
    others = [np.delete(losses, seed, 1) for seed in range(losses.shape[1])]
    medians = np.stack([np.median(rest, 1) for rest in others], 1)
    return np.argsort(medians, 0, kind="stable")


def _table(losses: ArrayLike) -> np.ndarray:
    found = or_inf(losses)
    if found.ndim != 2 or not len(found) or found.shape[1] < 2:
        raise ValueError(
            "losses must be an array (settings, seeds) of one setting and two seeds or more, got "
            f"the shape {found.shape}; keep the loss of every tuning seed"
        )
    return found
