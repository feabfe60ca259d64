"""Forest plots: estimates with their intervals, one row each (F3, F5, and of a comparison)."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from matplotlib.axes import Axes

from ...statistics import Estimate, Speedup
from .._numbers import percent, ratio, span
from .._report import Report
from ._canvas import board, rule, svg
from ._colours import INK, LEAKAGE_COLOURS, SOFT, style_of

WIDTH, ROW = 450, 25
EVEN = "#7b8590"


class Row(NamedTuple):
    """A line of a forest plot; a "head" has no estimate."""

    text: str
    found: Estimate | Speedup | None
    colour: str
    kind: Literal["head", "pooled", "task"] = "task"
    mark: str = ""


def forest(
    rows: Sequence[Row], key: str, says: str, *, axis: str, scale: str = "ratio"
) -> str:  # fmt: skip
    """Estimates with intervals, one row each, and their numbers at the right.

    Args:
      scale: "ratio" (log, 1 is even), "speed" (log, 1/4 to 4, may be censored), "score" (the
        same, clipped) or "share".
    """
    left, right = 156, 114 if scale != "share" else 98
    figure, axes = board(
        WIDTH, ROW * len(rows) + 52, left=left, right=right, top=6, bottom=46
    )  # fmt: skip
    low, high = _limits(rows, scale)
    for y, row in enumerate(rows):
        _row(axes, y, row, low, high, scale, left)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    if scale == "share":
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    else:
        axes.set_xscale("log")
        axes.set_xlim(low, high)
        fast = scale in ("speed", "score")
        ticks = [0.25, 0.5, 1, 2, 4] if fast else _ratio_ticks(low, high)
        axes.set_xticks(ticks, [f"{t:g}x" if fast else f"{t:g}" for t in ticks])
        axes.minorticks_off()
    rule(axes, "x", 0.5 if scale == "share" else 1.0, EVEN)
    axes.grid(True, axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(axis)
    return svg(figure, key, says)


def _ratio_ticks(low: float, high: float) -> list[float]:
    """1 and steps to both sides, as fine as fits."""
    for step in (1.1, 1.25, 1.5, 2, 4, 10, 100):
        up = [step**k for k in range(1, 20) if step**k <= high]
        down = [step**-k for k in range(1, 20) if step**-k >= low]
        if len(up) + len(down) <= 4:
            return [
                round(t, 2) if t > 0.1 else float(f"{t:.2g}") for t in (*reversed(down), 1.0, *up)
            ]
    return [1.0]


def _limits(rows: Sequence[Row], scale: str) -> tuple[float, float]:
    if scale == "share":
        return 0.0, 1.0
    if scale in ("speed", "score"):
        return 0.23, 4.35
    sides = [x for r in rows if r.found for x in (r.found.low, r.found.mid, r.found.high)]
    ends = [x for x in sides if x is not None and x > 0]
    return max(1e-3, min([0.8, *ends]) / 1.06), min(1e3, max([1.25, *ends]) * 1.06)


def _words(found: Estimate | Speedup, scale: str) -> str:
    if isinstance(found, Speedup):
        return f"{found.text} {span(found)}"
    if scale == "share":
        ends = "–".join(f"{100 * x:.0f}" for x in (found.low, found.high) if x is not None)
        return f"{percent(found.mid)} [{ends}]"
    return ratio(found)


def _row(
    axes: Axes, y: int, row: Row, low: float, high: float, scale: str, left: int
) -> None:  # fmt: skip
    head, pooled, found = row.kind == "head", row.kind == "pooled", row.found
    weight = "bold" if head or pooled else "normal"
    side: dict[str, Any] = {
        "xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "va": "center",
    }  # fmt: skip
    most = 48 if head else 26  # nothing stands beside a head
    text = row.text if len(row.text) <= most else row.text[: most - 1] + "…"
    if head:
        axes.annotate("■", (0, y), (-left + 4, 0), fontsize=8, color=row.colour, **side)
    axes.annotate(
        text, (0, y), (-left + (16 if head else 4), 0), weight=weight,
        fontsize=9.5 if head else 10.5, color=SOFT if head else INK, **side,
    )  # fmt: skip
    if head or not found:
        return
    words = _words(found, scale)
    axes.annotate(words, (1, y), (8, 0), fontsize=9.5, weight=weight, color=INK, **side)

    def inside(x: float | None, otherwise: float) -> float:
        return otherwise if x is None else min(max(x, low), high)

    if (found.low, found.mid, found.high) == (None, None, None):
        return  # it may be anything
    start = low if found.bound == "<" else inside(found.low, low)
    stop = high if found.bound == ">" else inside(found.high, high)
    group = axes.plot([start, stop], [y, y], color=row.colour, lw=4 if pooled else 2.2)[0]
    if found.bound or found.mid is None:  # the runs ended before the target was reached
        group.set_dashes((1.6, 1.2))
    if found.mid is None:  # it is somewhere there
        group.set_gid("c:censored")
        return
    marker = found.bound or ("D" if pooled else "o")
    point = axes.plot(
        inside(found.mid, low), y, marker, ms=7.5 if found.bound or pooled else 7, mew=1.8,
        color=row.colour, mfc="#ffffff" if found.bound else row.colour, zorder=4, clip_on=False,
    )[0]  # fmt: skip
    name = row.mark or ("censored" if found.bound else "measured")
    for artist in (group, point):
        artist.set_gid(f"c:{name}")


def _by_task(report: Report, field: str) -> list[Row]:
    """Rows of F3: all tasks pooled, then leakage by leakage its tasks."""
    rows = []
    for group in report.groups:
        colour = LEAKAGE_COLOURS.get(group.label, INK)
        pooled = getattr(group.against[report.headline], field)
        if group.label == "all tasks":
            rows.append(Row(f"all {len(group.tasks)} tasks", pooled, INK, "pooled"))
            continue
        rows.append(Row(group.label, None, colour, "head"))
        if len(group.tasks) > 1:
            rows.append(Row("pooled", pooled, colour, "pooled"))
        rows += [
            Row(task.name, getattr(task.against[report.headline], field), colour)
            for task in report.tasks
            if task.name in group.tasks
        ]
    return rows


def speed_ups(report: Report) -> str:
    """F3: speed-up over the headline baseline, task by task."""
    return forest(
        _by_task(report, "speedup"), "f3speed", f"speed-up over {report.rival}, task by task",
        axis=f"times as fast as {report.rival}   (right is better)", scale="speed",
    )  # fmt: skip


def final_losses(report: Report) -> str:
    """F3: clipped ratio of final losses to the headline baseline's, task by task."""
    return forest(
        _by_task(report, "clipped"), "f3loss",
        f"final loss over {report.rival}'s, task by task",
        axis=f"final loss over {report.rival}'s, clipped to a factor of 2   (left is better)",
    )  # fmt: skip


