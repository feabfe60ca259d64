"""From runs to the report: every number of it is computed here, from rows."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from learned_opt.tasks import EvalTask, parameter_count

from ..baselines import ADAMW
from ..contestants import Contestant, Results
from ..running import six_digits
from ..statistics import RUNGS, Comparison, Targets, compare, expected_best, targets, times
from ..tuning import TUNE_SEEDS, Tuned
from ._json import field_from_json
from ._report import Group, OptimizerFacts, Report, SubjectFacts, Tracks
from ._report_measured import MetaTraining
from ._report_tasks import Curves, Failure, Result, SeedLosses, TaskReport, verdicts
from ._summary_over_tasks import (
    break_even_facts,
    budgets,
    misinformed,
    oracle_facts,
    profile_of,
    variant_results,
)
from ._verdict import verdict_of

HEADLINE = ADAMW.name
ALL = "all tasks"

LEAKAGE = {
    (True, True): "seen network, seen data",
    (False, True): "new network, seen data",
    (True, False): "seen network, new data",
    (False, False): "new network, new data",
}
UNKNOWN = "unknown"
OWN = "yours"


def leakage(card: Mapping[str, Any], task: EvalTask) -> str:
    """What meta-training saw of a task, from the provenance card; UNKNOWN if it does not say.

    OWN of a task of somebody's own.
    """
    if task.own:
        return OWN
    seen = card.get("trained_on")
    networks, datasets = (
        seen.get(what) if isinstance(seen, dict) else None for what in ("networks", "datasets")
    )
    if not (isinstance(networks, list) and isinstance(datasets, list)):
        return UNKNOWN
    return LEAKAGE[task.network in networks, any(name in datasets for name in task.datasets)]


def summarise(results: Results, seconds: float | None = None) -> Report:
    """The report; `seconds`: that the evaluation took, None where nobody knows."""
    learned, *others = results.contestants
    tasks = list(results.tasks)
    found = targets(tasks, results.contestants)
    labels = {task.name: leakage(results.subject["card"], task) for task in tasks}
    groups = {ALL: tasks} if len(tasks) > 1 else {}
    for label in dict.fromkeys(labels.values()):
        groups[label] = [task for task in tasks if labels[task.name] == label]

    def against(members: Sequence[EvalTask]) -> dict[str, Comparison]:
        return {c.name: compare(learned, c, members, found, results.step_us) for c in others}

    reports = [
        TaskReport(
            name=task.name,
            network=task.network,
            datasets=list(task.datasets),
            leakage=labels[task.name],
            horizon=task.horizon,
            parameters=parameter_count(task.member),
            targets={rung: six_digits(found[task.name][rung]) for rung in reversed(RUNGS)},
            results={c.name: _result(c, task, found, results) for c in results.contestants},
            against=against([task]),
        )
        for task in tasks
    ]
    variants, ratios = variant_results(results)
    report = Report(
        suite=results.suite["name"],
        suite_hash=results.suite["hash"],
        tier=results.suite["tier"],
        smoke=results.suite["smoke"],
        arguments=list(results.arguments),
        seeds=len(learned.of(tasks[0].name)),
        tune_seeds=len(TUNE_SEEDS),
        headline=HEADLINE,
        subject=SubjectFacts(**results.subject),
        optimizers={c.name: _optimizer(c, results.subject) for c in results.contestants},
        tasks=reports,
        groups=[
            Group(label=label, tasks=[task.name for task in members], against=against(members))
            for label, members in groups.items()
        ],
        oracle=oracle_facts(results, found),
        tracks=tracks({c.name: c.horizon_free for c in results.contestants}),
        budgets=budgets(results),
        misinformed=misinformed(results),
        profile=profile_of(results, found, ratios),
        variants=variants,
        break_even=break_even_facts(results),
        failures=failures(results),
        **_measured(results.extra),
        verdict=verdicts(reports),
        sentence="",
        seconds=seconds,
    )
    return dataclasses.replace(report, sentence=verdict_of(report))


def tracks(free: Mapping[str, bool]) -> Tracks:
    """Names by track, of optimizers that are told the number of steps and of those that are not."""
    return Tracks(
        known=[name for name, is_free in free.items() if not is_free],
        free=[name for name, is_free in free.items() if is_free],
    )


def failures(results: Results) -> list[Failure]:
    """Every run of fresh seeds whose loss at the horizon is not finite."""
    runs = [("report", run) for c in results.contestants for run in c.runs]
    runs += [("misinformed", run) for wrong in results.misinformed.values() for run in wrong]
    runs += [("variant", run) for c in results.contestants for run in c.variant_runs]
    runs += [("grid", run) for run in results.grid_rows]
    facts = [field.name for field in dataclasses.fields(Failure) if field.name != "stage"]
    return [
        Failure(stage=stage, **{name: getattr(run, name) for name in facts})
        for stage, run in runs
        if not np.isfinite(run.valid_loss)
    ]


def _measured(extra: Mapping[str, Any]) -> dict[str, Any]:
    """What is JSON already, as fields of the report."""
    found = dict(extra)
    try:  # it is from the card, which is anybody's
        curve = field_from_json(Report, "meta_training", found.pop("meta_training", {}))
    except ValueError:
        curve = MetaTraining()
    made = {name: field_from_json(Report, name, value) for name, value in found.items()}
    return made | {"meta_training": curve}


def _optimizer(c: Contestant, subject: Mapping[str, Any]) -> OptimizerFacts:
    """`trials`: settings tried a task; of a calibrated one those it was chosen from, once."""
    tried = [choice.trials for choice in c.tuned.values()]
    trials = round(float(np.mean(tried)), 1) if tried else 0
    if c.role == "learned":
        trials = subject.get("trials", 0)
    return OptimizerFacts(label=c.label, role=c.role, horizon_free=c.horizon_free, trials=trials)


def _result(c: Contestant, task: EvalTask, found: Targets, results: Results) -> Result:
    """Of one optimizer on one task: medians, quartile curves, the choice and how it was made."""
    runs, choice = c.of(task.name), c.tuned[task.name]
    valid, test = (c.losses([task.name], which)[0] for which in ("valid_loss", "test_loss"))
    medians = {
        which: six_digits(np.median(c.losses([task.name], which)))
        for which in ("train_loss", "valid_loss", "test_loss", "test_accuracy")
        if which in runs[0].final
    }
    curves = {
        which: _quartiles([getattr(run, f"{which}_curve") for run in runs], [25, 50, 75])
        for which in ("train", "valid", "test")
    }
    reached = {rung: times(c, [task], found, rung)[0][0] for rung in reversed(RUNGS)}
    return Result(
        **medians,
        valid_quartiles=_numbers(_quartiles(valid, [25, 75])),
        best_valid_loss=six_digits(np.median(c.best(task))),
        seed_losses=SeedLosses(valid=_numbers(valid), test=_numbers(test)),
        steps=list(runs[0].steps),
        curves=Curves(**{which: [_numbers(x) for x in curve] for which, curve in curves.items()}),
        times={rung: _numbers(x) for rung, x in reached.items()},
        diverged=int(np.isinf(valid).sum()),
        **_choice(choice),
        step_us=six_digits(results.step_us.get(task.name, {}).get(c.name, np.nan)),
    )


def _quartiles(values: np.ndarray | list[np.ndarray], shares: list[float]) -> np.ndarray:
    """Over the first axis; nearest, for interpolation between infinities is not a number."""
    return np.percentile(np.asarray(values), shares, axis=0, method="nearest")


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [six_digits(x) for x in values]


def _choice(choice: Tuned) -> dict[str, Any]:
    """Fields of a `Result` that say how its setting was chosen."""
    table = dict(choice.table)
    rates: dict[float, float] = {}
    for hyper, loss in table.items():
        rates[hyper.lr] = min(loss, rates.get(hyper.lr, np.inf))
    return {
        "hyper": {name: six_digits(x) for name, x in choice.hyper._asdict().items()},
        "trials": choice.trials,
        "extensions": choice.extensions,
        "at_edge": choice.at_edge,
        "edge": choice.edge,
        "tune_loss": six_digits(table.get(choice.hyper, np.inf)),
        "sensitivity": [_numbers([lr, rates[lr]]) for lr in sorted(rates)],
        "best_of": _numbers(expected_best(list(table.values()))) if table else [],
    }
