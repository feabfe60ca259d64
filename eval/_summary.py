"""From runs to the report: every number of it is computed here, from rows."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from learned_opt import Artifact
from tasks import EvalTask

from ._archive import curve_of, loss_of
from ._baselines import ADAMW
from ._cost import CostRow
from ._stats import geometric_ratio, speedup, steps_to_target

SCHEMA = 2
HEADLINE = ADAMW.name

LEAKAGE = {
    (True, True): "seen network, seen data",
    (False, True): "new network, seen data",
    (True, False): "seen network, new data",
    (False, False): "new network, new data",
}


def leakage(card: dict[str, Any], task: EvalTask) -> str:
    """What meta-training saw of a task, from the provenance card."""
    seen = card.get("trained_on", {})
    network = task.network in seen.get("networks", [])
    data = any(name in seen.get("datasets", []) for name in task.datasets)
    return LEAKAGE[network, data]


def summarise(
    artifact: Artifact,
    suite: str,
    tasks: Sequence[EvalTask],
    contestants: Sequence[Any],
    costs: Sequence[CostRow],
) -> dict[str, Any]:
    """The report as JSON types. Contestants: the learned optimizer first, then the baselines."""
    learned, *baselines = contestants
    horizons = {task.name: task.horizon for task in tasks}
    targets = {task.name: _target(task.name, baselines) for task in tasks}
    labels = {task.name: leakage(artifact.card, task) for task in tasks}

    def compare(names: Sequence[str], other: Any) -> dict[str, Any]:
        ours, theirs = (_losses(c, names) for c in (learned, other))
        times = (_times(c, names, targets) for c in (learned, other))
        tests = (_losses(c, names, "test_loss") for c in (learned, other))
        return {
            "valid_ratio": geometric_ratio(ours, theirs)._asdict(),
            "test_ratio": geometric_ratio(*tests)._asdict(),
            "speedup": speedup(*times)._asdict(),
        }

    groups: dict[str, list[str]] = {}
    for task in tasks:
        groups.setdefault(labels[task.name], []).append(task.name)
    report = {
        "schema": SCHEMA,
        "suite": suite,
        "artifact": {"sha256": artifact.sha256, "card": artifact.card},
        "device": f"{jax.device_count()} x {jax.default_backend()}",
        "seeds": len(learned.rows) // len(tasks),
        "headline": HEADLINE,
        "optimizers": {c.name: c.label for c in contestants},
        "groups": [
            {
                "label": label,
                "tasks": names,
                "against": {c.name: compare(names, c) for c in baselines},
            }
            for label, names in groups.items()
        ],
        "tasks": [
            {
                "name": task.name,
                "leakage": labels[task.name],
                "horizon": horizons[task.name],
                "target": _json(targets[task.name]),
                "results": {c.name: _result(c, task.name) for c in contestants},
                "against": {c.name: compare([task.name], c) for c in baselines},
            }
            for task in tasks
        ],
        "failures": [
            {key: row[key] for key in ("task", "optimizer", "lr", "weight_decay", "seed")}
            for c in contestants
            for row in c.rows
            if row["valid_loss"] is None
        ],
        "cost": [row.to_json() for row in costs],
    }
    report["sentence"] = sentence(report)
    return report


def sentence(report: dict[str, Any]) -> str:
    """The verdict, made of intervals only."""
    card = report["artifact"]["card"]
    name, baseline = card.get("name", "The artifact"), report["headline"]
    parts = []
    for group in report["groups"]:
        found = group["against"][baseline]
        parts.append(
            f"{verdict(found['valid_ratio'])} on {group['label']} ({', '.join(group['tasks'])}): "
            f"final validation loss {_interval(found['valid_ratio'])} times AdamW's, "
            f"target reached {_interval(found['speedup'])} times as fast"
        )
    largest = max(report["cost"], key=lambda row: row["parameters"])
    overhead = largest["costs"]["learned"]["step"] / largest["costs"]["adam"]["step"]
    return (
        f"{name}, untuned, against AdamW with warm-up and cosine tuned for each task, is "
        + "; ".join(parts)
        + f"; its training step costs {overhead:.1f} times Adam's at {largest['network']} "
        f"parameters, batch {largest['batch_size']}"
        f" (95 % intervals over {report['seeds']} fresh seeds)."
    )


def _interval(found: dict[str, float]) -> str:
    return f"{found['mid']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def verdict(ratio: dict[str, float]) -> str:
    """better, worse or undecided: whether the interval of a loss ratio excludes 1."""
    if ratio["high"] < 1:
        return "better"
    return "worse" if ratio["low"] > 1 else "undecided"


def _rows(contestant: Any, task: str) -> list[dict[str, Any]]:
    rows = [row for row in contestant.rows if row["task"] == task]
    return sorted(rows, key=lambda row: row["seed"])


def _losses(contestant: Any, names: Sequence[str], which: str = "valid_loss") -> np.ndarray:
    return np.array([[loss_of(row, which) for row in _rows(contestant, name)] for name in names])


def _target(name: str, baselines: Sequence[Any]) -> float:
    """Median over seeds of the best validation loss by the horizon, of the best baseline."""
    return min(float(np.median([curve_of(row).min() for row in _rows(c, name)])) for c in baselines)


def _times(contestant: Any, names: Sequence[str], targets: dict[str, float]) -> np.ndarray:
    return np.array(
        [
            [
                float(steps_to_target(np.array(row["steps"]), curve_of(row), targets[name]))
                for row in _rows(contestant, name)
            ]
            for name in names
        ]
    )


def _result(contestant: Any, name: str) -> dict[str, Any]:
    """Of one optimizer on one task: medians, quartile curves, chosen settings."""
    rows, tuned = _rows(contestant, name), contestant.tuned[name]
    medians = {
        which: _json(np.median([loss_of(row, which) for row in rows]))
        for which in ("train_loss", "valid_loss", "test_loss", "test_accuracy")
        if which in rows[0]
    }
    bands = {
        which: [
            [_json(x) for x in curve]
            for curve in np.percentile(
                [curve_of(row, f"{which}_curve") for row in rows],
                [25, 50, 75],
                axis=0,
                method="nearest",  # interpolation between infinities is not a number
            )
        ]
        for which in ("train", "valid")
    }
    return {
        **medians,
        "best_valid_loss": _json(np.median([curve_of(row).min() for row in rows])),
        "steps": rows[0]["steps"],
        "curves": bands,
        "hyper": {"lr": float(tuned.hyper.lr), "weight_decay": float(tuned.hyper.wd)},
        "trials": tuned.trials,
        "extensions": tuned.extensions,
        "at_edge": tuned.at_edge,
    }


def _json(x: Any) -> float | None:
    return float(f"{float(x):.6g}") if np.isfinite(x) else None
