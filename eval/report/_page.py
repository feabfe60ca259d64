"""The report as one HTML file: no network, no script, and it prints."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

from . import _curves, _forest, _pooled, _tables
from ._draw import STYLE
from ._format import (
    MISSING,
    duration,
    escape,
    faster,
    fixed,
    known,
    label,
    mid,
    number,
    rival,
    short,
    span,
    times,
    title,
    verdict,
)

CSS = Path(__file__).with_name("page.css")
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


def document(name: str, body: str, data: Any, optimizers: Sequence[str]) -> str:
    """A complete page around `body`, with `data` inside."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    hide = "".join(
        f"body:has(#show{i}:not(:checked)) svg .o{i}{{display:none}}"
        for i in range(len(optimizers))
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(name)}</title>
<style>{CSS.read_text()}{hide}</style>
</head>
<body><main>
{body}
</main>
<script type="application/json" id="report">{text}</script>
</body></html>
"""


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
ratio holds 1. The test split was read once, at the end.</p></section>
<section id="speed"><h2>How much faster than {name}, and how much lower the loss</h2>
<div class="pair">{figure("Steps to the same loss", forest["speed"])}
{figure("Final validation loss", forest["loss"])}</div>
<p class="note">95 % bootstrap intervals over seeds, paired: same initial weights, same minibatches.
Target: nine tenths of the way, in
log loss, to the best baseline's own best. An open arrow (&gt;1.5x, say) means that runs ended
before they got there, so only a bound is known. Colours: what meta-training had
seen.</p></section>"""


def figure(caption: str, drawing: str | None) -> str:
    """A figure with its title above; nothing if there is no drawing."""
    if not drawing:
        return ""
    return f"<figure><figcaption>{escape(caption)}</figcaption>{drawing}</figure>"


def cards(report: Report) -> str:
    """The pooled results and what they cost, one card each."""
    made = []
    name = rival(report)
    shown = [g for g in report["groups"] if g["against"].get(report["headline"])]
    if len(shown) == 2:  # one leakage label: both groups are the same tasks
        shown = shown[:1]
    for group in shown:
        found = group["against"][report["headline"]]
        where = group["label"] if len(shown) > 1 else ", ".join(group["tasks"])
        if group["label"] == "all tasks":
            where = f"all {len(group['tasks'])} tasks" if len(group["tasks"]) > 1 else where
        made.append(
            card(verdict(found.get("valid_ratio")), mid(found.get("valid_ratio")),
                 span(found.get("valid_ratio")), f"of {name}'s loss on {where}",
                 _as_fast(found.get("speedup")))
        )  # fmt: skip
    if oracle := (report.get("oracle") or {}).get("against"):
        made.append(
            card(verdict(oracle.get("valid_ratio")), mid(oracle.get("valid_ratio")),
                 span(oracle.get("valid_ratio")), "of the loss of each task's best baseline",
                 _as_fast(oracle.get("speedup")))
        )  # fmt: skip
    if step := step_over_adam(report):
        made.append(
            card("cost", f"{times(step[0])}x", "", "Adam's time per training step", step[1])
        )
    ours = report["optimizers"]["learned"].get("trials", 0)
    theirs = report["optimizers"].get(report["headline"], {}).get("trials")
    if known(theirs):
        runs = sum(r.get("diverged", 0) for t in report["tasks"]
                   for n, r in t["results"].items() if n == "learned")  # fmt: skip
        total = report["seeds"] * len(report["tasks"])
        made.append(
            card("tuning", number(ours), f"against {number(theirs)}",
                 f"settings tried per task, its own and {name}'s",
                 f"{runs} of {total} of its runs diverged")
        )  # fmt: skip
    return f'<div class="cards">{"".join(made)}</div>'


def _as_fast(found: Report | None) -> str:
    text = faster(found)
    if text == "unknown":
        return "too few runs reach its target to say how fast"
    return f"{text} as fast {span(found)}"


