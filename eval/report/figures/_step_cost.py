"""F8, the time of a step over Adam's, by the size of the network."""

from typing import Literal

from .._numbers import over
from .._report import Report
from ._canvas import board, floats, log_axis, rule, spread, svg
from ._colours import SOFT, style_of

AXES = {"step": "training step", "update": "update alone"}


def step_cost(report: Report, field: Literal["step", "update"]) -> str | None:
    """F8: time over Adam's against parameter count."""
    rows = report.cost.rows
    adam = {(r.network, r.batch): getattr(r, field) for r in rows if r.optimizer == "adam"}
    lines: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for r in rows:
        ratio = over(getattr(r, field), adam.get((r.network, r.batch)))
        if r.optimizer != "adam" and ratio is not None:
            lines.setdefault((r.optimizer, r.batch), []).append((r.parameters, ratio))
    if not lines:
        return None
    figure, axes = board(480, 270, left=50, right=92, top=10, bottom=44)
    batches, side = sorted({batch for _, batch in lines}), axes.get_yaxis_transform()
    ends, top = [], 1.0
    for (name, batch), points in lines.items():
        x, y = (floats(side) for side in zip(*sorted(points), strict=True))
        mark = f"o{report.index(name)}" if name in report.optimizers else "other"
        faint = 0.45 + 0.55 * (batches.index(batch) + 1) / len(batches)
        drawn = axes.plot(x, y, "-o", color=style_of(name).colour, lw=1.8, ms=5, alpha=faint)[0]
        drawn.set_gid(f"c:{mark}")
        ends.append((float(y[-1]), f"batch {batch}", name, mark))
        top = max(top, float(y.max()))
    heights = spread([end[0] for end in ends], 0.06 * (top * 1.12))
    for (_, text, name, mark), y in zip(ends, heights, strict=True):
        drawn = axes.annotate(
            text, (1, y), (8, 0), xycoords=side, textcoords="offset points", va="center",
            fontsize=10, color=style_of(name).colour,
        )  # fmt: skip
        drawn.set_gid(f"c:{mark}")
    counts = [count for points in lines.values() for count, _ in points]
    log_axis(axes, "x", min(counts) / 1.4, max(counts) * 1.4)
    axes.set_ylim(0, top * 1.12)
    rule(axes, "y", 1.0, "#7b8590")
    axes.annotate(
        "Adam", (1, 1), (8, 0), xycoords=side, textcoords="offset points", va="center",
        fontsize=10, color=SOFT,
    )  # fmt: skip
    axes.grid(True)
    axes.set_xlabel("parameters of the network")
    axes.set_ylabel(f"{AXES[field]}, times Adam's")
    return svg(figure, f"cost{field}", f"time of the {field} over Adam's, by parameter count")
