"""Two reports on the same tasks and seeds: which learned optimizer is better, and by how much."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..statistics import Estimate, Speedup, loss_ratios, speedup_of
from ._numbers import plain, ratio, times
from ._reader import ReportError
from ._report import Report, SubjectFacts
from ._report_tasks import Curves, Result
from ._sentence import speed

RUNG = "90"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paired:
    """Ratios of losses a / b, see `Comparison`, and steps to the 90 % target, b's over a's."""

    clipped: Estimate
    median: Estimate
    valid_ratio: Estimate
    clipped_test: Estimate
    test_ratio: Estimate
    speedup: Speedup


@dataclasses.dataclass(frozen=True, kw_only=True)
class SideCurves:
    """One side's losses along the run of a task."""

    steps: list[int]
    curves: Curves


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedTask:
    """One task; lists have an entry for each side."""

    name: str
    leakage: list[str]
    horizon: int
    clipped: Estimate
    median: Estimate
    valid_ratio: Estimate
    clipped_test: Estimate
    test_ratio: Estimate
    speedup: Speedup
    valid_loss: list[float | None]
    test_loss: list[float | None]
    diverged: list[int]
    results: list[SideCurves]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedReports:
    """All of it: `compare.json` has these fields in this order.

    `all`: pooled over tasks; `verdict`: on how many tasks a is better, worse, undecided.
    """

    schema: int = 2
    names: list[str]
    subjects: list[SubjectFacts]
    suite: str
    suite_hash: str | None
    tier: str | None
    seeds: int
    codes: list[str | None]
    tasks: list[PairedTask]
    all: Paired
    verdict: dict[str, int]
    sentence: str


def compare_reports(a: Report, b: Report) -> PairedReports:
    """The learned optimizer of `a` against that of `b`, paired by task and seed.

    Raises:
      ReportError: suites, tiers, seeds, tasks or targets differ, so nothing can be paired.
    """
    _same(a, b)
    pairs = [[task.results["learned"] for task in tasks]
             for tasks in zip(a.tasks, b.tasks, strict=True)]  # fmt: skip
    tasks = [
        PairedTask(
            name=ours.name,
            leakage=[ours.leakage, theirs.leakage],
            horizon=ours.horizon,
            **vars(_pair([pair])),
            valid_loss=[side.valid_loss for side in pair],
            test_loss=[side.test_loss for side in pair],
            diverged=[side.diverged for side in pair],
            results=[SideCurves(steps=side.steps, curves=side.curves) for side in pair],
        )
        for ours, theirs, pair in zip(a.tasks, b.tasks, pairs, strict=True)
    ]
    words = [task.clipped.verdict for task in tasks]
    counts = {word: words.count(word) for word in ("better", "worse", "undecided")}
    names = [a.name, b.name]
    if a.name == b.name:
        names = [f"{r.name} ({str(r.subject.identity)[:8]})" for r in (a, b)]
    pooled = _pair(pairs)
    return PairedReports(
        names=names,
        subjects=[a.subject, b.subject],
        suite=a.suite,
        suite_hash=a.suite_hash,
        tier=a.tier,
        seeds=a.seeds,
        codes=[a.code, b.code],
        tasks=tasks,
        all=pooled,
        verdict=counts,
        sentence=f"{names[0]} is better than {names[1]} on {counts['better']} of {len(tasks)} "
        f"task{'s' * (len(tasks) != 1)}, worse on {counts['worse']}, undecided on "
        f"{counts['undecided']}; final validation loss {ratio(pooled.clipped)} times "
        f"{names[1]}'s (no pair of runs counts as more than a factor of 2; median task "
        f"{times(pooled.median.mid)}), {speed(pooled.speedup)} (95 % intervals over {a.seeds} "
        "seeds, paired).",
    )


def _same(a: Report, b: Report) -> None:
    """Refuse what cannot be paired, in one sentence."""
    facts = [
        ("suite", a.suite, b.suite), ("hash of the suite", a.suite_hash, b.suite_hash),
        ("tier", a.tier, b.tier), ("number of seeds", a.seeds, b.seeds),
        ("tasks", [task.name for task in a.tasks], [task.name for task in b.tasks]),
    ]  # fmt: skip
    for word, ours, theirs in facts:
        if ours != theirs:
            raise ReportError(
                f"the reports differ in {word}: {plain(ours)} and {plain(theirs)}; evaluate both "
                "optimizers with the same command"
            )
    for x, y in zip(a.tasks, b.tasks, strict=True):
        both = (("horizon", x.horizon, y.horizon), ("target losses", x.targets, y.targets))
        for word, ours, theirs in both:
            if ours != theirs:
                raise ReportError(
                    f"the reports differ in the {word} of {x.name}: {plain(ours)} and "
                    f"{plain(theirs)}; evaluate both with the same baselines"
                )


def _pair(pairs: Sequence[Sequence[Result]]) -> Paired:
    """Pooled over pairs of results."""
    sides = list(zip(*pairs, strict=True))
    valid, test, times = (
        [_array([of(result) for result in side]) for side in sides]
        for of in (
            lambda result: result.seed_losses.valid,
            lambda result: result.seed_losses.test,
            lambda result: result.times[RUNG],
        )
    )
    limits = [np.array([result.steps[-1] for result in side], float) for side in sides]
    return Paired(
        **loss_ratios(valid, test),
        speedup=speedup_of(*times, *limits),
    )


def _array(rows: Sequence[Sequence[float | None]]) -> np.ndarray:
    return np.array([[np.inf if x is None else x for x in row] for row in rows], float)
