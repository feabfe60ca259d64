"""From the cells of a generalisation grid to what became of each."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from learned_opt.tasks import EvalTask

from ..baselines import ADAMW, Hyper
from ..running import Trial, six_digits
from ..statistics import Interval, geometric_ratio
from ..tuning import TUNE_SEEDS, FinalLosses, Tuned, tune
from ._cells import Cell

LEARNED = "learned"

Train = Callable[[str, Sequence[Trial]], Sequence[float]]
"""(optimizer, trials) -> the validation loss at the horizon of each, infinite if not finite."""


class CellResult(NamedTuple):
    """What became of a cell.

    Attributes:
      axis, value, horizon, told: of the cell; `task`: its task's name.
      learned, retuned, transferred: median validation loss at the horizon, None if not finite, of
        the learned optimizer, of the baseline retuned in the cell, and as tuned for the base.
      over_retuned, over_transferred: geometric mean of the learned optimizer's losses over theirs.
        A run that diverged counts as in `geometric_ratio`.
      seeds: runs of each of the three. `diverged`, `diverged_retuned`, `diverged_transferred`: of
        these, how many ended with a loss that is not finite. Mark a cell where `diverged` > 0.
      lr_retuned, lr_transferred: learning rates of the baseline.
      trials: settings tried to tune it in the cell. `at_edge`: whether its learning rate is the
        lowest or the highest of them.
    """

    axis: str
    value: float | str
    task: str
    horizon: int
    told: float
    learned: float | None
    retuned: float | None
    transferred: float | None
    over_retuned: Interval
    over_transferred: Interval
    seeds: int
    diverged: int
    diverged_retuned: int
    diverged_transferred: int
    lr_retuned: float
    lr_transferred: float
    trials: int
    at_edge: bool

    def to_json(self) -> dict[str, Any]:
        """As in `report.json`, where `retuned` and `transferred` are the ratios to six digits."""
        over = {"retuned": self.over_retuned, "transferred": self.over_transferred}
        return (
            self._asdict()
            | {f"over_{name}": found._asdict() for name, found in over.items()}
            | {
                name: {side: six_digits(x) for side, x in found._asdict().items()}
                for name, found in over.items()
            }
        )


def grid_results(
    cells: Sequence[Cell], run: Train, *, seeds: Sequence[int], untuned: Hyper | None = None
) -> tuple[CellResult, ...]:
    """Run AdamW and the learned optimizer in every cell; one result a cell.

    In the base AdamW is tuned by the whole protocol of `tune`; these settings are what is
    transferred. In every other cell its learning rate is tuned again by the same protocol, and the
    rest of the settings stays.

    Args:
      cells: see `grid`; exactly one is the base.
      run: trains; is called with AdamW's name and with LEARNED.
      seeds: of the runs that are compared, the same for all; tuning must not use them.
      untuned: settings of the learned optimizer; None: AdamW runs alone, and nothing is compared.

    Raises:
      ValueError: no cell is the base, or tasks share a name, or seeds are those of tuning.
    """
    by_name = {cell.task.name: cell for cell in cells}
    bases = [cell for cell in cells if cell.axis == "base"]
    if len(bases) != 1 or len(by_name) != len(cells):
        raise ValueError(
            f"cells must hold one base and no task name twice, got {len(bases)} bases and "
            f"{len(by_name)} names of {len(cells)} cells; take those of grid()"
        )
    if set(seeds) & set(TUNE_SEEDS):
        raise ValueError(f"seeds must differ from those of tuning {TUNE_SEEDS}, got {seeds}")

    def tuning(trials: Sequence[Trial]) -> Sequence[float]:
        return run(ADAMW.name, [_told(trial, by_name[trial.task.name]) for trial in trials])

    def losses(optimizer: str, hypers: Sequence[Hyper]) -> np.ndarray:
        pairs = zip(cells, hypers, strict=True)
        trials = [_told(Trial(cell.task, h, seed), cell) for cell, h in pairs for seed in seeds]
        return np.reshape(run(optimizer, trials), (len(cells), len(seeds)))

    base = bases[0].task
    tuned = tune(ADAMW, [base], tuning)
    best = tuned[base.name].hyper
    tuned |= _retune(best, [cell.task for cell in cells if cell.axis != "base"], tuning)
    choices = [tuned[cell.task.name] for cell in cells]
    retuned = losses(ADAMW.name, [choice.hyper for choice in choices])
    transferred = losses(ADAMW.name, [best] * len(cells))
    if untuned is None:
        return ()
    learned = losses(LEARNED, [untuned] * len(cells))
    columns = zip(cells, choices, learned, retuned, transferred, strict=True)
    return tuple(_result(cell, choice, best, *found) for cell, choice, *found in columns)


def grid_runs(cells: Sequence[Cell], seeds: Sequence[int]) -> int:
    """About how many runs of AdamW `grid_results` takes, if no optimum lies at an edge."""
    tuning = ADAMW.trials + len(ADAMW.grid) * (len(cells) - 1)
    return len(TUNE_SEEDS) * tuning + 2 * len(seeds) * len(cells)


def _told(trial: Trial, cell: Cell) -> Trial:
    return trial if cell.told == 1 else dataclasses.replace(trial, told=cell.told)


def _retune(start: Hyper, tasks: Sequence[EvalTask], final_losses: FinalLosses) -> dict[str, Tuned]:
    """Task name -> `start` with the learning rate that `tune` finds best for the task."""

    def only_lr(trials: Sequence[Trial]) -> Sequence[float]:
        return final_losses(
            [dataclasses.replace(t, hyper=start._replace(lr=t.hyper.lr)) for t in trials]
        )

    def kept(found: Tuned) -> Tuned:
        table = {start._replace(lr=hyper.lr): loss for hyper, loss in found.table}
        hyper = start._replace(lr=found.hyper.lr)
        return Tuned(hyper, len(table), found.extensions, tuple(table.items()))

    found = tune(dataclasses.replace(ADAMW, wds=()), tasks, only_lr)
    return {name: kept(tuned) for name, tuned in found.items()}


def _result(
    cell: Cell,
    choice: Tuned,
    base: Hyper,
    learned: np.ndarray,
    retuned: np.ndarray,
    transferred: np.ndarray,
) -> CellResult:
    """Losses are (seeds,), infinite where a run diverged."""
    sides = (learned, retuned, transferred)
    medians = [float(np.median(losses)) for losses in sides]
    finite = [median if np.isfinite(median) else None for median in medians]
    diverged = [int(np.isinf(losses).sum()) for losses in sides]
    return CellResult(
        axis=cell.axis,
        value=cell.value,
        task=cell.task.name,
        horizon=cell.task.horizon,
        told=cell.told,
        learned=finite[0],
        retuned=finite[1],
        transferred=finite[2],
        over_retuned=geometric_ratio(learned[None], retuned[None]),
        over_transferred=geometric_ratio(learned[None], transferred[None]),
        seeds=len(learned),
        diverged=diverged[0],
        diverged_retuned=diverged[1],
        diverged_transferred=diverged[2],
        lr_retuned=float(choice.hyper.lr),
        lr_transferred=float(base.lr),
        trials=choice.trials,
        at_edge=choice.at_edge,
    )
