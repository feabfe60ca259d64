"""Tables for an owner: what tuning would have bought, and what a run costs on this very task."""

from ...contestants import MULTIPLIED
from .._html import estimate, named, table
from .._numbers import MISSING, duration, loss, number, size, times
from .._report import Report
from .._report_tasks import TaskReport
from ._advice import cost_row, filled, over_step, trained_here
from ._choice import Advice, rivals
from ._words import ratio


def shown(report: Report, found: Advice) -> list[str]:
    """Whom an owner wants to see first: the learned ones, the best untuned, the best tuned."""
    names = ["learned", *rivals(report), found.rival, report.headline, found.tuned]
    return [name for name in dict.fromkeys(names) if name]


def tuning(report: Report, task: TaskReport, found: Advice) -> tuple[str, str, str]:
    """What was tried of whom, what that took, and what it bought: heading, table, note."""
    names = shown(report, found)
    if MULTIPLIED in report.optimizers:
        names.append(MULTIPLIED)
    spent = {name: _spent(report, task, name) for name in names}
    rows = []
    for name in sorted(names, key=lambda name: spent[name]):
        against = task.against[name].valid_ratio if name in task.against else None
        cost = cost_row(report, task, "learned" if name == MULTIPLIED else name)
        took = spent[name] * task.horizon * cost.step * 1e-6 if cost and cost.step else None
        tried = (
            "meta-training" if name == "learned" and trained_here(report, task)
            else _tried(spent[name], took)
        )  # fmt: skip
        rows.append([
            named(report, name), *([tried] if any(spent.values()) else []),
            loss(task.results[name].valid_loss), estimate(ratio(against)) if against else MISSING,
        ])  # fmt: skip
    chosen = (
        "Rows that nobody tuned are chosen among by the losses shown, which favours the best of "
        "them."
    )
    last = ["final loss", f"loss of {report.name} over it"]
    if not any(spent.values()):
        return "Losses at the end", table(["optimizer", *last], rows, stacked=True), chosen
    note = (
        "Runs to tune: settings times seeds, on seeds that the final losses do not share; seconds "
        f"are those of their steps, at the time of a step below. {chosen}"
    )
    head = ["optimizer", "spent on tuning", *last]
    return "What tuning would have bought you", table(head, rows, stacked=True), note


def _tried(runs: int, took: float | None) -> str:
    if not runs:
        return "nothing"
    return f"{number(runs)} runs" + (f" <small>{duration(took)}</small>" if took else "")


def _short(microseconds: float) -> str:
    """Of a step."""
    if microseconds >= 1e6:
        return duration(microseconds * 1e-6)
    return f"{microseconds * 1e-3:.3g} ms" if microseconds >= 1e3 else f"{microseconds:.3g} µs"


def _spent(report: Report, task: TaskReport, name: str) -> int:
    """Runs that were spent on this task before the setting was chosen."""
    role = report.optimizers[name].role
    if role in ("calibrated", "default") or name == "learned":
        return 0
    seeds = report.own.tune_seeds if report.own else 0
    return round(task.results[name].trials) * seeds


def cost(report: Report, task: TaskReport) -> str:
    """Seconds and memory, measured on this task."""
    base, rows = cost_row(report, task, report.headline), []
    for name in report.optimizers:
        row = cost_row(report, task, name)
        if row is None or row.step is None:
            continue
        state = None if row.state is None else 4 * row.parameters * row.state
        rows.append([
            named(report, name), _short(row.step), times(over_step(row, base)),
            duration(row.step * 1e-6 * task.horizon), size(state), size(row.temporary),
            size(filled(row)), duration(row.compile),
        ])  # fmt: skip
    head = [
        "optimizer", "a step", "over AdamW's", f"a run of {task.horizon:,} steps", "its state",
        "temporary arrays", "both and parameters", "compilation",
    ]  # fmt: skip
    return table(head, rows, stacked=True) if rows else ""
