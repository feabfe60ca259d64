"""What diverged: every failure of a report, and how many runs of the learned optimizer did."""

from collections.abc import Sequence
from typing import Any

from ._results import Results


def failures(results: Results, headline: str) -> list[dict[str, Any]]:
    """Every run of fresh seeds whose loss at the horizon is not finite; those in cells of the grid
    as counts where their rows were not kept.
    """
    runs = [("report", row) for c in results.contestants for row in c.rows]
    runs += [("misinformed", row) for rows in results.misinformed.values() for row in rows]
    runs += [("variant", row) for rows in results.variant_rows.values() for row in rows]
    runs += [("grid", row) for row in results.grid_rows]
    facts = ("task", "optimizer", "lr", "weight_decay", "cosine", "extra", "seed", "told")
    found = [
        {"stage": stage, **{name: row[name] for name in facts if name in row}}
        for stage, row in runs
        if row["valid_loss"] is None
    ]
    return found if results.grid_rows else found + _grid(results.extra.get("grid", []), headline)


def _grid(cells: Sequence[dict[str, Any]], headline: str) -> list[dict[str, Any]]:
    """One entry for the runs of one optimizer that diverged in one cell."""
    sides = (("learned", "diverged", ""), (headline, "diverged_retuned", "lr_retuned"),
             (headline, "diverged_transferred", "lr_transferred"))  # fmt: skip
    return [
        {
            "stage": "grid", "task": cell["task"], "optimizer": name,
            "lr": cell[rate] if rate else 1.0, "runs": cell[count], "told": cell.get("told", 1.0),
        }
        for cell in cells
        for name, count, rate in sides
        if cell.get(count) and (cell.get("axis"), count) != ("base", "diverged_transferred")
    ]  # fmt: skip


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
