"""What to train with, and what it buys: sentences made of intervals only."""

from ...statistics import Speedup
from .._numbers import duration, times
from .._report import Report
from .._report_measured import CostRow
from .._report_tasks import TaskReport
from ._choice import Advice, advice, nothing_trained, rivals
from ._words import amount, called, ends, judged, misses, ratio


def owner_sentences(report: Report) -> list[list[str]]:
    """Of each task two parts: what to use; how soon, at what cost, against others. In the last part
    what was left out, and what the numbers are.
    """
    left = report.own.left_out if report.own else []
    parts = [part for task in report.tasks for part in _parts(report, task, advice(report, task))]
    if all(nothing_trained(report, task) for task in report.tasks):
        return [[f"{text}." for text in part] for part in parts]
    parts.append([
        f"Within the budget {'; '.join(left)}" if left else "",
        f"The 90 % target lies nine tenths of the way, in log loss, from the first loss to the "
        f"lowest that {_target(report)} reached",
        f"Ratios of losses are geometric means over {report.seeds} fresh seeds, and brackets hold "
        "95 % intervals",
    ])  # fmt: skip
    said = [[f"{text}." for text in part if text] for part in parts]
    return [part for part in said if part]


def _parts(report: Report, task: TaskReport, found: Advice) -> list[list[str]]:
    """What to use, and how much lower the loss is; how soon a target is met, at what cost, and
    what there is besides.
    """
    if nothing_trained(report, task):
        return [[_nothing(report, task)]]
    beside = dict.fromkeys([report.headline, found.tuned])
    return [
        [_paid(report, task, found), _train(report, task, found)],
        [*(_soon(report, task, name) for name in beside), _cost(report, task),
         *_others(report, task, found)],
    ]  # fmt: skip


def _nothing(report: Report, task: TaskReport) -> str:
    return (
        f"Nothing trained {task.name}: all runs of all {len(report.optimizers)} optimizers "
        "diverged, so that nothing is said of what to use. Look at the loss and its gradient in "
        "the first steps: at what is not finite (a logarithm or a division by 0, a square root at "
        "0), and at the scale of the data"
    )


def _paid(report: Report, task: TaskReport, found: Advice) -> str:
    """That it did not pay to train on, or that nobody knows."""
    if found.paid is None or found.paid.verdict == "better":
        return ""
    stay = f"stay with {called(report, found.ours)}" if found.use == found.ours else ""
    if found.paid.verdict == "worse":
        text = f"Training on did not pay for {task.name}"
    else:
        text = f"Whether training on paid for {task.name} is undecided"
    return f"{text}: {stay}" if stay else text


def _train(report: Report, task: TaskReport, found: Advice) -> str:
    ours, steps = called(report, found.ours), f"after {task.horizon:,} steps"
    train = f"Train {task.name} with"
    if found.ratio is None:
        return f"{train} {ours}, which was compared with nothing that nobody tuned"
    theirs, count = called(report, found.rival), len(report.nobody_tuned())
    best = f"the best of {count} that nobody tuned" if count > 1 else "which nobody tuned"
    number = ratio(found.ratio)
    if found.verdict == "better":
        return f"{train} {ours}: {steps} its loss is {number} times that of {theirs}, {best}"
    if found.verdict == "worse":
        return f"{train} {theirs}, {best}: {steps} the loss of {ours} is {number} times its loss"
    return (
        f"{train} {theirs}, {best}, or with {ours}, whose loss {steps} is {number} times as high, "
        "which decides nothing"
    )


def _soon(report: Report, task: TaskReport, name: str) -> str:
    """How soon a target is met, in steps and on the clock, compared with another."""
    if not name:
        return ""
    found, theirs = task.against[name], called(report, name)
    steps, clock = found.speedup, found.speedup_seconds
    ours, other = (cost_row(report, task, each) for each in ("learned", name))
    long = over_step(ours, other)
    step = "" if long is None else f"a step takes {times(long)} times as long"
    if steps.text == "unknown":
        why = f": {misses(steps)}" if steps.both_missed else ""
        text = f"How soon {report.name} reaches the 90 % target, beside {theirs}, is unknown{why}"
        return f"{text}, and {step}" if step else text
    text = (
        f"{report.name} reaches the 90 % target {amount(steps)} as fast as {theirs} in "
        f"steps{ends(steps)}"
    )
    if clock and clock.text != "unknown":
        turns = _side(steps) * _side(clock) < 0
        text += f" {'but' if turns else 'and'} {amount(clock)} as fast in seconds{ends(clock)}"
    if steps.both_missed:
        text += f" ({misses(steps)})"
    return f"{text}, for {step}" if step else text


def _side(found: Speedup) -> int:
    """1 for faster, -1 for slower, 0 where the bounds do not say."""
    return int((found.least or 0) > 1) - int(found.most is not None and found.most < 1)


def _target(report: Report) -> str:
    """Whose lowest loss the targets are made of."""
    set_by = [name for name, facts in report.optimizers.items() if facts.role == "baseline"]
    return "the best tuned optimizer" if len(set_by) > 1 else called(report, set_by[0])


def _cost(report: Report, task: TaskReport) -> str:
    ours, theirs = (cost_row(report, task, name) for name in ("learned", report.headline))
    if not (ours and theirs and ours.step and theirs.step):
        return ""
    text = f"A run of {report.name} takes {duration(ours.step * 1e-6 * task.horizon)}"
    if (a := filled(ours)) and (b := filled(theirs)):
        text += (
            f" and {times(a / b)} times the memory of {report.rival}, state, parameters and "
            "temporary arrays counted"
        )
    return text


def _others(report: Report, task: TaskReport, found: Advice) -> list[str]:
    """Against other learned ones, and against what was tuned; whether runs diverged."""
    trained = trained_here(report, task)
    parts = [
        f"{report.name} ends at {judged(task.against[name].valid_ratio, called(report, name))}"
        for name in rivals(report)
    ]
    if trained:
        parts.append(f"{report.name} was meta-trained on this very task")
    if found.tuned:
        untuned = "" if trained or report.subject.trials else ", untuned,"
        whose = f"{called(report, found.tuned)}, the best of those tuned"
        parts.append(
            f"{report.name}{untuned} ends at {judged(task.against[found.tuned].valid_ratio, whose)}"
        )
    if lost := task.results["learned"].diverged:
        parts.append(f"{lost} of its {report.seeds} runs diverged")
    return parts


def trained_here(report: Report, task: TaskReport) -> bool:
    """Whether the card says that meta-training had this task of one's own."""
    seen = report.subject.card.get("trained_on")
    networks = seen.get("networks") if isinstance(seen, dict) else None
    return task.leakage == "yours" and isinstance(networks, list) and task.network in networks


def cost_row(report: Report, task: TaskReport, name: str) -> CostRow | None:
    """What a step of this task costs an optimizer, if that was measured."""
    for row in report.cost.rows:
        if (row.network, row.optimizer) == (task.name, name):
            return row
    return None


def over_step(ours: CostRow | None, theirs: CostRow | None) -> float | None:
    """A step's time over another's, where both were measured."""
    if ours is None or theirs is None or ours.step is None or not theirs.step:
        return None
    return ours.step / theirs.step


def filled(row: CostRow) -> float | None:
    """Bytes of parameters, state and what a step needs in between."""
    if row.state is None or row.temporary is None:
        return None
    return 4 * row.parameters * (1 + row.state) + row.temporary
