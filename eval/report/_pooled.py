"""Figures over all tasks: performance profile (F4), generalisation (F6), cost (F8)."""

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from ._colours import BETTER, INK, SOFT, WORSE, style_of
from ._draw import board, floats, line, log_axis, rule, svg
from ._format import Interval, known, label, times

Report = dict[str, Any]


def profile(report: Report) -> str | None:
    """F4: share of tasks whose target is reached within tau times the fastest's steps."""
    found = report.get("profile") or {}
    names = [n for n in found.get("names", []) if n in report["optimizers"]]
    if not names or len(found.get("tau", [])) < 2:
        return None
    figure, axes = board(540, 350, left=54, right=158, top=12, bottom=44)
    tau = np.array(found["tau"], float)
    order = sorted(names, key=lambda n: -(found["area"].get(n) or 0.0))
    index = {n: i for i, n in enumerate(report["optimizers"])}
    ends = []
    for name in order:
        rho, style = floats(found["rho"][name]), style_of(name)
        width = 2.6 if name == "learned" else 1.9 if name == report["headline"] else 1.3
        line(axes, tau, rho, style, f"o{index[name]}", width=width, stairs=True)
        ends.append(rho[-1])
    for name, y in zip(order, _apart(ends, 0.052), strict=True):
        weight = "bold" if name == "learned" else "normal"
        text = axes.annotate(
            label(report, name)[:26], (1, y), (8, 0), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", va="center", fontsize=10, weight=weight,
            color=style_of(name).colour,
        )  # fmt: skip
        text.set_gid(f"c:o{index[name]}")
    axes.set_xlim(tau[0], tau[-1])
    axes.set_ylim(-0.02, 1.03)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    ticks = [t for t in (1, 1.5, 2, 2.5, 3, 3.5, 4) if tau[0] <= t <= tau[-1]]
    axes.set_xticks(ticks, [f"{t:g}x" for t in ticks])
    axes.grid(True)
    axes.set_xlabel("steps allowed, as a multiple of the fastest optimizer's")
    axes.set_ylabel("tasks that reach the target")
    return svg(figure, "profile", "performance profile: share of tasks reached, by steps allowed")


def _apart(wanted: list[float], gap: float) -> list[float]:
    """Heights of labels, moved so that none overlap, as near to `wanted` as a sweep gets."""
    order = sorted(range(len(wanted)), key=lambda i: -wanted[i])
    placed, last = [0.0] * len(wanted), math.inf
    for i in order:
        placed[i] = last = min(wanted[i], last - gap)
    short = -min(placed, default=0.0)
    # Too low: up again from the bottom, at most by what is needed.
    floor = 0.0
    for i in reversed(order) if short > 0 else ():
        placed[i] = max(placed[i], floor)
        floor = placed[i] + gap
    return placed


MAP = LinearSegmentedColormap.from_list(
    "verdict", [BETTER, "#8fbfdd", "#f7f7f5", "#f0b48a", WORSE], N=256
)


def heat(report: Report, field: str) -> str | None:
    """F6: final loss over AdamW's, retuned there or with its setting transferred."""
    cells = [c for c in report.get("grid") or [] if c.get(field) or c.get("diverged")]
    if not any(c.get(field) for c in cells):
        return None
    bases = list(dict.fromkeys(_base(c) for c in cells))
    rows: dict[tuple[str, str], list[Report]] = {}
    for cell in cells:
        rows.setdefault((_base(cell), str(cell["axis"])), []).append(cell)
    most = max(len(found) for found in rows.values())
    words = [text for base, axis in rows for text in ([axis] if len(bases) == 1 else [base, axis])]
    wide, high, left = 62, 38, max(96, 7 * max(map(len, words)))
    figure, axes = board(
        left + wide * max(most, 5) + 6, high * len(rows) + 8, left=left, right=6, top=4, bottom=4
    )
    for y, ((base, axis), found) in enumerate(rows.items()):
        text = axis if len(bases) == 1 else f"{base}\n{axis}"
        axes.text(-0.12, y + 0.5, text, ha="right", va="center", fontsize=10.5)
        for x, cell in enumerate(found):
            _cell(axes, x, y, cell, field)
    axes.set_xlim(0, max(most, 5))
    axes.set_ylim(len(rows), 0)
    axes.set_axis_off()
    return svg(figure, f"heat{field}", f"generalisation, AdamW {field}: final loss over AdamW's")


def _base(cell: Report) -> str:
    return str(cell.get("task") or "").split("~")[0]


