"""What the sections of the page hold that are more than one figure or table."""

from collections.abc import Callable

from . import figures, tables
from ._cost_sentence import ends
from ._html import card, figure, named, pairs, table
from ._numbers import MISSING, as_fast, duration, escape, fixed, number, span, times
from ._report import Report
from ._report_tasks import TaskReport
from ._sentence import UNSEEN, best_untuned, diverged_runs, who

FEW = 12
"""So many optimizers are all drawn at first."""


def cards(report: Report) -> str:
    """The pooled results and what they cost, one card each: against what nobody tuned first."""
    whole, count, rival = report.groups[0], len(report.tasks), report.rival
    tuned = f"{'tuned ' if report.optimizers[report.headline].trials else ''}{rival}"
    where = f"all {count} tasks" if count > 1 else report.tasks[0].name
    compared = []
    if names := best_untuned(report):
        many = f"the best of {len(names)} that nobody tuned" if names[1:] else "which nobody tuned"
        what = f"of the loss of {who(report, names[0])}, {many}, on {where}"
        compared.append((whole.against[names[0]], what))
    compared.append((whole.against[report.headline], f"of {tuned}'s loss on {where}"))
    for group in report.groups[1:]:
        if group.label == UNSEEN and len(group.tasks) < count:
            what = f"of {tuned}'s on the {len(group.tasks)} with new network and data"
            compared.append((group.against[report.headline], what))
    if report.oracle:
        compared.append((report.oracle.against, "of the loss of each task's best baseline"))
    made = [
        card(
            found.clipped.verdict, times(found.clipped.mid),
            f"{span(found.clipped)}, median task {times(found.median.mid)}", what,
            as_fast(found.speedup),
        )
        for found, what in compared
    ]  # fmt: skip
    if cheapest_and_dearest := ends(report):
        factors, loads = zip(*cheapest_and_dearest, strict=True)
        made.append(
            card("cost", " to ".join(factors), "times", "AdamW's time per training step",
                 f"on {', to '.join(loads)}")
        )  # fmt: skip
    ours, theirs = (report.optimizers[name].trials for name in ("learned", report.headline))
    lost, runs = (sum(x) for x in zip(*diverged_runs(report).values(), strict=True))
    made.append(
        card("tuning", number(ours), f"against {number(theirs)}",
             f"settings tried per task, its own and {rival}'s",
             f"{lost:,} of all its {runs:,} runs diverged")
    )  # fmt: skip
    return f'<div class="cards">{"".join(made)}</div>'


def legend(report: Report) -> str:
    """Boxes that show and hide optimizers in the panels, by kind; at first the main ones show."""
    main = {"learned", report.headline, "muon", *best_untuned(report)[:1]}
    main |= {names[0] for free in (True, False) if (names := best_untuned(report, free))}
    main |= {name for name, facts in report.optimizers.items() if facts.role == "rival"}
    everyone = len(report.optimizers) <= FEW
    rows = []
    for title, names in report.kinds:
        chips = "".join(
            f'<label><input type="checkbox" id="show{report.index(name)}"'
            f"{' checked' * (everyone or name in main)}>{named(report, name)}</label>"
            for name in names
        )
        rows.append(f"<div><span>{escape(title)}</span><div>{chips}</div></div>")
    return f'<div class="legend">{"".join(rows)}</div>'


def budgets(report: Report) -> str:
    """What so many trials buy: figure, table, and how to read them."""
    if not (found := report.budgets):
        return ""
    drawn = figure("Final loss at the best of so many trials", figures.budgets(report, found))
    rival, multipliers = report.rival, ", ".join(f"{x:g}" for x in found.multipliers)
    ours = (
        f"Those of {report.name} multiply its step by {multipliers}, in this order; the first is "
        "the optimizer as it comes. "
        if "learned" in found.rows
        else ""
    )
    note = (
        f"Everyone gets the same number of trials. Those of {rival} and the others are drawn at "
        "random from the settings that their tuning tried; the last point is all of them. "
        f"{ours}The best is chosen on two tuning seeds and read on the third, each in turn. Loss "
        f"over that of {rival} tuned in full, clipped to a factor of 2, mean over tasks, with 95 % "
        "intervals, which are rough: there are three seeds. The last dozen settings of a tuning "
        "lie around its best, so few draws are better than a blind grid would be: that favours "
        "the baselines."
    )
    return (
        f'<div class="beside lines">{drawn}<div>{tables.budgets(report, found)}'
        f'<p class="note">{escape(note)}</p></div></div>'
    )


def panels(report: Report, draw: Callable[[Report, TaskReport], str | None]) -> str:
    """A figure for each task; nothing if there is none."""
    drawn = [figure(task.name, draw(report, task)) for task in report.tasks]
    return f'<div class="panels lines">{"".join(drawn)}</div>' if any(drawn) else ""


def in_seconds(report: Report) -> str:
    """Who was timed, and how much sooner, on the clock, the target is reached."""
    timed = [
        name for name in report.optimizers
        if any(task.results[name].step_us is not None for task in report.tasks)
    ]  # fmt: skip
    only = " and ".join(report.label(name).split(",")[0] for name in timed)
    who = f"Only {only} were timed. " if 0 < len(timed) < len(report.optimizers) else ""
    found = report.groups[0].against[report.headline].speedup_seconds
    if not found:
        return who
    return f"{who}To the 90 % target on the clock, against {report.rival}: {as_fast(found)}."


