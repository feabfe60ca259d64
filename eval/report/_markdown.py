"""The report as Markdown, to be pasted into a README, an issue or a paper."""

from learned_opt.checkpoints import markdown_text

from ..statistics import Speedup
from ._cost_sentence import cost_range
from ._numbers import MISSING, loss, misses, percent, ratio, short, span
from ._report import Report
from .tables import command, comparisons, lowest


def to_markdown(report: Report) -> str:
    """Verdict, losses, pooled results, cost, how to reproduce."""
    parts = [
        f"# {markdown_text(report.name)} on {markdown_text(report.suite)}",
        "**A smoke run: its numbers say nothing about the optimizer.**" if report.smoke else "",
        markdown_text(report.sentence),
        "![Final validation loss over the headline baseline's, task by task](report.svg)",
        f"Median final validation loss over {report.seeds} fresh seeds; bold: lowest.",
        _losses(report),
        "Intervals are 95 % intervals. The speed-up is that to the 90 % target, as far as the runs "
        "tell. The score is the speed-up to the hardest target, clipped to a factor of 4, in which "
        "a run that misses the target counts as 4 times slower than one that reaches it, and two "
        "runs that both miss it count as even. Ratios of losses below 1, and speed-ups and scores "
        "above 1, favour the learned optimizer.",
        _pooled(report),
        _cost(report),
        f"```\n{command(report)}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _losses(report: Report) -> str:
    names = [name for _, members in report.columns for name in members]
    free = {name for title, members in report.columns if title.startswith("Not")
            for name in members}  # fmt: skip
    head = ["task", "leakage"]
    head += [markdown_text(report.label(name)) + " (not told the horizon)" * (name in free)
             for name in names]  # fmt: skip
    head.append(f"speed-up over {markdown_text(report.rival)}")
    rows = []
    for task in report.tasks:
        best, values = lowest(task), [task.results[name].valid_loss for name in names]
        cells = [f"**{loss(x)}**" if x is not None and x == best else loss(x) for x in values]
        found = task.against[report.headline].speedup
        rows.append([markdown_text(task.name), markdown_text(task.leakage), *cells, speed(found)])
    return markdown_table(head, rows)


def speed(found: Speedup) -> str:
    """A speed-up with its interval, or with what it is unknown for."""
    why = misses(found)
    beside = span(found) or (f"({why})" if why else "")
    return f"{found.text} {beside}".strip()


def _pooled(report: Report) -> str:
    rows = [
        [markdown_text(where), markdown_text(report.label(name)), found.valid_ratio.verdict,
         ratio(found.valid_ratio), ratio(found.test_ratio), speed(found.speedup),
         ratio(found.score), percent(found.improvement.mid)]
        for where, _, name, found in comparisons(report)
    ]  # fmt: skip
    head = [
        "tasks", "against", "verdict", "validation loss, ratio", "test loss, ratio", "speed-up",
        "score", "chance to beat it",
    ]  # fmt: skip
    return markdown_table(head, rows)


def _cost(report: Report) -> str:
    found = cost_range(report)
    if not found:
        return ""
    where = markdown_text(report.cost.device or report.device or MISSING)
    text = f"{found[0].upper()}{found[1:]}, on {where}."
    even = report.break_even
    if even and even.tasks is not None:
        text += (
            f" Meta-training took {short(even.meta_steps)} steps and has paid for itself after "
            f"{even.tasks:.3g} tasks that need no tuning."
        )
    return text
