"""Run configurations: what the sections of a TOML file hold, as plain data.

What they name is looked up here, where it costs nothing; `run.build` makes it.
"""

import dataclasses
import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from learned_opt import OPTIMIZERS, GatedAdam, LearnedOptimizer
from learned_opt._fields import (
    Count,
    Line,
    NonNegative,
    Positive,
    Size,
    Steps,
    Within,
    check_fields,
    shown,
)
from learned_opt._modules import import_name, is_reference
from learned_opt.tasks import (
    AUGMENTATIONS,
    PROBLEMS,
    SUITES,
    EvalTask,
    FamilySpec,
    Problem,
    TrainFamily,
    check_problem,
    load_suite,
    load_task,
    references,
)

from .._objective import OBJECTIVES, MetaLoss, Objective
from .._outer import Outer
from .._teacher import Teacher
from ..estimators import ESTIMATORS, FullES, GradientEstimator
from ._files import config_path, load_table
from ._parse import ConfigError, from_dict, pick, placed, to_dict
from ._renamed import renamed

RIVALS = ("adamw", "muon")
"""Tuned optimizers that scores of meta-validation are relative to; the first chooses theta."""

BOUNDED = 0.3
"""Largest tolerance, in nats, of scores that end near log 2: more would stop no run."""


class _Section:
    """Base of the sections: their types say what values may be."""

    def __post_init__(self) -> None:
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class RunSettings(_Section):
    """[run] what is made, and how long.

    `name`: of the artifact, 1 to 100 letters, digits, ".", "_" and "-", the first a letter or a
    digit, for it names files in the run's folder; `outer_steps`: how many; `log_every`: the log
    interval in outer steps, one compiled call; `seed`: of everything; `tolerance`: the run stops as
    diverged when three meta-validations in a row are this much above the first, in nats, see
    `Config.tolerance`; `start`: name or file of an artifact of the same optimizer, whose theta is
    where this run begins (other fields may differ where theta's shapes stay); `note`: what else
    readers of the card should know.
    """

    name: str = "gated_adam"
    outer_steps: Count = 200
    log_every: Count = 20
    seed: Annotated[int, Within(0, 2**32 - 1)] = 0
    tolerance: Positive = 1.0
    start: Line = ""
    note: Annotated[str, Within(0, 10_000)] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise ValueError(
                'name must be 1 to 100 letters, digits, ".", "_" and "-", the first a letter or a '
                f"digit, got {shown(self.name)}"
            )
        if self.outer_steps % self.log_every:
            raise ValueError(
                f"outer_steps must be a multiple of run.log_every ({self.log_every}), "
                f"got {self.outer_steps}"
            )


@dataclasses.dataclass(frozen=True)
class FamilySettings(_Section):
    """[family] the tasks to learn from; several are [[families]].

    `problem`: a name among `tasks.PROBLEMS`, or "module:Class" of one's own; `data`: see
    `tasks.load_dataset`; `batch_size`; `options`: fields of the problem, as [family.options];
    `augment`: augmentations by name with their fields, as [family.augment.NAME], the first
    innermost; `task`: "module:name" of tasks of one's own instead, see `tasks.load_task`, each a
    family; `weight`: of its runs and its meta-gradient, relative to the other families.
    """

    problem: Line = "mlp"
    data: Line = "digits"
    batch_size: Size = 64
    weight: Positive = 1.0
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    augment: dict[str, Any] = dataclasses.field(default_factory=dict)
    task: str | None = None

    def sources(self, where: str = "family") -> tuple[TrainFamily, ...]:
        """The families; ConfigError as of `spec`, or for a task that cannot be loaded."""
        if not self.task:
            spec = self.spec(where)
            return (TrainFamily(f"{spec.problem.name}-{self.data}", spec, self.weight),)
        if self != FamilySettings(task=self.task, weight=self.weight):
            raise ConfigError(
                f"{where}.task says all but the weight, got other keys too: leave one out"
            )
        try:
            found = load_task(self.task, what=f"{where}.task")
        except ValueError as error:
            raise ConfigError(str(error)) from error
        return tuple(TrainFamily(task.name, task.spec, self.weight) for task in found)

    def spec(self, where: str = "family") -> FamilySpec:
        """What is built; ConfigError for an unknown name or a value of the wrong type or range."""
        known = {a.name: a for a in AUGMENTATIONS}
        problem = from_dict(self._problem(where), self.options, f"{where}.options.")
        augmentations = tuple(
            from_dict(pick(known, name, f"{where}.augment"), fields, f"{where}.augment.{name}.")
            for name, fields in self.augment.items()
        )
        try:
            return FamilySpec(problem, self.data, self.batch_size, augmentations)
        except ValueError as error:
            raise ConfigError(placed(error, f"{where}.")) from error

    def _problem(self, where: str) -> type[Problem]:
        if not is_reference(self.problem):
            return pick(PROBLEMS, self.problem, f"{where}.problem")
        try:
            found = import_name(self.problem, f"{where}.problem", "my_project.tasks:Letters")
        except ValueError as error:
            raise ConfigError(str(error)) from error
        try:
            check_problem(found)
        except ValueError as error:
            raise ConfigError(f"{where}.problem {self.problem} {error}") from error
        return found


