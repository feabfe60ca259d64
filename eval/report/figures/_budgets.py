"""Equal budgets of trials: what the best of so many buys, over AdamW's tuned in full."""

from .._numbers import short
from .._report import Report
from .._report_budgets import Budgets
from ._canvas import band, board, floats, line, log_axis, rule, spread, svg
from ._colours import style_of


def budgets(report: Report, found: Budgets) -> str:
    """Loss against trials, one line an optimizer, with the 95 % interval around it."""
    figure, axes = board(540, 330, left=54, right=150, top=12, bottom=44)
    sides = [x for points in found.rows.values() for p in points
             for x in (p.loss.low, p.loss.mid, p.loss.high) if x]  # fmt: skip
    low, high = min([0.95, *sides]) / 1.02, max([1.05, *sides]) * 1.02
    counts = sorted({point.trials for points in found.rows.values() for point in points})
    ends = []
    for name, points in found.rows.items():
        x = floats([p.trials for p in points])
        under, mid, over = (
            floats([getattr(p.loss, side) for p in points]) for side in ("low", "mid", "high")
        )
        style, mark = style_of(name), f"o{report.index(name)}"
        band(axes, x, under, over, style, mark)
        line(axes, x, mid, style, mark, width=2.6 if name == "learned" else 1.9)
        axes.plot(x, mid, "o", color=style.colour, ms=5, zorder=5)[0].set_gid(f"c:{mark}")
        ends.append((name, float(mid[-1])))
    log_axis(axes, "x", 0.9, counts[-1] * 1.1)
    axes.set_xticks(counts, [short(k) for k in counts])
    log_axis(axes, "y", low, high)
    rule(axes, "y", 1.0, "#7b8590")
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = spread([float(to_axes.transform((1, y))[1]) for _, y in ends], 0.07)
    for (name, _), y in zip(ends, heights, strict=True):
        text = axes.annotate(
            report.tried(name)[:24], (1, y), (8, 0), xycoords="axes fraction",
            textcoords="offset points", va="center", fontsize=10,
            weight="bold" if name == "learned" else "normal", color=style_of(name).colour,
        )  # fmt: skip
        text.set_gid(f"c:o{report.index(name)}")
    axes.grid(True)
    axes.set_xlabel("trials: settings tried on the task, the best taken")
    axes.set_ylabel(f"final loss over {report.rival}'s, tuned in full")
    return svg(figure, "budgets", "final loss at the best of so many trials")
