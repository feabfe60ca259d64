"""Softmax and linear regression: the convex end of the distribution.

Metz et al. 2020, "Using a thousand optimization tasks to learn hyperparameter search strategies".
"""

import dataclasses
from typing import ClassVar

import jax

from learned_opt._fields import Range

from .._base import Numbers, Spec
from .._problem import Supervised, log_uniform
from ._layers import Dense


@dataclasses.dataclass(frozen=True)
class Linear(Supervised):
    """f(x) = x W + b; softmax regression on labels, least squares on values.

    Numbers: `gain`, the initial scale relative to LeCun's.
    """

    name: ClassVar[str] = "linear"
    source: ClassVar[str] = "Metz et al. 2020"
    gains: Range = (0.1, 3.0)

    def sample(self, key: jax.Array) -> Numbers:
        """Draw the initial scale."""
        return {"gain": log_uniform(key, self.gains)}

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """(batch, ...) to (batch, outputs)."""
        return Dense(spec.outputs, gain=n["gain"])(x.reshape(len(x), -1))
