"""What diverged: every failure of a report, and how many runs of the learned optimizer did."""

import math
from collections.abc import Sequence
from typing import Any

from ..contestants import Results


def failures(results: Results) -> list[dict[str, Any]]:
    """Every run of fresh seeds whose loss at the horizon is not finite."""
    runs = [("report", row) for c in results.contestants for row in c.runs]
    runs += [("misinformed", row) for rows in results.misinformed.values() for row in rows]
    runs += [("variant", row) for rows in results.variant_rows.values() for row in rows]
    runs += [("grid", row) for row in results.grid_rows]
    facts = ("task", "optimizer", "lr", "weight_decay", "cosine", "extra", "seed", "told")
    return [
        {"stage": stage, **{name: getattr(row, name) for name in facts}}
        for stage, row in runs
        if not math.isfinite(row.valid_loss)
    ]


def diverged_runs(report: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Stage -> (runs of the learned optimizer that diverged, all of its runs), where it has any."""
    tasks, seeds, stages = report["tasks"], report["seeds"], {}

    def add(stage: str, counts: Sequence[int], runs: int) -> None:
        if runs:
            stages[stage] = sum(counts), runs

    counts = [task["results"]["learned"]["diverged"] for task in tasks]
    add("reported", counts, seeds * len(tasks))
    counts = [v["results"]["learned"]["diverged"] for v in report.get("variants", [])]
    add("on variants", counts, seeds * len(counts))
    counts = [case["diverged"] for case in report.get("misinformed", [])]
    add("told a wrong number of steps", counts, seeds * len(tasks) * len(counts))
    cells = report.get("grid", [])
    add("in the grid", [c["diverged"] for c in cells], sum(c["seeds"] for c in cells))
    return stages
