"""The pooled results and what they cost, one card each."""

import math
from typing import Any

from ..statistics._failures import diverged_runs
from ._cells import tag
from ._format import escape, faster, known, mid, misses, number, rival, short, span, times, verdict

Report = dict[str, Any]


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
                 as_fast(found.get("speedup")))
        )  # fmt: skip
    if oracle := (report.get("oracle") or {}).get("against"):
        made.append(
            card(verdict(oracle.get("valid_ratio")), mid(oracle.get("valid_ratio")),
                 span(oracle.get("valid_ratio")), "of the loss of each task's best baseline",
                 as_fast(oracle.get("speedup")))
        )  # fmt: skip
    if step := step_over_adam(report):
        made.append(
            card("cost", f"{times(step[0])}x", "", "Adam's time per training step", step[1])
        )
    ours = report["optimizers"]["learned"].get("trials", 0)
    theirs = report["optimizers"].get(report["headline"], {}).get("trials")
    if known(theirs):
        lost, runs = (sum(x) for x in zip(*diverged_runs(report).values(), strict=True))
        made.append(
            card("tuning", number(ours), f"against {number(theirs)}",
                 f"settings tried per task, its own and {name}'s",
                 f"{lost:,} of all its {runs:,} runs diverged")
        )  # fmt: skip
    return f'<div class="cards">{"".join(made)}</div>'


def as_fast(found: Report | None) -> str:
    text = faster(found)
    if text == "unknown":
        why = misses(found)
        return (
            f"unknown how fast: {why}" if why else "too few runs reach its target to say how fast"
        )
    return f"{text} as fast {span(found)}"


def card(word: str, big: str, beside: str, below: str, last: str) -> str:
    """A card: pill, large number, what it is."""
    return (
        f'<div class="card">{tag(word)}<b>{escape(big)} <span>{escape(beside)}</span></b>'
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
