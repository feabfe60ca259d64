"""MLP-Mixer (Tolstikhin et al. 2021): one MLP across places, one across features, alternating."""

import dataclasses
import math
from typing import ClassVar

import jax

from learned_opt._fields import Size

from .._base import Numbers, Spec
from ._attention import Stack
from ._layers import Dense, LayerNorm, activate
from ._vit import patches


@dataclasses.dataclass(frozen=True)
class Mixer(Stack):
    """Patches of `patch` pixels, `max_depth` blocks of `size` features, mean over places, head.

    Numbers: those of `Stack`.
    """

    name: ClassVar[str] = "mixer"
    source: ClassVar[str] = "Tolstikhin et al. 2021"
    images: ClassVar[bool] = True
    patch: Size = 2

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) to (batch, outputs)."""
        x = Dense(self.size)(patches(x, self.patch))
        for layer in range(self.max_depth):
            share = 1.0 if layer == 0 else (layer < n["depth"]).astype(x.dtype)
            x = x + share * self._mlp(n, LayerNorm()(x).swapaxes(1, 2)).swapaxes(1, 2)
            x = x + share * self._mlp(n, LayerNorm()(x))
        return Dense(spec.outputs)(LayerNorm()(x).mean(1))

    def _mlp(self, n: Numbers, x: jax.Array) -> jax.Array:
        h = Dense(self.max_hidden, columns=n["hidden"], gain=math.sqrt(2))(x)
        h = activate(h, n["activation"])
        return Dense(x.shape[-1], rows=n["hidden"], gain=n["gain"])(h)
