"""Variants of the test tasks: a small change that should make no great difference."""

import dataclasses

from ..augmentations import LossScale
from ._base import EvalTask, Suite
from ._numbers import TANH
from ._test import META_TEST_V1


def _variant(name: str, **changes: object) -> EvalTask:
    """The test task `name` with other numbers, or with its loss scaled."""
    base = next(task for task in META_TEST_V1.tier("cpu") if task.name == name)
    spec, scale = base.spec, changes.pop("loss_scale", None)
    if isinstance(scale, float):
        spec = dataclasses.replace(spec, augmentations=(LossScale((scale, scale)),))
    ((what, _),) = changes.items() or (("loss-scale", scale),)
    numbers = tuple((dict(base.numbers) | changes).items())
    return EvalTask(f"{name}~{what}", spec, numbers, base.horizon, variant_of=name)  # type: ignore[arg-type]


VARIANTS_V1 = Suite(
    "VARIANTS_V1",
    "Each task of META_TEST_V1 again with one thing changed; where an optimizer breaks here, "
    "`learned-opt eval` counts the task as missed. Nothing may be chosen by it.",
    (
        _variant("letters-resnet", gain=0.1),
        _variant("letters-vit", loss_scale=1e3),
        _variant("letters-vae", activation=TANH),
        _variant("prose-lstm", width=16),
        _variant("burgers-pinn", gain=2.0),
        _variant("pendulum", loss_scale=1e-3),
        _variant("learned-optimizer", width=4),
        _variant("letters-mlp", gain=3.0),
        _variant("letters-conv", activation=TANH),
        _variant("prose-transformer", hidden=16),
        _variant("breast-cancer-mlp", width=8),
        _variant("diabetes-mlp", loss_scale=1e3),
    ),
)
