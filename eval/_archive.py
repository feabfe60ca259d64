"""`runs.jsonl`: every run of an evaluation, one line each, never repeated."""

import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from checkpoints import write_atomic

from ._run import Curve, Runner, Trial

RUN_VERSION = 2
"""Part of every key: a change of what a run means makes a new number and new runs."""


class Archive:
    """Runs on disk, keyed by what they depend on; safe to use from several threads.

    Args:
      path: the `runs.jsonl` to read and append to; a last line cut short by a kill is dropped.
      salt: what all keys depend on besides the trial, for example the suite's name.
    """

    def __init__(self, path: Path, salt: str) -> None:
        self.path, self.salt = path, salt
        self.rows: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        if path.exists():
            lines = path.read_text().splitlines()
            for line in lines:
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:
                    continue
                self.rows[row["key"]] = row
            kept = "".join(json.dumps(row) + "\n" for row in self.rows.values())
            write_atomic(path, kept)

    def run(
        self, optimizer: str, runner: Runner, trials: Sequence[Trial], stage: str
    ) -> list[dict[str, Any]]:
        """One row a trial; runs those that are not there yet.

        Args:
          optimizer: its name; with the hyper-parameters it must say all about the update rule.
          stage: "tune" (only the final validation loss is kept, test is not read) or "report".
        """
        keys = [self._key(optimizer, trial, stage) for trial in trials]
        missing = [i for i, key in enumerate(keys) if key not in self.rows]
        curves = runner([trials[i] for i in missing], report=stage == "report")
        new = [
            _row(keys[i], optimizer, trials[i], stage, curve)
            for i, curve in zip(missing, curves, strict=True)
        ]
        with self._lock:
            with self.path.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in new)
            self.rows |= {row["key"]: row for row in new}
        return [self.rows[key] for key in keys]

    def _key(self, optimizer: str, trial: Trial, stage: str) -> str:
        facts = [
            RUN_VERSION, self.salt, stage, optimizer, trial.task.name, trial.task.horizon,
            *map(float, trial.hyper), trial.seed, trial.told, trial.beyond,
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:20]


def _row(key: str, optimizer: str, trial: Trial, stage: str, curve: Curve) -> dict[str, Any]:
    row = {
        "key": key,
        "stage": stage,
        "task": trial.task.name,
        "optimizer": optimizer,
        "lr": float(trial.hyper.lr),
        "weight_decay": float(trial.hyper.wd),
        "cosine": float(trial.hyper.cosine),
        "extra": float(trial.hyper.extra),
        "seed": trial.seed,
        "horizon": trial.task.horizon,
        "told": trial.told,
        "beyond": trial.beyond,
        **{name: _number(x) for name, x in curve.final.items()},
    }
    if curve.test is not None:
        row |= {
            "steps": curve.steps.tolist(),
            "train_curve": [_number(x) for x in curve.train],
            "valid_curve": [_number(x) for x in curve.valid],
            "test_curve": [_number(x) for x in curve.test],
        }
    return row


def _number(x: Any) -> float | None:
    """Six significant digits; None, JSON's null, for a loss that is not finite."""
    return float(f"{float(x):.6g}") if np.isfinite(x) else None


def loss_of(row: dict[str, Any], name: str = "valid_loss") -> float:
    """A loss of a row as a float: not finite counts as infinite."""
    return float("inf") if row[name] is None else row[name]


def curve_of(row: dict[str, Any], name: str = "valid_curve") -> np.ndarray:
    """A loss curve of a row; points that are not finite are infinite."""
    return np.array([np.inf if x is None else x for x in row[name]])
