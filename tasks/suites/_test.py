"""Test suites: what finished optimizers are judged by, and nothing is chosen by.

META_TEST_V1 has letters, prose, breast cancer and diabetes (on GPU: CIFAR-10, Shakespeare, lm1b),
which neither training nor validation touches; no more do they touch residual networks, vision
transformers, variational autoencoders, LSTMs, Burgers' equation, a control problem and the training
of an optimizer. Of META_TEST_V2 no data were in the CPU tier of any suite before; denoising,
contrastive learning, the linear recurrence and Allen and Cahn's equation are in no other.
"""

from .._spec import FamilySpec
from ..problems import (
    LRU,
    LSTM,
    MLP,
    PINN,
    VAE,
    AllenCahn,
    Contrastive,
    Control,
    Conv,
    Denoiser,
    OptimizerTraining,
    ResNet,
    Transformer,
    ViT,
)
from ._base import EvalTask, Suite
from ._numbers import RELU, SILU, TANH, autoencoder, blocks, conv, mlp, norm_conv, recurrent

QUICKSTART = Suite(
    "quickstart",
    "Shows within two minutes on a laptop what an evaluation is; its five small networks are like "
    "those that the artifact `quickstart` learns from. Everybody may look at it.",
    (
        EvalTask("digits-mlp-16", FamilySpec(MLP(), "digits"), mlp(16, 1, RELU), 300),
        EvalTask("digits-mlp-32", FamilySpec(MLP(), "digits"), mlp(32, 1, TANH), 300),
        EvalTask("digits-mlp-32x2", FamilySpec(MLP(), "digits"), mlp(32, 2, SILU), 300),
        EvalTask("digits-conv", FamilySpec(Conv(), "digits"), conv(SILU), 300),
        EvalTask("cancer-mlp", FamilySpec(MLP(), "breast_cancer"), mlp(32, 2, RELU), 300),
    ),
)

META_TEST_V1 = Suite(
    "META_TEST_V1",
    "Judges what was chosen without it. It was to be read once and was read eight times, and "
    "findings of seven evaluations had a part in `small`: META_TEST_V2 judges what they chose.",
    (
        EvalTask("letters-resnet", FamilySpec(ResNet((8, 16), 1, (1, 1)), "letters/8", 32),
                 norm_conv(RELU), 1000),
        EvalTask("letters-vit", FamilySpec(ViT(), "letters/8", 32), blocks(2, 32, SILU), 1000),
        EvalTask("letters-vae", FamilySpec(VAE(), "letters/8", 64), autoencoder(SILU), 1000),
        EvalTask("prose-lstm", FamilySpec(LSTM(), "prose/24", 16), recurrent(), 1000),
        EvalTask("burgers-pinn", FamilySpec(PINN(), "points/2", 128),
                 (("viscosity", 0.03), ("width", 24), ("gain", 1.0)), 2000),
        EvalTask("pendulum", FamilySpec(Control(), "points/2", 8),
                 (("length", 1.0), ("mass", 1.0), ("width", 8), ("gain", 1.0)), 1000),
        EvalTask("learned-optimizer", FamilySpec(OptimizerTraining(), "points/8", 32),
                 (("condition", 10.0), ("rate", 0.3), ("width", 8), ("gain", 1.0)), 1000),
        EvalTask("letters-mlp", FamilySpec(MLP(96, 3, (24, 96), (1, 3)), "letters", 64),
                 mlp(96, 3, RELU), 1000),
        EvalTask("letters-conv", FamilySpec(Conv(), "letters/8", 32), conv(SILU), 1000),
        EvalTask("prose-transformer", FamilySpec(Transformer(), "prose", 16),
                 blocks(2, 32, RELU), 1000),
        EvalTask("breast-cancer-mlp", FamilySpec(MLP(), "breast_cancer", 32),
                 mlp(32, 2, RELU), 300),
        EvalTask("diabetes-mlp", FamilySpec(MLP(), "diabetes", 32), mlp(32, 2, TANH), 300),
        EvalTask("cifar10-resnet", FamilySpec(ResNet((64, 128, 256, 512), 2, (2, 2)),
                 "tfds:cifar10/32c", 128), norm_conv(RELU), 10_000, "gpu"),
        EvalTask("cifar10-resnet-1m", FamilySpec(ResNet((32, 64, 128), 3, (3, 3)),
                 "tfds:cifar10/32c", 128), norm_conv(RELU), 10_000, "gpu"),
        EvalTask("cifar10-vit", FamilySpec(
                 ViT(384, 6, 1536, (6, 6), (1536, 1536), patch=4, heads=6),
                 "tfds:cifar10/32c", 128), blocks(6, 1536, SILU), 10_000, "gpu"),
        EvalTask("shakespeare-transformer", FamilySpec(
                 Transformer(256, 4, 1024, (4, 4), (1024, 1024), heads=8),
                 "tfds:tiny_shakespeare/128", 64), blocks(4, 1024, SILU), 5_000, "gpu"),
        EvalTask("lm1b-transformer", FamilySpec(
                 Transformer(768, 12, 3072, (12, 12), (3072, 3072), heads=12),
                 "tfds:lm1b/256", 64), blocks(12, 3072, SILU), 20_000, "gpu"),
    ),
)  # fmt: skip

