"""Validation suites: what meta-training and settings may be chosen by.

Each holds what those before it have little of. Their data are those of meta-training, photographs,
MNIST at 14 x 14 and the tables of Friedman's function, none of which a test suite has.
"""

from .._spec import FamilySpec
from ..augmentations import FewExamples, GradientNoise, LabelNoise, Reparametrise
from ..problems import (
    GRU,
    MLP,
    Autoencoder,
    Conv,
    Factorisation,
    Heat,
    Linear,
    Mixer,
    NormConv,
    NormMLP,
    Quadratic,
    Transformer,
    Waves,
)
from ._base import EvalTask, Suite
from ._numbers import (
    RELU,
    SILU,
    TANH,
    Numbers,
    autoencoder,
    blocks,
    conv,
    mlp,
    norm_conv,
    recurrent,
)

_DEEP = MLP(max_width=32, max_depth=3, widths=(8, 32), depths=(1, 3), gains=(0.1, 3.0))


def _few(batches: int) -> tuple[FewExamples]:
    """So many batches are the training set; of one, gradients are without noise."""
    return (FewExamples((batches, batches)),)


def _scaled(scale: float) -> tuple[Reparametrise]:
    """The same function of weights divided by `scale`: a step moves it that many times as far."""
    return (Reparametrise((scale, scale)),)


def _heat(diffusivity: float, modes: int, width: int, depth: int) -> Numbers:
    names = ("diffusivity", "modes", "width", "depth", "gain")
    return tuple(zip(names, (diffusivity, modes, width, depth, 1.0), strict=True))


META_VALID_V1 = Suite(
    "META_VALID_V1",
    "Chooses settings, and the ones that `learned-opt eval calibrate` ships for all tasks. Whoever "
    "makes an optimizer may look at it: it is ordinary tasks of meta-training, and photographs.",
    (
        EvalTask("mnist14-mlp", FamilySpec(MLP(64, 3, (4, 64), (1, 3)), "tfds:mnist/14"),
                 mlp(48, 3, RELU), 1000),
        EvalTask("digits-conv-24", FamilySpec(Conv((12, 24, 24)), "digits"), conv(SILU), 500),
        EvalTask("photos-mixer", FamilySpec(Mixer(), "photos", 32), blocks(2, 32, SILU), 500),
        EvalTask("photos-autoencoder", FamilySpec(Autoencoder(), "photos"),
                 autoencoder(TANH), 1000),
        EvalTask("wine-mlp", FamilySpec(MLP(), "wine", 16), mlp(32, 2, TANH), 300),
        EvalTask("values-mlp", FamilySpec(MLP(), "teacher_values"), mlp(32, 2, SILU), 1000),
        EvalTask("stdlib-transformer", FamilySpec(Transformer(), "stdlib", 32),
                 blocks(2, 32, SILU), 1000),
        EvalTask("quadratic-noisy", FamilySpec(Quadratic(), "points/20", 16),
                 (("noise", 0.1),), 500),
    ),
)  # fmt: skip


META_VALID_V2 = Suite(
    "META_VALID_V2",
    "Chooses among checkpoints of meta-training: best step sizes lie decades apart. Whoever makes "
    "an optimizer may look at it.",
    (
        EvalTask("wine-linear", FamilySpec(Linear(), "wine", 32), (("gain", 0.3),), 300),
        EvalTask("digits-mlp-gain", FamilySpec(_DEEP, "digits"), mlp(32, 3, TANH, 3.0), 1000),
        EvalTask("values-mlp-deep", FamilySpec(_DEEP, "teacher_values", 32),
                 mlp(16, 3, SILU, 1.0), 3000),
        EvalTask("teacher-mlp-batch-4", FamilySpec(_DEEP, "teacher", 4),
                 mlp(24, 3, RELU, 1.0), 1000),
        EvalTask("photos-norm-mlp", FamilySpec(NormMLP(), "photos", 32),
                 (("depth", 2), ("activation", SILU)), 1000),
        EvalTask("photos-conv", FamilySpec(Conv(), "photos", 32), conv(RELU), 500),
        EvalTask("stdlib-gru", FamilySpec(GRU(), "stdlib/24", 16), recurrent(), 500),
        EvalTask("factorisation-noisy", FamilySpec(Factorisation(), "points/2", 64),
                 (("rank", 4), ("noise", 0.1), ("gain", 0.3)), 1000),
    ),
)  # fmt: skip


