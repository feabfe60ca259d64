"""Learned optimizers as optax gradient transformations."""

from ._artifact import OPTIMIZERS as OPTIMIZERS
from ._artifact import Artifact as Artifact
from ._artifact import ArtifactError as ArtifactError
from ._artifact import available as available
from ._artifact import load as load
from ._base import LearnedOptimizer as LearnedOptimizer
from ._base import Theta as Theta
from ._guard import GuardState as GuardState
from ._guard import skip_nonfinite as skip_nonfinite
from ._nominal import Nominal as Nominal
from ._nominal import NominalState as NominalState
from ._optax import learned as learned
from ._optax import scale_by_learned as scale_by_learned
from ._per_param_mlp import PerParamMLP as PerParamMLP
from ._per_param_mlp import PerParamMLPState as PerParamMLPState
