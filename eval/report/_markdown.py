"""The report as Markdown, to be pasted into a README, an issue or a paper."""

from learned_opt.checkpoints import markdown_text

from ..statistics import Speedup
from ._cost_sentence import cost_range
from ._numbers import MISSING, loss, misses, percent, ratio, short, span
from ._report import Report
from ._sentence import capital
from .owner import owner_markdown
from .tables import command, comparisons, lowest, told_apart


def to_markdown(report: Report) -> str:
    """Verdict, losses, pooled results, cost, how to reproduce; short for tasks of one's own."""
    if report.own:
        return owner_markdown(report)
    parts = [
        f"# {markdown_text(report.name)} on {markdown_text(report.suite)}",
        "**A smoke run: its numbers say nothing about the optimizer.**" if report.smoke else "",
        markdown_text(report.sentence),
        "![Final validation loss over the headline baseline's, task by task](report.svg)",
        f"Median final validation loss over {report.seeds} fresh seeds, task by task; bold: "
        "lowest. Second column: the loss of what is judged over this one's, mean of log ratios "
        "over all tasks, each pair of runs clipped to a factor of 2.",
        _losses(report),
        "Intervals are 95 % intervals. The plain geometric mean stands beside the clipped ratio: "
        "one task whose loss goes to nothing can decide it. The speed-up is that to the 90 % "
        "target, as far as the runs tell. The score is the speed-up to the hardest target, clipped "
        "to a factor of 4, in which a run that misses the target counts as 4 times slower than one "
        "that reaches it, and two runs that both miss it count as even. Ratios of losses below 1, "
        "and speed-ups and scores above 1, favour the learned optimizer.",
        _pooled(report),
        _budgets(report),
        _cost(report),
        f"```\n{command(report)}\n```",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _losses(report: Report) -> str:
    """A row an optimizer, by kind."""
    head = ["optimizer", "all tasks", *(markdown_text(task.name) for task in report.tasks)]
    rows = [["what meta-training saw", "", *(markdown_text(t.leakage) for t in report.tasks)]]
    for title, names in report.kinds:
        rows.append([f"*{title}*", *([""] * (len(head) - 1))])
        for name in names:
            found = report.groups[0].against.get(name)
            values = [(task.results[name], lowest(task)) for task in report.tasks]
            cells = [
                (f"**{loss(one.valid_loss)}**" if one.valid_loss == best else loss(one.valid_loss))
                + (f" ({one.diverged} diverged)" if one.valid_loss and one.diverged else "")
                for one, best in values
            ]
            told = told_apart(report, name)
            label = markdown_text(report.label(name)) + (f" ({told})" if told else "")
            rows.append([label, ratio(found.clipped) if found else "", *cells])
    fast = [speed(task.against[report.headline].speedup) for task in report.tasks]
    over = f"speed-up over {markdown_text(report.rival)}"
    rows.append([over, speed(report.groups[0].against[report.headline].speedup), *fast])
    return markdown_table(head, rows)


def _budgets(report: Report) -> str:
    """What so many trials buy; nothing where that was not kept."""
    if not (found := report.budgets):
        return ""
    counts = sorted({point.trials for points in found.rows.values() for point in points})
    rows = []
    for name, points in found.rows.items():
        losses = {point.trials: ratio(point.loss) for point in points}
        cells = [losses.get(count, MISSING) for count in counts]
        rows.append([markdown_text(report.tried(name)), *cells])
    return (
        f"Equal budgets: loss at the best of so many trials over that of {report.rival} tuned in "
        "full, clipped to a factor of 2, mean over tasks. Trials of the learned optimizer are "
        f"multipliers of its step, those of the others random draws from what their tuning tried."
        f"\n\n{markdown_table(['best of', *map(str, counts)], rows)}"
    )


def speed(found: Speedup) -> str:
    """A speed-up with its interval, or with what it is unknown for."""
    why = misses(found)
    beside = span(found) or (f"({why})" if why else "")
    return f"{found.text} {beside}".strip()


def _pooled(report: Report) -> str:
    rows = [
        [markdown_text(where), markdown_text(report.label(name)), found.clipped.verdict,
         ratio(found.clipped), ratio(found.median), ratio(found.valid_ratio),
         ratio(found.clipped_test), speed(found.speedup), ratio(found.score),
         percent(found.improvement.mid)]
        for where, _, name, found in comparisons(report)
    ]  # fmt: skip
    head = [
        "tasks", "against", "verdict", "validation loss, clipped ratio", "median task",
        "plain geometric mean", "test loss, clipped ratio", "speed-up", "score",
        "chance to beat it",
    ]  # fmt: skip
    return markdown_table(head, rows)


def _cost(report: Report) -> str:
    found = cost_range(report)
    if not found:
        return ""
    where = markdown_text(report.cost.device or report.device or MISSING)
    text = f"{capital(found)}, on {where}."
    even = report.break_even
    if even and even.tasks is not None:
        text += (
            f" Meta-training took {short(even.meta_steps)} steps and has paid for itself after "
            f"{even.tasks:.3g} tasks that need no tuning."
        )
    return text
