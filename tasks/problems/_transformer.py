"""Byte-level transformer language models (Radford et al. 2019, GPT-2's arrangement)."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from learned_opt._fields import Size

from .._base import Numbers, Spec
from ._attention import Block, Stack, positions
from ._layers import Dense, LayerNorm


@dataclasses.dataclass(frozen=True)
class Transformer(Stack):
    """Embedding, `max_depth` causal blocks of `size` features, norm, linear head.

    GPT-2's smallest: size 768, heads 12, max_depth 12, max_hidden 3072: 85 million parameters.

    Numbers: those of `Stack`.
    """

    name: ClassVar[str] = "transformer"
    source: ClassVar[str] = "Vaswani et al. 2017; Radford et al. 2019"
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    heads: Size = 2

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """Bytes (batch, length) to logits (batch, length, outputs)."""
        # A product with one-hot rows: its gradient is a product too, not a scatter.
        x = jax.nn.one_hot(x, spec.outputs, dtype=n["gain"].dtype)
        # The product picks one row, so this gain starts embeddings at a deviation of 1.
        x = Dense(self.size, gain=math.sqrt(spec.outputs), name="embedding")(x)
        x = x + jnp.broadcast_to(positions(x.shape[1], self.size, x.dtype), x.shape)
        for layer in range(self.max_depth):
            block = Block(self.heads, self.max_hidden, n, causal=True)
            x = block(x, True if layer == 0 else layer < n["depth"])
        return Dense(spec.outputs, name="head")(LayerNorm()(x))
