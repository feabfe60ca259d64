"""Random points, for problems that need no data: each split is a stream of its own."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from .._base import SPLITS, STATIC, Batch, Spec, Split
from ._dataset import Source, split_of

COUNT, MANY = 256, 1024
"""Points of a split that is evaluated as a whole: of `points`, of `many_points`."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Points(Source):
    """x uniform in [0, 1)^dimension, fresh at every step; y is 0.

    `splits`: for each name in SPLITS the number of its stream; `count`: points of a whole split.
    """

    name: str = dataclasses.field(metadata=STATIC)
    spec: Spec = dataclasses.field(metadata=STATIC)
    splits: dict[str, jax.Array]
    count: int = dataclasses.field(default=COUNT, metadata=STATIC)

    def full(self, split: Split, source: jax.Array | int = 0) -> Batch:
        """`count` points, always the same."""
        return self.batch(jax.random.key(7), split, self.count, source)

    def batch(self, key: jax.Array, split: Split, size: int, source: jax.Array | int = 0) -> Batch:
        """`size` points."""
        del source
        stream = jax.random.fold_in(key, split_of(self.splits, split))
        x = jax.random.uniform(stream, (size, *self.spec.shape))
        return Batch(x, jnp.zeros(size, jnp.int32))

    def count_of(self, source: jax.Array | int = 0) -> float | jax.Array:
        """Infinite: no point comes again."""
        del source
        return math.inf


def points(dimension: int, count: int = COUNT) -> Points:
    """Points of this dimension."""
    streams = {split: jnp.asarray(i, jnp.uint32) for i, split in enumerate(SPLITS)}
    return Points("points", Spec("points", (dimension,), 0), streams, count)


def many_points(dimension: int) -> Points:
    """The same, with MANY in a split that is evaluated as a whole."""
    return points(dimension, MANY)
