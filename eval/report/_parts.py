"""What the parts of the page hold that are more than one figure or table."""

import shlex
from typing import Any

from . import _curves, _facts, _forest, _pooled, _tables
from ._cards import as_fast
from ._cells import named, table
from ._format import MISSING, duration, escape, fixed, known, label, number, rival
from ._frame import figure, pairs

Report = dict[str, Any]


def in_seconds(report: Report) -> str:
    """Who was timed, and how much sooner, on the clock, the target is reached."""
    timed = [
        name for name in report["optimizers"]
        if any(known(t["results"].get(name, {}).get("step_us")) for t in report["tasks"])
    ]  # fmt: skip
    only = " and ".join(label(report, name).split(",")[0] for name in timed)
    who = f"Only {only} were timed. " if 0 < len(timed) < len(report["optimizers"]) else ""
    found = report["groups"][0]["against"].get(report["headline"], {}).get("speedup_seconds")
    if not found:
        return who
    return f"{who}To the 90 % target on the clock, against {rival(report)}: {as_fast(found)}."


def baselines(report: Report) -> str:
    found = _forest.baselines(report)
    choice = (report.get("oracle") or {}).get("choice") or {}
    best = "; ".join(f"{task}: {label(report, name)}" for task, name in choice.items())
    note = f'<p class="note">Best baseline of each task: {escape(best)}.</p>' if best else ""
    drawn = pairs(
        figure("Chance that a run ends with a lower loss", found.get("improvement")),
        f"<div>{_SPEED}{note}</div>",
        figure("Steps to the same loss, all tasks", found.get("speed")),
        figure("Score: a miss counts as 4 times, two as even", found.get("score")),
    )
    each = f"<h3>Task by task</h3>{_tables.against(report)}"
    return f"{drawn}<h3>All tasks together</h3>{_tables.pooled(report)}{each}"


_SPEED = (
    '<p class="note">Ratios below 1, speed-ups and scores above 1 favour the learned optimizer.</p>'
    '<p class="note">Speed-up: in steps to the target nine tenths of the way, in log loss, from '
    "the first loss to the best that the best baseline reached (the hardest target); pooled by the "
    "interquartile mean of log2. What the runs only bound prints as a bound, what they do not tell "
    'as unknown.</p><p class="note">Score: the same to the hardest target, where a miss counts as '
    "a factor of 4 and a pair of runs that did not get there as even, so that every pair has a "
    "number.</p>"
)


def profile(report: Report) -> str:
    drawn = figure(
        "Share of tasks whose target is reached (higher is better)", _pooled.profile(report)
    )
    if not drawn:
        return ""
    found = report["profile"]
    rows = [
        [named(report, n), fixed(found["area"].get(n)),
         fixed((found.get("gated") or {}).get(n))]
        for n in sorted(found["names"], key=lambda n: -(found["area"].get(n) or 0))
    ]  # fmt: skip
    head = ["optimizer", "B, area under the curve", "B, gated by the variants"]
    return f'<div class="beside">{drawn}{table(head, rows)}</div>'


def heat(report: Report) -> str:
    drawn = pairs(
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


def traces(report: Report) -> str:
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


def cost(report: Report) -> str:
    if not (report.get("cost") or {}).get("rows"):
        return ""
    drawn = pairs(
        figure("Time of a whole training step", _pooled.overhead(report, "step")),
        figure("Time of the update alone", _pooled.overhead(report, "update")),
    )
    where = report["cost"].get("device") or report.get("device") or MISSING
    tables = [(where, report["cost"]["rows"])]
    tables += [(x["device"], x["rows"]) for x in report["cost"].get("elsewhere", [])]
    shown = (
        f'{_facts.cost(report, rows)}<p class="note">Measured on {escape(device)}.</p>'
        for device, rows in tables
    )
    return drawn + "".join(shown)


def provenance(report: Report) -> str:
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
    return f"{text}{_facts.provenance(report)}{again}"


def meta_training(report: Report) -> str:
    """F10, or that the artifact did not keep the curve; nothing of what was not meta-trained."""
    if report["subject"].get("kind") != "artifact":
        return ""
    drawn = figure(
        "Loss on held-out tasks falls as the optimizer learns", _curves.meta_training(report)
    )
    return drawn or "<p>The curve of meta-training was not kept by this artifact.</p>"


def reproduce(report: Report) -> str:
    """The command that makes this report: as it was given, where that was kept."""
    if given := report.get("arguments"):
        return _one_line(shlex.join(["learned-opt", "eval", *map(str, given), "--out", "OUT"]))
    subject = report["subject"]
    what = subject["name"]
    if subject.get("kind") != "artifact":
        what = f"--optimizer {subject.get('identity')}"
    tier = f" --tier {report['tier']}" if report.get("tier") else ""
    smoke = " --smoke" if report.get("smoke") else ""
    return _one_line(f"learned-opt eval {what} --suite {report['suite']}{tier}{smoke} --out OUT")


def _one_line(command: str) -> str:
    """It stands between fences in Markdown, which a line of its own could close."""
    return " ".join(command.split())
