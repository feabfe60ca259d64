"""What to train with, and what it buys: sentences made of intervals only."""

import dataclasses

from ...statistics import Estimate
from .._numbers import duration, ratio, times
from .._report import Report
from .._report_measured import CostRow
from .._report_tasks import TaskReport
from .._sentence import best_untuned, speed, who


@dataclasses.dataclass(frozen=True)
class Advice:
    """What to use on a task.

    Attributes:
      use: what to train with as it comes.
      rival: the best of the hand-designed ones that nobody tuned; "" if there is none.
      tuned: the best of those tuned on the task; "" if there is none.
      verdict: of the learned optimizer against `rival`: better, worse or undecided.
    """

    use: str
    rival: str
    tuned: str
    verdict: str


def advice(report: Report, task: TaskReport) -> Advice:
    """The learned optimizer where it beats every untuned one; else the best of those.

    Where nothing is decided that is the other one too: its step costs less.
    """
    untuned = sorted(
        best_untuned(report), key=lambda name: -(task.against[name].valid_ratio.mid or 0.0)
    )
    tuned = sorted(
        (n for n, facts in report.optimizers.items() if facts.role == "baseline" and facts.trials),
        key=lambda name: -(task.against[name].valid_ratio.mid or 0.0),
    )
    rival = untuned[0] if untuned else ""
    verdict = task.against[rival].valid_ratio.verdict if rival else "undecided"
    use = "learned" if verdict == "better" or not rival else rival
    return Advice(use, rival, tuned[0] if tuned else "", verdict)


def owner_sentences(report: Report) -> list[list[str]]:
    """In three parts: what to use on each task and what it buys; against others; what was left
    out, and what the numbers are.
    """
    found = [(task, advice(report, task)) for task in report.tasks]
    left = report.own.left_out if report.own else []
    parts = [
        [part for task, one in found for part in _use(report, task, one)],
        [part for task, one in found for part in _others(report, task, one)],
        [f"Within the budget {', '.join(left)}" if left else "",
         f"Brackets hold 95 % intervals over {report.seeds} fresh seeds"],
    ]  # fmt: skip
    said = [[f"{text}." for text in part if text] for part in parts]
    return [part for part in said if part]


def _use(report: Report, task: TaskReport, found: Advice) -> list[str]:
    """What to use, how much lower the loss is, how soon AdamW's target is met, at what cost."""
    ours, steps = report.name, f"after {task.horizon:,} steps"
    if not found.rival:
        return [f"{task.name}: {ours} was compared with nothing that nobody tuned"]
    theirs, count = who(report, found.rival), len(best_untuned(report))
    ratio_ = ratio(task.against[found.rival].valid_ratio)
    best = f"the best of {count} that nobody tuned" if count > 1 else "which nobody tuned"
    first = {
        "better": f"Train {task.name} with {ours}: {steps} its loss is {ratio_} times that of "
        f"{theirs}, {best}",
        "worse": f"Train {task.name} with {theirs}, {best}: {steps} the loss of {ours} is {ratio_} "
        "times its loss",
        "undecided": f"Train {task.name} with {theirs}, {best}, or with {ours}, whose loss {steps} "
        f"is {ratio_} times as high, which decides nothing",
    }[found.verdict]
    return [first, f"{_soon(report, task)}{_cost(report, task)}"]


def _soon(report: Report, task: TaskReport) -> str:
    tuned = report.optimizers[report.headline].trials
    state = f"tuned {report.rival}" if tuned else f"{report.rival} at one setting"
    against = speed(task.against[report.headline].speedup)
    return f"With {report.name}, compared with {state}: {against}"


def _cost(report: Report, task: TaskReport) -> str:
    ours, theirs = (cost_row(report, task, name) for name in ("learned", report.headline))
    if not (ours and theirs and ours.step and theirs.step):
        return ""
    took = duration(ours.step * 1e-6 * task.horizon)
    text = f"; a step takes {times(ours.step / theirs.step)} times AdamW's, {took} a run"
    if (memory := filled(ours, theirs)) is not None:
        text += f", in {times(memory)} times its memory"
    return text


def _others(report: Report, task: TaskReport, found: Advice) -> list[str]:
    """Against other learned ones, and against what was tuned; whether runs diverged."""
    parts = [
        f"{report.name} over {report.label(name).split(',')[0]}: "
        f"{_words(task.against[name].valid_ratio)}"
        for name in rivals(report)
    ]
    if trained_here(report, task):
        parts.append(f"{report.name} was meta-trained on this very task")
    if found.tuned:
        tuned = report.label(found.tuned).split(",")[0]
        parts.append(
            f"{report.name} as it comes over {tuned}, the best that was tuned here: "
            f"{_words(task.against[found.tuned].valid_ratio)}"
        )
    if lost := task.results["learned"].diverged:
        parts.append(f"{lost} of its {report.seeds} runs diverged")
    return parts


def rivals(report: Report) -> list[str]:
    """Other learned optimizers, not the same one with multiplied steps."""
    return [name for name in report.optimizers if name.startswith("rival:")]


def trained_here(report: Report, task: TaskReport) -> bool:
    """Whether the card says that meta-training had this task of one's own."""
    seen = report.subject.card.get("trained_on")
    networks = seen.get("networks") if isinstance(seen, dict) else None
    return task.leakage == "yours" and isinstance(networks, list) and task.network in networks


def _words(found: Estimate) -> str:
    return f"{ratio(found)} times its loss, {found.verdict}"


def cost_row(report: Report, task: TaskReport, name: str) -> CostRow | None:
    """What a step of this task costs an optimizer, if that was measured."""
    for row in report.cost.rows:
        if (row.network, row.optimizer) == (task.name, name):
            return row
    return None


def filled(ours: CostRow, theirs: CostRow) -> float | None:
    """Bytes of parameters, state and what a step needs in between, over another's."""

    def of(row: CostRow) -> float | None:
        if row.state is None or row.temporary is None:
            return None
        return 4 * row.parameters * (1 + row.state) + row.temporary

    a, b = of(ours), of(theirs)
    return a / b if a is not None and b else None
