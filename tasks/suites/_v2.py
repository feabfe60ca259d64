"""META_VALID_V2: tasks beside those of META_VALID_V1, whose best step sizes differ by decades.

Data and architectures of meta-training and META_VALID_V1 alone, so META_TEST_V1 stays unseen.
"""

from .._spec import FamilySpec
from ..problems import GRU, MLP, Conv, Factorisation, Linear, NormMLP
from ._base import EvalTask, Suite
from ._numbers import RELU, SILU, TANH, mlp

_DEEP = MLP(max_width=32, max_depth=3, widths=(8, 32), depths=(1, 3), gains=(0.1, 3.0))


META_VALID_V2 = Suite(
    "META_VALID_V2",
    "what chooses beside META_VALID_V1: best step sizes from small to large",
    (
        EvalTask("wine-linear", FamilySpec(Linear(), "wine", 32), (("gain", 0.3),), 300),
        EvalTask("digits-mlp-gain", FamilySpec(_DEEP, "digits"), mlp(32, 3, TANH, 3.0), 1000),
        EvalTask("values-mlp-deep", FamilySpec(_DEEP, "teacher_values", 32),
                 mlp(16, 3, SILU, 1.0), 3000),
        EvalTask("teacher-mlp-batch-4", FamilySpec(_DEEP, "teacher", 4),
                 mlp(24, 3, RELU, 1.0), 1000),
        EvalTask("photos-norm-mlp", FamilySpec(NormMLP(), "photos", 32),
                 (("depth", 2), ("activation", SILU)), 1000),
        EvalTask("photos-conv", FamilySpec(Conv(), "photos", 32),
                 (("width", 8), ("activation", RELU), ("gain", 1.0)), 500),
        EvalTask("stdlib-gru", FamilySpec(GRU(), "stdlib/24", 16),
                 (("width", 32), ("gain", 1.0)), 500),
        EvalTask("factorisation-noisy", FamilySpec(Factorisation(), "points/2", 64),
                 (("rank", 4), ("noise", 0.1), ("gain", 0.3)), 1000),
    ),
)  # fmt: skip
