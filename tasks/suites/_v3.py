"""META_VALID_V3: what META_VALID_V1 and V2 have little of: fits without noise, and small data.

Data of meta-training and META_VALID_V1 alone, so META_TEST_V1 stays unseen.
"""

from .._spec import FamilySpec
from ..augmentations import FewExamples, LabelNoise
from ..problems import MLP, Factorisation, Quadratic, Waves
from ._base import EvalTask, Suite
from ._numbers import RELU, SILU, TANH, mlp


def _waves(frequency: float, width: int, depth: int, activation: int):
    return (("frequency", frequency), *mlp(width, depth, activation))


META_VALID_V3 = Suite(
    "META_VALID_V3",
    "what chooses beside META_VALID_V1 and V2: fits without noise, and small data",
    (
        EvalTask("waves-mlp", FamilySpec(Waves(), "points/2", 128), _waves(0.6, 24, 2, TANH), 2000),
        EvalTask("waves-mlp-short", FamilySpec(Waves(), "points/2", 64),
                 _waves(1.0, 32, 3, SILU), 500),
        EvalTask("waves-mlp-small", FamilySpec(Waves(max_width=8, widths=(4, 8)), "points/2", 16),
                 _waves(0.2, 6, 1, TANH), 1000),
        EvalTask("factorisation-clean", FamilySpec(Factorisation(), "points/2", 128),
                 (("rank", 4), ("noise", 1e-3), ("gain", 0.1)), 1000),
        EvalTask("quadratic-clean", FamilySpec(Quadratic(), "points/20", 16),
                 (("noise", 1e-3),), 500),
        EvalTask("wine-mlp-few", FamilySpec(MLP(), "wine", 16, (FewExamples((4, 4)),)),
                 mlp(32, 2, RELU), 300),
        EvalTask("photos-mlp-few", FamilySpec(MLP(), "photos", 32, (FewExamples((16, 16)),)),
                 mlp(32, 2, SILU), 500),
        EvalTask("teacher-mlp-wrong", FamilySpec(MLP(), "teacher", 32,
                 (FewExamples((16, 16)), LabelNoise((0.2, 0.2)))), mlp(32, 2, RELU), 300),
    ),
)  # fmt: skip
