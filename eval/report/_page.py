"""The report as one HTML file: no network, no script, and it prints."""

from typing import Any

import matplotlib

from . import _curves, _facts, _forest, _parts, _tables
from ._cards import cards
from ._cells import named
from ._draw import STYLE
from ._format import (
    escape,
    rival,
    title,
)
from ._frame import document, figure, part

Report = dict[str, Any]


def to_html(report: Report) -> str:
    """The page. The whole report is embedded as JSON, so the file is its own data."""
    with matplotlib.rc_context(STYLE):
        body = "\n".join(filter(None, (_top(report), _depth(report))))
    return document(
        f"{title(report)}: evaluation on {report['suite']}",
        body,
        report,
        list(report["optimizers"]),
    )


def _top(report: Report) -> str:
    facts = [
        report["suite"], f"tier {report['tier']}" if report.get("tier") else "",
        f"{len(report['tasks'])} task{'s' * (len(report['tasks']) != 1)}",
        f"{report['seeds']} fresh seeds", report.get("device"), report.get("date"),
    ]  # fmt: skip
    kicker = " · ".join(escape(fact) for fact in facts if fact)
    smoke = (
        '<p class="smoke">A smoke run: a few steps, to see that everything works. '
        "Its numbers say nothing about the optimizer.</p>"
        if report.get("smoke")
        else ""
    )
    name = escape(rival(report))
    forest = _forest.headline(report)
    return f"""<header><p class="kicker">{kicker}</p><h1>{escape(title(report))}</h1>{smoke}
<p class="verdict">{escape(report["sentence"])}</p></header>
{cards(report)}
<section id="losses"><h2>Final validation loss, task by task</h2>{_tables.headline(report)}
<p class="note">Median over {report["seeds"]} seeds that tuning never saw; lower is better, bold is
the lowest of the row. <span class="tint-better pill">Blue</span>: the learned optimizer beats this
one, <span class="tint-worse pill">orange</span>: it loses to it, plain: the 95 % interval of their
ratio holds 1. The test split is never read by anything that chooses.</p></section>
<section id="speed"><h2>How much faster than {name}, and how much lower the loss</h2>
<div class="pair">{figure("Steps to the same loss", forest["speed"])}
{figure("Final validation loss", forest["loss"])}</div>
<p class="note">95 % bootstrap intervals over seeds, paired: same initial weights, same minibatches.
Target: nine tenths of the way, in
log loss, to the best baseline's own best. An open arrow (&gt;1.5x, say) means that runs ended
before they got there, so only a bound is known. Colours: what meta-training had
seen.{_unknown(report)}</p></section>"""


def _unknown(report: Report) -> str:
    if all(task["leakage"] != "unknown" for task in report["tasks"]):
        return ""
    return " Unknown: nothing says what this optimizer was trained on."


def _depth(report: Report) -> str:
    tasks = report["tasks"]

    def panels(draw: Any) -> str:
        drawn = [figure(task["name"], draw(report, task)) for task in tasks]
        return f'<div class="panels">{"".join(drawn)}</div>' if any(drawn) else ""

    def losses(which: str, seconds: bool = False) -> str:
        return panels(lambda r, t: _curves.losses(r, t, which, seconds))

    chips = "".join(
        f'<label><input type="checkbox" id="show{i}" checked>{named(report, n)}</label>'
        for i, n in enumerate(report["optimizers"])
    )
    parts = [
        part("curves", "Validation loss falls, step by step", losses("valid"),
             "Median over seeds, with the middle half of the seeds shaded for the learned "
            f"optimizer and {rival(report)}; both scales are logarithmic. The upright line is the "
            "horizon; the learned optimizer goes on to 1.5 times that. A cross: diverged."),
        part("training", "The same on the training split", losses("train")),
        part("test", "The same on the test split", losses("test")),
        part("seconds", "The same against seconds", losses("valid", seconds=True),
             "Steps times the measured time of a step of this task, one run at a time. "
             + _parts.in_seconds(report)),
        part("baselines", "Against every baseline", _parts.baselines(report)),
        part("profile", "How often the target is reached, by the steps allowed",
             _parts.profile(report)),
        part("generalisation", "Where it stops working", _parts.heat(report)),
        part("misinformed", "Told a wrong number of steps", figure(
            "Final loss after the true number of steps", _forest.misinformed(report))),
        part("variants", "Held-out variants", _tables.variants(report)
             if report.get("variants") else "",
             "Median final validation loss, and steps to the variant's target over those of the "
             "optimizer that is fastest there. Bold: it diverges once, takes over four times as "
             "long or never gets there, so the task counts as missed in the gated score."),
        part("rates", "How much the learning rate matters", panels(_curves.sensitivity),
             "Each learning rate with its best other settings; a dot marks the choice. The level "
             "line is the learned optimizer, untuned."),
        part("tuning", "What tuning buys", panels(_curves.tuning),
             "Expected best loss if only so many of the settings had been tried, in random order. "
             "The level line is the learned optimizer, untuned."),
        part("settings", "Chosen settings and how hard they were looked for",
             _facts.settings(report),
             "The same protocol for every row; fewer settings where there is less to set. A grid "
             "grows while its optimum lies at an edge. Last column: loss on "
             f"the {report['seeds']} fresh seeds over that on the tuning seeds."),
        part("every", "Every final loss", _tables.losses(report)),
        part("cost", "What a step costs", _parts.cost(report)),
        part("learned", "What was learned", _parts.traces(report)),
        part("meta", "Meta-training", _parts.meta_training(report)),
        part("provenance", "Where it comes from", _parts.provenance(report)),
        part("failures", f"Failures ({len(report['failures'])})", _facts.failures(report)
             if report.get("failures")
             else "<p>No run of any optimizer ended with a loss that is not finite.</p>"),
    ]  # fmt: skip
    return f'<div class="depth"><div class="legend">{chips}</div>{"".join(parts)}</div>'
