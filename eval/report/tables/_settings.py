"""Tables of how the results were made: settings and their tuning, failures."""

from .._html import named, table
from .._numbers import MISSING, escape, number, plain
from .._report import Report
from .._report_tasks import Result


def settings(report: Report) -> str:
    """T2: what was chosen, how hard it was looked for, and how it held on fresh seeds."""
    rows = []
    for task in report.tasks:
        for name, r in task.results.items():
            tried = _tried(report, name, r)
            hyper = dict.fromkeys(("lr", "wd", "cosine", "extra")) | r.hyper
            ours = name == "learned" and tried == "0"
            cosine = "warm-up, cosine" if hyper["cosine"] else "constant"
            rows.append([
                escape(task.name), named(report, name),
                MISSING if ours else number(hyper["lr"]), MISSING if ours else number(hyper["wd"]),
                "its own" if ours else cosine, escape(plain(hyper["extra"])),
                tried, str(r.extensions), _edge(r), _gap(r),
            ])  # fmt: skip
    head = [
        "task", "optimizer", "learning rate", "weight decay", "schedule", "extra",
        "settings tried", "grid extended", "to the grid's edge", "fresh over tuning loss",
    ]  # fmt: skip
    return table(head, rows, text=[1], stacked=True)


def _tried(report: Report, name: str, r: Result) -> str:
    """Settings tried: for this task, or once for all of them."""
    facts = report.optimizers[name]
    if facts.role == "calibrated":
        return f"{facts.trials:g} <small>once, on other tasks</small>"
    return str(facts.trials if name == "learned" else r.trials)


def _edge(r: Result) -> str:
    """Distance of the chosen learning rate to the nearest end of those tried with its schedule."""
    if r.edge is None:
        return MISSING
    return f"factor {10 ** (r.edge / 2):.3g}" if r.edge else "<b>at the edge</b>"


def _gap(r: Result) -> str:
    if r.tune_loss is None or r.valid_loss is None or r.tune_loss <= 0:
        return MISSING
    return f"{100 * (r.valid_loss / r.tune_loss - 1):+.1f} %"


def failures(report: Report) -> str:
    """T5: every run that ended with a loss that is not finite."""
    rows = [
        [
            escape(f.stage), escape(f.task), named(report, f.optimizer), number(f.lr),
            number(f.weight_decay), MISSING if f.seed is None else str(f.seed),
            MISSING if f.told is None else f"{f.told:g} T",
        ]
        for f in report.failures
    ]  # fmt: skip
    head = ["stage", "task", "optimizer", "learning rate", "weight decay", "seed", "told"]
    return table(head, rows, text=[1, 2])
