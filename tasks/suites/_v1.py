"""META_TRAIN_V1, META_VALID_V1, META_TEST_V1, VARIANTS_V1.

Who sees what. Meta-training: digits, MNIST, wine, teachers, Python sources; linear models, MLPs,
plain convolutions, autoencoders, GRUs, transformers, factorisation, quadratics. Validation adds
photographs and MLP-Mixers. Test has letters, prose, breast cancer and diabetes (GPU: CIFAR-10,
Shakespeare, lm1b), which the others never touch; and residual networks, vision transformers,
variational autoencoders, LSTMs, a physics-informed network, a control problem and a learned
optimizer, which the others of this version never touch either (META_VALID_V5 has an equation).
"""

import dataclasses

from .._spec import FamilySpec
from ..augmentations import (
    BFloat16,
    DelayedGradients,
    FewDirections,
    FewExamples,
    GradientNoise,
    LabelNoise,
    LossScale,
    Reparametrise,
    SmallBatch,
)
from ..problems import (
    GRU,
    LSTM,
    MLP,
    PINN,
    VAE,
    Autoencoder,
    Control,
    Conv,
    Factorisation,
    Linear,
    Mixer,
    OptimizerTraining,
    Quadratic,
    ResNet,
    Transformer,
    ViT,
)
from ._base import EvalTask, Suite, TrainFamily
from ._numbers import RELU, SILU, TANH, blocks, mlp

_WIDE = MLP(max_width=64, max_depth=3, widths=(4, 64), depths=(1, 3), gains=(0.3, 3.0))
_IMAGES = "digits+tfds:mnist/8"

META_TRAIN_V1 = Suite(
    "META_TRAIN_V1",
    "what pretrained optimizers learn from",
    (
        TrainFamily(
            "mlp-images",
            FamilySpec(
                _WIDE,
                _IMAGES,
                128,
                (SmallBatch(3), LabelNoise(), FewExamples((8, 64)), Reparametrise(), LossScale()),
            ),
            3.0,
        ),
        TrainFamily(
            "mlp-teacher",
            FamilySpec(_WIDE, "teacher", 512, (SmallBatch(5), Reparametrise(), GradientNoise())),
            1.0,
        ),
        TrainFamily(
            "mlp-values",
            FamilySpec(_WIDE, "teacher_values", 64, (FewExamples((4, 64)), Reparametrise())),
            1.0,
        ),
        TrainFamily("linear-wine", FamilySpec(Linear(), "wine", 32, (LossScale(),)), 0.5),
        TrainFamily(
            "conv-images",
            FamilySpec(Conv(), _IMAGES, 64, (SmallBatch(2), Reparametrise(per="tensor"))),
            2.0,
        ),
        TrainFamily(
            "autoencoder-images",
            FamilySpec(Autoencoder(), _IMAGES, 64, (Reparametrise(), BFloat16())),
            1.0,
        ),
        TrainFamily("gru-stdlib", FamilySpec(GRU(), "stdlib/24", 16, (LossScale(),)), 1.0),
        TrainFamily(
            "transformer-stdlib",
            FamilySpec(Transformer(), "stdlib/24", 16, (DelayedGradients(),)),
            2.0,
        ),
        TrainFamily(
            "factorisation",
            FamilySpec(Factorisation(), "points/2", 128, (Reparametrise(per="element"),)),
            0.5,
        ),
        TrainFamily(
            "quadratic", FamilySpec(Quadratic(), "points/20", 16, (FewDirections((4, 64)),)), 0.5
        ),
    ),
)


META_VALID_V1 = Suite(
    "META_VALID_V1",
    "what chooses among checkpoints and settings of meta-training",
    (
        EvalTask("mnist14-mlp", FamilySpec(MLP(64, 3, (4, 64), (1, 3)), "tfds:mnist/14"),
                 mlp(48, 3, RELU), 1000),
        EvalTask("digits-conv-24", FamilySpec(Conv((12, 24, 24)), "digits"),
                 (("width", 8), ("activation", SILU), ("gain", 1.0)), 500),
        EvalTask("photos-mixer", FamilySpec(Mixer(), "photos", 32), blocks(2, 32, SILU), 500),
        EvalTask("photos-autoencoder", FamilySpec(Autoencoder(), "photos"),
                 (("hidden", 32), ("code", 8), ("activation", TANH), ("gain", 1.0)), 1000),
        EvalTask("wine-mlp", FamilySpec(MLP(), "wine", 16), mlp(32, 2, TANH), 300),
        EvalTask("values-mlp", FamilySpec(MLP(), "teacher_values"), mlp(32, 2, SILU), 1000),
        EvalTask("stdlib-transformer", FamilySpec(Transformer(), "stdlib", 32),
                 blocks(2, 32, SILU), 1000),
        EvalTask("quadratic-noisy", FamilySpec(Quadratic(), "points/20", 16),
                 (("noise", 0.1),), 500),
    ),
)  # fmt: skip

