"""Run configurations: frozen dataclasses <-> TOML, with errors that name the cure."""

import dataclasses
import difflib
import math
import tomllib
import types
import typing
from pathlib import Path
from typing import Any

import optax

from learned_opt import Nominal
from tasks import AUGMENTATIONS, PROBLEMS, FamilySpec, device_mesh

from ._full_es import FullES
from ._trainer import Trainer
from ._unroll import Objective


class ConfigError(ValueError):
    """The configuration is wrong; the message says where, what came and what was expected."""


@dataclasses.dataclass(frozen=True)
class Run:
    """[run] `name`: of the artifact; `outer_steps`: how many; `chunk`: outer steps between log
    lines, meta-validations and checkpoints; `seed`: of everything."""

    name: str = "nominal"
    outer_steps: int = 200
    chunk: int = 20
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Family:
    """[family] the tasks to learn from.

    `problem`: a name among `tasks.PROBLEMS`; `data`: see `tasks.load_dataset`; `batch_size`;
    `options`: fields of the problem, as [family.options]; `augment`: augmentations by name with
    their fields, as [family.augment.NAME], the first innermost.
    """

    problem: str = "mlp"
    data: str = "digits"
    batch_size: int = 64
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    augment: dict[str, Any] = dataclasses.field(default_factory=dict)

    def spec(self) -> FamilySpec:
        """What is built; ConfigError for an unknown name or a value of the wrong type."""
        problem = _named(PROBLEMS, self.problem, "family.problem")
        return FamilySpec(
            from_dict(problem, self.options, "family.options."),
            self.data,
            self.batch_size,
            tuple(
                from_dict(
                    _named({a.name: a for a in AUGMENTATIONS}, name, "family.augment"),
                    fields,
                    f"family.augment.{name}.",
                )
                for name, fields in self.augment.items()
            ),
        )

    def build(self) -> Any:
        """The family, without the test split; ConfigError if the data cannot be had."""
        try:
            return self.spec().build().without_test()
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"family.data: {error}") from error


def _named(known: dict[str, type], name: str, where: str) -> type:
    if name not in known:
        raise ConfigError(f"{where} must be one of {', '.join(known)}, got {name!r}")
    return known[name]


@dataclasses.dataclass(frozen=True)
class Estimator:
    """[estimator] antithetic evolution strategies, see `FullES`."""

    pairs: int = 16
    sigma: float = 0.03
    horizon: tuple[int, int] = (100, 300)


@dataclasses.dataclass(frozen=True)
class Outer:
    """[outer] Adam on theta after clipping to global norm `clip`; cosine decay to zero."""

    learning_rate: float = 1e-2
    clip: float = 0.3


@dataclasses.dataclass(frozen=True)
class Valid:
    """[valid] meta-validation that selects theta: `tasks` fixed runs of `horizon` steps."""

    tasks: int = 32
    horizon: int = 300


@dataclasses.dataclass(frozen=True)
class Config:
    """A whole meta-training run; each field is a section of the TOML file."""

    run: Run = Run()
    family: Family = Family()
    optimizer: Nominal = Nominal()
    estimator: Estimator = Estimator()
    objective: Objective = Objective()
    outer: Outer = Outer()
    valid: Valid = Valid()

    def __post_init__(self) -> None:
        run, family = self.run, self.family
        family.spec()
        for name, value in (
            ("run.outer_steps", run.outer_steps),
            ("run.chunk", run.chunk),
            ("family.batch_size", family.batch_size),
            ("estimator.pairs", self.estimator.pairs),
            ("estimator.sigma", self.estimator.sigma),
            ("valid.tasks", self.valid.tasks),
            ("valid.horizon", self.valid.horizon),
            ("outer.learning_rate", self.outer.learning_rate),
            ("outer.clip", self.outer.clip),
        ):
            if value <= 0:
                raise ConfigError(f"{name} must be positive, got {value}")
        if run.outer_steps % run.chunk:
            raise ConfigError(
                f"run.outer_steps must be a multiple of run.chunk ({run.chunk}), "
                f"got {run.outer_steps}"
            )
        low, high = self.estimator.horizon
        if not 1 <= low <= high:
            raise ConfigError(
                f"estimator.horizon must be [low, high] with 1 <= low <= high, got [{low}, {high}]"
            )

    def build(self) -> tuple[Trainer, Any]:
        """The trainer and the tasks it learns from."""
        # One mesh for all of a run: its programs share their arrays.
        mesh = device_mesh(math.gcd(self.estimator.pairs, self.valid.tasks))
        estimator = FullES(
            self.optimizer,
            mesh,
            self.objective,
            **dataclasses.asdict(self.estimator),
        )
        outer = optax.chain(
            optax.clip_by_global_norm(self.outer.clip),
            optax.adam(optax.cosine_decay_schedule(self.outer.learning_rate, self.run.outer_steps)),
        )
        trainer = Trainer(
            self.optimizer,
            estimator,
            outer,
            self.objective,
            mesh,
            valid_tasks=self.valid.tasks,
            valid_horizon=self.valid.horizon,
            seed=self.run.seed,
        )
        return trainer, self.family.build()

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """JSON types; `from_dict` is its inverse."""
        return _plain(dataclasses.asdict(self))


def load_config(path: str | Path, overrides: typing.Sequence[str] = ()) -> Config:
    """Read a TOML file and apply overrides of the form "section.key=value".

    Raises:
      ConfigError: missing file, bad TOML, unknown or mistyped key, value of the wrong type.
    """
    try:
        table = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    for override in overrides:
        key, equals, text = override.partition("=")
        *sections, name = key.strip().split(".")
        if not equals or not sections:
            raise ConfigError(f"--set expects section.key=value, got {override!r}")
        target = table
        for section in sections:
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                raise ConfigError(f"{section} must be a section, got {target!r}")
        target[name] = _parse(text.strip())
    return from_dict(Config, table)


def from_dict(cls: type, table: dict[str, Any], where: str = "") -> Any:
    """Build a dataclass from a dict, checking every name and type."""
    hints = typing.get_type_hints(cls)
    known = {field.name for field in dataclasses.fields(cls)}
    values = {}
    for key, value in table.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.0)
            kind = "key" if where else "section"
            raise ConfigError(f"unknown {kind} {where}{key}; did you mean {where}{close[0]}?")
        values[key] = _convert(hints[key], value, f"{where}{key}")
    try:
        return cls(**values)
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{where.removesuffix('.')}: {error}") from error


def _convert(hint: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ConfigError(f"{name} must be a section, got {value!r}")
        return from_dict(typing.cast(type, hint), value, f"{name}.")
    if typing.get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise ConfigError(f"{name} must be a section, got {value!r}")
        return value
    if typing.get_origin(hint) is typing.Literal:
        if value not in typing.get_args(hint):
            known = ", ".join(map(repr, typing.get_args(hint)))
            raise ConfigError(f"{name} must be one of {known}, got {value!r}")
        return value
    if isinstance(hint, types.GenericAlias):
        parts = typing.get_args(hint)
        if parts[-1] is Ellipsis and isinstance(value, list):
            parts = parts[:1] * len(value)
        if not isinstance(value, list) or len(value) != len(parts):
            raise ConfigError(f"{name} must be a list of {len(parts)} numbers, got {value!r}")
        return tuple(_convert(part, v, name) for part, v in zip(parts, value, strict=True))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ConfigError(f"{name} must be of type {hint.__name__}, got {value!r}")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text
