"""Meta-gradient estimators, one cited file each; `name` is what configurations call them."""

from ._backprop import TBPTT as TBPTT
from ._backprop import Backprop as Backprop
from ._base import GradientEstimator as GradientEstimator
from ._base import MetaGrad as MetaGrad
from ._blend import Blend as Blend
from ._continued import Continuation as Continuation
from ._es_single import ESSingle as ESSingle
from ._evosax import Evosax as Evosax
from ._full_es import FullES as FullES
from ._nres import NRES as NRES
from ._pes import PES as PES
from ._truncated_es import TruncatedES as TruncatedES

ESTIMATORS: tuple[type, ...] = (
    FullES, TruncatedES, PES, NRES, ESSingle, Backprop, TBPTT, Blend, Evosax,
)  # fmt: skip
"""Every estimator; contract tests run over them."""
