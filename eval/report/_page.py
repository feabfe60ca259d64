"""The report as one HTML file: no network, no script, and it prints."""

import matplotlib

from . import _sections, figures, tables
from ._html import document, figure, paragraphs, part
from ._numbers import escape
from ._report import Report
from ._verdict import said_of
from .owner import owner_top


def to_html(report: Report) -> str:
    """The page. The whole report is embedded as JSON, so the file is its own data."""
    with matplotlib.rc_context(figures.STYLE):
        if report.own and len(report.tasks) == 1:
            rest = f"{_results(report)}\n{_depth(report)}"
            body = f"{owner_top(report)}\n{part('all', 'All of it', rest)}"
        else:
            body = f"{_top(report)}\n{_depth(report)}"
    return document(
        f"{report.name}: evaluation on {report.suite}",
        body,
        report.to_json(),
        list(report.optimizers),
    )


def _top(report: Report) -> str:
    count = len(report.tasks)
    facts = [
        report.suite, f"tier {report.tier}" if report.tier else "",
        f"{count} task{'s' * (count != 1)}", f"{report.seeds} fresh seeds", report.device,
        report.date,
    ]  # fmt: skip
    kicker = " · ".join(escape(fact) for fact in facts if fact)
    smoke = (
        '<p class="smoke">A smoke run: a few steps, to see that everything works. '
        "Its numbers say nothing about the optimizer.</p>"
        if report.smoke
        else ""
    )
    verdict = paragraphs(said_of(report))
    return f"""<header><p class="kicker">{kicker}</p><h1>{escape(report.name)}</h1>{smoke}
<div class="verdict">{verdict}</div></header>
{_sections.cards(report)}
{_results(report)}"""


def _results(report: Report) -> str:
    """Curves, losses, what trials buy, and how much faster."""
    unknown = (
        " Unknown: nothing says what this optimizer was trained on."
        if any(task.leakage == "unknown" for task in report.tasks)
        else ""
    )
    name = escape(report.rival)
    beyond = any(
        task.results["learned"].steps[-1] > task.horizon
        for task in report.tasks
        if task.results["learned"].steps
    )
    beyond = "; the learned\noptimizer goes on to 1.5 times that" if beyond else ""
    speeds = figure("Steps to the same loss", figures.speed_ups(report))
    losses = figure("Final validation loss", figures.final_losses(report))
    curves = _sections.panels(report, lambda r, t: figures.losses(r, t, "valid"))
    budgets = _sections.budgets(report)
    budgets = budgets and (
        f'<section id="budgets"><h2>What trials buy, at equal numbers</h2>{budgets}</section>'
    )
    curves = f"{_sections.legend(report)}{curves}"
    return f"""<section id="curves"><h2>Validation loss falls, step by step</h2>{curves}
<p class="note">Median over seeds, with the middle half of the seeds shaded for the learned
optimizer and {name}; both scales are logarithmic. \
The upright line is the horizon{beyond}. \
A cross: diverged. A click on an optimizer shows or hides it,
in all panels of curves.</p></section>
<section id="losses"><h2>Final validation loss, task by task</h2>{tables.final_losses(report)}
<p class="note">Median over {report.seeds} seeds that tuning never saw; lower is better, bold is
the lowest of the task. <span class="tint-better pill">Blue</span>: the learned optimizer beats this
one, <span class="tint-worse pill">orange</span>: it loses to it, plain: the 95 % interval of their
ratio holds 1. All tasks: mean of log ratios, each pair of runs clipped to a factor of 2. Those
hardest to beat come first. The test split is never read by anything that chooses.</p></section>
{budgets}
<section id="speed"><h2>How much faster than {name}, and how much lower the loss</h2>
<div class="pair">{speeds}
{losses}</div>
<p class="note">95 % bootstrap intervals over seeds, paired: same initial weights, same minibatches.
Target: nine tenths of the way, in
log loss, to the best baseline's own best. An open arrow (&gt;1.5x, say) means that runs ended
before they got there, so only a bound is known. The axis of speed-ups ends at a factor of 4, and a
pair of runs counts as a factor of 2 in a loss at most. Colours: what meta-training had
seen.{unknown}</p></section>"""


def _depth(report: Report) -> str:
    def losses(which: str, seconds: bool = False) -> str:
        return _sections.panels(report, lambda r, t: figures.losses(r, t, which, seconds))

    parts = [
        part("training", "Training loss, step by step", losses("train")),
        part("test", "Test loss, step by step", losses("test")),
        part("seconds", "Validation loss against seconds", losses("valid", seconds=True),
             "Steps times the measured time of a step of this task, one run at a time. "
             + _sections.in_seconds(report)),
        part("baselines", "Against every other optimizer", _sections.baselines(report)),
        part("profile", "How often the target is reached, by the steps allowed",
             _sections.profile(report)),
        part("generalisation", "Where it stops working", _sections.generalisation(report)),
        part("misinformed", "Told a wrong number of steps", figure(
            "Final loss after the true number of steps", figures.misinformed(report))),
        part("variants", "Held-out variants", tables.variants(report) if report.variants else "",
             "Median final validation loss, and steps to the variant's target over those of the "
             "optimizer that is fastest there. Bold: it diverges once, takes over four times as "
             "long or never gets there, so the task counts as missed in B, gated by the variants."),
        part("rates", "How much the learning rate matters",
             _sections.panels(report, figures.sensitivity),
             "Each learning rate with its best other settings; a dot marks the choice. The level "
             "line is the learned optimizer, untuned."),
        part("tuning", "What tuning buys", _sections.panels(report, figures.tuning),
             "Expected best loss if only so many of the settings had been tried, in random order. "
             "The level line is the learned optimizer, untuned."),
        part("settings", "Chosen settings and how hard they were looked for",
             tables.settings(report),
             "The same protocol for every row; fewer settings where there is less to set. A grid "
             "grows while its optimum lies at an edge. Last column: loss on "
             f"the {report.seeds} fresh seeds over that on the tuning seeds."),
        part("every", "Every final loss", tables.every_loss(report)),
        part("cost", "What a step costs", _sections.cost(report)),
        part("learned", "What was learned", _sections.traces(report)),
        part("meta", "Meta-training", _sections.meta_training(report)),
        part("provenance", "Where it comes from", _sections.provenance(report)),
        part("failures", f"Failures ({len(report.failures)})",
             tables.failures(report) if report.failures
             else "<p>No run of any optimizer ended with a loss that is not finite.</p>"),
    ]  # fmt: skip
    return f'<div class="depth">{"".join(parts)}</div>'
