"""Networks on sets, whose answer does not depend on the order of the elements.

Zaheer et al. 2017, "Deep sets".
"""

import dataclasses
import math
from typing import ClassVar

import jax

from learned_opt._fields import Range, Size, Sizes

from .._base import Numbers, Spec
from .._problem import Drawn, Supervised
from ._layers import Dense, activate, any_activation


@dataclasses.dataclass(frozen=True)
class DeepSets(Supervised):
    """f(x) = r(mean_i p(x_i)): p two hidden layers on each element, r one on their mean, a head.

    Numbers: `width` of all hidden layers; `activation`; `gain`, the initial scale relative to He et
    al. 2015.
    """

    name: ClassVar[str] = "deep_sets"
    source: ClassVar[str] = "Zaheer et al. 2017"
    elements: ClassVar[bool] = True
    drawn: ClassVar[Drawn] = {"width": "widths", "activation": any_activation, "gain": "gains"}
    max_width: Size = 32
    widths: Sizes = (8, 32)
    gains: Range = (0.5, 2.0)

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """(batch, elements, features) to (batch, outputs)."""
        x = self._hidden(n, self._hidden(n, x, None), n["width"])
        x = self._hidden(n, x.mean(1), n["width"])
        return Dense(spec.outputs, rows=n["width"], gain=n["gain"])(x)

    def _hidden(self, n: Numbers, x: jax.Array, rows: jax.Array | None) -> jax.Array:
        gain = math.sqrt(2) * n["gain"]
        layer = Dense(self.max_width, rows=rows, columns=n["width"], gain=gain)
        return activate(layer(x), n["activation"])
