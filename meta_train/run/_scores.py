"""What a meta-validation found, in numbers for the log: means over runs, and their intervals."""

from collections.abc import Sequence

import numpy as np

from ..settings import RIVALS

NORMAL = 1.96
"""Standard errors on either side of a mean within which the truth is 95 times in a hundred."""


def score_row(
    scores: Sequence[np.ndarray], first: Sequence[np.ndarray] | None, names: Sequence[str]
) -> dict[str, float]:
    """Entries of a row of `metrics.jsonl`.

    `valid_loss`: mean over the tasks of the means over their runs; `valid_gain`: how much that is
    above the same of the theta that the run began with, in pairs of equal runs; each with half of
    its 95 % interval. `valid_over_muon`: as `valid_loss`, against another reference.
    `valid_loss/TASK`: the mean over a task's runs.

    Args:
      scores: by task, (runs, columns), as of `Judge.scores`.
      first: the same of the theta that the run began with; None where these are it.
      names: of the tasks.
    """
    chosen = [one[:, 0].astype(np.float64) for one in scores]
    row = _interval("valid_loss", "valid_error", chosen)
    if first is not None:
        with np.errstate(all="ignore"):
            gains = [now - then[:, 0] for now, then in zip(chosen, first, strict=True)]
        row |= _interval("valid_gain", "valid_gain_error", gains)
    for i, rival in list(enumerate(RIVALS))[1 : scores[0].shape[1]]:
        row[f"valid_over_{rival}"] = _mean([one[:, i].astype(np.float64) for one in scores])
    if len(scores) > 1:
        row |= {f"valid_loss/{n}": _mean([x]) for n, x in zip(names, chosen, strict=True)}
    return row


def half_width(tasks: Sequence[np.ndarray]) -> float | None:
    """Half of the 95 % interval of the mean over tasks of their means; None of single runs.

    1.96 sqrt(sum_t s_t^2 / n_t) / K: runs are the replicates, the K tasks are given. s_t^2: the
    unbiased variance of the n_t runs of a task (stratified sampling: Cochran 1977, section 5.3).
    """
    if min(len(runs) for runs in tasks) < 2:
        return None
    with np.errstate(all="ignore"):
        variance = sum(np.var(runs, ddof=1) / len(runs) for runs in tasks)
        return float(NORMAL * np.sqrt(variance) / len(tasks))


def _interval(mean: str, error: str, tasks: Sequence[np.ndarray]) -> dict[str, float]:
    width = half_width(tasks)
    return {mean: _mean(tasks)} | ({} if width is None else {error: width})


def _mean(tasks: Sequence[np.ndarray]) -> float:
    with np.errstate(all="ignore"):
        return float(np.mean([np.mean(runs) for runs in tasks]))