_LETTERS_MLP = FamilySpec(MLP(96, 3, (24, 96), (1, 3)), "letters", 64)
_RESNET = FamilySpec(ResNet((8, 16), 1, (1, 1)), "letters/8", 32)
_VIT = FamilySpec(ViT(), "letters/8", 32)
_VAE = FamilySpec(VAE(), "letters/8", 64)
_CONV = FamilySpec(Conv(), "letters/8", 32)
_LSTM = FamilySpec(LSTM(), "prose/24", 16)
_PROSE = FamilySpec(Transformer(), "prose", 16)
_CANCER = FamilySpec(MLP(), "breast_cancer", 32)
_DIABETES = FamilySpec(MLP(), "diabetes", 32)
_PINN = FamilySpec(PINN(), "points/2", 128)
_CONTROL = FamilySpec(Control(), "points/2", 8)
_META = FamilySpec(OptimizerTraining(), "points/8", 32)

_CPU_TEST = (
    EvalTask("letters-resnet", _RESNET, (("activation", RELU), ("gain", 1.0)), 1000),
    EvalTask("letters-vit", _VIT, blocks(2, 32, SILU), 1000),
    EvalTask("letters-vae", _VAE,
             (("hidden", 32), ("code", 8), ("activation", SILU), ("gain", 1.0)), 1000),
    EvalTask("prose-lstm", _LSTM, (("width", 32), ("gain", 1.0)), 1000),
    EvalTask("burgers-pinn", _PINN, (("viscosity", 0.03), ("width", 24), ("gain", 1.0)), 2000),
    EvalTask("pendulum", _CONTROL,
             (("length", 1.0), ("mass", 1.0), ("width", 8), ("gain", 1.0)), 1000),
    EvalTask("learned-optimizer", _META,
             (("condition", 10.0), ("rate", 0.3), ("width", 8), ("gain", 1.0)), 1000),
    EvalTask("letters-mlp", _LETTERS_MLP, mlp(96, 3, RELU), 1000),
    EvalTask("letters-conv", _CONV, (("width", 8), ("activation", SILU), ("gain", 1.0)), 1000),
    EvalTask("prose-transformer", _PROSE, blocks(2, 32, RELU), 1000),
    EvalTask("breast-cancer-mlp", _CANCER, mlp(32, 2, RELU), 300),
    EvalTask("diabetes-mlp", _DIABETES, mlp(32, 2, TANH), 300),
)  # fmt: skip

_GPU_TEST = (
    EvalTask("cifar10-resnet", FamilySpec(ResNet((64, 128, 256, 512), 2, (2, 2)),
             "tfds:cifar10/32c", 128), (("activation", RELU), ("gain", 1.0)), 10_000, "gpu"),
    EvalTask("cifar10-resnet-1m", FamilySpec(ResNet((32, 64, 128), 3, (3, 3)),
             "tfds:cifar10/32c", 128), (("activation", RELU), ("gain", 1.0)), 10_000, "gpu"),
    EvalTask("cifar10-vit", FamilySpec(ViT(384, 6, 1536, (6, 6), (1536, 1536), patch=4, heads=6),
             "tfds:cifar10/32c", 128), blocks(6, 1536, SILU), 10_000, "gpu"),
    EvalTask("shakespeare-transformer", FamilySpec(
             Transformer(256, 4, 1024, (4, 4), (1024, 1024), heads=8),
             "tfds:tiny_shakespeare/128", 64), blocks(4, 1024, SILU), 5_000, "gpu"),
    EvalTask("lm1b-transformer", FamilySpec(
             Transformer(768, 12, 3072, (12, 12), (3072, 3072), heads=12),
             "tfds:lm1b/256", 64), blocks(12, 3072, SILU), 20_000, "gpu"),
)  # fmt: skip

META_TEST_V1 = Suite(
    "META_TEST_V1", "read once, at the end: nothing of it is seen before", _CPU_TEST + _GPU_TEST
)


def _variant(name: str, **changes: object) -> EvalTask:
    """The test task `name` with other numbers, or with its loss scaled."""
    base = next(task for task in _CPU_TEST if task.name == name)
    spec, scale = base.spec, changes.pop("loss_scale", None)
    if isinstance(scale, float):
        spec = dataclasses.replace(spec, augmentations=(LossScale((scale, scale)),))
    ((what, _),) = changes.items() or (("loss-scale", scale),)
    numbers = tuple((dict(base.numbers) | changes).items())
    return EvalTask(f"{name}~{what}", spec, numbers, base.horizon, variant_of=name)  # type: ignore[arg-type]


VARIANTS_V1 = Suite(
    "VARIANTS_V1",
    "each test task again, with one thing changed: an optimizer that breaks here failed there",
    (
        _variant("letters-resnet", gain=0.1),
        _variant("letters-vit", loss_scale=1e3),
        _variant("letters-vae", activation=TANH),
        _variant("prose-lstm", width=16),
        _variant("burgers-pinn", gain=2.0),
        _variant("pendulum", loss_scale=1e-3),
        _variant("learned-optimizer", width=4),
        _variant("letters-mlp", gain=3.0),
        _variant("letters-conv", activation=TANH),
        _variant("prose-transformer", hidden=16),
        _variant("breast-cancer-mlp", width=8),
        _variant("diabetes-mlp", loss_scale=1e3),
    ),
)
