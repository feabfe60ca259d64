"""What the sections of the page hold that are more than one figure or table."""

from collections.abc import Callable

from . import figures, tables
from ._cost_sentence import ends
from ._html import card, figure, named, pairs, table
from ._numbers import MISSING, as_fast, duration, escape, fixed, number, span, times
from ._report import Report
from ._report_tasks import TaskReport
from ._sentence import diverged_runs


def cards(report: Report) -> str:
    """The pooled results and what they cost, one card each."""
    rival, made = report.rival, []
    groups = report.groups if len(report.groups) != 2 else report.groups[:1]  # the same tasks twice
    found = [(group, group.against[report.headline]) for group in groups]
    below = []
    for group, _ in found:
        where = group.label if len(groups) > 1 else ", ".join(group.tasks)
        if group.label == "all tasks":
            where = f"all {len(group.tasks)} tasks" if len(group.tasks) > 1 else where
        below.append(f"of {rival}'s loss on {where}")
    compared = [against for _, against in found]
    if report.oracle:
        compared.append(report.oracle.against)
        below.append("of the loss of each task's best baseline")
    for against, what in zip(compared, below, strict=True):
        ratio = against.valid_ratio
        made.append(
            card(ratio.verdict, times(ratio.mid), span(ratio), what, as_fast(against.speedup))
        )
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


def panels(report: Report, draw: Callable[[Report, TaskReport], str | None]) -> str:
    """A figure for each task; nothing if there is none."""
    drawn = [figure(task.name, draw(report, task)) for task in report.tasks]
    return f'<div class="panels">{"".join(drawn)}</div>' if any(drawn) else ""


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
    """Against every baseline: figures, what they mean, tables."""
    choice = report.oracle.choice if report.oracle else {}
    best = "; ".join(f"{task}: {report.label(name)}" for task, name in choice.items())
    note = f'<p class="note">Best baseline of each task: {escape(best)}.</p>' if best else ""
    drawn = pairs(
        figure("Chance that a run ends with a lower loss",
               figures.baselines(report, "improvement")),
        f"<div>{_TERMS}{note}</div>",
        figure("Steps to the same loss, all tasks", figures.baselines(report, "speedup")),
        figure("Score: a miss counts as 4 times, two as even",
               figures.baselines(report, "score")),
    )  # fmt: skip
    each = f"<h3>Task by task</h3>{tables.against(report)}"
    return f"{drawn}<h3>All tasks together</h3>{tables.pooled(report)}{each}"


_TERMS = (
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
    return f'<div class="beside">{drawn}{table(head, rows)}</div>'


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
            parts.append(f'<h3>{escape(task)}</h3><div class="panels">{drawn}</div>')
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
