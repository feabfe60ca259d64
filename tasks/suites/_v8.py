"""META_VALID_V8: noisy tables whose validation split is large.

The few validation examples of wine, which META_VALID_V1 to V4 have, reward confidence without end
once all are classified right. Here every validation split has hundreds of examples. Data of
meta-training and META_VALID_V1 alone.
"""

from .._spec import FamilySpec
from ..augmentations import FewExamples, LabelNoise
from ..problems import MLP, Conv
from ._base import EvalTask, Suite
from ._numbers import RELU, SILU, TANH, mlp


def _few(batches: int, noise: float) -> tuple[LabelNoise, FewExamples]:
    return LabelNoise((noise, noise)), FewExamples((batches, batches))


META_VALID_V8 = Suite(
    "META_VALID_V8",
    "what chooses beside META_VALID_V5 to V7: noisy tables, judged by many examples",
    (
        EvalTask("teacher-mlp-hundreds", FamilySpec(MLP(), "teacher", 32, _few(10, 0.05)),
                 mlp(32, 2, RELU), 300),
        EvalTask("teacher-mlp-long", FamilySpec(MLP(), "teacher", 16, _few(30, 0.05)),
                 mlp(32, 1, TANH), 1000),
        EvalTask("values-mlp-hundreds", FamilySpec(MLP(), "teacher_values", 32, _few(10, 0.3)),
                 mlp(32, 2, RELU), 300),
        EvalTask("digits-mlp-hundred", FamilySpec(MLP(), "digits", 32, _few(4, 0.1)),
                 mlp(32, 2, SILU), 300),
        EvalTask("photos-mlp-hundred", FamilySpec(MLP(), "photos", 32, (FewExamples((4, 4)),)),
                 mlp(32, 2, RELU), 300),
        EvalTask("photos-conv-hundred", FamilySpec(Conv(), "photos", 32, (FewExamples((4, 4)),)),
                 (("width", 8), ("activation", RELU), ("gain", 1.0)), 300),
    ),
)  # fmt: skip