def card(word: str, big: str, beside: str, below: str, last: str) -> str:
    """A card: pill, large number, what it is."""
    return (
        f'<div class="card">{_tables.tag(word)}<b>{escape(big)} <span>{escape(beside)}</span></b>'
        f"<p>{escape(below)}</p><p>{escape(last)}</p></div>"
    )


def step_over_adam(report: Report) -> tuple[float, str] | None:
    """Step time over Adam's at what is nearest 1M parameters and batch 128, and where that was."""
    rows = (report.get("cost") or {}).get("rows") or []
    steps = {(r["parameters"], r["batch"], r["optimizer"]): r["step"] for r in rows}
    both = [k for k in steps if k[2] == "learned" and (*k[:2], "adam") in steps]
    both = [k for k in both if known(steps[k]) and known(steps[(*k[:2], "adam")])]
    if not both:
        return None
    count = min((k[0] for k in both), key=lambda count: abs(math.log(count / 1e6)))
    batch = min((k[1] for k in both if k[0] == count), key=lambda b: abs(b - 128))
    where = f"at {short(float(f'{count:.2g}'))} parameters, batch {batch}"
    return steps[count, batch, "learned"] / steps[count, batch, "adam"], where


def _depth(report: Report) -> str:
    tasks = report["tasks"]

    def panels(draw: Any) -> str:
        drawn = [figure(task["name"], draw(report, task)) for task in tasks]
        return f'<div class="panels">{"".join(drawn)}</div>' if any(drawn) else ""

    def losses(which: str, seconds: bool = False) -> str:
        return panels(lambda r, t: _curves.losses(r, t, which, seconds))

    chips = "".join(
        f'<label><input type="checkbox" id="show{i}" checked>{_tables.named(report, n)}</label>'
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
             + _in_seconds(report)),
        part("baselines", "Against every baseline", _baselines(report)),
        part("profile", "How often the target is reached, by the steps allowed", _profile(report)),
        part("generalisation", "Where it stops working", _heat(report)),
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
             _tables.settings(report),
             "Equal budgets; a grid grows while its optimum lies at an edge. Last column: loss on "
             f"the {report['seeds']} fresh seeds over that on the tuning seeds."),
        part("every", "Every final loss", _tables.losses(report)),
        part("cost", "What a step costs", _cost(report)),
        part("learned", "What was learned", _traces(report)),
        part("meta", "Meta-training", figure(
            "Loss on held-out tasks falls as the optimizer learns",
            _curves.meta_training(report))),
        part("provenance", "Where it comes from", _provenance(report)),
        part("failures", f"Failures ({len(report.get('failures') or [])})", _tables.failures(report)
             if report.get("failures")
             else "<p>No run of any optimizer ended with a loss that is not finite.</p>"),
    ]  # fmt: skip
    return f'<div class="depth"><div class="legend">{chips}</div>{"".join(parts)}</div>'


def part(key: str, heading: str, body: str, note: str = "") -> str:
    """A part to be unfolded; nothing if it is empty."""
    if not body:
        return ""
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    return f'<details id="{key}"><summary>{escape(heading)}</summary>{body}{below}</details>'


def _in_seconds(report: Report) -> str:
    """How much sooner, on the clock, the target is reached."""
    found = report["groups"][0]["against"].get(report["headline"], {}).get("speedup_seconds")
    if not found:
        return ""
    return f"To the 90 % target on the clock, against {rival(report)}: {_as_fast(found)}."


def _pairs(*figures: str) -> str:
    return f'<div class="pair">{"".join(figures)}</div>' if any(figures) else ""


