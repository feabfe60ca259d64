"""What to train with, and what it buys: sentences made of intervals only."""

import dataclasses

from ...statistics import Estimate
from .._numbers import as_fast, duration, ratio, times
from .._report import Report
from .._report_measured import CostRow
from .._report_tasks import TaskReport
from .._sentence import best_untuned, who


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
        [_first(report, task, one) for task, one in found],
        [part for task, one in found for part in _others(report, task, one)],
        [f"Within the budget {', '.join(left)}" if left else "",
         f"Brackets hold 95 % intervals over {report.seeds} fresh seeds"],
    ]  # fmt: skip
    said = [[f"{text}." for text in part if text] for part in parts]
    return [part for part in said if part]


def _others(report: Report, task: TaskReport, found: Advice) -> list[str]:
    """Against other learned ones, and against what was tuned; whether runs diverged."""
    parts = []
    rivals = [n for n, facts in report.optimizers.items()
              if facts.role == "rival" and n.startswith("rival:")]  # fmt: skip
    parts += [
        f"{report.name} over {report.label(name)}: {_loss(task.against[name].valid_ratio)}"
        for name in rivals
    ]
    if found.tuned:
        against = task.against[found.tuned].valid_ratio
        parts.append(
            f"Against {report.label(found.tuned).split(',')[0]}, the best that was tuned here, "
            f"{report.name} as it comes is {against.verdict}: {_loss(against)}"
        )
    if lost := task.results["learned"].diverged:
        parts.append(f"{lost} of its {report.seeds} runs diverged")
    return parts


def _first(report: Report, task: TaskReport, found: Advice) -> str:
    name, steps = report.name, f"after {task.horizon:,} steps"
    if not found.rival:
        return f"{task.name}: {name} was compared with nothing that nobody tuned"
    other, count = who(report, found.rival), len(best_untuned(report))
    against = task.against[found.rival].valid_ratio
    best = f"the best of {count} that nobody tuned" if count > 1 else "which nobody tuned"
    if found.use == "learned":
        text = f"Train {task.name} with {name}: {steps} its loss is {_loss(against)} of {other}"
        text += f", {best}; "
    elif found.verdict == "worse":
        text = f"Train {task.name} with {other}, {best}: {steps} the loss of {name} is "
        text += f"{_loss(against)} of it; "
    else:
        text = f"Train {task.name} with {other}, {best}, or with {name}: {steps} their losses do "
        text += f"not differ for certain, {ratio(against)} times that of {other}; "
    text += f"to the target that AdamW sets {name} is {as_fast(task.against['adamw'].speedup)}"
    return text + _cost(report, task)


def _cost(report: Report, task: TaskReport) -> str:
    ours, theirs = (cost_row(report, task, name) for name in ("learned", report.headline))
    if not (ours and theirs and ours.step and theirs.step):
        return ""
    took = duration(ours.step * 1e-6 * task.horizon)
    text = f", and its steps take {times(ours.step / theirs.step)} times AdamW's, {took} a run"
    if (memory := filled(ours, theirs)) is not None:
        text += f", in {times(memory)} times its memory"
    return text


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


def _loss(found: Estimate) -> str:
    return f"{ratio(found)} times that"
