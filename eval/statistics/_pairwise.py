"""One optimizer against another: ratios of losses, speed-ups, probability of improvement."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from learned_opt.tasks import EvalTask

from ..contestants import Contestant
from ._intervals import geometric_ratio, probability_of_improvement
from ._times import censored_speedup, ladder, speedup, steps_to_target, target

RUNGS = ("50", "75", "90", "best")
"""Targets by name: how far, in log loss, from the first evaluation to the best baseline's best."""

Targets = Mapping[str, Mapping[str, float]]
"""Task -> rung -> validation loss."""


def targets(tasks: Sequence[EvalTask], contestants: Sequence[Contestant]) -> dict[str, Any]:
    """The ladder of every task, from the runs of the baselines among the contestants alone:
    what is judged, and its rivals, move no target, so that reports of two optimizers compare.
    """
    found, baselines = {}, [c for c in contestants if c.role == "baseline"]
    for task in tasks:
        hardest = target([c.best(task) for c in baselines])
        first = [[row.valid_curve[0] for row in c.of(task.name)] for c in baselines]
        found[task.name] = dict(zip(RUNGS, ladder(first, hardest).tolist(), strict=True))
    return found


def times(
    contestant: Contestant, tasks: Sequence[EvalTask], targets: Targets, rung: str = "best"
) -> tuple[np.ndarray, np.ndarray]:
    """Steps to a rung (tasks, seeds), inf for a miss; and the steps that the runs had, (tasks,)."""
    found, limits = [], []
    for task in tasks:
        rows = contestant.of(task.name)
        steps = np.array(rows[0].steps)
        losses = np.array([row.valid_curve for row in rows])
        found.append(steps_to_target(steps, losses, targets[task.name][rung]))
        limits.append(steps[-1])
    return np.array(found), np.array(limits, float)


def compare(
    ours: Contestant,
    theirs: Contestant,
    tasks: Sequence[EvalTask],
    targets: Targets,
    step_us: Mapping[str, Mapping[str, float]] | None = None,
) -> dict[str, Any]:
    """How ours does against theirs, pooled over tasks, as JSON types.

    `score` is the clipped speed-up to the hardest target, in which a miss counts as a factor of 4;
    `even` of its `pairs` count as 1, for neither got there while both ran. `ladder` is what was
    measured, rung by rung, and `speedup` its rung of 90 %: half of the runs that set the hardest
    target miss it, so there little is known. `speedup_seconds` is the same in seconds, where
    `step_us` (task -> optimizer -> microseconds of a step) knows both of them.
    """
    names = [task.name for task in tasks]
    pair = [side.losses(names) for side in (ours, theirs)]
    tests = [side.losses(names, "test_loss") for side in (ours, theirs)]
    speedups, score, in_seconds = {}, None, {}
    units = [[(step_us or {}).get(name, {}).get(c.name) for name in names] for c in (ours, theirs)]
    for rung in RUNGS:
        (a, a_limit), (b, b_limit) = (times(side, tasks, targets, rung) for side in (ours, theirs))
        speedups[rung] = speedup_json(a, b, a_limit, b_limit)
        if rung == "90" and None not in units[0] + units[1]:
            unit, other = (np.array(x, float) for x in units)
            timed = (a * unit[:, None], b * other[:, None], a_limit * unit, b_limit * other)
            in_seconds = {"speedup_seconds": speedup_json(*timed)}
        # The last rung is the target itself.
        neither = np.isinf(b) & (a > b_limit[:, None])
        score = interval(speedup(a, b, b_limit)) | {"pairs": a.size, "even": int(neither.sum())}
    return {
        "valid_ratio": interval(geometric_ratio(*pair)),
        "test_ratio": interval(geometric_ratio(*tests)),
        "improvement": interval(probability_of_improvement(*pair)),
        "score": score,
        "speedup": speedups["90"],
        "ladder": speedups,
        **in_seconds,
    }


def speedup_json(
    ours: np.ndarray, theirs: np.ndarray, ours_limit: np.ndarray, theirs_limit: np.ndarray
) -> dict[str, Any]:
    """A censored speed-up as JSON types: `mid` is a bound where `bound` is ">" or "<".

    `mid` is None where it lies between two bounds, or nothing is known; `text`: for people. Of
    `pairs` of runs, in `both_missed` neither reached the target and in `missed` one did not.
    """
    found = censored_speedup(ours, theirs, ours_limit, theirs_limit)
    low, high = found.least > 0, np.isfinite(found.most)
    known = found.least == found.most or not (low and high)
    bound = ">" if low and not high else "<" if high and not low else ""
    # A bound of 0 or infinity is none.
    bounds = {name: number(x) if x > 0 else None for name, x in found._asdict().items()}
    return bounds | {
        "mid": number(found.least if low else found.most) if known else None,
        "bound": bound,
        "text": found.text,
        **_misses(np.isfinite(ours), np.isfinite(theirs)),
    }


def _misses(ours: np.ndarray, theirs: np.ndarray) -> dict[str, int]:
    """Pairs of runs by which of them hit."""
    return {
        "pairs": ours.size,
        "missed": int((ours ^ theirs).sum()),
        "both_missed": int((~ours & ~theirs).sum()),
    }


def interval(found: Any) -> dict[str, float | None]:
    """{"mid", "low", "high"} to six digits."""
    return {name: number(x) for name, x in found._asdict().items()}


def number(x: Any) -> float | None:
    """Six significant digits; None, JSON's null, where not finite."""
    return float(f"{float(x):.6g}") if np.isfinite(x) else None


def verdict(ratio: Mapping[str, Any]) -> str:
    """better, worse or undecided: whether the interval of a loss ratio excludes 1."""
    if ratio["high"] < 1:
        return "better"
    return "worse" if ratio["low"] > 1 else "undecided"
