"""Figures that are intervals, one row each: F3, F5, and the same for a comparison."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from ._colours import INK, LEAKAGE_COLOURS, SOFT, style_of
from ._draw import board, rule, svg
from ._format import Interval, faster, known, label, percent, ratio, rival, span

Report = dict[str, Any]
WIDTH, ROW = 450, 25


class Row(NamedTuple):
    """A line of a forest plot; `kind`: "head", "pooled" or "task"."""

    text: str
    found: Interval | None
    colour: str
    kind: str = "task"
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
    rule(axes, "x", 0.5 if scale == "share" else 1.0, "#7b8590")
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


def _share(found: Interval) -> str:
    ends = "–".join(f"{100 * found[side]:.0f}" for side in ("low", "high") if known(found[side]))
    return f"{percent(found['mid'])} [{ends}]"


def _limits(rows: Sequence[Row], scale: str) -> tuple[float, float]:
    if scale == "share":
        return 0.0, 1.0
    if scale in ("speed", "score"):
        return 0.23, 4.35
    ends = [
        r.found[side]
        for r in rows
        if r.found
        for side in ("low", "mid", "high")
        if known(r.found[side]) and r.found[side] > 0
    ]
    return max(1e-3, min([0.8, *ends]) / 1.06), min(1e3, max([1.25, *ends]) * 1.06)


def _row(
    axes: Axes, y: int, row: Row, low: float, high: float, scale: str, left: int
) -> None:  # fmt: skip
    side = axes.get_yaxis_transform()
    head, pooled, found = row.kind == "head", row.kind == "pooled", row.found
    weight = "bold" if head or pooled else "normal"
    size = 9.5 if head else 10.5
    text = row.text if len(row.text) <= 26 else row.text[:25] + "…"
    if head:
        axes.annotate(
            "■", (0, y), (-left + 4, 0), xycoords=side, textcoords="offset points", va="center",
            fontsize=8, color=row.colour,
        )  # fmt: skip
    axes.annotate(
        text, (0, y), (-left + (16 if head else 4), 0), xycoords=side,
        textcoords="offset points", va="center", weight=weight, fontsize=size,
        color=SOFT if head else INK,
    )  # fmt: skip
    if head or not found:
        return
    bound = found.get("bound", "")
    words = {"speed": faster, "share": _share}.get(scale, ratio)(found)
    if scale == "speed":
        words = f"{words} {span(found)}"
    axes.annotate(
        words, (1, y), (8, 0), xycoords=side, textcoords="offset points", va="center",
        fontsize=9.5, weight=weight, color=INK,
    )  # fmt: skip

    def inside(x: Any, otherwise: float) -> float:
        return min(max(x, low), high) if known(x) else otherwise

    if not any(known(found[end]) for end in ("low", "mid", "high")):
        return  # it may be anything
    start = low if bound == "<" else inside(found["low"], low)
    stop = high if bound == ">" else inside(found["high"], high)
    group = axes.plot([start, stop], [y, y], color=row.colour, lw=4 if pooled else 2.2)[0]
    if bound or not known(found["mid"]):  # the runs ended before the target was reached
        group.set_dashes((1.6, 1.2))
    if not known(found["mid"]):  # it is somewhere there
        group.set_gid("c:censored")
        return
    marker = {">": ">", "<": "<"}.get(bound, "D" if pooled else "o")
    point = axes.plot(
        inside(found["mid"], low), y, marker, ms=7.5 if bound or pooled else 7, mew=1.8,
        color=row.colour, mfc="#ffffff" if bound else row.colour, zorder=4, clip_on=False,
    )[0]  # fmt: skip
    name = row.mark or ("censored" if bound else "measured")
    for artist in (group, point):
        artist.set_gid(f"c:{name}")


def by_task(report: Report, field: str) -> list[Row]:
    """Rows of F3: all tasks pooled, then leakage by leakage its tasks."""
    baseline, rows, seen = report["headline"], [], False
    for group in report["groups"]:
        colour = LEAKAGE_COLOURS.get(group["label"], INK)
        pooled = group["against"].get(baseline, {}).get(field)
        if group["label"] == "all tasks":
            seen = True
            if len(report["tasks"]) > 1:
                rows.append(Row(f"all {len(group['tasks'])} tasks", pooled, INK, "pooled"))
            continue
        rows.append(Row(group["label"], None, colour, "head"))
        if len(group["tasks"]) > 1:
            rows.append(Row("pooled", pooled, colour, "pooled"))
        for task in report["tasks"]:
            if task["name"] in group["tasks"]:
                found = task["against"].get(baseline, {}).get(field)
                rows.append(Row(task["name"], found, colour))
    if seen and len(rows) <= 1:
        rows += [
            Row(t["name"], t["against"].get(baseline, {}).get(field),
                LEAKAGE_COLOURS.get(t["leakage"], INK))
            for t in report["tasks"]
        ]  # fmt: skip
    return rows


def headline(report: Report) -> dict[str, str]:
    """F3: speed-up and ratio of final losses against the headline baseline, task by task."""
    name = rival(report)
    return {
        "speed": forest(
            by_task(report, "speedup"), "f3speed", f"speed-up over {name}, task by task",
            axis=f"times as fast as {name}   (right is better)", scale="speed",
        ),
        "loss": forest(
            by_task(report, "valid_ratio"), "f3loss", f"final loss over {name}'s, task by task",
            axis=f"final loss over {name}'s   (left is better)",
        ),
    }  # fmt: skip


def baselines(report: Report) -> dict[str, str]:
    """F5: pooled speed-up, score and probability of improvement over each baseline."""
    pooled = dict(report["groups"][0]["against"])
    oracle = (report.get("oracle") or {}).get("against")
    if oracle:
        pooled["oracle"] = oracle
    names = list(report["optimizers"])

    def rows(field: str) -> list[Row]:
        return [
            Row(label(report, name), found[field], style_of(name).colour,
                mark=f"o{names.index(name)}" if name in names else "oracle")
            for name, found in pooled.items() if found.get(field)
        ]  # fmt: skip

    made = {}
    if found := rows("speedup"):
        made["speed"] = forest(
            found, "f5speed", "pooled speed-up over each baseline",
            axis="times as fast, all tasks   (right is better)", scale="speed",
        )  # fmt: skip
    if found := rows("score"):
        made["score"] = forest(
            found, "f5score", "pooled score against each baseline",
            axis="score, all tasks   (right is better)", scale="score",
        )  # fmt: skip
    if found := rows("improvement"):
        made["improvement"] = forest(
            found, "f5better", "probability of improvement over each baseline",
            axis="how often a run beats one of the baseline's   (right is better)", scale="share",
        )  # fmt: skip
    return made


def misinformed(report: Report) -> str | None:
    """Final loss if told a wrong horizon, over that if told the right one."""
    found = report.get("misinformed") or []
    rows = []
    for case in found:
        told = f"told {case['told']:g} times the horizon"
        rows.append(Row(told, None, SOFT, "head"))
        for text, field in (
            ("over itself, told right", "against_told_right"),
            (f"over {rival(report)}, told right", "against_headline"),
        ):
            if case.get(field):
                rows.append(Row(text, case[field], style_of("learned").colour, mark="o0"))
    if not any(row.found for row in rows):
        return None
    return forest(
        rows, "misinformed", "final loss if told a wrong horizon",
        axis="ratio of final losses   (left is better)",
    )  # fmt: skip
