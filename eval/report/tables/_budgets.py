"""The table of equal budgets: what so many trials buy."""

from .._html import estimate, swatched, table
from .._numbers import MISSING, ratio
from .._report import Report
from .._report_budgets import Budgets


def budgets(report: Report, found: Budgets) -> str:
    """Loss at the best of so many trials, over the headline baseline's tuned in full."""
    counts = sorted({point.trials for points in found.rows.values() for point in points})
    rows = []
    for name, points in found.rows.items():
        losses = {point.trials: estimate(ratio(point.loss)) for point in points}
        cells = [losses.get(count, MISSING) for count in counts]
        rows.append([swatched(name, report.tried(name)), *cells])
    return table(["best of", *map(str, counts)], rows, stacked=True)
