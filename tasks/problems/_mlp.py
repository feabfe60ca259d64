"""Linear models and multi-layer perceptrons, plain and with layer normalisation.

Metz et al. 2020, "Using a thousand optimization tasks to learn hyperparameter search strategies"
and "Tasks, stability, architecture, and compute"; Moudgil et al. 2025, "Celo"; Ba, Kiros & Hinton
2016, "Layer normalization".
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from learned_opt._fields import Counts, Layers, Range, Size, Sizes

from .._base import Numbers, Spec
from .._problem import Drawn, Supervised
from ._layers import Dense, LayerNorm, activate, any_activation


@dataclasses.dataclass(frozen=True)
class Linear(Supervised):
    """f(x) = x W + b; softmax regression on labels, least squares on values.

    Numbers: `gain`, the initial scale relative to LeCun's.
    """

    name: ClassVar[str] = "linear"
    source: ClassVar[str] = "Metz et al. 2020"
    drawn: ClassVar[Drawn] = {"gain": "gains"}
    gains: Range = (0.1, 3.0)

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """(batch, ...) to (batch, outputs)."""
        return Dense(spec.outputs, gain=n["gain"])(x.reshape(len(x), -1))


MLP_NUMBERS: Drawn = {
    "width": "widths",
    "depth": "depths",
    "activation": any_activation,
    "gain": "gains",
}


@dataclasses.dataclass(frozen=True)
class MLP(Supervised):
    """Hidden layers of `width` units inside arrays of `max_width`; inputs are flattened.

    Numbers: `width`; `depth`, hidden layers that act, the others pass their input on;
    `activation`; `gain`, the initial scale relative to He et al. 2015.
    """

    name: ClassVar[str] = "mlp"
    source: ClassVar[str] = "Metz et al. 2020; Moudgil et al. 2025"
    drawn: ClassVar[Drawn] = MLP_NUMBERS
    max_width: Size = 32
    max_depth: Layers = 2
    widths: Sizes = (8, 32)
    depths: Counts = (1, 2)
    gains: Range = (0.5, 2.0)

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """(batch, ...) to (batch, outputs)."""
        return mlp(n, x.reshape(len(x), -1), self.max_width, self.max_depth, spec.outputs)


def mlp(n: Numbers, x: jax.Array, max_width: int, max_depth: int, outputs: int) -> jax.Array:
    """The network of the numbers that `MLP` names, (batch, inputs) to (batch, outputs)."""
    rows, he = None, math.sqrt(2) * n["gain"]
    for layer in range(max_depth):
        h = activate(Dense(max_width, rows=rows, columns=n["width"], gain=he)(x), n["activation"])
        x = h if layer == 0 else jnp.where(layer < n["depth"], h, x)
        rows = n["width"]
    return Dense(outputs, rows=rows, gain=he)(x)


@dataclasses.dataclass(frozen=True)
class NormMLP(Supervised):
    """Hidden layers act(norm(x W + b)) of `size` units; the loss does not see the scale of W.

    Numbers: `depth`, hidden layers that act, the others pass their input on; `activation`.
    """

    name: ClassVar[str] = "norm_mlp"
    source: ClassVar[str] = "Ba et al. 2016"
    drawn: ClassVar[Drawn] = {"depth": "depths", "activation": any_activation}
    size: Size = 32
    max_depth: Layers = 2
    depths: Counts = (1, 2)

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """(batch, ...) to (batch, outputs)."""
        x = x.reshape(len(x), -1)
        for layer in range(self.max_depth):
            h = LayerNorm()(Dense(self.size, gain=math.sqrt(2))(x))
            h = activate(h, n["activation"])
            x = h if layer == 0 else jnp.where(layer < n["depth"], h, x)
        return Dense(spec.outputs)(x)
