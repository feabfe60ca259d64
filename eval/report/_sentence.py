"""The verdict in a few sentences, made of intervals only."""

from ..statistics import Estimate, Speedup
from ._cost_sentence import cost_range
from ._report import Report
from ._report_tasks import verdicts

TUNED = ("muon", "lion", "adabelief")
UNSEEN = "new network, new data"
TARGET = "90 % target"


def sentence(report: Report) -> str:
    """All that `sentences` says, in one line."""
    return " ".join(said for part in sentences(report) for said in part)


def sentences(report: Report) -> list[list[str]]:
    """In three parts: better or worse than what nobody tuned; than what was tuned, and on what it
    never saw; at what cost, where it fails, and what the numbers are.
    """
    how = (
        "Ratios are means over tasks in which no pair of runs counts as more than a factor of 2; "
        f"95 % intervals over {report.seeds} fresh seeds"
    )
    parts = [
        _untuned(report),
        [_tuned(report), _unseen(report)],
        [capital(cost_range(report)), _failing(report), how],
    ]
    said = [[f"{text}." for text in part if text] for part in parts]
    return [part for part in said if part]


def best_untuned(report: Report, free: bool | None = None) -> list[str]:
    """`Report.nobody_tuned`, hardest to beat first."""
    return report.hardest_first(report.nobody_tuned(free))


def who(report: Report, name: str) -> str:
    """An optimizer for the middle of a sentence."""
    beside = {"calibrated": " at one setting", "default": " at its defaults"}
    facts = report.optimizers[name]
    # Labels of an evaluation on tasks of one's own say it themselves.
    return facts.label.split(",")[0] + ("" if report.own else beside.get(facts.role, ""))


def _untuned(report: Report) -> list[str]:
    names, pooled, subject = best_untuned(report), report.groups[0].against, report.subject
    if not names:
        return []
    (best, *others), parts = names, []
    state = f"tuned in {subject.trials:g} trials a task" if subject.trials else "untuned"
    told = "not told" if subject.horizon_free else "told"
    joined = " but" if subject.horizon_free else " and"
    seen = f"{joined} how often a run sees each example" if subject.uses_epochs else ""
    many = f"the best of {len(names)} optimizers" if others else "the one optimizer"
    parts.append(
        f"{report.name}, {state} and {told} the number of steps{seen}, ends at "
        f"{_ratio(pooled[best].clipped)} times the loss of {who(report, best)}, {many} that nobody "
        f"tuned ({_counts(report, best)}; median task {_number(pooled[best].median.mid)})"
    )
    track = report.optimizers[best].horizon_free
    if other := best_untuned(report, not track):
        asked = "told" if track else "not told"
        many = f"the best of the {len(other)} that are" if other[1:] else "the one that is"
        found = f"{who(report, other[0])}, {_ratio(pooled[other[0]].clipped)}"
        parts.append(f"Over {many} {asked} it, {found}")
        others = [name for name in others if name != other[0]]
    rest = [name for name in others if report.optimizers[name].role == "calibrated"]
    if rest:
        listed = ", ".join(
            f"{report.label(name).split(',')[0]} {_ratio(pooled[name].clipped)}" for name in rest
        )
        parts.append(f"Over the others at one setting on all tasks: {listed}")
    return parts


def _tuned(report: Report) -> str:
    pooled, first = report.groups[0].against, report.headline
    found = pooled[first]
    listed = [
        f"{report.rival} {_ratio(found.clipped)} ({_counts(report, first)}; median task "
        f"{_number(found.median.mid)})"
    ]
    listed += [
        f"{report.label(name).split(',')[0]} {_ratio(pooled[name].clipped)}"
        for name in TUNED
        if name in pooled
    ]
    return (
        f"Over optimizers tuned for each task: {', '.join(listed)}; compared with "
        f"{report.rival}, {speed(found.speedup)}"
    )


def _unseen(report: Report) -> str:
    """Where neither network nor data are ones of meta-training, if only some tasks are such."""
    for group in report.groups[1:]:
        if group.label == UNSEEN and len(group.tasks) < len(report.tasks):
            names = [*best_untuned(report)[:1], report.headline]
            ratios = " and ".join(
                f"{_ratio(group.against[name].clipped)} over "
                + (f"tuned {report.rival}" if name == report.headline else who(report, name))
                for name in names
            )
            return f"On the {_tasks(len(group.tasks))} with new network and data it is {ratios}"
    return ""


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
    text = f"Not one of its {runs:,} runs diverged"
    if lost:
        where = [f"{n} {stage}" for stage, (n, _) in stages.items() if n]
        text = f"{lost:,} of its {runs:,} runs diverged: {', '.join(where)}"
    ratios = {task.name: task.against[report.headline].clipped for task in report.tasks}
    worst = max(ratios, key=lambda name: ratios[name].mid or 0.0)
    rival = f"tuned {report.rival}"
    if ratios[worst].verdict == "worse":
        return f"{text}; its worst task against {rival} is {worst} with {_ratio(ratios[worst])}"
    return f"{text}; on no task was it found to be worse than {rival}"


def capital(text: str) -> str:
    """With a capital at its beginning."""
    return f"{text[:1].upper()}{text[1:]}"


def _counts(report: Report, name: str) -> str:
    words = [f"{word} on {n}" for word, n in verdicts(report.tasks)[name].items() if n]
    return f"{', '.join(words)} of {_tasks(len(report.tasks))}"


def _tasks(count: int) -> str:
    return f"{count} task{'s' if count > 1 else ''}"


def _ratio(found: Estimate) -> str:
    return f"{_number(found.mid)} [{_number(found.low)}, {_number(found.high)}]"


def _number(x: float | None) -> str:
    if x is None:
        return "…"
    return f"{x:.2f}" if x >= 0.095 else f"{x:.2g}"
