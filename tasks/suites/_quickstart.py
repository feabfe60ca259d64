"""Five tasks that a laptop evaluates in two minutes."""

from .._spec import FamilySpec
from ..problems import MLP, Conv
from ._base import EvalTask, Suite

_DIGITS = FamilySpec(MLP(), "digits")
_CANCER = FamilySpec(MLP(), "breast_cancer")
_RELU, _TANH, _SILU = 0, 1, 2


def _mlp(name: str, spec: FamilySpec, width: int, depth: int, activation: int) -> EvalTask:
    numbers = (("width", width), ("depth", depth), ("activation", activation), ("gain", 1.0))
    return EvalTask(name, spec, numbers, 300)


QUICKSTART = Suite(
    "quickstart",
    "what make quickstart judges by: small networks, 300 steps",
    (
        _mlp("digits-mlp-16", _DIGITS, 16, 1, _RELU),
        _mlp("digits-mlp-32", _DIGITS, 32, 1, _TANH),
        _mlp("digits-mlp-32x2", _DIGITS, 32, 2, _SILU),
        EvalTask(
            "digits-conv",
            FamilySpec(Conv(), "digits"),
            (("width", 8), ("activation", _SILU), ("gain", 1.0)),
            300,
        ),
        _mlp("cancer-mlp", _CANCER, 32, 2, _RELU),
    ),
)
