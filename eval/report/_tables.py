"""Tables of the page: T1 headline, T2 settings, T3 cost, T4 provenance, T5 failures."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from ._colours import LEAKAGE_COLOURS, style_of
from ._format import (
    MISSING,
    duration,
    escape,
    faster,
    known,
    label,
    loss,
    number,
    percent,
    plain,
    ratio,
    short,
    size,
    span,
    times,
    verdict,
)

Report = dict[str, Any]


def swatch(name: str) -> str:
    """A piece of the optimizer's line, as in the figures."""
    style = style_of(name)
    dash = f' stroke-dasharray="{" ".join(f"{2 * d:g}" for d in style.dash)}"' if style.dash else ""
    dot = f'<circle cx="12" cy="5" r="3.2" fill="{style.colour}"/>' if style.marker else ""
    return (
        f'<svg class="key" viewBox="0 0 24 10" aria-hidden="true"><path d="M1 5H23" '
        f'stroke="{style.colour}" stroke-width="3"{dash}/>{dot}</svg>'
    )


def named(report: Report, name: str) -> str:
    """Swatch and name."""
    return f'<span class="opt">{swatch(name)}{escape(label(report, name))}</span>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, text: Sequence[int] = ()) -> str:
    """Rows of cells that are HTML; the first column and those in `text` are left-aligned."""
    left, last = {0, *text}, None
    body = ""

    def cells(kind: str, row: Sequence[str]) -> str:
        return "".join(
            f'<{kind} class="text">{cell}</{kind}>' if i in left else f"<{kind}>{cell}</{kind}>"
            for i, cell in enumerate(row)
        )

    for row in rows:  # what the first column repeats is said once
        same = bool(row[0]) and row[0] == last
        again = "" if same else row[0]
        mark = ' class="again"' if same else ""
        body += f"<tr{mark}>{cells('td', [again, *row[1:]])}</tr>"
        last = row[0]
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{cells("th", head)}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


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
            rows.append([where, named(report, report["headline"]), *_compared(found)])
    whole = report["groups"][0]
    for name, found in whole["against"].items():
        if name != report["headline"]:
            rows.append([escape(whole["label"]), named(report, name), *_compared(found)])
    if oracle := (report.get("oracle") or {}).get("against"):
        rows.append([escape(whole["label"]), named(report, "oracle"), *_compared(oracle)])
    return table(["tasks", "against", *_COMPARED], rows, text=[1])


_COMPARED = [
    "verdict",
    "validation loss, ratio",
    "test loss, ratio",
    "speed-up",
    "chance to beat it",
]


def _compared(found: Report) -> list[str]:
    valid = found.get("valid_ratio")
    improvement = found.get("improvement")
    return [
        tag(verdict(valid)),
        _pair(ratio(valid)),
        _pair(ratio(found.get("test_ratio"))),
        speed(found.get("speedup")),
        f"{percent(improvement['mid'])} <small>[{percent(improvement['low'])}, "
        f"{percent(improvement['high'])}]</small>"
        if improvement
        else MISSING,
    ]


def tag(word: str) -> str:
    """A pill: better, worse or undecided."""
    return f'<span class="tag {word}">{word}</span>'


def speed(found: Report | None) -> str:
    """A speed-up with its interval."""
    interval = span(found)
    return f"{escape(faster(found))} <small>{interval}</small>" if interval else faster(found)


def _pair(text: str) -> str:
    value, _, interval = text.partition(" ")
    return f"{value} <small>{interval}</small>" if interval else value


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
    return table(["task", "against", *_COMPARED, *rungs.values()], rows, text=[1])


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


def settings(report: Report) -> str:
    """T2: what was chosen, how hard it was looked for, and how it held on fresh seeds."""
    rows = []
    for task in report["tasks"]:
        for name, r in task["results"].items():
            hyper, tried = r.get("hyper") or {}, r.get("trials", 0)
            ours = name == "learned" and not tried
            cosine = "warm-up, cosine" if hyper.get("cosine") else "constant"
            rows.append([
                escape(task["name"]), named(report, name),
                MISSING if ours else number(hyper.get("lr")),
                MISSING if ours else number(hyper.get("wd")),
                "its own" if ours else cosine, escape(plain(hyper.get("extra"))),
                str(tried), str(r.get("extensions", 0)), _edge(r), _gap(r),
            ])  # fmt: skip
    head = [
        "task", "optimizer", "learning rate", "weight decay", "schedule", "extra",
        "settings tried", "grid extended", "to the grid's edge", "fresh over tuning loss",
    ]  # fmt: skip
    return table(head, rows, text=[1])


