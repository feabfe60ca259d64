"""One optimizer against another: ratios of losses, speed-ups, probability of improvement."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from learned_opt.tasks import EvalTask

from ..contestants import Contestant
from ..running import Rule, six_digits
from ._bootstrap import (
    Interval,
    clipped_ratio,
    geometric_ratio,
    median_ratio,
    probability_of_improvement,
)
from ._time_to_target import censored_speedup, ladder, speedup, steps_to_target, target

RUNGS = ("50", "75", "90", "best")
"""Targets by name: how far, in log loss, from the first evaluation to the best baseline's best."""

Targets = Mapping[str, Mapping[str, float]]
"""Task -> rung -> validation loss."""

_AMOUNT = r"\d+(\.\d+)?(e[-+]?\d+)?x"
_SPEEDUP = re.compile(f"unknown|[<>]?{_AMOUNT}|{_AMOUNT} to {_AMOUNT}")
TEXT = Rule(
    "a speed-up such as 1.50x, >1.50x, 0.67x to 1.50x or unknown",
    lambda x: type(x) is str and bool(_SPEEDUP.fullmatch(x)),
)

Verdict = Literal["better", "worse", "undecided"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number and its 95 % interval, to six digits; None where not finite."""

    mid: float | None
    low: float | None
    high: float | None

    bound: ClassVar[str] = ""

    @property
    def known(self) -> bool:
        """Whether anything is known of it."""
        return any(x is not None for x in (self.low, self.mid, self.high))

    @property
    def verdict(self) -> Verdict:
        """Of a ratio of losses: whether its interval excludes 1."""
        if self.high is not None and self.high < 1:
            return "better"
        return "worse" if self.low is not None and self.low > 1 else "undecided"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score(Estimate):
    """The clipped speed-up to the hardest target, in which a miss counts as a factor of 4.

    `even` of its `pairs` of runs count as 1, for neither got there while both ran.
    """

    pairs: int | None = None
    even: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speedup:
    """A censored speed-up, see `Bounds`; None for a bound that the runs do not set.

    `mid` is a bound where `bound` is ">" or "<", and None where it lies between two bounds or
    nothing is known; `text`: for people. Of `pairs` of runs, in `both_missed` neither reached the
    target and in `missed` one did not.
    """

    low: float | None
    least: float | None
    most: float | None
    high: float | None
    mid: float | None
    bound: Literal["", "<", ">"]
    text: Annotated[str, TEXT]
    pairs: int | None = None
    missed: int | None = None
    both_missed: int | None = None

    @property
    def known(self) -> bool:
        """Whether anything is known of it."""
        return any(x is not None for x in (self.low, self.least, self.mid, self.most, self.high))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """How one optimizer does against another, pooled over tasks.

    `clipped`: ratio of validation losses in which a pair of runs counts as a factor of 2 at most,
    the headline; `median`: that of the median task; `valid_ratio`: the plain geometric mean.
    `clipped_test` and `test_ratio` are the same of test losses.

    `ladder` is the speed-up rung by rung, and `speedup` its rung of 90 %: half of the runs that
    set the hardest target miss it, so there little is known. `speedup_seconds` is the same in
    seconds, None where steps of one of them were not timed.
    """

    clipped: Estimate
    median: Estimate
    valid_ratio: Estimate
    clipped_test: Estimate
    test_ratio: Estimate
    improvement: Estimate
    score: Score
    speedup: Speedup
    ladder: dict[str, Speedup]
    speedup_seconds: Speedup | None = None

    def __post_init__(self) -> None:
        for rung in RUNGS:
            if rung not in self.ladder:
                raise ValueError(f"ladder.{rung} is missing")


def targets(
    tasks: Sequence[EvalTask], contestants: Sequence[Contestant]
) -> dict[str, dict[str, float]]:
    """The ladder of every task, from the runs of the baselines among the contestants alone:
    what is judged, and its rivals, move no target, so that reports of two optimizers compare.
    """
    found, baselines = {}, [c for c in contestants if c.role == "baseline"]
    for task in tasks:
        hardest = target([c.best(task) for c in baselines])
        first = [[run.valid_curve[0] for run in c.of(task.name)] for c in baselines]
        found[task.name] = dict(zip(RUNGS, ladder(first, hardest).tolist(), strict=True))
    return found


def times(
    contestant: Contestant, tasks: Sequence[EvalTask], targets: Targets, rung: str = "best"
) -> tuple[np.ndarray, np.ndarray]:
    """Steps to a rung (tasks, seeds), inf for a miss; and the steps that the runs had, (tasks,)."""
    found, limits = [], []
    for task in tasks:
        runs = contestant.of(task.name)
        steps = np.array(runs[0].steps)
        losses = np.array([run.valid_curve for run in runs])
        found.append(steps_to_target(steps, losses, targets[task.name][rung]))
        limits.append(steps[-1])
    return np.array(found), np.array(limits, float)


def compare(
    ours: Contestant,
    theirs: Contestant,
    tasks: Sequence[EvalTask],
    targets: Targets,
    step_us: Mapping[str, Mapping[str, float]] | None = None,
) -> Comparison:
    """How ours does against theirs, pooled over tasks.

    Args:
      step_us: task -> optimizer -> microseconds of a step, where they were timed.
    """
    names = [task.name for task in tasks]
    valid, test = (
        [side.losses(names, which) for side in (ours, theirs)]
        for which in ("valid_loss", "test_loss")
    )
    reached = {
        rung: [times(side, tasks, targets, rung) for side in (ours, theirs)] for rung in RUNGS
    }
    speedups = {
        rung: speedup_of(a, b, a_limit, b_limit)
        for rung, ((a, a_limit), (b, b_limit)) in reached.items()
    }
    (a, _), (b, b_limit) = reached["best"]
    even = np.isinf(b) & (a > b_limit[:, None])
    in_seconds = None
    units = [[(step_us or {}).get(name, {}).get(c.name) for name in names] for c in (ours, theirs)]
    if None not in units[0] + units[1]:
        timed = [
            (steps * unit[:, None], limit * unit)
            for (steps, limit), unit in zip(reached["90"], np.array(units, float), strict=True)
        ]
        in_seconds = speedup_of(timed[0][0], timed[1][0], timed[0][1], timed[1][1])
    score = estimate(speedup(a, b, b_limit))
    return Comparison(
        **loss_ratios(valid, test),
        improvement=estimate(probability_of_improvement(*valid)),
        score=Score(**vars(score), pairs=a.size, even=int(even.sum())),
        speedup=speedups["90"],
        ladder=speedups,
        speedup_seconds=in_seconds,
    )


def loss_ratios(valid: Sequence[ArrayLike], test: Sequence[ArrayLike]) -> dict[str, Estimate]:
    """Fields of a `Comparison` that are ratios of losses; each argument is (ours, theirs)."""
    return {
        "clipped": estimate(clipped_ratio(*valid)),
        "median": estimate(median_ratio(*valid)),
        "valid_ratio": estimate(geometric_ratio(*valid)),
        "clipped_test": estimate(clipped_ratio(*test)),
        "test_ratio": estimate(geometric_ratio(*test)),
    }


def speedup_of(
    ours: np.ndarray, theirs: np.ndarray, ours_limit: np.ndarray, theirs_limit: np.ndarray
) -> Speedup:
    """The censored speed-up of times (tasks, seeds) with the steps (tasks,) that the runs had."""
    found = censored_speedup(ours, theirs, ours_limit, theirs_limit)
    low, high = found.least > 0, np.isfinite(found.most)
    told = found.least == found.most or not (low and high)
    hit, their_hit = np.isfinite(ours), np.isfinite(theirs)
    # A bound of 0 or infinity is none.
    return Speedup(
        **{name: six_digits(x) if x > 0 else None for name, x in found._asdict().items()},
        mid=six_digits(found.least if low else found.most) if told else None,
        bound=">" if low and not high else "<" if high and not low else "",
        text=found.text,
        pairs=ours.size,
        missed=int((hit ^ their_hit).sum()),
        both_missed=int((~hit & ~their_hit).sum()),
    )


def estimate(found: Interval) -> Estimate:
    """To six digits."""
    mid, low, high = map(six_digits, found)
    return Estimate(mid=mid, low=low, high=high)
