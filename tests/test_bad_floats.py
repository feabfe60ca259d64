"""No float in a configuration may be NaN, infinite or 1e300: the walk finds new fields itself."""

import dataclasses
import inspect
import math
import types
import typing

import pytest

from learned_opt import OPTIMIZERS
from learned_opt.meta_train import ESTIMATORS, OBJECTIVES, Config, ConfigError, Continuation
from learned_opt.tasks import AUGMENTATIONS, PROBLEMS

BAD = (math.nan, math.inf, -math.inf, 1e300, -1e300)


def floats(cls):
    """Names of fields that are floats, and of those that are several."""
    hints = typing.get_type_hints(cls)  # without the ranges
    kinds = {
        f.name: (hints[f.name], typing.get_args(hints[f.name])) for f in dataclasses.fields(cls)
    }
    one = [name for name, (kind, _) in kinds.items() if kind is float]
    return one, [name for name, (_, parts) in kinds.items() if float in parts]


def sections():
    """Every dataclass in a configuration, where it stands, and the table that gives its fields."""
    for field in dataclasses.fields(Config):
        kind = typing.get_type_hints(Config)[field.name]
        if isinstance(kind, types.UnionType):  # with None
            kind = typing.get_args(kind)[0]
        if dataclasses.is_dataclass(kind) and not inspect.isabstract(kind):
            yield kind, field.name, lambda fields, name=field.name: {name: fields}
    family = typing.get_args(typing.get_type_hints(Config)["families"])[0]
    yield family, "families[1]", lambda fields: {"families": [{}, fields]}
    for cls in OPTIMIZERS:
        name = {"name": cls.name}
        yield cls, "optimizer", lambda fields, name=name: {"optimizer": name | fields}
    for cls in OBJECTIVES:
        name = {"name": cls.name}
        yield cls, "objective", lambda fields, name=name: {"objective": name | fields}
    for cls in ESTIMATORS:
        name = {"name": cls.name}
        yield cls, "estimator", lambda fields, name=name: {"estimator": name | fields}
    yield (
        Continuation,
        "estimator.resume",
        lambda fields: {"estimator": {"name": "pes", "resume": fields}},
    )
    for name, cls in PROBLEMS.items():
        family = {"problem": name}
        yield (
            cls,
            "family.options",
            lambda fields, family=family: {"family": family | {"options": fields}},
        )
    for cls in AUGMENTATIONS:
        name = cls.name
        yield (
            cls,
            f"family.augment.{name}",
            lambda fields, name=name: {"family": {"augment": {name: fields}}},
        )


SECTIONS = [(cls, where, table) for cls, where, table in sections() if any(floats(cls))]


def test_the_walk_finds_the_fields_of_every_section():
    found = {
        f"{where}.{name}" for cls, where, _ in SECTIONS for names in floats(cls) for name in names
    }
    assert found >= {
        "run.tolerance", "family.weight", "families[1].weight", "save.seconds", "objective.valid",
        "teacher.share", "outer.clip", "optimizer.learning_rate", "estimator.sigma",
        "estimator.shortest", "estimator.resume.share", "family.options.gains",
        "family.augment.reparametrise.scales",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("cls", "where", "table"), SECTIONS, ids=[f"{w}-{c.__name__}" for c, w, _ in SECTIONS]
)
def test_floats(cls, where, table):
    one, several = floats(cls)
    given = [(name, value) for name in one for value in BAD]
    given += [(name, pair) for name in several for x in BAD for pair in ([x, 1.0], [1.0, x])]
    for name, value in given:
        with pytest.raises(ConfigError) as error:
            Config.from_dict(table({name: value}))
        said = str(error.value)
        assert said.startswith(f"{where}.{name} must be "), (name, value, said)
        assert "\n" not in said
        assert len(said) < 300
        python = tuple(value) if isinstance(value, list) else value
        with pytest.raises(ValueError, match=f"^{name} must be "):
            cls(**{name: python})