BASELINES = {
    "speedup": ("f5speed", "pooled speed-up over each baseline",
                "times as fast, all tasks   (right is better)", "speed"),
    "score": ("f5score", "pooled score against each baseline",
              "score, clipped to a factor of 4   (right is better)", "score"),
    "clipped": ("f5loss", "pooled final loss over each optimizer's",
                "final loss over its, clipped to a factor of 2   (left is better)", "ratio"),
    "improvement": ("f5better", "probability of improvement over each baseline",
                    "how often a run beats one of the baseline's   (right is better)", "share"),
}  # fmt: skip


def baselines(report: Report, field: str) -> str:
    """F5: pooled loss, speed-up, score or probability of improvement over each, by kind."""
    pooled, rows = report.groups[0].against, []
    for title, names in report.kinds:
        others = [name for name in names if name != "learned"]
        if others:
            rows.append(Row(title, None, SOFT, "head"))
        rows += [
            Row(_short(report, name), getattr(pooled[name], field), style_of(name).colour,
                mark=f"o{report.index(name)}")
            for name in others
        ]  # fmt: skip
    if report.oracle:
        rows.append(
            Row(report.label("oracle"), getattr(report.oracle.against, field), INK, mark="oracle")
        )
    key, says, axis, scale = BASELINES[field]
    return forest(rows, key, says, axis=axis, scale=scale)


def _short(report: Report, name: str) -> str:
    """A label without what the head above it says."""
    label = report.label(name)
    if report.optimizers[name].role == "calibrated":
        return f"{label.split(',')[0]}, one setting"
    return label.removesuffix(", untuned").removesuffix(", tuned")


def misinformed(report: Report) -> str | None:
    """Final loss if told a wrong horizon, over that if told the right one."""
    if not report.misinformed:
        return None
    colour, rows = style_of("learned").colour, []
    for case in report.misinformed:
        over = f"over {report.rival}, told right"
        rows += [
            Row(f"told {case.told:g} times the horizon", None, SOFT, "head"),
            Row("over itself, told right", case.against_told_right, colour, mark="o0"),
            Row(over, case.against_headline, colour, mark="o0"),
        ]
    return forest(
        rows, "misinformed", "final loss if told a wrong horizon",
        axis="ratio of final losses   (left is better)",
    )  # fmt: skip