@dataclasses.dataclass(frozen=True)
class ValidSettings(_Section):
    """[valid] meta-validation that selects theta, `every` so many log intervals.

    `tasks` fixed runs of `horizon` steps, drawn from the families in turn; with `suite`, a name,
    "module:name" of one's own or several as "A+B", `tasks` runs of each task of its CPU tier
    instead, of the task's own horizon, `horizon` at most. Where tuned optimizers' losses are known
    of every task (`tasks.references`), scores are relative to them, and no run may be cut short.
    """

    tasks: Size = 32
    horizon: Steps = 300
    suite: Line = ""
    every: Count = 1


@dataclasses.dataclass(frozen=True)
class SaveSettings(_Section):
    """[save] checkpoints: at a log line, when the last is `seconds` old (0: at every one).

    Kept are the newest `keep`, and of those made at a meta-validation the `best` by score.
    """

    seconds: NonNegative = 30.0
    keep: Size = 2
    best: Size = 1


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole meta-training run; each field is a section of the TOML file.

    `suite`: learn from the families of a suite of `tasks`, with its weights, instead of from
    [family] or [[families]]. `estimator`: as said for a family of weight 1; the lanes (pairs,
    tasks, population) of the others are in proportion to their weights. `outer`: None for that of
    the estimator, which may have none.
    """

    run: RunSettings = RunSettings()
    suite: Line = ""
    family: FamilySettings = FamilySettings()
    families: tuple[FamilySettings, ...] = ()
    optimizer: LearnedOptimizer = GatedAdam()
    estimator: GradientEstimator = FullES()
    objective: MetaLoss = Objective()
    teacher: Teacher = Teacher()
    outer: Outer | None = None
    valid: ValidSettings = ValidSettings()
    save: SaveSettings = SaveSettings()

    def __post_init__(self) -> None:
        check_fields(self)
        given = self.family != FamilySettings(), bool(self.families), bool(self.suite)
        if sum(given) > 1:
            raise ConfigError("give one of [family], [[families]] and suite, got several")
        own = self.estimator.outer
        if own is None and self.outer not in (None, Outer()):
            raise ConfigError(
                f"[outer] has no effect on the estimator {self.estimator.name!r}, which steps "
                "theta itself: leave the section out"
            )
        object.__setattr__(self, "outer", own and (self.outer or own))
        if self.objective.untrained and self.teacher.name != "none":
            raise ConfigError(
                f'teacher.name must be "none" with the objective {self.objective.name!r}, got '
                f"{self.teacher.name!r}: it would help the untrained runs as well, with which the "
                "others are compared"
            )
        # Which look up what is named.
        _ = self.sources, self.estimators, self.judged, self.references

    @functools.cached_property
    def sources(self) -> tuple[TrainFamily, ...]:
        """The families to learn from, with their weights."""
        if self.suite:
            found = SUITES.get(self.suite)
            known = [s.name for s in SUITES.values() if isinstance(s.entries[0], TrainFamily)]
            if found is None or found.name not in known:
                raise ConfigError(f"suite must be one of {', '.join(known)}, got {self.suite!r}")
            return tuple(entry for entry in found.entries if isinstance(entry, TrainFamily))
        return tuple(source for _, sources in self._sections for source in sources)

    @functools.cached_property
    def _sections(self) -> list[tuple[str, tuple[TrainFamily, ...]]]:
        """The sections with what each says to learn from."""
        if not self.families:
            return [("family", self.family.sources())]
        places = [f"families[{i}]" for i in range(len(self.families))]
        return [
            (place, one.sources(place)) for place, one in zip(places, self.families, strict=True)
        ]

    def where(self, i: int) -> str:
        """The section, or the suite, that family number `i` is from."""
        if self.suite:
            return self.suite
        return [place for place, sources in self._sections for _ in sources][i]

    @property
    def estimators(self) -> tuple[GradientEstimator, ...]:
        """One a family: lanes in proportion to its weight, no run longer than its longest."""
        found = []
        for i, source in enumerate(self.sources):
            lanes = max(1, round(self.estimator.lanes * source.weight))
            low, high = (min(h, source.longest or h) for h in self.estimator.horizon)
            try:
                one = self.estimator.with_lanes(lanes)
                found.append(dataclasses.replace(one, horizon=(low, high)))
            except ValueError as error:
                where = self.where(i)
                raise ConfigError(f"estimator, times the weight of {where}: {error}") from error
        return tuple(found)

    @functools.cached_property
    def judged(self) -> tuple[EvalTask, ...]:
        """The tasks of meta-validation; none where the families are judged."""
        names = self.valid.suite.split("+") if self.valid.suite else ()
        try:
            return tuple(task for name in names for task in _judging(name))
        except ValueError as error:
            raise ConfigError(f"valid.{error}") from error

    @functools.cached_property
    def references(self) -> list[list[float]] | None:
        """Final losses of the RIVALS on each task of meta-validation; None where one lacks them.

        Raises:
          ConfigError: they are of longer runs than `valid.horizon` allows.
        """
        names = self.valid.suite.split("+") if self.valid.suite else ()
        known = [None if is_reference(name) else references(name) for name in names]
        found = [
            [rows[task.name][rival] for rival in RIVALS]
            for name, rows in zip(names, known, strict=True)
            for task in _judging(name)
            if rows and all(rival in rows.get(task.name, {}) for rival in RIVALS)
        ]
        if not found or len(found) < len(self.judged):
            return None
        longest = max(task.horizon for task in self.judged)
        if self.valid.horizon < longest:
            raise ConfigError(
                f"valid.horizon must be at least {longest:,}, the longest run of "
                f"{self.valid.suite}, whose tuned optimizers are known of whole runs alone, got "
                f"{self.valid.horizon:,}"
            )
        return found

    @property
    def tolerance(self) -> float:
        """`run.tolerance`, and at most 0.3 where scores are ratios of losses, clipped at 2."""
        bounded = self.references is not None or self.objective.untrained
        return min(self.run.tolerance, BOUNDED) if bounded else self.run.tolerance

    @property
    def judge_names(self) -> list[str]:
        """What the runs of meta-validation are of: tasks of a suite, or the families."""
        return [one.name for one in self.judged or self.sources]

    def to_dict(self) -> dict[str, Any]:
        """JSON types; `Config.from_dict` is its inverse."""
        table = to_dict(self)
        if self.families or self.suite:  # which the unused section would contradict
            del table["family"]
        return table

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> "Config":
        """ConfigError for an unknown or mistyped key or a value of the wrong type."""
        if table.get("families") == [] and not (table.get("family") or table.get("suite")):
            raise ConfigError("families must not be empty: say what to learn from, or leave it out")
        choices = {
            LearnedOptimizer: OPTIMIZERS, GradientEstimator: ESTIMATORS, MetaLoss: OBJECTIVES,
        }  # fmt: skip
        return from_dict(cls, renamed(table), choices=choices)


def _judging(name: str) -> tuple[EvalTask, ...]:
    return load_task(name, what="suite") if is_reference(name) else load_suite(name)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML file, or the shipped one of that name, and apply overrides, see `load_table`.

    Raises:
      ConfigError: missing file, bad TOML, unknown or mistyped key, value of the wrong type.
    """
    return Config.from_dict(load_table(config_path(path), overrides))
