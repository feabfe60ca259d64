"""Run configurations: what the sections of a TOML file hold, and what is built from them."""

import dataclasses
import functools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from learned_opt import OPTIMIZERS, Artifact, ArtifactError, GatedAdam, LearnedOptimizer, load
from learned_opt.artifacts import current
from learned_opt.tasks import (
    AUGMENTATIONS,
    PROBLEMS,
    SUITES,
    Count,
    FamilySpec,
    Line,
    NonNegative,
    Positive,
    Size,
    Steps,
    TrainFamily,
    Within,
    check_fields,
    device_mesh,
    load_suite,
    shown,
)

from ._objective import Objective
from ._outer import Outer
from ._parse import ConfigError, from_dict, load_table, pick, placed, to_dict
from ._shipped import config_path
from ._teacher import Teacher
from ._trainer import Judge, Trainer
from ._unroll import MetaProblem
from .estimators import ESTIMATORS, FullES, GradientEstimator
from .run._memory import check_memory


@dataclasses.dataclass(frozen=True)
class Run:
    """[run] what is made, and how long.

    `name`: of the artifact, 1 to 100 letters, digits, ".", "_" and "-", the first a letter or a
    digit, for it names files in the run's folder; `outer_steps`: how many; `chunk`: outer steps
    between log lines, one compiled call; `seed`: of everything; `tolerance`: the run stops as
    diverged when three meta-validations in a row are this much above the first, in nats; `start`:
    name or file of an artifact of the same optimizer, whose theta is where this run begins (other
    fields may differ where theta's shapes stay); `note`: what else readers of the card should know.
    """

    name: str = "gated_adam"
    outer_steps: Count = 200
    chunk: Count = 20
    seed: Annotated[int, Within(0, 2**32 - 1)] = 0
    tolerance: Positive = 1.0
    start: Line = ""
    note: Annotated[str, Within(0, 10_000)] = ""

    def __post_init__(self) -> None:
        check_fields(self)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise ValueError(
                'name must be 1 to 100 letters, digits, ".", "_" and "-", the first a letter or a '
                f"digit, got {shown(self.name)}"
            )
        if self.outer_steps % self.chunk:
            raise ValueError(
                f"outer_steps must be a multiple of run.chunk ({self.chunk}), "
                f"got {self.outer_steps}"
            )


@dataclasses.dataclass(frozen=True)
class Family:
    """[family] the tasks to learn from; several are [[families]].

    `problem`: a name among `tasks.PROBLEMS`; `data`: see `tasks.load_dataset`; `batch_size`;
    `options`: fields of the problem, as [family.options]; `augment`: augmentations by name with
    their fields, as [family.augment.NAME], the first innermost; `weight`: of its particles and its
    meta-gradient, relative to the other families.
    """

    problem: Line = "mlp"
    data: Line = "digits"
    batch_size: Size = 64
    weight: Positive = 1.0
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    augment: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)

    def spec(self, where: str = "family") -> FamilySpec:
        """What is built; ConfigError for an unknown name or a value of the wrong type or range."""
        known = {a.name: a for a in AUGMENTATIONS}
        problem = from_dict(
            pick(PROBLEMS, self.problem, f"{where}.problem"), self.options, f"{where}.options."
        )
        augmentations = tuple(
            from_dict(pick(known, name, f"{where}.augment"), fields, f"{where}.augment.{name}.")
            for name, fields in self.augment.items()
        )
        try:
            return FamilySpec(problem, self.data, self.batch_size, augmentations)
        except ValueError as error:
            raise ConfigError(placed(error, f"{where}.")) from error


@dataclasses.dataclass(frozen=True)
class Valid:
    """[valid] meta-validation that selects theta, `every` so many chunks.

    `tasks` fixed runs of `horizon` steps, drawn from the families in turn; with `suite`, a name or
    several as "A+B", `tasks` runs of each task of its CPU tier instead, of the task's own horizon,
    `horizon` at most.
    """

    tasks: Size = 32
    horizon: Steps = 300
    suite: Line = ""
    every: Count = 1

    def __post_init__(self) -> None:
        check_fields(self)


