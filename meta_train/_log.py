"""`metrics.jsonl` and TensorBoard: one row a chunk, never one twice."""

import json
import math
import os
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from learned_opt.checkpoints import write_atomic


class Log:
    """The rows of a run, in its folder.

    Args:
      folder: receives `metrics.jsonl` and `tensorboard/`.
      step: rows after this outer step, of an earlier try, are forgotten; at 0 all of them, for
        the run starts anew.
    """

    def __init__(self, folder: str | os.PathLike, step: int) -> None:
        self.path = Path(folder) / "metrics.jsonl"
        self._rewind(step)
        # TensorBoard hides what lies after `purge_step` in the files of earlier tries.
        purge = step + 1 if step else 0
        self._writer = SummaryWriter(str(Path(folder) / "tensorboard"), purge_step=purge)

    def append(self, row: dict[str, Any]) -> None:
        """Write a row; its `step` is TensorBoard's."""
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        for name, value in row.items():
            if name != "step" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Everything is on disk afterwards."""
        self._writer.close()

    def _rewind(self, step: int) -> None:
        """Forget rows after `step`, and a last line that a kill cut short."""
        lines = self.path.read_text().splitlines() if step and self.path.exists() else []
        kept = []
        for line in lines:
            try:
                row = json.loads(line)
            except json.JSONDecodeError:
                break
            if row["step"] <= step:
                kept.append(line + "\n")
        write_atomic(self.path, "".join(kept))


def validation_curve(folder: str | os.PathLike, points: int = 60) -> dict[str, list[float]]:
    """Outer steps and finite meta-validation losses of a run's log: `points`, evenly, or fewer."""
    lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if math.isfinite(row.get("valid_loss", math.nan))]
    stride = -(-len(rows) // points)
    rows = rows[::-stride][::-1]
    return {
        "outer_steps": [row["step"] for row in rows],
        "valid_loss": [round(row["valid_loss"], 4) for row in rows],
    }