META_VALID_V3 = Suite(
    "META_VALID_V3",
    "Chooses among checkpoints of meta-training: fits without noise, and small data. Whoever makes "
    "an optimizer may look at it.",
    (
        EvalTask("waves-mlp", FamilySpec(Waves(), "points/2", 128),
                 (("frequency", 0.6), *mlp(24, 2, TANH)), 2000),
        EvalTask("waves-mlp-short", FamilySpec(Waves(), "points/2", 64),
                 (("frequency", 1.0), *mlp(32, 3, SILU)), 500),
        EvalTask("waves-mlp-small", FamilySpec(Waves(max_width=8, widths=(4, 8)), "points/2", 16),
                 (("frequency", 0.2), *mlp(6, 1, TANH)), 1000),
        EvalTask("factorisation-clean", FamilySpec(Factorisation(), "points/2", 128),
                 (("rank", 4), ("noise", 1e-3), ("gain", 0.1)), 1000),
        EvalTask("quadratic-clean", FamilySpec(Quadratic(), "points/20", 16),
                 (("noise", 1e-3),), 500),
        EvalTask("wine-mlp-few", FamilySpec(MLP(), "wine", 16, _few(4)), mlp(32, 2, RELU), 300),
        EvalTask("photos-mlp-few", FamilySpec(MLP(), "photos", 32, _few(16)),
                 mlp(32, 2, SILU), 500),
        EvalTask("teacher-mlp-wrong", FamilySpec(MLP(), "teacher", 32,
                 (*_few(16), LabelNoise((0.2, 0.2)))), mlp(32, 2, RELU), 300),
    ),
)  # fmt: skip


META_VALID_V4 = Suite(
    "META_VALID_V4",
    "Chooses among checkpoints of meta-training: gradients without noise, from tables that are one "
    "batch, large batches and fits. Whoever makes an optimizer may look at it.",
    (
        EvalTask("wine-mlp-table", FamilySpec(MLP(), "wine", 64, _few(1)), mlp(32, 2, RELU), 300),
        EvalTask("teacher-mlp-table", FamilySpec(MLP(), "teacher", 256,
                 (LabelNoise((0.1, 0.1)), *_few(1))), mlp(32, 2, TANH), 500),
        EvalTask("values-mlp-table", FamilySpec(MLP(), "teacher_values", 256,
                 (LabelNoise((0.3, 0.3)), *_few(1))), mlp(32, 2, TANH), 300),
        EvalTask("photos-mlp-table", FamilySpec(MLP(), "photos", 256, _few(1)),
                 mlp(32, 2, SILU), 500),
        EvalTask("digits-mlp-batch-512", FamilySpec(MLP(), "digits", 512), mlp(64, 2, RELU), 500),
        EvalTask("digits-conv-batch-256", FamilySpec(Conv((12, 24, 24)), "digits", 256),
                 conv(SILU), 200),
        EvalTask("waves-mlp-deep", FamilySpec(Waves(), "points/2", 256),
                 (("frequency", 1.0), *mlp(24, 3, TANH)), 2000),
        EvalTask("waves-mlp-gain", FamilySpec(Waves(), "points/2", 128),
                 (("frequency", 0.6), *mlp(32, 2, RELU, gain=2.0)), 1000),
    ),
)  # fmt: skip


