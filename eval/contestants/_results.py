"""What an evaluation has found before anything is computed from it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from learned_opt.tasks import EvalTask

from ..running import Run
from ..tuning import Tuned

Role = Literal["learned", "baseline", "calibrated", "default", "rival"]


@dataclasses.dataclass(frozen=True)
class Contestant:
    """One optimizer's runs on fresh seeds, and how its settings were chosen per task.

    Attributes:
      name: unique. `label`: for people.
      role: "learned" is judged; "baseline" is tuned on each task and sets targets; "calibrated"
        has one setting on all tasks, chosen on validation suites, and "default" that of its paper;
        "rival" is another learned one.
      horizon_free: it is not told how long the run is.
      tuned: task name -> choice.
      runs: all at the right horizon, in any order.
      variant_runs: on the variants, with the settings of the tasks themselves.
      misinformed: horizon told over the right one -> runs of the optimizer that is judged.
    """

    name: str
    label: str
    role: Role
    horizon_free: bool
    tuned: Mapping[str, Tuned]
    runs: Sequence[Run]
    variant_runs: Sequence[Run] = ()
    misinformed: Mapping[float, Sequence[Run]] = dataclasses.field(default_factory=dict)

    def of(self, task: str) -> list[Run]:
        """Its runs on a task, by seed."""
        return sorted((run for run in self.runs if run.task == task), key=lambda run: run.seed)

    def losses(self, tasks: Sequence[str], which: str = "valid_loss") -> np.ndarray:
        """Losses at the horizon (tasks, seeds); infinite where not finite."""
        return np.array([[run.final[which] for run in self.of(name)] for name in tasks])

    def best(self, task: EvalTask) -> np.ndarray:
        """Lowest validation loss by the horizon, (seeds,)."""
        return np.array(
            [
                np.array(run.valid_curve)[np.array(run.steps) <= task.horizon].min()
                for run in self.of(task.name)
            ]
        )


@dataclasses.dataclass(frozen=True)
class Results:
    """All of it.

    Attributes:
      subject: what is judged, see `report.json`.
      suite: {"name", "hash", "tier", "smoke"}.
      tasks: with a run of every contestant on every seed.
      contestants: the learned optimizer first.
      variants: of tasks, one thing changed.
      step_us: task -> optimizer -> microseconds of a training step, of those that were timed.
      extra: parts that are JSON already: grid, traces, cost, meta_training, merged.
      grid_rows: runs of fresh seeds in the cells of the generalisation grid, everyone's.
      arguments: words of the command that makes the report, without its folder.
    """

    subject: dict[str, Any]
    suite: dict[str, Any]
    tasks: Sequence[EvalTask]
    contestants: Sequence[Contestant]
    variants: Sequence[EvalTask] = ()
    step_us: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    grid_rows: Sequence[Run] = ()
    arguments: Sequence[str] = ()

    @property
    def baselines(self) -> list[Contestant]:
        """Those that set targets."""
        return [c for c in self.contestants if c.role == "baseline"]

    @property
    def misinformed(self) -> Mapping[float, Sequence[Run]]:
        """Horizon told over the right one -> runs of the learned optimizer."""
        return self.contestants[0].misinformed
