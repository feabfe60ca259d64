"""META_VALID_V7: what META_VALID_V1 to V6 have little of: norms of channels, embeddings, noise.

Convolutions with group norms, whose scales have the shape (channels, 1, 1, 1); language models
whose embeddings begin as unit normals; an MLP as deep and wide as images take; gradients that are
mostly noise. Data of meta-training and META_VALID_V1 alone.
"""

from .._spec import FamilySpec
from ..augmentations import GradientNoise
from ..problems import GRU, MLP, NormConv, Transformer
from ._base import EvalTask, Suite
from ._numbers import RELU, SILU, TANH, blocks, mlp

META_VALID_V7 = Suite(
    "META_VALID_V7",
    "what chooses beside META_VALID_V1 to V6: norms of channels, embeddings, noise",
    (
        EvalTask("photos-norm-conv", FamilySpec(NormConv(), "photos", 32),
                 (("activation", RELU), ("gain", 1.0)), 1000),
        EvalTask("digits-norm-conv", FamilySpec(NormConv((12, 24, 24)), "digits", 64),
                 (("activation", SILU), ("gain", 1.0)), 500),
        EvalTask("stdlib-24-gru", FamilySpec(GRU(), "stdlib/24", 16),
                 (("width", 32), ("gain", 1.0)), 1000),
        EvalTask("stdlib-16-transformer", FamilySpec(Transformer(), "stdlib/16", 16),
                 blocks(2, 32, RELU), 1000),
        EvalTask("photos-mlp-deep", FamilySpec(MLP(96, 3, (24, 96), (1, 3)), "photos", 64),
                 mlp(96, 3, RELU), 1000),
        EvalTask("values-mlp-noise", FamilySpec(MLP(8, 1, (4, 8), (1, 1)), "teacher_values", 8,
                 (GradientNoise((1.0, 1.0)),)), mlp(8, 1, TANH), 1000),
    ),
)  # fmt: skip
