"""The transformer block (Vaswani et al. 2017), normalisation first (Xiong et al. 2020)."""

import dataclasses
import math

import haiku as hk
import jax
import jax.numpy as jnp

from learned_opt._fields import Counts, Layers, Range, Size

from .._base import Numbers
from .._problem import Supervised, log_uniform, log_uniform_int, uniform_int
from ._layers import ACTIVATIONS, Dense, LayerNorm, activate


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
            "activation": uniform_int(keys[2], (0, len(ACTIVATIONS) - 1)),
            "gain": log_uniform(keys[3], self.gains),
        }


def positions(length: int, size: int, dtype: jnp.dtype) -> jax.Array:
    """Learned vectors of places, (1, length, size), normal(0.02) at the start."""
    init = hk.initializers.RandomNormal(0.02)
    return hk.get_parameter("positions", (1, length, size), dtype, init)
