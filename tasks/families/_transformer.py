"""Byte-level transformer language models (Radford et al. 2019, GPT-2's arrangement)."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

from .._base import Numbers, Spec
from .._problem import Range, Supervised
from ._attention import Block, positions, sample_blocks
from ._layers import Dense, LayerNorm


@dataclasses.dataclass(frozen=True)
class Transformer(Supervised):
    """Embedding, `max_depth` causal blocks of `size` features, norm, linear head.

    GPT-2's smallest: size 768, heads 12, max_depth 12, max_hidden 3072: 85 million parameters.

    Numbers: `depth`, blocks that act; `hidden`, units of their MLPs; `activation`; `gain`, the
    initial scale of what blocks add.
    """

    name: ClassVar[str] = "transformer"
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    size: int = 16
    heads: int = 2
    max_depth: int = 2
    max_hidden: int = 32
    depths: tuple[int, int] = (1, 2)
    hidden: tuple[int, int] = (16, 32)
    gains: Range = (0.3, 1.0)

    def sample(self, key: jax.Array) -> Numbers:
        """Draw depth, hidden units, activation and initial scale."""
        return sample_blocks(key, self.depths, self.hidden, self.gains)

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
