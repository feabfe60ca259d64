"""What families of classifiers share: data, minibatches, cross-entropy, sampling ranges."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ._base import Batch, Split
from ._data import Dataset

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Classifiers:
    """Base of classification families; subclasses add `sample`."""

    data: Dataset
    batch_size: int = 64

    def batch(self, key: jax.Array, split: Split) -> Batch:
        """A minibatch of `batch_size` examples drawn with replacement."""
        return self.data.batch(key, split, self.batch_size)

    def full(self, split: Split) -> Batch:
        """All examples of the split."""
        return self.data.full(split)

    def without_test(self) -> Any:
        """A copy in which reading the test split raises."""
        return dataclasses.replace(self, data=self.data.without_test())


def cross_entropy(logits: jax.Array, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean -log softmax(logits)[y] over (batch, classes), in nats; and the accuracy."""
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.y).mean()
    hits = jnp.argmax(logits, axis=-1) == batch.y
    return loss, {"accuracy": jnp.mean(hits.astype(jnp.float32))}


def log_uniform(key: jax.Array, bounds: Range) -> jax.Array:
    """exp(U(log low, log high)), a float32 scalar."""
    low, high = jnp.log(jnp.asarray(bounds, jnp.float32))
    return jnp.exp(jax.random.uniform(key, (), minval=low, maxval=high))
