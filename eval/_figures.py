"""Figures of the report, as inline SVG."""

import io
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

COLOURS = {
    "learned": "#0072B2",
    "adamw": "#D55E00",
    "adam": "#E69F00",
    "adam_default": "#999999",
    "lion": "#009E73",
    "adabelief": "#CC79A7",
    "muon": "#000000",
    "sgdm": "#56B4E9",
    "schedule_free": "#F0E442",
    "adamw_frozen": "#7A3600",
}
"""Okabe & Ito's palette, safe for colour-blind readers: one optimizer, one colour, everywhere.

Its eight colours, a grey, and for the frozen AdamW a darker AdamW.
"""

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "learned-opt",
    "font.family": "sans-serif",
    "font.sans-serif": ["Inter", "Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}


def draw(report: dict[str, Any]) -> dict[str, str]:
    """Figure name -> SVG text. Equal reports give equal bytes."""
    with matplotlib.rc_context(STYLE):
        return {"forest": _svg(_forest(report)), "curves": _svg(_curves(report))}


def _forest(report: dict[str, Any]) -> Figure:
    """Ratio of final validation loss, learned over the headline baseline, task by task."""
    baseline = report["headline"]
    rows: list[tuple[str, dict[str, float], bool]] = []
    for group in report["groups"]:
        if len(group["tasks"]) > 1:
            label = f"all {len(group['tasks'])}: {group['label']}"
            rows.append((label, group["against"][baseline]["valid_ratio"], True))
        for task in report["tasks"]:
            if task["name"] in group["tasks"]:
                suffix = "" if len(group["tasks"]) > 1 else f" ({group['label']})"
                ratio = task["against"][baseline]["valid_ratio"]
                rows.append((task["name"] + suffix, ratio, False))
    figure = Figure(figsize=(7.6, 0.42 * len(rows) + 1.0), layout="constrained")
    axes = figure.subplots()
    for y, (_, ratio, pooled) in enumerate(rows):
        axes.plot(
            [ratio["low"], ratio["high"]], [y, y], color=COLOURS["learned"], lw=4 if pooled else 2
        )
        axes.plot(ratio["mid"], y, "D" if pooled else "o", color=COLOURS["learned"], ms=7)
    axes.axvline(1.0, color="#333333", lw=1)
    axes.set_xscale("log")
    low = min(0.5, *(ratio["low"] for _, ratio, _ in rows)) / 1.1
    high = max(2.0, *(ratio["high"] for _, ratio, _ in rows)) * 1.1
    ticks = [t for t in (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10) if low <= t <= high]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_xlim(low, high)
    axes.set_yticks(range(len(rows)), [label for label, _, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("final validation loss, as a multiple of tuned AdamW's   (left of 1: better)")
    axes.grid(axis="x", color="#e6e6e6")
    axes.set_axisbelow(True)
    return figure


def _curves(report: dict[str, Any]) -> Figure:
    """Validation loss against steps: median and quartiles over seeds, a panel a task."""
    tasks = report["tasks"]
    columns = min(3, len(tasks))
    lines = -(-len(tasks) // columns)
    figure = Figure(figsize=(3.5 * columns, 2.9 * lines + 0.4), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, task in zip(panels, tasks, strict=False):
        _panel(axes, task)
    for axes in panels[len(tasks) :]:
        axes.axis("off")
    handles, _ = panels[0].get_legend_handles_labels()
    labels = list(report["optimizers"].values())
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _panel(axes: Axes, task: dict[str, Any]) -> None:
    top, bottom = 0.0, np.inf
    for name, result in task["results"].items():
        steps = np.array(result["steps"])
        low, mid, high = (_floats(curve) for curve in result["curves"]["valid"])
        ours = name == "learned"
        axes.plot(
            steps, mid, color=COLOURS[name], lw=2.2 if ours else 1.3, zorder=3 if ours else 2,
            label=name,
        )  # fmt: skip
        axes.fill_between(steps, low, high, color=COLOURS[name], alpha=0.15, lw=0)
        if np.isfinite(mid).any():
            top, bottom = max(top, mid[np.isfinite(mid)][0]), min(bottom, np.nanmin(mid))
    axes.set_xscale("log")
    axes.set_yscale("log")
    if np.isfinite(bottom):
        axes.set_ylim(0.8 * bottom, 1.3 * top)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.minorticks_off()
    axes.set_title(task["name"], pad=16)
    axes.text(0, 1.02, task["leakage"], transform=axes.transAxes, fontsize=8.5, color="#555555")
    axes.set_xlabel("steps")
    axes.set_ylabel("validation loss")
    axes.grid(color="#eeeeee")


def _floats(curve: list[float | None]) -> np.ndarray:
    return np.array([np.nan if x is None else x for x in curve])


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
