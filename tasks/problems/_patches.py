"""Networks on patches of images: vision transformers and MLP-Mixers.

Dosovitskiy et al. 2021, "An image is worth 16x16 words"; Tolstikhin et al. 2021, "MLP-Mixer": one
MLP across places, one across features, alternating.
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from learned_opt._fields import Size

from .._base import Numbers, Spec
from ._layers import Dense, LayerNorm, activate
from ._transformer import Block, Stack, positions


def patches(x: jax.Array, edge: int) -> jax.Array:
    """Images (batch, h, w, c) to (batch, places, edge * edge * c), cropped to whole patches."""
    batch, height, width, channels = x.shape
    rows, columns = height // edge, width // edge
    x = x[:, : rows * edge, : columns * edge]
    x = x.reshape(batch, rows, edge, columns, edge, channels).swapaxes(2, 3)
    return x.reshape(batch, rows * columns, -1)


@dataclasses.dataclass(frozen=True)
class ViT(Stack):
    """Patches of `patch` pixels, `max_depth` blocks of `size` features, mean over places, head.

    ViT-S/4 on 32x32 colour images: size 384, heads 6, max_depth 12, max_hidden 1536.

    Numbers: those of `Stack`.
    """

    name: ClassVar[str] = "vit"
    source: ClassVar[str] = "Dosovitskiy et al. 2021"
    images: ClassVar[bool] = True
    patch: Size = 2
    heads: Size = 2

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """(batch, height, width, channels) to (batch, outputs)."""
        x = Dense(self.size)(patches(x, self.patch))
        x = x + jnp.broadcast_to(positions(x.shape[1], self.size, x.dtype), x.shape)
        for layer in range(self.max_depth):
            block = Block(self.heads, self.max_hidden, n, causal=False)
            x = block(x, True if layer == 0 else layer < n["depth"])
        return Dense(spec.outputs)(LayerNorm()(x).mean(1))


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
