"""From runs to the report: every number of it is computed here, from rows."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from learned_opt.checkpoints import is_number
from learned_opt.tasks import EvalTask
from learned_opt.tasks._describe import parameter_count

from ..baselines._table import ADAMW
from ..contestants._results import Contestant, Results
from ..running._rows import curve_of, six_digits
from ..statistics import (
    RUNGS,
    SLOWEST,
    Comparison,
    Targets,
    area,
    break_even,
    compare,
    estimate,
    expected_best,
    gated,
    geometric_ratio,
    oracle,
    profile,
    targets,
    time_ratios,
    times,
)
from ..tuning._frozen import frozen_trials
from ..tuning._tune import TUNE_SEEDS, Tuned
from ._json import field_from_json
from ._report import (
    BreakEven,
    Group,
    Misinformed,
    OptimizerFacts,
    Oracle,
    Profile,
    Report,
    SubjectFacts,
    Tracks,
)
from ._report_measured import MetaTraining
from ._report_tasks import (
    Curves,
    Failure,
    Result,
    SeedLosses,
    TaskReport,
    Variant,
    VariantResult,
)
from ._sentence import sentence

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


def leakage(card: Mapping[str, Any], task: EvalTask) -> str:
    """What meta-training saw of a task, from the provenance card; UNKNOWN if it does not say."""
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
    variants, ratios = _variants(results)
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
        oracle=_oracle(results, found),
        tracks=tracks({c.name: c.horizon_free for c in results.contestants}),
        misinformed=_misinformed(results),
        profile=_profile(results, found, ratios),
        variants=variants,
        break_even=_break_even(results),
        failures=failures(results),
        **_measured(results.extra),
        verdict={c.name: _counts(reports, c.name) for c in others},
        sentence="",
        seconds=seconds,
    )
    return dataclasses.replace(report, sentence=sentence(report))


def tracks(free: Mapping[str, bool]) -> Tracks:
    """Names by track, of optimizers that are told the number of steps and of those that are not."""
    return Tracks(
        known=[name for name, is_free in free.items() if not is_free],
        free=[name for name, is_free in free.items() if is_free],
    )


def failures(results: Results) -> list[Failure]:
    """Every run of fresh seeds whose loss at the horizon is not finite."""
    runs = [("report", row) for c in results.contestants for row in c.rows]
    runs += [("misinformed", row) for rows in results.misinformed.values() for row in rows]
    runs += [("variant", row) for rows in results.variant_rows.values() for row in rows]
    runs += [("grid", row) for row in results.grid_rows]
    facts = [field.name for field in dataclasses.fields(Failure) if field.name != "stage"]
    return [
        Failure(stage=stage, **{name: row[name] for name in facts if name in row})
        for stage, row in runs
        if row["valid_loss"] is None
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
    """`trials`: settings tried a task; of the frozen setting those it was chosen from, once."""
    tried = [choice.trials for choice in c.tuned.values()]
    trials = round(float(np.mean(tried)), 1) if tried else 0
    if c.role == "learned":
        trials = subject.get("trials", 0)
    if c.role == "frozen":
        trials = frozen_trials()
    return OptimizerFacts(label=c.label, role=c.role, horizon_free=c.horizon_free, trials=trials)


def _counts(tasks: Sequence[TaskReport], name: str) -> dict[str, int]:
    words = [task.against[name].valid_ratio.verdict for task in tasks]
    return {word: words.count(word) for word in ("better", "worse", "undecided")}


def _result(c: Contestant, task: EvalTask, found: Targets, results: Results) -> Result:
    """Of one optimizer on one task: medians, quartile curves, the choice and how it was made."""
    rows, choice = c.of(task.name), c.tuned[task.name]
    valid, test = (c.losses([task.name], which)[0] for which in ("valid_loss", "test_loss"))
    medians = {
        which: six_digits(np.median(c.losses([task.name], which)))
        for which in ("train_loss", "valid_loss", "test_loss", "test_accuracy")
        if which in rows[0]
    }
    curves = {
        which: _quartiles([curve_of(row, f"{which}_curve") for row in rows], [25, 50, 75])
        for which in ("train", "valid", "test")
    }
    reached = {rung: times(c, [task], found, rung)[0][0] for rung in reversed(RUNGS)}
    return Result(
        **medians,
        valid_quartiles=_numbers(_quartiles(valid, [25, 75])),
        best_valid_loss=six_digits(np.median(c.best(task))),
        seed_losses=SeedLosses(valid=_numbers(valid), test=_numbers(test)),
        steps=rows[0]["steps"],
        curves=Curves(**{which: [_numbers(x) for x in curve] for which, curve in curves.items()}),
        times={rung: _numbers(x) for rung, x in reached.items()},
        diverged=int(np.isinf(valid).sum()),
        **_choice(choice),
        step_us=six_digits(results.step_us.get(task.name, {}).get(c.name, np.nan)),
    )


def _quartiles(values: ArrayLike, shares: list[float]) -> np.ndarray:
    """Over the first axis; nearest, for interpolation between infinities is not a number."""
    return np.percentile(values, shares, axis=0, method="nearest")


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


def _oracle(results: Results, found: Targets) -> Oracle:
    """Against the best baseline of each task, which no one could have known beforehand."""
    learned, baselines = results.contestants[0], results.baselines
    names = [task.name for task in results.tasks]
    best = oracle(np.array([c.losses(names) for c in baselines]))
    choice = {name: baselines[i] for name, i in zip(names, best, strict=True)}
    rows = [row for name, c in choice.items() for row in c.of(name)]
    tuned = {name: c.tuned[name] for name, c in choice.items()}
    chosen = Contestant("oracle", "best baseline of each task", "baseline", False, tuned, rows)
    return Oracle(
        against=compare(learned, chosen, results.tasks, found),
        choice={name: c.name for name, c in choice.items()},
    )


def _misinformed(results: Results) -> list[Misinformed]:
    learned, names = results.contestants[0], [task.name for task in results.tasks]
    right, theirs = learned.losses(names), _headline(results).losses(names)
    told_wrong = {
        told: dataclasses.replace(learned, rows=rows).losses(names)
        for told, rows in sorted(results.misinformed.items())
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


def _headline(results: Results) -> Contestant:
    return next(c for c in results.contestants if c.name == HEADLINE)


def _field(results: Results) -> list[Contestant]:
    """Who takes part in profiles: everybody that may choose a setting of its own for a task."""
    return [c for c in results.contestants if c.role != "frozen"]


def _profile(results: Results, found: Targets, variants: np.ndarray) -> Profile:
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
        rho={name: _numbers(shares) for name, shares in zip(names, rho, strict=True)},
        area=dict(zip(names, _numbers(area(ratios)), strict=True)),
        gated=dict(zip(names, _numbers(passed), strict=True)) if results.variants else None,
    )


def _variants(results: Results) -> tuple[list[Variant], np.ndarray]:
    """What became of each, and time ratios (variants, optimizers), infinite where one diverged."""
    runs = [
        dataclasses.replace(c, rows=results.variant_rows.get(c.name, ())) for c in _field(results)
    ]
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


def _break_even(results: Results) -> BreakEven | None:
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
