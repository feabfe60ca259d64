"""Figures that are curves, one panel a task: losses, learning rates, tuning, traces."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from .._numbers import short
from .._report import Report
from .._report_measured import MetaTraining
from .._report_tasks import Result, TaskReport
from ._canvas import band, board, floats, limits, line, log_axis, rule, svg, thin
from ._colours import INK, style_of

WIDTH, HEIGHT = 340, 225


class Run(NamedTuple):
    """Of one optimizer, in quartiles over seeds. `mark`: its class on the page."""

    name: str
    mark: str
    x: Sequence[float]
    quartiles: Sequence[Sequence[float | None]]


def losses(report: Report, task: TaskReport, which: str, seconds: bool = False) -> str | None:
    """F1, F1b: median loss on one split against steps or seconds; quartiles of two."""
    runs = []
    for name, found in task.results.items():
        if seconds and found.step_us is None:
            continue
        unit = found.step_us * 1e-6 if seconds and found.step_us else 1.0
        x = [step * unit for step in found.steps]
        runs.append(Run(name, _mark(report, name), x, getattr(found.curves, which)))
    return loss_panel(
        runs, task.name, which, f"{'seconds' if seconds else 'steps'}{_number(report, task)}",
        horizon=None if seconds else task.horizon, main=("learned", report.headline),
    )  # fmt: skip


def loss_panel(
    runs: Sequence[Run], task: str, which: str, key: str, *, horizon: int | None,
    main: tuple[str, str],
) -> str | None:  # fmt: skip
    """Losses of several optimizers on one task against steps; without a `horizon`, seconds.

    Args:
      which: the split. `key`: with it, unique on the page.
      main: the two whose quartiles are drawn: ten bands would be mud.
    """
    drawn = [
        (run, style_of(run.name), thin(run.x, *run.quartiles))
        for run in runs
        if any(y is not None for y in run.quartiles[1])
    ]
    if not drawn:
        return None
    figure, axes = board(WIDTH, HEIGHT)
    for run, style, (x, low, _, high) in drawn:
        if run.name in main:
            band(axes, x, low, high, style, run.mark)
    for run, style, (x, _, mid, _) in drawn:
        width = 2.3 if run.name == "learned" else 1.7 if run.name in main else 1.1
        line(axes, x, mid, style, run.mark, width=width)
    log_axis(axes, "x", *_span([curves[0] for *_, curves in drawn], pad=1.0))
    # Early losses may be huge: the scale starts where the median optimizer starts.
    tops = [mid[np.isfinite(mid)][0] for *_, (_, _, mid, _) in drawn]
    low = float(min(np.nanmin(curves[1]) for *_, curves in drawn))
    if low > 0:
        log_axis(axes, "y", low / 1.08, max(float(np.median(tops)), 1.5 * low) * 1.15)
    if horizon:
        rule(axes, "x", horizon, "#b8c0c8")
    axes.grid(True)
    axes.set_xlabel("training steps" if horizon else "seconds of training")
    axes.set_ylabel({"train": "training", "valid": "validation"}.get(which, which) + " loss")
    return svg(figure, which + key, f"{task}: {which} loss")


def sensitivity(report: Report, task: TaskReport) -> str | None:
    """F2: tuning loss against the learning rate, at the best other settings."""
    found = {name: sorted(r.sensitivity, key=lambda pair: pair[0] or 0.0)
             for name, r in task.results.items() if len(r.sensitivity) > 1}  # fmt: skip
    values = _known(y for pairs in found.values() for _, y in pairs)
    if not values:
        return None
    figure, axes = board(WIDTH, HEIGHT)
    curves = {name: [floats(side) for side in zip(*pairs, strict=True)]
              for name, pairs in found.items()}  # fmt: skip
    log_axis(axes, "x", *_span([x for x, _ in curves.values()]))
    _loss_axis(axes, task, values, 1.1)
    for name, (x, y) in curves.items():
        mark, style = _mark(report, name), style_of(name)
        line(axes, x, y, style, mark, width=1.7 if name == report.headline else 1.2)
        if np.isfinite(y).any():
            best = int(np.nanargmin(y))
            dot = axes.plot(x[best], y[best], "o", color=style.colour, ms=4.5, zorder=5)[0]
            dot.set_gid(f"c:{mark}")
    _level(axes, report, task)
    axes.grid(True)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("validation loss at the end")
    return svg(figure, f"lr{_number(report, task)}", f"{task.name}: loss by learning rate")


def tuning(report: Report, task: TaskReport) -> str | None:
    """F7: expected best tuning loss after so many settings tried."""
    found = {name: r.best_of for name, r in task.results.items() if len(r.best_of) > 1}
    values = _known(y for curve in found.values() for y in curve)
    if not values:
        return None
    figure, axes = board(WIDTH, HEIGHT)
    for name, curve in found.items():
        x, y = thin(range(1, len(curve) + 1), curve)
        width = 1.9 if name == report.headline else 1.2
        line(axes, x, y, style_of(name), _mark(report, name), width=width)
    _level(axes, report, task)
    axes.set_xlim(1, max(map(len, found.values())))
    _loss_axis(axes, task, values, 1.05)
    axes.grid(True)
    axes.set_xlabel("settings tried")
    axes.set_ylabel("best validation loss so far")
    return svg(figure, f"tuning{_number(report, task)}", f"{task.name}: loss by settings tried")


TRACES = {
    "effective_lr": "as a learning rate of Adam",
    "relative": "step length over weight size",
    "cosine": "cosine to Adam's step",
}


def trace(report: Report, task: str, which: str) -> str | None:
    """F9: one quantity of the optimizers' steps along a run."""
    found = {
        name: thin(trace.steps, getattr(trace, which))
        for name, trace in report.traces[task].items()
        if any(y is not None for y in getattr(trace, which))
    }
    if not found:
        return None
    figure, axes = board(WIDTH, HEIGHT, left=56)
    for name, (x, y) in found.items():
        width = 2.2 if name == "learned" else 1.4
        line(axes, x, y, style_of(name), _mark(report, name), width=width)
    log_axis(axes, "x", *_span([x for x, _ in found.values()], pad=1.0))
    if which == "cosine":
        low = min(float(np.nanmin(y)) for _, y in found.values())
        axes.set_ylim(min(-0.05, low - 0.05), 1.05)
        rule(axes, "y", 0, "#b8c0c8")
    elif span := limits(np.concatenate([y for _, y in found.values()]), 1.3):
        log_axis(axes, "y", *span)
    axes.grid(True)
    axes.set_xlabel("training steps")
    axes.set_ylabel(TRACES[which])
    number = list(report.traces).index(task)
    return svg(figure, f"trace{which.replace('_', '')}{number}", f"{task}: {TRACES[which]}")


