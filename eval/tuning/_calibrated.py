"""One setting for all tasks, of a few rows: the fair rivals of an optimizer that is not tuned."""

import datetime
import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import rich.console

from learned_opt._checks import one_line
from learned_opt.checkpoints import is_number, plain_console, write_atomic
from learned_opt.tasks import EvalTask, load_suite

from ..baselines import BASELINES, Baseline, Hyper
from ..running import (
    Archive,
    ArchiveError,
    Progress,
    Trial,
    baseline_identity,
    baseline_runner,
    own_archive,
)
from ._tune import TUNE_SEEDS, calibrated_grid, tune_calibrated

FILE = Path(__file__).parent.with_name("archive") / "calibrated.json"

CALIBRATED = ("nadamw", "adamw", "muon", "lion")
"""Names of the rows that are calibrated."""

SUITES = tuple(f"META_VALID_V{k}" for k in range(1, 8))

TASKS = (
    "values-mlp", "photos-autoencoder", "teacher-mlp-wrong", "photos-mlp-few",
    "photos-mlp-batch-8", "teacher-mlp-batch-4", "photos-norm-mlp", "photos-mlp-deep",
    "photos-conv", "photos-norm-conv", "photos-mixer", "stdlib-gru", "stdlib-16-transformer",
)  # fmt: skip
"""What they are calibrated on: of the validation suites the tasks that are like what people train.

Networks on minibatches, at most 1,000 steps, data in the package, and at least 500 examples to
validate on (of text, bytes to predict): so no closed forms, no table in one batch, no noise that
is added to gradients, no weights in other scales. Of those of one kind, which is a network on a
data set with the same change (few examples, wrong labels, small batches, depth), the quickest.
"""


class Calibrated(NamedTuple):
    """A setting for all tasks; `trials`: of how many it is the best."""

    hyper: Hyper
    trials: int


def calibrated_settings() -> dict[str, Calibrated]:
    """Row -> the setting that ships: chosen on tasks that nobody is judged by, once.

    Raises:
      ArchiveError: the file that holds them is not there, or damaged.
    """
    try:
        found = json.loads(FILE.read_text())["settings"]
        made = {name: Calibrated(Hyper(**s["hyper"]), s["trials"]) for name, s in found.items()}
        if made.keys() != set(CALIBRATED):
            raise ValueError(f"it holds settings of {', '.join(made) or 'no row'}")
        if not all(is_number(x) for s in made.values() for x in (*s.hyper, s.trials)):
            raise ValueError("it holds a setting that is no numbers")
        return made
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ArchiveError(
            f"{FILE} cannot be used ({one_line(error)}); fetch it again, or choose the settings "
            "anew: learned-opt eval calibrate --out DIR"
        ) from error


def calibration_tasks() -> list[EvalTask]:
    """Those that TASKS names."""
    known = {task.name: task for suite in SUITES for task in load_suite(suite)}
    return [known[name] for name in TASKS]


def calibrate(
    folder: str | os.PathLike, *, console: rich.console.Console | None = None
) -> dict[str, Calibrated]:
    """Choose them anew, each by `tune_calibrated` on TASKS, and write them to `FILE`.

    Args:
      folder: keeps the runs; interrupted, the same call goes on.
    """
    console = console or plain_console()
    tasks = calibration_tasks()
    rows = [row for row in BASELINES if row.name in CALIBRATED]
    facts = {"tasks": " ".join(task.name for task in tasks)}
    own = own_archive(folder, "calibration.toml", facts, what="runs of a calibration")
    made: dict[str, Calibrated] = {}
    with own as archive:
        settings = sum(len(calibrated_grid(row)) for row in rows)
        runs = settings * len(TUNE_SEEDS) * len(tasks)
        progress = Progress(console, "Calibrating", len(rows), runs)
        archive.show(progress)
        with progress:
            for row in rows:
                tuned = tune_calibrated(row, tasks, functools.partial(_losses, archive, row))
                choice = next(iter(tuned.values()))
                made[row.name] = Calibrated(choice.hyper, choice.trials)
                progress.advance(row.label)
        record = {
            "settings": {
                name: {"hyper": found.hyper._asdict(), "trials": found.trials}
                for name, found in made.items()
            },
            "tasks": [task.name for task in tasks],
            "command": "learned-opt eval calibrate",
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        }
        FILE.parent.mkdir(exist_ok=True)
        write_atomic(FILE, json.dumps(record, indent=1) + "\n")
    for name, found in made.items():
        console.print(f"{name}: of {found.trials} settings on {len(tasks)} tasks {found.hyper}")
    return made


def _losses(archive: Archive, row: Baseline, trials: Sequence[Trial]) -> list[float]:
    runs = archive.run(baseline_identity(row), baseline_runner(row), trials, curves=False)
    return [run.valid_loss for run in runs]
