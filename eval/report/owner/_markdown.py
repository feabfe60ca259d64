"""The report of tasks of one's own as short Markdown."""

from learned_opt.checkpoints import markdown_text

from ...contestants import MULTIPLIED
from .._numbers import loss
from .._report import Report
from .._report_tasks import TaskReport
from ..tables import command
from ._choice import advice, nothing_trained
from ._code import code
from ._tables import shown
from ._words import ratio


def owner_markdown(report: Report) -> str:
    """What to use, the line to paste, the losses of the first few, the command."""
    parts = [f"# {', '.join(markdown_text(task.name) for task in report.tasks)}",
             markdown_text(report.sentence)]  # fmt: skip
    for task in report.tasks:
        found = advice(report, task)
        if not nothing_trained(report, task):
            parts.append(f"```python\n{code(report, task, found.use)}\n```")
        parts.append(_losses(report, task))
    parts.append(f"```\n{command(report)}\n```")
    return "\n\n".join(parts) + "\n"


def _losses(report: Report, task: TaskReport) -> str:
    names = shown(report, advice(report, task))
    names += [MULTIPLIED] * (MULTIPLIED in report.optimizers)
    lines = [
        f"| {markdown_text(task.name)} | final validation loss "
        f"| loss of {markdown_text(report.name)} over it |",
        "| --- | ---: | ---: |",
    ]
    for name in names:
        against = ratio(task.against[name].valid_ratio) if name in task.against else ""
        value = loss(task.results[name].valid_loss)
        lines.append(f"| {markdown_text(report.label(name))} | {value} | {against} |")
    return "\n".join(lines)
