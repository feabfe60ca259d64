"""Meta-training on for tasks of one's own: the settings that are not given, from what is known."""

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import learned_opt
from learned_opt import Artifact, ArtifactError
from learned_opt._durations import budget_of, seconds_of
from learned_opt.tasks import EvalTask, TimedRuns, load_task

from .._objective import OBJECTIVES
from ..settings import Config, ConfigError, changed, to_dict

BUDGET = 900.0
"""Seconds that it should take unless a budget is given."""

PAIRS, VALID, INTERVALS, MOST = 8, 8, 5, 500
"""Antithetic pairs; runs of a meta-validation; log intervals; outer steps at most."""

KEPT = {"estimator": ("sigma", "scale", "clip"), "outer": ("learning_rate", "clip"),
        "objective": ("name", "valid", "last", "mean", "log")}  # fmt: skip
"""What of the settings that made the start is used again, where its card has them."""
WORDS = {"scale": ("family", "sign", "none"), "name": tuple(cls.name for cls in OBJECTIVES)}


def fine_tuning(args: argparse.Namespace) -> Config:
    """The configuration of `--start NAME --task MODULE:NAME`: outer steps to fill the budget.

    Few antithetic pairs over whole runs of the tasks' own lengths and down to half of them, with
    the deviation and the step size that made the start. A few steps of each task are timed.

    Raises:
      ConfigError: the start or a task cannot be loaded, or the budget is too short.
    """
    try:
        start = learned_opt.load(args.start)
        tasks = [t for where in args.tasks for t in load_task(where, args.num_steps)]
        budget = BUDGET if args.budget is None else seconds_of(args.budget)
        for task in tasks:
            task.spec.build()
    except (ArtifactError, ValueError) as error:
        raise ConfigError(str(error)) from error
    steps = outer_steps(start, tasks, budget)
    return Config.from_dict(changed(table(args.start, start, args.tasks, tasks, steps),
                                    args.overrides))  # fmt: skip


def table(
    where: str, start: Artifact, names: Sequence[str], tasks: Sequence[EvalTask], steps: int
) -> dict[str, Any]:
    """The sections of the configuration."""
    kept = _kept(start)
    shortest, longest = (f(task.horizon for task in tasks) for f in (min, max))
    return {
        "run": {
            "name": run_name(where, tasks),
            "start": where,
            "outer_steps": steps,
            "log_every": steps // INTERVALS,
        },
        "families": [{"task": name} for name in names],
        "optimizer": to_dict(start.optimizer),
        "estimator": {
            "name": "full_es",
            "sigma": 0.03,
            **kept["estimator"],
            "pairs": PAIRS,
            "horizon": [max(1, shortest // 2), longest],
        },
        "objective": {"valid": 1.0, "mean": 0.1, **kept["objective"]},
        "outer": {"learning_rate": 0.01, **kept["outer"]},
        "valid": {"tasks": VALID * len(tasks), "horizon": longest},
    }


def run_name(where: str, tasks: Sequence[EvalTask]) -> str:
    """Of the artifact: that of its start, and the first task's."""
    text = f"{Path(where).stem}-{tasks[0].name}"
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:100]


def outer_steps(start: Artifact, tasks: Sequence[EvalTask], budget: float) -> int:
    """As many as the budget has time for, by a few timed steps: a multiple of INTERVALS.

    Raises:
      ConfigError: it has no time for the least.
    """
    training = judging = compiling = 0.0
    name = _kept(start)["objective"].get("name")
    # Enough for a judge's runs as well: VALID, or twice as many.
    lanes = (2 + any(cls.untrained and cls.name == name for cls in OBJECTIVES)) * PAIRS
    for task in tasks:
        tx = learned_opt.learned(start, num_steps=task.horizon)
        runs = TimedRuns(task.family.without_test(), task.member, tx, lanes).timed()
        # Log-uniform between half and all of it, the mean is 0.72.
        training += 0.72 * task.horizon * runs.step + runs.evaluation
        judging += task.horizon * runs.step + runs.evaluation
        compiling += 4 * runs.compiling
    fixed = compiling + (1 + INTERVALS) * judging
    count = min(MOST, int((budget - fixed) / training)) // INTERVALS * INTERVALS
    if count < INTERVALS:
        least = fixed + INTERVALS * training
        raise ConfigError(
            f"--budget must be {math.ceil(least)}s or more for "
            f"{INTERVALS} outer steps, got {budget:g}s; try --budget {budget_of(least)}, or "
            "shorten the runs with --num-steps"
        )
    return count


def did_it_pay(args: argparse.Namespace, out: str, name: str) -> str:
    """The command that says so."""
    tasks = " ".join(f"--task {where}" for where in args.tasks)
    steps = "" if args.num_steps is None else f" --num-steps {args.num_steps}"
    return (
        f"Whether it paid: learned-opt eval {out}/{name}.safetensors --rival {args.start} "
        f"{tasks}{steps} --out {out}-report"
    )


def _kept(start: Artifact) -> dict[str, dict[str, Any]]:
    """By section, what of KEPT the card of the start has."""
    before = start.card.get("config")
    return {section: _given(before, section, keys) for section, keys in KEPT.items()}


def _given(config: Any, section: str, keys: Sequence[str]) -> dict[str, Any]:
    """Numbers, and known words, of a section of a card's configuration, which may hold anything."""
    found = config.get(section) if isinstance(config, dict) else None
    if not isinstance(found, dict):
        return {}

    def fits(key: str) -> bool:
        value = found.get(key)
        return value in WORDS[key] if key in WORDS else isinstance(value, bool | int | float)

    return {key: found[key] for key in keys if fits(key)}
