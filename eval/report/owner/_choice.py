"""What to use on a task: the choice among learned optimizers and those that nobody tuned."""

import dataclasses
import math

import numpy as np

from ...statistics import Estimate, estimate, geometric_ratio
from .._report import Report
from .._report_tasks import Result, TaskReport


@dataclasses.dataclass(frozen=True)
class Advice:
    """What to use on a task.

    Attributes:
      use: what to train with as it comes.
      ours: the learned one to be used where one is: what was judged, or a rival of it.
      rival: the best of the hand-designed ones that nobody tuned; "" if there is none.
      tuned: the best of those tuned on the task; "" if there is none.
      ratio: loss of `ours` over that of `rival`; None without one.
      paid: of what was trained on whether that paid, by its loss over its start's; None where it
        was not, or its start did not take part.
    """

    use: str
    ours: str
    rival: str
    tuned: str
    ratio: Estimate | None
    paid: Estimate | None

    @property
    def verdict(self) -> str:
        """Of `ours` against `rival`: better, worse or undecided."""
        return self.ratio.verdict if self.ratio else "undecided"


def advice(report: Report, task: TaskReport) -> Advice:
    """The best learned one where it beats the best that nobody tuned; else that.

    Where nothing is decided that is the other one too: its step costs less. What was trained on has
    to beat its start. Hand-designed ones go by the median loss, which is what tables show.
    """
    ours, rival = _learned(report, task), _lowest(report, task, tuned=False)
    found = over(task, ours, rival) if rival else None
    use = rival if found and found.verdict != "better" else ours
    start = _start(report)
    paid = over(task, "learned", start) if start else None
    return Advice(use, ours, rival, _lowest(report, task, tuned=True), found, paid)


def nothing_trained(report: Report, task: TaskReport) -> bool:
    """Whether every run of everybody diverged."""
    return all(found.diverged >= report.seeds for found in task.results.values())


def over(task: TaskReport, ours: str, theirs: str) -> Estimate:
    """Loss of one over that of another: geometric mean over seeds, which they share."""
    if ours == "learned":
        return task.against[theirs].valid_ratio
    return estimate(geometric_ratio(*(_losses(task.results[name]) for name in (ours, theirs))))


def rivals(report: Report) -> list[str]:
    """Other learned optimizers, not the same one with multiplied steps."""
    return [name for name in report.optimizers if name.startswith("rival:")]


def _learned(report: Report, task: TaskReport) -> str:
    """What was judged, unless a rival that nobody tuned is better, or is the start and no worse."""
    chosen, start = "learned", _start(report)
    for name in rivals(report):
        if report.optimizers[name].trials:
            continue
        verdict = over(task, chosen, name).verdict
        if verdict == "worse" or (verdict == "undecided" and name == start):
            chosen = name
    return chosen


def _start(report: Report) -> str:
    """The rival from which meta-training began, by the card; "" if there is none."""
    start = report.subject.card.get("start")
    digest = start.get("sha256") if isinstance(start, dict) else None
    title = start.get("name") if isinstance(start, dict) else None
    names = {f"rival:{title}", f"rival:{title} {str(digest)[:6]}"}
    return next((name for name in rivals(report) if name in names), "")


def _lowest(report: Report, task: TaskReport, *, tuned: bool) -> str:
    baselines = [n for n, facts in report.optimizers.items() if facts.role == "baseline"]
    untuned = report.nobody_tuned()
    names = [name for name in baselines if name not in untuned] if tuned else untuned

    def loss(name: str) -> float:
        found = task.results[name].valid_loss
        return math.inf if found is None else found

    return min(names, key=loss, default="")


def _losses(found: Result) -> np.ndarray:
    return np.array([[np.inf if x is None else x for x in found.seed_losses.valid]])
