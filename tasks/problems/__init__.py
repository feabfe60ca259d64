"""Every problem there is, with a small example or two: one file and one row each."""

from typing import NamedTuple

from .._problem import Problem as Problem
from .._problem import Supervised as Supervised
from .._spec import FamilySpec
from ._autoencoder import VAE as VAE
from ._autoencoder import Autoencoder as Autoencoder
from ._closed_forms import InfluenceBalancing as InfluenceBalancing
from ._closed_forms import Quadratic as Quadratic
from ._closed_forms import Rosenbrock as Rosenbrock
from ._closed_forms import Saddle as Saddle
from ._contrastive import Contrastive as Contrastive
from ._control import Control as Control
from ._conv import Conv as Conv
from ._conv import NormConv as NormConv
from ._conv import ResNet as ResNet
from ._conv import SkipInit as SkipInit
from ._deep_sets import DeepSets as DeepSets
from ._denoiser import Denoiser as Denoiser
from ._factorisation import Factorisation as Factorisation
from ._layers import ACTIVATIONS as ACTIVATIONS
from ._mlp import MLP as MLP
from ._mlp import Linear as Linear
from ._mlp import NormMLP as NormMLP
from ._optimizer_training import OptimizerTraining as OptimizerTraining
from ._patches import Mixer as Mixer
from ._patches import ViT as ViT
from ._pinn import PINN as PINN
from ._pinn import AllenCahn as AllenCahn
from ._pinn import Heat as Heat
from ._policy_gradient import PolicyGradient as PolicyGradient
from ._recurrent import GRU as GRU
from ._recurrent import LRU as LRU
from ._recurrent import LSTM as LSTM
from ._transformer import TiedTransformer as TiedTransformer
from ._transformer import Transformer as Transformer
from ._vibration import Vibration as Vibration
from ._waves import Waves as Waves


class Example(NamedTuple):
    """A family of a problem at its default sizes, and a known-good Adam for it.

    `learning_rate`: of Adam, constant; `bound`: its `inner_valid` loss over that at the start is
    below this after 20 steps. Infinite where the gradient is not that of the loss.
    """

    spec: FamilySpec
    learning_rate: float
    bound: float

    @property
    def name(self) -> str:
        """Of its problem."""
        return self.spec.problem.name


EXAMPLES: tuple[Example, ...] = (
    Example(FamilySpec(Quadratic(), "points/20"), 0.1, 0.5),
    Example(FamilySpec(Rosenbrock(), "points/4"), 0.03, 0.5),
    Example(FamilySpec(Saddle(), "points/10"), 0.1, 0.5),
    Example(FamilySpec(InfluenceBalancing(), "points/23"), 0.1, float("inf")),
    Example(FamilySpec(Linear(), "wine", 32), 0.1, 0.5),
    Example(FamilySpec(Linear(), "diabetes", 32), 0.1, 0.8),
    Example(FamilySpec(MLP(), "digits"), 0.03, 0.5),
    Example(FamilySpec(MLP(), "teacher_values"), 0.03, 0.8),
    Example(FamilySpec(NormMLP(), "digits"), 0.03, 0.5),
    Example(FamilySpec(Conv(), "digits"), 0.03, 0.8),
    Example(FamilySpec(NormConv(), "digits"), 0.03, 0.5),
    Example(FamilySpec(ResNet(), "digits", 32), 0.01, 0.8),
    Example(FamilySpec(SkipInit(), "digits", 32), 0.01, 0.9),
    Example(FamilySpec(ViT(), "digits", 32), 0.01, 0.97),
    Example(FamilySpec(Mixer(), "digits", 32), 0.03, 0.8),
    Example(FamilySpec(Autoencoder(), "photos"), 0.01, 0.7),
    Example(FamilySpec(VAE(), "photos"), 0.01, 0.8),
    Example(FamilySpec(Denoiser(), "photos"), 0.01, 0.7),
    Example(FamilySpec(Contrastive(), "digits"), 0.03, 0.7),
    Example(FamilySpec(GRU(), "stdlib", 16), 0.03, 0.85),
    Example(FamilySpec(LSTM(), "prose", 16), 0.03, 0.85),
    Example(FamilySpec(LRU(), "prose/16", 16), 0.03, 0.85),
    Example(FamilySpec(Transformer(), "stdlib", 16), 0.03, 0.85),
    Example(FamilySpec(TiedTransformer(), "stdlib", 16), 0.03, 0.85),
    Example(FamilySpec(DeepSets(), "sets"), 0.01, 0.9),
    Example(FamilySpec(Factorisation(), "points/2", 128), 0.1, 0.8),
    Example(FamilySpec(Waves(), "points/2", 64), 0.03, 0.8),
    Example(FamilySpec(PINN(), "points/2", 128), 0.01, 0.8),
    Example(FamilySpec(Heat(modes=(1, 1)), "points/2", 128), 0.03, 0.6),
    Example(FamilySpec(AllenCahn(), "points/2", 128), 0.01, 0.8),
    Example(FamilySpec(Vibration(modes=(1, 1)), "points/2", 128), 0.01, 0.8),
    Example(FamilySpec(Control(), "points/2", 8), 0.1, 0.95),
    Example(FamilySpec(PolicyGradient(), "points/4", 32), 0.03, 0.95),
    Example(FamilySpec(OptimizerTraining(), "points/8", 32), 0.03, 0.8),
)
"""Every problem, a row or two each; contract tests run over it."""

PROBLEMS: dict[str, type[Problem]] = {row.name: type(row.spec.problem) for row in EXAMPLES}
"""Problems by name."""
