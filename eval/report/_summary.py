"""From runs to `report.json`: every number of it is computed here, from rows."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from learned_opt.tasks import EvalTask, parameter_count

from ..baselines import ADAMW
from ..contestants import Contestant, Results
from ..statistics._failures import failures
from ..statistics._intervals import break_even, expected_best, geometric_ratio
from ..statistics._pairwise import RUNGS, compare, interval, number, targets, times, verdict
from ..statistics._profiles import area, gated, oracle, profile, time_ratios
from ..statistics._verdict import sentence
from ..tuning import TUNE_SEEDS, Tuned, frozen_trials
from ._stored import SCHEMA

HEADLINE = ADAMW.name
ALL = "all tasks"
TAU = np.round(np.linspace(1, 4, 61), 3)

LEAKAGE = {
    (True, True): "seen network, seen data",
    (False, True): "new network, seen data",
    (True, False): "seen network, new data",
    (False, False): "new network, new data",
}
UNKNOWN = "unknown"


def leakage(card: dict[str, Any], task: EvalTask) -> str:
    """What meta-training saw of a task, from the provenance card; UNKNOWN if it does not say."""
    seen = card.get("trained_on") or {}
    if not {"networks", "datasets"} <= seen.keys():
        return UNKNOWN
    data = any(name in seen["datasets"] for name in task.datasets)
    return LEAKAGE[task.network in seen["networks"], data]


def summarise(results: Results) -> dict[str, Any]:
    """The report as JSON types, see docs/evaluation.md."""
    learned, *others = results.contestants
    tasks, card = results.tasks, results.subject["card"]
    found = targets(tasks, results.contestants)
    labels = {task.name: leakage(card, task) for task in tasks}
    step_us = results.step_us
    groups = {ALL: list(tasks)} if len(tasks) > 1 else {}
    for task in tasks:
        groups.setdefault(labels[task.name], []).append(task)
    report = {
        "schema": SCHEMA,
        "suite": results.suite["name"],
        "suite_hash": results.suite["hash"],
        "tier": results.suite["tier"],
        "smoke": results.suite["smoke"],
        "arguments": list(results.arguments),
        "seeds": len(learned.of(tasks[0].name)),
        "tune_seeds": len(TUNE_SEEDS),
        "headline": HEADLINE,
        "subject": results.subject,
        "optimizers": {c.name: _optimizer(c, results.subject) for c in results.contestants},
        "tasks": [
            {
                "name": task.name,
                "network": task.network,
                "datasets": list(task.datasets),
                "leakage": labels[task.name],
                "horizon": task.horizon,
                "parameters": parameter_count(task.member),
                "targets": {rung: number(found[task.name][rung]) for rung in reversed(RUNGS)},
                "results": {
                    c.name: _result(c, task, found)
                    | {"step_us": number(step_us.get(task.name, {}).get(c.name, np.nan))}
                    for c in results.contestants
                },
                "against": {c.name: compare(learned, c, [task], found, step_us) for c in others},
            }
            for task in tasks
        ],
        "groups": [
            {
                "label": label,
                "tasks": [task.name for task in members],
                "against": {c.name: compare(learned, c, members, found, step_us) for c in others},
            }
            for label, members in groups.items()
        ],
        "oracle": _oracle(results, found),
        "tracks": tracks({c.name: c.horizon_free for c in results.contestants}),
        "misinformed": _misinformed(results),
        **_profile(results, found),
        "break_even": _break_even(results),
        "failures": failures(results),
        **results.extra,
    }
    report["verdict"] = {c.name: _counts(report["tasks"], c.name) for c in others}
    report["sentence"] = sentence(report)
    return report


def tracks(free: Mapping[str, bool]) -> dict[str, list[str]]:
    """Names by track, of optimizers that are told the number of steps and of those that are not."""
    return {
        "known": [name for name, is_free in free.items() if not is_free],
        "free": [name for name, is_free in free.items() if is_free],
    }


def _optimizer(c: Contestant, subject: dict[str, Any]) -> dict[str, Any]:
    """`trials`: settings tried a task; of the frozen setting those it was chosen from, once."""
    tried = [choice.trials for choice in c.tuned.values()]
    trials = round(float(np.mean(tried)), 1) if tried else 0
    if c.role == "learned":
        trials = subject.get("trials", 0)
    if c.role == "frozen":
        trials = frozen_trials()
    return {"label": c.label, "role": c.role, "horizon_free": c.horizon_free, "trials": trials}


def _counts(tasks: Sequence[dict[str, Any]], name: str) -> dict[str, int]:
    words = [verdict(task["against"][name]["valid_ratio"]) for task in tasks]
    return {word: words.count(word) for word in ("better", "worse", "undecided")}


def _result(c: Contestant, task: EvalTask, found: Any) -> dict[str, Any]:
    """Of one optimizer on one task: medians, quartile curves, the choice and how it was made."""
    rows, choice = c.of(task.name), c.tuned[task.name]
    valid, test = (c.losses([task.name], which)[0] for which in ("valid_loss", "test_loss"))
    medians = {
        which: number(np.median(c.losses([task.name], which)))
        for which in ("train_loss", "valid_loss", "test_loss", "test_accuracy")
        if which in rows[0].final
    }
    curves = {
        which: [
            [number(x) for x in curve]
            for curve in np.percentile(
                [getattr(row, f"{which}_curve") for row in rows],
                [25, 50, 75],
                axis=0,
                method="nearest",  # interpolation between infinities is not a number
            )
        ]
        for which in ("train", "valid", "test")
    }
    reached = {rung: times(c, [task], found, rung)[0][0] for rung in RUNGS}
    return {
        **medians,
        "valid_quartiles": [number(x) for x in np.percentile(valid, [25, 75], method="nearest")],
        "best_valid_loss": number(np.median(c.best(task))),
        "seed_losses": {"valid": [number(x) for x in valid], "test": [number(x) for x in test]},
        "steps": list(rows[0].steps),
        "curves": curves,
        "times": {rung: [number(x) for x in reached[rung]] for rung in reversed(RUNGS)},
        "diverged": int(np.isinf(valid).sum()),
        **_choice(choice),
    }


def _choice(choice: Tuned) -> dict[str, Any]:
    table = dict(choice.table)
    rates: dict[float, float] = {}
    for hyper, loss in table.items():
        rates[hyper.lr] = min(loss, rates.get(hyper.lr, np.inf))
    return {
        "hyper": {name: number(x) for name, x in choice.hyper._asdict().items()},
        "trials": choice.trials,
        "extensions": choice.extensions,
        "at_edge": choice.at_edge,
        "edge": choice.edge,
        "tune_loss": number(table.get(choice.hyper, np.inf)),
        "sensitivity": [[number(lr), number(rates[lr])] for lr in sorted(rates)],
        "best_of": [number(x) for x in expected_best(list(table.values()))] if table else [],
    }


def _oracle(results: Results, found: Any) -> dict[str, Any]:
    """Against the best baseline of each task, which no one could have known beforehand."""
    learned, baselines = results.contestants[0], results.baselines
    names = [task.name for task in results.tasks]
    best = oracle(np.array([c.losses(names) for c in baselines]))
    choice = {name: baselines[i].name for name, i in zip(names, best, strict=True)}
    rows = [
        dataclasses.replace(row, optimizer="oracle")
        for name, i in zip(names, best, strict=True)
        for row in baselines[i].of(name)
    ]
    tuned = {name: baselines[i].tuned[name] for name, i in zip(names, best, strict=True)}
    chosen = Contestant("oracle", "best baseline of each task", "baseline", False, tuned, rows)
    return {"against": compare(learned, chosen, results.tasks, found), "choice": choice}


def _misinformed(results: Results) -> list[dict[str, Any]]:
    learned, names = results.contestants[0], [task.name for task in results.tasks]
    headline = next(c for c in results.contestants if c.name == HEADLINE)
    right, theirs, entries = learned.losses(names), headline.losses(names), []
    for told, rows in sorted(results.misinformed.items()):
        wrong = Contestant("learned", "", "learned", False, {}, rows).losses(names)
        entries.append(
            {
                "told": told,
                "against_told_right": interval(geometric_ratio(wrong, right)),
                "against_headline": interval(geometric_ratio(wrong, theirs)),
                "diverged": int(np.isinf(wrong).sum()),
            }
        )
    return entries


def _profile(results: Results, found: Any) -> dict[str, Any]:
    """Performance profiles, and which variants gate them."""
    field = [c for c in results.contestants if c.role != "frozen"]
    reached = np.array([times(c, results.tasks, found)[0] for c in field])
    ratios = time_ratios(reached)
    curves = profile(ratios, TAU)
    names = [c.name for c in field]
    made: dict[str, Any] = {
        "names": names,
        "tau": TAU.tolist(),
        "rho": {n: [number(x) for x in rho] for n, rho in zip(names, curves, strict=True)},
        "area": {n: number(x) for n, x in zip(names, area(ratios), strict=True)},
    }
    if not results.variants:
        return {"profile": made, "variants": []}
    variants = _variants(results, field)
    slots = {task.name: i for i, task in enumerate(results.tasks)}
    # A task without a variant has nothing to fail.
    stacked = np.ones((len(results.variants), *ratios.shape))
    for i, (variant, entry) in enumerate(zip(results.variants, variants, strict=True)):
        stacked[i, :, slots[variant.variant_of]] = entry.pop("ratios")
    passed = area(gated(ratios, stacked))
    made["gated"] = {n: number(x) for n, x in zip(names, passed, strict=True)}
    return {"profile": made, "variants": variants}


def _variants(results: Results, field: Sequence[Contestant]) -> list[dict[str, Any]]:
    entries = []
    runs = [
        Contestant(c.name, c.label, c.role, c.horizon_free, c.tuned, results.variant_rows[c.name])
        for c in field
    ]
    for variant in results.variants:
        rungs = targets([variant], runs)
        reached = np.array([times(c, [variant], rungs)[0] for c in runs])
        losses = [c.losses([variant.name])[0] for c in runs]
        diverged = [int(np.isinf(x).sum()) for x in losses]
        ratios = time_ratios(reached)[:, 0]
        # One run that diverges is enough: nobody can use what fails now and then.
        ratios = np.where(np.array(diverged) > 0, np.inf, ratios)
        entries.append(
            {
                "name": variant.name,
                "of": variant.variant_of,
                "results": {
                    c.name: {
                        "valid_loss": number(np.median(x)),
                        "diverged": n,
                        "slower": number(r),
                        "missed": bool(r > 4),
                    }
                    for c, x, n, r in zip(runs, losses, diverged, ratios, strict=True)
                },
                "ratios": ratios,
            }
        )
    return entries


def _break_even(results: Results) -> dict[str, float | None] | None:
    """Tasks after which meta-training cost less than tuning the headline baseline on each."""
    steps = results.subject["card"].get("budget", {}).get("inner_steps")
    if not steps:
        return None
    headline = next(c for c in results.contestants if c.name == HEADLINE)
    tuning = np.mean(
        [headline.tuned[t.name].trials * len(TUNE_SEEDS) * t.horizon for t in results.tasks]
    )
    spared = number(break_even(steps, float(tuning)))
    return {"meta_steps": steps, "tuning_steps_per_task": round(float(tuning)), "tasks": spared}
