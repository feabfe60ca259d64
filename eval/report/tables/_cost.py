"""The table of what a training step costs."""

import math

from .._html import swatched, table
from .._numbers import duration, number, over, percent, short, size, times
from .._report import Report
from .._report_measured import CostRow


def cost(report: Report, rows: list[CostRow]) -> str:
    """T3: time and memory of a step, on one device."""
    adam = {(r.network, r.batch): r for r in rows if r.optimizer == "adam"}
    body = []
    for r in rows:
        base = adam.get((r.network, r.batch))
        step, update = (
            times(over(ours, theirs) if base else None)
            for ours, theirs in ((r.step, base and base.step), (r.update, base and base.update))
        )
        who = "Adam (optax)" if r.optimizer == "adam" else report.label(r.optimizer)
        body.append([
            short(float(f"{r.parameters:.3g}")), str(r.batch), swatched(r.optimizer, who),
            f"{number(r.step, 4)} µs <small>± {number(r.spread, 2)}</small>", step,
            f"{number(r.update, 4)} µs", update, percent(r.share), times(r.state),
            size(r.temporary), duration(r.compile), number(r.steps, 4),
        ])  # fmt: skip
    head = [
        "parameters", "batch", "optimizer", "training step, ± interquartile range", "over Adam's",
        "update alone", "over Adam's", "update's share", "state over parameters",
        "temporary memory", "compilation", "steps timed",
    ]  # fmt: skip
    return table(head, body, text=[2], stacked=True)


def step_over_adam(report: Report) -> tuple[float, str] | None:
    """Step time over Adam's at what is nearest 1M parameters and batch 128, and where that was."""
    steps = {(r.parameters, r.batch, r.optimizer): r.step for r in report.cost.rows}
    ratios = {
        (count, batch): ratio
        for (count, batch, name), step in steps.items()
        if name == "learned"
        and (ratio := over(step, steps.get((count, batch, "adam")))) is not None
    }
    if not ratios:
        return None
    count, batch = min(ratios, key=lambda k: (abs(math.log(k[0] / 1e6)), abs(k[1] - 128)))
    where = f"at {short(float(f'{count:.2g}'))} parameters, batch {batch}"
    return ratios[count, batch], where
