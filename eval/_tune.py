"""Tuning of baselines: the protocol every one of them gets, on every task."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tasks import EvalTask

from ._baselines import HALF_DECADES, Baseline, Hyper
from ._run import Trial

TUNE_SEEDS = (0, 1, 2)
EXTENSIONS = 3

FinalLosses = Callable[[Sequence[Trial]], Sequence[float]]
"""Trials -> validation loss at the horizon, inf where not finite."""


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The choice for one task.

    `hyper`: chosen; `trials`: settings tried (each on all tuning seeds); `extensions`: how often
    the learning-rate grid grew because the optimum lay at its edge; `table`: median loss of each.
    """

    hyper: Hyper
    trials: int
    extensions: int
    table: tuple[tuple[Hyper, float], ...]

    @property
    def at_edge(self) -> bool:
        """Whether the chosen learning rate is still the lowest or the highest tried."""
        lrs = [hyper.lr for hyper, _ in self.table]
        return len(set(lrs)) > 1 and self.hyper.lr in (min(lrs), max(lrs))


def tune(
    baseline: Baseline, tasks: Sequence[EvalTask], final_losses: FinalLosses
) -> dict[str, Tuned]:
    """Tune per task by the median, over TUNE_SEEDS, of the validation loss at the horizon.

    First the half-decade grid of learning rates without weight decay; then all weight decays at
    the best learning rate and its two neighbours; then, at most three times, one more learning
    rate with all weight decays while the best lies at an edge of what was tried.

    Returns: task name -> choice.
    """
    tables: dict[str, dict[Hyper, float]] = {task.name: {} for task in tasks}
    extensions = dict.fromkeys(tables, 0)
    if len(baseline.grid) == 1:
        only = Hyper(baseline.grid[0], 0.0)
        return {task.name: Tuned(only, 0, 0, ()) for task in tasks}

    def measure(wanted: dict[str, list[Hyper]]) -> None:
        trials = [
            Trial(task, hyper, seed)
            for task in tasks
            for hyper in wanted.get(task.name, [])
            if hyper not in tables[task.name]
            for seed in TUNE_SEEDS
        ]
        losses = np.reshape(final_losses(trials), (-1, len(TUNE_SEEDS)))
        settings = trials[:: len(TUNE_SEEDS)]
        for trial, row in zip(settings, losses, strict=True):
            tables[trial.task.name][trial.hyper] = float(np.median(row))

    measure({name: [Hyper(lr, 0.0) for lr in baseline.grid] for name in tables})
    decays = (0.0, *baseline.wds)
    if baseline.wds:
        measure(
            {
                name: [
                    Hyper(lr, wd)
                    for lr in (_shift(_best(table).lr, k) for k in (-1, 0, 1))
                    for wd in decays
                ]
                for name, table in tables.items()
            }
        )
    for _ in range(EXTENSIONS):
        wanted = {}
        for name, table in tables.items():
            lrs = [hyper.lr for hyper in table]
            best = _best(table).lr
            if best in (min(lrs), max(lrs)):
                beyond = _shift(best, 1 if best == max(lrs) else -1)
                if beyond not in lrs:
                    wanted[name] = [Hyper(beyond, wd) for wd in decays]
                    extensions[name] += 1
        if not wanted:
            break
        measure(wanted)
    return {
        name: Tuned(_best(table), len(table), extensions[name], tuple(table.items()))
        for name, table in tables.items()
    }


def _best(table: dict[Hyper, float]) -> Hyper:
    return min(table, key=lambda hyper: (table[hyper], hyper))


def _shift(lr: float, by: int) -> float:
    """The learning rate `by` half decades away, kept on the lattice."""
    index = HALF_DECADES.index(lr) + by
    return HALF_DECADES[min(max(index, 0), len(HALF_DECADES) - 1)]
