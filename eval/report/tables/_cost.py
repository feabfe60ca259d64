"""Tables of what a training step costs: at loads that are the same in all reports, and by task."""

from ...cost import load_name
from .._cost_sentence import BASE
from .._html import named, swatched, table
from .._numbers import duration, escape, number, over, size, times
from .._report import Report
from .._report_measured import CostRow


def cost(report: Report, rows: list[CostRow]) -> str:
    """T3: time and memory of a step over AdamW's, on one device."""
    base = {(r.network, r.batch): r for r in rows if r.optimizer == BASE}
    body = []
    for r in rows:
        theirs = base.get((r.network, r.batch))
        body.append([
            escape(load_name(r.kind, r.parameters, r.batch, r.tokens)),
            swatched(r.optimizer, report.label(r.optimizer).split(",")[0]),
            f"{_ms(r.step)} ms <small>± {_ms(r.spread, 2)}</small>",
            times(over(r.step, theirs and theirs.step)), duration(r.compile), times(r.state),
            size(r.temporary), times(over(r.temporary, theirs and theirs.temporary)),
            number(r.steps, 4),
        ])  # fmt: skip
    head = [
        "load", "optimizer", "training step, ± interquartile range", "over AdamW's", "compilation",
        "state over parameters", "temporary memory", "over AdamW's", "steps timed",
    ]  # fmt: skip
    return table(head, body, text=[1], stacked=True)


def task_steps(report: Report) -> str:
    """Steps of the tasks themselves, over AdamW's; nothing where none was timed."""
    body = []
    for task in report.tasks:
        base = task.results[BASE].step_us if BASE in task.results else None
        body += [
            [escape(task.name), number(task.parameters, 4), named(report, name),
             f"{_ms(found.step_us)} ms", times(over(found.step_us, base))]
            for name, found in task.results.items()
            if found.step_us is not None
        ]  # fmt: skip
    head = ["task", "parameters", "optimizer", "training step", "over AdamW's"]
    return table(head, body, text=[2]) if body else ""


def _ms(microseconds: float | None, digits: int = 3) -> str:
    return number(microseconds and microseconds / 1000, digits)
