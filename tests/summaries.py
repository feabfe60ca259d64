"""Reports of runs made up so that every number is known."""

import dataclasses
import functools

import numpy as np

from learned_opt.eval import BASELINES, Hyper, Tuned
from learned_opt.eval.baselines._defaults import DEFAULTS
from learned_opt.eval.contestants import Contestant, Results
from learned_opt.eval.report._summary import summarise
from learned_opt.eval.running import Run, eval_steps
from learned_opt.tasks import EvalTask, FamilySpec
from learned_opt.tasks.problems import MLP, Conv

CARD = {
    "name": "made-up",
    "trained_on": {"networks": ["mlp"], "datasets": ["digits"]},
    "budget": {"inner_steps": 42_000},
}
SUBJECT = {"name": "made-up", "kind": "artifact", "card": CARD, "trials": 0, "horizon_free": False}
TASKS = (
    EvalTask("a", FamilySpec(MLP(), "digits"), horizon=100),
    EvalTask("b", FamilySpec(MLP(), "digits"), horizon=100),
    EvalTask("c", FamilySpec(Conv(), "letters/8"), horizon=100),
)
VARIANT = dataclasses.replace(TASKS[0], name="a~width", variant_of="a")
SEEDS = range(100, 110)
TABLE = ((Hyper(1e-3), 0.5), (Hyper(1e-2), 0.25), (Hyper(1e-2, 0.1), 0.3))


def rows(name, factor, tasks=TASKS, diverged=(), beyond=1.0):
    """Losses factor / step on every task: known ends and known times to any target."""
    steps = tuple(eval_steps(100, beyond).tolist())
    for task in tasks:
        for seed in SEEDS:
            ok = (task.name, seed) not in diverged
            curve = tuple(factor / step if ok else np.inf for step in steps)
            end = factor / 100 if ok else np.inf
            yield Run(
                key="0" * 16, task=task.name, optimizer=name, seed=seed, lr=0.01, horizon=100,
                device="cpu", jax="0.10.2", steps=steps,
                train_curve=curve, valid_curve=curve, test_curve=curve,
                final={"valid_loss": end, "train_loss": end, "test_loss": end,
                       "test_accuracy": 0.5 if ok else np.inf},
            )  # fmt: skip


def contestant(name, factor, role="baseline", **options):
    role = "default" if name in [row.name for row in DEFAULTS] else role
    tuned = Tuned(Hyper(1e-2), 7, 1, TABLE) if role == "baseline" else Tuned(Hyper(1.0), 0, 0, ())
    if role == "calibrated":
        tuned = Tuned(Hyper(1e-2), 35, 0, ())
    choices = {task.name: tuned for task in TASKS}
    free = name in ("adam_default", "adam", "schedule_free")
    found = list(rows(name, factor, **options))
    return Contestant(name, f"{name} label", role, free, choices, found)


def report(*args, **parts):
    """What `summarised` makes; with nothing changed, the same one for all tests."""
    return summarised(*args, **parts) if args or parts else standard()


def summarised(learned=1.0, adamw=2.0, diverged=(), variant_runs=None, misinformed=None, **parts):
    contestants = [contestant("learned", learned, "learned", diverged=diverged, beyond=1.5)]
    contestants += [contestant(b.name, adamw if b.name == "adamw" else 4.0) for b in BASELINES]
    contestants += [contestant("adamw_calibrated", 3.0, "calibrated")]
    contestants = [
        dataclasses.replace(c, variant_runs=(variant_runs or {}).get(c.name, ()))
        for c in contestants
    ]
    contestants[0] = dataclasses.replace(contestants[0], misinformed=misinformed or {})
    suite = {"name": "suite", "hash": "0" * 16, "tier": "cpu", "smoke": False}
    return summarise(Results(SUBJECT, suite, TASKS, contestants, **parts))


standard = functools.cache(summarised)
