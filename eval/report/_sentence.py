"""The verdict in one sentence, made of intervals only."""

from ..statistics import Estimate, Speedup
from ._report import Report

RIVALS = ("lion", "adabelief", "muon")
UNSEEN = "new network, new data"
TARGET = "90 % target"


def sentence(report: Report) -> str:
    """Better or worse than tuned AdamW and the others, at what cost, on what it never saw, where
    it fails."""
    pooled, count = report.groups[0], len(report.tasks)
    found, trials = pooled.against[report.headline], report.subject.trials
    words = [f"{word} on {n}" for word, n in report.verdict[report.headline].items() if n]
    parts = [
        f"{report.subject.name}, {f'tuned in {trials} trials a task' if trials else 'untuned'}, "
        f"against AdamW tuned for each task is {', '.join(words)} of {_tasks(count)}: final "
        f"validation loss {_ratio(found.valid_ratio)} times AdamW's, {speed(found.speedup)}"
    ]
    others = [
        f"{report.label(name).partition(',')[0]} {_ratio(pooled.against[name].valid_ratio)}"
        for name in RIVALS
        if name in pooled.against
    ]
    if others:
        parts.append(f"over tuned {', '.join(others)}")
    parts += [
        f"on the {_tasks(len(group.tasks))} with new network and data "
        f"{_ratio(group.against[report.headline].valid_ratio)}"
        for group in report.groups[1:]
        if group.label == UNSEEN and len(group.tasks) < count
    ]
    steps = {
        row.optimizer: row.step
        for row in report.cost.rows
        if (row.network, row.batch) == ("1M", 128) and row.step
    }
    if {"learned", "adamw"} <= steps.keys():
        cost = f"{steps['learned'] / steps['adamw']:.1f} times AdamW's"
        parts.append(f"its training step costs {cost} at 1M parameters, batch 128")
    parts.append(_failing(report))
    return f"{'; '.join(parts)} (95 % intervals over {report.seeds} fresh seeds)."


def speed(found: Speedup) -> str:
    """How fast the target was reached, as far as runs tell: no number is made up for a miss."""
    both, pairs = found.both_missed, found.pairs
    if found.least is None and found.most is None:
        one = f", in {found.missed} one did" if found.missed else ""
        return f"unknown how fast: in {both} of {pairs} pairs of runs both missed the {TARGET}{one}"
    amount = found.text.replace("x", "")
    amount = amount.replace(">", "more than ").replace("<", "less than ")
    low = "…" if found.bound == "<" else _number(found.low)
    high = "…" if found.bound == ">" else _number(found.high)
    misses = f" (both missed it in {both} of {pairs} pairs of runs)" if both else ""
    return f"{TARGET} reached {amount} [{low}, {high}] times as fast{misses}"


def diverged_runs(report: Report) -> dict[str, tuple[int, int]]:
    """Stage -> (runs of the learned optimizer that diverged, all of its runs), where it has any."""
    tasks, seeds, cells = len(report.tasks), report.seeds, report.grid
    variants, told = report.variants, report.misinformed
    counts = {
        "reported": ([task.results["learned"].diverged for task in report.tasks], seeds * tasks),
        "on variants": ([v.results["learned"].diverged for v in variants], seeds * len(variants)),
        "told a wrong number of steps": ([x.diverged for x in told], seeds * tasks * len(told)),
        "in the grid": ([cell.diverged for cell in cells], sum(cell.seeds for cell in cells)),
    }
    return {stage: (sum(lost), runs) for stage, (lost, runs) in counts.items() if runs}


def _failing(report: Report) -> str:
    """How many runs diverged, and the worst task if it is worse than the headline there."""
    stages = diverged_runs(report)
    lost, runs = (sum(counts) for counts in zip(*stages.values(), strict=True))
    text = f"none of its {runs:,} runs diverged"
    if lost:
        where = [f"{n} {stage}" for stage, (n, _) in stages.items() if n]
        text = f"{lost:,} of its {runs:,} runs diverged: {', '.join(where)}"
    ratios = {task.name: task.against[report.headline].valid_ratio for task in report.tasks}
    worst = max(ratios, key=lambda name: ratios[name].mid or 0.0)
    if ratios[worst].verdict == "worse":
        return f"{text}; its worst task is {worst} with {_ratio(ratios[worst])}"
    return f"{text}; on no task was it found to be worse than AdamW"


def _tasks(count: int) -> str:
    return f"{count} task{'s' if count > 1 else ''}"


def _ratio(found: Estimate) -> str:
    return f"{_number(found.mid)} [{_number(found.low)}, {_number(found.high)}]"


def _number(x: float | None) -> str:
    if x is None:
        return "…"
    return f"{x:.2f}" if x >= 0.095 else f"{x:.2g}"