META_VALID_V5 = Suite(
    "META_VALID_V5",
    "Chooses among checkpoints of meta-training: equations, weights in other scales, noisy tables. "
    "Whoever makes an optimizer may look at it.",
    (
        EvalTask("heat-wide", FamilySpec(Heat(), "points/2", 128), _heat(0.1, 2, 24, 2), 2000),
        EvalTask("heat-deep", FamilySpec(Heat(), "points/2", 64), _heat(0.02, 3, 16, 3), 1000),
        EvalTask("friedman-mlp", FamilySpec(MLP(), "friedman", 32), mlp(32, 2, TANH), 300),
        EvalTask("friedman-mlp-table", FamilySpec(MLP(), "friedman", 64, _few(1)),
                 mlp(32, 2, RELU), 500),
        EvalTask("photos-mixer-large", FamilySpec(Mixer(), "photos", 32, _scaled(4.0)),
                 blocks(2, 32, SILU), 500),
        EvalTask("photos-autoencoder-small", FamilySpec(Autoencoder(), "photos", 64, _scaled(0.3)),
                 autoencoder(TANH), 1000),
        EvalTask("stdlib-gru-large", FamilySpec(GRU(), "stdlib/16", 16, _scaled(3.0)),
                 recurrent(), 500),
        EvalTask("photos-mlp-batch-8", FamilySpec(MLP(), "photos", 8), mlp(32, 2, SILU), 1000),
    ),
)  # fmt: skip


META_VALID_V6 = Suite(
    "META_VALID_V6",
    "Chooses among checkpoints of meta-training: few data seen again and again, a wide network, "
    "weights far out of scale. Findings of META_TEST_V1 chose it.",
    (
        EvalTask("digits-mlp-wide", FamilySpec(MLP(512, 3, (4, 512)), "digits", 64),
                 mlp(512, 2, RELU), 500),
        EvalTask("digits-mlp-batch-256", FamilySpec(MLP(64), "digits", 256), mlp(64, 2, RELU), 500),
        EvalTask("digits-mlp-far", FamilySpec(MLP(64, gains=(0.1, 10.0)), "digits", 64),
                 mlp(64, 2, RELU, gain=5.0), 500),
        EvalTask("digits-mlp-few", FamilySpec(MLP(64), "digits", 32, _few(8)),
                 mlp(64, 2, RELU), 1000),
        EvalTask("digits-norm-mlp-few", FamilySpec(NormMLP(), "digits", 32, _few(8)),
                 (("depth", 2), ("activation", SILU)), 1000),
        EvalTask("digits-conv-few", FamilySpec(Conv(), "digits", 32, _few(8)), conv(RELU), 1000),
        EvalTask("digits-mixer-few", FamilySpec(Mixer(), "digits", 32, _few(8)),
                 blocks(2, 32, SILU), 500),
        EvalTask("photos-conv-few", FamilySpec(Conv(), "photos", 32, _few(16)), conv(RELU), 1000),
        EvalTask("photos-mlp-some", FamilySpec(MLP(64), "photos", 64, _few(16)),
                 mlp(64, 2, TANH), 1000),
        EvalTask("heat-fast", FamilySpec(Heat(), "points/2", 64), _heat(0.05, 4, 24, 2), 1000),
    ),
)  # fmt: skip


META_VALID_V7 = Suite(
    "META_VALID_V7",
    "Chooses among checkpoints of meta-training: norms of channels, embeddings of unit normals, "
    "gradients that are mostly noise. Findings of META_TEST_V1 chose it.",
    (
        EvalTask("photos-norm-conv", FamilySpec(NormConv(), "photos", 32), norm_conv(RELU), 1000),
        EvalTask("digits-norm-conv", FamilySpec(NormConv((12, 24, 24)), "digits", 64),
                 norm_conv(SILU), 500),
        EvalTask("stdlib-24-gru", FamilySpec(GRU(), "stdlib/24", 16), recurrent(), 1000),
        EvalTask("stdlib-16-transformer", FamilySpec(Transformer(), "stdlib/16", 16),
                 blocks(2, 32, RELU), 1000),
        EvalTask("photos-mlp-deep", FamilySpec(MLP(96, 3, (24, 96), (1, 3)), "photos", 64),
                 mlp(96, 3, RELU), 1000),
        EvalTask("values-mlp-noise", FamilySpec(MLP(8, 1, (4, 8), (1, 1)), "teacher_values", 8,
                 (GradientNoise((1.0, 1.0)),)), mlp(8, 1, TANH), 1000),
    ),
)  # fmt: skip
