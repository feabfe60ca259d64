"""META_TRAIN_V3: few programs, wide draws; cheap problems carry most of the weight.

What makes learned optimizers generalise is drawn anew for every run, inside one program:

- the size of weights, of all together and of each tensor (`Reparametrise`), by which networks of
  8x8 images teach what language models need (Moudgil et al. 2025, "Celo"; its successor too);
- widths, depths, activations, gains, and batches of 1/8 of their size to all of it;
- how often an example is seen: the training set is 4 to 5,000 batches (`FewExamples`) and a run 50
  to 5,000 steps, so that epochs go from 0.01 to 1,250;
- noise in labels and in gradients, the scale of the loss, and losses of five kinds.

Weights add up to 1: `pairs` of the estimator are those of all families together. Its horizon is
for all of them, [50, 5000] say; `longest` of a family bounds what is dear. Then convolutions,
transformer, GRU, autoencoder and regression (`table-values-mlp` alone) have a fifth of the inner
steps of estimators of whole runs. PES and its kin spend as many on every pair: there these five
have 5/16, 31 %.

Its data are on every machine, and in no suite of validation from META_VALID_V9 on. Of the suites of
test FAR_V1 alone has some of them, the digits; points, which are no data, are drawn afresh.
"""

from .._spec import FamilySpec
from ..augmentations import (
    FewExamples,
    GradientNoise,
    LabelNoise,
    LossScale,
    Reparametrise,
    SmallBatch,
)
from ..problems import (
    GRU,
    MLP,
    Autoencoder,
    Conv,
    Heat,
    NormMLP,
    Transformer,
    Waves,
)
from ._base import Suite, TrainFamily

_IMAGES = "digits+strokes/8"
_SCALED = Reparametrise((0.1, 10.0)), Reparametrise((0.3, 3.0), "tensor")
_TENSORS = (Reparametrise((0.3, 3.0), "tensor"),)
_EPOCHS = FewExamples((4.0, 5000.0))
_NOISY = LabelNoise((0.003, 0.5))

_WIDE = MLP(64, 3, widths=(4.0, 64.0), depths=(1, 3), gains=(0.3, 3.0))
_SMALL = MLP(32, 3, widths=(4.0, 32.0), depths=(1, 3), gains=(0.3, 3.0))

META_TRAIN_V3 = Suite(
    "META_TRAIN_V3",
    "What configurations name to learn from. Whoever makes an optimizer may look at it; its data "
    "are not in META_VALID_V9 and in no test suite but FAR_V1, which has digits; points aside.",
    (
        TrainFamily("images-mlp", FamilySpec(
            _WIDE, _IMAGES, 64, (SmallBatch(), _NOISY, _EPOCHS, *_SCALED)), 0.25),
        TrainFamily("table-labels-mlp", FamilySpec(
            _SMALL, "teacher", 32, (SmallBatch(), _NOISY, _EPOCHS, LossScale(), *_SCALED)), 0.1875),
        TrainFamily("images-norm-mlp", FamilySpec(
            NormMLP(), _IMAGES, 32,
            (SmallBatch(), _NOISY, _EPOCHS, GradientNoise((0.03, 3.0)), *_SCALED)), 0.125),
        TrainFamily("table-values-mlp", FamilySpec(
            _SMALL, "teacher_values", 64, (SmallBatch(), _NOISY, _EPOCHS, *_SCALED)), 0.0625),
        TrainFamily("images-autoencoder", FamilySpec(
            Autoencoder(max_code=16, codes=(2.0, 16.0)), _IMAGES, 32,
            (SmallBatch(), _EPOCHS, *_SCALED)), 0.0625),
        TrainFamily("function-waves", FamilySpec(
            Waves(), "points/2", 64, (SmallBatch(), _EPOCHS, *_SCALED)), 0.0625),
        TrainFamily("equation-heat", FamilySpec(
            Heat(), "points/2", 64, _TENSORS), 0.0625, 2000),
        TrainFamily("images-conv", FamilySpec(
            Conv((12, 24), (2, 8)), _IMAGES, 16, (_NOISY, _EPOCHS, *_TENSORS)), 0.0625, 1000),
        TrainFamily("code-transformer", FamilySpec(
            Transformer(), "stdlib/16", 8, (_EPOCHS, *_TENSORS)), 0.0625, 1000),
        TrainFamily("code-gru", FamilySpec(
            GRU(), "stdlib/16", 8, (_EPOCHS, *_TENSORS)), 0.0625, 1000),
    ),
)  # fmt: skip