def _baselines(report: Report) -> str:
    found = _forest.baselines(report)
    drawn = _pairs(
        figure("Steps to the same loss, all tasks", found.get("speed")),
        figure("Chance that a run ends with a lower loss", found.get("improvement")),
    )
    choice = (report.get("oracle") or {}).get("choice") or {}
    best = "; ".join(f"{task}: {label(report, name)}" for task, name in choice.items())
    note = f'<p class="note">Best baseline of each task: {escape(best)}.</p>' if best else ""
    each = f"<h3>Task by task</h3>{_tables.against(report)}"
    return (
        f"{drawn}<h3>All tasks together</h3>{_tables.pooled(report)}{note}{each}"
        '<p class="note">Ratios below 1 and speed-ups above 1 favour the learned optimizer. '
        "Speed-up: in steps to the target nine tenths of the way, in log loss, from the first "
        "loss to the best that the best baseline reached (the hardest target); pooled by the "
        "interquartile mean of log2. What the runs only bound prints as a bound.</p>"
    )


def _profile(report: Report) -> str:
    drawn = figure(
        "Share of tasks whose target is reached (higher is better)", _pooled.profile(report)
    )
    if not drawn:
        return ""
    found = report["profile"]
    rows = [
        [_tables.named(report, n), fixed(found["area"].get(n)),
         fixed((found.get("gated") or {}).get(n))]
        for n in sorted(found["names"], key=lambda n: -(found["area"].get(n) or 0))
    ]  # fmt: skip
    head = ["optimizer", "B, area under the curve", "B, gated by the variants"]
    return f'<div class="beside">{drawn}{_tables.table(head, rows)}</div>'


def _heat(report: Report) -> str:
    drawn = _pairs(
        figure("Against AdamW, tuned again for each cell", _pooled.heat(report, "retuned")),
        figure("Against AdamW, its setting carried over", _pooled.heat(report, "transferred")),
    )
    return drawn and (
        f'{drawn}<p class="note">Final loss over AdamW\'s: '
        '<span class="pill cell-better">below 1</span> the learned optimizer is better, '
        '<span class="pill cell-worse">above 1</span> worse; '
        '<span class="pill cell-hatched">hatched</span>: some of its runs diverged. '
        "Each cell changes one thing of the base task.</p>"
    )


def _traces(report: Report) -> str:
    parts = []
    captions = {
        "effective_lr": "Effective learning rate",
        "relative": "Step relative to the weights",
        "cosine": "Direction: 1 is Adam's",
    }
    for task in report.get("traces") or {}:
        drawn = "".join(
            figure(caption, _curves.traces(report, task, which))
            for which, caption in captions.items()
        )
        if drawn:
            parts.append(f'<h3>{escape(task)}</h3><div class="panels">{drawn}</div>')
    return "".join(parts)


def _cost(report: Report) -> str:
    if not (report.get("cost") or {}).get("rows"):
        return ""
    drawn = _pairs(
        figure("Time of a whole training step", _pooled.overhead(report, "step")),
        figure("Time of the update alone", _pooled.overhead(report, "update")),
    )
    where = escape(report["cost"].get("device") or report.get("device") or MISSING)
    return f'{drawn}{_tables.cost(report)}<p class="note">Measured on {where}.</p>'


def _provenance(report: Report) -> str:
    found = report.get("break_even")
    text = ""
    if found and known(found.get("tasks")):
        text = (
            f"<p>Meta-training took {number(found['meta_steps'], 4)} training steps; tuning "
            f"{escape(rival(report))} takes {number(found['tuning_steps_per_task'], 4)} a task. It "
            f"has paid for itself after <b>{number(found['tasks'])} tasks</b>.</p>"
        )
    command = escape(reproduce(report))
    took = f"<p>It took {duration(report['seconds'])}.</p>" if known(report.get("seconds")) else ""
    again = f"<h3>Again</h3><pre>{command}</pre>{took}"
    return f"{text}{_tables.provenance(report)}{again}"


def reproduce(report: Report) -> str:
    """The command that makes this report."""
    subject = report["subject"]
    what = subject["name"] if subject.get("kind") == "artifact" else subject.get("identity")
    tier = f" --tier {report['tier']}" if report.get("tier") else ""
    return f"python -m eval {what} --suite {report['suite']}{tier} --out OUT"
