"""Contrastive learning: embeddings by which an image's two distorted views find each other.

Chen et al. 2020, "A simple framework for contrastive learning of visual representations" (SimCLR);
the loss is InfoNCE, of van den Oord et al. 2018, "Representation learning with contrastive
predictive coding", from either view to the other.
"""

import dataclasses
import math
from typing import Annotated, ClassVar

import haiku as hk
import jax
import jax.numpy as jnp

from learned_opt._fields import Counts, Layers, NonNegative, Positive, Range, Size, Sizes, Within

from .._base import Batch, Loss, Numbers, Params, Spec
from .._problem import Drawn, Problem
from ._mlp import MLP_NUMBERS, mlp


@dataclasses.dataclass(frozen=True)
class Contrastive(Problem):
    """mean_i -log softmax_j(u_i . v_j / temperature)_i and back; u, v: views, embedded by an MLP.

    A view is the image plus `noise` N(0, 1), with a share `erased` of the features at 0; an
    embedding has length 1. v_j is that of one of `candidates` images, i's own and those that follow
    it in the batch: all of a batch of that size, and as hard a question in a larger one, so that
    losses of splits and of minibatches can be compared. Of an image that is in the batch k times,
    as under `SmallBatch`, the views cannot be told apart: the mean loss stays above log k.

    Numbers: `width`; `depth`, hidden layers that act; `activation`; `gain`, the initial scale
    relative to He et al. 2015.
    """

    name: ClassVar[str] = "contrastive"
    source: ClassVar[str] = "Chen et al. 2020; van den Oord et al. 2018"
    kinds: ClassVar[tuple[str, ...]] = ("label", "value")
    drawn: ClassVar[Drawn] = MLP_NUMBERS
    max_width: Size = 32
    max_depth: Layers = 2
    embedding: Size = 16
    candidates: Annotated[int, Within(2, 10**6)] = 64
    temperature: Positive = 0.2
    noise: NonNegative = 0.5
    erased: Annotated[float, Within(0, 0.99)] = 0.25
    widths: Sizes = (8, 32)
    depths: Counts = (1, 2)
    gains: Range = (0.5, 2.0)

    def init(self, n: Numbers, spec: Spec, key: jax.Array) -> Params:
        """Haiku parameters."""
        return self._network(n).init(key, jnp.zeros((1, math.prod(spec.shape))))

    def loss(self, n: Numbers, spec: Spec, params: Params, batch: Batch, key: jax.Array) -> Loss:
        """In nats, the mean of both directions; and how often the first view finds the second."""
        size = len(batch.x)
        views = self.views(batch.x.reshape(size, -1), key)
        u, v = jnp.split(_unit(self._network(n).apply(params, None, views)), 2)
        places = jnp.arange(size)
        asked = (places[None] - places[:, None]) % size < self.candidates
        logits = jnp.where(asked, u @ v.T / self.temperature, -jnp.inf)
        both = (jax.nn.logsumexp(logits, axis=1) + jax.nn.logsumexp(logits, axis=0)) / 2
        hits = jnp.argmax(logits, axis=1) == places
        loss = jnp.mean(both - jnp.diagonal(logits))
        return loss, {"accuracy": jnp.mean(hits.astype(jnp.float32))}

    def views(self, x: jax.Array, key: jax.Array) -> jax.Array:
        """Two of each of (batch, features): (2 batch, features), all first ones first."""
        keys, shape = jax.random.split(key), (2 * len(x), x.shape[1])
        noise = self.noise * jax.random.normal(keys[0], shape)
        kept = jax.random.bernoulli(keys[1], 1.0 - self.erased, shape)
        return jnp.where(kept, jnp.concatenate([x, x]) + noise.astype(x.dtype), 0)

    def _network(self, n: Numbers) -> hk.Transformed:
        return hk.transform(lambda x: mlp(n, x, self.max_width, self.max_depth, self.embedding))


def _unit(z: jax.Array) -> jax.Array:
    """Rows divided by their length, in float32; 0, with a gradient, at 0."""
    z = z.astype(jnp.float32)
    return z * jax.lax.rsqrt(jnp.sum(z**2, axis=1, keepdims=True) + 1e-6)
