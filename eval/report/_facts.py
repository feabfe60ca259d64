"""Tables of how it was made: T2 settings, T3 cost, T4 provenance, T5 failures."""

from typing import Any

from ._cells import named, swatch, table
from ._format import (
    MISSING,
    duration,
    escape,
    known,
    label,
    number,
    percent,
    plain,
    short,
    size,
    times,
)

Report = dict[str, Any]


def settings(report: Report) -> str:
    """T2: what was chosen, how hard it was looked for, and how it held on fresh seeds."""
    rows = []
    for task in report["tasks"]:
        for name, r in task["results"].items():
            hyper, tried = r.get("hyper") or {}, _tried(report, name, r)
            ours = name == "learned" and tried == "0"
            cosine = "warm-up, cosine" if hyper.get("cosine") else "constant"
            rows.append([
                escape(task["name"]), named(report, name),
                MISSING if ours else number(hyper.get("lr")),
                MISSING if ours else number(hyper.get("wd")),
                "its own" if ours else cosine, escape(plain(hyper.get("extra"))),
                tried, str(r.get("extensions", 0)), _edge(r), _gap(r),
            ])  # fmt: skip
    head = [
        "task", "optimizer", "learning rate", "weight decay", "schedule", "extra",
        "settings tried", "grid extended", "to the grid's edge", "fresh over tuning loss",
    ]  # fmt: skip
    return table(head, rows, text=[1], stacked=True)


def _tried(report: Report, name: str, r: Report) -> str:
    """Settings tried: for this task, or once for all of them."""
    facts = report["optimizers"].get(name, {})
    if facts.get("role") == "frozen":
        return f"{facts.get('trials', 0)} <small>once, on other tasks</small>"
    return str(facts.get("trials", 0) if name == "learned" else r.get("trials", 0))


def _edge(r: Report) -> str:
    """Distance of the chosen learning rate to the nearest end of those tried with its schedule."""
    half_decades = r.get("edge")
    if half_decades is None:
        return MISSING
    return f"factor {10 ** (half_decades / 2):.3g}" if half_decades else "<b>at the edge</b>"


def _gap(r: Report) -> str:
    tuned, fresh = r.get("tune_loss"), r.get("valid_loss")
    if not (known(tuned) and known(fresh)) or tuned <= 0:
        return MISSING
    return f"{100 * (fresh / tuned - 1):+.1f} %"


def cost(report: Report, rows: list[dict[str, Any]]) -> str:
    """T3: time and memory of a step, on one device."""
    adam = {(r["network"], r["batch"]): r for r in rows if r["optimizer"] == "adam"}
    body = []
    for r in rows:
        base = adam.get((r["network"], r["batch"]), {})

        def over(field: str, r: Report = r, base: Report = base) -> str:
            ok = known(r.get(field)) and known(base.get(field)) and base[field] > 0
            return times(r[field] / base[field]) if ok else MISSING

        who = "Adam (optax)" if r["optimizer"] == "adam" else label(report, r["optimizer"])
        body.append([
            short(float(f"{r['parameters']:.3g}")), str(r["batch"]),
            f'<span class="opt">{swatch(r["optimizer"])}{escape(who)}</span>',
            f"{number(r['step'], 4)} µs <small>± {number(r.get('spread'), 2)}</small>",
            over("step"), f"{number(r.get('update'), 4)} µs", over("update"),
            percent(r.get("share")), times(r.get("state")), size(r.get("temporary")),
            duration(r.get("compile")), number(r.get("steps"), 4),
        ])  # fmt: skip
    head = [
        "parameters", "batch", "optimizer", "training step, ± interquartile range", "over Adam's",
        "update alone", "over Adam's", "update's share", "state over parameters",
        "temporary memory", "compilation", "steps timed",
    ]  # fmt: skip
    return table(head, body, text=[2], stacked=True)


def failures(report: Report) -> str:
    """T5: every run that ended with a loss that is not finite."""
    rows = [
        [
            escape(plain(f.get("stage"))), escape(f["task"]), named(report, f["optimizer"]),
            number(f.get("lr")), number(f.get("weight_decay")),
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
