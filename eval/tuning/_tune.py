"""Tuning of baselines: the protocol every one of them gets, on every task."""

import dataclasses
import math
import statistics
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

import numpy as np

from learned_opt.tasks import EvalTask

from ..baselines import COSINE, Baseline, Hyper, neighbour
from ..running import Trial

TUNE_SEEDS = (0, 1, 2)
EXTENSIONS = 3

FinalLosses = Callable[[Sequence[Trial]], Sequence[float]]
"""Trials -> validation loss at the horizon."""

Table = dict[Hyper, tuple[float, ...]]
"""Setting -> loss under each of TUNE_SEEDS, in the order tried."""


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The choice for one task.

    `hyper`: chosen; `trials`: settings tried (each on all tuning seeds); `extensions`: how often
    the learning-rate grid grew because the optimum lay at its edge; `table`: median loss of each
    setting, in the order tried; `losses`: of each of its rows those under TUNE_SEEDS, in order,
    infinite where not finite; empty where they were not kept.
    """

    hyper: Hyper
    trials: int
    extensions: int
    table: tuple[tuple[Hyper, float], ...]
    losses: tuple[tuple[float, ...], ...] = ()

    @property
    def edge(self) -> int | None:
        """Half decades from the chosen learning rate to the nearest end of those tried with its
        schedule; None if one was tried or none.
        """
        lrs = _rates((hyper for hyper, _ in self.table), self.hyper)
        if len(lrs) < 2:
            return None
        distances = (math.log10(self.hyper.lr / min(lrs)), math.log10(max(lrs) / self.hyper.lr))
        return round(2 * min(distances))

    @property
    def at_edge(self) -> bool:
        """Whether the chosen learning rate is still the lowest or the highest tried."""
        return self.edge == 0


def tune(
    baseline: Baseline, tasks: Sequence[EvalTask], final_losses: FinalLosses
) -> dict[str, Tuned]:
    """Tune per task by the median, over TUNE_SEEDS, of the validation loss at the horizon.

    1. The half-decade grid of learning rates x the row's schedules, without weight decay and with
       the default extra; while the best lies at the grid's edge, one learning rate more.
    2. Weight decays, and extras, one at a time, at the best learning rate and its two neighbours
       with the best schedule; again one learning rate more while the best lies at the edge.

    The grid grows at most EXTENSIONS times in all. A loss that is not finite is infinite.

    Returns: task name -> choice.
    """
    if not baseline.tuned:
        return {task.name: Tuned(baseline.default, 0, 0, ()) for task in tasks}
    tables: dict[str, Table] = {task.name: {} for task in tasks}
    searches = {name: _search(baseline, table) for name, table in tables.items()}
    extensions: dict[str, int] = {}
    while len(extensions) < len(tasks):
        wanted: dict[str, list[Hyper]] = {}
        for name in tables.keys() - extensions.keys():
            try:
                wanted[name] = next(searches[name])
            except StopIteration as stop:
                extensions[name] = stop.value
        _measure(tables, tasks, wanted, final_losses)
    return {name: _tuned(_best(table), extensions[name], table) for name, table in tables.items()}


def tune_among(
    settings: Sequence[Hyper],
    tasks: Sequence[EvalTask],
    final_losses: FinalLosses,
    seeds: Sequence[int] = TUNE_SEEDS,
) -> dict[str, Tuned]:
    """The best of these settings on each task, by the median over the seeds; all are tried.

    Returns: task name -> choice, with its table in the order of the settings.
    """
    tables: dict[str, Table] = {task.name: {} for task in tasks}
    _measure(tables, tasks, dict.fromkeys(tables, settings), final_losses, seeds)
    return {name: _tuned(_best(table), 0, table) for name, table in tables.items()}


def tune_calibrated(
    baseline: Baseline, tasks: Sequence[EvalTask], final_losses: FinalLosses
) -> dict[str, Tuned]:
    """One setting for all tasks: the rival of an optimizer that is not tuned.

    The whole grid of learning rates x weight decays with warm-up and cosine, the same on all
    tasks and never extended; chosen by `choose_calibrated`.

    Returns: task name -> the same choice, with the task's own table.
    """
    tables: dict[str, Table] = {task.name: {} for task in tasks}
    _measure(tables, tasks, dict.fromkeys(tables, calibrated_grid(baseline)), final_losses)
    chosen = choose_calibrated({name: _medians(table) for name, table in tables.items()})
    return {name: _tuned(chosen, 0, table) for name, table in tables.items()}


def calibrated_grid(baseline: Baseline) -> list[Hyper]:
    """The settings that `tune_calibrated` tries."""
    return [
        Hyper(lr, wd, COSINE, baseline.extras[0])
        for lr in baseline.grid
        for wd in (0.0, *baseline.wds)
    ]


def choose_calibrated(tables: Mapping[str, Mapping[Hyper, float]]) -> Hyper:
    """The setting of least mean over tasks of log(median loss / best median loss on the task).

    Of those with warm-up and cosine that were tried on every task. A task on which none of them
    is finite does not count.

    Raises:
      ValueError: no such setting was tried on every task.
    """
    first, *rest = tables.values()
    common = [h for h in first if h.cosine == COSINE and all(h in table for table in rest)]
    if not common:
        raise ValueError(
            f"no setting with cosine was tried on all of {', '.join(tables)}; "
            "try the same settings on every task"
        )
    losses = np.array([[table[h] for h in common] for table in tables.values()])
    losses = losses[np.isfinite(losses).any(1)]
    logs = np.log(np.maximum(losses, np.finfo(float).tiny))
    scores = np.sum(logs - logs.min(1, keepdims=True), axis=0)
    return min(zip(scores.tolist(), common, strict=True))[1]


def _search(baseline: Baseline, table: Table) -> Generator[list[Hyper], None, int]:
    """The settings to try next, given the losses so far; returns the number of extensions."""
    extensions, extra = 0, baseline.extras[0]

    def plain(lr: float) -> list[Hyper]:
        return [Hyper(lr, 0.0, schedule, extra) for schedule in baseline.schedules]

    def varied(lr: float) -> list[Hyper]:
        start = Hyper(lr, 0.0, _best(table).cosine, extra)
        decays = [start._replace(wd=wd) for wd in baseline.wds]
        return [start, *decays, *(start._replace(extra=x) for x in baseline.extras[1:])]

    yield [hyper for lr in baseline.grid for hyper in plain(lr)]
    for settings in (plain, varied):
        if settings is varied:
            best = _best(table)
            near = {neighbour(best.lr, by) for by in (-1, 0, 1)} & _rates(table, best)
            yield [hyper for lr in sorted(near) for hyper in varied(lr)]
        while extensions < EXTENSIONS and (lr := _beyond(table)):
            extensions += 1
            yield settings(lr)
    return extensions


def _measure(
    tables: dict[str, Table],
    tasks: Sequence[EvalTask],
    wanted: Mapping[str, Sequence[Hyper]],
    final_losses: FinalLosses,
    seeds: Sequence[int] = TUNE_SEEDS,
) -> None:
    """Enter the losses of the wanted settings that are not there yet, in one call."""
    settings = [
        (task, hyper)
        for task in tasks
        for hyper in wanted.get(task.name, ())
        if hyper not in tables[task.name]
    ]
    if not settings:
        return
    trials = [Trial(task, hyper, seed) for task, hyper in settings for seed in seeds]
    losses = np.reshape(np.asarray(final_losses(trials), float), (-1, len(seeds)))
    losses = np.where(np.isfinite(losses), losses, np.inf)
    for (task, hyper), row in zip(settings, losses.tolist(), strict=True):
        tables[task.name][hyper] = tuple(row)


def _tuned(hyper: Hyper, extensions: int, table: Table) -> Tuned:
    medians = tuple(_medians(table).items())
    return Tuned(hyper, len(table), extensions, medians, tuple(table.values()))


def _medians(table: Table) -> dict[Hyper, float]:
    return {hyper: statistics.median(losses) for hyper, losses in table.items()}


def _best(table: Table) -> Hyper:
    medians = _medians(table)
    return min(medians, key=lambda hyper: (medians[hyper], hyper))


def _rates(table: Iterable[Hyper], like: Hyper) -> set[float]:
    """The learning rates tried with the schedule of `like`."""
    return {hyper.lr for hyper in table if hyper.cosine == like.cosine}


def _beyond(table: Table) -> float | None:
    """The learning rate after the best, if that is the lowest or the highest tried."""
    best = _best(table)
    lrs = _rates(table, best)
    if best.lr not in (min(lrs), max(lrs)):
        return None
    return neighbour(best.lr, 1 if best.lr == max(lrs) else -1)
