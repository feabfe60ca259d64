"""META_VALID_V6: what META_VALID_V1 to V5 have little of: runs through few data again and again.

Few images for several networks, a wide MLP, a batch of a sixth of the data, weights far out of
scale, and an equation. Data of meta-training and META_VALID_V1 alone.
"""

from .._spec import FamilySpec
from ..augmentations import FewExamples
from ..problems import MLP, Conv, Heat, Mixer, NormMLP
from ._base import EvalTask, Suite
from ._numbers import RELU, SILU, TANH, blocks, mlp

_CONV = (("width", 8), ("activation", RELU), ("gain", 1.0))
_NORM = (("depth", 2), ("activation", SILU))


def _few(batches: int) -> tuple[FewExamples]:
    return (FewExamples((batches, batches)),)


META_VALID_V6 = Suite(
    "META_VALID_V6",
    "what chooses beside META_VALID_V1 to V5: few data again and again, width, scale",
    (
        EvalTask("digits-mlp-wide", FamilySpec(MLP(512, 3, (4, 512)), "digits", 64),
                 mlp(512, 2, RELU), 500),
        EvalTask("digits-mlp-batch-256", FamilySpec(MLP(64), "digits", 256),
                 mlp(64, 2, RELU), 500),
        EvalTask("digits-mlp-far", FamilySpec(MLP(64, gains=(0.1, 10.0)), "digits", 64),
                 mlp(64, 2, RELU, gain=5.0), 500),
        EvalTask("digits-mlp-few", FamilySpec(MLP(64), "digits", 32, _few(8)),
                 mlp(64, 2, RELU), 1000),
        EvalTask("digits-norm-mlp-few", FamilySpec(NormMLP(), "digits", 32, _few(8)),
                 _NORM, 1000),
        EvalTask("digits-conv-few", FamilySpec(Conv(), "digits", 32, _few(8)), _CONV, 1000),
        EvalTask("digits-mixer-few", FamilySpec(Mixer(), "digits", 32, _few(8)),
                 blocks(2, 32, SILU), 500),
        EvalTask("photos-conv-few", FamilySpec(Conv(), "photos", 32, _few(16)), _CONV, 1000),
        EvalTask("photos-mlp-some", FamilySpec(MLP(64), "photos", 64, _few(16)),
                 mlp(64, 2, TANH), 1000),
        EvalTask("heat-fast", FamilySpec(Heat(), "points/2", 64),
                 (("diffusivity", 0.05), ("modes", 4), ("width", 24), ("depth", 2), ("gain", 1.0)),
                 1000),
    ),
)  # fmt: skip
