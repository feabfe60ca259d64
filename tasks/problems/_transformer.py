"""Transformers: the block, normalisation first, and byte-level language models of it.

Vaswani et al. 2017; Xiong et al. 2020; Radford et al. 2019 (GPT-2's arrangement); Press & Wolf
2017, "Using the output embedding to improve language models".
"""

import dataclasses
import math
from typing import ClassVar

import haiku as hk
import jax
import jax.numpy as jnp

from learned_opt._fields import Counts, Layers, Range, Size

from .._base import Numbers, Spec
from .._problem import Supervised, log_uniform, log_uniform_int, uniform_int
from ._layers import Dense, LayerNorm, activate, any_activation


class Block(hk.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)), of (batch, length, size).

    Args:
      heads: attention heads.
      hidden: units of the MLP, at most.
      numbers: `hidden`, units that are on; `activation`; `gain`, initial scale of what is added.
      causal: whether a place sees only itself and places before it.
    """

    def __init__(self, heads: int, hidden: int, numbers: Numbers, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.hidden, self.numbers, self.causal = heads, hidden, numbers, causal

    def __call__(self, x: jax.Array, active: jax.Array | bool = True) -> jax.Array:
        n, share = self.numbers, jnp.asarray(active).astype(x.dtype)
        x = x + share * self._attend(LayerNorm()(x))
        h = Dense(self.hidden, columns=n["hidden"], gain=math.sqrt(2))(LayerNorm()(x))
        h = activate(h, n["activation"])
        return x + share * Dense(x.shape[-1], rows=n["hidden"], gain=n["gain"])(h)

    def _attend(self, x: jax.Array) -> jax.Array:
        batch, length, size = x.shape
        shape = (batch, length, self.heads, size // self.heads)
        query, key, value = (Dense(size, name=name)(x).reshape(shape) for name in "qkv")
        scores = jnp.einsum("blhd,bmhd->bhlm", query, key) / math.sqrt(size // self.heads)
        if self.causal:
            seen = jnp.tril(jnp.ones((length, length), bool))
            scores = jnp.where(jnp.broadcast_to(seen, scores.shape), scores, -1e4)
        weights = jax.nn.softmax(scores, axis=-1)
        mixed = jnp.einsum("bhlm,bmhd->blhd", weights, value).reshape(batch, length, size)
        return Dense(size, gain=self.numbers["gain"])(mixed)


@dataclasses.dataclass(frozen=True)
class Stack(Supervised):
    """Base of networks that are a stack of residual blocks.

    Numbers: `depth`, blocks that act; `hidden`, units of their MLPs that are on; `activation`;
    `gain`, the initial scale of what blocks add.
    """

    size: Size = 16
    max_depth: Layers = 2
    max_hidden: Size = 32
    depths: Counts = (1, 2)
    hidden: Counts = (16, 32)
    gains: Range = (0.3, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        heads = getattr(self, "heads", 1)
        if self.size % heads:
            raise ValueError(f"size must be a multiple of heads ({heads}), got {self.size}")

    def sample(self, key: jax.Array) -> Numbers:
        """Draw depth, hidden units, activation and initial scale."""
        keys = jax.random.split(key, 4)
        return {
            "depth": uniform_int(keys[0], self.depths),
            "hidden": log_uniform_int(keys[1], self.hidden),
            "activation": any_activation(keys[2]),
            "gain": log_uniform(keys[3], self.gains),
        }


def positions(length: int, size: int, dtype: jnp.dtype) -> jax.Array:
    """Learned vectors of places, (1, length, size), normal(0.02) at the start."""
    init = hk.initializers.RandomNormal(0.02)
    return hk.get_parameter("positions", (1, length, size), dtype, init)


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
        return Dense(spec.outputs, name="head")(self._features(n, x))

    def _features(self, n: Numbers, x: jax.Array) -> jax.Array:
        """What the head sees of embeddings, both (batch, length, size)."""
        x = x + jnp.broadcast_to(positions(x.shape[1], self.size, x.dtype), x.shape)
        for layer in range(self.max_depth):
            block = Block(self.heads, self.max_hidden, n, causal=True)
            x = block(x, True if layer == 0 else layer < n["depth"])
        return LayerNorm()(x)


@dataclasses.dataclass(frozen=True)
class TiedTransformer(Transformer):
    """A `Transformer` whose head is its embedding transposed: logits h E^T, inputs sqrt(size) E.

    E starts normal, of deviation 1 / sqrt(size): inputs and logits both of deviation 1.

    Numbers: those of `Stack`.
    """

    name: ClassVar[str] = "tied_transformer"
    source: ClassVar[str] = "Press & Wolf 2017; Vaswani et al. 2017"

    def forward(self, n: Numbers, spec: Spec, x: jax.Array) -> jax.Array:
        """Bytes (batch, length) to logits (batch, length, outputs)."""
        dtype, init = n["gain"].dtype, hk.initializers.RandomNormal(1 / math.sqrt(self.size))
        embedding = hk.get_parameter("embedding", (spec.outputs, self.size), dtype, init)
        x = math.sqrt(self.size) * (jax.nn.one_hot(x, spec.outputs, dtype=dtype) @ embedding)
        return self._features(n, x) @ embedding.T
