"""META_TEST_V3: what candidates for release are judged by, of the kind that people train.

No shipped artifact, no training suite and no validation suite has seen any of its data: a Bible, a
dictionary, photographs, textures, two surveys, sets. No earlier suite has them either, but for
points, which are drawn afresh. Every task of labels or values has 600 validation examples or more,
texts have 2,000 predicted bytes or more, points 1,024.

Nothing was trained for it, and its tasks were tried with hand-written baselines alone.
"""

from .._spec import FamilySpec
from ..problems import (
    GRU,
    MLP,
    Autoencoder,
    Contrastive,
    Conv,
    DeepSets,
    Denoiser,
    PolicyGradient,
    ResNet,
    SkipInit,
    TiedTransformer,
    Transformer,
    Vibration,
    ViT,
)
from ._base import EvalTask, Suite
from ._numbers import RELU, SILU, TANH, blocks, conv, mlp, norm_conv, recurrent

META_TEST_V3 = Suite(
    "META_TEST_V3",
    "Judges candidates for release, once each: the file of its archive counts who was read. Frozen "
    "before anything was trained for it; nothing may be chosen by it.",
    (
        EvalTask("kjv-tied-transformer", FamilySpec(TiedTransformer(), "kjv/32", 8),
                 blocks(2, 32, SILU), 2000),
        EvalTask("cmudict-transformer-4", FamilySpec(
                 Transformer(max_depth=4, depths=(4, 4)), "cmudict/16", 8),
                 blocks(4, 32, RELU), 1500),
        EvalTask("kjv-gru", FamilySpec(GRU(), "kjv/24", 16), recurrent(), 1000),
        EvalTask("textures-vit", FamilySpec(ViT(patch=4), "textures/16", 16),
                 blocks(2, 32, SILU), 1500),
        EvalTask("textures-resnet", FamilySpec(ResNet((8, 16), 1, (1, 1)), "textures/8", 16),
                 norm_conv(RELU), 1000),
        EvalTask("pictures-skip-init", FamilySpec(SkipInit((8, 16), 1, (1, 1)), "pictures/8", 16),
                 norm_conv(RELU), 1000),
        EvalTask("pictures-conv", FamilySpec(Conv(), "pictures/12", 16), conv(RELU), 500),
        EvalTask("pictures-mlp", FamilySpec(MLP(64), "pictures/8", 64), mlp(64, 2, RELU), 4000),
        EvalTask("pictures-autoencoder", FamilySpec(
                 Autoencoder(max_code=4, codes=(2, 4)), "pictures/8", 64),
                 (("hidden", 32), ("code", 4), *norm_conv(SILU)), 2000),
        EvalTask("pictures-denoiser", FamilySpec(Denoiser(), "pictures/8", 64),
                 mlp(64, 2, SILU), 1000),
        EvalTask("textures-contrastive", FamilySpec(Contrastive(), "textures/8", 64),
                 mlp(32, 2, RELU), 1000),
        EvalTask("randhie-mlp", FamilySpec(MLP(), "randhie", 64), mlp(32, 2, SILU), 1000),
        EvalTask("fair-mlp", FamilySpec(MLP(), "fair", 32), mlp(32, 2, TANH), 300),
        EvalTask("sets-deep-sets", FamilySpec(DeepSets(), "sets", 32),
                 (("width", 32), *norm_conv(SILU)), 1000),
        EvalTask("vibration", FamilySpec(Vibration(), "many_points/2", 128),
                 (("speed", 1.0), ("modes", 2), ("width", 24), ("gain", 1.0)), 2000),
        EvalTask("cart-pole", FamilySpec(PolicyGradient(), "many_points/4", 16),
                 (("length", 0.5), ("mass", 0.1), ("width", 16), ("gain", 1.0)), 1000),
    ),
)  # fmt: skip
