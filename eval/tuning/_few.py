"""Tuning in few runs: what a budget allows."""

from collections.abc import Sequence

import numpy as np

from learned_opt.tasks import EvalTask

from ..baselines import Baseline, Hyper
from ..running import Trial
from ._tune import FinalLosses, Tuned


def few_settings(baseline: Baseline, settings: int) -> list[Hyper]:
    """At most so many settings, in the order in which they matter.

    The row's learning rates from the middle of its grid outwards, with warm-up and cosine where it
    has them and without weight decay; then the same with its middle weight decay.
    """
    schedule, extra = max(baseline.schedules), baseline.extras[0]
    middle = (len(baseline.grid) - 1) / 2
    places = sorted(range(len(baseline.grid)), key=lambda i: (abs(i - middle), i))
    decays = [0.0, *baseline.wds[len(baseline.wds) // 2 :][:1]]
    found = [Hyper(baseline.grid[i], wd, schedule, extra) for wd in decays for i in places]
    return found[:settings]


def tune_few(
    settings: Sequence[Hyper],
    seeds: Sequence[int],
    tasks: Sequence[EvalTask],
    final_losses: FinalLosses,
) -> dict[str, Tuned]:
    """The best of the settings on each task, by the median loss over `seeds`; all are tried.

    Returns: task name -> choice.
    """
    trials = [Trial(task, hyper, seed) for task in tasks for hyper in settings for seed in seeds]
    found = np.reshape(np.asarray(final_losses(trials), float), (len(tasks), -1, len(seeds)))
    found = np.where(np.isfinite(found), found, np.inf)
    chosen = {}
    for task, losses in zip(tasks, found, strict=True):
        table = tuple(zip(settings, np.median(losses, axis=1).tolist(), strict=True))
        best = min(table, key=lambda row: (row[1], row[0]))[0]
        each = tuple(map(tuple, losses.tolist()))
        chosen[task.name] = Tuned(best, len(settings), 0, table, each)
    return chosen
