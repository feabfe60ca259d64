"""Multi-layer perceptrons of random width, depth, activation and scale.

The standard inner problem of the field (Metz et al. 2020, "Tasks, stability, architecture, and
compute"; Moudgil et al. 2025, "Celo").
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from learned_opt._fields import Counts, Layers, Range, Size, Sizes

from .._base import Numbers, Spec
from .._problem import Supervised, log_uniform, log_uniform_int, uniform_int
from ._layers import ACTIVATIONS, Dense, activate


@dataclasses.dataclass(frozen=True)
class MLP(Supervised):
    """Hidden layers of `width` units inside arrays of `max_width`; inputs are flattened.

    Numbers: `width`; `depth`, hidden layers that act, the others pass their input on;
    `activation`; `gain`, the initial scale relative to He et al. 2015.
    """

    name: ClassVar[str] = "mlp"
    source: ClassVar[str] = "Metz et al. 2020; Moudgil et al. 2025"
    max_width: Size = 32
    max_depth: Layers = 2
    widths: Sizes = (8, 32)
    depths: Counts = (1, 2)
    gains: Range = (0.5, 2.0)

    def sample(self, key: jax.Array) -> Numbers:
        """Draw width, depth, activation and initial scale."""
        return mlp_numbers(key, self.widths, self.depths, self.gains)

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """(batch, ...) to (batch, outputs)."""
        return mlp(n, x.reshape(len(x), -1), self.max_width, self.max_depth, spec.outputs)


def mlp_numbers(key: jax.Array, widths: Range, depths: tuple[int, int], gains: Range) -> Numbers:
    """A draw of the numbers that `MLP` names."""
    keys = jax.random.split(key, 4)
    return {
        "width": log_uniform_int(keys[0], widths),
        "depth": uniform_int(keys[1], depths),
        "activation": uniform_int(keys[2], (0, len(ACTIVATIONS) - 1)),
        "gain": log_uniform(keys[3], gains),
    }


def mlp(n: Numbers, x: jax.Array, max_width: int, max_depth: int, outputs: int) -> jax.Array:
    """The network of the numbers that `MLP` names, (batch, inputs) to (batch, outputs)."""
    rows, he = None, math.sqrt(2) * n["gain"]
    for layer in range(max_depth):
        h = activate(Dense(max_width, rows=rows, columns=n["width"], gain=he)(x), n["activation"])
        x = h if layer == 0 else jnp.where(layer < n["depth"], h, x)
        rows = n["width"]
    return Dense(outputs, rows=rows, gain=he)(x)
