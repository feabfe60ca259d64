"""F6, a heat map of the generalisation grid: one cell a change of the base task."""

import math
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle

from .._numbers import times
from .._report import Report
from .._report_measured import GridCell
from ._canvas import board, svg
from ._colours import BETTER, INK, SOFT, WORSE

MAP = LinearSegmentedColormap.from_list(
    "verdict", [BETTER, "#8fbfdd", "#f7f7f5", "#f0b48a", WORSE], N=256
)


def heat_map(report: Report, field: Literal["retuned", "transferred"]) -> str | None:
    """F6: final loss over AdamW's, retuned there or with its setting transferred."""
    cells = [cell for cell in report.grid if getattr(cell, field) or cell.diverged]
    if not any(getattr(cell, field) for cell in cells):
        return None
    rows: dict[tuple[str, str], list[GridCell]] = {}
    for cell in cells:
        rows.setdefault((cell.task.split("~")[0], cell.axis), []).append(cell)
    one_base = len({base for base, _ in rows}) == 1
    words = [axis if one_base else f"{base}\n{axis}" for base, axis in rows]
    most, longest = max(map(len, rows.values())), max(map(len, "\n".join(words).split("\n")))
    wide, high, left = 62, 38, max(96, 7 * longest)
    figure, axes = board(
        left + wide * max(most, 5) + 6, high * len(rows) + 8, left=left, right=6, top=4, bottom=4
    )
    for y, (text, found) in enumerate(zip(words, rows.values(), strict=True)):
        axes.text(-0.12, y + 0.5, text, ha="right", va="center", fontsize=10.5)
        for x, cell in enumerate(found):
            _cell(axes, x, y, cell, getattr(cell, field).mid if getattr(cell, field) else None)
    axes.set_xlim(0, max(most, 5))
    axes.set_ylim(len(rows), 0)
    axes.set_axis_off()
    return svg(figure, f"heat{field}", f"generalisation, AdamW {field}: final loss over AdamW's")


def _cell(axes: Axes, x: int, y: int, cell: GridCell, mid: float | None) -> None:
    shade = None
    if mid is not None and mid > 0:
        shade = float(np.clip(math.log2(mid), -1, 1) / 2 + 0.5)
    colour = MAP(shade) if shade is not None else "#eceff2"
    bad = cell.diverged > 0 or shade is None
    place = {"xy": (x + 0.02, y + 0.03), "width": 0.96, "height": 0.94, "lw": 0}
    axes.add_patch(Rectangle(**place, facecolor=colour, edgecolor="#ffffff"))
    if bad:
        hatched = Rectangle(**place, facecolor="none", edgecolor="#5b656066", hatch="////")
        hatched.set_gid("c:diverged")
        axes.add_patch(hatched)
    dark = shade is not None and abs(shade - 0.5) > 0.36 and not bad
    box = {"boxstyle": "round,pad=0.12", "fc": "#ffffffd0", "lw": 0} if bad else None
    text = {"ha": "center", "va": "center", "bbox": box}
    axes.text(
        x + 0.5, y + 0.63, "diverged" if shade is None else times(mid), weight="bold",
        fontsize=9 if shade is None else 11, color="#ffffff" if dark else INK, **text,
    )  # fmt: skip
    axes.text(
        x + 0.5, y + 0.25, _value(cell.value), fontsize=8.5,
        color="#ffffff" if dark else SOFT, **text,
    )  # fmt: skip


def _value(value: float | str) -> str:
    """What was changed to what, in the width of a cell."""
    text = f"{value:g}" if isinstance(value, float) else str(value).replace("_", "-")
    return text if len(text) <= 11 else text[:10] + "…"
