"""META_TEST_V2: for what was chosen with META_TEST_V1 in view.

META_TEST_V1 was read three times. Of this suite no data were in the CPU tier of any before;
denoising, contrastive learning, the linear recurrence and Allen and Cahn's equation (kin to heat,
which META_VALID_V5 and `small` have) are in no other suite. ResNet, ViT and VAE are those of
META_TEST_V1, the convolution, the MLPs and the transformer like those that are learned from.
"""

from .._spec import FamilySpec
from ..problems import (
    LRU,
    MLP,
    VAE,
    AllenCahn,
    Contrastive,
    Conv,
    Denoiser,
    ResNet,
    Transformer,
    ViT,
)
from ._base import EvalTask, Suite
from ._numbers import RELU, SILU, TANH, blocks, mlp

_IMAGES = "tfds:cifar10/8"


META_TEST_V2 = Suite(
    "META_TEST_V2",
    "read once, at the end, for what META_TEST_V1 had a part in choosing",
    (
        EvalTask("cifar-8-resnet", FamilySpec(ResNet((8, 16), 1, (1, 1)), _IMAGES, 32),
                 (("activation", RELU), ("gain", 1.0)), 1000),
        EvalTask("cifar-8-vit", FamilySpec(ViT(), _IMAGES, 32), blocks(2, 32, SILU), 1000),
        EvalTask("cifar-8-conv", FamilySpec(Conv(), _IMAGES, 32),
                 (("width", 8), ("activation", RELU), ("gain", 1.0)), 1000),
        EvalTask("cifar-8-mlp", FamilySpec(MLP(64, 3, (24, 64), (1, 3)), _IMAGES, 64),
                 mlp(64, 3, RELU), 1000),
        EvalTask("cifar-8-vae", FamilySpec(VAE(), _IMAGES, 64),
                 (("hidden", 32), ("code", 8), ("activation", SILU), ("gain", 1.0)), 1000),
        EvalTask("cifar-8-denoiser", FamilySpec(Denoiser(), _IMAGES, 64),
                 mlp(64, 2, SILU), 1000),
        EvalTask("cifar-8-contrastive", FamilySpec(Contrastive(), _IMAGES, 64),
                 mlp(32, 2, RELU), 1000),
        EvalTask("shakespeare-lru", FamilySpec(LRU(), "tfds:tiny_shakespeare/24", 16),
                 (("width", 32), ("gain", 1.0)), 1000),
        EvalTask("shakespeare-16-transformer",
                 FamilySpec(Transformer(), "tfds:tiny_shakespeare/16", 16),
                 blocks(2, 32, SILU), 1000),
        EvalTask("allen-cahn", FamilySpec(AllenCahn(), "points/2", 128),
                 (("diffusivity", 0.01), ("width", 24), ("gain", 1.0)), 2000),
        EvalTask("iris-mlp", FamilySpec(MLP(), "iris", 32), mlp(32, 2, TANH), 300),
    ),
)  # fmt: skip
