"""Tables for an owner: what tuning would have bought, and what a run costs on this very task."""

from ...contestants import MULTIPLIED
from .._html import estimate, named, table
from .._numbers import MISSING, duration, loss, number, ratio, size, times
from .._report import Report
from .._report_tasks import TaskReport
from ._advice import Advice, cost_row, rivals, trained_here


def shown(report: Report, found: Advice) -> list[str]:
    """Whom an owner wants to see first: the learned ones, the best untuned, the best tuned."""
    names = ["learned", *rivals(report), found.rival, report.headline, found.tuned]
    if report.optimizers[report.headline].trials == 0:
        names.remove(report.headline)  # the calibrated row under another name
    return [name for name in dict.fromkeys(names) if name]


def tuning(report: Report, task: TaskReport, found: Advice) -> str:
    """What was tried of whom, what that took, and what it bought."""
    names = shown(report, found)
    if MULTIPLIED in report.optimizers:
        names.append(MULTIPLIED)
    rows = []
    for name in sorted(names, key=lambda name: _spent(report, task, name)):
        one, spent = task.results[name], _spent(report, task, name)
        against = task.against[name].valid_ratio if name in task.against else None
        cost = cost_row(report, task, "learned" if name == MULTIPLIED else name)
        took = spent * task.horizon * cost.step * 1e-6 if cost and cost.step else None
        rows.append([
            named(report, name),
            "meta-training" if name == "learned" and trained_here(report, task)
            else _tried(spent, took),
            loss(one.valid_loss), estimate(ratio(against)) if against else MISSING,
        ])  # fmt: skip
    head = [
        "optimizer", "spent on tuning", "final loss",
        f"loss of {report.name} over it",
    ]  # fmt: skip
    return table(head, rows, stacked=True)


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
        over = times(row.step / base.step) if base and base.step else MISSING
        state = None if row.state is None else 4 * row.parameters * row.state
        rows.append([
            named(report, name), _short(row.step), over,
            duration(row.step * 1e-6 * task.horizon), size(state), size(row.temporary),
            duration(row.compile),
        ])  # fmt: skip
    head = [
        "optimizer", "a step", "over AdamW's", f"a run of {task.horizon:,} steps", "its state",
        "a step's other memory", "compilation",
    ]  # fmt: skip
    return table(head, rows, stacked=True) if rows else ""
