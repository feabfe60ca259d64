"""Parts of the report over all tasks: oracle, wrong horizons, profiles, variants, break-even."""

import dataclasses

import numpy as np

from learned_opt.checkpoints import is_number

from ..baselines._table import ADAMW
from ..contestants import MULTIPLIED, MULTIPLIERS, Contestant, Results
from ..running import six_digits
from ..statistics import (
    SLOWEST,
    Targets,
    area,
    best_of_all,
    break_even,
    budget,
    compare,
    estimate,
    gated,
    geometric_ratio,
    oracle,
    profile,
    targets,
    time_ratios,
    times,
)
from ..tuning import TUNE_SEEDS
from ._report import BreakEven, Misinformed, Oracle, Profile
from ._report_budgets import BudgetPoint, Budgets
from ._report_tasks import Variant, VariantResult

BUDGETS = (1, 2, 4, 8, 26)
"""Trials; the last are all that tuning tries, and those by which a grid grew."""

TAU = np.round(np.linspace(1, 4, 61), 3)


def oracle_facts(results: Results, found: Targets) -> Oracle:
    """Against the best baseline of each task, which no one could have known beforehand."""
    learned, baselines = results.contestants[0], results.baselines
    names = [task.name for task in results.tasks]
    best = oracle(np.array([c.losses(names) for c in baselines]))
    choice = {name: baselines[i] for name, i in zip(names, best, strict=True)}
    runs = [run for name, c in choice.items() for run in c.of(name)]
    tuned = {name: c.tuned[name] for name, c in choice.items()}
    chosen = Contestant("oracle", "best baseline of each task", "baseline", False, tuned, runs)
    return Oracle(
        against=compare(learned, chosen, results.tasks, found),
        choice={name: c.name for name, c in choice.items()},
    )


def misinformed(results: Results) -> list[Misinformed]:
    learned, names = results.contestants[0], [task.name for task in results.tasks]
    right, theirs = learned.losses(names), _headline(results).losses(names)
    told_wrong = {
        told: dataclasses.replace(learned, runs=runs).losses(names)
        for told, runs in sorted(results.misinformed.items())
    }
    return [
        Misinformed(
            told=told,
            against_told_right=estimate(geometric_ratio(losses, right)),
            against_headline=estimate(geometric_ratio(losses, theirs)),
            diverged=int(np.isinf(losses).sum()),
        )
        for told, losses in told_wrong.items()
    ]


def budgets(results: Results) -> Budgets | None:
    """What so many trials buy; None where those of two tuning seeds were not kept."""
    names = {MULTIPLIED: "learned", ADAMW.name: ADAMW.name, "muon": "muon"}
    found = {c.name: c for c in results.contestants}
    tables = {
        label: [np.array(found[name].tuned[task.name].losses) for task in results.tasks]
        for name, label in names.items()
        if name in found
    }
    tables = {
        name: kept
        for name, kept in tables.items()
        if all(losses.ndim == 2 and losses.shape[1] > 1 for losses in kept)
    }
    if ADAMW.name not in tables:
        return None
    over = [best_of_all(losses) for losses in tables[ADAMW.name]]

    def points(kept: list[np.ndarray], ordered: bool) -> list[BudgetPoint]:
        most = min(BUDGETS[-1], *map(len, kept))
        made = []
        for k in (*(k for k in BUDGETS if k < most), most):
            tried = [losses[:k] if ordered else losses for losses in kept]
            trials = [len(losses) if k == most else k for losses in tried]
            made.append(BudgetPoint(trials=k, loss=estimate(budget(tried, over, trials))))
        return made

    return Budgets(
        rows={name: points(kept, name == "learned") for name, kept in tables.items()},
        multipliers=list(MULTIPLIERS),
        settings={name: [f(map(len, kept)) for f in (min, max)] for name, kept in tables.items()},
    )


def _headline(results: Results) -> Contestant:
    return next(c for c in results.contestants if c.name == ADAMW.name)


def _field(results: Results) -> list[Contestant]:
    """Who takes part in profiles: no rule a second time, at another setting that was chosen."""
    return [c for c in results.contestants if c.role != "calibrated" and c.name != MULTIPLIED]


def profile_of(results: Results, found: Targets, variants: np.ndarray) -> Profile:
    """Performance profiles, gated by time ratios on variants (variants, optimizers)."""
    field = _field(results)
    ratios = time_ratios(np.array([times(c, results.tasks, found)[0] for c in field]))
    names = [c.name for c in field]
    # A task without a variant has nothing to fail.
    stacked = np.ones((len(variants), *ratios.shape))
    slots = {task.name: i for i, task in enumerate(results.tasks)}
    for i, variant in enumerate(results.variants):
        stacked[i, :, slots[variant.variant_of]] = variants[i]
    rho, passed = profile(ratios, TAU), area(gated(ratios, stacked))
    return Profile(
        names=names,
        tau=TAU.tolist(),
        rho={name: [*map(six_digits, shares)] for name, shares in zip(names, rho, strict=True)},
        area=dict(zip(names, map(six_digits, area(ratios)), strict=True)),
        gated=dict(zip(names, map(six_digits, passed), strict=True)) if results.variants else None,
    )


def variant_results(results: Results) -> tuple[list[Variant], np.ndarray]:
    """What became of each, and time ratios (variants, optimizers), infinite where one diverged."""
    runs = [dataclasses.replace(c, runs=c.variant_runs) for c in _field(results)]
    made, all_ratios = [], []
    for variant in results.variants:
        rungs = targets([variant], runs)
        ratios = time_ratios(np.array([times(c, [variant], rungs)[0] for c in runs]))[:, 0]
        losses = [c.losses([variant.name])[0] for c in runs]
        diverged = [int(np.isinf(x).sum()) for x in losses]
        # One run that diverges is enough: nobody can use what fails now and then.
        ratios = np.where(np.array(diverged) > 0, np.inf, ratios)
        found = {
            c.name: VariantResult(
                valid_loss=six_digits(np.median(x)),
                diverged=n,
                slower=six_digits(r),
                missed=bool(r > SLOWEST),
            )
            for c, x, n, r in zip(runs, losses, diverged, ratios, strict=True)
        }
        made.append(Variant(name=variant.name, of=variant.variant_of, results=found))
        all_ratios.append(ratios)
    return made, np.array(all_ratios)


def break_even_facts(results: Results) -> BreakEven | None:
    """Tasks after which meta-training cost less than tuning the headline baseline on each."""
    budget = results.subject["card"].get("budget")
    steps = budget.get("inner_steps") if isinstance(budget, dict) else None
    if not is_number(steps) or steps <= 0:
        return None
    tuned = _headline(results).tuned
    each = [tuned[task.name].trials * len(TUNE_SEEDS) * task.horizon for task in results.tasks]
    tuning = float(np.mean(each))
    return BreakEven(
        meta_steps=steps,
        tuning_steps_per_task=round(tuning),
        tasks=six_digits(break_even(steps, tuning)),
    )
