"""Training suites: the families that optimizers of the zoo learned from."""

from .._spec import FamilySpec
from ..augmentations import Augmentation, FewExamples, LabelNoise, Reparametrise, SmallBatch
from ..problems import (
    MLP,
    Autoencoder,
    Conv,
    Factorisation,
    Heat,
    Linear,
    NormMLP,
    Problem,
    Transformer,
    Waves,
)
from ._base import Suite, TrainFamily

_IMAGES = "digits+tfds:mnist/8"
_LARGE = MLP(max_width=64, max_depth=3, widths=(4.0, 64.0), depths=(1, 3), gains=(0.3, 3.0))
_DEEP = MLP(max_width=32, max_depth=3, widths=(4.0, 32.0), depths=(1, 3), gains=(0.3, 3.0))
_SMALL = MLP(max_width=32, max_depth=2, widths=(4.0, 32.0), depths=(1, 2), gains=(0.3, 3.0))
_SCALED = Reparametrise()


def _few(low: float, high: float) -> FewExamples:
    return FewExamples((low, high))


def _family(
    problem: Problem, data: str, batch_size: int, weight: float, *augmentations: Augmentation
) -> TrainFamily:
    spec = FamilySpec(problem, data, batch_size, augmentations)
    return TrainFamily(f"{problem.name}-{data}", spec, weight)


META_TRAIN_V2 = Suite(
    "META_TRAIN_V2",
    "What `small`, `lean`, `small-free` and their rivals in the zoo learned from. Whoever makes an "
    "optimizer may look at it and learn from it; of its data FAR_V1 alone, among the test suites, "
    "has some: digits; points aside.",
    (
        _family(_LARGE, _IMAGES, 64, 1.0, SmallBatch(), LabelNoise(), _few(4.0, 1000.0), _SCALED),
        _family(_DEEP, "teacher_values", 32, 0.5, _few(4.0, 200.0), _SCALED),
        _family(_SMALL, "teacher", 32, 0.5, _few(4.0, 200.0), _SCALED),
        _family(NormMLP(), _IMAGES, 32, 0.5, LabelNoise(), _few(16.0, 1000.0), _SCALED),
        _family(Linear(), "wine", 32, 0.5, _few(2.0, 8.0)),
        _family(
            Conv((12, 24, 24), (2, 8)), _IMAGES, 16, 1.0,
            LabelNoise(), _few(16.0, 1000.0), Reparametrise(per="tensor"),
        ),
        _family(Autoencoder(), _IMAGES, 32, 1.0, _SCALED),
        _family(Transformer(), "stdlib/16", 8, 0.5),
        _family(Waves(), "points/2", 64, 2.0, SmallBatch(2), _SCALED),
        _family(Heat(), "points/2", 64, 3.0, _SCALED),
        _family(Factorisation(), "points/2", 128, 0.5, _SCALED),
        _family(_SMALL, "wine", 16, 0.5, LabelNoise(), _few(3.0, 64.0), _SCALED),
    ),
)  # fmt: skip
