"""What an owner reads first on the page of one task of their own."""

from .. import figures
from .._html import named, paragraphs
from .._numbers import escape, number
from .._report import Report
from .._report_tasks import TaskReport
from ._advice import owner_sentences
from ._choice import Advice, advice, nothing_trained
from ._code import code
from ._tables import cost, shown, tuning

CSS = """header pre { white-space:pre-wrap; overflow-wrap:anywhere }
@media (max-width:640px) {
  #own-cost td.text .opt { display:block; width:6rem; white-space:normal }
}"""
"""What the page of one task has beside the frame of all pages."""


def owner_top(report: Report) -> str:
    """What to use, curves, what tuning would have bought, costs, and the budget."""
    (task,) = report.tasks
    found = advice(report, task)
    facts = [
        f"{number(task.parameters)} parameters", f"{task.horizon:,} steps",
        f"{report.seeds} fresh seeds", report.device, report.date,
    ]  # fmt: skip
    kicker = " · ".join(escape(fact) for fact in facts if fact)
    verdict = paragraphs(owner_sentences(report))
    use = (
        []
        if nothing_trained(report, task)
        else [found.use, *([found.ours] if found.verdict == "undecided" else [])]
    )
    lines = "".join(f"<pre>{escape(code(report, task, name))}</pre>" for name in dict.fromkeys(use))
    costs = cost(report, task)
    costs = costs and (
        f'<section id="own-cost"><h2>What a run costs on this task</h2>{costs}<p class="note">One '
        "run at a time, compiled and repeated; evaluations, which the plan counts, are not in it."
        "</p></section>"
    )
    heading, losses, note = tuning(report, task, found)
    return f"""<style>{CSS}</style>
<header><p class="kicker">{kicker}</p><h1>{escape(task.name)}</h1>
<div class="verdict">{verdict}</div>
{lines}</header>
<section id="own"><div class="beside"><div><h2>Loss, step by step</h2>{_curves(report, task, found)}
</div><div><h2>{heading}</h2>{losses}
<p class="note">{note}</p></div></div></section>
{costs}{_budget(report)}"""


def _curves(report: Report, task: TaskReport, found: Advice) -> str:
    names = shown(report, found)
    runs = [
        figures.Run(name, f"own{report.index(name)}", one.steps, one.curves.valid)
        for name in names
        if (one := task.results[name])
    ]
    drawn = figures.loss_panel(
        runs, task.name, "valid", "own", horizon=task.horizon, main=("learned", found.rival)
    )
    drawn = f"<figure>{drawn}</figure>" if drawn else ""
    legend = " ".join(named(report, name) for name in names)
    return (
        f'{drawn}<p class="note">{legend}</p><p class="note">Median over seeds, the middle half '
        "shaded for two; both scales are logarithmic. The upright line is the horizon.</p>"
    )


def _budget(report: Report) -> str:
    own = report.own
    if own is None or not own.left_out:
        return ""
    asked = "" if own.budget is None else f" of {number(own.budget)} s"
    items = "".join(f"<li>{escape(one)}</li>" for one in own.left_out)
    return (
        f'<section id="budget"><h2>What the budget{asked} left out</h2><ul>{items}</ul>'
        f'<p class="note">Level {own.level} of {own.levels}: {own.runs:,} runs were planned. '
        "Intervals are wider than with all seeds, and what was not tried may be better.</p>"
        "</section>"
    )
