"""Learned optimizers, one a file: a new one is a file here and a line in `OPTIMIZERS`."""

from ._celo import Celo as Celo
from ._celo import CeloAdam as CeloAdam
from ._celo2 import Celo2 as Celo2
from ._gated_adam import GatedAdam as GatedAdam
from ._hyper_adam import HyperAdam as HyperAdam
from ._hypernet import Hypernet as Hypernet
from ._momentum_mlp import MomentumMLP as MomentumMLP
from ._nn_adam import NNAdam as NNAdam
from ._open import OPEN as OPEN
from ._per_param_mlp import PerParamMLP as PerParamMLP
from ._rnn_mlp import RNNMLP as RNNMLP
from ._spectral import Spectral as Spectral
from ._spectral_gru import SpectralGRU as SpectralGRU

OPTIMIZERS: tuple[type, ...] = (
    GatedAdam,
    Spectral,
    SpectralGRU,
    HyperAdam,
    NNAdam,
    MomentumMLP,
    PerParamMLP,
    RNNMLP,
    Hypernet,
    Celo,
    CeloAdam,
    Celo2,
    OPEN,
)
"""Every optimizer an artifact can hold."""
