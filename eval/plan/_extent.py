"""How much of an evaluation of one's own tasks is run: all, or less where time is short."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Literal

from learned_opt.tasks import EvalTask

from ..baselines import ADAMW, BASELINES, Hyper
from ..contestants import (
    MULTIPLIED,
    MULTIPLIERS,
    REPORT_SEEDS,
    WRONG_HORIZONS,
    Choose,
    Job,
    Protocol,
    calibrated_name,
)
from ..tuning import TUNE_SEEDS, calibrated_settings, few_settings, tune_among

CALIBRATED = calibrated_name(ADAMW.name)
TUNED = (ADAMW.name, "muon")
"""The rows that are tuned unless all are asked for."""

LEAST = (CALIBRATED, calibrated_name("nadamw"))
FEW = ("prodigy", "schedule_free")
"""Beginnings of the names of rows without a learning rate that are the last to be left out."""


@dataclasses.dataclass(frozen=True)
class Extent:
    """How much is run.

    Attributes:
      seeds: fresh ones, of every contestant.
      settings: that tuning tries of a row; None: its whole grid, which may grow; 0: none is tuned.
      tune_seeds: seeds of each setting, also of the multipliers.
      untuned: "all" rows that need no tuning; "few": the calibrated ones, Prodigy and schedule-free
        AdamW; "least": AdamW and NAdamW calibrated.
      multipliers: of the learned optimizer's step, its own among them.
      beyond: how long its runs last, over the horizon.
      all_tuned: every tuned row, not AdamW and Muon alone, and wrong horizons.
    """

    seeds: int = len(REPORT_SEEDS)
    settings: int | None = None
    tune_seeds: int = len(TUNE_SEEDS)
    untuned: Literal["all", "few", "least"] = "all"
    multipliers: int = len(MULTIPLIERS)
    beyond: float = 1.5
    all_tuned: bool = False

    @property
    def left_out(self) -> list[str]:
        """What is less than in a whole evaluation, for people."""
        whole, said = Extent(), []
        if self.seeds < whole.seeds:
            said.append(f"{self.seeds} fresh seeds instead of {whole.seeds}")
        if self.settings == 0:
            said.append("nobody is tuned")
        elif self.settings is not None:
            seeds = f"{self.tune_seeds} seed{'s' * (self.tune_seeds > 1)}"
            said.append(f"tuning tries {self.settings} settings on {seeds} each")
        if self.untuned != whole.untuned:
            few = "AdamW, NAdamW, Muon, Lion, Prodigy and schedule-free AdamW"
            rows = few if self.untuned == "few" else "AdamW and NAdamW"
            said.append(f"only {rows} stand for what needs no tuning")
        if self.multipliers < whole.multipliers:
            tried = f"{self.multipliers} multipliers" if self.multipliers > 1 else "no multipliers"
            said.append(f"{tried} of its step instead of {whole.multipliers}")
        if self.beyond < whole.beyond:
            said.append("no run goes beyond the horizon")
        return said


EVERYTHING = Extent(all_tuned=True)

LEVELS = (
    Extent(),
    Extent(seeds=5),
    Extent(seeds=5, settings=14, multipliers=4),
    Extent(5, 7, 1, "few", 4, 1.0),
    Extent(3, 7, 1, "few", 2, 1.0),
    Extent(3, 0, 1, "few", 2, 1.0),
    Extent(3, 0, 1, "least", 1, 1.0),
)
"""From most to least: what a budget chooses from."""


def own_protocol(tasks: Sequence[EvalTask], extent: Extent) -> Protocol:
    """What everyone runs: no variants, and wrong horizons only where all is asked for."""
    wrong = WRONG_HORIZONS if extent.all_tuned else ()
    seeds = REPORT_SEEDS[: extent.seeds]
    return Protocol(tuple(tasks), (), seeds, wrong, extent.beyond)


def own_jobs(jobs: Mapping[str, Job], extent: Extent) -> dict[str, Job]:
    """Those of the jobs that an extent has, with as much tuning as it allows."""
    return {
        name: thinned(_relabelled(job), jobs, extent)
        for name, job in jobs.items()
        if _takes_part(name, job, extent)
    }


def thinned(job: Job, jobs: Mapping[str, Job], extent: Extent) -> Job:
    """A job with as few settings, multipliers and seeds for tuning as an extent has."""
    if job.name == MULTIPLIED:
        settings = [Hyper(multiplier) for multiplier in MULTIPLIERS[: extent.multipliers]]
        label = job.label.replace(str(len(MULTIPLIERS)), str(len(settings)))
    elif job.role != "baseline" or extent.settings is None:
        return job
    elif extent.settings == 0:  # AdamW, which others are compared with, is the calibrated row
        calibrated = jobs[CALIBRATED]
        return dataclasses.replace(
            job, label=_relabelled(calibrated).label, choose=_as_calibrated(calibrated), settings=0
        )
    else:
        row = next(row for row in BASELINES if row.name == job.name)
        settings, label = few_settings(row, extent.settings), job.label
    few = functools.partial(tune_among, settings, seeds=TUNE_SEEDS[: extent.tune_seeds])
    return dataclasses.replace(
        job, label=label, choose=few, settings=len(settings), tune_seeds=extent.tune_seeds
    )


def _relabelled(job: Job) -> Job:
    """Of one that nobody tunes: a name for tables and for sentences."""
    method = job.label.split(",")[0]
    if job.role == "calibrated":
        rate = calibrated_settings()[job.name.removesuffix("_calibrated")].hyper.lr
        return dataclasses.replace(job, label=f"{method} at learning rate {rate:.2g}")
    if job.role == "default":
        return dataclasses.replace(job, label=f"{method} at its defaults")
    return job


def _as_calibrated(job: Job) -> Choose:
    """The setting of a calibrated row, for which nothing was tried on the task."""
    return lambda tasks, losses: {
        name: dataclasses.replace(choice, trials=0)
        for name, choice in job.choose(tasks, losses).items()
    }


def _takes_part(name: str, job: Job, extent: Extent) -> bool:
    if name == MULTIPLIED:
        return extent.multipliers > 1
    if job.role == "baseline":
        return name == ADAMW.name or (extent.settings != 0 and (extent.all_tuned or name in TUNED))
    if name == CALIBRATED and extent.settings == 0:
        return False  # the row of AdamW is it
    if job.role in ("learned", "rival") or extent.untuned == "all":
        return True
    if extent.untuned == "few":
        return job.role == "calibrated" or name.startswith(FEW)
    return name in LEAST