_IMAGES = "tfds:cifar10/8"

META_TEST_V2 = Suite(
    "META_TEST_V2",
    "Judges what META_TEST_V1 had a part in choosing. It was read twice, once for each `small` of "
    "the zoo; nothing may be chosen by it.",
    (
        EvalTask("cifar-8-resnet", FamilySpec(ResNet((8, 16), 1, (1, 1)), _IMAGES, 32),
                 norm_conv(RELU), 1000),
        EvalTask("cifar-8-vit", FamilySpec(ViT(), _IMAGES, 32), blocks(2, 32, SILU), 1000),
        EvalTask("cifar-8-conv", FamilySpec(Conv(), _IMAGES, 32), conv(RELU), 1000),
        EvalTask("cifar-8-mlp", FamilySpec(MLP(64, 3, (24, 64), (1, 3)), _IMAGES, 64),
                 mlp(64, 3, RELU), 1000),
        EvalTask("cifar-8-vae", FamilySpec(VAE(), _IMAGES, 64), autoencoder(SILU), 1000),
        EvalTask("cifar-8-denoiser", FamilySpec(Denoiser(), _IMAGES, 64), mlp(64, 2, SILU), 1000),
        EvalTask("cifar-8-contrastive", FamilySpec(Contrastive(), _IMAGES, 64),
                 mlp(32, 2, RELU), 1000),
        EvalTask("shakespeare-lru", FamilySpec(LRU(), "tfds:tiny_shakespeare/24", 16),
                 recurrent(), 1000),
        EvalTask("shakespeare-16-transformer",
                 FamilySpec(Transformer(), "tfds:tiny_shakespeare/16", 16),
                 blocks(2, 32, SILU), 1000),
        EvalTask("allen-cahn", FamilySpec(AllenCahn(), "points/2", 128),
                 (("diffusivity", 0.01), ("width", 24), ("gain", 1.0)), 2000),
        EvalTask("iris-mlp", FamilySpec(MLP(), "iris", 32), mlp(32, 2, TANH), 300),
    ),
)  # fmt: skip

_LONG, _WIDE = MLP(32, 1, (32, 32), (1, 1)), MLP(1024, 1, (1024, 1024), (1, 1))

FAR_V1 = Suite(
    "FAR_V1",
    "Ten times the longest run that `small` learned from and sixteen times its widest network. "
    "Only figures of shipped artifacts come from it: nothing may be chosen by it.",
    (
        EvalTask("digits-mlp-15000", FamilySpec(_LONG, "digits"), mlp(32, 1, RELU), 15000),
        EvalTask("letters-8-mlp-15000", FamilySpec(_LONG, "letters/8"), mlp(32, 1, RELU), 15000),
        EvalTask("digits-mlp-1024", FamilySpec(_WIDE, "digits"), mlp(1024, 1, RELU), 1000),
        EvalTask("letters-8-mlp-1024", FamilySpec(_WIDE, "letters/8"), mlp(1024, 1, RELU), 1000),
    ),
)
