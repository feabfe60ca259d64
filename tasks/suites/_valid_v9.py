"""META_VALID_V9: what artifacts are chosen by from now on, in place of META_VALID_V1 to V7.

Sixteen tasks in the image of those of META_TEST_V3: language models, networks on images, tables, an
equation, a policy. What it shares with META_TEST_V3, and with META_TRAIN_V3, is said exactly:

- no data set, by name without its size. Points, which are no data, are drawn afresh;
- no network: no problem of equal fields, that is of equal class and shape. The classes in common
  with META_TEST_V3 are conv, contrastive, denoiser, mlp, resnet and transformer, those with
  META_TRAIN_V3 conv, mlp, norm_mlp and transformer, all of other widths and depths. Where there is
  a kin of one in META_TEST_V3 it stands in: LSTM for GRU, Mixer for ViT, VAE for autoencoder, Allen
  and Cahn's equation for the string, a pendulum for the pole. A network on sets has none.

Every split that is evaluated has 500 examples or more. All data are on every machine, most of them
made here; none depends on the version of Python. Ten seeds of all tasks are 115,000 inner steps.
"""

from .._spec import FamilySpec
from ..problems import (
    LSTM,
    MLP,
    VAE,
    AllenCahn,
    Contrastive,
    Control,
    Conv,
    Denoiser,
    Factorisation,
    Mixer,
    NormConv,
    NormMLP,
    ResNet,
    Transformer,
)
from ._base import EvalTask, Suite
from ._numbers import RELU, SILU, TANH, blocks, conv, mlp, norm_conv, recurrent

_NARROW = Transformer(24, 3, 48, (3, 3), (48, 48), heads=3)
_WIDE = Transformer(48, 1, 96, (1, 1), (96, 96), heads=4)

META_VALID_V9 = Suite(
    "META_VALID_V9",
    "Chooses among artifacts and checkpoints, by losses over those of tuned AdamW. It shares no "
    "data and no network with META_TEST_V3, in whose image it is.",
    (
        EvalTask("unicode-transformer-3", FamilySpec(_NARROW, "unicode/24", 8),
                 blocks(3, 48, SILU), 800),
        EvalTask("unicode-transformer-wide", FamilySpec(_WIDE, "unicode/16", 16),
                 blocks(1, 96, RELU), 400),
        EvalTask("unicode-lstm", FamilySpec(LSTM(), "unicode/16", 16), recurrent(), 600),
        EvalTask("photos-mixer-16", FamilySpec(Mixer(), "photos", 16), blocks(2, 32, SILU), 600),
        EvalTask("photos-resnet", FamilySpec(ResNet((12,), 2, (2, 2)), "photos", 16),
                 norm_conv(SILU), 400),
        EvalTask("figures-norm-conv", FamilySpec(NormConv((8, 16)), "figures/8", 16),
                 norm_conv(RELU), 800),
        EvalTask("figures-conv", FamilySpec(Conv((12, 24)), "figures/12", 16), conv(RELU), 400),
        EvalTask("figures-mlp-3", FamilySpec(MLP(48, 3, (24, 48), (1, 3)), "figures/8", 64),
                 mlp(48, 3, RELU), 2000),
        EvalTask("photos-vae", FamilySpec(VAE(max_code=4, codes=(2, 4)), "photos", 64),
                 (("hidden", 32), ("code", 4), *norm_conv(TANH)), 1200),
        EvalTask("figures-denoiser", FamilySpec(Denoiser(48, 3, (16, 48), (1, 3)), "figures/8", 64),
                 mlp(48, 3, SILU), 800),
        EvalTask("figures-contrastive", FamilySpec(Contrastive(48, 1, 8, widths=(16, 48),
                 depths=(1, 1)), "figures/8", 64), mlp(48, 1, RELU), 600),
        EvalTask("trees-norm-mlp", FamilySpec(NormMLP(48), "trees", 32),
                 (("depth", 2), ("activation", SILU)), 400),
        EvalTask("tree-counts-mlp", FamilySpec(MLP(24, 3, (12, 24), (1, 3)), "tree_counts", 64),
                 mlp(24, 3, TANH), 800),
        EvalTask("phase-field", FamilySpec(AllenCahn(32), "many_points/2", 64),
                 (("diffusivity", 0.005), ("width", 32), ("gain", 1.0)), 1000),
        EvalTask("swing-up", FamilySpec(Control(12), "many_points/2", 16),
                 (("length", 1.0), ("mass", 1.0), ("width", 12), ("gain", 1.0)), 300),
        EvalTask("ratings", FamilySpec(Factorisation(48, 32), "many_points/2", 64),
                 (("rank", 6), ("noise", 0.3), ("gain", 0.3), ("seed", 9)), 400),
    ),
)  # fmt: skip
