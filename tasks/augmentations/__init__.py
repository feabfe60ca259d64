"""Wrappers that make any family wider: one line each in AUGMENTATIONS."""

from ._base import Augmentation as Augmentation
from ._base import Augmented as Augmented
from ._base import AugmentedTask as AugmentedTask
from ._base import augment as augment
from ._batch import FewExamples as FewExamples
from ._batch import LabelNoise as LabelNoise
from ._batch import SmallBatch as SmallBatch
from ._gradient import DelayedGradients as DelayedGradients
from ._gradient import FewDirections as FewDirections
from ._gradient import GradientNoise as GradientNoise
from ._loss import BFloat16 as BFloat16
from ._loss import LossScale as LossScale
from ._loss import Reparametrise as Reparametrise

AUGMENTATIONS: tuple[type[Augmentation], ...] = (
    Reparametrise,
    LossScale,
    BFloat16,
    SmallBatch,
    FewExamples,
    LabelNoise,
    GradientNoise,
    FewDirections,
    DelayedGradients,
)
"""Every augmentation; contract tests run over it."""
