"""Figures that are lines: losses, learning rates, tuning, traces. One panel a task."""

from typing import Any

import numpy as np

from ._colours import INK, style_of
from ._draw import band, board, floats, limits, line, log_axis, rule, svg, thin
from ._format import known, short

WIDTH, HEIGHT = 340, 225
Report = dict[str, Any]


def losses(report: Report, task: Report, which: str, seconds: bool = False) -> str | None:
    """F1, F1b: median loss on one split against steps or seconds; quartiles of two."""
    drawn = []
    for index, name in enumerate(report["optimizers"]):
        found = task["results"].get(name, {})
        curves, unit = found.get("curves", {}).get(which), 1.0
        if seconds:
            if not known(found.get("step_us")):
                continue
            unit = found["step_us"] * 1e-6
        if curves and any(known(y) for y in curves[1]):
            x, low, mid, high = thin([s * unit for s in found["steps"]], *curves)
            drawn.append((index, name, x, low, mid, high))
    if not drawn:
        return None
    figure, axes = board(WIDTH, HEIGHT)
    main = ("learned", report["headline"])
    for index, name, x, low, _, high in drawn:
        if name in main:  # ten bands would be mud
            band(axes, x, low, high, style_of(name), f"o{index}")
    for index, name, x, _, mid, _ in drawn:
        width = 2.3 if name == "learned" else 1.7 if name in main else 1.1
        line(axes, x, mid, style_of(name), f"o{index}", width=width)
    log_axis(axes, "x", *_span([x for _, _, x, *_ in drawn], pad=1.0))
    # Early losses may be huge: the scale starts where the median optimizer starts.
    tops = [mid[np.isfinite(mid)][0] for *_, mid, _ in drawn]
    lows = [np.nanmin(low) for _, _, _, low, _, _ in drawn]
    low, top = float(min(lows)), float(np.median(tops))
    if low > 0:
        log_axis(axes, "y", low / 1.08, max(top, 1.5 * low) * 1.15)
    if not seconds:
        rule(axes, "x", task["horizon"], "#b8c0c8")
    axes.grid(True)
    axes.set_xlabel("seconds of training" if seconds else "training steps")
    axes.set_ylabel({"train": "training", "valid": "validation"}.get(which, which) + " loss")
    kind = "seconds" if seconds else "steps"
    return svg(figure, f"{which}{kind}{_number(report, task)}", f"{task['name']}: {which} loss")


def sensitivity(report: Report, task: Report) -> str | None:
    """F2: tuning loss against the learning rate, at the best other settings."""
    found = {
        name: sorted(r["sensitivity"])
        for name, r in task["results"].items()
        if len(r.get("sensitivity") or []) > 1
    }
    values: list[float] = [y for pairs in found.values() for _, y in pairs if known(y)]
    if not values:
        return None
    figure, axes = board(WIDTH, HEIGHT)
    ours = _untuned(task)
    low = min(values if ours is None else [*values, ours])
    top = min(max(values), 12 * low) * 1.1
    log_axis(axes, "x", *_span([np.array([x for x, _ in pairs]) for pairs in found.values()]))
    if low > 0:
        log_axis(axes, "y", low / 1.1, top)
    for name, pairs in found.items():
        x, y = (floats(side) for side in zip(*pairs, strict=True))
        mark = f"o{_index(report, name)}"
        line(axes, x, y, style_of(name), mark, width=1.7 if name == report["headline"] else 1.2)
        if np.isfinite(y).any():
            best = int(np.nanargmin(y))
            dot = axes.plot(x[best], y[best], "o", color=style_of(name).colour, ms=4.5, zorder=5)[0]
            dot.set_gid(f"c:{mark}")
    _level(axes, report, ours)
    axes.grid(True)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("validation loss at the end")
    return svg(figure, f"lr{_number(report, task)}", f"{task['name']}: loss by learning rate")


def tuning(report: Report, task: Report) -> str | None:
    """F7: expected best tuning loss after so many settings tried."""
    found = {
        name: r["best_of"] for name, r in task["results"].items() if len(r.get("best_of") or []) > 1
    }
    values: list[float] = [y for curve in found.values() for y in curve if known(y)]
    if not values:
        return None
    figure, axes = board(WIDTH, HEIGHT)
    ours = _untuned(task)
    low = min(values if ours is None else [*values, ours])
    for name, curve in found.items():
        x, y = thin(range(1, len(curve) + 1), curve)
        width = 1.9 if name == report["headline"] else 1.2
        line(axes, x, y, style_of(name), f"o{_index(report, name)}", width=width)
    _level(axes, report, ours)
    axes.set_xlim(1, max(len(curve) for curve in found.values()))
    if low > 0:
        log_axis(axes, "y", low / 1.05, min(max(values), 12 * low) * 1.05)
    axes.grid(True)
    axes.set_xlabel("settings tried")
    axes.set_ylabel("best validation loss so far")
    return svg(figure, f"tuning{_number(report, task)}", f"{task['name']}: loss by settings tried")


TRACES = {
    "effective_lr": "as a learning rate of Adam",
    "relative": "step length over weight size",
    "cosine": "cosine to Adam's step",
}


def traces(report: Report, task: str, which: str) -> str | None:
    """F9: one quantity of the optimizers' steps along a run."""
    found = {
        name: thin(trace["steps"], trace[which])
        for name, trace in report["traces"][task].items()
        if any(known(y) for y in trace.get(which) or [])
    }
    if not found:
        return None
    figure, axes = board(WIDTH, HEIGHT, left=56)
    for name, (x, y) in found.items():
        width = 2.2 if name == "learned" else 1.4
        index = _index(report, name)
        line(axes, x, y, style_of(name), f"o{index}", width=width)
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
    number = list(report["traces"]).index(task)
    return svg(figure, f"trace{which.replace('_', '')}{number}", f"{task}: {TRACES[which]}")


def meta_training(report: Report) -> str | None:
    """F10: loss on held-out tasks along meta-training."""
    found = report.get("meta_training") or {}
    x, y = found.get("outer_steps") or [], found.get("valid_loss") or []
    if len(x) < 2 or not any(known(v) for v in y):
        return None
    figure, axes = board(700, 240)
    steps, values = thin(x, y)
    line(axes, steps, values, style_of("learned"), "ours", width=2.2)
    best = int(np.nanargmin(floats(y)))
    axes.plot(x[best], y[best], "o", color=style_of("learned").colour, ms=6)
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


def _untuned(task: Report) -> float | None:
    ours = task["results"]["learned"]
    value = ours.get("tune_loss")
    value = ours["valid_loss"] if value is None else value
    return value if known(value) and value > 0 else None


def _level(axes: Any, report: Report, at: float | None) -> None:
    if at is None:
        return
    drawn = axes.axhline(at, color=style_of("learned").colour, lw=2.2, zorder=4)
    drawn.set_gid(f"c:o{_index(report, 'learned')}")


def _index(report: Report, name: str) -> int:
    return list(report["optimizers"]).index(name)


def _number(report: Report, task: Report) -> int:
    return [t["name"] for t in report["tasks"]].index(task["name"])


def _span(arrays: list[np.ndarray], pad: float = 1.2) -> tuple[float, float]:
    low, high = limits(np.concatenate(arrays), pad) or (1.0, 10.0)
    return (low, high) if high > low else (low / 2, high * 2)
