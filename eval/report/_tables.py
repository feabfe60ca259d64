"""Tables of results: T1 headline, all tasks pooled, task by task, every loss, variants."""

from typing import Any

from ._cells import estimate, named, speed, table, tag
from ._colours import LEAKAGE_COLOURS
from ._format import (
    MISSING,
    escape,
    known,
    loss,
    number,
    percent,
    ratio,
    times,
    verdict,
)

Report = dict[str, Any]


def tracks(report: Report) -> list[tuple[str, list[str]]]:
    """(title, optimizers) of the two tracks, in the order of the report."""
    found = report.get("tracks") or {}
    free = {
        name
        for name, facts in report["optimizers"].items()
        if (name in found["free"] if "free" in found else facts.get("horizon_free"))
    }
    names = list(report["optimizers"])
    both = (
        ("Told the number of steps", [n for n in names if n not in free]),
        ("Not told the number of steps", [n for n in names if n in free]),
    )
    return [(title, members) for title, members in both if members]


def headline(report: Report) -> str:
    """T1: median final losses, columns by track, tinted by who won."""
    groups = tracks(report)
    names = [name for _, members in groups for name in members]
    first = {members[0] for _, members in groups}
    top = "".join(
        f'<th class="track" colspan="{len(members)}">{escape(title)}</th>'
        for title, members in groups
    )
    head = "".join(
        f'<th class="{"edge" if n in first else ""}">{named(report, n)}</th>' for n in names
    )
    body = []
    for leakage in dict.fromkeys(task["leakage"] for task in report["tasks"]):
        colour = LEAKAGE_COLOURS.get(leakage, "#5b6570")
        body.append(
            f'<tr class="group"><th class="text" colspan="{len(names) + 1}">'
            f'<span><i style="background:{colour}"></i>{escape(leakage)}</span></th></tr>'
        )
        body += [
            _headline_row(report, task, names, first)
            for task in report["tasks"]
            if task["leakage"] == leakage
        ]
    return (
        '<div class="scroll" tabindex="0"><table class="headline"><thead>'
        f'<tr><th class="text" rowspan="2">task</th>{top}</tr><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _headline_row(report: Report, task: Report, names: list[str], first: set[str]) -> str:
    results = task["results"]
    losses = {n: results[n]["valid_loss"] for n in names if n in results}
    best = min((v for v in losses.values() if known(v)), default=None)
    cells = []
    for name in names:
        value = losses.get(name)
        marks = ["edge"] if name in first else []
        if known(value) and value == best:
            marks.append("best")
        found = task["against"].get(name, {}).get("valid_ratio")
        if found and verdict(found) != "undecided":
            marks.append(f"tint-{verdict(found)}")
        if name == "learned":
            marks.append("ours")
        test = results.get(name, {}).get("test_loss")
        small = f"<small>test {loss(test)}</small>" if known(test) else ""
        text = loss(value) if name in losses else MISSING
        cells.append(f'<td class="{" ".join(marks)}">{text}{small}</td>')
    facts = f"{number(task.get('parameters'))} parameters, {task['horizon']:,} steps"
    return (
        f'<tr><td class="text"><b>{escape(task["name"])}</b><small>{escape(facts)}</small>'
        f"</td>{''.join(cells)}</tr>"
    )


def pooled(report: Report) -> str:
    """Every group against the headline baseline, then all tasks against every baseline."""
    rows = []
    for group in report["groups"]:
        found = group["against"].get(report["headline"])
        if found:
            where = f"{escape(group['label'])} ({len(group['tasks'])})"
            rows.append([where, named(report, report["headline"]), *_whole(found)])
    whole = report["groups"][0]
    for name, found in whole["against"].items():
        if name != report["headline"]:
            who = named(report, name)
            rows.append([escape(whole["label"]), who, *_whole(found)])
    if oracle := (report.get("oracle") or {}).get("against"):
        who = named(report, "oracle")
        rows.append([escape(whole["label"]), who, *_whole(oracle)])
    return table(["tasks", "against", *_COMPARED, *_SCORE], rows, text=[1], stacked=True)


_SCORE = ["both missed the 90 % target", "score", "counted as even"]


def _whole(found: Report) -> list[str]:
    """With the pairs of runs that both missed, the score, and the pairs that it counts as even."""
    speedup, score = found.get("speedup") or {}, found.get("score") or {}
    return [
        *_compared(found, why=False),
        _of(speedup.get("both_missed"), speedup.get("pairs")),
        estimate(ratio(score)) if score else MISSING,
        _of(score.get("even"), score.get("pairs")),
    ]


def _of(count: int | None, pairs: int | None) -> str:
    return MISSING if count is None else f"{count} <small>of {pairs}</small>"


_COMPARED = [
    "verdict",
    "validation loss, ratio",
    "test loss, ratio",
    "speed-up",
    "chance to beat it",
]


def _compared(found: Report, why: bool = True) -> list[str]:
    valid = found.get("valid_ratio")
    improvement = found.get("improvement")
    return [
        tag(verdict(valid)),
        estimate(ratio(valid)),
        estimate(ratio(found.get("test_ratio"))),
        speed(found.get("speedup"), why),
        f"{percent(improvement['mid'])} <small>[{percent(improvement['low'])}, "
        f"{percent(improvement['high'])}]</small>"
        if improvement
        else MISSING,
    ]


def against(report: Report) -> str:
    """The learned optimizer against each baseline on each task, with the ladder of targets."""
    # That of 90 % is the speed-up itself.
    rungs = {
        "50": "to the 50 % target",
        "75": "to the 75 % target",
        "best": "to the hardest target",
    }
    rows = [
        [
            escape(task["name"]),
            named(report, name),
            *_compared(found),
            *(speed((found.get("ladder") or {}).get(rung)) for rung in rungs),
        ]
        for task in report["tasks"]
        for name, found in task["against"].items()
    ]
    head = ["task", "against", *_COMPARED, *rungs.values()]
    return table(head, rows, text=[1], stacked=True)


def losses(report: Report) -> str:
    """Every final loss with its quartiles."""
    rows = []
    for task in report["tasks"]:
        for name, r in task["results"].items():
            quartiles = r.get("valid_quartiles") or [None, None]
            q = "–".join(loss(x) for x in quartiles) if all(map(known, quartiles)) else MISSING
            accuracy = r.get("test_accuracy")
            rows.append([
                escape(task["name"]), named(report, name), loss(r["valid_loss"]), q,
                loss(r.get("best_valid_loss")), loss(r.get("train_loss")), loss(r.get("test_loss")),
                percent(accuracy, 1), str(r.get("diverged", 0)),
            ])  # fmt: skip
    head = [
        "task", "optimizer", "validation, median", "middle half of the seeds",
        "best on the way", "training", "test", "test accuracy", "diverged runs",
    ]  # fmt: skip
    return table(head, rows, text=[1])


def variants(report: Report) -> str:
    """The held-out variants that gate a task."""
    names = [n for n in report["optimizers"] if any(n in v["results"] for v in report["variants"])]
    rows = []
    for v in report["variants"]:
        cells = []
        for name in names:
            r = v["results"].get(name)
            cell = MISSING if r is None else loss(r["valid_loss"])
            if r:
                steps = f"{times(r['slower'])}x the steps" if known(r["slower"]) else "no target"
                words = f"{r['diverged']} diverged" if r["diverged"] else steps
                cell += f" <small>{f'<b>{words}</b>' if r['missed'] else words}</small>"
            cells.append(cell)
        rows.append([escape(v["name"]), *cells])
    return table(["variant", *(named(report, n) for n in names)], rows)
