"""From the cells of a generalisation grid to what became of each."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from learned_opt.tasks import EvalTask

from ..baselines._table import ADAMW, Baseline, Hyper
from ..running._rows import loss_of
from ..running._trials import Trial
from ..statistics import Interval, geometric_ratio
from ..tuning._tune import TUNE_SEEDS, FinalLosses, tune
from ._cells import Cell

LEARNED = "learned"

Run = Callable[[str, Sequence[Trial]], Sequence[dict[str, Any]]]
"""(optimizer, trials) -> one row a trial, in order, with its `valid_loss`, None if not finite."""


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
        """The result as JSON types."""
        return self._asdict() | {
            "over_retuned": self.over_retuned._asdict(),
            "over_transferred": self.over_transferred._asdict(),
        }


class _Choice(NamedTuple):
    hyper: Hyper
    trials: int
    at_edge: bool


def grid_results(
    cells: Sequence[Cell],
    run: Run,
    *,
    untuned: Hyper,
    seeds: Sequence[int],
    baseline: Baseline = ADAMW,
) -> tuple[CellResult, ...]:
    """Run the learned optimizer and a baseline in every cell; one result a cell.

    In the base the baseline is tuned by the whole protocol of `tune`; these settings are what is
    transferred. In every other cell its learning rate is tuned again by the same protocol, and the
    rest of the settings stays.

    Args:
      cells: see `grid`; exactly one is the base.
      run: trains; is called with LEARNED and with the baseline's name.
      untuned: settings of the learned optimizer.
      seeds: of the runs that are compared, the same for all; tuning must not use them.
      baseline: what the learned optimizer is compared with.

    Raises:
      ValueError: no cell is the base, or tasks share a name, or seeds are those of tuning.
    """
    found = grid_baseline(cells, run, seeds, baseline)
    learned = _compared(cells, run, LEARNED, [untuned] * len(cells), seeds)
    columns = learned, found.retuned, found.transferred
    return tuple(
        _result(cell, choice, found.base, *rows)
        for cell, choice, *rows in zip(cells, found.choices, *columns, strict=True)
    )


def grid_runs(cells: Sequence[Cell], seeds: Sequence[int], baseline: Baseline = ADAMW) -> int:
    """About how many runs `grid_baseline` takes, if no optimum lies at an edge."""
    tuning = baseline.trials + len(baseline.grid) * (len(cells) - 1)
    return len(TUNE_SEEDS) * tuning + 2 * len(seeds) * len(cells)


class BaselineCells(NamedTuple):
    """`choices`: for every cell; `base`: settings of the base; losses are (cells, seeds)."""

    choices: list[_Choice]
    base: Hyper
    retuned: np.ndarray
    transferred: np.ndarray


def grid_baseline(
    cells: Sequence[Cell], run: Run, seeds: Sequence[int], baseline: Baseline = ADAMW
) -> BaselineCells:
    """The baseline's side of `grid_results`: no learned optimizer is needed for it."""
    by_name = {cell.task.name: cell for cell in cells}
    bases = [cell for cell in cells if cell.axis == "base"]
    if len(bases) != 1 or len(by_name) != len(cells):
        raise ValueError(
            f"cells must hold one base and no task name twice, got {len(bases)} bases and "
            f"{len(by_name)} names of {len(cells)} cells; take those of grid()"
        )
    if set(seeds) & set(TUNE_SEEDS):
        raise ValueError(f"seeds must differ from those of tuning {TUNE_SEEDS}, got {seeds}")

    def tuning(trials: Sequence[Trial]) -> list[float]:
        told = [_told(trial, by_name[trial.task.name]) for trial in trials]
        return [loss_of(row) for row in run(baseline.name, told)]

    base = bases[0].task
    tuned = tune(baseline, [base], tuning)[base.name]
    choices = {base.name: _Choice(tuned.hyper, tuned.trials, tuned.at_edge)}
    others = [cell.task for cell in cells if cell.axis != "base"]
    choices |= _retune(baseline, tuned.hyper, others, tuning)
    chosen = [choices[cell.task.name] for cell in cells]
    retuned, transferred = (
        _compared(cells, run, baseline.name, hypers, seeds)
        for hypers in ([choice.hyper for choice in chosen], [tuned.hyper] * len(cells))
    )
    return BaselineCells(chosen, tuned.hyper, retuned, transferred)


def _compared(
    cells: Sequence[Cell], run: Run, optimizer: str, hypers: Sequence[Hyper], seeds: Sequence[int]
) -> np.ndarray:
    """Final losses of an optimizer with one setting a cell, (cells, seeds)."""
    trials = [
        _told(Trial(cell.task, hyper, seed), cell)
        for cell, hyper in zip(cells, hypers, strict=True)
        for seed in seeds
    ]
    losses = [loss_of(row) for row in run(optimizer, trials)]
    return np.reshape(losses, (len(cells), len(seeds)))


def _told(trial: Trial, cell: Cell) -> Trial:
    return trial if cell.told == 1 else dataclasses.replace(trial, told=cell.told)


def _retune(
    baseline: Baseline, start: Hyper, tasks: Sequence[EvalTask], final_losses: FinalLosses
) -> dict[str, _Choice]:
    """Task name -> `start` with the learning rate that `tune` finds best for the task."""

    def only_lr(trials: Sequence[Trial]) -> Sequence[float]:
        hypers = [start._replace(lr=trial.hyper.lr) for trial in trials]
        pairs = zip(trials, hypers, strict=True)
        return final_losses([dataclasses.replace(trial, hyper=hyper) for trial, hyper in pairs])

    found = tune(dataclasses.replace(baseline, wds=()), tasks, only_lr)
    return {
        name: _Choice(
            start._replace(lr=tuned.hyper.lr),
            len({hyper.lr for hyper, _ in tuned.table}),
            tuned.at_edge,
        )
        for name, tuned in found.items()
    }


def _result(
    cell: Cell,
    choice: _Choice,
    base: Hyper,
    learned: np.ndarray,
    retuned: np.ndarray,
    transferred: np.ndarray,
) -> CellResult:
    """Losses are (seeds,), infinite where a run diverged."""
    return CellResult(
        axis=cell.axis,
        value=cell.value,
        task=cell.task.name,
        horizon=cell.task.horizon,
        told=cell.told,
        learned=_median(learned),
        retuned=_median(retuned),
        transferred=_median(transferred),
        over_retuned=geometric_ratio(learned[None], retuned[None]),
        over_transferred=geometric_ratio(learned[None], transferred[None]),
        seeds=len(learned),
        diverged=int(np.isinf(learned).sum()),
        diverged_retuned=int(np.isinf(retuned).sum()),
        diverged_transferred=int(np.isinf(transferred).sum()),
        lr_retuned=float(choice.hyper.lr),
        lr_transferred=float(base.lr),
        trials=choice.trials,
        at_edge=choice.at_edge,
    )


def _median(losses: np.ndarray) -> float | None:
    median = float(np.median(losses))
    return median if np.isfinite(median) else None