def meta_training(found: MetaTraining) -> str | None:
    """F10: loss on held-out tasks along meta-training."""
    x, y = found.outer_steps or [], floats(found.valid_loss or [])
    if len(x) < 2 or not np.isfinite(y).any():
        return None
    figure, axes = board(700, 240)
    style, best = style_of("learned"), int(np.nanargmin(y))
    steps, losses = thin(x, found.valid_loss or [])
    line(axes, steps, losses, style, "ours", width=2.2)
    if found.valid_error:
        half = floats(found.valid_error)
        band(axes, np.asarray(x), y - half, y + half, style, "ours")
    axes.plot(x[best], y[best], "o", color=style.colour, ms=6)
    axes.annotate(
        f"lowest: {y[best]:.4g}", (x[best], y[best]), (0, 9), textcoords="offset points",
        ha="right" if x[best] > 0.5 * x[-1] else "left", color=INK,
    )  # fmt: skip
    axes.set_xlim(x[0], x[-1] + 0.01 * (x[-1] - x[0]))
    axes.xaxis.set_major_formatter(lambda v, _: short(float(v)))
    axes.grid(True)
    axes.set_xlabel("steps of meta-training")
    axes.set_ylabel("loss on held-out tasks")
    return svg(figure, "metatraining", "loss on held-out tasks along meta-training")


def _known(values: Iterable[float | None]) -> list[float]:
    return [y for y in values if y is not None]


def _untuned(ours: Result) -> float | None:
    """The level of the learned optimizer, as it ships: tuning loss if it has one."""
    value = ours.valid_loss if ours.tune_loss is None else ours.tune_loss
    return value if value is not None and value > 0 else None


def _level(axes: Axes, report: Report, task: TaskReport) -> None:
    at = _untuned(task.results["learned"])
    if at is not None:
        drawn = axes.axhline(at, color=style_of("learned").colour, lw=2.2, zorder=4)
        drawn.set_gid(f"c:{_mark(report, 'learned')}")


def _loss_axis(axes: Axes, task: TaskReport, values: list[float], pad: float) -> None:
    """From the lowest, the learned optimizer's too, to at most twelve times that."""
    low = min([*values, *_known([_untuned(task.results["learned"])])])
    if low > 0:
        log_axis(axes, "y", low / pad, min(max(values), 12 * low) * pad)


def _mark(report: Report, name: str) -> str:
    return f"o{report.index(name)}"


def _number(report: Report, task: TaskReport) -> int:
    return [other.name for other in report.tasks].index(task.name)


def _span(arrays: list[np.ndarray], pad: float = 1.2) -> tuple[float, float]:
    low, high = limits(np.concatenate(arrays), pad) or (1.0, 10.0)
    return (low, high) if high > low else (low / 2, high * 2)