def _cell(axes: Axes, x: int, y: int, cell: Report, field: str) -> None:
    found: Interval | None = cell.get(field)
    mid = found["mid"] if found else None
    shade = np.clip(math.log2(mid), -1, 1) / 2 + 0.5 if known(mid) and mid > 0 else None
    colour = MAP(float(shade)) if shade is not None else "#eceff2"
    bad = bool(cell.get("diverged")) or shade is None
    patch = Rectangle(
        (x + 0.02, y + 0.03), 0.96, 0.94, facecolor=colour, edgecolor="#ffffff", lw=0
    )  # fmt: skip
    axes.add_patch(patch)
    if bad:
        hatched = Rectangle(
            (x + 0.02, y + 0.03), 0.96, 0.94, facecolor="none", edgecolor="#5b656066",
            hatch="////", lw=0,
        )  # fmt: skip
        hatched.set_gid("c:diverged")
        axes.add_patch(hatched)
    dark = shade is not None and abs(float(shade) - 0.5) > 0.36
    ink = "#ffffff" if dark and not bad else INK
    words = times(mid) if shade is not None else "diverged"
    box = {"boxstyle": "round,pad=0.12", "fc": "#ffffffd0", "lw": 0} if bad else None
    axes.text(
        x + 0.5, y + 0.63, words, ha="center", va="center", color=ink, bbox=box,
        fontsize=11 if shade is not None else 9, weight="bold",
    )  # fmt: skip
    axes.text(
        x + 0.5, y + 0.25, _value(cell["value"]), ha="center", va="center", fontsize=8.5,
        color="#ffffff" if dark and not bad else SOFT, bbox=box,
    )  # fmt: skip


def _value(value: Any) -> str:
    """What was changed to what, in the width of a cell."""
    text = f"{value:g}" if isinstance(value, float) else str(value).replace("_", "-")
    return text if len(text) <= 11 else text[:10] + "…"


def overhead(report: Report, field: str) -> str | None:
    """F8: time over Adam's against parameter count; `field`: "step" or "update"."""
    rows = (report.get("cost") or {}).get("rows") or []
    adam = {
        (r["network"], r["batch"]): r[field]
        for r in rows
        if r["optimizer"] == "adam" and known(r.get(field)) and r[field] > 0
    }
    lines: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for r in rows:
        base = adam.get((r["network"], r["batch"]))
        if r["optimizer"] != "adam" and base and known(r.get(field)):
            lines.setdefault((r["optimizer"], r["batch"]), []).append(
                (r["parameters"], r[field] / base)
            )
    if not lines:
        return None
    figure, axes = board(480, 270, left=50, right=92, top=10, bottom=44)
    names, batches = list(report["optimizers"]), sorted({batch for _, batch in lines})
    ends, top = [], 1.0
    for (name, batch), points in lines.items():
        points.sort()
        x, y = (floats(side) for side in zip(*points, strict=True))
        mark = f"o{names.index(name)}" if name in names else "other"
        faint = 0.45 + 0.55 * (batches.index(batch) + 1) / len(batches)
        drawn = axes.plot(x, y, "-o", color=style_of(name).colour, lw=1.8, ms=5, alpha=faint)[0]
        drawn.set_gid(f"c:{mark}")
        ends.append((float(y[-1]), f"batch {batch}", name, mark))
        top = max(top, float(y.max()))
    gap = 0.06 * (top * 1.12)
    for (_, text, name, mark), y in zip(ends, _apart([e[0] for e in ends], gap), strict=True):
        drawn = axes.annotate(
            text, (1, y), (8, 0), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", va="center", fontsize=10, color=style_of(name).colour,
        )  # fmt: skip
        drawn.set_gid(f"c:{mark}")
    counts = [p for points in lines.values() for p, _ in points]
    log_axis(axes, "x", min(counts) / 1.4, max(counts) * 1.4)
    axes.set_ylim(0, top * 1.12)
    rule(axes, "y", 1.0, "#7b8590")
    axes.annotate(
        "Adam", (1, 1), (8, 0), xycoords=axes.get_yaxis_transform(),
        textcoords="offset points", va="center", fontsize=10, color=SOFT,
    )  # fmt: skip
    axes.grid(True)
    axes.set_xlabel("parameters of the network")
    axes.set_ylabel({"step": "training step", "update": "update alone"}[field] + ", times Adam's")
    return svg(figure, f"cost{field}", f"time of the {field} over Adam's, by parameter count")
