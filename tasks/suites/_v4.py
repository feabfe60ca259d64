"""META_VALID_V4: what META_VALID_V1 to V3 have little of: gradients without noise.

Tables that are one batch, large batches, and fits without noise. Data of meta-training and
META_VALID_V1 alone, so META_TEST_V1 stays unseen.
"""

from .._spec import FamilySpec
from ..augmentations import FewExamples, LabelNoise
from ..problems import MLP, Conv, Waves
from ._base import EvalTask, Suite
from ._numbers import RELU, SILU, TANH, mlp

_TABLE = FewExamples((1, 1))
"""One batch is the training set."""


META_VALID_V4 = Suite(
    "META_VALID_V4",
    "what chooses beside META_VALID_V1 to V3: gradients without noise",
    (
        EvalTask("wine-mlp-table", FamilySpec(MLP(), "wine", 64, (_TABLE,)),
                 mlp(32, 2, RELU), 300),
        EvalTask("teacher-mlp-table", FamilySpec(MLP(), "teacher", 256,
                 (LabelNoise((0.1, 0.1)), _TABLE)), mlp(32, 2, TANH), 500),
        EvalTask("values-mlp-table", FamilySpec(MLP(), "teacher_values", 256,
                 (LabelNoise((0.3, 0.3)), _TABLE)), mlp(32, 2, TANH), 300),
        EvalTask("photos-mlp-table", FamilySpec(MLP(), "photos", 256, (_TABLE,)),
                 mlp(32, 2, SILU), 500),
        EvalTask("digits-mlp-batch-512", FamilySpec(MLP(), "digits", 512),
                 mlp(64, 2, RELU), 500),
        EvalTask("digits-conv-batch-256", FamilySpec(Conv((12, 24, 24)), "digits", 256),
                 (("width", 8), ("activation", SILU), ("gain", 1.0)), 200),
        EvalTask("waves-mlp-deep", FamilySpec(Waves(), "points/2", 256),
                 (("frequency", 1.0), *mlp(24, 3, TANH)), 2000),
        EvalTask("waves-mlp-gain", FamilySpec(Waves(), "points/2", 128),
                 (("frequency", 0.6), *mlp(32, 2, RELU, gain=2.0)), 1000),
    ),
)  # fmt: skip
