"""Multi-layer perceptrons with layer normalisation.

Ba, Kiros, Hinton 2016, "Layer normalization".
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from learned_opt._fields import Counts, Layers, Size

from .._base import Numbers, Spec
from .._problem import Supervised, uniform_int
from ._layers import ACTIVATIONS, Dense, LayerNorm, activate


@dataclasses.dataclass(frozen=True)
class NormMLP(Supervised):
    """Hidden layers act(norm(x W + b)) of `size` units; the loss does not see the scale of W.

    Numbers: `depth`, hidden layers that act, the others pass their input on; `activation`.
    """

    name: ClassVar[str] = "norm_mlp"
    source: ClassVar[str] = "Ba et al. 2016"
    size: Size = 32
    max_depth: Layers = 2
    depths: Counts = (1, 2)

    def sample(self, key: jax.Array) -> Numbers:
        """Draw depth and activation."""
        depth, activation = jax.random.split(key)
        return {
            "depth": uniform_int(depth, self.depths),
            "activation": uniform_int(activation, (0, len(ACTIVATIONS) - 1)),
        }

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """(batch, ...) to (batch, outputs)."""
        x = x.reshape(len(x), -1)
        for layer in range(self.max_depth):
            h = LayerNorm()(Dense(self.size, gain=math.sqrt(2))(x))
            h = activate(h, n["activation"])
            x = h if layer == 0 else jnp.where(layer < n["depth"], h, x)
        return Dense(spec.outputs)(x)
