"""F8, the time of a training step over AdamW's: a row a load or a task, a dot an optimizer."""

from collections.abc import Mapping

from matplotlib.axes import Axes

from ...cost import load_name
from .._cost_sentence import BASE, ratios
from .._numbers import over, times
from .._report import Report
from ._canvas import board, limits, log_axis, rule, svg
from ._colours import INK, style_of

WIDTH, ROW = 520, 24
LEFT, RIGHT, TOP, BOTTOM = 258, 50, 26, 46
LETTER = 6.6
"""Pixels, about, of a letter of the legend."""

Dots = Mapping[str, Mapping[str, float]]
"""Row -> optimizer -> times AdamW's step."""


def step_cost(report: Report) -> str | None:
    """F8: by load; None where none was timed."""
    rows: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(row.optimizer for row in report.cost.rows):
        for ratio, row in ratios(report, name) if name != BASE else ():
            load = load_name(row.kind, row.parameters, row.batch, row.tokens)
            rows.setdefault(load, {})[name] = ratio
    return _dots(report, rows, "costload", "by load")


def task_cost(report: Report) -> str | None:
    """F8: by task, at the task's own load; None where none was timed."""
    rows = {
        task.name: {
            name: ratio
            for name, found in task.results.items()
            if name != BASE and (ratio := over(found.step_us, task.results[BASE].step_us))
        }
        for task in report.tasks
        if BASE in task.results
    }
    return _dots(report, {task: dots for task, dots in rows.items() if dots}, "costtask", "by task")


def _dots(report: Report, rows: Dots, key: str, by: str) -> str | None:
    ends = limits([1.0, *(ratio for dots in rows.values() for ratio in dots.values())], 1.15)
    if not rows or not ends:
        return None
    height = ROW * len(rows) + TOP + BOTTOM
    figure, axes = board(WIDTH, height, left=LEFT, right=RIGHT, top=TOP, bottom=BOTTOM)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    # A decade and less has its own round numbers: 1 is one of them.
    log_axis(axes, "x", ends[0], max(ends[1], 1.5))
    rule(axes, "x", 1.0, style_of(BASE).colour)
    for y, (name, dots) in enumerate(rows.items()):
        _row(report, axes, y, name, dots)
    _legend(report, axes, list(dict.fromkeys(name for dots in rows.values() for name in dots)))
    axes.grid(True, axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("training step, times AdamW's   (left is cheaper)")
    return svg(figure, key, f"time of a training step over AdamW's, {by}")


def _row(report: Report, axes: Axes, y: int, text: str, dots: Mapping[str, float]) -> None:
    side = axes.get_yaxis_transform()
    axes.annotate(
        text, (0, y), (4 - LEFT, 0), xycoords=side, textcoords="offset points", va="center",
        fontsize=10, color=INK,
    )  # fmt: skip
    for name, ratio in dots.items():
        ours = name == "learned"
        colour, marker = style_of(name).colour, style_of(name).marker or "o"
        (dot,) = axes.plot(
            ratio, y, marker, ms=8 if ours else 6, color=colour, zorder=5 if ours else 4,
            clip_on=False,
        )  # fmt: skip
        dot.set_gid(f"c:{_mark(report, name)}")
        if ours:
            words = axes.annotate(
                times(ratio), (1, y), (8, 0), xycoords=side, textcoords="offset points",
                va="center", fontsize=10, color=colour, weight="bold",
            )  # fmt: skip
            words.set_gid(f"c:{_mark(report, name)}")


def _legend(report: Report, axes: Axes, names: list[str]) -> None:
    """Dots and names in a line above; AdamW is the upright one."""
    x = 0.0
    for name in [*names, BASE]:
        label = report.label(name).split(",")[0]
        for text, at in (("|" if name == BASE else "●", x), (label, x + 12)):
            drawn = axes.annotate(
                text, (0, 1), (at, 12), xycoords="axes fraction", textcoords="offset points",
                va="center", fontsize=10, color=style_of(name).colour,
            )  # fmt: skip
            drawn.set_gid(f"c:{_mark(report, name)}")
        x += 12 + LETTER * len(label) + 14


def _mark(report: Report, name: str) -> str:
    """The class on the page by which an optimizer is shown or hidden."""
    return f"o{report.index(name)}" if name in report.optimizers else "other"