def baselines(report: Report) -> str:
    """Against every other optimizer: figures, what they mean, tables."""
    choice = report.oracle.choice if report.oracle else {}
    best = "; ".join(f"{task}: {report.label(name)}" for task, name in choice.items())
    note = f'<p class="note">Best baseline of each task: {escape(best)}.</p>' if best else ""
    drawn = pairs(
        figure("Chance that a run ends with a lower loss",
               figures.baselines(report, "improvement")),
        figure("Final loss over that of each", figures.baselines(report, "clipped")),
        figure("Steps to the same loss, all tasks", figures.baselines(report, "speedup")),
        figure("Score, clipped: a miss counts as 4 times, two as even",
               figures.baselines(report, "score")),
    )  # fmt: skip
    each = f"<h3>Task by task</h3>{tables.against(report)}"
    drawn += f"{_TERMS}{note}"
    return f"{drawn}<h3>All tasks together</h3>{tables.pooled(report)}{each}"


_TERMS = (
    '<p class="note">In a clipped ratio no pair of runs counts as more than a factor of 2, a '
    "diverged run as that factor against its side. So no task decides alone; the plain geometric "
    "mean, which one loss near nothing can move by as much as it likes, stands beside it.</p>"
    '<p class="note">The speed-up is the number of steps in which the baseline reaches a target '
    "over the number in which the learned optimizer does. The target lies nine tenths of the way, "
    "in log loss, from the first loss to the best that the best baseline reached (the hardest "
    "target). Pairs of runs are pooled by the interquartile mean of log2. What the runs only bound "
    "prints as a bound, what they do not tell as unknown.</p>"
    '<p class="note">The score is the speed-up to the hardest target, clipped to a factor of 4, in '
    "which every pair of runs has a number: a run that misses the target counts as 4 times slower "
    "than one that reaches it, and two runs that both miss it count as even.</p>"
    '<p class="note">Ratios of losses below 1, and speed-ups and scores above 1, favour the '
    "learned optimizer.</p>"
)


def profile(report: Report) -> str:
    """The performance profile and its areas."""
    if not (found := report.profile):
        return ""
    drawn = figure(
        "Share of tasks whose target is reached (higher is better)",
        figures.profile(report, found),
    )
    gated = found.gated or dict.fromkeys(found.names)
    rows = [
        [named(report, name), fixed(found.area[name]), fixed(gated[name])]
        for name in sorted(found.names, key=lambda name: -(found.area[name] or 0))
    ]
    head = ["optimizer", "B, area under the curve", "B, gated by the variants"]
    return f'<div class="beside lines">{drawn}{table(head, rows)}</div>'


def generalisation(report: Report) -> str:
    """The grid, against AdamW retuned and not."""
    drawn = pairs(
        figure("Against AdamW, tuned again for each cell", figures.heat_map(report, "retuned")),
        figure("Against AdamW, its setting carried over", figures.heat_map(report, "transferred")),
    )
    return drawn and (
        f'{drawn}<p class="note">Final loss over AdamW\'s: '
        '<span class="pill cell-better">below 1</span> the learned optimizer is better, '
        '<span class="pill cell-worse">above 1</span> worse; '
        '<span class="pill cell-hatched">hatched</span>: some of its runs diverged. '
        "Each cell changes one thing of the base task.</p>"
    )


TRACES = {
    "effective_lr": "Effective learning rate",
    "relative": "Step relative to the weights",
    "cosine": "Direction: 1 is Adam's",
}


def traces(report: Report) -> str:
    """What the steps of single runs were like."""
    parts = []
    for task in report.traces:
        drawn = "".join(
            figure(caption, figures.trace(report, task, which)) for which, caption in TRACES.items()
        )
        if drawn:
            parts.append(f'<h3>{escape(task)}</h3><div class="panels lines">{drawn}</div>')
    return "".join(parts)


def cost(report: Report) -> str:
    """What a step costs: at loads on every device that was timed, and on each task."""
    drawn = pairs(
        figure("Time of a training step, by load", figures.step_cost(report)),
        figure("On each task, at its own batch", figures.task_cost(report)),
    )
    devices = [(report.cost.device or report.device or MISSING, report.cost.rows)]
    devices += [(other.device, other.rows) for other in report.cost.elsewhere]
    shown = "".join(
        f'{tables.cost(report, rows)}<p class="note">Measured on {escape(device)}.</p>'
        for device, rows in devices
        if rows
    )
    tasks = tables.task_steps(report)
    return drawn + shown + (tasks and f"<h3>On each task</h3>{tasks}")


def meta_training(report: Report) -> str:
    """F10, or that the artifact did not keep the curve; nothing of what was not meta-trained."""
    if report.subject.kind != "artifact":
        return ""
    drawn = figure(
        "Loss on held-out tasks falls as the optimizer learns",
        figures.meta_training(report.meta_training),
    )
    return drawn or "<p>The curve of meta-training was not kept by this artifact.</p>"


def provenance(report: Report) -> str:
    """What meta-training cost and spares, where all comes from, and how to get it again."""
    even, text = report.break_even, ""
    if even and even.tasks is not None:
        text = (
            f"<p>Meta-training took {number(even.meta_steps, 4)} training steps; tuning "
            f"{escape(report.rival)} takes {number(even.tuning_steps_per_task, 4)} a task. It "
            f"has paid for itself after <b>{number(even.tasks)} tasks</b>.</p>"
        )
    took = "" if report.seconds is None else f"<p>It took {duration(report.seconds)}.</p>"
    again = f"<h3>Again</h3><pre>{escape(tables.command(report))}</pre>{took}"
    return f"{text}{tables.provenance(report)}{again}"
