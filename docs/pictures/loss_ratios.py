"""Final loss of `small` over that of tuned AdamW, task by task, from the committed reports.

python docs/pictures/loss_ratios.py [OUT.svg]
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

HERE = Path(__file__).parent
REPORTS = {
    "META_TEST_V2": HERE.parent / "reports" / "META_TEST_V2" / "report.html",
    "META_TEST_V1": HERE.parent / "reports" / "META_TEST_V1" / "report.html",
}
COLOURS = {True: "#2e6f9e", False: "#8fb4cf"}
"""Of tasks whose network is new to the optimizer, and of the others."""
PAPER, INK = "#fbfbf9", "#1d2730"
STYLE = {"svg.hashsalt": "learned-opt", "svg.fonttype": "none", "font.size": 10.5}
TICKS = (0.25, 0.5, 1.0, 2.0)


def report_of(page: Path) -> dict[str, Any]:
    """The data inside a report.html."""
    text = page.read_text()
    return json.loads(re.search(r'id="report">(.*?)</script>', text, re.DOTALL).group(1))


def panel(axes: Axes, title: str, report: dict[str, Any]) -> None:
    """One row a task, the lowest ratio on top, and a row of all tasks below."""
    ratio = lambda found: found["against"]["adamw"]["valid_ratio"]  # noqa: E731
    tasks = sorted(report["tasks"], key=lambda task: ratio(task)["mid"])
    rows = [(t["name"], ratio(t), COLOURS[t["leakage"].startswith("new")]) for t in tasks]
    pooled = ratio(report["groups"][0])
    rows.append((f"all {len(tasks)} tasks", pooled, INK))
    for place, (_, found, colour) in enumerate(rows):
        axes.plot([found["low"], found["high"]], [place, place], color=colour, linewidth=2)
        axes.plot(found["mid"], place, "D" if colour == INK else "o", color=colour, markersize=6)
    axes.axvline(1, color=INK, linewidth=0.8, zorder=0)
    axes.set(title=title, xscale="log", xlim=(0.2, 3), xlabel="final loss over tuned AdamW's")
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", color="#e4e7ea")
    axes.set_axisbelow(True)
    axes.set_facecolor(PAPER)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def draw(path: str | Path) -> None:
    """Both suites, side by side, into a file."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 4.2), layout="constrained", facecolor=PAPER)
        for axes, (suite, page) in zip(figure.subplots(1, 2), REPORTS.items(), strict=True):
            panel(axes, suite, report_of(page))
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).with_suffix(".svg"))