def _edge(r: Report) -> str:
    """Distance of the chosen learning rate to the nearest end of those tried."""
    tried = sorted(lr for lr, _ in r.get("sensitivity") or [])
    lr = (r.get("hyper") or {}).get("lr")
    if len(tried) < 2 or not known(lr):
        return "<b>at the edge</b>" if r.get("at_edge") else MISSING
    factor = min(lr / tried[0], tried[-1] / lr)
    if r.get("at_edge") or factor < 1.001:
        return "<b>at the edge</b>"
    return f"factor {10 ** round(math.log10(factor), 2):.3g}"


def _gap(r: Report) -> str:
    tuned, fresh = r.get("tune_loss"), r.get("valid_loss")
    if not (known(tuned) and known(fresh)) or tuned <= 0:
        return MISSING
    return f"{100 * (fresh / tuned - 1):+.1f} %"


def cost(report: Report) -> str:
    """T3: time and memory of a step."""
    rows = report["cost"]["rows"]
    adam = {(r["network"], r["batch"]): r for r in rows if r["optimizer"] == "adam"}
    body = []
    for r in rows:
        base = adam.get((r["network"], r["batch"]), {})

        def over(field: str, r: Report = r, base: Report = base) -> str:
            ok = known(r.get(field)) and known(base.get(field)) and base[field] > 0
            return times(r[field] / base[field]) if ok else MISSING

        who = "Adam (optax)" if r["optimizer"] == "adam" else label(report, r["optimizer"])
        body.append([
            f"{short(r['parameters'])}", str(r["batch"]),
            f'<span class="opt">{swatch(r["optimizer"])}{escape(who)}</span>',
            f"{number(r['step'], 4)} µs <small>± {number(r.get('spread'), 2)}</small>",
            over("step"), f"{number(r.get('update'), 4)} µs", over("update"),
            percent(r.get("share")), times(r.get("state")), size(r.get("temporary")),
            duration(r.get("compile")),
        ])  # fmt: skip
    head = [
        "parameters", "batch", "optimizer", "training step, ± interquartile range", "over Adam's",
        "update alone", "over Adam's", "update's share", "state over parameters",
        "temporary memory", "compilation",
    ]  # fmt: skip
    return table(head, body, text=[2])


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


def failures(report: Report) -> str:
    """T5: every run that ended with a loss that is not finite."""
    rows = [
        [
            escape(plain(f.get("stage"))), escape(f["task"]), named(report, f["optimizer"]),
            number(f["lr"]), number(f["weight_decay"]),
            str(f.get("seed", MISSING)),
            f"{f['told']:g} T" if known(f.get("told")) else MISSING,
        ]
        for f in report["failures"]
    ]  # fmt: skip
    head = ["stage", "task", "optimizer", "learning rate", "weight decay", "seed", "told"]
    return table(head, rows, text=[1, 2])


def provenance(report: Report) -> str:
    """T4: where the optimizer and the numbers come from."""
    subject = report["subject"]
    facts: dict[str, Any] = {
        "evaluated": f"{subject.get('name')} ({subject.get('kind', 'artifact')})",
        "identity": subject.get("identity"),
    }
    facts |= {key.replace("_", " "): value for key, value in (subject.get("card") or {}).items()}
    facts |= {
        "suite": f"{report['suite']}, hash {report.get('suite_hash') or MISSING}",
        "tier": report.get("tier"), "device": report.get("device"), "JAX": report.get("jax"),
        "code": report.get("code"), "date": report.get("date"),
        "seeds": f"{report['seeds']} to report, {report.get('tune_seeds', MISSING)} others to tune",
        "duration of the evaluation": duration(report.get("seconds")),
    }  # fmt: skip
    if merged := report.get("merged"):
        facts["runs"] = (
            f"{short(merged['runs'])}, of which {short(merged['shipped'])} shipped; "
            f"{merged['conflicts']} differ between machines"
        )
    rows = [[escape(k), escape(plain(v))] for k, v in facts.items() if v not in (None, "", [], {})]
    return table(["fact", "value"], rows, text=[1])