@dataclasses.dataclass(frozen=True)
class Save:
    """[save] checkpoints: after a chunk, when the last is `seconds` old (0: after every chunk).

    Kept are the newest `keep`, and of those made at a meta-validation the `best` by score.
    """

    seconds: NonNegative = 30.0
    keep: Size = 2
    best: Size = 1

    def __post_init__(self) -> None:
        check_fields(self)


class Setup(NamedTuple):
    """What a configuration describes, ready to be compiled."""

    trainer: Trainer
    problems: tuple[MetaProblem, ...]
    judges: tuple[Judge, ...]


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole meta-training run; each field is a section of the TOML file.

    `suite`: learn from the families of a suite of `tasks`, with its weights, instead of from
    [family] or [[families]]. `estimator`: as said for a family of weight 1; the pairs (tasks,
    population) of the others are in proportion to their weights.
    """

    run: Run = Run()
    suite: Line = ""
    family: Family = Family()
    families: tuple[Family, ...] = ()
    optimizer: LearnedOptimizer = GatedAdam()
    estimator: GradientEstimator = FullES()
    objective: Objective = Objective()
    teacher: Teacher = Teacher()
    outer: Outer = Outer()
    valid: Valid = Valid()
    save: Save = Save()

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.family != Family()) + bool(self.families) + bool(self.suite) > 1:
            raise ConfigError("give one of [family], [[families]] and suite, got several")
        if self.estimator.direct and self.outer != Outer():
            raise ConfigError(
                f"[outer] has no effect on the estimator {self.estimator.name!r}, which steps "
                "theta itself: leave the section out"
            )
        self.sources, self.estimators, self.ancestor  # noqa: B018 (they check what is named)
        if self.valid.suite:
            self._judged()

    @functools.cached_property
    def sources(self) -> tuple[TrainFamily, ...]:
        """The families to learn from, with their weights."""
        if self.suite:
            found = SUITES.get(self.suite)
            known = [s.name for s in SUITES.values() if isinstance(s.entries[0], TrainFamily)]
            if found is None or found.name not in known:
                raise ConfigError(f"suite must be one of {', '.join(known)}, got {self.suite!r}")
            return tuple(entry for entry in found.entries if isinstance(entry, TrainFamily))
        listed = self.families or (self.family,)
        return tuple(
            TrainFamily(
                f"{family.problem}-{family.data}",
                family.spec(f"families[{i}]" if self.families else "family"),
                family.weight,
            )
            for i, family in enumerate(listed)
        )

    @functools.cached_property
    def ancestor(self) -> Artifact | None:
        """What the run starts from; ConfigError if it cannot be read or its theta does not fit."""
        if not self.run.start:
            return None
        try:
            found = load(self.run.start)
        except ArtifactError as error:
            raise ConfigError(f"run.start: {error}") from error
        shapes = [
            jax.eval_shape(o.init, jax.random.key(0)) for o in (found.optimizer, self.optimizer)
        ]
        if type(found.optimizer) is not type(self.optimizer) or shapes[0] != shapes[1]:
            raise ConfigError(
                "run.start must be an artifact whose theta fits [optimizer], "
                f"{self.optimizer}, got one of {found.optimizer}"
            )
        return found

    @property
    def estimators(self) -> tuple[GradientEstimator, ...]:
        """One a family, its parallel lanes in proportion to the family's weight."""
        rows = self.estimator.rows
        lanes, found = getattr(self.estimator, rows), []
        for i, source in enumerate(self.sources):
            count = max(1, round(lanes * source.weight))
            try:
                one: Any = dataclasses.replace(self.estimator, **{rows: count})  # type: ignore[type-var]
            except ValueError as error:
                where = f"families[{i}]" if self.families else self.suite or "family"
                raise ConfigError(f"estimator, times the weight of {where}: {error}") from error
            found.append(one)
        return tuple(found)

    def build(self) -> Setup:
        """What is to be compiled; ConfigError if it cannot be had here, or cannot fit."""
        setup = self.assemble()
        check_memory(*setup)
        return setup

    def assemble(self) -> Setup:
        """Trainer, families and meta-validation; ConfigError if some data cannot be had."""
        if type(self.optimizer) not in OPTIMIZERS:
            raise ConfigError(
                "optimizer must be one of learned_opt.OPTIMIZERS, or it could not be exported, got "
                f"{shown(self.optimizer)}: add its class to them"
            )
        lanes = [getattr(e, e.rows) for e in self.estimators]
        # One mesh for all of a run: its programs share their arrays.
        try:
            mesh = device_mesh(math.gcd(*lanes, *self._judge_sizes()))
        except ValueError as error:
            rows = self.estimator.rows
            raise ConfigError(f"estimator.{rows} and valid.tasks: {error}") from error

        def problem(spec: FamilySpec, where: str) -> MetaProblem:
            try:
                family = spec.build().without_test()
            except ValueError as error:
                raise ConfigError(f"{where}: {error}") from error
            return MetaProblem(family, self.optimizer, self.objective, mesh)

        weights = [lane / sum(lanes) for lane in lanes]
        outer = self.outer.build(self.run.outer_steps)
        trainer = Trainer(
            self.optimizer,
            self.estimators,
            tuple(weights),
            optax.sgd(1.0) if self.estimator.direct else outer,
            self.run.seed,
            self.ancestor.theta if self.ancestor else None,
        )
        wheres = [
            f"families[{i}].data" if self.families else self.suite or "family.data"
            for i in range(len(lanes))
        ]
        untaught = [problem(s.spec, where) for s, where in zip(self.sources, wheres, strict=True)]
        problems = tuple(dataclasses.replace(p, teacher=self.teacher) for p in untaught)
        key = jax.random.fold_in(jax.random.key(self.run.seed), 0x7A11D)
        if self.valid.suite:
            tasks = self._judged()
            members = [problem(task.spec, "valid.suite") for task in tasks]
            facts = [
                (p, task.member, min(task.horizon, self.valid.horizon))
                for p, task in zip(members, tasks, strict=True)
            ]
        else:
            facts = [(p, None, self.valid.horizon) for p in untaught]
        judges = tuple(
            Judge(p, task, jnp.int32(horizon), jax.random.fold_in(key, i), size)
            for i, ((p, task, horizon), size) in enumerate(
                zip(facts, self._judge_sizes(), strict=True)
            )
        )
        return Setup(trainer, problems, judges)

    @property
    def judge_names(self) -> list[str]:
        """What the runs of meta-validation are of: tasks of a suite, or the families."""
        judged = self._judged() if self.valid.suite else self.sources
        return [one.name for one in judged]

    def _judge_sizes(self) -> list[int]:
        """Runs of each judge."""
        if self.valid.suite:
            return [self.valid.tasks] * len(self._judged())
        count = len(self.sources)
        return [math.ceil(self.valid.tasks / count)] * count

    def _judged(self) -> Sequence[Any]:
        try:
            return [task for name in self.valid.suite.split("+") for task in load_suite(name)]
        except ValueError as error:
            raise ConfigError(f"valid.{error}") from error

    def to_dict(self) -> dict[str, Any]:
        """JSON types; `Config.from_dict` is its inverse."""
        table = to_dict(self)
        # Sections that are not used would contradict those that are.
        if self.families or self.suite:
            del table["family"]
        if self.estimator.direct:
            del table["outer"]
        return table

    @classmethod
    def from_dict(cls, table: dict[str, Any]) -> "Config":
        """ConfigError for an unknown or mistyped key or a value of the wrong type."""
        if table.get("families") == [] and not (table.get("family") or table.get("suite")):
            raise ConfigError("families must not be empty: say what to learn from, or leave it out")
        section = table.get("optimizer")
        if isinstance(section, dict) and isinstance(section.get("name"), str):
            try:
                options = {key: value for key, value in section.items() if key != "name"}
                name, options = current(section["name"], options)
            except ValueError as error:
                raise ConfigError(f"optimizer: {error}") from error
            table = table | {"optimizer": {"name": name, **options}}
        choices = {LearnedOptimizer: OPTIMIZERS, GradientEstimator: ESTIMATORS}
        return from_dict(cls, table, choices=choices)


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a TOML file, or the shipped one of that name, and apply overrides, see `load_table`.

    Raises:
      ConfigError: missing file, bad TOML, unknown or mistyped key, value of the wrong type.
    """
    return Config.from_dict(load_table(config_path(path), overrides))
