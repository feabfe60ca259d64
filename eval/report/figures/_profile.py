"""F4, the performance profile of all optimizers over all tasks."""

import numpy as np

from .._report import Profile, Report
from ._canvas import board, floats, line, spread, svg
from ._colours import style_of

MOST = 12
"""So many lines can be told apart, those with the largest areas; the table has all."""


def profile(report: Report, found: Profile) -> str:
    """F4: share of tasks whose target is reached within tau times the fastest's steps."""
    figure, axes = board(540, 350, left=54, right=158, top=12, bottom=44)
    tau = np.array(found.tau, float)
    order = sorted(found.names, key=lambda name: -(found.area[name] or 0.0))
    main = {"learned", report.headline}
    order = [name for i, name in enumerate(order) if i < MOST or name in main]
    ends = []
    for name in order:
        rho, mark = floats(found.rho[name]), f"o{report.index(name)}"
        width = 2.6 if name == "learned" else 1.9 if name == report.headline else 1.3
        line(axes, tau, rho, style_of(name), mark, width=width, stairs=True)
        ends.append(rho[-1])
    for name, y in zip(order, spread(ends, 0.052), strict=True):
        text = axes.annotate(
            report.label(name)[:26], (1, y), (8, 0), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", va="center", fontsize=10,
            weight="bold" if name == "learned" else "normal", color=style_of(name).colour,
        )  # fmt: skip
        text.set_gid(f"c:o{report.index(name)}")
    axes.set_xlim(tau[0], tau[-1])
    axes.set_ylim(-0.02, 1.03)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    ticks = [t for t in (1, 1.5, 2, 2.5, 3, 3.5, 4) if tau[0] <= t <= tau[-1]]
    axes.set_xticks(ticks, [f"{t:g}x" for t in ticks])
    axes.grid(True)
    axes.set_xlabel("steps allowed, as a multiple of the fastest optimizer's")
    axes.set_ylabel("tasks that reach the target")
    return svg(figure, "profile", "performance profile: share of tasks reached, by steps allowed")
